//! Logins that succeed, and those that must not: each refusal is named with a hint, and shows no secret.

use std::time::Duration;

use serde_json::json;
use tieline_auth::{AuthError, Credentials, Grant, OrgConfig, PrivateKey, Secret};

use crate::world::World;

async fn fails(config: OrgConfig) -> AuthError {
    let secret = config.client_secret.as_ref().map(|s| s.expose().to_owned());
    let credentials = Credentials::new(config).unwrap();
    let error = credentials.token().await.expect_err("this login must not succeed");
    let said = format!("{error} {error:?} {} {credentials:?}", error.hint());
    if let Some(secret) = secret {
        assert!(!said.contains(&secret), "a secret shows: {said}");
    }
    assert!(!error.hint().is_empty());
    error
}

#[tokio::test]
async fn both_grants_log_in_and_a_second_call_asks_nobody() {
    let world = World::new(1).await;
    for config in [world.jwt(), world.refresh()] {
        let before = world.token_requests().await;
        let connection = world.connect(config);
        for _ in 0..3 {
            connection.limits().await.unwrap();
        }
        assert_eq!(world.token_requests().await, before + 1);
        let token = connection.credentials().token().await.unwrap();
        assert!(token.organization_id().unwrap().starts_with("00D") && token.user_id().unwrap().starts_with("005"));
        assert!(!format!("{token:?}").contains(token.access_token().expose()));
    }
}

#[tokio::test]
async fn a_bad_login_is_refused_with_a_hint_that_fits() {
    let world = World::new(0).await;
    let other = World::new(0).await;
    let with = |change: &dyn Fn(&mut OrgConfig)| {
        let mut config = world.jwt();
        change(&mut config);
        config
    };
    let as_user = |name: &str| {
        let name = name.to_owned();
        with(&move |config| {
            if let Grant::JwtBearer { username, .. } = &mut config.grant {
                username.clone_from(&name);
            }
        })
    };
    let wrong_key = with(&|config| {
        let pem = std::fs::read_to_string(&other.info().private_key_file).unwrap();
        if let Grant::JwtBearer { key, .. } = &mut config.grant {
            *key = PrivateKey::from_pem(&pem).unwrap();
        }
    });
    let wrong_secret = {
        let mut config = world.refresh();
        config.client_secret = Some(Secret::new("planted-wrong-secret"));
        config
    };
    let mut wrong_token = world.refresh();
    wrong_token.grant = Grant::RefreshToken { refresh_token: Secret::new("5Aep861planted") };
    for (config, said, hinted) in [
        (wrong_key, "`invalid_grant` (invalid assertion)", "does not belong to the certificate"),
        (with(&|c| c.audience = Some("https://example.org".into())), "audience is invalid", "https://example.org"),
        (as_user("unapproved@local.tieline.test"), "user hasn't approved this consumer", "pre-authorise"),
        (as_user("nobody@local.tieline.test"), "user hasn't approved this consumer", "pre-authorise"),
        (as_user("inactive@local.tieline.test"), "inactive user", "reactivate"),
        (with(&|c| c.client_id = "3MVG9unknown".into()), "client identifier invalid", "SF_CLIENT_ID"),
        (wrong_secret, "invalid client credentials", "SF_CLIENT_SECRET"),
        (wrong_token, "expired access/refresh token", "log in again"),
    ] {
        let error = fails(config).await;
        assert!(error.to_string().contains(said), "{error}");
        assert!(error.hint().contains(hinted), "{}", error.hint());
        assert!(error.needs_person() && !error.is_transient());
    }
    assert_eq!(world.ledger().await["logins"], 0);
}

#[tokio::test]
async fn an_unreachable_host_and_a_gateways_page_are_transient() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let grant = Grant::RefreshToken { refresh_token: Secret::new("x") };
    let error = fails(OrgConfig::new(&format!("http://127.0.0.1:{port}"), "id", grant).unwrap()).await;
    assert!(error.to_string().contains("cannot be reached") && error.is_transient(), "{error}");

    let world = World::new(0).await;
    world
        .post("faults", json!({"path": "/services/oauth2", "times": 0, "status": 503, "body": "<html>Down</html>"}))
        .await;
    let error = fails(world.refresh()).await;
    assert!(error.to_string().contains("HTTP 503") && error.is_transient() && !error.needs_person(), "{error}");
}

#[tokio::test]
async fn a_token_response_that_names_a_foreign_host_gets_no_call() {
    let world = World::new(0).await;
    let evil = json!({"access_token": "t", "instance_url": "https://evilsalesforce.com", "id": "x/00D/005"});
    world.post("faults", json!({"path": "/services/oauth2", "status": 200, "body": evil})).await;
    let error = fails(world.refresh()).await;
    assert!(error.to_string().contains("evilsalesforce.com"), "{error}");
}

#[tokio::test]
async fn a_caller_that_gives_up_does_not_take_the_token_from_the_others() {
    let world = World::new(0).await;
    world.post("faults", json!({"path": "/services/oauth2", "times": 0, "delay_ms": 150})).await;
    let credentials = Credentials::new(world.refresh()).unwrap();
    let impatient = tokio::time::timeout(Duration::from_millis(20), credentials.token()).await;
    assert!(impatient.is_err(), "it gave up");
    credentials.token().await.unwrap();
    assert_eq!(world.token_requests().await, 1);
}
