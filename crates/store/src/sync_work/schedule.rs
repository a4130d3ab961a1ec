//! Schedules: what there is to sync, how often, and who has asked for it.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::claim::after;
use super::{Pace, Work, WorkItem, item};
use crate::audit::Action;
use crate::error::StoreError;
use crate::open::{Store, Tenant};
use crate::sql::Tx;

/// A request for a run, to be asked after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// What was asked for.
    pub work: Work,
    number: i64,
}

impl Ticket {
    /// How many have asked until then, this one among them: it is served once [`WorkItem::served`] is as great.
    #[must_use]
    pub fn number(self) -> i64 {
        self.number
    }
}

/// The queue at a glance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct QueueState {
    /// Ready, and nobody is at it.
    pub waiting: i64,
    /// Somebody is at it.
    pub running: i64,
    /// Since when the oldest of the waiting is ready.
    pub oldest: Option<Timestamp>,
}

/// Of the alias `i`: it can be synced.
pub(super) const USABLE: &str = "i.status IN ('active', 'error') AND i.credentials IS NOT NULL";

/// Counts a request, and makes what nobody holds ready.
pub(crate) const REQUEST: &str =
    "UPDATE sync_work SET requested = requested + 1, ready_at = CASE WHEN leased_until IS NOT NULL THEN ready_at
    WHEN ready_at <= $1 THEN ready_at ELSE $1 END WHERE id = ANY($2) RETURNING *";

/// Rows for which somebody asks, locked in their order: two who ask for all of them must not wait for each other.
async fn request(
    tx: &mut Tx,
    business: Option<Uuid>,
    work: Option<Work>,
    now: Timestamp,
) -> Result<Vec<Ticket>, StoreError> {
    let rows = tx
        .query(format!(
            "SELECT id FROM sync_work WHERE (business_id = $1 OR $1 IS NULL) AND (id = $2 OR $2 IS NULL)
             AND integration_id IN (SELECT i.id FROM integrations AS i WHERE {USABLE}) ORDER BY id FOR UPDATE"
        ))
        .bind(business)
        .bind(work.map(Work::id))
        .all()
        .await?;
    let ids: Vec<Uuid> = rows.iter().map(|row| row.get("id")).collect::<Result<_, _>>()?;
    tx.query(REQUEST).bind(now).bind(ids).all().await?.iter().map(ticket).collect()
}

impl Store {
    /// Makes the schedules that are missing: of the contacts of each integration that can be used, and of each mapping of
    /// such a one. What is there stays as it is, but that no tick of what goes at the service's pace is further away than
    /// that. Any number of nodes may do so at once.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn follow_integrations(&self, every: Duration, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.write("following the integrations").await?;
        let statements = [
            format!(
                "INSERT INTO sync_work (id, business_id, kind, integration_id, due_at, ready_at)
                 SELECT i.id, i.business_id, 'contacts', i.id, $1, $1 FROM integrations AS i WHERE {USABLE}
                 AND NOT EXISTS (SELECT 1 FROM sync_work AS w WHERE w.id = i.id) ON CONFLICT DO NOTHING"
            ),
            format!(
                "INSERT INTO sync_work (id, business_id, kind, integration_id, mapping_id, due_at, ready_at)
                 SELECT m.id, m.business_id, 'mapping', m.integration_id, m.id, $1, $1 FROM mappings AS m
                 JOIN integrations AS i ON i.id = m.integration_id WHERE {USABLE}
                 AND NOT EXISTS (SELECT 1 FROM sync_work AS w WHERE w.id = m.id) ON CONFLICT DO NOTHING"
            ),
            "INSERT INTO sync_turns (business_id, taken_at)
             SELECT b.id, $1 FROM businesses AS b WHERE EXISTS (SELECT 1 FROM sync_work AS w WHERE w.business_id = b.id)
             AND NOT EXISTS (SELECT 1 FROM sync_turns AS t WHERE t.business_id = b.id) ON CONFLICT DO NOTHING"
                .to_owned(),
        ];
        for statement in statements {
            tx.query(statement).bind(now).execute().await?;
        }
        // In their order, as whoever asks for a run.
        let last = after(now, every);
        let far = tx.query("SELECT id FROM sync_work WHERE pace IS NULL AND due_at > $1 ORDER BY id FOR UPDATE");
        let far: Vec<Uuid> = far.bind(last).all().await?.iter().map(|row| row.get("id")).collect::<Result<_, _>>()?;
        if !far.is_empty() {
            tx.query(
                "UPDATE sync_work SET due_at = $1, ready_at = CASE WHEN leased_until IS NULL AND retry_at IS NULL
                 AND requested <= taken THEN $1 ELSE ready_at END WHERE id = ANY($2)",
            )
            .bind(last)
            .bind(far)
            .execute()
            .await?;
        }
        tx.commit().await
    }

    /// Asks for a run of everything that there is, of all businesses.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn request_all(&self, now: Timestamp) -> Result<Vec<Ticket>, StoreError> {
        let mut tx = self.write("asking for sync runs").await?;
        let tickets = request(&mut tx, None, None, now).await?;
        tx.commit().await?;
        Ok(tickets)
    }

    /// Which of the requests no run has answered yet. What is gone, paused, or cannot be used any more, is answered.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn unserved(&self, tickets: &[Ticket]) -> Result<Vec<Ticket>, StoreError> {
        let ids: Vec<Uuid> = tickets.iter().map(|ticket| ticket.work.id()).collect();
        let mut tx = self.read("looking after sync runs").await?;
        let sql = format!(
            "SELECT w.* FROM sync_work AS w JOIN integrations AS i ON i.id = w.integration_id
             LEFT JOIN mappings AS m ON m.id = w.id WHERE w.id = ANY($1) AND {USABLE} AND (m.id IS NULL OR m.state <> 'paused')"
        );
        let mut waiting = Vec::new();
        for row in tx.query(sql).bind(ids).all().await? {
            let (work, served) = (item(&row)?.work, row.get::<i64>("served")?);
            waiting.extend(tickets.iter().copied().filter(|ticket| ticket.work == work && ticket.number > served));
        }
        Ok(waiting)
    }

    /// The queue at a glance, of all businesses.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn queue_state(&self, now: Timestamp) -> Result<QueueState, StoreError> {
        let mut tx = self.read("reading the queue's state").await?;
        let row = tx
            .query(format!(
                "SELECT coalesce(sum(CASE WHEN w.ready_at <= $1 THEN 1 ELSE 0 END), 0) AS waiting,
                 coalesce(sum(CASE WHEN w.leased_until > $1 THEN 1 ELSE 0 END), 0) AS running,
                 min(CASE WHEN w.ready_at <= $1 THEN w.ready_at END) AS oldest
                 FROM sync_work AS w JOIN integrations AS i ON i.id = w.integration_id WHERE {USABLE}"
            ))
            .bind(now)
            .one()
            .await?;
        Ok(QueueState { waiting: row.get("waiting")?, running: row.get("running")?, oldest: row.find("oldest")? })
    }
}

impl Tenant {
    /// How the work on a mapping stands; none before anybody has made its schedule.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn work_of_mapping(&self, mapping: Uuid) -> Result<Option<WorkItem>, StoreError> {
        let mut tx = self.read("reading how a mapping is synced").await?;
        let row = tx.query("SELECT * FROM sync_work WHERE business_id = $1 AND id = $2");
        row.bind(self.business()).bind(mapping).optional().await?.as_ref().map(item).transpose()
    }

    /// What is synced, by integration; contacts before mappings.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn sync_work(&self) -> Result<Vec<WorkItem>, StoreError> {
        let mut tx = self.read("reading what is synced").await?;
        let rows = tx
            .query("SELECT * FROM sync_work WHERE business_id = $1 ORDER BY integration_id, kind, id")
            .bind(self.business())
            .all()
            .await?;
        rows.iter().map(item).collect()
    }

    /// Asks for a run, at once or as soon as the one under way has ended. However many ask before it begins, it is one. `None`
    /// asks for everything of the business. No ticket: there is no such work, or its integration cannot be used.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn request_sync(&self, work: Option<Work>, now: Timestamp) -> Result<Vec<Ticket>, StoreError> {
        let mut tx = self.write("asking for a sync run").await?;
        let tickets = request(&mut tx, Some(self.business()), work, now).await?;
        tx.commit().await?;
        Ok(tickets)
    }

    /// Says how often something is synced from now on; none: as the service is told. False: there is no such work.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn set_pace(&self, work: Work, pace: Option<&Pace>, now: Timestamp) -> Result<bool, StoreError> {
        // By the calendar it is then; all else is due now, and goes on from there.
        let due_at = match pace {
            Some(Pace::OnRequest) => None,
            Some(cron @ Pace::Cron(_)) => cron.next(now, now),
            _ => Some(now),
        };
        let text = pace.map(ToString::to_string);
        let mut tx = self.write("setting how often something is synced").await?;
        let set = tx
            .query(
                "UPDATE sync_work SET pace = $1, due_at = $2, ready_at = CASE WHEN leased_until IS NOT NULL
                 OR requested > taken OR retry_at IS NOT NULL THEN ready_at ELSE $2 END
                 WHERE business_id = $3 AND id = $4 RETURNING integration_id",
            )
            .bind(&text)
            .bind(due_at)
            .bind(self.business())
            .bind(work.id())
            .optional()
            .await?;
        let Some(set) = set else { return Ok(false) };
        let detail = json!({"work": work.kind(), "id": work.id(), "pace": text});
        let of = Some(("integration", set.get::<Uuid>("integration_id")?));
        self.note(&mut tx, Action::ConnectionUpdated, of, detail, now).await?;
        tx.commit().await?;
        Ok(true)
    }
}

/// The schedule of an integration's contacts, with the access that somebody has just given: there is one, however often, and
/// it is due at once.
pub(crate) async fn schedule_contacts(tx: &mut Tx, business: Uuid, id: Uuid, now: Timestamp) -> Result<(), StoreError> {
    tx.query(
        "INSERT INTO sync_work (id, business_id, kind, integration_id, due_at, ready_at) VALUES ($1, $2, 'contacts', $1, $3, $3)
         ON CONFLICT (id) DO UPDATE SET retry_at = NULL, failures = 0, ready_at =
             CASE WHEN sync_work.leased_until IS NULL THEN excluded.ready_at ELSE sync_work.ready_at END",
    )
    .bind(id)
    .bind(business)
    .bind(now)
    .execute()
    .await?;
    tx.query("INSERT INTO sync_turns (business_id, taken_at) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(business)
        .bind(now)
        .execute()
        .await
        .map(drop)
}

pub(super) fn ticket(row: &crate::sql::Row) -> Result<Ticket, StoreError> {
    Ok(Ticket { work: item(row)?.work, number: row.get("requested")? })
}
