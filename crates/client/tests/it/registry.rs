//! Many orgs: found again, bounded, counted, and all revoked at once.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tieline_auth::error::AuthErrorKind;
use tieline_auth::{EventKind, Grant, ManualClock, OrgConfig, Secret, Settings};
use tieline_client::{ConnectionOptions, Connections};

use crate::world::World;

fn options(capacity: usize, clock: &Arc<ManualClock>) -> ConnectionOptions {
    let settings = Settings { clock: clock.clone(), ..Settings::default() };
    ConnectionOptions { capacity, settings, ..ConnectionOptions::default() }
}

fn clock() -> Arc<ManualClock> {
    let now: Timestamp = tieline_auth::Clock::now(&tieline_auth::SystemClock::default());
    Arc::new(ManualClock::at(now))
}

fn some_org(number: usize) -> OrgConfig {
    let grant = Grant::RefreshToken { refresh_token: Secret::new(format!("5Aep{number}")) };
    OrgConfig::new("login.salesforce.com", "3MVG9", grant).unwrap()
}

#[tokio::test]
async fn the_same_credentials_are_the_same_connection_and_others_are_not() {
    let world = World::new(1).await;
    let orgs = Connections::default();
    let before = world.token_requests().await;
    for _ in 0..5 {
        orgs.connect(world.jwt()).unwrap().limits().await.unwrap();
        orgs.connect(world.refresh()).unwrap().limits().await.unwrap();
    }
    assert_eq!(world.token_requests().await, before + 2);
    let stats = orgs.stats();
    assert_eq!((stats.total, stats.valid, stats.expired, stats.refreshes), (2, 2, 0, 2), "{stats:?}");
    assert_eq!((stats.hits, stats.misses), (8, 2), "{stats:?}");
    assert!(std::ptr::eq(Connections::global(), Connections::global()));
}

#[tokio::test]
async fn expired_entries_leave_by_themselves_and_on_demand() {
    let world = World::new(1).await;
    let clock = clock();
    let orgs = Connections::new(options(10_000, &clock));
    let mut events = orgs.connect(world.jwt()).unwrap().credentials().events();
    orgs.connect(world.jwt()).unwrap().limits().await.unwrap();
    orgs.connect(world.refresh()).unwrap().limits().await.unwrap();
    clock.advance(Duration::from_secs(200));
    assert_eq!((orgs.stats().valid, orgs.stats().expired), (1, 1), "the JWT's token has run out");
    assert_eq!(orgs.clear_expired(), 1);
    assert_eq!(orgs.stats().total, 1);
    // The other one runs out too, and goes when enough others have come.
    clock.advance(Duration::from_secs(1_800));
    for number in 0..1_000 {
        orgs.connect(some_org(number)).unwrap();
    }
    assert!(orgs.stats().total < 600, "entries that never logged in and were not asked for again have left");
    assert!(orgs.stats().evicted >= 400);
    let mut evicted = 0;
    loop {
        use tokio::sync::broadcast::error::TryRecvError::{Closed, Empty, Lagged};
        match events.try_recv() {
            Ok(event) => evicted += usize::from(event.kind == EventKind::Evicted),
            Err(Lagged(_)) => {}
            Err(Empty | Closed) => break,
        }
    }
    assert!(evicted > 0);
    assert!(orgs.clear_all() > 0);
    assert_eq!(orgs.stats().total, 0);
}

#[tokio::test]
async fn the_number_of_entries_is_bounded_and_the_ones_in_use_stay() {
    let clock = clock();
    let orgs = Connections::new(options(64, &clock));
    for number in 0..2_000 {
        orgs.connect(some_org(number)).unwrap();
        orgs.connect(some_org(0)).unwrap();
        assert!(orgs.stats().total <= 64, "{number}");
    }
    assert!(orgs.get(&some_org(0).digest()).is_some(), "asked for all the time");
    assert!(orgs.get(&some_org(1).digest()).is_none());
}

#[tokio::test]
async fn s38_revoke_all_ends_every_grant_and_reports_each() {
    let world = World::new(1).await;
    world.put("app", json!({"rotation": true})).await;
    let orgs = Connections::default();
    orgs.connect(world.jwt()).unwrap().limits().await.unwrap();
    orgs.connect(world.refresh()).unwrap().limits().await.unwrap();
    let report = orgs.revoke_all().await;
    assert_eq!(report.len(), 2);
    assert!(report.iter().all(|(_, outcome)| outcome.as_ref().is_ok_and(|revocation| revocation.is_complete())));
    let ledger = world.ledger().await;
    assert_eq!((&ledger["sessions"], &ledger["refresh_families"]["alive"]), (&json!(0), &json!(0)));
    for config in [world.jwt(), world.refresh()] {
        let error = orgs.connect(config).unwrap().limits().await.unwrap_err();
        let tieline_client::ClientError::Auth(error) = error else { panic!("{error}") };
        assert!(matches!(error.kind(), AuthErrorKind::Revoked { .. }), "{error}");
    }
}
