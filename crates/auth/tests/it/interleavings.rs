//! The single flight under every order of events that a random scheduler finds: the source is the crate's own, its
//! lock, slot and tasks are shuttle's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use shuttle::future::{block_on, spawn};

/// What `src/sync.rs` gives the crate, with a scheduler behind it.
mod sync {
    use std::sync::Arc;

    pub(super) use shuttle::sync::Mutex;

    pub(super) struct Slot<T>(Mutex<Option<Arc<T>>>);

    impl<T> Slot<T> {
        pub(super) fn empty() -> Self {
            Self(Mutex::new(None))
        }

        pub(super) fn read(&self, passes: impl FnOnce(&T) -> bool) -> Option<Arc<T>> {
            let value = self.0.lock().unwrap().clone();
            value.filter(|value| passes(value))
        }

        pub(super) fn write(&self, value: Option<Arc<T>>) {
            *self.0.lock().unwrap() = value;
        }
    }

    pub(super) async fn run_to_end<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Option<T> {
        shuttle::future::spawn(work).await.ok()
    }
}

#[path = "../../src/single_flight.rs"]
#[allow(dead_code, unreachable_pub, reason = "the crate uses all of it")]
mod single_flight;

use single_flight::SingleFlight;

const SCHEDULES: usize = 3_000;

/// A token of a pretended org: valid until somebody says otherwise.
struct Token {
    number: usize,
    dead: AtomicBool,
}

struct Org {
    flight: Arc<SingleFlight<Token, String>>,
    issued: AtomicUsize,
    under_way: AtomicUsize,
}

impl Org {
    fn new() -> Arc<Self> {
        let (issued, under_way) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { flight: Arc::new(SingleFlight::new()), issued, under_way })
    }

    async fn ask(self: &Arc<Self>) -> Result<Arc<Token>, String> {
        let fetch = || {
            let org = self.clone();
            async move { org.issue().await }
        };
        let got = self.flight.get(|token| !token.dead.load(Ordering::SeqCst), fetch).await?;
        Ok(got.0)
    }

    async fn issue(&self) -> Result<Arc<Token>, String> {
        assert_eq!(self.under_way.fetch_add(1, Ordering::SeqCst), 0, "two requests at the same time");
        shuttle::future::yield_now().await;
        let number = self.issued.fetch_add(1, Ordering::SeqCst) + 1;
        shuttle::future::yield_now().await;
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        Ok(Arc::new(Token { number, dead: AtomicBool::new(false) }))
    }
}

#[test]
fn s01_in_any_order_of_events_one_request_serves_all() {
    shuttle::check_random(
        || {
            let org = Org::new();
            let askers: Vec<_> = (0..4).map(|_| org.clone()).map(|org| spawn(async move { org.ask().await })).collect();
            block_on(async {
                for asker in askers {
                    assert_eq!(asker.await.unwrap().unwrap().number, 1);
                }
            });
            assert_eq!(org.issued.load(Ordering::SeqCst), 1);
        },
        SCHEDULES,
    );
}

#[test]
fn s02_in_any_order_of_refusals_each_dead_token_costs_one_request() {
    shuttle::check_random(
        || {
            let org = Org::new();
            let first = block_on(org.ask()).unwrap();
            let callers: Vec<_> = (0..3)
                .map(|_| (org.clone(), first.clone()))
                .map(|(org, used)| {
                    spawn(async move {
                        used.dead.store(true, Ordering::SeqCst);
                        org.ask().await.unwrap().number
                    })
                })
                .collect();
            block_on(async {
                for caller in callers {
                    assert_eq!(
                        caller.await.unwrap(),
                        2,
                        "the dead one is not handed out again, and one more is enough"
                    );
                }
            });
            assert_eq!(org.issued.load(Ordering::SeqCst), 2);
        },
        SCHEDULES,
    );
}

#[test]
fn an_asker_that_gives_up_takes_nothing_away() {
    shuttle::check_random(
        || {
            let org = Org::new();
            let (quitter, stayer) = (org.clone(), org.clone());
            let quitting = spawn(async move { quitter.ask().await });
            let staying = spawn(async move { stayer.ask().await });
            quitting.abort();
            block_on(async { assert_eq!(staying.await.unwrap().unwrap().number, 1) });
        },
        SCHEDULES,
    );
}
