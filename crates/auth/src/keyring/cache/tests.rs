//! The rules, by a clock that moves when told to and a service whose outages are written down beforehand: no real one is
//! out of reach on demand. `tests/it/keyring.rs` has a real one that is killed.

use std::collections::HashSet;

use futures_util::future::{BoxFuture, join_all};

use super::super::{DataKeyBytes, KeyService, KeyServiceError, LocalKey, Place};
use super::*;
use crate::ManualClock;

const MINUTE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Up,
    Away,
    Refusing,
    /// It takes the request and never answers.
    Silent,
}

#[derive(Debug)]
struct Scripted {
    key: LocalKey,
    state: Mutex<State>,
    asked: AtomicU64,
    ask_to_go_on: tokio::sync::Semaphore,
}

impl KeyService for Scripted {
    fn name(&self) -> &str {
        self.key.name()
    }

    fn wrap<'a>(&'a self, key: &'a DataKeyBytes, context: &'a str) -> BoxFuture<'a, Result<Vec<u8>, KeyServiceError>> {
        self.key.wrap(key, context)
    }

    fn unwrap<'a>(
        &'a self,
        wrapped: &'a [u8],
        context: &'a str,
    ) -> BoxFuture<'a, Result<DataKeyBytes, KeyServiceError>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            tokio::task::yield_now().await;
            let state = *self.state.lock().unwrap();
            if state == State::Silent {
                self.ask_to_go_on.acquire().await.unwrap().forget();
            }
            let state = *self.state.lock().unwrap();
            if matches!(state, State::Up | State::Silent) {
                return self.key.unwrap(wrapped, context).await;
            }
            let passing = state == State::Away;
            let (service, reason, hint) = (self.name().to_owned(), format!("{state:?}"), String::new());
            Err(KeyServiceError { service, task: KeyServiceError::UNWRAP, reason, passing, hint })
        })
    }
}

struct Desk {
    service: Arc<Scripted>,
    clock: Arc<ManualClock>,
    keys: Arc<DataKeys>,
    log: Log,
    _watch: tracing::subscriber::DefaultGuard,
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Desk {
    fn new(rules: CacheRules) -> Self {
        let service = Arc::new(Scripted {
            key: LocalKey::new(&[1; 32]).unwrap(),
            state: Mutex::new(State::Up),
            asked: AtomicU64::new(0),
            ask_to_go_on: tokio::sync::Semaphore::new(0),
        });
        let clock = Arc::new(ManualClock::at("2026-01-01T00:00:00Z".parse().unwrap()));
        let ring = Arc::new(Keyring::new([service.clone() as Arc<dyn KeyService>]).unwrap());
        let keys = Arc::new(DataKeys::new(ring, clock.clone(), rules));
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        Self { service, clock, keys, log, _watch: tracing::subscriber::set_default(subscriber) }
    }

    fn is(&self, state: State) {
        *self.service.state.lock().unwrap() = state;
    }

    fn asked(&self) -> u64 {
        self.service.asked.load(Ordering::Relaxed)
    }

    fn warnings(&self) -> usize {
        String::from_utf8(self.log.0.lock().unwrap().clone()).unwrap().matches("WARN").count()
    }

    async fn wrapped(&self, id: u8) -> Wrapped {
        self.keys.ring().wrap_new([id; 16], "acme").await.unwrap().1
    }

    async fn get(&self, wrapped: &Wrapped, id: u8) -> Result<Arc<DataKey>, KeyringError> {
        self.keys.get([id; 16], wrapped, "acme").await
    }
}

/// Asked again at once after an outage: the rest is another test's matter.
fn restless() -> CacheRules {
    CacheRules { rest: Duration::ZERO, ..CacheRules::default() }
}

#[tokio::test]
async fn a_key_is_unwrapped_once_and_again_when_it_is_no_longer_fresh() {
    let desk = Desk::new(CacheRules::default());
    let wrapped = desk.wrapped(1).await;
    let gets = join_all((0..50).map(|_| desk.get(&wrapped, 1))).await;
    assert!(gets.iter().all(Result::is_ok));
    assert_eq!((desk.asked(), desk.keys.unwraps()), (1, 1), "however many ask at once");
    desk.clock.advance(5 * MINUTE - Duration::from_millis(1));
    desk.get(&wrapped, 1).await.unwrap();
    assert_eq!(desk.asked(), 1);
    desk.clock.advance(Duration::from_millis(1));
    join_all((0..50).map(|_| desk.get(&wrapped, 1))).await;
    assert_eq!(desk.asked(), 2);
}

#[tokio::test]
async fn s32_the_key_at_hand_serves_through_an_outage_until_it_is_stale() {
    let desk = Desk::new(restless());
    let (wrapped, other) = (desk.wrapped(1).await, desk.wrapped(2).await);
    let key = desk.get(&wrapped, 1).await.unwrap();
    desk.is(State::Away);
    for _ in 0..11 {
        desk.clock.advance(5 * MINUTE);
        let same = desk.get(&wrapped, 1).await.unwrap();
        let place = Place { tenant: "acme", table: "t", row: "1", column: "c" };
        assert!(same.open(&key.seal(b"x", &place).unwrap(), &place).is_ok());
    }
    assert_eq!((desk.asked(), desk.warnings()), (12, 1), "it was asked each time, and one warning was enough");
    // What is not at hand is not to be had, and an hour after the last time it answered nothing is.
    assert!(desk.get(&other, 2).await.unwrap_err().passing());
    desk.clock.advance(5 * MINUTE - Duration::from_millis(1));
    desk.get(&wrapped, 1).await.unwrap();
    desk.clock.advance(Duration::from_millis(1));
    let error = desk.get(&wrapped, 1).await.unwrap_err();
    assert!(error.passing() && error.to_string().contains("Away"), "{error}");
    // It comes back; the next outage is another one.
    desk.is(State::Up);
    desk.get(&wrapped, 1).await.unwrap();
    desk.clock.advance(5 * MINUTE);
    desk.is(State::Away);
    desk.get(&wrapped, 1).await.unwrap();
    assert_eq!(desk.warnings(), 2);
}

/// Also where it is still in memory.
#[tokio::test]
async fn a_stale_key_is_not_used_though_nobody_has_swept_it_away() {
    let desk = Desk::new(CacheRules { fresh: 25 * MINUTE, ..restless() });
    let wrapped = desk.wrapped(1).await;
    desk.get(&wrapped, 1).await.unwrap();
    desk.is(State::Away);
    desk.clock.advance(60 * MINUTE - Duration::from_millis(1));
    desk.get(&wrapped, 1).await.unwrap();
    desk.clock.advance(Duration::from_millis(1));
    assert!(desk.get(&wrapped, 1).await.unwrap_err().passing());
    assert_eq!(desk.keys.len(), 1);
    desk.clock.advance(60 * MINUTE);
    desk.is(State::Up);
    desk.get(&wrapped, 1).await.unwrap();
}

#[tokio::test]
async fn a_refusal_drops_the_key_at_once() {
    let desk = Desk::new(restless());
    let wrapped = desk.wrapped(1).await;
    desk.get(&wrapped, 1).await.unwrap();
    desk.clock.advance(5 * MINUTE);
    desk.is(State::Refusing);
    let refusals = join_all((0..5).map(|_| desk.get(&wrapped, 1))).await;
    assert!(refusals.iter().all(|refusal| refusal.as_ref().is_err_and(|error| !error.passing())));
    // Also for those who come when it is out of reach: there is no key at hand any more.
    desk.is(State::Away);
    assert!(desk.get(&wrapped, 1).await.unwrap_err().passing());
    desk.is(State::Up);
    desk.get(&wrapped, 1).await.unwrap();
}

#[tokio::test]
async fn a_service_that_was_away_is_left_alone_for_a_while() {
    let desk = Desk::new(CacheRules::default());
    let (one, two) = (desk.wrapped(1).await, desk.wrapped(2).await);
    desk.get(&one, 1).await.unwrap();
    desk.get(&two, 2).await.unwrap();
    desk.clock.advance(5 * MINUTE);
    desk.is(State::Away);
    for _ in 0..10 {
        desk.get(&one, 1).await.unwrap();
        desk.get(&two, 2).await.unwrap();
    }
    assert_eq!(desk.asked(), 3, "the second key learnt from the first");
    desk.clock.advance(Duration::from_secs(10));
    desk.is(State::Up);
    desk.get(&one, 1).await.unwrap();
    desk.get(&two, 2).await.unwrap();
    assert_eq!(desk.asked(), 5);
}

#[tokio::test]
async fn nobody_with_a_key_at_hand_waits_for_a_service_that_is_silent() {
    let desk = Desk::new(CacheRules { patience: Duration::from_millis(30), ..CacheRules::default() });
    let wrapped = desk.wrapped(1).await;
    desk.get(&wrapped, 1).await.unwrap();
    desk.clock.advance(5 * MINUTE);
    desk.is(State::Silent);
    for _ in 0..2 {
        tokio::time::timeout(Duration::from_secs(1), desk.get(&wrapped, 1)).await.unwrap().unwrap();
    }
    assert_eq!((desk.asked(), desk.warnings()), (2, 1));
    // What it says at last is heard, though nobody waits for it.
    desk.is(State::Refusing);
    desk.service.ask_to_go_on.add_permits(1);
    let flight = desk.keys.flight(&([1; 16], "acme".to_owned()), Duration::ZERO);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(flight.at_hand(|_| true).is_none(), "the refusal has dropped the key");
    assert!(!desk.get(&wrapped, 1).await.unwrap_err().passing());
}

#[tokio::test]
async fn a_key_at_hand_is_its_owners_alone() {
    let desk = Desk::new(CacheRules::default());
    let wrapped = desk.wrapped(1).await;
    desk.get(&wrapped, 1).await.unwrap();
    let error = desk.keys.get([1; 16], &wrapped, "other").await.unwrap_err();
    assert!(!error.passing() && error.to_string().contains("another integration"), "{error}");
    let absent = Wrapped { service: "kms:absent".to_owned(), ..wrapped.clone() };
    assert!(matches!(desk.get(&absent, 2).await.unwrap_err(), KeyringError::Missing { .. }));
    assert!(desk.get(&wrapped, 1).await.is_ok(), "another's refusal is not this one's");
}

#[tokio::test]
async fn keys_that_were_not_used_for_the_longest_time_go_first() {
    let desk = Desk::new(CacheRules { most: 3, ..CacheRules::default() });
    let mut wrapped = Vec::new();
    for id in 0..4 {
        wrapped.push(desk.wrapped(id).await);
    }
    for id in [0, 1, 2, 0, 3] {
        desk.get(&wrapped[usize::from(id)], id).await.unwrap();
    }
    let held: HashSet<u8> = desk.keys.lock().slots.keys().map(|(id, _)| id[0]).collect();
    assert_eq!(held, HashSet::from([0, 2, 3]));
    assert_eq!(format!("{:?}", desk.keys), format!("[3 data keys of [{:?}]]", desk.service.name()));
    desk.keys.forget([2; 16]);
    assert_eq!(desk.keys.len(), 2);
    // What has gone stale does not stay in memory until room is needed.
    desk.clock.advance(60 * MINUTE);
    desk.get(&wrapped[1], 1).await.unwrap();
    assert_eq!(desk.keys.len(), 1);
}

#[tokio::test]
async fn a_key_that_was_just_made_is_at_hand() {
    let desk = Desk::new(CacheRules::default());
    let (key, wrapped) = desk.keys.ring().wrap_new([1; 16], "acme").await.unwrap();
    desk.keys.keep(Arc::new(key), "acme").await;
    desk.get(&wrapped, 1).await.unwrap();
    assert_eq!(desk.asked(), 0);
    desk.clock.advance(5 * MINUTE);
    desk.get(&wrapped, 1).await.unwrap();
    assert_eq!(desk.asked(), 1);
}
