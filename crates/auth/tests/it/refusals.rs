//! Logins that fail, and what is remembered of it (scenarios 1, 2, 9, 10 and 38).

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tieline_auth::error::AuthErrorKind;
use tieline_auth::token_store::memory::MemoryStore;
use tieline_auth::{EventKind, Grant, Reuse, Secret, Settings};

use crate::world::{World, at, kinds, manual, open, over, quick, text};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s01_a_thousand_askers_for_an_expired_token_cause_one_request() {
    let world = World::new().await;
    let clock = manual();
    let credentials = open(world.jwt(), at(&clock));
    let old = text(&credentials).await;
    clock.advance(Duration::from_secs(151));
    world.token_fault(json!({"delay_ms": 150}), 1_000).await;
    let before = world.token_requests().await;
    let askers = (0..1_000).map(|_| {
        let credentials = credentials.clone();
        tokio::spawn(async move { text(&credentials).await })
    });
    let tokens: Vec<String> =
        futures_util::future::join_all(askers).await.into_iter().map(|token| token.unwrap()).collect();
    assert!(tokens.iter().all(|token| *token == tokens[0] && *token != old));
    assert_eq!(world.token_requests().await, before + 1);
    let stats = credentials.stats();
    assert_eq!((stats.misses, stats.refreshes), (2, 2), "{stats:?}");
    assert!(stats.waits + stats.hits == 999, "{stats:?}");
}

#[tokio::test]
async fn s02_fifty_refusals_of_one_token_cause_one_request() {
    let world = World::new().await;
    let credentials = open(world.refresh(), quick());
    let used = credentials.token().await.unwrap();
    let before = world.token_requests().await;
    let calls = (0..50).map(|_| async {
        credentials.refused(&used);
        text(&credentials).await
    });
    let tokens = futures_util::future::join_all(calls).await;
    assert!(tokens.iter().all(|token| *token == tokens[0]));
    assert_eq!(world.token_requests().await, before + 1);
    // Whoever comes late with the old token throws nothing away.
    credentials.refused(&used);
    assert_eq!(text(&credentials).await, tokens[0]);
    assert_eq!(credentials.stats().refusals, 1);
}

#[tokio::test]
async fn s09_a_revoked_grant_causes_a_handful_of_requests_and_one_event() {
    let world = World::new().await;
    let clock = manual();
    let mut config = world.refresh();
    config.grant = Grant::RefreshToken { refresh_token: Secret::new("5Aep861revoked") };
    let credentials = open(config, at(&clock));
    let mut events = credentials.events();
    let before = world.token_requests().await;
    // An hour of calls, ten a second.
    let mut last = None;
    for _ in 0..3_600 {
        for _ in 0..10 {
            last = Some(credentials.token().await.unwrap_err());
        }
        clock.advance(Duration::from_secs(1));
    }
    let requests = world.token_requests().await - before;
    assert!((5..=20).contains(&requests), "{requests} requests in an hour");
    let error = last.unwrap();
    assert!(error.needs_person() && error.next_attempt().is_some());
    assert!(error.to_string().contains("expired access/refresh token") && error.hint().contains("log in again"));
    let told: Vec<_> = kinds(&mut events);
    assert_eq!(told, [EventKind::Failed { error: "invalid_grant".to_owned() }]);
}

#[tokio::test]
async fn s09_the_whole_fleet_knows_of_a_refusal_and_a_better_configuration_is_tried_at_once() {
    let world = World::new().await;
    let store: Arc<MemoryStore> = Arc::default();
    let mut wrong = world.jwt();
    if let Grant::JwtBearer { username, .. } = &mut wrong.grant {
        *username = "unapproved@local.tieline.test".to_owned();
    }
    wrong.store_as = Some("acme".to_owned());
    let before = world.token_requests().await;
    for _ in 0..20 {
        open(wrong.clone(), over(store.clone())).token().await.unwrap_err();
    }
    assert_eq!(world.token_requests().await, before + 1, "twenty processes, one attempt");
    let mut right = world.jwt();
    right.store_as = Some("acme".to_owned());
    assert!(world.takes(&text(&open(right, over(store))).await).await);
}

#[tokio::test]
async fn s10_the_login_rate_limit_opens_the_circuit_which_closes_by_itself() {
    let world = World::new().await;
    let clock = manual();
    let credentials = open(world.jwt(), at(&clock));
    let body = json!({"error": "invalid_grant", "error_description": "login rate exceeded"});
    world.token_fault(json!({"status": 400, "body": body}), 3).await;
    let error = credentials.token().await.unwrap_err();
    assert!(error.is_transient() && !error.needs_person(), "{error}");
    for _ in 0..58 {
        clock.advance(Duration::from_secs(1));
        credentials.token().await.unwrap_err();
    }
    assert_eq!(credentials.stats().token_requests, 1, "nothing is sent while the circuit is open");
    let mut minutes = 0;
    while credentials.token().await.is_err() {
        clock.advance(Duration::from_secs(60));
        minutes += 1;
        assert!(minutes < 60, "it never closes");
    }
    assert_eq!(credentials.stats().token_requests, 4, "three refused, one that came through");
    assert!((4..=10).contains(&minutes), "{minutes} minutes");
}

#[tokio::test]
async fn tokens_that_are_refused_before_they_are_used_stop_the_logins() {
    let world = World::new().await;
    let clock = manual();
    let credentials = open(world.jwt(), at(&clock));
    let mut events = credentials.events();
    let mut told = None;
    for _ in 0..600 {
        match credentials.token().await {
            Ok(token) => credentials.refused(&token),
            Err(error) => told = Some(error),
        }
        clock.advance(Duration::from_secs(1));
    }
    let requests = credentials.stats().token_requests;
    assert!((4..=12).contains(&requests), "{requests} logins in ten minutes of refusals");
    let told = told.unwrap();
    assert!(matches!(told.kind(), AuthErrorKind::FreshTokenRefused) && told.hint().contains("password"), "{told}");
    let failed = kinds(&mut events).into_iter().filter(|kind| matches!(kind, EventKind::Failed { .. })).count();
    assert_eq!(failed, 1);
    // One that works ends the pause's growth.
    clock.advance(Duration::from_secs(301));
    credentials.accepted(&credentials.token().await.unwrap());
    credentials.refused(&credentials.token().await.unwrap());
    credentials.token().await.expect("a single refusal is an expired session");
}

#[tokio::test]
async fn s38_nothing_that_was_under_way_survives_a_revocation() {
    let world = World::rotating().await;
    let store: Arc<MemoryStore> = Arc::default();
    let fleet: Vec<_> = (0..100)
        .map(|i| {
            let mut config = if i % 2 == 0 { world.jwt() } else { world.refresh() };
            config.reuse = Reuse::UntilRefused;
            open(config, over(store.clone()))
        })
        .collect();
    world.token_fault(json!({"delay_ms": 400}), 1_000).await;
    let asking: Vec<_> = fleet
        .iter()
        .map(|credentials| {
            let credentials = credentials.clone();
            tokio::spawn(async move { credentials.token().await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let reports = [fleet[0].revoke().await.unwrap(), fleet[1].revoke().await.unwrap()];
    assert!(reports[1].refresh_token.as_ref().is_some_and(Result::is_ok), "{reports:?}");
    for outcome in futures_util::future::join_all(asking).await {
        let error = outcome.unwrap().expect_err("no token after the revocation");
        assert!(matches!(error.kind(), AuthErrorKind::Revoked { .. }), "{error}");
    }
    world.no_faults().await;
    for credentials in &fleet[..4] {
        assert!(matches!(credentials.token().await.unwrap_err().kind(), AuthErrorKind::Revoked { .. }));
    }
    let families = &world.ledger().await["refresh_families"];
    assert_eq!(families["alive"], 0, "what came of the refresh under way was revoked too");
    assert_eq!(world.ledger().await["sessions"], 0, "and so was its access token");
    fleet[0].reinstate().await.unwrap();
    assert!(world.takes(&text(&fleet[0]).await).await);
}

#[tokio::test]
async fn events_tell_the_life_of_a_token() {
    let world = World::rotating().await;
    let store: Arc<MemoryStore> = Arc::default();
    let settings = Settings { ..over(store.clone()) };
    let (a, b) = (open(world.refresh(), settings.clone()), open(world.refresh(), settings));
    let mut events = a.events();
    let token = a.token().await.unwrap();
    b.token().await.unwrap();
    a.refused(&token);
    a.token().await.unwrap();
    a.revoke().await.unwrap();
    use EventKind::{Adopted, Issued, Refreshed, Refused, Revoked, Rotated};
    assert_eq!(kinds(&mut events), [Rotated, Issued, Adopted, Refused, Rotated, Refreshed, Revoked]);
}

/// Counts what goes through the `metrics` facade.
#[derive(Default)]
struct Recorder(std::sync::Mutex<std::collections::BTreeMap<String, Arc<std::sync::atomic::AtomicU64>>>);

impl metrics::Recorder for Recorder {
    fn describe_counter(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}
    fn describe_gauge(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}
    fn describe_histogram(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}
    fn register_counter(&self, key: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Counter {
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let name = format!("{}{{{}}}", key.name(), labels.join(","));
        metrics::Counter::from_arc(self.0.lock().unwrap().entry(name).or_default().clone())
    }
    fn register_gauge(&self, _: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Gauge {
        metrics::Gauge::noop()
    }
    fn register_histogram(&self, _: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Histogram {
        metrics::Histogram::noop()
    }
}

#[test]
fn events_are_counted_as_metrics_without_naming_the_org() {
    let recorder = Recorder::default();
    // One thread, so that the recorder of this test sees this test's events and no other's.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let world = World::new().await;
            let credentials = open(world.jwt(), quick());
            credentials.refused(&credentials.token().await.unwrap());
            credentials.token().await.unwrap();
        });
    });
    let counted = recorder.0.lock().unwrap();
    let counted: Vec<(String, u64)> =
        counted.iter().map(|(name, count)| (name.clone(), count.load(std::sync::atomic::Ordering::Relaxed))).collect();
    let name = |event: &str| format!("tieline_token_events_total{{event={event}}}");
    assert_eq!(counted, [(name("issued"), 1), (name("refreshed"), 1), (name("refused"), 1)]);
}

#[test]
fn a_runtime_that_ends_in_the_middle_of_a_login_leaves_the_next_one_free() {
    let world_runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let world = world_runtime.block_on(World::new());
    let credentials = open(world.jwt(), quick());
    world_runtime.block_on(world.token_fault(json!({"delay_ms": 400}), 1));
    let first = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let asking = credentials.clone();
    first.spawn(async move { asking.token().await });
    std::thread::sleep(Duration::from_millis(150));
    first.shutdown_background();
    let second = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let token = second.block_on(async { tokio::time::timeout(Duration::from_secs(10), credentials.token()).await });
    assert!(token.expect("nobody waits for ever").is_ok());
}

#[tokio::test]
async fn a_token_that_another_process_had_says_nothing_about_our_own() {
    let world = World::new().await;
    let store = Arc::new(MemoryStore::default());
    let (ours, theirs) = (open(world.jwt(), over(store.clone())), open(world.jwt(), over(store)));
    // The org refuses all of them: in turn a token of ours, one that both had, and one of ours again.
    let first = ours.token().await.unwrap();
    ours.refused(&first);
    theirs.refused(&theirs.token().await.unwrap());
    theirs.token().await.unwrap();
    let adopted = ours.token().await.unwrap();
    assert!(adopted.is_adopted());
    ours.refused(&adopted);
    ours.refused(&ours.token().await.unwrap());
    let error = ours.token().await.unwrap_err();
    assert!(matches!(error.kind(), AuthErrorKind::FreshTokenRefused), "a fleet must not log in for ever: {error}");
}
