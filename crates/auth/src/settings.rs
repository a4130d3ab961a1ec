//! What credentials need besides the org: time, a store, patience.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, SystemClock};
use crate::event::Events;
use crate::sealing::MasterKey;
use crate::token_store::TokenStore;

/// Settings of [`Credentials`](crate::Credentials), and of all that share them.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where the token is shared. Without one it is kept in this process alone.
    pub store: Option<SharedStore>,
    /// How a login that fails for a passing reason is repeated.
    pub retry: LoginRetry,
    /// How long a process may hold the right to log in before another takes over. It is extended while the org lets
    /// one wait, so it may be shorter than a login; a process that dies holds the others up for so long.
    pub lease: Duration,
    /// Where events go.
    pub events: Events,
    /// The HTTP client for token requests; made when there is none. Share one among many orgs.
    pub http: Option<reqwest::Client>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock::default()),
            store: None,
            retry: LoginRetry::default(),
            lease: Duration::from_secs(15),
            events: Events::default(),
            http: None,
        }
    }
}

/// A token store and the key that seals what is put there.
#[derive(Debug, Clone)]
pub struct SharedStore {
    /// The store.
    pub store: Arc<dyn TokenStore>,
    /// The key; the same for all who share the store.
    pub key: MasterKey,
}

/// Exponential backoff with full jitter: the n-th wait is random between nothing and `base · 2ⁿ`, at most `cap`. A
/// `Retry-After` of the server's overrules it.
#[derive(Debug, Clone, Copy)]
pub struct LoginRetry {
    /// Attempts in all, the first included.
    pub attempts: u32,
    /// Upper bound of the first wait.
    pub base: Duration,
    /// Upper bound of any wait.
    pub cap: Duration,
}

impl Default for LoginRetry {
    fn default() -> Self {
        Self { attempts: 3, base: Duration::from_millis(250), cap: Duration::from_secs(5) }
    }
}

impl LoginRetry {
    /// How long to wait after the given attempt (counted from 1).
    pub(crate) fn pause(&self, attempt: u32, asked: Option<Duration>) -> Duration {
        match asked {
            Some(asked) => asked.min(self.cap),
            None => doubled(self.base, attempt, self.cap).mul_f64(fastrand::f64()),
        }
    }
}

/// `base` for the first, twice as much for each one more, at most `cap`.
pub(crate) fn doubled(base: Duration, count: u32, cap: Duration) -> Duration {
    base.saturating_mul(1 << count.saturating_sub(1).min(20)).min(cap)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_within_the_cap_and_the_server_is_heard() {
        let retry = LoginRetry { attempts: 9, base: Duration::from_millis(100), cap: Duration::from_secs(2) };
        for attempt in 1..9 {
            let bound = Duration::from_millis(100 << (attempt - 1)).min(retry.cap);
            assert!((0..200).all(|_| retry.pause(attempt, None) <= bound), "{attempt}");
        }
        assert_eq!(retry.pause(1, Some(Duration::from_secs(1))), Duration::from_secs(1));
        assert_eq!(retry.pause(1, Some(Duration::from_secs(90))), retry.cap);
        assert_eq!(doubled(Duration::from_secs(5), u32::MAX, Duration::from_secs(300)), Duration::from_secs(300));
    }
}
