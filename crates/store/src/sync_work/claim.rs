//! Taking work, keeping it, and ending it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::{CONTACTS, MAPPING, Pace, Work, WorkItem, item};
use crate::error::StoreError;
use crate::open::{Store, Tenant};
use crate::sql::Tx;

/// How often a claim looks again that others have come before.
const TRIES: u32 = 8;

/// What may be taken, of the alias `w`: it is ready, of a kind that the worker knows, and its integration can be used. Of whom
/// somebody has disconnected, or a mapping that is paused, nothing is taken, whatever its row says.
const TAKEABLE: &str = "FROM sync_work AS w JOIN integrations AS i ON i.id = w.integration_id
    LEFT JOIN mappings AS m ON m.id = w.id
    WHERE w.ready_at <= $1 AND w.kind = ANY($2) AND i.status IN ('active', 'error') AND i.credentials IS NOT NULL
    AND (m.id IS NULL OR m.state <> 'paused')";

/// In which order a business's work is taken.
const ORDER: &str = "w.priority DESC, w.requested <= w.taken, w.ready_at, w.id";

/// How work is taken.
#[derive(Debug, Clone)]
pub struct Claiming {
    /// Who takes it, for people to read.
    pub owner: String,
    /// Whether mappings are taken, too.
    pub mappings: bool,
    /// Runs that a business may have at a time.
    pub per_business: u32,
    /// How often what has no pace of its own is synced.
    pub every: Duration,
    /// How long the worker may be silent.
    pub lease: Duration,
}

impl Claiming {
    fn kinds(&self) -> Vec<String> {
        let kinds: &[&str] = if self.mappings { &[CONTACTS, MAPPING] } else { &[CONTACTS] };
        kinds.iter().map(|&kind| kind.to_owned()).collect()
    }
}

/// The right to work on something, until somebody else has it.
#[derive(Debug, Clone)]
pub struct WorkClaim {
    /// The business it belongs to.
    pub tenant: Tenant,
    /// As it was when it was claimed: its last outcome, and how often it had failed.
    pub item: WorkItem,
    /// Grows with every claim of this work.
    pub fence: i64,
    lease: Duration,
}

/// How a run ended, for its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended<'a> {
    /// Well. With a time, that is its next tick.
    Done {
        /// Its next tick, if it is another than its pace says.
        next: Option<Timestamp>,
    },
    /// It failed, and is not tried before a time.
    Failed {
        /// Why.
        error: &'a str,
        /// When it is tried again; earlier only if somebody asks.
        retry_at: Timestamp,
    },
    /// The org has no calls left for it.
    PausedQuota {
        /// Until when.
        until: Timestamp,
    },
    /// It is no work any more: its row goes.
    Gone,
}

impl Store {
    /// Whether there is something to take. It locks nothing and writes nothing: for workers that look often.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn has_ready_work(&self, claiming: &Claiming, now: Timestamp) -> Result<bool, StoreError> {
        let mut tx = self.read("looking for work").await?;
        let found = tx.query(format!("SELECT w.id {TAKEABLE} LIMIT 1")).bind(now).bind(claiming.kinds());
        Ok(found.optional().await?.is_some())
    }

    /// Takes the next piece of work, of any business, that is due, asked for, or left by a worker whose lease has ended.
    /// Businesses take turns, none has more than [`Claiming::per_business`] runs at a time, and within one the order is:
    /// priority, then what somebody asked for, then what has waited longest. `None`: there is nothing to take.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn claim_work(&self, claiming: &Claiming, now: Timestamp) -> Result<Option<WorkClaim>, StoreError> {
        for _ in 0..TRIES {
            let mut tx = self.write("claiming work").await?;
            let Some(business) = turn(&mut tx, claiming, now).await? else { return Ok(None) };
            let taken = take(&mut tx, business, None, claiming, now).await?;
            // A business whose turn others have used up meanwhile is looked at again: it may have had the last place.
            if let Some(taken) = taken {
                return self.taken(tx, business, taken, claiming, now).await.map(Some);
            }
        }
        Ok(None)
    }

    /// Takes that piece of work of a business, if a claim might come to it now: it is ready, and the business has a place.
    /// `None`: somebody else has it, it is not due, or it is gone. That others wait for longer is no matter here; whoever
    /// names work has asked what is next ([`Store::ready_work`]).
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn claim_work_named(
        &self,
        business: Uuid,
        id: Uuid,
        claiming: &Claiming,
        now: Timestamp,
    ) -> Result<Option<WorkClaim>, StoreError> {
        let mut tx = self.write("claiming work").await?;
        let turn = tx.query("SELECT business_id FROM sync_turns WHERE business_id = $1 FOR UPDATE").bind(business);
        if turn.optional().await?.is_none() {
            return Ok(None);
        }
        let Some(taken) = take(&mut tx, business, Some(id), claiming, now).await? else { return Ok(None) };
        self.taken(tx, business, taken, claiming, now).await.map(Some)
    }

    /// The business has had its turn.
    async fn taken(
        &self,
        mut tx: Tx,
        business: Uuid,
        (item, fence): (WorkItem, i64),
        claiming: &Claiming,
        now: Timestamp,
    ) -> Result<WorkClaim, StoreError> {
        let turn = tx.query("UPDATE sync_turns SET taken_at = $1 WHERE business_id = $2").bind(now).bind(business);
        turn.execute().await?;
        tx.commit().await?;
        Ok(WorkClaim { tenant: self.tenant(business, None), item, fence, lease: claiming.lease })
    }

    /// What could be taken now, by names: of each business as much as it has places for, in the order in which a claim would
    /// take it; those who have waited longest first, and no more than `most`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn ready_work(
        &self,
        business: Option<Uuid>,
        claiming: &Claiming,
        most: u32,
        now: Timestamp,
    ) -> Result<Vec<(Uuid, Uuid)>, StoreError> {
        let mut tx = self.read("looking for work").await?;
        let rows = tx
            .query(format!(
                "SELECT q.business_id, q.id FROM (
                     SELECT w.business_id, w.id, w.ready_at,
                         row_number() OVER (PARTITION BY w.business_id ORDER BY {ORDER}) AS place,
                         (SELECT count(*) FROM sync_work AS r WHERE r.business_id = w.business_id
                          AND r.leased_until > $1) AS running
                     {TAKEABLE} AND (w.business_id = $3 OR $3 IS NULL)) AS q
                 WHERE q.place + q.running <= $4 ORDER BY q.ready_at, q.id LIMIT $5"
            ))
            .bind(now)
            .bind(claiming.kinds())
            .bind(business)
            .bind(claiming.per_business)
            .bind(most)
            .all()
            .await?;
        rows.iter().map(|row| Ok((row.get("business_id")?, row.get("id")?))).collect()
    }
}

/// The business whose turn it is, locked: all claims of a business come one after the other, so that its limit is exact.
/// Whoever holds a turn is passed by.
async fn turn(tx: &mut Tx, claiming: &Claiming, now: Timestamp) -> Result<Option<Uuid>, StoreError> {
    let row = tx
        .query(format!(
            "SELECT t.business_id FROM sync_turns AS t WHERE t.business_id IN (SELECT w.business_id {TAKEABLE})
             AND (SELECT count(*) FROM sync_work AS r WHERE r.business_id = t.business_id AND r.leased_until > $1) < $3
             ORDER BY t.taken_at, t.business_id LIMIT 1 FOR UPDATE SKIP LOCKED"
        ))
        .bind(now)
        .bind(claiming.kinds())
        .bind(claiming.per_business)
        .optional()
        .await?;
    row.map(|row| row.get("business_id")).transpose()
}

/// The next piece of work of a business whose turn is held; or that one.
async fn take(
    tx: &mut Tx,
    business: Uuid,
    only: Option<Uuid>,
    claiming: &Claiming,
    now: Timestamp,
) -> Result<Option<(WorkItem, i64)>, StoreError> {
    // A statement of its own: it sees what was committed before the turn was held.
    let row = tx
        .query(format!(
            "SELECT * FROM sync_work WHERE id = (SELECT w.id {TAKEABLE} AND w.business_id = $3
             AND (SELECT count(*) FROM sync_work AS r WHERE r.business_id = $3 AND r.leased_until > $1) < $4
             AND (w.id = $5 OR $5 IS NULL) ORDER BY {ORDER} LIMIT 1) AND ready_at <= $1 FOR UPDATE"
        ))
        .bind(now)
        .bind(claiming.kinds())
        .bind(business)
        .bind(claiming.per_business)
        .bind(only)
        .optional()
        .await?;
    let Some(row) = row else { return Ok(None) };
    let item = item(&row)?;
    let every = Pace::Every(claiming.every);
    let pace = item.pace.as_ref().unwrap_or(&every);
    let due_at = match item.due_at {
        Some(due) => pace.next(due, now),
        None => None,
    };
    let until = after(now, claiming.lease);
    let fence = tx
        .query(
            "UPDATE sync_work SET fence = fence + 1, owner = $1, leased_until = $2, ready_at = $2, due_at = $3,
             retry_at = NULL, taken = requested, started_at = $4 WHERE id = $5 RETURNING fence",
        )
        .bind(&claiming.owner)
        .bind(until)
        .bind(due_at)
        .bind(now)
        .bind(item.work.id())
        .value("fence")
        .await?;
    Ok(Some((item, fence)))
}

impl Tenant {
    /// Takes a piece of work for a run that somebody begins by hand, whether it is due or not and whoever has it: their run
    /// ends, for its lease is gone, and what it still wanted to write is fenced once this one has begun. It answers all
    /// requests that have come until now. `None`: there is no such work.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn take_work(
        &self,
        work: Work,
        owner: &str,
        lease: Duration,
        now: Timestamp,
    ) -> Result<Option<WorkClaim>, StoreError> {
        let mut tx = self.write("taking work for a run by hand").await?;
        if let Work::Contacts { integration } = work {
            // Nobody may have made its schedule yet.
            tx.query(
                "INSERT INTO sync_work (id, business_id, kind, integration_id, due_at, ready_at)
                 SELECT i.id, i.business_id, 'contacts', i.id, $3, $3 FROM integrations AS i
                 WHERE i.business_id = $1 AND i.id = $2 ON CONFLICT DO NOTHING",
            )
            .bind(self.business())
            .bind(integration)
            .bind(now)
            .execute()
            .await?;
        }
        let row = tx
            .query(
                "UPDATE sync_work SET fence = fence + 1, owner = $1, leased_until = $2, ready_at = $2, retry_at = NULL,
                 taken = requested, started_at = $3 WHERE business_id = $4 AND id = $5 RETURNING *",
            )
            .bind(owner)
            .bind(after(now, lease))
            .bind(now)
            .bind(self.business())
            .bind(work.id())
            .optional()
            .await?;
        let Some(row) = row else { return Ok(None) };
        let (item, fence) = (item(&row)?, row.get("fence")?);
        tx.commit().await?;
        Ok(Some(WorkClaim { tenant: self.clone(), item, fence, lease }))
    }
}

pub(super) fn after(now: Timestamp, time: Duration) -> Timestamp {
    SignedDuration::try_from(time).ok().and_then(|time| now.checked_add(time).ok()).unwrap_or(Timestamp::MAX)
}

impl WorkClaim {
    /// What it is.
    pub fn work(&self) -> Work {
        self.item.work
    }

    /// Says that its worker lives: the lease is as long as at the beginning again. False if this claim holds it no more.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn prolong(&self, now: Timestamp) -> Result<bool, StoreError> {
        let mut tx = self.tenant.write("prolonging the lease of a sync run").await?;
        let held = tx
            .query(
                "UPDATE sync_work SET leased_until = $1, ready_at = $1
                 WHERE business_id = $2 AND id = $3 AND fence = $4 AND leased_until IS NOT NULL",
            )
            .bind(after(now, self.lease))
            .bind(self.tenant.business())
            .bind(self.work().id())
            .bind(self.fence)
            .execute()
            .await?;
        tx.commit().await?;
        Ok(held > 0)
    }

    /// Ends it. What somebody has asked for meanwhile is ready at once. False if this claim holds it no more.
    ///
    /// # Errors
    /// [`StoreError`]: then it is anybody's once the lease has ended.
    pub async fn end(&self, ended: &Ended<'_>, now: Timestamp) -> Result<bool, StoreError> {
        let (outcome, error, next, retry_at, failures) = match ended {
            Ended::Done { next } => ("done", None, *next, None, 0),
            Ended::Failed { error, retry_at } => {
                ("failed", Some(*error), None, Some(*retry_at), self.item.failures + 1)
            }
            Ended::PausedQuota { until } => ("paused_quota", None, None, Some(*until), self.item.failures),
            Ended::Gone => return self.remove().await,
        };
        let mut tx = self.tenant.write("ending a sync run's work").await?;
        let held = tx
            .query(
                "UPDATE sync_work SET owner = NULL, leased_until = NULL, ended_at = $1, outcome = $2, error = $3,
                 due_at = coalesce($4, due_at), retry_at = $5, failures = $6, served = taken,
                 ready_at = CASE WHEN requested > taken THEN $1 ELSE coalesce($5, $4, due_at) END
                 WHERE business_id = $7 AND id = $8 AND fence = $9 AND leased_until IS NOT NULL",
            )
            .bind(now)
            .bind(outcome)
            .bind(error)
            .bind(next)
            .bind(retry_at)
            .bind(failures)
            .bind(self.tenant.business())
            .bind(self.work().id())
            .bind(self.fence)
            .execute()
            .await?;
        tx.commit().await?;
        Ok(held > 0)
    }

    /// Leaves it to whoever claims it next, at once: this worker is being stopped, and nothing is in the way. False if this
    /// claim holds it no more.
    ///
    /// # Errors
    /// [`StoreError`]: then it is anybody's once the lease has ended.
    pub async fn give_back(&self, now: Timestamp) -> Result<bool, StoreError> {
        let mut tx = self.tenant.write("giving a sync run's work back").await?;
        let held = tx
            .query(
                "UPDATE sync_work SET owner = NULL, leased_until = NULL, ready_at = $1, taken = served
                 WHERE business_id = $2 AND id = $3 AND fence = $4 AND leased_until IS NOT NULL",
            )
            .bind(now)
            .bind(self.tenant.business())
            .bind(self.work().id())
            .bind(self.fence)
            .execute()
            .await?;
        tx.commit().await?;
        Ok(held > 0)
    }

    async fn remove(&self) -> Result<bool, StoreError> {
        let mut tx = self.tenant.write("taking a sync run's work out").await?;
        let held = tx
            .query(
                "DELETE FROM sync_work WHERE business_id = $1 AND id = $2 AND fence = $3 AND leased_until IS NOT NULL",
            )
            .bind(self.tenant.business())
            .bind(self.work().id())
            .bind(self.fence)
            .execute()
            .await?;
        tx.commit().await?;
        Ok(held > 0)
    }
}
