//! What `single_flight` is made of. Its interleavings are explored with other parts of the same shape
//! (`tests/it/interleavings.rs`), which is why they have names here.

pub(crate) use std::sync::Mutex;

use std::sync::Arc;

use arc_swap::ArcSwapOption;

/// The value at hand: read without a lock.
#[derive(Debug)]
pub(crate) struct Slot<T>(ArcSwapOption<T>);

impl<T> Slot<T> {
    pub(crate) fn empty() -> Self {
        Self(ArcSwapOption::empty())
    }

    /// The value, if it passes.
    pub(crate) fn read(&self, passes: impl FnOnce(&T) -> bool) -> Option<Arc<T>> {
        let value = self.0.load();
        value.as_ref().filter(|value| passes(value)).cloned()
    }

    pub(crate) fn write(&self, value: Option<Arc<T>>) {
        self.0.store(value);
    }
}

/// Runs a future to its end, whoever waits for it. `None`: its runtime was shut down before.
pub(crate) async fn run_to_end<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Option<T> {
    match tokio::spawn(work).await {
        Ok(value) => Some(value),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => None,
        },
    }
}
