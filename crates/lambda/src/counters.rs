//! What the broker was asked and how it answered, in numbers.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Waiting times that are kept between two readings: as many as CloudWatch takes in one metric.
pub(crate) const SAMPLES: usize = 100;

/// Counted by the broker, read by whoever reports.
#[derive(Debug, Default)]
pub struct Counters(Mutex<Counted>);

/// The numbers since the last reading.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counted {
    /// Tokens handed out.
    pub served: u64,
    /// Of them, without asking the org.
    pub from_cache: u64,
    /// Requests that got no token, by the answer's `code`.
    pub refused: BTreeMap<&'static str, u64>,
    /// How long callers waited for a token; of the first hundred.
    pub waits: Vec<Duration>,
}

impl Counters {
    pub(crate) fn served(&self, from_cache: bool, wait: Duration) {
        let mut counted = self.lock();
        counted.served += 1;
        counted.from_cache += u64::from(from_cache);
        if counted.waits.len() < SAMPLES {
            counted.waits.push(wait);
        }
    }

    pub(crate) fn refused(&self, code: &'static str) {
        *self.lock().refused.entry(code).or_default() += 1;
    }

    /// The numbers since the last call; counting begins anew.
    pub fn take(&self) -> Counted {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
