//! Refresh tokens that are replaced, and the home that they are read from and written to.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde_json::json;
use tieline_auth::error::AuthErrorKind;
use tieline_auth::refresh_token_home::{AtHome, Generation, Home, RefreshTokenHome, Replaced, Successor};
use tieline_auth::token_store::memory::MemoryStore;
use tieline_auth::{Credentials, Grant, OrgConfig, Reuse, Secret};

use crate::world::{World, open, over, text};

/// A place whose content a test looks at and changes.
#[derive(Debug)]
struct Place {
    there: Mutex<Content>,
    slow_ms: AtomicU64,
}

#[derive(Debug, Clone)]
struct Content {
    token: String,
    generation: Generation,
    first: Option<String>,
    away: bool,
}

impl Place {
    fn with(token: &str) -> Arc<Self> {
        let content = Content { token: token.to_owned(), generation: put_at(1), first: None, away: false };
        Arc::new(Place { there: Mutex::new(content), slow_ms: AtomicU64::new(0) })
    }

    fn there(&self) -> MutexGuard<'_, Content> {
        self.there.lock().unwrap()
    }

    /// As a person does it: without our record.
    fn put(&self, token: &str, second: i64) {
        let mut there = self.there();
        (there.token, there.generation, there.first) = (token.to_owned(), put_at(second), None);
    }

    /// As a process reads it that starts now.
    fn config(self: &Arc<Self>, world: &World) -> OrgConfig {
        let Content { token, generation, .. } = self.there().clone();
        let mut config = world.config(Grant::RefreshToken { refresh_token: Secret::new(token) });
        config.reuse = Reuse::UntilRefused;
        config.home = Some(Home { generation, place: self.clone() });
        config
    }

    fn turn(&self) -> u64 {
        self.there().generation.turn
    }
}

fn put_at(second: i64) -> Generation {
    Generation { since: Timestamp::from_second(second).unwrap(), turn: 0 }
}

impl RefreshTokenHome for Place {
    fn describe(&self) -> String {
        "a place".to_owned()
    }

    fn name(&self) -> String {
        "a place".to_owned()
    }

    fn read(&self) -> BoxFuture<'_, Result<AtHome, String>> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(self.slow_ms.load(Ordering::Relaxed))).await;
            let Content { token, generation, first, away } = self.there().clone();
            if away {
                return Err("it is away".to_owned());
            }
            Ok(AtHome { token: Secret::new(token), generation, first })
        })
    }

    fn replace<'a>(&'a self, successor: &'a Successor) -> BoxFuture<'a, Result<Replaced, String>> {
        Box::pin(async move {
            if !successor.may_replace(&self.read().await?) {
                return Ok(Replaced::Kept);
            }
            let mut there = self.there();
            there.token = successor.token.expose().to_owned();
            (there.generation, there.first) = (successor.generation, Some(successor.first.clone()));
            Ok(Replaced::Done)
        })
    }
}

async fn next(credentials: &Credentials) -> String {
    let token = credentials.token().await.unwrap();
    credentials.accepted(&token);
    credentials.refused(&token);
    text(credentials).await
}

async fn fresh(world: &World) -> String {
    world.post("refresh-tokens", json!({})).await["refresh_token"].as_str().unwrap().to_owned()
}

async fn unharmed(world: &World) {
    let ledger = world.ledger().await;
    assert_eq!(ledger["spent_refresh_tokens_replayed"], 0, "a spent token came back: {ledger}");
}

fn empty() -> Arc<MemoryStore> {
    Arc::default()
}

#[tokio::test]
async fn a_store_that_is_lost_does_not_take_the_grant_along() {
    let world = World::rotating().await;
    let place = Place::with(&world.info().refresh_token);
    for turn in 1..=4 {
        // A new process each time, with a store that knows nothing.
        let credentials = open(place.config(&world), over(empty()));
        assert!(world.takes(&text(&credentials).await).await);
        assert_eq!(place.turn(), turn);
    }
    unharmed(&world).await;
}

#[tokio::test]
async fn what_was_read_before_a_rotation_is_never_sent() {
    let world = World::rotating().await;
    let place = Place::with(&world.info().refresh_token);
    let (shared, old) = (empty(), place.config(&world));
    let first = open(place.config(&world), over(shared.clone()));
    for _ in 0..3 {
        next(&first).await;
    }
    let middle = place.config(&world);
    next(&first).await;
    for config in [old.clone(), middle.clone()] {
        // With the store of all, and with one that somebody has emptied under a running process.
        let late = open(config, over(shared.clone()));
        assert_eq!(text(&late).await, text(&first).await);
        next(&late).await;
        next(&first).await;
    }
    for config in [old, middle] {
        assert!(world.takes(&text(&open(config, over(empty()))).await).await);
    }
    unharmed(&world).await;
}

#[tokio::test]
async fn a_store_that_missed_a_write_is_behind_its_home() {
    let world = World::rotating().await;
    let place = Place::with(&world.info().refresh_token);
    let store = empty();
    text(&open(place.config(&world), over(store.clone()))).await;
    // A process that has announced its refresh dies when the org has answered and the home has the token.
    let wilful = crate::world::Wilful::over((*store).clone());
    wilful.swaps_until_stop.store(1, Ordering::SeqCst);
    let dying = open(place.config(&world), over(wilful.clone()));
    dying.refused(&dying.token().await.unwrap());
    let asking = tokio::spawn(async move { dying.token().await });
    let mut waited = 0;
    while place.turn() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        waited += 1;
        assert!(waited < 1_000, "it never came home: {place:?}");
    }
    asking.abort();
    world.end_sessions().await;
    let after = open(place.config(&world), over(store));
    let token = after.token().await.unwrap();
    after.refused(&token);
    assert!(world.takes(&text(&after).await).await);
    unharmed(&world).await;
}

#[tokio::test]
async fn a_token_that_a_person_puts_there_is_followed_and_stays() {
    let world = World::rotating().await;
    let place = Place::with(&world.info().refresh_token);
    let store = empty();
    let before = open(place.config(&world), over(store.clone()));
    next(&before).await;
    let earlier = place.there().clone();
    let theirs = fresh(&world).await;
    place.put(&theirs, 2);
    // Who has read the settings before does not go on: host and app may have changed too.
    let token = before.token().await.unwrap();
    before.accepted(&token);
    before.refused(&token);
    let error = before.token().await.unwrap_err();
    assert!(matches!(error.kind(), AuthErrorKind::HomeChanged { .. }) && error.is_transient(), "{error}");
    assert_eq!(place.there().token, theirs);
    let after = open(place.config(&world), over(store.clone()));
    let newest = text(&after).await;
    assert_eq!((place.turn(), place.there().generation.since), (1, put_at(2).since));
    // The old reading uses what others have, and logs in with nothing of its own.
    assert_eq!(text(&before).await, newest);
    // Back to the one of before, by a label that is moved: it lives, and is followed as well.
    *place.there() = earlier;
    let back = open(place.config(&world), over(store));
    assert!(world.takes(&next(&back).await).await);
    assert_eq!(place.there().generation.since, put_at(1).since, "what a person has chosen is not written over");
    unharmed(&world).await;
}

#[tokio::test]
async fn a_home_that_is_away_or_was_edited_costs_nothing() {
    let world = World::rotating().await;
    let spent = &world.info().refresh_token;
    let place = Place::with(spent);
    let store = empty();
    let credentials = open(place.config(&world), over(store.clone()));
    text(&credentials).await;
    place.there().away = true;
    for _ in 0..3 {
        assert!(world.takes(&next(&credentials).await).await);
    }
    // Whoever knows nothing better does not try what it has read.
    let lost = open(place.config(&world), over(empty())).token().await.unwrap_err();
    assert!(matches!(lost.kind(), AuthErrorKind::Home { .. }) && lost.is_transient(), "{lost}");
    // It is back, with the very first token: from a backup, or because something beside the token was edited.
    place.there().away = false;
    place.put(spent, 5);
    let another = open(place.config(&world), over(store.clone()));
    assert_eq!(text(&another).await, text(&credentials).await);
    next(&another).await;
    assert_eq!(place.turn(), 5, "the newest has come home: {place:?}");
    // The record alone is gone.
    let current = place.there().token.clone();
    place.put(&current, 6);
    let third = open(place.config(&world), over(store));
    assert!(world.takes(&next(&third).await).await);
    assert_eq!((place.turn(), place.there().generation.since), (6, put_at(6).since));
    unharmed(&world).await;
}

#[tokio::test]
async fn a_home_that_is_slow_keeps_nobody_waiting_for_long() {
    let world = World::rotating().await;
    let place = Place::with(&world.info().refresh_token);
    let credentials = open(place.config(&world), over(empty()));
    place.slow_ms.store(1_500, Ordering::Relaxed);
    let begun = std::time::Instant::now();
    let token = text(&credentials).await;
    // Read once, and the write is not waited for.
    assert!(begun.elapsed() < Duration::from_millis(2_900), "{:?}", begun.elapsed());
    assert!(world.takes(&token).await);
    let mut waited = 0;
    while place.turn() < 1 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        waited += 1;
        assert!(waited < 500, "it never came home");
    }
}

#[tokio::test]
async fn a_chain_from_before_there_was_a_home_goes_on() {
    let world = World::rotating().await;
    let store = empty();
    let mut without = world.refresh();
    without.reuse = Reuse::UntilRefused;
    let before = open(without.clone(), over(store.clone()));
    next(&before).await;
    // The same token is moved to a place that keeps it up to date; it is long spent.
    let place = Place::with(&world.info().refresh_token);
    let after = open(place.config(&world), over(store.clone()));
    assert!(world.takes(&next(&after).await).await);
    assert!(place.turn() >= 1 && place.there().token != world.info().refresh_token);
    unharmed(&world).await;
    // What was revoked stays revoked.
    before.revoke().await.unwrap();
    let moved = Place::with(&world.info().refresh_token);
    let mut config = moved.config(&world);
    config.client_id.clone_from(&without.client_id);
    let revoked = open(config, over(store_with_only(&store, &without).await)).token().await.unwrap_err();
    assert!(matches!(revoked.kind(), AuthErrorKind::Revoked { .. }), "{revoked}");
}

/// A store in which nothing is but the entry of one configuration.
async fn store_with_only(store: &MemoryStore, config: &OrgConfig) -> Arc<MemoryStore> {
    use tieline_auth::token_store::{Lease, Take, TokenStore};
    let (name, copy) = (config.digest(), MemoryStore::default());
    let entry = store.load(&name).await.unwrap().unwrap();
    let Lease::Held { fence } = copy.lease(&name, "a test", Duration::from_secs(9), Take::IfFree).await.unwrap() else {
        panic!("nobody else is there");
    };
    copy.compare_and_swap(&name, 0, fence, &entry.sealed).await.unwrap();
    copy.release(&name, "a test").await.unwrap();
    Arc::new(copy)
}

#[tokio::test]
async fn a_revocation_ends_what_is_at_home_too() {
    let world = World::rotating().await;
    let place = Place::with(&world.info().refresh_token);
    let store = empty();
    let credentials = open(place.config(&world), over(store.clone()));
    text(&credentials).await;
    // Another process has brought a newer one home, and died before the store had it.
    text(&open(place.config(&world), over(empty()))).await;
    let newest = place.there().token.clone();
    let told = credentials.revoke().await.unwrap();
    assert!(told.is_complete(), "{told:?}");
    let config = world.config(Grant::RefreshToken { refresh_token: Secret::new(newest) });
    let error = open(config, over(empty())).token().await.unwrap_err();
    assert!(matches!(error.kind(), AuthErrorKind::Refused { .. }), "{error}");
    // And nobody with this reading gets anything any more, whatever turn it is at.
    let error = open(place.config(&world), over(store)).token().await.unwrap_err();
    assert!(matches!(error.kind(), AuthErrorKind::Revoked { .. }), "{error}");
}
