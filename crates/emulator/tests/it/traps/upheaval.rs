//! Maintenance, moves, refreshes, budgets, time-outs, pages out of order, and the org's time.

use reqwest::Method;
use serde_json::{Value, json};

use super::column;
use crate::rows::V;
use crate::{JWT, Org, answer};

impl Org {
    async fn login(&self, aud: &str) -> Value {
        let info = self.emulator.info();
        let claims = json!({"iss": info.client_id, "sub": info.username, "aud": aud, "exp": 4_000_000_000i64});
        let (status, body) = self.token(&[("grant_type", JWT), ("assertion", &self.assertion(&claims))]).await;
        assert_eq!(status, 200, "{body}");
        body
    }

    async fn leads(&self, count: usize) {
        let of =
            |n| json!({"op": "insert", "object": "Lead", "fields": {"LastName": format!("{n:04}"), "Company": "c"}});
        self.write(json!((0..count).map(of).collect::<Vec<_>>())).await;
    }
}

#[tokio::test]
async fn every_answer_is_dated_by_the_orgs_clock() {
    let org = Org::start().await;
    for now in ["2031-05-06T07:08:09Z", "2019-01-01T00:00:00Z"] {
        org.at(now).await;
        let expected =
            if now.starts_with("2031") { "Tue, 06 May 2031 07:08:09 GMT" } else { "Tue, 01 Jan 2019 00:00:00 GMT" };
        let date = async |request: reqwest::RequestBuilder| {
            request.send().await.unwrap().headers()["date"].to_str().unwrap().to_owned()
        };
        let limits = org.http.get(org.url(&format!("{V}/limits"))).bearer_auth(&org.emulator.info().access_token);
        assert_eq!(date(limits).await, expected);
        assert_eq!(date(org.http.get(org.url("/services/data"))).await, expected);
        assert_eq!(date(org.http.post(org.url("/services/oauth2/token"))).await, expected, "a refused login");
        assert_eq!(date(org.http.get(org.url("/nowhere"))).await, expected);
        org.told(Method::POST, "faults", json!({"status": 503})).await;
        assert_eq!(date(org.http.get(org.url("/services/data"))).await, expected, "a fault");
    }
}

#[tokio::test]
async fn in_maintenance_nothing_is_served() {
    let org = Org::start().await;
    org.told(Method::PUT, "maintenance", json!({"retry_after": 30})).await;
    for path in [&format!("{V}/limits"), "/services/data", "/services/oauth2/userinfo"] {
        let answered = org.http.get(org.url(path)).send().await.unwrap();
        assert_eq!(answered.headers()["retry-after"], "30");
        assert_eq!(
            answer(answered).await,
            (503, json!([{"message": "Server Unavailable", "errorCode": "SERVER_UNAVAILABLE"}]))
        );
    }
    org.told(Method::PUT, "maintenance", json!({"body": "<html>Down</html>"})).await;
    assert_eq!(org.get(&format!("{V}/limits")).await, (503, json!("<html>Down</html>")));
    org.told(Method::PUT, "maintenance", json!({"on": false})).await;
    assert_eq!(org.get(&format!("{V}/limits")).await.0, 200);
}

#[tokio::test]
async fn an_org_that_moves_is_found_by_the_next_login() {
    let org = Org::start().await;
    let old = org.emulator.info().instance_url.clone();
    let (status, moved) = org.post_control("instance/move", json!({})).await;
    let new = moved["instance_url"].as_str().unwrap().to_owned();
    assert!(status == 200 && new != old, "{moved}");
    let (status, body) = org.get(&format!("{V}/limits")).await;
    assert_eq!((status, &body[0]["errorCode"]), (401, &json!("INVALID_SESSION_ID")));
    // The login host is what it was, and so is the audience.
    let login = org.login(&old).await;
    assert_eq!(login["instance_url"], json!(new));
    let token = login["access_token"].as_str().unwrap();
    let at = async |host: &str| org.http.get(format!("{host}{V}/limits")).bearer_auth(token).send().await.unwrap();
    assert_eq!(at(&new).await.status(), 200);
    assert_eq!(at(&old).await.status(), 401, "the old host knows no session any more");
    // Refresh tokens live on, and lead to the new host as well.
    let info = org.emulator.info();
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", info.refresh_token.as_str()),
        ("client_id", info.client_id.as_str()),
        ("client_secret", info.client_secret.as_str()),
    ];
    assert_eq!(org.token(&form).await.1["instance_url"], json!(new));

    let told = json!({"status": 301, "body": "moved", "redirect": true});
    let (_, again) = org.post_control("instance/move", told).await;
    let third = again["instance_url"].as_str().unwrap();
    let plain = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let answered = plain.get(format!("{new}{V}/limits")).send().await.unwrap();
    assert_eq!(
        (answered.status().as_u16(), answered.headers()["location"].to_str().unwrap()),
        (301, format!("{third}{V}/limits").as_str())
    );
}

#[tokio::test]
async fn a_sandbox_that_is_refreshed_is_another_org() {
    let org = Org::start().await;
    let before = org.found("query", "SELECT Id FROM Organization").await[0]["Id"].clone();
    let (status, told) = org.post_control("organization/refresh", json!({"keep_records": false})).await;
    assert_eq!(status, 200);
    let id = told["organization_id"].as_str().unwrap();
    assert_ne!(json!(id), before);
    assert_eq!(org.get(&format!("{V}/limits")).await.0, 401);
    let login = org.login(&org.emulator.info().login_url).await;
    assert!(
        login["id"].as_str().unwrap().contains(id) && login["access_token"].as_str().unwrap().starts_with(&id[..15])
    );
    let token = login["access_token"].as_str().unwrap();
    let asked = org.http.get(org.url(&format!("{V}/query?q=SELECT+COUNT()+FROM+Contact"))).bearer_auth(token);
    assert_eq!(answer(asked.send().await.unwrap()).await.1["totalSize"], 0);
    let info = org.emulator.info();
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", info.refresh_token.as_str()),
        ("client_id", info.client_id.as_str()),
        ("client_secret", info.client_secret.as_str()),
    ];
    assert_eq!(org.token(&form).await.1["error"], "invalid_grant");
    let named = org
        .post_control("organization/refresh", json!({"organization_id": "00DEm0000000abc", "keep_tokens": true}))
        .await;
    assert!(named.1["organization_id"].as_str().unwrap().starts_with("00DEm0000000abc"));
    let again = org.http.get(org.url(&format!("{V}/limits"))).bearer_auth(token).send().await.unwrap();
    assert_eq!(again.status(), 200);
}

#[tokio::test]
async fn the_days_calls_run_out_and_come_back() {
    let org = Org::start().await;
    org.at("2027-01-10T10:00:00Z").await;
    assert_eq!(org.put("limits", json!({"daily_api_requests": 100, "api_requests_used": 98})).await, 204);
    let limits = async || org.call(Method::GET, "/limits", None).await;
    let first = limits().await;
    assert_eq!(
        (first.headers["sforce-limit-info"].to_str().unwrap(), &first.body["DailyApiRequests"]),
        ("api-usage=99/100", &json!({"Max": 100, "Remaining": 1}))
    );
    assert_eq!(limits().await.status, 200);
    let refused = limits().await;
    assert_eq!(
        (refused.status, &refused.body),
        (403, &json!([{"message": "TotalRequests Limit exceeded.", "errorCode": "REQUEST_LIMIT_EXCEEDED"}]))
    );
    assert_eq!(refused.headers["sforce-limit-info"], "api-usage=100/100");
    org.at("2027-01-11T11:00:00Z").await;
    assert_eq!(limits().await.headers["sforce-limit-info"], "api-usage=1/100", "a day later");
}

#[tokio::test]
async fn queries_over_too_many_rows_time_out() {
    let org = Org::start().await;
    org.leads(30).await;
    assert_eq!(org.put("limits", json!({"query_timeout_rows": 20})).await, 204);
    let message = "Your query request was running for too long.".to_owned();
    for soql in ["SELECT Id FROM Lead", "SELECT Id FROM Lead LIMIT 1", "SELECT COUNT() FROM Lead"] {
        assert_eq!(org.refused(soql).await, (400, "QUERY_TIMEOUT".to_owned(), message.clone()), "{soql}");
    }
    assert_eq!(org.found("query", "SELECT Id FROM Lead WHERE LastName < '0020'").await.len(), 20, "half of it is fine");
    assert_eq!(org.put("limits", json!({"query_timeout_rows": null})).await, 204);
    assert_eq!(org.found("query", "SELECT Id FROM Lead").await.len(), 30);
}

#[tokio::test]
async fn pages_come_twice_or_empty_or_not_at_all() {
    let org = Org::start().await;
    org.leads(600).await;
    let read = async || {
        let batch = [("sforce-query-options", "batchSize=200")];
        let soql = "/query?q=SELECT+LastName+FROM+Lead+WHERE+Company='c'+ORDER+BY+LastName";
        let mut page = org.call_with(Method::GET, soql, None, &batch).await.body;
        let mut seen = column(page["records"].as_array().unwrap(), "LastName");
        while let Some(next) = page["nextRecordsUrl"].as_str().map(str::to_owned) {
            page = org.call_with(Method::GET, &next, None, &batch).await.body;
            seen.extend(column(page["records"].as_array().unwrap(), "LastName"));
        }
        assert_eq!((&page["done"], &page["totalSize"]), (&json!(true), &json!(600)));
        seen.iter().map(|name| name.as_str().unwrap().parse::<u32>().unwrap()).collect::<Vec<_>>()
    };
    let all: Vec<u32> = (0..600).collect();
    assert_eq!(read().await, all);
    for (trick, expected) in [
        ("repeat", [&all[..200], &all[..200], &all[400..]].concat()),
        ("skip", [&all[..200], &all[400..]].concat()),
        ("empty", [&all[..200], &all[400..]].concat()),
        ("end", all[..200].to_vec()),
    ] {
        org.told(Method::POST, "pages", json!({"of": "query", "trick": trick})).await;
        assert_eq!(read().await, expected, "{trick}");
        assert_eq!(read().await, all, "once only");
    }
}
