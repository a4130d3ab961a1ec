//! Whose turn it is with the org. Ordinary calls share it; a call that is made of other calls keeps it to itself until
//! all of them are done, so that nobody sees half of a transaction.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::{OwnedRwLockReadGuard, RwLock};

tokio::task_local! {
    static KEPT: ();
}

#[derive(Clone, Default)]
pub(crate) struct Turn(Arc<RwLock<()>>);

impl Turn {
    /// Waits for the turn; `None` inside of [`Turn::keep`], where it is ours already.
    pub(crate) async fn take(&self) -> Option<OwnedRwLockReadGuard<()>> {
        if kept() { None } else { Some(self.0.clone().read_owned().await) }
    }

    /// Runs `work` with nobody else coming in between. It goes on to its end also if the caller hangs up: half a
    /// transaction is worse than an answer that nobody reads.
    pub(crate) async fn keep<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        let lock = self.0.clone();
        let task = tokio::spawn(async move {
            let _turn = lock.write_owned().await;
            KEPT.scope((), work).await
        });
        match task.await {
            Ok(value) => value,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

/// Whether this code runs inside of [`Turn::keep`].
pub(crate) fn kept() -> bool {
    KEPT.try_with(|()| ()).is_ok()
}
