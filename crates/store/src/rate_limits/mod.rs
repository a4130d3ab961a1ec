//! How much a client may ask for: limits that all nodes share.
//!
//! Reading order: [`Limit`] and [`Decision`] (the arithmetic), [`Store::take`] (in the database), [`LocalLimits`] (in
//! memory), [`RateLimits`] (which of the two answers).

mod gcra;
mod local;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tieline_auth::Clock;

pub use gcra::{Decision, Limit};
pub use local::LocalLimits;

use crate::digest::Digest;
use crate::error::StoreError;
use crate::open::Store;

/// Clients that a process remembers: some 10 MB at most.
const CLIENTS: usize = 50_000;

/// How long a request waits for the database to count it. A node on the same network answers in a few milliseconds.
const PATIENCE: Duration = Duration::from_millis(250);

/// How long a database that did not answer is left alone; then one request asks it again.
const LEFT_ALONE: Duration = Duration::from_secs(1);

/// The name of a bucket: the class of a route, and who asks (an API key's id, a user's, an address), of whom only the
/// beginning of a digest is kept.
///
/// The digest keeps such names short and out of dumps; it is no secret of an address, of which there are few enough
/// to try them all.
pub fn key(class: &str, client: &str) -> String {
    let digest = Digest::of(client);
    let mut key = format!("{class}:");
    for byte in &digest.as_bytes()[..16] {
        let _ = std::fmt::Write::write_fmt(&mut key, format_args!("{byte:02x}"));
    }
    key
}

impl Store {
    /// Takes units of a bucket (see [`key`]), if so many are left: one statement, and the database's clock, so that any
    /// number of nodes that ask at once give exactly what the limit says. A cost above the burst counts as the burst.
    ///
    /// # Errors
    /// [`StoreError`]; whether anything was taken is then not known.
    pub async fn take(&self, key: &str, limit: Limit, cost: u32) -> Result<Decision, StoreError> {
        let mut tx = self.write("counting a request").await?;
        // `asked_at` is the clock's one reading. A refused request is written too: its row is locked anyway, and the
        // statement must tell what it decided.
        let row = tx
            .query(
                "INSERT INTO rate_limits AS r (key, full_at, asked_at, allowed)
                 SELECT $1, c.now + $2, c.now, true FROM (SELECT clock_ms() * 1000 AS now) AS c WHERE true
                 ON CONFLICT (key) DO UPDATE SET
                    full_at = CASE WHEN r.full_at <= excluded.asked_at THEN excluded.asked_at + $2
                        WHEN r.full_at + $2 <= excluded.asked_at + $3 THEN r.full_at + $2
                        WHEN r.full_at > excluded.asked_at + $3 THEN excluded.asked_at + $3
                        ELSE r.full_at END,
                    asked_at = excluded.asked_at,
                    allowed = r.full_at <= excluded.asked_at OR r.full_at + $2 <= excluded.asked_at + $3
                 RETURNING full_at, asked_at, allowed",
            )
            .bind(key)
            .bind(limit.increment(cost))
            .bind(limit.capacity())
            .one()
            .await?;
        let (full_at, asked_at, allowed) = (row.get("full_at")?, row.get("asked_at")?, row.get("allowed")?);
        tx.commit().await?;
        Ok(gcra::told(limit, cost, full_at, asked_at, allowed))
    }

    /// Takes out the buckets that are full again, which are as good as none. How many there were.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn sweep_rate_limits(&self) -> Result<u64, StoreError> {
        let mut tx = self.write("clearing away the counters of requests").await?;
        let swept = tx.query("DELETE FROM rate_limits WHERE full_at <= clock_ms() * 1000").execute().await?;
        tx.commit().await?;
        Ok(swept)
    }
}

/// The limits as a node keeps them.
///
/// - On PostgreSQL the database counts, for all nodes together. A client that it has refused is refused from memory
///   until its time has come, so that a flood costs the database nothing.
/// - When the database does not answer within a quarter of a second, memory counts, from where the database stood when
///   it last answered: an outage neither stops everybody nor lets everybody through, though each node counts by itself.
/// - On SQLite there is one process, and memory alone counts: a write for every request would stand in the way of all
///   other writes. It begins anew with the process.
#[derive(Debug)]
pub struct RateLimits {
    store: Store,
    local: LocalLimits,
    clock: Arc<dyn Clock>,
    /// Milliseconds of the monotonic clock until which the database is left alone; none while it answers.
    silent_until: AtomicU64,
}

impl RateLimits {
    /// For a node with this database.
    pub fn new(store: Store, clock: Arc<dyn Clock>) -> Self {
        Self { store, local: LocalLimits::new(CLIENTS), clock, silent_until: AtomicU64::new(0) }
    }

    /// Takes units of a bucket (see [`key`]), if so many are left.
    pub async fn take(&self, key: &str, limit: Limit, cost: u32) -> Decision {
        let now = self.clock.monotonic();
        if !self.store.is_shared() {
            return self.local.take(key, limit, cost, now);
        }
        if let Some(refused) = self.local.refusal(key, limit, cost, now) {
            return refused;
        }
        if !self.may_ask(now) {
            return self.local.take(key, limit, cost, now);
        }
        let failed = match tokio::time::timeout(PATIENCE, self.store.take(key, limit, cost)).await {
            Ok(Ok(decision)) => {
                if self.silent_until.swap(0, Ordering::AcqRel) > 0 {
                    tracing::info!("the database counts requests again");
                }
                // Counted from before the question: what memory refuses, the database would refuse as well.
                self.local.note(key, now + decision.reset_after);
                return decision;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("it did not answer within {PATIENCE:?}"),
        };
        let until = milliseconds(self.clock.monotonic() + LEFT_ALONE);
        if self.silent_until.swap(until, Ordering::AcqRel) == 0 {
            tracing::warn!(error = failed, "the database does not count requests: this node counts its own");
        }
        self.local.take(key, limit, cost, now)
    }

    /// Whether the database answers, or it is this request's turn to find out.
    fn may_ask(&self, now: Duration) -> bool {
        let until = self.silent_until.load(Ordering::Acquire);
        let next = milliseconds(now + LEFT_ALONE);
        until == 0
            || (until <= milliseconds(now)
                && self.silent_until.compare_exchange(until, next, Ordering::AcqRel, Ordering::Acquire).is_ok())
    }
}

fn milliseconds(time: Duration) -> u64 {
    // Never zero, which says that the database answers.
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_bucket_says_its_class_and_not_its_client() {
        let key = super::key("sign_in", "192.0.2.7");
        assert!(key.starts_with("sign_in:") && key.len() == 8 + 32 && !key.contains("192"), "{key}");
        assert_ne!(key, super::key("sign_in", "192.0.2.8"));
        assert_ne!(key, super::key("api", "192.0.2.7"));
    }
}
