//! The token exchange, and what becomes of its tokens.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{ACCESS_TOKEN, GRANT};
use crate::{Org, answer};

const PATH: &str = "/services/a360/token";

fn claims(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

#[tokio::test]
async fn a_core_token_becomes_a_data_cloud_token() {
    let org = Org::with_tenant().await;
    let core = org.emulator.info().access_token.clone();
    let (status, body) = org.exchanged(&core).await;
    assert_eq!(status, 200, "{body}");
    let keys: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["access_token", "instance_url", "token_type", "issued_token_type", "expires_in"]);
    assert_eq!(body["instance_url"], org.tenant().strip_prefix("http://").unwrap(), "no scheme");
    assert_eq!(body["expires_in"], 7_200);
    let claims = claims(body["access_token"].as_str().unwrap());
    let tenant = claims["audienceTenantId"].as_str().unwrap();
    let digits = tenant.strip_prefix("a360/prod/").unwrap();
    assert!(digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit()), "{tenant}");
    assert_eq!(claims["scope"], "cdp_query_api cdp_ingest_api cdp_profile_api");
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 7_200);
    // Salesforce's Python connector sends all of it in the query string, with an empty body.
    let fields = [("grant_type", GRANT), ("subject_token", &core), ("subject_token_type", ACCESS_TOKEN)];
    let (status, again) = answer(org.http.post(org.url(PATH)).query(&fields).send().await.unwrap()).await;
    assert_eq!(status, 200);
    assert_ne!(again["access_token"], body["access_token"]);
    let ledger = org.ledger().await;
    assert_eq!((&ledger["token_requests"][GRANT], &ledger["logins"]), (&json!(2), &json!(0)), "no login: {ledger}");
}

#[tokio::test]
async fn what_is_not_an_exchange_is_refused_by_its_code() {
    let org = Org::with_tenant().await;
    let core = org.emulator.info().access_token.clone();
    for (grant, subject, kind, expected) in [
        ("password", core.as_str(), ACCESS_TOKEN, "unsupported_grant_type"),
        (GRANT, &core, "urn:ietf:params:oauth:token-type:jwt", "invalid_request"),
        (GRANT, "00DEm0000000001!dead", ACCESS_TOKEN, "invalid_grant"),
        (GRANT, "", ACCESS_TOKEN, "invalid_grant"),
    ] {
        let form = [("grant_type", grant), ("subject_token", subject), ("subject_token_type", kind)];
        let (status, body) = answer(org.http.post(org.url(PATH)).form(&form).send().await.unwrap()).await;
        assert_eq!((status, &body["error"]), (400, &json!(expected)));
        assert!(body["error_description"].is_string());
    }
    assert_eq!(org.put("app", json!({"scopes": ["api", "refresh_token"]})).await, 204);
    let (_, plain) = org.token(&org.of_app(&[("grant_type", "client_credentials")])).await;
    let (status, body) = org.exchanged(plain["access_token"].as_str().unwrap()).await;
    assert_eq!((status, &body["error"]), (400, &json!("invalid_scope")));
}

#[tokio::test]
async fn an_org_without_data_cloud_knows_no_exchange() {
    let org = Org::start().await;
    assert_eq!(org.exchanged(&org.emulator.info().access_token).await.0, 404);
    assert!(org.emulator.info().datacloud_url.is_none());
    assert!(!org.emulator.info().access_token.is_empty());
    assert!(org.ledger().await.get("datacloud").is_none());
}

#[tokio::test]
async fn an_exchange_needs_a_live_session_and_counts_as_its_use() {
    let org = Org::with_tenant().await;
    let core = org.emulator.info().access_token.clone();
    for _ in 0..2 {
        org.advance(7_000).await;
        assert_eq!(org.exchanged(&core).await.0, 200, "each exchange moves the end");
    }
    org.advance(7_300).await;
    let (status, body) = org.exchanged(&core).await;
    assert_eq!((status, &body["error"]), (400, &json!("invalid_grant")));
}

#[tokio::test]
async fn a_token_of_the_password_flow_is_exchanged_once() {
    let org = Org::with_tenant().await;
    let info = org.emulator.info();
    let fields = [("grant_type", "password"), ("username", &info.username), ("password", &info.password)];
    let (_, body) = org.token(&org.of_app(&fields)).await;
    let core = body["access_token"].as_str().unwrap();
    assert_eq!(org.exchanged(core).await.0, 200);
    let (status, page) = org.exchanged(core).await;
    assert_eq!(status, 400);
    assert!(page.as_str().unwrap().starts_with("<html>"), "a page, no JSON: {page}");
    assert!(org.works(core).await, "the session itself goes on");
}

#[tokio::test]
async fn a_revoked_core_token_leaves_its_data_cloud_token_alive() {
    let org = Org::with_tenant().await;
    let token = org.datacloud_token().await;
    let core = org.emulator.info().access_token.clone();
    let revoke = org.http.post(org.url("/services/oauth2/revoke")).form(&[("token", &core)]).send().await.unwrap();
    assert_eq!(revoke.status(), 200);
    assert_eq!(org.exchanged(&core).await.0, 400);
    assert_eq!(org.execute(&token, "select 1").await.status, Some(14), "past the door, where nobody answers");
}

#[tokio::test]
async fn data_cloud_tokens_end_by_the_clock_and_by_revocation() {
    let org = Org::with_tenant().await;
    assert_eq!(org.put("limits", json!({"datacloud_token_life_seconds": 600})).await, 204);
    let (_, body) = org.exchanged(&org.emulator.info().access_token).await;
    assert_eq!(body["expires_in"], 600);
    let short = body["access_token"].as_str().unwrap();
    assert_eq!(org.execute(short, "select 1").await.status, Some(14));
    org.advance(601).await;
    assert_eq!(org.execute(short, "select 1").await.status, Some(16));

    let (one, two) = (org.datacloud_token().await, org.datacloud_token().await);
    let (_, body) = org.post_control("tokens/revoke", json!({"datacloud": true})).await;
    assert_eq!(body["ended"], 2);
    for token in [one, two] {
        assert_eq!(org.execute(&token, "select 1").await.status, Some(16));
    }
    assert_eq!(org.execute(&org.datacloud_token().await, "select 1").await.status, Some(14), "a new one works");
    assert_eq!(org.post_control("reset", json!({})).await.0, 204);
    assert_eq!(org.exchanged(&org.emulator.info().access_token).await.1["expires_in"], 7_200);
}
