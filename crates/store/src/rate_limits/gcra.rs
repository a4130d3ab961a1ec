//! The arithmetic: GCRA (the generic cell rate algorithm, ITU-T I.371), which needs one number for each client.
//!
//! A bucket holds `burst` units and gets one back every `period / burst`. The number is when it is full again; how far
//! that lies ahead says how much has been taken. All times are microseconds on one clock.

use std::time::Duration;

/// Longer periods are cut to this: ten years. Sums of times then never reach the end of 64 bits.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// How much a client may take: `burst` at once, and `burst` in each `period` on the long run.
///
/// ```
/// use std::time::Duration;
/// use tieline_store::rate_limits::Limit;
/// let limit = Limit { burst: 100, period: Duration::from_secs(900) };
/// assert_eq!(limit.interval(), Duration::from_secs(9));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Units that a client who has been away may take at once. None counts as one.
    pub burst: u32,
    /// Time in which as many come back. At most ten years.
    pub period: Duration,
}

impl Limit {
    /// The time in which one unit comes back, rounded up to a microsecond.
    pub fn interval(&self) -> Duration {
        Duration::from_micros(self.interval_us().unsigned_abs())
    }

    fn burst(&self) -> i64 {
        i64::from(self.burst.max(1))
    }

    fn interval_us(&self) -> i64 {
        let period = i64::try_from(self.period.min(LONGEST).as_micros()).unwrap_or(i64::MAX);
        // Rounded up: rounded down, a client would get a little more than the limit says.
        period.max(1).saturating_add(self.burst() - 1) / self.burst()
    }

    /// What the whole bucket is worth in time.
    pub(super) fn capacity(&self) -> i64 {
        self.interval_us() * self.burst()
    }

    /// What so many units are worth in time. More than the bucket holds would never fit, and counts as all of it.
    pub(super) fn increment(&self, cost: u32) -> i64 {
        self.interval_us() * i64::from(cost).min(self.burst())
    }
}

/// Whether a request may pass, and what the client may be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// It may.
    pub allowed: bool,
    /// Units that a full bucket holds.
    pub limit: u32,
    /// Units that are left.
    pub remaining: u32,
    /// When there is one more unit than `remaining`, if nothing is taken; zero if the bucket is full.
    pub more_after: Duration,
    /// When the bucket is full, if nothing is taken.
    pub reset_after: Duration,
    /// When the same request would pass; zero if it did.
    pub retry_after: Duration,
}

/// One decision: when the bucket is full after it, and whether the units were taken.
///
/// A bucket that would be full later than an empty one (its limit was larger before, or the clock was set back) counts
/// as empty: nobody waits longer than a period.
pub(super) fn take(limit: Limit, cost: u32, full_at: Option<i64>, now: i64) -> (i64, bool) {
    let increment = limit.increment(cost);
    let full_at = full_at.unwrap_or(now).clamp(now, now + limit.capacity());
    let taken = full_at + increment;
    if taken <= now + limit.capacity() { (taken, true) } else { (full_at, false) }
}

/// What a client is told after a decision.
pub(super) fn told(limit: Limit, cost: u32, full_at: i64, now: i64, allowed: bool) -> Decision {
    let duration = |us: i64| Duration::from_micros(us.max(0).unsigned_abs());
    let interval = limit.interval_us();
    let ahead = (full_at - now).clamp(0, limit.capacity());
    let free = limit.capacity() - ahead;
    let remaining = free / interval;
    Decision {
        allowed,
        limit: limit.burst.max(1),
        remaining: u32::try_from(remaining).unwrap_or(u32::MAX),
        more_after: duration(if ahead == 0 { 0 } else { (remaining + 1) * interval - free }),
        reset_after: duration(ahead),
        retry_after: duration(if allowed { 0 } else { limit.increment(cost) - free }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A client's day: limit, and requests with the time before each and their cost.
    fn days() -> impl Strategy<Value = (Limit, Vec<(i64, u32)>)> {
        let limit =
            (1u32..50, 1u64..100_000).prop_map(|(burst, us)| Limit { burst, period: Duration::from_micros(us) });
        (limit, prop::collection::vec((prop_oneof![Just(0i64), 0i64..10_000], 1u32..4), 1..200))
    }

    proptest! {
        #[test]
        fn no_window_lets_more_through_than_the_burst_and_the_steady_rate((limit, requests) in days()) {
            let (mut now, mut full_at) = (1_000_000, None);
            let mut passed: Vec<(i64, i64)> = Vec::new();
            for (pause, cost) in requests {
                now += pause;
                let (next, allowed) = take(limit, cost, full_at, now);
                full_at = Some(next);
                if allowed {
                    passed.push((now, i64::from(cost.min(limit.burst))));
                }
            }
            for from in 0..passed.len() {
                let mut units = 0;
                for &(at, cost) in &passed[from..] {
                    units += cost;
                    let window = at - passed[from].0;
                    let most = i64::from(limit.burst) + window / limit.interval_us();
                    prop_assert!(units <= most, "{units} units in {window} µs, {limit:?}");
                }
            }
        }

        #[test]
        fn what_a_client_is_told_is_what_happens((limit, requests) in days()) {
            let (mut now, mut full_at) = (1_000_000, None);
            for (pause, cost) in requests {
                now += pause;
                let (next, allowed) = take(limit, cost, full_at, now);
                let told = told(limit, cost, next, now, allowed);
                full_at = Some(next);
                let us = |duration: Duration| i64::try_from(duration.as_micros()).unwrap();
                // Exactly `remaining` more pass now.
                let (mut more, mut at) = (0, next);
                while let (taken, true) = take(limit, 1, Some(at), now) {
                    (at, more) = (taken, more + 1);
                }
                prop_assert_eq!(told.remaining, more);
                // One more than that passes after `more_after`, and no earlier.
                if told.remaining < told.limit {
                    let all = told.remaining + 1;
                    prop_assert!(take(limit, all, Some(next), now + us(told.more_after)).1);
                    prop_assert!(!take(limit, all, Some(next), now + us(told.more_after) - 1).1);
                } else {
                    prop_assert_eq!((told.more_after, told.reset_after), (Duration::ZERO, Duration::ZERO));
                }
                // The whole burst passes after `reset_after`.
                prop_assert!(take(limit, limit.burst, Some(next), now + us(told.reset_after)).1);
                // The same passes after `retry_after`, and no earlier.
                prop_assert_eq!(told.retry_after.is_zero(), allowed);
                if !allowed {
                    prop_assert!(take(limit, cost, Some(next), now + us(told.retry_after)).1);
                    prop_assert!(!take(limit, cost, Some(next), now + us(told.retry_after) - 1).1);
                }
            }
        }
    }

    #[test]
    fn a_bucket_from_a_larger_limit_or_another_clock_is_empty_for_no_longer_than_a_period() {
        let limit = Limit { burst: 4, period: Duration::from_secs(4) };
        let (full_at, allowed) = take(limit, 1, Some(i64::MAX / 2), 0);
        assert!(!allowed);
        let told = told(limit, 1, full_at, 0, allowed);
        assert_eq!((told.remaining, told.retry_after), (0, Duration::from_secs(1)));
    }

    #[test]
    fn odd_limits_are_limits() {
        for (burst, period) in
            [(0, Duration::ZERO), (u32::MAX, Duration::MAX), (u32::MAX, Duration::ZERO), (7, Duration::from_secs(1))]
        {
            let limit = Limit { burst, period };
            let (full_at, allowed) = take(limit, 1, None, i64::MAX / 4);
            let told = told(limit, 1, full_at, i64::MAX / 4, allowed);
            assert!(allowed && told.remaining == burst.max(1) - 1, "{limit:?}: {told:?}");
        }
    }
}
