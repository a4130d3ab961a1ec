//! Work for the whole database that one node at a time does, once in a while.
//!
//! The database says whose turn it is. Whoever takes a chore has it for a while (its lease), and says more than once
//! that it is still at it; a node that dies leaves it to the next one.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::error::StoreError;
use crate::open::Store;

/// A chore that this node has taken.
#[derive(Debug)]
pub struct Chore {
    store: Store,
    name: &'static str,
    fence: i64,
    lease: SignedDuration,
}

impl Store {
    /// Takes a chore, if it is due and nobody has it. In a database where nobody has heard of it, it is due after `first`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn take_chore(
        &self,
        name: &'static str,
        first: SignedDuration,
        lease: Duration,
        now: Timestamp,
    ) -> Result<Option<Chore>, StoreError> {
        let lease = SignedDuration::try_from(lease).unwrap_or(SignedDuration::ZERO);
        let mut tx = self.write("taking a chore").await?;
        tx.query("INSERT INTO chores (name, due_at) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(name)
            .bind(after(now, first))
            .execute()
            .await?;
        let taken = tx
            .query(
                "UPDATE chores SET leased_until = $1, fence = fence + 1
                 WHERE name = $2 AND due_at <= $3 AND (leased_until IS NULL OR leased_until <= $3) RETURNING fence",
            )
            .bind(after(now, lease))
            .bind(name)
            .bind(now)
            .optional()
            .await?;
        let fence = taken.map(|row| row.get("fence")).transpose()?;
        tx.commit().await?;
        Ok(fence.map(|fence| Chore { store: self.clone(), name, fence, lease }))
    }
}

fn after(now: Timestamp, time: SignedDuration) -> Timestamp {
    now.checked_add(time).unwrap_or(Timestamp::MAX)
}

impl Chore {
    /// Says that this node is still at it. False: another one has it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn prolong(&self, now: Timestamp) -> Result<bool, StoreError> {
        let mut tx = self.store.write("going on with a chore").await?;
        let held = tx
            .query("UPDATE chores SET leased_until = $1 WHERE name = $2 AND fence = $3")
            .bind(after(now, self.lease))
            .bind(self.name)
            .bind(self.fence)
            .execute()
            .await?;
        tx.commit().await?;
        Ok(held > 0)
    }

    /// Ends it; it is due again at a time.
    ///
    /// # Errors
    /// [`StoreError`]: then it is anybody's once the lease has ended.
    pub async fn end(self, due_at: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.store.write("ending a chore").await?;
        tx.query("UPDATE chores SET due_at = $1, leased_until = NULL WHERE name = $2 AND fence = $3")
            .bind(due_at)
            .bind(self.name)
            .bind(self.fence)
            .execute()
            .await?;
        tx.commit().await
    }
}
