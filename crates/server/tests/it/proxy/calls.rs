//! What gets through, and how it comes back.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tieline_client::Request;

use super::{Program, integration_of, key, value};
use crate::database::Db;
use crate::world::World;

on_both!(
    records_are_read_and_written_as_by_the_client,
    one_business_cannot_use_the_connection_of_another,
    a_login_that_needs_a_person_is_told_and_noted,
    roles_and_the_integrations_own_switch_say_who_may_what,
    a_change_that_cannot_be_written_down_is_not_sent,
);

async fn a_change_that_cannot_be_written_down_is_not_sent(db: Db) {
    let world = World::new(db).await;
    let mut owner = world.owner().await;
    let program = Program::connected(&world, &mut owner).await;
    let contacts = "/services/data/v67.0/sobjects/Contact";
    assert_eq!(program.get("/services/data/v67.0/limits").await.0, 200);

    world.db.raw.failpoint("BEFORE INSERT ON audit_log", "").await;
    let written = world.ledger().await["records_written"].clone();
    let (status, refused) = program.call(Method::POST, contacts, Some(json!({"LastName": "Lost"}))).await;
    assert!(status.is_server_error(), "{status} {refused}");
    assert_eq!(world.ledger().await["records_written"], written);
    assert_eq!(program.get("/services/data/v67.0/limits").await.0, 200, "reading is not told of");
    world.db.raw.mend("audit_log").await;

    let (status, made) = program.call(Method::POST, contacts, Some(json!({"LastName": "Kept"}))).await;
    assert_eq!(status, 201, "{made}");
    let (_, audit) = owner.get("/api/audit?limit=2").await;
    let of = |n: usize| (audit["items"][n]["action"].as_str().unwrap(), &audit["items"][n]["detail"]["call"]);
    let ((begun, id), (called, same)) = (of(1), of(0));
    assert_eq!((begun, called), ("proxy.begun", "proxy.called"), "{audit}");
    assert!(id.is_string() && id == same, "{audit}");
}

async fn records_are_read_and_written_as_by_the_client(db: Db) {
    let world = World::new(db).await;
    let mut owner = world.owner().await;
    let program = Program::connected(&world, &mut owner).await;
    let query = "/query?q=SELECT+Id%2CLastName+FROM+Contact%0AORDER+BY+Id";

    let service = &world.nodes[0].service;
    let tenant = world.db.store.own();
    let integration = tenant.integrations().await.unwrap().remove(0);
    let connection = service.connection(&tenant, &integration).await.unwrap();
    let direct = connection.send(&Request::get(connection.data_path(&query[1..]))).await.unwrap();
    let answer = program.request(Method::GET, &format!("/services/data/v67.0{query}")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let headers = answer.headers().clone();
    assert_eq!(headers["x-tieline-upstream"], "salesforce");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    let usage = headers["x-tieline-api-usage"].to_str().unwrap();
    assert!(headers["sforce-limit-info"].to_str().unwrap().contains(usage), "{headers:?}");
    assert_eq!(answer.bytes().await.unwrap(), direct.body);
    let (status, latest) = program.get(&format!("/services/data/latest{query}")).await;
    assert_eq!((status.as_u16(), &latest["totalSize"]), (200, &json!(20)));

    let contacts = "/services/data/v67.0/sobjects/Contact";
    let (status, made) = program.call(Method::POST, contacts, Some(json!({"LastName": "Lovelace"}))).await;
    assert_eq!((status.as_u16(), &made["success"]), (201, &json!(true)), "{made}");
    let one = format!("{contacts}/{}", made["id"].as_str().unwrap());
    let (status, nothing) = program.call(Method::PATCH, &one, Some(json!({"FirstName": "Ada"}))).await;
    assert_eq!((status.as_u16(), &nothing), (204, &json!("")));
    let (_, read) = program.get(&format!("{one}?fields=FirstName,LastName")).await;
    assert_eq!((&read["FirstName"], &read["LastName"]), (&json!("Ada"), &json!("Lovelace")));
    assert_eq!(program.request(Method::HEAD, &one).send().await.unwrap().status(), 200);
    assert_eq!(program.call(Method::DELETE, &one, None).await.0, 204);

    // What the org refuses is the org's to say.
    let answer = program.request(Method::GET, &one).send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["x-tieline-upstream"]),
        (404, &"salesforce".parse().unwrap())
    );
    assert_eq!(value(answer).await[0]["errorCode"], "NOT_FOUND");
    let (status, wrong) = program.get("/services/data/v67.0/query?q=SELECT").await;
    assert_eq!((status.as_u16(), &wrong[0]["errorCode"]), (400, &json!("MALFORMED_QUERY")));
    // And what this service refuses says so.
    let answer = program.request(Method::GET, "/services/oauth2/userinfo").send().await.unwrap();
    assert!(answer.status() == 403 && !answer.headers().contains_key("x-tieline-upstream"));
    assert_eq!(program.call(Method::OPTIONS, contacts, None).await.0, 405);
}

async fn one_business_cannot_use_the_connection_of_another(db: Db) {
    let world = World::new(db).await;
    let mut owner = world.owner().await;
    let program = Program::connected(&world, &mut owner).await;
    let (_, other) = owner.post("/api/businesses", json!({"name": "Other"})).await;
    let http = reqwest::Client::builder().build().unwrap();
    let cookies: Vec<String> = owner.cookies.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let answer = http
        .post(format!("{}/api/keys", owner.url))
        .header("cookie", cookies.join("; "))
        .header("x-csrf-token", &owner.csrf)
        .header("x-tieline-business", other["id"].as_str().unwrap())
        .json(&json!({"name": "k", "role": "owner"}))
        .send()
        .await
        .unwrap();
    let made = value(answer).await;
    let stranger =
        Program { key: made["key"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned(), ..program.clone() };
    let before = world.ledger().await;
    for method in [Method::GET, Method::POST] {
        let (status, problem) = stranger.call(method, "/services/data/v67.0/limits", None).await;
        assert_eq!((status.as_u16(), &problem["code"]), (404, &json!("not_found")), "{problem}");
    }
    let nobody = Program { key: "tl_nobody".to_owned(), ..program.clone() };
    assert_eq!(nobody.get("/services/data/v67.0/limits").await.0, 401);
    assert_eq!(world.ledger().await["api_calls"], before["api_calls"]);
    assert_eq!(program.get("/services/data/v67.0/limits").await.0, 200);
}

async fn a_login_that_needs_a_person_is_told_and_noted(db: Db) {
    let world = World::new(db).await;
    let mut owner = world.owner().await;
    let program = Program::connected(&world, &mut owner).await;
    let id = program.base.rsplit('/').nth(1).unwrap().to_owned();
    world.control(Method::POST, "tokens/revoke", json!({"all": true})).await;
    let dead = json!({"error": "invalid_grant", "error_description": "expired access/refresh token"});
    let fault = json!({"path": "/services/oauth2/token", "status": 400, "times": 0, "body": dead});
    world.control(Method::POST, "faults", fault).await;
    let (status, problem) = program.get("/services/data/v67.0/limits").await;
    assert_eq!((status.as_u16(), &problem["code"]), (409, &json!("needs_login")), "{problem}");
    assert!(problem["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{problem}");
    let (_, noted) = owner.get(&format!("/api/integrations/{id}")).await;
    assert_eq!((&noted["status"], &noted["status_reason"]), (&json!("error"), &problem["detail"]), "{noted}");
    // Disconnected, and never connected.
    world.control(Method::DELETE, "faults", json!({})).await;
    owner.post(&format!("/api/integrations/{id}/disconnect"), json!({})).await;
    let (status, problem) = program.get("/services/data/v67.0/limits").await;
    assert_eq!((status.as_u16(), &problem["code"]), (409, &json!("disconnected")), "{problem}");
    let (_, pending) = owner.post("/api/integrations", json!({"name": "new"})).await;
    let program = Program::new(&world, pending["id"].as_str().unwrap(), program.key);
    let (status, problem) = program.get("/services/data/v67.0/limits").await;
    assert_eq!((status.as_u16(), &problem["code"]), (409, &json!("not_connected")), "{problem}");
}

async fn roles_and_the_integrations_own_switch_say_who_may_what(db: Db) {
    let world = World::new(db).await;
    let mut owner = world.owner().await;
    let program = Program::connected(&world, &mut owner).await;
    let id = program.base.rsplit('/').nth(1).unwrap().to_owned();
    let viewer = Program { key: key(&mut owner, "viewer").await, ..program.clone() };
    let contacts = "/services/data/v67.0/sobjects/Contact";
    let anonymous = "/services/data/v67.0/tooling/executeAnonymous/?anonymousBody=System.debug(1)%3B";
    assert_eq!(viewer.get("/services/data/v67.0/limits").await.0, 200);
    let before = world.ledger().await;
    for (method, path) in [
        (Method::POST, contacts.to_owned()),
        (Method::DELETE, format!("{contacts}/003000000000001AAA")),
        (Method::GET, anonymous.to_owned()),
        (Method::HEAD, anonymous.to_owned()),
        (Method::GET, format!("{contacts}/003000000000001AAA?_HttpMethod=DELETE")),
    ] {
        let (status, problem) = viewer.call(method.clone(), &path, None).await;
        assert_eq!(status, 403, "{method} {path} {problem}");
    }
    for (mode, read, write) in [("read", 200, 403), ("off", 403, 403)] {
        let (status, changed) =
            owner.call(Method::PATCH, &format!("/api/integrations/{id}"), Some(json!({"proxy": mode}))).await;
        assert_eq!((status.as_u16(), &changed["config"]["proxy"]), (200, &json!(mode)));
        assert_eq!(program.get("/services/data/v67.0/limits").await.0.as_u16(), read, "{mode}");
        assert_eq!(program.get(anonymous).await.0.as_u16(), write, "{mode}");
        let (status, problem) = program.call(Method::POST, contacts, Some(json!({"LastName": "X"}))).await;
        assert_eq!((status.as_u16(), &problem["code"]), (write, &json!("proxy_off")), "{mode}");
    }
    assert_eq!(world.ledger().await["records_written"], before["records_written"]);
    let wrong = owner.call(Method::PATCH, &format!("/api/integrations/{id}"), Some(json!({"proxy": "maybe"}))).await;
    assert_eq!(wrong.0, 400);
    owner.call(Method::PATCH, &format!("/api/integrations/{id}"), Some(json!({"proxy": "write"}))).await;

    // People: by script from our own pages, and not by a link on somebody else's.
    let path = format!("/api/connections/{id}/proxy{contacts}");
    assert_eq!(owner.get(&path).await.0, 200);
    assert_eq!(owner.call(Method::POST, &path, Some(json!({"LastName": "X"}))).await.0, 201);
    let (status, problem) = owner.get(&format!("/api/connections/{id}/proxy{anonymous}")).await;
    assert_eq!((status.as_u16(), &problem["code"]), (403, &json!("method_hidden")));
    let cookies: Vec<String> = owner.cookies.iter().map(|(k, v)| format!("{k}={v}")).collect();
    for (name, sent, code) in [
        ("sec-fetch-site", "cross-site", "foreign_origin"),
        ("sec-fetch-dest", "script", "not_for_pages"),
        ("sec-fetch-dest", "iframe", "not_for_pages"),
    ] {
        let http = reqwest::Client::builder().build().unwrap();
        let request = http.get(format!("{}{path}", owner.url)).header("cookie", cookies.join("; ")).header(name, sent);
        assert_eq!(value(request.send().await.unwrap()).await["code"], code, "{name}: {sent}");
    }
    let forged = reqwest::Client::builder().build().unwrap();
    let forged = forged.post(format!("{}{path}", owner.url)).header("cookie", cookies.join("; ")).json(&json!({}));
    assert_eq!(value(forged.send().await.unwrap()).await["code"], "csrf");
}

#[tokio::test]
async fn a_refused_token_is_renewed_once() {
    let world = World::new(Db::sqlite().await).await;
    let mut owner = world.owner().await;
    let program = Program::connected(&world, &mut owner).await;
    let contacts = "/services/data/v67.0/sobjects/Contact";
    let before = world.ledger().await;
    world.control(Method::POST, "tokens/revoke", json!({"all": true})).await;
    let (status, made) = program.call(Method::POST, contacts, Some(json!({"LastName": "Once"}))).await;
    assert_eq!(status, 201, "{made}");
    let after = world.ledger().await;
    assert_eq!(after["token_requests"]["refresh_token"], 1, "{after}");
    let written = |ledger: &Value| ledger["records_written"].as_u64().unwrap();
    assert_eq!(written(&after), written(&before) + 1);
    assert_eq!(program.get("/services/data/v67.0/limits").await.0, 200);
    assert_eq!(world.ledger().await["token_requests"]["refresh_token"], 1);
}

#[tokio::test]
async fn what_passes_is_tried_again_and_what_stays_is_passed_on() {
    let world = World::new(Db::sqlite().await).await;
    let mut owner = world.owner().await;
    let program = Program::connected(&world, &mut owner).await;
    world.control(Method::POST, "faults", json!({"path": "/services/data", "status": 503, "times": 2})).await;
    assert_eq!(program.get("/services/data/v67.0/limits").await.0, 200);
    let teapot = json!({
        "path": "/services/data", "status": 418, "body": "short and stout",
        "headers": {"content-type": "text/plain", "retry-after": "7", "warning": "299 - \"old\"", "x-secret": "no"},
    });
    world.control(Method::POST, "faults", teapot).await;
    let answer = program.request(Method::GET, "/services/data/v67.0/limits").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (418, &"7".parse().unwrap()));
    assert!(answer.headers().contains_key("warning") && !answer.headers().contains_key("x-secret"));
    assert_eq!(answer.text().await.unwrap(), "short and stout");
}

#[tokio::test]
async fn a_location_leads_back_to_the_proxy() {
    let world = World::new(Db::sqlite().await).await;
    let mut owner = world.owner().await;
    let program = Program::connected(&world, &mut owner).await;
    let instance = world.org.info().instance_url.clone();
    let own = url::Url::parse(&program.base).unwrap().path().to_owned();
    for (location, led) in [
        (format!("{instance}/services/data/v67.0/limits?a=b"), Some("/services/data/v67.0/limits?a=b")),
        ("/services/data/v67.0/jobs/ingest/1".to_owned(), Some("/services/data/v67.0/jobs/ingest/1")),
        ("https://evil.example/services/data".to_owned(), None),
        (format!("{instance}/secur/frontdoor.jsp?sid=x"), None),
    ] {
        for status in [201, 303] {
            let fault = json!({"path": "/services/data", "status": status, "headers": {"location": location}});
            world.control(Method::POST, "faults", fault).await;
            let answer = program.request(Method::GET, "/services/data/v67.0/limits").send().await.unwrap();
            assert_eq!(answer.status().as_u16(), status);
            let found = answer.headers().get("location").map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(found, led.map(|path| format!("{own}{path}")), "{location}");
        }
    }
}

#[tokio::test]
async fn an_orgs_page_does_not_run_here() {
    let world = World::new(Db::sqlite().await).await;
    let mut owner = world.owner().await;
    let upstream = super::upstream::Upstream::start().await;
    let integration = integration_of(&world, &upstream.url).await;
    let program = Program::new(&world, &integration.id.to_string(), key(&mut owner, "viewer").await);
    let answer = program.request(Method::GET, "/services/apexrest/page").send().await.unwrap();
    let headers = answer.headers();
    assert_eq!(answer.status(), 200);
    assert_eq!(headers["content-disposition"], "attachment");
    assert!(headers["content-security-policy"].to_str().unwrap().starts_with("sandbox;"), "{headers:?}");
    assert_eq!(headers.get_all("content-security-policy").iter().count(), 1);
    for name in ["set-cookie", "access-control-allow-origin", "location"] {
        assert!(!headers.contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn the_reserve_is_left_to_others() {
    let world = World::new(Db::sqlite().await).await;
    let mut owner = world.owner().await;
    let program = Program::connected(&world, &mut owner).await;
    let id = program.base.rsplit('/').nth(1).unwrap().to_owned();
    let place = format!("/api/integrations/{id}");
    let (status, changed) = owner.call(Method::PATCH, &place, Some(json!({"api_reserve": "100%"}))).await;
    assert_eq!((status.as_u16(), &changed["config"]["api_reserve"]), (200, &json!("100%")));
    // The first one finds out.
    assert_eq!(program.get("/services/data/v67.0/limits").await.0, 200);
    let before = world.ledger().await["api_calls"].clone();
    let answer = program.request(Method::GET, "/services/data/v67.0/limits").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (429, &"60".parse().unwrap()));
    assert_eq!(value(answer).await["code"], "api_reserve_reached");
    assert_eq!(world.ledger().await["api_calls"], before);
    assert_eq!(owner.call(Method::PATCH, &place, Some(json!({"api_reserve": "much"}))).await.0, 400);
    assert_eq!(owner.call(Method::PATCH, &place, Some(json!({"api_reserve": ""}))).await.0, 200);
    assert_eq!(program.get("/services/data/v67.0/limits").await.0, 200);
}

#[tokio::test]
async fn an_org_that_does_not_answer_is_told_from_one_that_refuses() {
    let patience = Duration::from_millis(800);
    let world = World::with_settings(Db::sqlite().await, 1, |settings| settings.upstream_patience = patience).await;
    let mut owner = world.owner().await;
    let upstream = super::upstream::Upstream::start().await;
    let integration = integration_of(&world, &upstream.url).await;
    let program = Program::new(&world, &integration.id.to_string(), key(&mut owner, "member").await);
    let large = vec![b'a'; 2_000_000];
    for (method, body) in
        [(Method::GET, None), (Method::POST, Some(vec![b'a'; 10])), (Method::PUT, Some(large.clone()))]
    {
        let mut request = program.request(method.clone(), "/services/apexrest/hang");
        if let Some(body) = body {
            request = request.body(body);
        }
        let answer = tokio::time::timeout(patience * 8, request.send()).await.unwrap().unwrap();
        assert_eq!(answer.status(), 504, "{method}");
        let problem = value(answer).await;
        assert_eq!(problem["code"], "upstream_unreachable");
        let maybe = problem["hint"].as_str().unwrap().contains("look before repeating");
        assert_eq!(maybe, method != Method::GET, "{problem}");
    }
    // A body that is gone is not sent twice, and nobody takes the org's word about a token for one about a key.
    upstream.seen();
    let answer = program.request(Method::PUT, "/services/apexrest/refuse").body(large).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), value(answer).await["code"].clone()), (503, json!("send_again")));
    assert_eq!(upstream.seen().len(), 1);
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    integration_of(&world, &format!("http://{closed}")).await;
    let answer = program.request(Method::POST, "/services/apexrest/x").send().await.unwrap();
    assert!(matches!(answer.status().as_u16(), 502 | 504), "{}", answer.status());
    assert_eq!(value(answer).await["code"], "upstream_unreachable");
}
