//! Tokens for other programs: one that lasts, one instead of a refused one; and the login that needs no app.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tieline_auth::error::AuthErrorKind;
use tieline_auth::grant::soap_login::{self, LoginFailed};
use tieline_auth::{Credentials, Secret};

use crate::world::{World, manual};

#[tokio::test]
async fn a_token_that_has_too_little_time_left_is_replaced_once_for_all_who_ask() {
    let world = World::new().await;
    let clock = manual();
    let credentials = Credentials::with_clock(world.jwt(), clock.clone()).unwrap();
    let (first, _) = credentials.token_for(Duration::from_secs(60)).await.unwrap();
    clock.advance(Duration::from_secs(100));
    let (same, from_cache) = credentials.token_for(Duration::from_secs(50)).await.unwrap();
    assert!(from_cache && Arc::ptr_eq(&first, &same), "50 of 150 seconds are left");
    let askers = (0..20).map(|_| {
        let credentials = credentials.clone();
        tokio::spawn(async move { credentials.token_for(Duration::from_secs(51)).await.unwrap().0 })
    });
    let mut tokens = Vec::new();
    for asker in askers.collect::<Vec<_>>() {
        tokens.push(asker.await.unwrap());
    }
    assert!(tokens.iter().all(|token| Arc::ptr_eq(token, &tokens[0])) && !Arc::ptr_eq(&tokens[0], &first));
    assert_eq!(world.token_requests().await, 2);
    // More than the policy gives: a new one each time, which is the best there is.
    let (short, from_cache) = credentials.token_for(Duration::from_secs(1_000)).await.unwrap();
    assert!(!from_cache && !Arc::ptr_eq(&short, &tokens[0]));
    // While the org cannot be reached, the one at hand is better than none.
    world.post("faults", json!({"path": "/services/oauth2/token", "times": 0, "status": 503})).await;
    let (kept, _) = credentials.token_for(Duration::from_secs(1_000)).await.unwrap();
    assert!(Arc::ptr_eq(&kept, &short));
}

#[tokio::test]
async fn a_refused_token_s_text_drops_that_token_and_no_newer_one() {
    let world = World::new().await;
    let credentials = Credentials::new(world.jwt()).unwrap();
    let first = credentials.token().await.unwrap();
    let refused = Secret::new(first.access_token().expose());
    let (second, _) = credentials.token_instead_of(&refused).await.unwrap();
    assert!(!Arc::ptr_eq(&first, &second));
    for _ in 0..3 {
        let (third, from_cache) = credentials.token_instead_of(&refused).await.unwrap();
        assert!(from_cache && Arc::ptr_eq(&second, &third), "whoever comes late changes nothing");
    }
    assert_eq!(world.token_requests().await, 2);
}

#[tokio::test]
async fn a_user_name_and_a_password_log_in_by_soap_where_the_org_allows_it() {
    let world = World::new().await;
    let info = world.info();
    let http = &world.http;
    let password = Secret::new(&info.password);
    let config = soap_login::login(&info.login_url, &info.username, &password, http).await.unwrap();
    let credentials = Credentials::new(config).unwrap();
    let user = credentials.userinfo().await.unwrap();
    assert_eq!(user.preferred_username.as_deref(), Some(info.username.as_str()));
    let refused = async |username: &str, password: &str| match soap_login::login(
        &info.login_url,
        username,
        &Secret::new(password),
        http,
    )
    .await
    {
        Err(LoginFailed::Auth(error)) => error,
        other => panic!("{other:?}"),
    };
    for (username, password) in [(info.username.as_str(), "wrong"), ("<nobody>&", "]]>")] {
        let error = refused(username, password).await;
        assert!(matches!(error.kind(), AuthErrorKind::Refused { error, .. } if error == "INVALID_LOGIN"), "{error}");
        assert!(error.needs_person() && error.hint().contains("security token"), "{}", error.hint());
    }
    world.put("setup", json!({"soap_login": false})).await;
    let error = refused(&info.username, &info.password).await;
    assert!(error.hint().contains("log in by browser instead"), "{error}");
    assert!(matches!(
        soap_login::login("https://example.org", "a", &password, http).await,
        Err(LoginFailed::Config(_))
    ));
}
