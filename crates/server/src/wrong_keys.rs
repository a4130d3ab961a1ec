//! API keys and sessions that are none: refused before the database is asked for them.
//!
//! A key that the database does not know costs a look, and whoever makes keys up has as many as they like. So each new wrong
//! one is counted by the address that showed it, in memory, and when there were too many, only keys that have worked on this
//! node are looked for when they come from there. Those who share an address with a guesser go on working; what they cannot do
//! meanwhile is to begin with a key that this node has not seen.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::http::StatusCode;
use tieline_auth::Clock;
use tieline_store::Digest;
use tieline_store::rate_limits::{Limit, LocalLimits};

use crate::limits::Class;
use crate::problem::Problem;
use crate::telemetry::measures;

/// Keys that a node remembers, of either kind: some 2 MB at most.
const KEYS: usize = 10_000;
/// Addresses that are remembered.
const ADDRESSES: usize = 10_000;
/// How long a wrong key is known to be wrong. None becomes right: they are made at random, by this service.
const WRONG_FOR: Duration = Duration::from_secs(900);

/// What this node knows of keys that were shown to it. It keeps digests.
#[derive(Debug)]
pub(crate) struct WrongKeys {
    /// None: all are looked for.
    limit: Option<Limit>,
    clock: Arc<dyn Clock>,
    counted: LocalLimits,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    worked: HashSet<Digest>,
    /// Until when.
    wrong: HashMap<Digest, Duration>,
}

impl WrongKeys {
    pub(crate) fn new(limit: Option<Limit>, clock: Arc<dyn Clock>) -> Self {
        Self { limit, clock, counted: LocalLimits::new(ADDRESSES), seen: Mutex::default() }
    }

    /// Whether the database is asked for a key that comes from this address or network.
    ///
    /// # Errors
    /// 401 for one that is known to be wrong; 429 for a new one from where too many were wrong.
    pub(crate) fn may_ask(&self, key: Digest, address: &str) -> Result<(), Problem> {
        let Some(limit) = self.limit else { return Ok(()) };
        let now = self.clock.monotonic();
        {
            let seen = self.seen();
            if seen.worked.contains(&key) {
                return Ok(());
            }
            if seen.wrong.get(&key).is_some_and(|until| now < *until) {
                return Err(Problem::unauthenticated());
            }
        }
        let Some(refused) = self.counted.refusal(address, limit, 1, now) else { return Ok(()) };
        measures::rate_limited(Class::WrongKeys.name());
        let wait = u32::try_from(refused.retry_after.as_secs() + 1).unwrap_or(u32::MAX);
        Err(Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "rate_limited",
            format!("too many keys or sessions from this address were wrong (limit `{}`)", Class::WrongKeys.name()),
            format!("check the key, and try again in {wait} seconds; keys that have worked here still do"),
        )
        .after(wait))
    }

    /// Notes what the database said.
    pub(crate) fn note(&self, key: Digest, address: &str, works: bool) {
        let Some(limit) = self.limit else { return };
        let now = self.clock.monotonic();
        {
            let mut seen = self.seen();
            if works {
                if seen.worked.len() >= KEYS {
                    seen.worked.clear();
                }
                seen.worked.insert(key);
                return;
            }
            seen.worked.remove(&key);
            if seen.wrong.len() >= KEYS {
                seen.wrong.clear();
            }
            seen.wrong.insert(key, now + WRONG_FOR);
        }
        self.counted.take(address, limit, 1, now);
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use tieline_auth::ManualClock;

    use super::*;

    fn keys(burst: u32) -> (WrongKeys, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::at("2026-06-01T12:00:00Z".parse().unwrap()));
        let limit = Limit { burst, period: Duration::from_secs(900) };
        (WrongKeys::new(Some(limit), clock.clone()), clock)
    }

    #[test]
    fn a_guesser_is_not_looked_for_and_who_shares_the_address_is() {
        let (keys, clock) = keys(3);
        let of = |n: usize| Digest::of(format!("key {n}"));
        keys.note(of(100), "nat", true);
        let asked = (0..50).filter(|n| {
            let asks = keys.may_ask(of(*n), "nat").is_ok();
            if asks {
                keys.note(of(*n), "nat", false);
            }
            asks
        });
        assert_eq!(asked.count(), 3);
        assert!(keys.may_ask(of(100), "nat").is_ok(), "it has worked");
        let refused = keys.may_ask(of(101), "nat").unwrap_err();
        assert_eq!((refused.status(), refused.code()), (StatusCode::TOO_MANY_REQUESTS, "rate_limited"));
        assert!(keys.may_ask(of(101), "elsewhere").is_ok());
        clock.advance(Duration::from_secs(300));
        assert!(keys.may_ask(of(101), "nat").is_ok(), "one more after a while");
        keys.note(of(100), "nat", false);
        assert_eq!(keys.may_ask(of(100), "nat").unwrap_err().status(), StatusCode::UNAUTHORIZED, "it was revoked");
    }

    #[test]
    fn the_same_wrong_key_counts_once_and_costs_one_look() {
        let (keys, clock) = keys(3);
        let (old, new) = (Digest::of("old"), Digest::of("new"));
        keys.note(old, "nat", false);
        for _ in 0..100 {
            assert_eq!(keys.may_ask(old, "nat").unwrap_err().status(), StatusCode::UNAUTHORIZED);
        }
        assert!(keys.may_ask(new, "nat").is_ok());
        clock.advance(WRONG_FOR);
        assert!(keys.may_ask(old, "nat").is_ok());
    }

    #[test]
    fn memory_is_bounded() {
        let (keys, _) = keys(3);
        for n in 0..3 * KEYS {
            keys.note(Digest::of(n.to_string()), &n.to_string(), n % 2 == 0);
        }
        let seen = keys.seen();
        assert!(seen.wrong.len() <= KEYS && seen.worked.len() <= KEYS && keys.counted.len() <= ADDRESSES);
    }
}
