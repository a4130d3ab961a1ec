//! Every grant logs in, and what it may not do it does not.

use serde_json::json;
use tieline_auth::grant::device::DeviceLogin;
use tieline_auth::grant::token_exchange::{Subject, SubjectKind};
use tieline_auth::{Grant, OrgConfig, Reuse, Secret, SystemClock};

use crate::world::{World, my_domain, open, quick, text};

#[tokio::test]
async fn every_grant_that_needs_no_person_logs_in() {
    let world = World::new().await;
    let info = world.info();
    world.put("app", json!({"exchange_subjects": {"their-token": info.username}})).await;
    let subject = Subject { token: Secret::new("their-token"), kind: SubjectKind::Jwt, handler: None };
    for (config, name) in [
        (world.jwt(), "urn:ietf:params:oauth:grant-type:jwt-bearer"),
        (world.refresh(), "refresh_token"),
        (world.config(Grant::ClientCredentials), "client_credentials"),
        (
            world.config(Grant::Password { username: info.username.clone(), password: Secret::new(&info.password) }),
            "password",
        ),
        (world.config(Grant::TokenExchange { subject }), "urn:ietf:params:oauth:grant-type:token-exchange"),
    ] {
        let credentials = open(config, quick());
        let token = text(&credentials).await;
        assert!(world.takes(&token).await, "{name}");
        assert_eq!(text(&credentials).await, token, "{name}: from memory");
        assert_eq!(world.ledger().await["token_requests"][name], 1);
        let user = credentials.userinfo().await.unwrap();
        assert_eq!(user.preferred_username.as_deref(), Some(info.username.as_str()), "{name}");
        assert!(user.organization_id.starts_with("00D") && user.user_id.starts_with("005"));
    }
}

#[tokio::test]
async fn a_public_client_refreshes_without_a_secret() {
    let world = World::new().await;
    let mut config = world.refresh();
    config.client_secret = None;
    let refused = open(config.clone(), quick()).token().await.unwrap_err();
    assert!(refused.to_string().contains("invalid_client"), "{refused}");
    world.put("app", json!({"secret_required_for_refresh": false})).await;
    assert!(world.takes(&text(&open(config, quick())).await).await);
}

#[tokio::test]
async fn refusals_of_the_other_grants_carry_their_hints() {
    let world = World::new().await;
    let password = |word: &str| {
        world.config(Grant::Password { username: world.info().username.clone(), password: Secret::new(word) })
    };
    let subject = Subject { token: Secret::new("unknown"), kind: SubjectKind::AccessToken, handler: None };
    world.put("app", json!({"client_credentials_user": null})).await;
    for (config, said, hinted) in [
        (password("planted-wrong-password"), "authentication failure", "JWT bearer or client credentials"),
        (world.config(Grant::ClientCredentials), "no client credentials user enabled", "Run As"),
        (world.config(Grant::TokenExchange { subject }), "token exchange", "Apex handler"),
    ] {
        let error = open(config, quick()).token().await.unwrap_err();
        assert!(error.to_string().contains(said) && error.hint().contains(hinted), "{error}; hint: {}", error.hint());
        assert!(error.needs_person() && !format!("{error:?}").contains("planted"));
    }
}

/// Somebody with a browser, by plain HTTP: signs in on the org's page for device codes.
async fn enter(world: &World, login: &DeviceLogin, allow: bool) {
    let browser = crate::callbacks::browser();
    crate::callbacks::sign_in_and_decide(&browser, &login.verification_uri, world, Some(&login.user_code), allow).await;
}

#[tokio::test]
async fn a_device_login_waits_for_its_person_and_leaves_a_refresh_token() {
    let world = World::new().await;
    let mut login = DeviceLogin::start(&world.app(), &["api", "refresh_token"], &world.http).await.unwrap();
    assert!(!format!("{login:?}").contains("device_code: \""), "the device code does not print");
    // The org's own interval is five seconds; its clock, not ours, decides what is too fast.
    login.interval = std::time::Duration::from_millis(50);
    world.put("clock", json!({"advance_seconds": 10})).await;
    enter(&world, &login, true).await;
    let begun = login.wait(&world.http, &SystemClock::default()).await.unwrap();
    assert!(matches!(begun.config().grant, Grant::RefreshToken { .. }));
    let credentials = begun.into_credentials(quick()).await.unwrap();
    let before = world.token_requests().await;
    assert!(world.takes(&text(&credentials).await).await);
    assert_eq!(world.token_requests().await, before, "the login's own access token is used first");
    credentials.refused(&credentials.token().await.unwrap());
    assert!(world.takes(&text(&credentials).await).await, "the refresh token works");
}

#[tokio::test]
async fn a_device_login_that_is_denied_says_so() {
    let world = World::new().await;
    let mut login = DeviceLogin::start(&world.app(), &[], &world.http).await.unwrap();
    login.interval = std::time::Duration::from_millis(50);
    enter(&world, &login, false).await;
    let error = login.wait(&world.http, &SystemClock::default()).await.unwrap_err();
    assert!(error.to_string().contains("access_denied") && error.hint().contains("allow the app"), "{error}");
}

#[tokio::test]
async fn the_signature_of_a_response_is_verified_where_the_secret_is_known() {
    let world = World::new().await;
    // The secret plays no part in a JWT login, so only the signature can tell that this one is wrong.
    let mut config = world.jwt();
    config.client_secret = Some(Secret::new("planted-other-secret"));
    let error = open(config, quick()).token().await.unwrap_err();
    assert!(error.to_string().contains("signature") && error.hint().contains("SF_CLIENT_SECRET"), "{error}");
    assert!(!format!("{error:?} {error}").contains("planted"));
    let mut config = world.jwt();
    config.client_secret = None;
    assert!(world.takes(&text(&open(config, quick())).await).await, "nothing to verify with");
}

#[tokio::test]
async fn the_audience_falls_back_to_the_host_once_and_what_worked_is_remembered() {
    let world = World::new().await;
    // Loopback is its own audience. Behind another name the rule guesses wrong, as with some My Domains.
    let mut config = world.jwt();
    config.login_url.set_host(Some("localhost")).unwrap();
    let credentials = open(config.clone(), quick());
    let before = world.token_requests().await;
    let error = credentials.token().await.expect_err("localhost is not an audience of this org, nor is its fallback");
    assert!(error.hint().contains("SF_AUDIENCE=http://localhost"), "{}", error.hint());
    assert!(error.hint().contains("https://test.salesforce.com"), "{}", error.hint());
    assert_eq!(world.token_requests().await, before + 1, "the fallback is the same pair: not tried again");
}

#[tokio::test]
async fn a_my_domain_that_is_its_own_audience_is_found_out_by_one_more_request() {
    let (org, config, http) = my_domain().await;
    let domain = config.login_url.origin().ascii_serialization();
    let control = async |audiences: &[&str]| {
        let url = format!("{}/app", org.info().control_url);
        http.put(url).json(&json!({"audiences": audiences})).send().await.unwrap();
    };
    assert_eq!(config.audience(), "https://login.salesforce.com");
    let settings = tieline_auth::Settings { http: Some(http.clone()), ..quick() };

    // Neither fits: both are tried, once, and neither is kept.
    control(&["https://elsewhere"]).await;
    let credentials = open(config.clone(), settings.clone());
    let error = credentials.token().await.unwrap_err();
    assert!(error.to_string().contains("audience is invalid"), "{error}");
    assert_eq!(credentials.stats().token_requests, 2);

    control(&[&domain]).await;
    let credentials = open(config, settings);
    credentials.refused(&credentials.token().await.unwrap());
    assert_eq!(credentials.stats().token_requests, 2, "login first, then the domain itself");
    credentials.token().await.unwrap();
    assert_eq!(credentials.stats().token_requests, 3, "what worked is remembered");
}

#[tokio::test]
async fn introspection_tells_the_true_end_and_the_policy_uses_it() {
    let world = World::new().await;
    world.put("limits", json!({"session_timeout_seconds": 900})).await;
    let mut config = world.jwt();
    config.reuse = Reuse::Introspected;
    let credentials = open(config, quick());
    let token = credentials.token().await.unwrap();
    let left = token.expires_at().unwrap().duration_since(token.issued_at()).as_secs();
    assert!((860..=880).contains(&left), "15 minutes less 30 seconds, not {left} s");
    let told = credentials.introspect().await.unwrap();
    assert!(told.active && told.username.as_deref() == Some(world.info().username.as_str()));
}

#[tokio::test]
async fn the_environment_chooses_the_grant_that_design_says() {
    let pem = std::fs::read_to_string(&World::new().await.info().private_key_file).unwrap();
    let all = [
        ("SF_CLIENT_ID", "id"),
        ("SF_CLIENT_SECRET", "secret"),
        ("SF_PRIVATE_KEY", pem.as_str()),
        ("SF_USERNAME", "user"),
        ("SF_PASSWORD", "pw"),
        ("SF_REFRESH_TOKEN", "5Aep"),
        ("SF_ACCESS_TOKEN", "00D!x"),
        ("SF_INSTANCE_URL", "https://acme.my.salesforce.com"),
    ];
    let without = |gone: &[&str]| {
        let set: Vec<_> = all.into_iter().filter(|(name, _)| !gone.contains(name)).collect();
        OrgConfig::from_variables(|name| set.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
    };
    for (gone, grant) in [
        (&[][..], "jwt-bearer"),
        (&["SF_PRIVATE_KEY"], "refresh_token"),
        (&["SF_PRIVATE_KEY", "SF_REFRESH_TOKEN"], "password"),
        (&["SF_PRIVATE_KEY", "SF_REFRESH_TOKEN", "SF_PASSWORD"], "client_credentials"),
        (&["SF_PRIVATE_KEY", "SF_REFRESH_TOKEN", "SF_PASSWORD", "SF_CLIENT_SECRET"], "access_token"),
    ] {
        assert_eq!(without(gone).unwrap().grant.name(), grant, "without {gone:?}");
    }
    assert_eq!(without(&[]).unwrap().login_url.as_str(), "https://acme.my.salesforce.com/");
    let chosen = |grant: &str| {
        OrgConfig::from_variables(|name| match name {
            "SF_GRANT" => Some(grant.to_owned()),
            "TIELINE_TOKEN_REUSE" => Some("until_refused".to_owned()),
            name => all.into_iter().find(|(n, _)| *n == name).map(|(_, v)| v.to_owned()),
        })
    };
    assert_eq!(chosen("client_credentials").unwrap().grant.name(), "client_credentials");
    assert_eq!(chosen("jwt-bearer").unwrap().reuse, Reuse::UntilRefused);
    assert!(chosen("magic").unwrap_err().hint().contains("refresh_token"));
    let named = OrgConfig::from_variables(|name| (name == "SF_GRANT").then(|| "password".to_owned())).unwrap_err();
    assert!(named.hint().contains("SF_PASSWORD"), "{named}");
}

#[tokio::test]
async fn a_user_who_is_not_approved_gets_the_pairs_of_host_and_audience_worth_trying() {
    let world = World::new().await;
    let mut config = world.jwt();
    if let Grant::JwtBearer { username, .. } = &mut config.grant {
        *username = "unapproved@local.tieline.test".to_owned();
    }
    let hint = open(config, quick()).token().await.unwrap_err().hint();
    let own = world.info().login_url.trim_end_matches('/');
    assert!(
        hint.contains("pre-authorise") && hint.contains(&format!("SF_LOGIN_URL={own} with SF_AUDIENCE={own}")),
        "{hint}"
    );
    assert!(hint.contains("https://test.salesforce.com with https://test.salesforce.com (sandbox)"), "{hint}");
}

#[tokio::test]
async fn userinfo_renews_a_session_that_has_ended() {
    let world = World::new().await;
    let credentials = open(world.refresh(), quick());
    credentials.userinfo().await.unwrap();
    world.end_sessions().await;
    assert_eq!(
        credentials.userinfo().await.unwrap().preferred_username.as_deref(),
        Some(world.info().username.as_str())
    );
    assert_eq!(credentials.stats().token_requests, 2);
}
