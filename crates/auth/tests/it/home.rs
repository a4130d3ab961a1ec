//! Refresh tokens that are replaced, and the home that they are read from and written to.

use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde_json::json;
use tieline_auth::refresh_token_home::{Generation, Home, RefreshTokenHome};
use tieline_auth::token_store::memory::MemoryStore;
use tieline_auth::{Credentials, Grant, OrgConfig, Reuse, Secret};

use crate::world::{World, open, over, text};

/// What is written there, and what a reader finds.
#[derive(Debug)]
struct Place {
    there: Mutex<Option<(Generation, String)>>,
}

impl Place {
    fn with(token: &str, since: i64) -> Arc<Self> {
        Arc::new(Place { there: Mutex::new(Some((generation(since, 0), token.to_owned()))) })
    }

    fn put(&self, token: &str, since: i64) {
        *self.there.lock().unwrap() = Some((generation(since, 0), token.to_owned()));
    }

    /// As a process reads it that starts now.
    fn config(self: &Arc<Self>, world: &World) -> OrgConfig {
        let (generation, token) = self.there.lock().unwrap().clone().unwrap();
        let mut config = world.config(Grant::RefreshToken { refresh_token: Secret::new(token) });
        config.reuse = Reuse::UntilRefused;
        config.store_as = Some("acme".to_owned());
        config.home = Some(Home { generation, place: self.clone() });
        config
    }

    fn turn(&self) -> u64 {
        self.there.lock().unwrap().as_ref().unwrap().0.turn
    }
}

fn generation(since: i64, turn: u64) -> Generation {
    Generation { since: Timestamp::from_second(since).unwrap(), turn }
}

impl RefreshTokenHome for Place {
    fn describe(&self) -> String {
        "a place".to_owned()
    }

    fn replace<'a>(&'a self, generation: Generation, token: &'a Secret) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let mut there = self.there.lock().unwrap();
            match &*there {
                None => return Err("it is away".to_owned()),
                Some((known, _)) if *known >= generation => {}
                Some(_) => *there = Some((generation, token.expose().to_owned())),
            }
            Ok(())
        })
    }
}

async fn next(credentials: &Credentials) -> String {
    let token = credentials.token().await.unwrap();
    credentials.accepted(&token);
    credentials.refused(&token);
    text(credentials).await
}

async fn unharmed(world: &World) {
    assert_eq!(world.ledger().await["spent_refresh_tokens_replayed"], 0, "a spent token came back");
}

#[tokio::test]
async fn a_store_that_is_lost_does_not_take_the_grant_along() {
    let world = World::rotating().await;
    let place = Place::with(&world.info().refresh_token, 1);
    for turn in 1..=4 {
        // A new process each time, with a store that knows nothing.
        let credentials = open(place.config(&world), over(Arc::<MemoryStore>::default()));
        assert!(world.takes(&text(&credentials).await).await);
        assert_eq!(place.turn(), turn);
    }
    unharmed(&world).await;
}

#[tokio::test]
async fn who_has_read_the_home_before_a_rotation_goes_by_the_store() {
    let world = World::rotating().await;
    let store: Arc<MemoryStore> = Arc::default();
    let place = Place::with(&world.info().refresh_token, 1);
    let old = place.config(&world);
    let first = open(place.config(&world), over(store.clone()));
    for _ in 0..3 {
        next(&first).await;
    }
    // In the middle of the chain, and at its very beginning.
    let middle = place.config(&world);
    next(&first).await;
    for config in [old, middle] {
        let late = open(config, over(store.clone()));
        assert_eq!(text(&late).await, text(&first).await);
        next(&late).await;
        next(&first).await;
    }
    unharmed(&world).await;
    assert_eq!(place.turn(), 7, "the first token, three renewals, one, and one for each late one: {place:?}");
}

#[tokio::test]
async fn a_store_that_missed_a_write_is_behind_its_home() {
    let world = World::rotating().await;
    let store: Arc<MemoryStore> = Arc::default();
    let place = Place::with(&world.info().refresh_token, 1);
    text(&open(place.config(&world), over(store.clone()))).await;
    // A process dies between the two: the org has answered, the home has the token, the store has not.
    let dying = Arc::<MemoryStore>::default();
    let stray = open(place.config(&world), over(dying));
    text(&stray).await;
    world.end_sessions().await;
    let next_one = open(place.config(&world), over(store));
    assert!(world.takes(&next(&next_one).await).await);
    unharmed(&world).await;
}

#[tokio::test]
async fn a_token_that_a_person_puts_there_ends_the_chain_and_stays() {
    let world = World::rotating().await;
    let store: Arc<MemoryStore> = Arc::default();
    let place = Place::with(&world.info().refresh_token, 1);
    let before = open(place.config(&world), over(store.clone()));
    text(&before).await;
    let fresh = world.post("refresh-tokens", json!({})).await["refresh_token"].as_str().unwrap().to_owned();
    place.put(&fresh, 2);
    // Who has not heard of it does not write over it.
    next(&before).await;
    assert_eq!(place.there.lock().unwrap().clone().unwrap().1, fresh);
    let after = open(place.config(&world), over(store.clone()));
    let token = text(&after).await;
    assert_ne!(token, text(&before).await);
    // And follows, once its own token is refused.
    assert_eq!(next(&before).await, token);
    assert_eq!((place.turn(), place.there.lock().unwrap().clone().unwrap().0.since.as_second()), (1, 2));
    unharmed(&world).await;
}

#[tokio::test]
async fn a_home_that_is_away_or_was_edited_costs_nothing() {
    let world = World::rotating().await;
    let store: Arc<MemoryStore> = Arc::default();
    let place = Place::with(&world.info().refresh_token, 1);
    let credentials = open(place.config(&world), over(store.clone()));
    let there = place.there.lock().unwrap().take();
    for _ in 0..3 {
        next(&credentials).await;
    }
    // It is back as it was, except that somebody has edited something beside the token, which is spent.
    *place.there.lock().unwrap() = there;
    place.put(&world.info().refresh_token, 5);
    let another = open(place.config(&world), over(store.clone()));
    assert_eq!(text(&another).await, text(&credentials).await);
    next(&another).await;
    assert_eq!(place.turn(), 5, "the newest has come home: {place:?}");
    assert!(world.takes(&text(&open(place.config(&world), over(Arc::<MemoryStore>::default()))).await).await);
    unharmed(&world).await;
}
