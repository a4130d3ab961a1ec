//! Tokens, and what comes instead of one.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tieline_auth::token_store::memory::MemoryStore;
use tieline_auth::token_store::{Take, TokenStore};
use tieline_auth::{Credentials, ManualClock, OrgConfig, SharedStore};
use tieline_lambda::broker::Broker;
use tieline_lambda::orgs::{Org, Orgs};

use crate::world::{Running, SECRET, World, hex, org, quick, run, start, system};

#[tokio::test]
async fn a_token_comes_with_all_that_a_caller_needs() {
    let world = World::new().await;
    let broker = start(&world).await;
    let (status, _, first) = broker.ask(&world.http, "").await;
    assert_eq!(status, 200, "{first}");
    assert_eq!(first["instance_url"], world.info().instance_url.trim_end_matches('/'));
    assert_eq!((&first["api_version"], &first["from_cache"]), (&json!("67.0"), &json!(false)));
    let time = |name: &str| first[name].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert!(time("expires_at") > time("issued_at"));
    assert_eq!(world.call(first["access_token"].as_str().unwrap()).await, 200);
    let (_, _, again) = broker.ask(&world.http, "?connection=default").await;
    assert_eq!((&again["access_token"], &again["from_cache"]), (&first["access_token"], &json!(true)));
    let counted = broker.broker.counters().take();
    assert_eq!((counted.served, counted.from_cache, counted.waits.len()), (2, 1, 2));
    assert!(counted.refused.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_callers_at_once_cause_one_login() {
    let world = World::new().await;
    let orgs = Orgs::new(system()).with("default", org(world.jwt(), system()));
    let broker = run(Broker::new(SECRET, orgs, system()).with_limit(1_000)).await;
    world.token_fault(json!({"delay_ms": 300}), 1).await;
    let tokens = join_all((0..1_000).map(|_| broker.token(&world.http, ""))).await;
    assert!(tokens.iter().all(|token| *token == tokens[0]));
    assert_eq!(world.logins().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s02_fifty_callers_whose_token_was_refused_cause_one_login() {
    let world = World::new().await;
    let broker = start(&world).await;
    let old = broker.token(&world.http, "").await;
    world.control("POST", "tokens/revoke", json!({"all": true})).await;
    assert_eq!(world.call(&old).await, 401);
    let query = format!("?refresh=1&seen={}", hex(&old));
    let tokens = join_all((0..50).map(|_| broker.token(&world.http, &query))).await;
    assert!(tokens.iter().all(|token| *token == tokens[0] && *token != old));
    assert_eq!(world.call(&tokens[0]).await, 200);
    assert_eq!(world.logins().await, 2);
    // Whoever comes late with the old one, or with one that was never ours, gets the new one and changes nothing.
    for seen in [hex(&old), hex("00D000000000001!never")] {
        assert_eq!(broker.token(&world.http, &format!("?seen={seen}")).await, tokens[0]);
    }
    assert_eq!(world.logins().await, 2);
}

#[tokio::test]
async fn a_token_lasts_as_long_as_it_is_needed() {
    let world = World::new().await;
    let clock = Arc::new(ManualClock::at(system().now()));
    let orgs = Orgs::new(clock.clone()).with("default", org(world.jwt(), clock.clone()));
    let broker = run(Broker::new(SECRET, orgs, clock.clone())).await;
    let first = broker.token(&world.http, "").await;
    clock.advance(Duration::from_secs(100));
    assert_eq!(broker.token(&world.http, "?min_ttl=20").await, first, "50 seconds are left of 150");
    let second = broker.token(&world.http, "?min_ttl=60").await;
    assert_ne!(second, first);
    // An invocation that may run for 15 minutes wants more than any such token has: half of its life is enough.
    broker.broker.set_deadline(Some(tieline_auth::Clock::now(&*clock) + jiff::SignedDuration::from_mins(15)));
    assert_eq!(broker.token(&world.http, "").await, second);
    clock.advance(Duration::from_secs(70));
    assert_eq!(broker.token(&world.http, "").await, second, "80 seconds are left");
    clock.advance(Duration::from_secs(10));
    let third = broker.token(&world.http, "").await;
    assert_ne!(third, second, "70 seconds are left");
    // The invocation is about to end: what is left of the token is enough for it.
    clock.advance(Duration::from_secs(100));
    broker.broker.set_deadline(Some(tieline_auth::Clock::now(&*clock) + jiff::SignedDuration::from_secs(3)));
    assert_eq!(broker.token(&world.http, "").await, third);
    assert_eq!(world.logins().await, 3);
    // Who asks for more than any token has gets a fresh one, and not one more with each request.
    broker.broker.set_deadline(None);
    let fourth = broker.token(&world.http, "?min_ttl=86400").await;
    for _ in 0..20 {
        assert_eq!(broker.token(&world.http, "?min_ttl=86400").await, fourth);
    }
    assert_eq!(world.logins().await, 4);
}

#[tokio::test]
async fn a_token_that_has_lived_clears_the_ones_that_were_dead_from_the_start() {
    let world = World::new().await;
    let clock = Arc::new(ManualClock::at(system().now()));
    let mut config = world.jwt();
    config.reuse = tieline_auth::Reuse::UntilRefused;
    let orgs = Orgs::new(clock.clone()).with("default", org(config, clock.clone()));
    let broker = run(Broker::new(SECRET, orgs, clock.clone())).await;
    let mut token = broker.token(&world.http, "").await;
    // Refused at once, and after a day of work, in turn: another login helps each time.
    for hours in [0, 24, 0, 24, 0] {
        clock.advance(Duration::from_secs(hours * 60 * 60));
        let next = broker.token(&world.http, &format!("?seen={}", hex(&token))).await;
        assert_ne!(next, token);
        token = next;
    }
    // Twice in a row it does not, and the org is left alone for a while.
    let (status, after, body) = broker.ask(&world.http, &format!("?seen={}", hex(&token))).await;
    assert_eq!((status, &body["code"]), (401, &json!("reauth_required")), "{body}");
    assert!(after.is_some());
}

#[tokio::test]
async fn sessions_that_an_administrator_ends_time_and_again_are_no_reason_to_pause() {
    let world = World::new().await;
    let clock = Arc::new(ManualClock::at(system().now()));
    let mut config = world.jwt();
    config.reuse = tieline_auth::Reuse::UntilRefused;
    let orgs = Orgs::new(clock.clone()).with("default", org(config, clock.clone()));
    let broker = run(Broker::new(SECRET, orgs, clock.clone())).await;
    let mut token = broker.token(&world.http, "").await;
    for _ in 0..5 {
        // Less than a minute after each was issued, and after its callers have worked with it.
        clock.advance(Duration::from_secs(16));
        let next = broker.token(&world.http, &format!("?seen={}", hex(&token))).await;
        assert_ne!(next, token);
        token = next;
    }
    assert_eq!(world.logins().await, 6);
}

async fn broker_for(config: OrgConfig) -> Running {
    run(Broker::new(SECRET, Orgs::new(system()).with("default", org(config, system())), system())).await
}

/// Asks once, and checks what every failure has.
async fn refused(broker: &Running, world: &World, status: u16, code: &str, retryable: bool) -> (Option<u64>, String) {
    let (got, after, body) = broker.ask(&world.http, "").await;
    assert_eq!((got, &body["code"], &body["retryable"]), (status, &json!(code), &json!(retryable)), "{body}");
    assert!(!body["hint"].as_str().unwrap().is_empty() && body["message"].is_string(), "{body}");
    (after, body.to_string())
}

#[tokio::test]
async fn what_the_org_refuses_is_told_by_kind_and_not_in_its_words() {
    let world = World::new().await;
    let dead = || broker_for(world.refresh("5Aep861revoked"));
    let broker = dead().await;
    let (after, text) = refused(&broker, &world, 401, "reauth_required", false).await;
    assert!(text.contains("invalid_grant") && !text.contains("expired access/refresh token"), "{text}");
    assert!(after.is_some_and(|seconds| seconds > 1), "the failure is remembered: {after:?}");

    for (fault, status, code, retryable) in [
        (
            json!({"status": 400, "body": {"error": "invalid_grant", "error_description": "login rate exceeded 0815"}}),
            429,
            "login_limit",
            true,
        ),
        (
            json!({"status": 503, "body": {"error": "server_error", "error_description": "secret words 0815"}}),
            502,
            "upstream",
            true,
        ),
        (json!({"status": 502, "body": "<html>0815</html>"}), 502, "upstream", true),
        (json!({"status": 404, "body": "<html>0815</html>"}), 502, "upstream", false),
        (
            json!({"status": 400, "body": {"error": "0815 <script>", "error_description": "0815"}}),
            401,
            "reauth_required",
            false,
        ),
        (json!({"cut": 0}), 504, "upstream_unreachable", true),
    ] {
        let broker = broker_for(world.jwt()).await;
        world.token_fault(fault, 4).await;
        let (after, text) = refused(&broker, &world, status, code, retryable).await;
        assert!(!text.contains("0815"), "{text}");
        assert!(!retryable || after.is_some(), "{code}");
        world.control("DELETE", "faults", json!(null)).await;
    }
}

#[tokio::test]
async fn an_old_token_is_good_enough_while_the_org_is_down_and_no_longer() {
    let world = World::new().await;
    let clock = Arc::new(ManualClock::at(system().now()));
    let orgs = Orgs::new(clock.clone()).with("default", org(world.jwt(), clock.clone()));
    let broker = run(Broker::new(SECRET, orgs, clock.clone())).await;
    let token = broker.token(&world.http, "").await;
    world.token_fault(json!({"status": 503}), 100).await;
    clock.advance(Duration::from_secs(200));
    assert_eq!(broker.token(&world.http, "").await, token);
    let (status, _, body) = broker.ask(&world.http, &format!("?seen={}", hex(&token))).await;
    assert_eq!(status, 502, "a token that the org has refused is never handed out again: {body}");
}

#[tokio::test]
async fn names_and_snapshots() {
    let world = World::new().await;
    let broker = start(&world).await;
    let (status, _, body) = broker.ask(&world.http, "?connection=other").await;
    assert_eq!((status, &body["code"]), (404, &json!("unknown_connection")));
    assert!(body["hint"].as_str().unwrap().contains("default"));
    let (status, _, body) = broker.ask(&world.http, "?conection=default").await;
    assert_eq!((status, &body["code"]), (400, &json!("bad_parameter")));
    broker.broker.withhold(true);
    let (after, _) = refused(&broker, &world, 503, "not_ready", true).await;
    assert_eq!(after, Some(1));
    assert_eq!(world.token_requests().await, 0, "nothing secret was fetched");
    broker.broker.withhold(false);
    broker.token(&world.http, "").await;
}

#[tokio::test]
async fn another_process_that_logs_in_and_does_not_finish_is_told() {
    let world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let key = tieline_auth::sealing::MasterKey::load_or_create(&folder.path().join("key")).unwrap();
    let store = Arc::new(MemoryStore::default());
    let settings = tieline_auth::Settings { store: Some(SharedStore { store: store.clone(), key }), ..quick(system()) };
    let config = world.jwt();
    let lease = store.lease(&config.digest(), "somebody", Duration::from_secs(14), Take::IfFree).await.unwrap();
    assert!(matches!(lease, tieline_auth::token_store::Lease::Held { .. }));
    let credentials = Credentials::with(config, settings).unwrap();
    let orgs = Orgs::new(system())
        .with("default", Org { credentials, api_version: "67.0".to_owned(), certificate_ends: None });
    let broker = run(Broker::new(SECRET, orgs, system())).await;
    let url = broker.url("/v1/token");
    let asked = tokio::spawn(world.http.get(url).header("X-Tieline-Token", SECRET).send());
    tokio::time::sleep(Duration::from_millis(100)).await;
    // From here on time passes as soon as everybody waits.
    tokio::time::pause();
    let answer = asked.await.unwrap().unwrap();
    tokio::time::resume();
    let (status, after) = (answer.status().as_u16(), answer.headers().get("retry-after").cloned());
    let body: serde_json::Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!((status, &body["code"]), (409, &json!("refresh_in_progress_elsewhere")), "{body}");
    assert_eq!((after.is_some(), &body["retryable"]), (true, &json!(true)));
    assert_eq!(world.token_requests().await, 0);
}
