//! Webhooks of changed records: who is told, with what leads there sealed, and how far each has come.

use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::cursor::{Place, RecordCursor};
use super::source::RecordSource;
use crate::alerts::{AlertKind, Changes};
use crate::audit::Action;
use crate::error::StoreError;
use crate::keys::{BusinessLock, Cell};
use crate::mappings::Mapping;
use crate::open::Tenant;
use crate::sql::{Row, Tx, Value};

/// A webhook, without what leads to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordWebhook {
    /// UUID.
    pub id: Uuid,
    /// Whose records.
    pub mapping_id: Uuid,
    /// What may be shown of where it leads: the host.
    pub shown: String,
    /// The columns that are sent; none: all of them.
    pub fields: Option<Vec<String>>,
    /// Whether records are sent, and not only that there are some.
    pub include_records: bool,
    /// Whether it is told anything.
    pub enabled: bool,
    /// Why the service has switched it off.
    pub disabled_reason: Option<String>,
    /// Everything before this was taken.
    pub position: RecordCursor,
    /// Attempts at the message that is to be sent.
    pub attempts: i64,
    /// When it is tried again; none: at once.
    pub next_attempt_at: Option<Timestamp>,
    /// When it took a message last.
    pub last_success_at: Option<Timestamp>,
    /// When it did not take one last.
    pub last_failure_at: Option<Timestamp>,
    /// Why not.
    pub last_error: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its last change.
    pub updated_at: Timestamp,
}

/// A webhook to be made.
#[derive(Debug)]
pub struct NewRecordWebhook<'a> {
    /// What may be shown of where it leads.
    pub shown: &'a str,
    /// All of where it leads, and what it is signed with: sealed.
    pub setting: &'a [u8],
    /// The columns that are sent; none: all of them.
    pub fields: Option<&'a [String]>,
    /// Whether records are sent.
    pub include_records: bool,
    /// Whether all that is there already is sent first.
    pub from_beginning: bool,
}

/// Changes of a webhook; what is `None` stays.
#[derive(Debug, Default)]
pub struct WebhookChange<'a> {
    /// What is shown of where it leads, and all of it.
    pub leads_to: Option<(&'a str, &'a [u8])>,
    /// The columns that are sent; none of them named: all.
    pub fields: Option<Option<&'a [String]>>,
    /// Whether records are sent.
    pub include_records: Option<bool>,
    /// Whether it is told anything. What changes while it is switched off is sent once it is on again.
    pub enabled: Option<bool>,
}

/// Where a webhook is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rewind {
    /// Before all that there is.
    Beginning,
    /// Behind all that there is.
    Now,
    /// Here.
    To(Place),
    /// Before the first change that was written here then or later.
    Since(Timestamp),
}

/// The newest number of a webhook's mapping, within a statement that has the mapping's id as this value.
const NEWEST: &str = "(SELECT changes FROM mapping_checkpoints WHERE mapping_id = $1)";

impl Tenant {
    /// Makes a webhook; `None`, if the business has `most` already.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn create_record_webhook(
        &self,
        mapping: &Mapping,
        new: &NewRecordWebhook<'_>,
        most: u32,
        now: Timestamp,
    ) -> Result<Option<RecordWebhook>, StoreError> {
        let id = Uuid::now_v7();
        let (mut tx, sealed) = self
            .write_sealed_holding("making a webhook", webhook_cell(self, id), Some(new.setting), BusinessLock::Alone)
            .await?;
        if self.is_full(&mut tx, "SELECT count(*) AS n FROM record_webhooks WHERE business_id = $1", most).await? {
            return Ok(None);
        }
        // Behind what is committed: a step that is under way has a greater number, and is sent.
        let position = if new.from_beginning { "1".to_owned() } else { format!("{NEWEST} + 1") };
        let row = tx
            .query(format!(
                "INSERT INTO record_webhooks (mapping_id, id, business_id, shown, setting, fields, include_records,
                 position_change, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, {position}, $8, $8)
                 RETURNING *"
            ))
            .bind(mapping.id)
            .bind(id)
            .bind(self.business())
            .bind(new.shown)
            .bind(sealed)
            .bind(listed(new.fields))
            .bind(new.include_records)
            .bind(now)
            .one()
            .await?;
        let detail = json!({
            "mapping": mapping.name, "leads_to": new.shown, "include_records": new.include_records,
            "from_beginning": new.from_beginning,
        });
        self.note(&mut tx, Action::RecordWebhookCreated, Some(("record_webhook", id)), detail, now).await?;
        tx.commit().await?;
        self.store().records().ring();
        webhook(&row).map(Some)
    }

    /// The webhooks of a mapping, or of all; oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn record_webhooks(&self, mapping: Option<Uuid>) -> Result<Vec<RecordWebhook>, StoreError> {
        let mut tx = self.read("listing the webhooks").await?;
        let rows = tx
            .query(
                "SELECT * FROM record_webhooks WHERE business_id = $1 AND mapping_id = coalesce($2, mapping_id)
                 ORDER BY created_at, id",
            )
            .bind(self.business())
            .bind(mapping)
            .all()
            .await?;
        rows.iter().map(webhook).collect()
    }

    /// One webhook.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn record_webhook(&self, id: Uuid) -> Result<Option<RecordWebhook>, StoreError> {
        self.webhook_row(id).await?.as_ref().map(webhook).transpose()
    }

    async fn webhook_row(&self, id: Uuid) -> Result<Option<Row>, StoreError> {
        let mut tx = self.read("reading a webhook").await?;
        tx.query("SELECT * FROM record_webhooks WHERE business_id = $1 AND id = $2")
            .bind(self.business())
            .bind(id)
            .optional()
            .await
    }

    /// Opens where a webhook leads; `None`, if there is none.
    ///
    /// # Errors
    /// [`StoreError::Sealed`] with another master key, or for a row that was tampered with.
    pub async fn open_record_webhook(
        &self,
        id: Uuid,
    ) -> Result<Option<(RecordWebhook, Zeroizing<Vec<u8>>)>, StoreError> {
        let mut refused = None;
        loop {
            let Some(row) = self.webhook_row(id).await? else { return Ok(None) };
            let sealed: Vec<u8> = row.get("setting")?;
            match self.unseal(webhook_cell(self, id), &sealed).await {
                // Sealed anew meanwhile, unless it is what it was.
                Err(StoreError::Sealed { .. }) if refused.as_ref() != Some(&sealed) => refused = Some(sealed),
                opened => return Ok(Some((webhook(&row)?, opened?))),
            }
        }
    }

    /// Changes a webhook. One that is switched on goes on from its position, at once. What is under way is sent again, as
    /// it is to be now. `None`, if there is no such webhook.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn update_record_webhook(
        &self,
        id: Uuid,
        change: &WebhookChange<'_>,
        now: Timestamp,
    ) -> Result<Option<RecordWebhook>, StoreError> {
        let setting = change.leads_to.map(|(_, setting)| setting);
        let (mut tx, sealed) = self
            .write_sealed_holding("changing a webhook", webhook_cell(self, id), setting, BusinessLock::Share)
            .await?;
        let integration = self.hold_integration_of(&mut tx, id).await?;
        let row = tx
            .query(
                "UPDATE record_webhooks SET shown = coalesce($1, shown), setting = coalesce($2, setting),
                 fields = CASE WHEN $3 THEN $4 ELSE fields END, include_records = coalesce($5, include_records),
                 enabled = coalesce($6, enabled), disabled_reason = CASE WHEN $6 IS NULL THEN disabled_reason END,
                 sending_change = NULL, sending_id = NULL, attempts = 0, next_attempt_at = NULL, leased_until = NULL,
                 fence = fence + 1, updated_at = $7 WHERE business_id = $8 AND id = $9 RETURNING *",
            )
            .bind(change.leads_to.map(|(shown, _)| shown))
            .bind(sealed)
            .bind(change.fields.is_some())
            .bind(listed(change.fields.flatten()))
            .bind(change.include_records)
            .bind(change.enabled)
            .bind(now)
            .bind(self.business())
            .bind(id)
            .optional()
            .await?;
        let Some(changed) = row.as_ref().map(webhook).transpose()? else { return Ok(None) };
        let changes = self.settle(&mut tx, integration, now).await?;
        let detail = json!({
            "leads_to": changed.shown, "enabled": changed.enabled, "include_records": changed.include_records,
            "fields": changed.fields,
        });
        self.note(&mut tx, Action::RecordWebhookUpdated, Some(("record_webhook", id)), detail, now).await?;
        tx.commit().await?;
        self.store().alerts().note(&changes);
        self.store().records().ring();
        Ok(Some(changed))
    }

    /// Keeps other secrets of a webhook. `None`, if there is no such webhook.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn rotate_record_webhook_secret(
        &self,
        id: Uuid,
        setting: &[u8],
        now: Timestamp,
    ) -> Result<Option<RecordWebhook>, StoreError> {
        let cell = webhook_cell(self, id);
        let (mut tx, sealed) =
            self.write_sealed_holding("keeping a signing secret", cell, Some(setting), BusinessLock::Share).await?;
        let row = tx
            .query("UPDATE record_webhooks SET setting = $1, updated_at = $2 WHERE business_id = $3 AND id = $4 RETURNING *")
            .bind(sealed)
            .bind(now)
            .bind(self.business())
            .bind(id)
            .optional()
            .await?;
        let Some(changed) = row.as_ref().map(webhook).transpose()? else { return Ok(None) };
        self.note(&mut tx, Action::RecordWebhookKeyRotated, Some(("record_webhook", id)), json!({}), now).await?;
        tx.commit().await?;
        Ok(Some(changed))
    }

    /// Sets the position of a webhook; what is under way counts no more. Messages that were sent before have other ids when
    /// they come again. `None`, if there is no such webhook.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn rewind_record_webhook(
        &self,
        id: Uuid,
        to: &Rewind,
        now: Timestamp,
    ) -> Result<Option<RecordWebhook>, StoreError> {
        let Some(there) = self.record_webhook(id).await? else { return Ok(None) };
        let Some(mapping) = self.mapping(there.mapping_id).await? else { return Ok(None) };
        let mut tx = self.write("setting a webhook's position").await?;
        self.hold_business(&mut tx).await?;
        let source = RecordSource::mapping(&mapping);
        let newest = super::page::newest(&mut tx, &source).await?;
        let end = newest.saturating_add(1);
        let (change, last) = match to {
            Rewind::Beginning => (1, String::new()),
            Rewind::Now => (end, String::new()),
            Rewind::To(Place::Change { change, id }) if *change < end => (*change, id.clone()),
            Rewind::To(Place::Change { .. }) => (end, String::new()),
            Rewind::To(Place::Id { began, .. }) => (began.saturating_add(1).min(end), String::new()),
            Rewind::Since(time) => (self.first_since(&mut tx, &source, *time).await?.unwrap_or(end), String::new()),
        };
        let row = tx
            .query(
                "UPDATE record_webhooks SET position_change = $1, position_id = $2, rewinds = rewinds + 1,
                 sending_change = NULL, sending_id = NULL, attempts = 0, next_attempt_at = NULL, leased_until = NULL,
                 fence = fence + 1, updated_at = $3 WHERE business_id = $4 AND id = $5 RETURNING *",
            )
            .bind(change)
            .bind(last)
            .bind(now)
            .bind(self.business())
            .bind(id)
            .optional()
            .await?;
        let Some(set) = row.as_ref().map(webhook).transpose()? else { return Ok(None) };
        let detail = json!({"from": there.position.to_string(), "to": set.position.to_string()});
        self.note(&mut tx, Action::RecordWebhookRewound, Some(("record_webhook", id)), detail, now).await?;
        tx.commit().await?;
        self.store().records().ring();
        Ok(Some(set))
    }

    async fn first_since(
        &self,
        tx: &mut Tx,
        source: &RecordSource,
        time: Timestamp,
    ) -> Result<Option<i64>, StoreError> {
        let given = if tx.is_postgres() { "CAST($1 AS timestamptz)" } else { "$1" };
        let written = source.compared("_synced_at", tx.is_postgres());
        let sql = format!("SELECT min({}) AS n FROM {} WHERE {written} >= {given}", source.change(), source.from());
        let time = Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time);
        tx.query(sql).bind(format!("{time:.3}")).one().await?.find("n")
    }

    /// Takes a webhook out. False if there is none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn delete_record_webhook(&self, id: Uuid, now: Timestamp) -> Result<bool, StoreError> {
        let mut tx = self.write("deleting a webhook").await?;
        self.hold_business(&mut tx).await?;
        let integration = self.hold_integration_of(&mut tx, id).await?;
        let gone = tx
            .query("DELETE FROM record_webhooks WHERE business_id = $1 AND id = $2")
            .bind(self.business())
            .bind(id)
            .execute()
            .await?;
        if gone == 0 {
            return Ok(false);
        }
        let changes = self.settle(&mut tx, integration, now).await?;
        self.note(&mut tx, Action::RecordWebhookDeleted, Some(("record_webhook", id)), json!({}), now).await?;
        tx.commit().await?;
        self.store().alerts().note(&changes);
        Ok(true)
    }

    /// Notes how a message went that is no part of the feed: a test.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn note_record_webhook(&self, id: Uuid, error: Option<&str>, now: Timestamp) -> Result<(), StoreError> {
        let set = match error {
            None => "last_success_at = $1, last_error = $2",
            Some(_) => "last_failure_at = $1, last_error = $2",
        };
        let mut tx = self.write("noting how a webhook does").await?;
        tx.query(format!("UPDATE record_webhooks SET {set} WHERE business_id = $3 AND id = $4"))
            .bind(now)
            .bind(error)
            .bind(self.business())
            .bind(id)
            .execute()
            .await?;
        tx.commit().await
    }

    /// Ends what is said of an integration's webhooks, if the service has switched none of them off any more: mappings
    /// that were deleted take theirs along.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn settle_record_webhooks(&self, integration: Uuid, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.write("looking after webhooks").await?;
        self.hold_business(&mut tx).await?;
        let changes = self.settle(&mut tx, Some(integration), now).await?;
        tx.commit().await?;
        self.store().alerts().note(&changes);
        Ok(())
    }

    async fn settle(&self, tx: &mut Tx, integration: Option<Uuid>, now: Timestamp) -> Result<Changes, StoreError> {
        let Some(integration) = integration else { return Ok(Changes::default()) };
        // Who weighs a condition holds the integration.
        tx.query("SELECT id FROM integrations WHERE business_id = $1 AND id = $2 FOR UPDATE")
            .bind(self.business())
            .bind(integration)
            .optional()
            .await?;
        let off: i64 = tx
            .query(
                "SELECT count(*) AS n FROM record_webhooks AS w JOIN mappings AS m ON m.id = w.mapping_id
                 WHERE w.business_id = $1 AND m.integration_id = $2 AND w.disabled_reason IS NOT NULL",
            )
            .bind(self.business())
            .bind(integration)
            .value("n")
            .await?;
        if off > 0 {
            return Ok(Changes::default());
        }
        self.resolve(tx, integration, &[AlertKind::WebhookFailure], now).await
    }

    /// Holds the integration that a webhook's records come from, before the webhook is written.
    pub(super) async fn hold_integration_of(&self, tx: &mut Tx, webhook: Uuid) -> Result<Option<Uuid>, StoreError> {
        let row = tx
            .query(
                "SELECT id FROM integrations WHERE business_id = $1 AND id = (SELECT m.integration_id FROM record_webhooks AS w
                 JOIN mappings AS m ON m.id = w.mapping_id WHERE w.business_id = $1 AND w.id = $2) FOR UPDATE",
            )
            .bind(self.business())
            .bind(webhook)
            .optional()
            .await?;
        row.map(|row| row.get("id")).transpose()
    }
}

fn webhook_cell(tenant: &Tenant, id: Uuid) -> Cell {
    Cell { table: "record_webhooks", column: "setting", row: id, owner: tenant.business() }
}

fn listed(fields: Option<&[String]>) -> Value {
    Value::Json(fields.map(|fields| json!(fields)))
}

pub(super) fn webhook(row: &Row) -> Result<RecordWebhook, StoreError> {
    let mapping_id = row.get("mapping_id")?;
    let fields: Option<serde_json::Value> = row.find("fields")?;
    let position = Place::Change { change: row.get("position_change")?, id: row.get("position_id")? };
    Ok(RecordWebhook {
        id: row.get("id")?,
        mapping_id,
        shown: row.get("shown")?,
        fields: fields.as_ref().map(crate::leads::tags),
        include_records: row.get("include_records")?,
        enabled: row.get("enabled")?,
        disabled_reason: row.find("disabled_reason")?,
        position: RecordCursor::new(mapping_id, position),
        attempts: row.get("attempts")?,
        next_attempt_at: row.find("next_attempt_at")?,
        last_success_at: row.find("last_success_at")?,
        last_failure_at: row.find("last_failure_at")?,
        last_error: row.find("last_error")?,
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
    })
}
