//! How long things are kept, and taking out what is older: in batches, so that nobody waits for long.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use crate::audit::Action;
use crate::error::StoreError;
use crate::open::{Store, Tenant};
use crate::sql::{Row, Value};

/// Rows that one statement takes out: others wait for it.
const SWEPT: u32 = 5_000;

/// Fewest days of an audit log, and of leads and contacts: a slip of the hand is not to take everything.
pub const FEWEST_OF_MANY: u32 = 30;
/// Most days of anything: ten years.
pub const MOST: u32 = 3_650;

/// For how many days a business keeps things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Retention {
    /// Integrations' logs and the history of runs: from 1 day.
    pub log_days: u32,
    /// The audit log: from 30 days.
    pub audit_days: u32,
    /// Imports that have ended, with their rows and keys: from 1 day.
    pub import_days: u32,
    /// Leads that did not change; none: for ever.
    pub lead_days: Option<u32>,
    /// Contacts that did not change; none: for ever.
    pub contact_days: Option<u32>,
}

impl Default for Retention {
    /// A quarter of a year; for the audit log a year and a month, so that a yearly look finds the last one.
    fn default() -> Self {
        Self { log_days: 90, audit_days: 400, import_days: 90, lead_days: None, contact_days: None }
    }
}

/// What a sweep took out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Swept {
    /// Lines of integrations' logs.
    pub logs: u64,
    /// Runs.
    pub runs: u64,
    /// Imports.
    pub imports: u64,
    /// Their rows.
    pub import_rows: u64,
    /// Leads.
    pub leads: u64,
    /// Contacts.
    pub contacts: u64,
    /// Entries of the audit log; the entry that tells of them is written with each page of them.
    pub audit: u64,
}

impl Retention {
    /// The first of these that is out of its bounds, with the bounds.
    pub fn outside(&self) -> Option<(&'static str, u32, u32)> {
        let many = |days: Option<u32>| days.unwrap_or(MOST);
        [
            ("log_days", self.log_days, 1),
            ("audit_days", self.audit_days, FEWEST_OF_MANY),
            ("import_days", self.import_days, 1),
            ("lead_days", many(self.lead_days), FEWEST_OF_MANY),
            ("contact_days", many(self.contact_days), FEWEST_OF_MANY),
        ]
        .into_iter()
        .find(|(_, days, fewest)| !(*fewest..=MOST).contains(days))
        .map(|(name, _, fewest)| (name, fewest, MOST))
    }
}

impl Tenant {
    /// For how long the business keeps things.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn retention(&self) -> Result<Retention, StoreError> {
        let mut tx = self.read("reading how long things are kept").await?;
        let row = tx.query("SELECT * FROM retention WHERE business_id = $1").bind(self.business()).optional().await?;
        row.as_ref().map_or_else(|| Ok(Retention::default()), retention)
    }

    /// Changes for how long. Whoever calls has seen that nothing is [outside](Retention::outside) its bounds.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn set_retention(&self, to: &Retention, now: Timestamp) -> Result<(), StoreError> {
        let days = |days: Option<u32>| Value::Int(days.map(i64::from));
        let mut tx = self.write("changing how long things are kept").await?;
        tx.query(
            "INSERT INTO retention (business_id, log_days, audit_days, import_days, lead_days, contact_days, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (business_id) DO UPDATE SET
             log_days = excluded.log_days, audit_days = excluded.audit_days, import_days = excluded.import_days,
             lead_days = excluded.lead_days, contact_days = excluded.contact_days, updated_at = excluded.updated_at",
        )
        .bind(self.business())
        .bind(to.log_days)
        .bind(to.audit_days)
        .bind(to.import_days)
        .bind(days(to.lead_days))
        .bind(days(to.contact_days))
        .bind(now)
        .execute()
        .await?;
        self.note(&mut tx, Action::RetentionChanged, None, json!(to), now).await?;
        tx.commit().await
    }

    /// Takes out what the business keeps no longer.
    ///
    /// # Errors
    /// [`StoreError`]; what has gone by then is gone.
    pub async fn sweep(&self, now: Timestamp) -> Result<Swept, StoreError> {
        let keeps = self.retention().await?;
        let mut swept = Swept {
            logs: self.clear("integration_logs", "at < $2", ago(now, keeps.log_days)).await?,
            runs: self.clear("runs", "started_at < $2 AND state <> 'running'", ago(now, keeps.log_days)).await?,
            ..Swept::default()
        };
        if let Some(days) = keeps.lead_days {
            swept.leads = self.clear("leads", "updated_at < $2", ago(now, days)).await?;
        }
        if let Some(days) = keeps.contact_days {
            swept.contacts = self.clear("contacts", "last_synced_at < $2", ago(now, days)).await?;
        }
        while let Some((import, rows)) = self.clear_import(ago(now, keeps.import_days)).await? {
            swept.imports += import;
            swept.import_rows += rows;
        }
        if swept != Swept::default() {
            let mut tx = self.write("noting what was kept no longer").await?;
            self.note(&mut tx, Action::RetentionSwept, None, json!(swept), now).await?;
            tx.commit().await?;
        }
        swept.audit = self.store().sweep_audit(Some(self.business()), ago(now, keeps.audit_days), now).await?;
        Ok(swept)
    }

    /// Takes rows out by their ids, a batch at a time.
    async fn clear(&self, table: &str, condition: &str, before: Timestamp) -> Result<u64, StoreError> {
        let mut cleared = 0;
        loop {
            let mut tx = self.write("clearing away what is kept no longer").await?;
            let n = tx
                .query(format!(
                    "DELETE FROM {table} WHERE business_id = $1 AND id IN
                     (SELECT id FROM {table} WHERE business_id = $1 AND {condition} LIMIT $3)"
                ))
                .bind(self.business())
                .bind(before)
                .bind(SWEPT)
                .execute()
                .await?;
            tx.commit().await?;
            cleared += n;
            if n < u64::from(SWEPT) {
                return Ok(cleared);
            }
        }
    }

    /// The next batch of an import that ended before: how many imports went (none, until its rows have gone), and rows.
    async fn clear_import(&self, before: Timestamp) -> Result<Option<(u64, u64)>, StoreError> {
        let mut tx = self.write("clearing away an import").await?;
        // Nobody can go on with it any more: half of its rows may be gone.
        let import = tx
            .query(
                "UPDATE imports SET state = 'cancelled' WHERE business_id = $1 AND id =
                 (SELECT id FROM imports WHERE business_id = $1 AND state IN ('success', 'failed', 'cancelled')
                    AND finished_at < $2 ORDER BY created_at, id LIMIT 1 FOR UPDATE) RETURNING id",
            )
            .bind(self.business())
            .bind(before)
            .optional()
            .await?;
        let Some(import) = import else { return Ok(None) };
        let import: Uuid = import.get("id")?;
        let rows = tx
            .query(
                "DELETE FROM import_rows WHERE business_id = $1 AND import_id = $2 AND position IN
                 (SELECT position FROM import_rows WHERE business_id = $1 AND import_id = $2 ORDER BY position LIMIT $3)",
            )
            .bind(self.business())
            .bind(import)
            .bind(SWEPT)
            .execute()
            .await?;
        let mut imports = 0;
        if rows < u64::from(SWEPT) {
            imports = tx
                .query("DELETE FROM imports WHERE business_id = $1 AND id = $2")
                .bind(self.business())
                .bind(import)
                .execute()
                .await?;
        }
        tx.commit().await?;
        Ok(Some((imports, rows)))
    }
}

impl Store {
    /// Takes out what belongs to no business, or has ended for all: sessions, logins and invitations whose time is over,
    /// and entries of the service's own audit log that are older than a business keeps its own unless told otherwise.
    /// How many rows.
    ///
    /// # Errors
    /// [`StoreError`]; what has gone by then is gone.
    pub async fn sweep_ended(&self, now: Timestamp) -> Result<u64, StoreError> {
        let mut swept = 0;
        for table in ["sessions", "login_attempts", "invitations"] {
            loop {
                let mut tx = self.write("clearing away what has ended").await?;
                let n = tx
                    .query(format!(
                        "DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE expires_at < $1 LIMIT $2)"
                    ))
                    .bind(now)
                    .bind(SWEPT)
                    .execute()
                    .await?;
                tx.commit().await?;
                swept += n;
                if n < u64::from(SWEPT) {
                    break;
                }
            }
        }
        let mut tx = self.write("clearing away what has ended").await?;
        for table in ["sign_in_attempts", "password_resets"] {
            let ended = tx.query(format!("DELETE FROM {table} WHERE expires_at < $1"));
            swept += ended.bind(now).execute().await?;
        }
        tx.commit().await?;
        let before = ago(now, Retention::default().audit_days);
        Ok(swept + self.sweep_audit(None, before, now).await?)
    }
}

fn ago(now: Timestamp, days: u32) -> Timestamp {
    now.checked_sub(SignedDuration::from_hours(24 * i64::from(days))).unwrap_or(Timestamp::MIN)
}

fn retention(row: &Row) -> Result<Retention, StoreError> {
    let days = |days: i64| u32::try_from(days).unwrap_or(MOST);
    Ok(Retention {
        log_days: days(row.get("log_days")?),
        audit_days: days(row.get("audit_days")?),
        import_days: days(row.get("import_days")?),
        lead_days: row.find("lead_days")?.map(days),
        contact_days: row.find("contact_days")?.map(days),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_bounds_and_the_defaults_keep_to_them() {
        let usual = Retention::default();
        assert_eq!(usual.outside(), None);
        let outside = |change: fn(&mut Retention)| {
            let mut days = usual;
            change(&mut days);
            days.outside().map(|(name, ..)| name)
        };
        assert_eq!(outside(|days| days.log_days = 0), Some("log_days"));
        assert_eq!(outside(|days| days.audit_days = 29), Some("audit_days"));
        assert_eq!(outside(|days| days.import_days = MOST + 1), Some("import_days"));
        assert_eq!(outside(|days| days.lead_days = Some(29)), Some("lead_days"));
        assert_eq!(outside(|days| days.contact_days = Some(MOST)), None);
    }
}
