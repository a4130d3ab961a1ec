//! Working on imports: one worker at a time on each, however many nodes there are.
//!
//! A worker claims an import for a while (its lease), and prolongs that with every batch that it writes and while it
//! waits for the org. If it dies, the lease ends and the next one goes on; if it is stopped, it gives the import back; each claim has a greater fence, and a worker whose fence is not the newest any more
//! writes nothing, however long it was asleep. Leads, outcomes and counters of a batch are one transaction.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::contacts::ContactRow;
use crate::error::StoreError;
use crate::imports::{Import, ImportRow, ImportState, RowOutcome, import, import_row};
use crate::lead_upsert::upsert_leads;
use crate::open::{Store, Tenant};
use crate::personal_data::hold;
use crate::sql::{Tx, Value};

/// Rows of one statement that notes outcomes; four values each.
const CHUNK: usize = 1_000;

/// The right to work on an import, until somebody else has it.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The business it belongs to.
    pub tenant: Tenant,
    /// The import as it was claimed.
    pub import: Import,
    /// Grows with every claim of this import.
    pub fence: i64,
    lease: Duration,
}

/// What the source says about a row.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The row's place in the import.
    pub position: i64,
    /// The contact, or why there is none.
    pub contact: Result<ContactRow, String>,
}

/// What becomes of each source id of a batch, with its lead if there is one.
type Becoming = HashMap<String, (RowOutcome, Option<Uuid>)>;

/// What a batch did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct BatchOutcome {
    /// Leads that are new.
    pub created: u64,
    /// Leads that changed.
    pub updated: u64,
    /// Leads that were so already.
    pub unchanged: u64,
    /// Rows that became none.
    pub failed: u64,
    /// Rows of persons who were erased.
    pub skipped_erased: u64,
}

/// Whether what a worker wanted to write was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Batch {
    /// It was.
    Written(BatchOutcome),
    /// Somebody has cancelled the import; nothing was written.
    Cancelled,
    /// Another worker has it, or it has ended; nothing was written.
    Fenced,
}

impl Store {
    /// Claims the next import, of any business, that nobody works on: one that waits, or one whose worker's lease has
    /// ended. A business with no import under way comes before others, then the oldest.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn claim_import(&self, now: Timestamp, lease: Duration) -> Result<Option<Claim>, StoreError> {
        let mut tx = self.write("claiming an import").await?;
        let row = tx
            .query(
                "UPDATE imports SET state = 'running', fence = fence + 1, leased_until = $2 WHERE id = (
                    SELECT w.id FROM imports AS w
                    WHERE w.state IN ('waiting', 'running') AND (w.leased_until IS NULL OR w.leased_until <= $1)
                    ORDER BY (SELECT count(*) FROM imports AS r WHERE r.business_id = w.business_id
                        AND r.state IN ('waiting', 'running') AND r.leased_until > $1), w.created_at, w.id
                    LIMIT 1 FOR UPDATE SKIP LOCKED)
                 RETURNING *",
            )
            .bind(now)
            .bind(until(now, lease))
            .optional()
            .await?;
        let Some(row) = row else { return Ok(None) };
        let tenant = self.tenant(row.get("business_id")?, None);
        let claim = Claim { tenant, import: import(&row)?, fence: row.get("fence")?, lease };
        tx.commit().await?;
        Ok(Some(claim))
    }
}

fn until(now: Timestamp, lease: Duration) -> Timestamp {
    SignedDuration::try_from(lease).ok().and_then(|lease| now.checked_add(lease).ok()).unwrap_or(Timestamp::MAX)
}

impl Claim {
    /// The next rows without an outcome, in their order, from behind a position (`-1` for the first).
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn pending_rows(&self, after: i64, limit: u32) -> Result<Vec<ImportRow>, StoreError> {
        let mut tx = self.tenant.read("reading the next rows of an import").await?;
        tx.plan_anew().await?;
        let rows = tx
            .query(
                "SELECT * FROM import_rows WHERE business_id = $1 AND import_id = $2 AND outcome = 'pending'
                 AND position > $3 ORDER BY position LIMIT $4",
            )
            .bind(self.tenant.business())
            .bind(self.import.id)
            .bind(after)
            .bind(limit)
            .all()
            .await?;
        rows.iter().map(import_row).collect()
    }

    /// Writes a batch: its leads, what became of its rows, the counters and a longer lease, in one transaction. Rows
    /// that have their outcome already keep it.
    ///
    /// A lead is unique by business, source type and source id. One that is as the contact is, and has the import's
    /// campaign and tags, is `unchanged` and not touched. A version that is older than the one held (by the source's
    /// stamp) changes no field. Somebody who was erased becomes no lead.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is written then.
    pub async fn commit_batch(&self, rows: &[Fetched], now: Timestamp) -> Result<Batch, StoreError> {
        // It ends: each time round, others have made some of these leads, or the business's first erasure.
        loop {
            if let Some(batch) = self.try_batch(rows, now).await? {
                return Ok(batch);
            }
        }
    }

    async fn try_batch(&self, rows: &[Fetched], now: Timestamp) -> Result<Option<Batch>, StoreError> {
        let (business, mut contacts) = (self.tenant.business(), BTreeMap::new());
        let unkept: HashSet<i64> =
            rows.iter().filter(|row| row.contact.as_ref().is_ok_and(holds_nul)).map(|row| row.position).collect();
        for row in rows.iter().filter(|row| !unkept.contains(&row.position)) {
            if let Ok(contact) = &row.contact {
                contacts.entry(contact.source_id.as_str()).or_insert(contact);
            }
        }
        let markers = self.tenant.markers().await?;
        let mut tx = self.tenant.write("writing a batch of an import").await?;
        tx.plan_anew().await?;
        // Before the import's own lock, as whoever erases takes them.
        hold(&mut tx, business).await?;
        if let Some(refused) = self.refused(&mut tx).await? {
            // Nothing was written; but its lock is to be gone at once, or the next claim passes this import by.
            tx.commit().await?;
            return Ok(Some(refused));
        }
        let Some(erased) = markers.erased(&mut tx, business, contacts.values().copied()).await? else {
            return Ok(None);
        };
        contacts.retain(|id, _| !erased.contains(*id));
        let Some(made) = upsert_leads(&mut tx, business, &self.import, &contacts, now).await? else {
            return Ok(None);
        };
        let mut became: Becoming = made.into_iter().map(|(id, (outcome, lead))| (id, (outcome, Some(lead)))).collect();
        became.extend(erased.into_iter().map(|id| (id, (RowOutcome::SkippedErased, None))));
        let mut outcome = BatchOutcome::default();
        for chunk in rows.chunks(CHUNK) {
            self.note_rows(&mut tx, chunk, &unkept, &mut became, &mut outcome).await?;
        }
        tx.query(
            "UPDATE imports SET created = created + $1, updated = updated + $2, unchanged = unchanged + $3,
             failed = failed + $4, leased_until = $5, error = NULL, skipped_erased = skipped_erased + $8
             WHERE business_id = $6 AND id = $7",
        )
        .bind(outcome.created as i64)
        .bind(outcome.updated as i64)
        .bind(outcome.unchanged as i64)
        .bind(outcome.failed as i64)
        .bind(until(now, self.lease))
        .bind(business)
        .bind(self.import.id)
        .bind(outcome.skipped_erased as i64)
        .execute()
        .await?;
        tx.commit().await?;
        Ok(Some(Batch::Written(outcome)))
    }

    /// Why this claim may write no more; none if it may, and then nobody can take it before the transaction ends.
    async fn refused(&self, tx: &mut Tx) -> Result<Option<Batch>, StoreError> {
        let row = tx
            .query("SELECT * FROM imports WHERE business_id = $1 AND id = $2 FOR UPDATE")
            .bind(self.tenant.business())
            .bind(self.import.id)
            .optional()
            .await?;
        let Some(row) = row else { return Ok(Some(Batch::Fenced)) };
        // Access that was taken away meanwhile: what was read before is not written any more.
        let open = tx
            .query("SELECT id FROM integrations WHERE id = $1 AND status <> 'inactive'")
            .bind(self.import.integration_id)
            .optional()
            .await?;
        if open.is_none() {
            return Ok(Some(Batch::Fenced));
        }
        Ok(match import(&row)?.state {
            ImportState::Cancelled => Some(Batch::Cancelled),
            ImportState::Running if row.get::<i64>("fence")? == self.fence => None,
            _ => Some(Batch::Fenced),
        })
    }

    /// Notes what became of rows, those that are still pending, and counts them.
    async fn note_rows(
        &self,
        tx: &mut Tx,
        rows: &[Fetched],
        unkept: &HashSet<i64>,
        became: &mut Becoming,
        counted: &mut BatchOutcome,
    ) -> Result<(), StoreError> {
        let mut sql = String::with_capacity(rows.len() * 30 + 300);
        // Every row is there. An UPDATE joined with the values is planned by statistics, which a fresh import has none
        // of, and then may go through all its rows for each batch.
        sql.push_str(
            "INSERT INTO import_rows (business_id, import_id, source_id, position, outcome, lead_id, error) VALUES ",
        );
        let mut values: Vec<Value> = vec![self.tenant.business().into(), self.import.id.into()];
        for row in rows.iter().filter(|row| (0..self.import.total).contains(&row.position)) {
            let n = values.len();
            let comma = if n == 2 { "" } else { ", " };
            let _ = write!(sql, "{comma}($1, $2, '', ${}, ${}, ${}, ${})", n + 1, n + 2, n + 3, n + 4);
            let (outcome, lead, error) = match &row.contact {
                Ok(_) if unkept.contains(&row.position) => {
                    (RowOutcome::Failed, None, Some("the contact holds the character U+0000, which cannot be kept"))
                }
                Ok(contact) => match became.get_mut(&contact.source_id) {
                    Some((RowOutcome::SkippedErased, _)) => (RowOutcome::SkippedErased, None, None),
                    // A second row of the same contact finds its lead as it is.
                    Some((outcome, id)) => (std::mem::replace(outcome, RowOutcome::Unchanged), *id, None),
                    None => (RowOutcome::Failed, None, Some("no lead was made of it")),
                },
                Err(reason) => (RowOutcome::Failed, None, Some(reason.as_str())),
            };
            let error = error.map(|error| error.replace('\0', "\u{fffd}"));
            values.extend::<[Value; 4]>([row.position.into(), outcome.name().into(), lead.into(), error.into()]);
        }
        sql.push_str(
            " ON CONFLICT (import_id, position) DO UPDATE SET outcome = excluded.outcome, lead_id = excluded.lead_id,
             error = excluded.error,
             source_id = CASE WHEN excluded.outcome = 'skipped_erased' THEN '' ELSE import_rows.source_id END
             WHERE import_rows.outcome = 'pending' RETURNING outcome",
        );
        if values.len() == 2 {
            return Ok(());
        }
        for row in tx.query(sql).bind_all(values).all().await? {
            match RowOutcome::from_name(&row.get::<String>("outcome")?) {
                Some(RowOutcome::Created) => counted.created += 1,
                Some(RowOutcome::Updated) => counted.updated += 1,
                Some(RowOutcome::Unchanged) => counted.unchanged += 1,
                Some(RowOutcome::SkippedErased) => counted.skipped_erased += 1,
                _ => counted.failed += 1,
            }
        }
        Ok(())
    }

    /// Ends the import: well, or with a reason that somebody must remove. False if this claim holds it no more.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn finish_import(&self, failure: Option<&str>, now: Timestamp) -> Result<bool, StoreError> {
        let state = if failure.is_some() { ImportState::Failed } else { ImportState::Success };
        self.leave("ending an import", state, failure, None, Some(now)).await
    }

    /// Leaves the import to whoever claims it next, which nobody can before a time: what was in the way needs a while.
    /// False if this claim holds it no more.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn release_import(&self, reason: &str, not_before: Timestamp) -> Result<bool, StoreError> {
        self.leave("leaving an import", ImportState::Running, Some(reason), Some(not_before), None).await
    }

    /// Leaves the import to whoever claims it next, at once: this worker is being stopped, and nothing is in the way. False
    /// if this claim holds it no more.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn give_back(&self) -> Result<bool, StoreError> {
        self.leave("giving an import back", ImportState::Waiting, None, None, None).await
    }

    /// Says that its worker lives, between batches: the lease is as long as at the beginning again. False if this claim
    /// holds the import no more.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn prolong(&self, now: Timestamp) -> Result<bool, StoreError> {
        let mut tx = self.tenant.write("prolonging the lease of an import").await?;
        let held = tx
            .query(
                "UPDATE imports SET leased_until = $1 WHERE business_id = $2 AND id = $3 AND fence = $4
                 AND state = 'running'",
            )
            .bind(until(now, self.lease))
            .bind(self.tenant.business())
            .bind(self.import.id)
            .bind(self.fence)
            .execute()
            .await?;
        tx.commit().await?;
        Ok(held > 0)
    }

    async fn leave(
        &self,
        doing: &'static str,
        state: ImportState,
        error: Option<&str>,
        leased_until: Option<Timestamp>,
        finished_at: Option<Timestamp>,
    ) -> Result<bool, StoreError> {
        let mut tx = self.tenant.write(doing).await?;
        let held = tx
            .query(
                "UPDATE imports SET state = $1, error = $2, leased_until = $3, finished_at = $4
                 WHERE business_id = $5 AND id = $6 AND fence = $7 AND state = 'running'",
            )
            .bind(state.name())
            .bind(error.map(|error| error.replace('\0', "\u{fffd}")))
            .bind(leased_until)
            .bind(finished_at)
            .bind(self.tenant.business())
            .bind(self.import.id)
            .bind(self.fence)
            .execute()
            .await?;
        tx.commit().await?;
        Ok(held > 0)
    }
}

/// PostgreSQL keeps no NUL, in text or JSON; what one database refuses, the other does not take either.
fn holds_nul(contact: &ContactRow) -> bool {
    fn within(json: &serde_json::Value) -> bool {
        match json {
            serde_json::Value::String(text) => text.contains('\0'),
            serde_json::Value::Array(items) => items.iter().any(within),
            serde_json::Value::Object(fields) => fields.iter().any(|(key, value)| key.contains('\0') || within(value)),
            _ => false,
        }
    }
    let ContactRow { first_name, last_name, name, email, phone, company, title, .. } = contact;
    [first_name, last_name, name, email, phone, company, title].into_iter().flatten().any(|text| text.contains('\0'))
        || contact.source_id.contains('\0')
        || within(&contact.source_metadata)
}
