//! Calls of the last 24 hours, hour by hour, as Salesforce counts them against the daily limit.

use jiff::Timestamp;

/// Hours that count.
const HOURS: i64 = 24;

/// How many calls were made in which hour, oldest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Usage(Vec<(i64, u64)>);

fn hour(now: Timestamp) -> i64 {
    now.as_second().div_euclid(3_600)
}

impl Usage {
    pub(crate) fn count(&mut self, now: Timestamp, calls: u64) {
        let hour = hour(now);
        self.0.retain(|(of, _)| hour - of < HOURS);
        match self.0.iter_mut().find(|(of, _)| *of == hour) {
            Some((_, counted)) => *counted += calls,
            None => self.0.push((hour, calls)),
        }
    }

    /// Calls that count now.
    pub(crate) fn used(&self, now: Timestamp) -> u64 {
        let hour = hour(now);
        // A clock that was put back has calls in its future: they count too.
        self.0.iter().filter(|(of, _)| hour - of < HOURS).map(|(_, calls)| calls).sum()
    }

    /// As if so many calls had been made in this hour, and none before.
    pub(crate) fn set(&mut self, now: Timestamp, calls: u64) {
        self.0 = vec![(hour(now), calls)];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_count_for_a_day() {
        let at = |hour: i64| Timestamp::from_second(hour * 3_600 + 5).expect("a time");
        let mut usage = Usage::default();
        for hour in [0, 0, 1, 23] {
            usage.count(at(hour), 1);
        }
        assert_eq!([23, 24, 25, 46, 47].map(|hour| usage.used(at(hour))), [4, 2, 1, 1, 0]);
        usage.count(at(30), 5);
        assert_eq!(usage.used(at(31)), 6);
        usage.set(at(30), 900);
        assert_eq!(usage.used(at(31)), 900);
    }
}
