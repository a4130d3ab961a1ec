//! Settings that change where they are kept.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use serde_json::json;
use tieline_auth::{Clock, ConfigError, ManualClock, OrgConfig};
use tieline_lambda::broker::Broker;
use tieline_lambda::orgs::{Org, OrgError, Orgs, Source, Variables};
use tieline_lambda::sources::Sources;

use crate::world::{SECRET, World, hex, org, run, system};

/// A place whose content the test changes.
#[derive(Debug)]
struct Place {
    refresh_token: Mutex<Option<String>>,
    world: Arc<WorldConfig>,
    clock: Arc<dyn Clock>,
    reads: AtomicU32,
    slow_ms: AtomicU64,
}

#[derive(Debug)]
struct WorldConfig {
    login_url: String,
    client_id: String,
    client_secret: String,
}

impl Source for Place {
    fn read<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Variables, OrgError>> {
        Box::pin(async {
            self.reads.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(self.slow_ms.load(Ordering::Relaxed))).await;
            let token = self.refresh_token.lock().unwrap().clone();
            let token = token.ok_or_else(|| OrgError::Unavailable {
                place: "a place".to_owned(),
                reason: "it is away".to_owned(),
                hint: "wait".to_owned(),
            })?;
            Ok(Variables { values: [("SF_REFRESH_TOKEN".to_owned(), token)].into(), home: None })
        })
    }

    fn org<'a>(&'a self, name: &'a str, settings: &'a Variables) -> BoxFuture<'a, Result<Org, OrgError>> {
        Box::pin(async move {
            let WorldConfig { login_url, client_id, client_secret } = &*self.world;
            let config = OrgConfig::from_variables(|name| match name {
                "SF_LOGIN_URL" => Some(login_url.clone()),
                "SF_CLIENT_ID" => Some(client_id.clone()),
                "SF_CLIENT_SECRET" => Some(client_secret.clone()),
                name => settings.values.get(name).cloned(),
            });
            let failed = |error: ConfigError| OrgError::Setting { connection: name.to_owned(), error };
            Ok(org(config.map_err(failed)?, self.clock.clone()))
        })
    }
}

async fn place(world: &World, token: Option<&str>) -> (Arc<Place>, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(system().now()));
    let info = world.info();
    let config = WorldConfig {
        login_url: info.login_url.clone(),
        client_id: info.client_id.clone(),
        client_secret: info.client_secret.clone(),
    };
    let place = Place {
        refresh_token: Mutex::new(token.map(str::to_owned)),
        world: Arc::new(config),
        clock: clock.clone(),
        reads: AtomicU32::new(0),
        slow_ms: AtomicU64::new(20),
    };
    (Arc::new(place), clock)
}

#[tokio::test]
async fn a_secret_that_was_rotated_is_noticed_when_the_old_one_fails() {
    let world = World::new().await;
    let (place, clock) = place(&world, Some("5Aep861ended")).await;
    let orgs = Orgs::new(clock.clone()).with_source("default", place.clone());
    let broker = run(Broker::new(SECRET, orgs, clock.clone())).await;
    let (status, _, body) = broker.ask(&world.http, "").await;
    assert_eq!((status, &body["code"]), (401, &json!("reauth_required")), "{body}");
    place.set(&world.info().refresh_token);
    // Not at once: a broken secret must not be read at every request.
    assert_eq!(broker.ask(&world.http, "").await.0, 401);
    assert_eq!(place.reads.load(Ordering::Relaxed), 1);
    clock.advance(Duration::from_secs(11));
    let token = broker.token(&world.http, "").await;
    assert_eq!(world.call(&token).await, 200);
    assert_eq!(place.reads.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn settings_are_read_once_for_all_and_again_when_they_are_old() {
    let world = World::new().await;
    let (place, clock) = place(&world, Some(&world.info().refresh_token)).await;
    let orgs = Orgs::new(clock.clone()).with_source("default", place.clone());
    let broker = run(Broker::new(SECRET, orgs, clock.clone())).await;
    assert_eq!(place.reads.load(Ordering::Relaxed), 0, "nothing is read before it is needed");
    let tokens = join_all((0..50).map(|_| broker.token(&world.http, ""))).await;
    assert!(tokens.iter().all(|token| *token == tokens[0]));
    assert_eq!(place.reads.load(Ordering::Relaxed), 1);
    clock.advance(Duration::from_secs(301));
    broker.token(&world.http, "").await;
    assert_eq!(place.reads.load(Ordering::Relaxed), 1, "a fresh token needs no settings");
    clock.advance(Duration::from_secs(24 * 60 * 60));
    broker.token(&world.http, "").await;
    assert_eq!(place.reads.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_place_that_is_away_is_asked_again_and_what_was_read_before_is_used() {
    let world = World::new().await;
    let (place, clock) = place(&world, None).await;
    let orgs = Orgs::new(clock.clone()).with_source("default", place.clone());
    let broker = run(Broker::new(SECRET, orgs, clock.clone())).await;
    let answers = join_all((0..30).map(|_| broker.ask(&world.http, ""))).await;
    assert!(answers.iter().all(|(status, after, body)| {
        (*status, *after, &body["code"]) == (503, Some(1), &json!("secret_unavailable"))
    }));
    assert_eq!(place.reads.load(Ordering::Relaxed), 1, "all who waited for it got its failure");
    place.set(&world.info().refresh_token);
    clock.advance(Duration::from_secs(2));
    let token = broker.token(&world.http, "").await;
    // A day later it is away again, and the token has ended.
    *place.refresh_token.lock().unwrap() = None;
    clock.advance(Duration::from_secs(24 * 60 * 60));
    let next = broker.token(&world.http, &format!("?seen={}", hex(&token))).await;
    assert_ne!(next, token);
}

impl Place {
    fn set(&self, token: &str) {
        *self.refresh_token.lock().unwrap() = Some(token.to_owned());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_goes_away_and_a_place_that_is_slow_hold_nobody_up() {
    let world = World::new().await;
    let (place, clock) = place(&world, Some("5Aep861ended")).await;
    let orgs = Orgs::new(clock.clone()).with_source("default", place.clone());
    let broker = run(Broker::new(SECRET, orgs, clock.clone())).await;
    place.slow_ms.store(300, Ordering::Relaxed);
    let url = broker.url("/v1/token");
    let hasty = world.http.get(url).header("X-Tieline-Token", SECRET).timeout(Duration::from_millis(50)).send().await;
    assert!(hasty.unwrap_err().is_timeout());
    place.set(&world.info().refresh_token);
    let token = broker.token(&world.http, "").await;
    assert_eq!(place.reads.load(Ordering::Relaxed), 1, "the reading that was begun for another one is used");

    // Now the place hangs. Somebody wants more of the token than it has; the others have theirs at hand.
    place.slow_ms.store(60_000, Ordering::Relaxed);
    clock.advance(Duration::from_secs(20 * 60));
    let fault = json!({"status": 400, "body": {"error": "invalid_grant", "error_description": "inactive user"}});
    world.token_fault(fault, 2).await;
    let greedy = broker.token(&world.http, "?min_ttl=1200");
    let modest = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let started = std::time::Instant::now();
        (broker.token(&world.http, "").await, started.elapsed())
    };
    let (greedy, (modest, took)) = tokio::join!(greedy, modest);
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!((&greedy, &modest), (&token, &token), "a token that lasts for less is better than none");
}

#[tokio::test]
async fn a_private_key_that_was_replaced_in_its_file_is_noticed() {
    let world = World::new().await;
    let info = world.info();
    let clock = Arc::new(ManualClock::at(system().now()));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key.pem");
    // The certificate in place of the key: somebody mixed them up.
    std::fs::copy(&info.certificate_file, &file).unwrap();
    let pairs = [
        ("SF_LOGIN_URL", info.login_url.clone()),
        ("SF_CLIENT_ID", info.client_id.clone()),
        ("SF_USERNAME", info.username.clone()),
        ("SF_PRIVATE_KEY_FILE", file.display().to_string()),
    ];
    let variable = Arc::new(move |name: &str| pairs.iter().find(|(known, _)| *known == name).map(|(_, v)| v.clone()));
    let orgs = Sources::new(variable, clock.clone(), "67.0").orgs().unwrap();
    let broker = run(Broker::new(SECRET, orgs, clock.clone())).await;
    let (status, _, body) = broker.ask(&world.http, "").await;
    assert_eq!((status, &body["code"]), (500, &json!("configuration")), "{body}");
    std::fs::copy(&info.private_key_file, &file).unwrap();
    clock.advance(Duration::from_secs(11));
    broker.token(&world.http, "").await;
}
