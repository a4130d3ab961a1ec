//! The suite can fail: what the org answers otherwise is NOT HELD, and nothing else.

use reqwest::Method;
use serde_json::json;
use tieline_contract::{Area, Report, Settings, Verdict};

use crate::world::{World, names};

/// A run of some areas with a fault of the emulator's.
async fn with_fault(areas: &[Area], fault: serde_json::Value) -> Report {
    let world = World::new(20).await;
    world.control(Method::POST, "faults", fault).await;
    let settings = Settings { areas: areas.to_vec(), ..Settings::default() };
    world.run(world.jwt(), &settings).await
}

#[tokio::test(flavor = "multi_thread")]
async fn another_code_in_a_refusal_is_not_held() {
    let body = json!([{"message": "The requested resource does not exist", "errorCode": "GONE"}]);
    let fault = json!({"path": "/services/data/v67.0/tielineContract", "times": 0, "status": 404, "body": body});
    let report = with_fault(&[Area::Errors], fault).await;
    assert_eq!(names(&report, "not_held"), ["an unknown resource is 404 NOT_FOUND"]);
    assert!(!report.all_held());
    let finding = report.findings.iter().find(|finding| finding.outcome() == "not_held").unwrap();
    let Verdict::NotHeld { expected, seen } = &finding.verdict else { panic!("{finding:?}") };
    assert_eq!(expected, "404 NOT_FOUND");
    assert!(seen.starts_with("404: [") && seen.contains("\"errorCode\":\"GONE\""), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_words_of_a_refusal_differ_and_hold() {
    let body = json!([{"message": "Nothing here", "errorCode": "NOT_FOUND"}]);
    let fault = json!({"path": "/services/data/v67.0/tielineContract", "times": 0, "status": 404, "body": body});
    let report = with_fault(&[Area::Errors], fault).await;
    assert_eq!(names(&report, "words_differ"), ["an unknown resource is 404 NOT_FOUND"]);
    assert!(report.all_held(), "{}", report.summary());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_is_missing_is_not_held() {
    let body = json!([{"message": "HTTP Method 'PATCH' not allowed. Allowed are GET,HEAD,POST", "errorCode": "METHOD_NOT_ALLOWED"}]);
    let fault = json!({"path": "/services/data/v67.0/sobjects/Account", "method": "PATCH", "times": 0, "status": 405, "body": body});
    let report = with_fault(&[Area::Errors], fault).await;
    assert_eq!(names(&report, "not_held"), ["a method that a resource lacks is 405, with those that it has"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_answer_of_the_token_endpoint_is_not_held() {
    let body = "Bad_Token";
    let fault = json!({"path": "/services/oauth2/revoke", "times": 1, "status": 400, "body": body});
    let report = with_fault(&[Area::Tokens], fault).await;
    assert_eq!(names(&report, "not_held"), ["revoking an unknown token is 400, and its body is a form"]);
}
