//! Keeps one value and lets one request at a time fetch the next.
//!
//! Lazy: nothing happens between calls, so a process may be frozen at any moment. The request runs in a task of
//! its own: a caller that gives up does not take the answer away from those who wait with it.

use std::sync::{Arc, PoisonError};

use futures_util::future::{BoxFuture, FutureExt, Shared};

use super::sync::{Mutex, Slot, run_to_end};

/// `None`: nobody is left who could bring it.
type Flight<T, E> = Shared<BoxFuture<'static, Option<Result<Arc<T>, E>>>>;

pub(crate) struct SingleFlight<T, E> {
    current: Slot<T>,
    flight: Mutex<Option<Flight<T, E>>>,
}

/// How an asker came to its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// It was at hand.
    Hand,
    /// This asker caused the request.
    Own,
    /// Another one had, and this one waited with it.
    Waited,
}

impl<T: Send + Sync + 'static, E: Clone + Send + Sync + 'static> SingleFlight<T, E> {
    pub(crate) fn new() -> Self {
        Self { current: Slot::empty(), flight: Mutex::new(None) }
    }

    /// The value at hand, if it passes.
    pub(crate) fn at_hand(&self, passes: impl FnOnce(&T) -> bool) -> Option<Arc<T>> {
        self.current.read(passes)
    }

    /// Forgets the value. A request under way brings the next one all the same.
    pub(crate) fn clear(&self) {
        self.current.write(None);
    }

    /// The value at hand if it is `usable`, or the one that `fetch` gets. However many ask at once, `fetch` runs once.
    pub(crate) async fn get<F>(
        self: &Arc<Self>,
        usable: impl Fn(&T) -> bool,
        fetch: impl Fn() -> F,
    ) -> Result<(Arc<T>, Source), E>
    where
        F: Future<Output = Result<Arc<T>, E>> + Send + 'static,
    {
        loop {
            if let Some(value) = self.current.read(&usable) {
                return Ok((value, Source::Hand));
            }
            let (flight, source) = {
                let mut flight = self.flight.lock().unwrap_or_else(PoisonError::into_inner);
                match &*flight {
                    Some(flight) => (flight.clone(), Source::Waited),
                    None => {
                        // A flight may have landed between the first look and the lock.
                        if let Some(value) = self.current.read(&usable) {
                            return Ok((value, Source::Hand));
                        }
                        let new = self.clone().fly(fetch()).boxed().shared();
                        *flight = Some(new.clone());
                        (new, Source::Own)
                    }
                }
            };
            // `None`: the runtime that it ran on is gone, and this one is not.
            if let Some(outcome) = flight.await {
                return Ok((outcome?, source));
            }
        }
    }

    async fn fly(
        self: Arc<Self>,
        request: impl Future<Output = Result<Arc<T>, E>> + Send + 'static,
    ) -> Option<Result<Arc<T>, E>> {
        let landing = Landing(self.clone());
        run_to_end(async move {
            // Also when the request panics or its runtime ends: the next asker must be able to start.
            let landing = landing;
            let outcome = request.await;
            if let Ok(value) = &outcome {
                landing.0.current.write(Some(value.clone()));
            }
            outcome
        })
        .await
    }
}

/// Makes room for the next flight when it is dropped.
struct Landing<T, E>(Arc<SingleFlight<T, E>>);

impl<T, E> Drop for Landing<T, E> {
    fn drop(&mut self) {
        *self.0.flight.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
