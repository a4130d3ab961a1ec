//! What is repeated, how often, and how long in between.

use std::time::Duration;

use reqwest::header::HeaderMap;

use crate::error::ClientError;

/// Exponential backoff with full jitter: the n-th wait is random between nothing and `base · 2ⁿ`, at most
/// `cap`. A `Retry-After` of the server's overrules it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryPolicy {
    /// Attempts in all, the first included.
    pub attempts: u32,
    /// Upper bound of the first wait.
    pub base: Duration,
    /// Upper bound of any wait.
    pub cap: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { attempts: 5, base: Duration::from_millis(500), cap: Duration::from_secs(30) }
    }
}

impl RetryPolicy {
    /// How long to wait after the given attempt (counted from 1).
    pub(crate) fn pause(&self, attempt: u32, retry_after: Option<Duration>) -> Duration {
        if let Some(asked) = retry_after {
            return asked.min(self.cap);
        }
        let bound = self.base.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(self.cap);
        bound.mul_f64(fastrand::f64())
    }
}

/// Statuses that pass: the gateway's, and 429. A plain 500 is Salesforce's own error and is not among them.
pub(crate) fn is_transient_status(status: u16) -> bool {
    matches!(status, 429 | 502 | 503 | 504)
}

/// Refusals that pass, and that say that nothing was done: a row held by somebody else's transaction, too many long calls
/// at once. The other limit of that code, that of the day, does not pass.
pub(crate) fn is_rolled_back(error: &ClientError) -> bool {
    let ClientError::Refused(refusal) = error else { return false };
    match refusal.code.as_str() {
        "UNABLE_TO_LOCK_ROW" | "TXN_SECURITY_METERING_ERROR" => true,
        "REQUEST_LIMIT_EXCEEDED" => refusal.message.starts_with("ConcurrentRequests"),
        _ => false,
    }
}

/// `Retry-After` in seconds; Salesforce sends no dates there.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get("retry-after")?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_stay_within_the_cap() {
        let policy = RetryPolicy { attempts: 9, base: Duration::from_millis(100), cap: Duration::from_secs(2) };
        for attempt in 1..9 {
            let bound = Duration::from_millis(100 << (attempt - 1)).min(policy.cap);
            assert!((0..200).all(|_| policy.pause(attempt, None) <= bound));
        }
        assert_eq!(policy.pause(1, Some(Duration::from_secs(1))), Duration::from_secs(1));
        assert_eq!(policy.pause(1, Some(Duration::from_secs(90))), policy.cap);
    }
}
