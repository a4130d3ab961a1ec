//! What a report tells, and what not; and whom the suite refuses.

use reqwest::Method;
use serde_json::{Value, json};
use tieline_contract::{Area, Settings, run};

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_report_tells_nobodys_names_and_no_secrets() {
    let world = World::new(20).await;
    let found = world.query("SELECT Id FROM Contact LIMIT 1").await;
    let id = found["records"][0]["Id"].as_str().unwrap().to_owned();
    let info = world.info().clone();
    let org = &info.access_token[..15];
    // An org that says in its refusals all that it should not be quoted with.
    let message = format!(
        "record {id} of {} at {}/x for {} with {} and {} by ada@example.com in {org}",
        info.username, info.instance_url, info.client_id, info.access_token, info.refresh_token
    );
    for path in ["/services/data/v67.0/tielineContract", "/services/data/v67.0/search"] {
        let body = json!([{"message": message, "errorCode": "ODD"}]);
        let fault = json!({"path": path, "times": 0, "status": 400, "body": body});
        world.control(Method::POST, "faults", fault).await;
    }
    let settings = Settings { areas: vec![Area::Errors, Area::Search, Area::Tokens], ..Settings::default() };
    let report = world.run(world.refresh(), &settings).await;
    assert!(report.count("not_held") >= 3, "{}", report.summary());
    let mut all = report.markdown() + &report.summary();
    for finding in &report.findings {
        all += &finding.lines();
        let line: Value = serde_json::from_str(&finding.json()).unwrap();
        assert_eq!(line["outcome"], finding.outcome());
        all += &finding.json();
    }
    let host = info.instance_url.trim_start_matches("http://");
    let secrets =
        [&id, &info.username, host, &info.client_id, &info.client_secret, &info.access_token, &info.refresh_token, org];
    for secret in secrets.into_iter().chain(["ada@example.com"]) {
        assert!(!all.contains(secret), "{secret} is in {all}");
    }
    assert!(all.contains("record <003…> of <user name> at http://<host>/x for <consumer key>"), "{all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_comes_where_a_refusal_was_expected_is_not_told() {
    let world = World::new(20).await;
    // Longer than what is shown, so that a token is cut off in its middle.
    let token = format!("00D000000000001!{}", "AQEAQ.x_".repeat(50));
    let body = json!({"scope": "x ".repeat(125), "access_token": token, "refresh_token": "5Aep861secret.of_another"});
    let fault = json!({"path": "/services/oauth2/token", "nth": 2, "times": 0, "status": 200, "body": body});
    world.control(Method::POST, "faults", fault).await;
    let settings = Settings { areas: vec![Area::Logins], ..Settings::default() };
    let report = world.run(world.jwt(), &settings).await;
    assert!(report.count("not_held") > 10, "{}", report.summary());
    let all: String = report.findings.iter().map(|finding| finding.lines() + &finding.json()).collect();
    assert!(!all.contains("AQEAQ") && !all.contains("5Aep861"), "{all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_production_org_is_refused_before_anything_is_written() {
    let world = World::new(20).await;
    let body = json!({"totalSize": 1, "done": true, "records": [
        {"IsSandbox": false, "OrganizationType": "Enterprise Edition", "TrialExpirationDate": null}]});
    let fault = json!({"path": "/services/data/v67.0/query", "times": 0, "status": 200, "body": body});
    world.control(Method::POST, "faults", fault).await;
    let settings = Settings { areas: vec![Area::Records], ..Settings::default() };
    let error = run(world.jwt(), &settings, |finding| panic!("{finding:?}")).await.unwrap_err().to_string();
    assert!(error.contains("this is a production org (Enterprise Edition)") && error.contains("hint: "), "{error}");
    assert_eq!(world.ledger().await["records_written"], 0);
    let asked_for = Settings { even_production: true, ..settings };
    let report = world.run(world.jwt(), &asked_for).await;
    assert_eq!(report.kind, "Enterprise Edition");
    assert!(report.count("held") > 10, "{}", report.summary());
}
