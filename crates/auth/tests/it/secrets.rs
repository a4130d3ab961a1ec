//! Scenario 37: whatever is printed, no credential is in it. The logs of all other tests are watched too (`world`).

use std::error::Error;

use serde_json::json;
use tieline_auth::grant::authorization_code::Authorize;
use tieline_auth::{App, Clock, Grant, OrgConfig, Secret, SystemClock};

use crate::world::{World, open, quick, watched_lines};

/// All that can be seen of an error: both forms, and those of its causes.
fn seen(error: &dyn Error) -> String {
    let mut text = format!("{error} {error:?} {error:#?}");
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(&format!(" {next} {next:?}"));
        cause = next.source();
    }
    text
}

#[tokio::test]
async fn s37_no_credential_is_in_what_can_be_printed() {
    let world = World::rotating().await;
    let planted = ["planted-client-secret", "planted-password", "5Aep861plantedRefreshTokenOfSomeLength"];
    let config = |grant: Grant| {
        let mut config = OrgConfig::new(&world.info().login_url, &world.info().client_id, grant).unwrap();
        config.client_secret = Some(Secret::new(planted[0]));
        config
    };
    let password = Grant::Password { username: "someone".to_owned(), password: Secret::new(planted[1]) };
    let refresh = Grant::RefreshToken { refresh_token: Secret::new(planted[2]) };
    let mut all = String::new();
    for grant in [password, refresh, Grant::ClientCredentials] {
        let config = config(grant);
        all.push_str(&format!("{config:?} {:?} {}", config.grant, config.digest()));
        for fault in [
            json!(null),
            json!({"status": 500, "body": {"error": "server_error", "error_description": "no"}}),
            json!({"status": 200, "body": "<html>not a token</html>"}),
            json!({"cut": 0}),
        ] {
            if !fault.is_null() {
                world.token_fault(fault, 5).await;
            }
            let credentials = open(config.clone(), quick());
            let error = credentials.token().await.unwrap_err();
            all.push_str(&seen(&error));
            all.push_str(&format!("{} {credentials:?} {:?}", error.hint(), credentials.stats()));
            world.no_faults().await;
        }
    }
    // What succeeds prints no more.
    let credentials = open(world.refresh(), quick());
    let mut events = credentials.events();
    let token = credentials.token().await.unwrap();
    all.push_str(&format!("{credentials:?} {token:?} {:?} {:?}", events.try_recv(), credentials.introspect().await));
    let app = App { client_secret: Some(Secret::new(planted[0])), ..world.app() };
    let login = Authorize::new("http://localhost:1717/OauthRedirect".parse().unwrap());
    let login = login.begin(&app, SystemClock::default().now()).unwrap();
    all.push_str(&format!("{app:?} {login:?}"));
    let wrong = "http://localhost:1717/OauthRedirect?state=planted-state&code=planted-code".parse().unwrap();
    all.push_str(&seen(&login.finish(&wrong, &world.http, &SystemClock::default()).await.unwrap_err()));

    let own = [&world.info().client_secret, &world.info().refresh_token, &world.info().password];
    let token = token.access_token().expose().to_owned();
    for secret in
        planted.into_iter().chain(own.map(String::as_str)).chain([token.as_str(), "planted-code", "planted-state"])
    {
        assert!(!all.contains(secret), "`{secret}` is in: {all}");
    }
    assert!(tieline_auth::redact::find(&all).is_none(), "{:?}", tieline_auth::redact::find(&all).map(|at| &all[at]));
    assert!(watched_lines() > 100, "the logs were watched: {}", watched_lines());
}
