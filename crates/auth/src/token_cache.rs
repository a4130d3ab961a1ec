//! Keeps one token and lets one request at a time fetch the next.
//!
//! Lazy: nothing happens between calls, so a process may be frozen at any moment. The request runs in a task of
//! its own: a caller that gives up does not take the answer away from those who wait with it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::{BoxFuture, FutureExt, Shared};

use crate::clock::Clock;
use crate::error::AuthError;
use crate::token::Token;

type Flight = Shared<BoxFuture<'static, Result<Arc<Token>, AuthError>>>;

#[derive(Default)]
struct State {
    token: Option<Arc<Token>>,
    flight: Option<Flight>,
}

#[derive(Default)]
pub(crate) struct TokenCache(Mutex<State>);

/// Where a token came from.
pub(crate) struct Found {
    pub(crate) token: Arc<Token>,
    pub(crate) from_cache: bool,
}

impl TokenCache {
    /// The token at hand, or the one that `fetch` gets. However many ask at once, `fetch` runs once.
    pub(crate) async fn get<F>(
        self: &Arc<Self>,
        clock: &dyn Clock,
        fetch: impl FnOnce() -> F,
    ) -> Result<Found, AuthError>
    where
        F: Future<Output = Result<Token, AuthError>> + Send + 'static,
    {
        let flight = {
            let mut state = self.lock();
            if let Some(token) = state.token.as_ref().filter(|t| is_fresh(t, clock)) {
                return Ok(Found { token: token.clone(), from_cache: true });
            }
            match &state.flight {
                Some(flight) => flight.clone(),
                None => {
                    let (cache, request) = (self.clone(), fetch());
                    let task = tokio::spawn(async move {
                        let outcome = request.await.map(Arc::new);
                        let mut state = cache.lock();
                        state.flight = None;
                        if let Ok(token) = &outcome {
                            state.token = Some(token.clone());
                        }
                        outcome
                    });
                    let flight = async move {
                        match task.await {
                            Ok(outcome) => outcome,
                            Err(error) => std::panic::resume_unwind(error.into_panic()),
                        }
                    };
                    let flight = flight.boxed().shared();
                    state.flight = Some(flight.clone());
                    flight
                }
            }
        };
        Ok(Found { token: flight.await?, from_cache: false })
    }

    /// Drops the token of that generation; a newer one stays. True if it was the one at hand.
    pub(crate) fn refuse(&self, generation: u64) -> bool {
        let mut state = self.lock();
        let same = state.token.as_ref().is_some_and(|t| t.generation == generation);
        if same {
            state.token = None;
        }
        same
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_fresh(token: &Token, clock: &dyn Clock) -> bool {
    token.reuse_until.is_none_or(|until| clock.now() < until)
        && token.monotonic_until.is_none_or(|until| clock.monotonic() < until)
}
