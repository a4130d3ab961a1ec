//! A store within this process: for programs that run alone, and for tests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::ready;

use super::{Answer, Entry, Lease, Slot, Swap, Take, TokenStore};
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

    fn load<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Entry>> {
        Box::pin(ready(Ok(self.slots().get(key).and_then(Slot::entry))))
    }

    fn lease<'a>(&'a self, key: &'a str, owner: &'a str, time: Duration, take: Take) -> Answer<'a, Lease> {
        let now = self.now();
        let lease = self.slots().entry(key.to_owned()).or_default().lease(owner, time, take, now);
        Box::pin(ready(Ok(lease)))
    }

    fn compare_and_swap<'a>(&'a self, key: &'a str, expected: u64, fence: u64, sealed: &'a [u8]) -> Answer<'a, Swap> {
        let swap = self.slots().entry(key.to_owned()).or_default().swap(expected, fence, sealed);
        Box::pin(ready(Ok(swap)))
    }

    fn release<'a>(&'a self, key: &'a str, owner: &'a str) -> Answer<'a, ()> {
        if let Some(slot) = self.slots().get_mut(key) {
            slot.release(owner);
        }
        Box::pin(ready(Ok(())))
    }
}
