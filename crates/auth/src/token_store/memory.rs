//! A store within this process: for programs that run alone, and for tests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, ready};

use super::{Entry, Lease, Slot, Swap, Take, TokenStore, TokenStoreError};
use crate::clock::{Clock, SystemClock};

/// Tokens in memory. Clones share it.
#[derive(Debug, Clone)]
pub struct MemoryStore {
    slots: Arc<Mutex<HashMap<String, Slot>>>,
    clock: Arc<dyn Clock>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::with_clock(Arc::new(SystemClock::default()))
    }
}

impl MemoryStore {
    /// A store whose leases end by this clock.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self { slots: Arc::default(), clock }
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<String, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.clock.monotonic().as_millis()).unwrap_or(u64::MAX)
    }
}

impl TokenStore for MemoryStore {
    fn describe(&self) -> String {
        "memory".to_owned()
    }

    fn is_durable(&self) -> bool {
        false
    }

    fn load<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>, TokenStoreError>> {
        Box::pin(ready(Ok(self.slots().get(key).and_then(Slot::entry))))
    }

    fn lease<'a>(
        &'a self,
        key: &'a str,
        owner: &'a str,
        time: Duration,
        take: Take,
    ) -> BoxFuture<'a, Result<Lease, TokenStoreError>> {
        let now = self.now();
        let lease = self.slots().entry(key.to_owned()).or_default().lease(owner, time, take, now);
        Box::pin(ready(Ok(lease)))
    }

    fn compare_and_swap<'a>(
        &'a self,
        key: &'a str,
        expected: u64,
        fence: u64,
        sealed: &'a [u8],
    ) -> BoxFuture<'a, Result<Swap, TokenStoreError>> {
        let swap = self.slots().entry(key.to_owned()).or_default().swap(expected, fence, sealed);
        Box::pin(ready(Ok(swap)))
    }

    fn release<'a>(&'a self, key: &'a str, owner: &'a str) -> BoxFuture<'a, Result<(), TokenStoreError>> {
        if let Some(slot) = self.slots().get_mut(key) {
            slot.release(owner);
        }
        Box::pin(ready(Ok(())))
    }
}
