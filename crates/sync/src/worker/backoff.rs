//! How long what failed is left alone.

use std::time::Duration;

use jiff::SignedDuration;

/// The first pause, unless what is synced is synced more often than that.
const FIRST: Duration = Duration::from_secs(60);
/// The longest.
const LONGEST: Duration = Duration::from_secs(3600);

/// The pause after a failure that came after so many others: each twice the one before, an hour at most, and from half of that up
/// to all of it by chance (`random` from 0 to 1), so that those who failed together do not come back together.
pub fn backoff(every: Duration, failures: i64, random: f64) -> SignedDuration {
    let first = every.clamp(Duration::from_secs(1), FIRST);
    let doublings = u32::try_from(failures.clamp(0, 20)).unwrap_or(0);
    let pause = first.saturating_mul(1 << doublings).min(LONGEST);
    SignedDuration::try_from(pause.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)).unwrap_or(SignedDuration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_have_an_end() {
        let every = Duration::from_secs(900);
        let seconds = |failures, random| backoff(every, failures, random).as_secs();
        assert_eq!([0, 1, 2, 3].map(|n| seconds(n, 1.0)), [60, 120, 240, 480]);
        assert_eq!([0, 1, 2, 3].map(|n| seconds(n, 0.0)), [30, 60, 120, 240]);
        assert_eq!([6, 7, 63, i64::MAX].map(|n| seconds(n, 1.0)), [3600; 4]);
        assert_eq!(seconds(-1, 7.0), 60);
        // What is synced every few seconds is not left alone for a minute.
        assert_eq!(backoff(Duration::from_secs(5), 0, 1.0).as_secs(), 5);
        assert_eq!(backoff(Duration::ZERO, 0, 1.0).as_secs(), 1);
    }
}
