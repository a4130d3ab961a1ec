//! Limits in the memory of one process.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::gcra::{self, Decision, Limit};

/// Full buckets that a decision clears away: more than one, so that they do not pile up; few, so that none waits.
const CLEARED: usize = 4;

/// Buckets of clients in memory, never more than so many.
///
/// When there are more, the one that is full first goes: a crowd of clients who come once cannot make the one forgotten
/// who has taken all. Times are those of a [monotonic clock](tieline_auth::Clock::monotonic).
#[derive(Debug)]
pub struct LocalLimits {
    most: usize,
    buckets: Mutex<Buckets>,
}

#[derive(Debug, Default)]
struct Buckets {
    full_at: HashMap<Arc<str>, i64>,
    in_order: BTreeSet<(i64, Arc<str>)>,
}

impl LocalLimits {
    /// None yet, and never more than `most` clients (at least one).
    pub fn new(most: usize) -> Self {
        Self { most: most.max(1), buckets: Mutex::default() }
    }

    /// Takes units, if so many are left.
    pub fn take(&self, key: &str, limit: Limit, cost: u32, now: Duration) -> Decision {
        let now = microseconds(now);
        let mut buckets = self.lock();
        buckets.clear_full(now);
        let (full_at, allowed) = gcra::take(limit, cost, buckets.full_at.get(key).copied(), now);
        buckets.set(key, full_at, self.most);
        gcra::told(limit, cost, full_at, now, allowed)
    }

    /// The refusal that [`take`](Self::take) would answer, if it would; nothing is taken.
    pub fn refusal(&self, key: &str, limit: Limit, cost: u32, now: Duration) -> Option<Decision> {
        let now = microseconds(now);
        let full_at = self.lock().full_at.get(key).copied()?;
        let (full_at, allowed) = gcra::take(limit, cost, Some(full_at), now);
        (!allowed).then(|| gcra::told(limit, cost, full_at, now, false))
    }

    /// Notes what somebody else has decided: the bucket is full at that time, or later.
    pub(super) fn note(&self, key: &str, full_at: Duration) {
        let mut buckets = self.lock();
        let full_at = microseconds(full_at);
        if buckets.full_at.get(key).is_none_or(|known| *known < full_at) {
            buckets.set(key, full_at, self.most);
        }
    }

    /// How many clients are remembered.
    pub fn len(&self) -> usize {
        self.lock().full_at.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Buckets> {
        self.buckets.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Buckets {
    fn set(&mut self, key: &str, full_at: i64, most: usize) {
        let key = match self.full_at.get_key_value(key) {
            Some((key, before)) => {
                let (key, before) = (key.clone(), *before);
                self.in_order.remove(&(before, key.clone()));
                key
            }
            None => {
                if self.full_at.len() >= most {
                    self.drop_first();
                }
                key.into()
            }
        };
        self.full_at.insert(key.clone(), full_at);
        self.in_order.insert((full_at, key));
    }

    fn drop_first(&mut self) {
        if let Some((_, key)) = self.in_order.pop_first() {
            self.full_at.remove(&key);
        }
    }

    fn clear_full(&mut self, now: i64) {
        for _ in 0..CLEARED {
            if self.in_order.first().is_none_or(|(full_at, _)| *full_at > now) {
                break;
            }
            self.drop_first();
        }
    }
}

fn microseconds(time: Duration) -> i64 {
    // A quarter of the range leaves room for sums; it is 70,000 years.
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX).min(i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit { burst: 2, period: Duration::from_secs(10) };

    #[test]
    fn a_client_gets_the_burst_and_then_the_rate() {
        let limits = LocalLimits::new(10);
        let at = Duration::from_secs;
        assert!(limits.take("a", LIMIT, 1, at(0)).allowed);
        assert!(limits.take("a", LIMIT, 1, at(0)).allowed);
        let refused = limits.take("a", LIMIT, 1, at(1));
        assert_eq!((refused.allowed, refused.retry_after, refused.reset_after), (false, at(4), at(9)));
        assert!(limits.refusal("a", LIMIT, 1, at(4)).is_some() && limits.refusal("a", LIMIT, 1, at(5)).is_none());
        assert!(limits.take("b", LIMIT, 1, at(1)).allowed, "another client's");
        assert!(limits.take("a", LIMIT, 1, at(5)).allowed);
        assert!(!limits.take("a", LIMIT, 1, at(5)).allowed);
    }

    #[test]
    fn memory_is_bounded_and_a_crowd_does_not_make_the_greedy_one_forgotten() {
        let limits = LocalLimits::new(100);
        let now = Duration::from_secs(1);
        while limits.take("greedy", LIMIT, 1, now).allowed {}
        for n in 0..10_000 {
            assert!(limits.take(&format!("crowd {n}"), LIMIT, 1, now).allowed);
        }
        assert_eq!(limits.len(), 100);
        assert!(!limits.take("greedy", LIMIT, 1, now).allowed);
        let buckets = limits.lock();
        assert_eq!(buckets.full_at.len(), buckets.in_order.len());
    }

    #[test]
    fn full_buckets_are_cleared_away() {
        let limits = LocalLimits::new(1000);
        for n in 0..100 {
            limits.take(&n.to_string(), LIMIT, 1, Duration::ZERO);
        }
        for _ in 0..30 {
            limits.take("later", LIMIT, 1, Duration::from_secs(20));
        }
        assert_eq!(limits.len(), 1);
    }

    #[test]
    fn what_is_noted_only_ever_adds() {
        let limits = LocalLimits::new(10);
        limits.note("a", Duration::from_secs(10));
        limits.note("a", Duration::from_secs(3));
        assert_eq!(limits.take("a", LIMIT, 1, Duration::ZERO).retry_after, Duration::from_secs(5));
    }
}
