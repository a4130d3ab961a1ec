//! Whether the database takes writes, asked seldom however often somebody wants to know.

use std::sync::Arc;
use std::time::Duration;

use tieline_auth::Clock;
use tieline_store::Store;
use tokio::sync::Mutex;

/// How long an answer holds: load balancers, and there may be many, ask every few seconds.
const HOLDS: Duration = Duration::from_secs(3);
/// How long a refusal holds: less, for a service that has recovered is wanted.
const REFUSAL_HOLDS: Duration = Duration::from_secs(1);
/// How long whoever asks is kept waiting.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a node knows of its database. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Readiness {
    store: Store,
    clock: Arc<dyn Clock>,
    known: Arc<Mutex<Option<Known>>>,
}

/// An answer, and until when it holds by the monotonic clock.
#[derive(Debug, Clone, Copy)]
struct Known {
    answer: Result<(), &'static str>,
    until: Duration,
}

impl Readiness {
    pub(crate) fn of(store: Store, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock, known: Arc::default() }
    }

    /// Whether a write commits; if not, why, for strangers too.
    pub(crate) async fn ask(&self) -> Result<(), &'static str> {
        // A write that was begun is seen to its end, in a task of its own: whoever asks next gets its answer.
        let asking = self.clone();
        match tokio::time::timeout(PATIENCE, tokio::spawn(async move { asking.answer().await })).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err("the question could not be asked"),
            Err(_) => {
                tracing::warn!(seconds = PATIENCE.as_secs(), "not ready: the database takes too long to write");
                Err("the database takes too long to write")
            }
        }
    }

    async fn answer(&self) -> Result<(), &'static str> {
        let mut known = self.known.lock().await;
        if let Some(known) = known.filter(|known| self.clock.monotonic() < known.until) {
            return known.answer;
        }
        let answer = self.store.prove_writable().await.map_err(|error| {
            tracing::warn!(%error, hint = error.hint(), "not ready: nothing can be written");
            error.refusal()
        });
        let holds = if answer.is_ok() { HOLDS } else { REFUSAL_HOLDS };
        *known = Some(Known { answer, until: self.clock.monotonic() + holds });
        answer
    }
}
