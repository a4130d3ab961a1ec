//! What is sent to a webhook, and how far it has come: one worker at a time on each, however many nodes there are.
//!
//! A worker claims a webhook for a while (its lease), reads what comes behind the webhook's position, sends it, and moves the
//! position once the receiver has taken it. Before the first attempt it writes down where the message ends, so that every
//! attempt is of the same piece of the feed and has the same id. If the worker dies in between, the lease ends and the next
//! one sends the piece again: at least once, in order, and nothing is left out. What is sent is read anew for each attempt, and
//! kept nowhere: rows that have changed meanwhile have left the piece, and come in a later one.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::cursor::{Place, RecordCursor, joined};
use super::source::RecordSource;
use super::webhooks::{RecordWebhook, webhook};
use super::{chosen, page};
use crate::alerts::Changes;
use crate::audit::Action;
use crate::cleaned;
use crate::digest::Digest;
use crate::error::StoreError;
use crate::mappings::Mapping;
use crate::object_tables::Column;
use crate::open::{Store, Tenant};

/// Longest reason that is kept, in characters.
const REASON: usize = 500;
/// Records of one message.
const RECORDS: u32 = 100;
/// Bytes of records that a message may have beyond its first one.
const BYTES: usize = 256 * 1024;

/// The right to send to a webhook, until somebody else has it.
#[derive(Debug, Clone)]
pub struct ClaimedWebhook {
    /// The business it belongs to.
    pub tenant: Tenant,
    /// The webhook; its attempts have this one among them.
    pub webhook: RecordWebhook,
    position: (i64, String),
    sending: Option<(i64, String)>,
    rewinds: i64,
    fence: i64,
}

/// A piece of the feed, to be sent as one message.
#[derive(Debug)]
pub struct RecordBatch {
    /// Names the message, the same over all attempts.
    pub id: String,
    /// Whose records.
    pub mapping: Mapping,
    /// The run that wrote the newest of them; none, if nobody knows it any more.
    pub run: Option<Uuid>,
    /// Behind which place.
    pub from: RecordCursor,
    /// Up to which place.
    pub to: RecordCursor,
    /// When the newest of them was written here.
    pub written_at: String,
    /// Records in it.
    pub count: i64,
    /// Those of them that have gone.
    pub deleted: i64,
    /// The records, where the webhook is sent them.
    pub records: Option<Vec<Box<RawValue>>>,
}

/// How an attempt went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookAttempt {
    /// The receiver took it.
    Delivered,
    /// It is tried again.
    PutOff {
        /// When.
        until: Timestamp,
        /// What happened.
        reason: String,
    },
    /// Nothing more is tried: the webhook is switched off, and keeps its position.
    GivenUp {
        /// What happened.
        reason: String,
    },
}

impl Store {
    /// Claims the next webhook with something to be sent, of any business.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn claim_record_webhook(
        &self,
        now: Timestamp,
        lease: Duration,
    ) -> Result<Option<ClaimedWebhook>, StoreError> {
        let until = SignedDuration::try_from(lease).ok().and_then(|lease| now.checked_add(lease).ok());
        let mut tx = self.write("claiming a webhook").await?;
        let row = tx
            .query(
                "UPDATE record_webhooks SET attempts = attempts + 1, fence = fence + 1, leased_until = $2 WHERE id = (
                    SELECT w.id FROM record_webhooks AS w
                    WHERE w.enabled AND (w.leased_until IS NULL OR w.leased_until <= $1)
                    AND (w.next_attempt_at IS NULL OR w.next_attempt_at <= $1)
                    AND EXISTS (SELECT 1 FROM mapping_checkpoints AS c WHERE c.mapping_id = w.mapping_id
                        AND c.changes >= w.position_change)
                    ORDER BY coalesce(w.last_success_at, w.created_at), w.id LIMIT 1 FOR UPDATE SKIP LOCKED)
                 RETURNING *",
            )
            .bind(now)
            .bind(until.unwrap_or(Timestamp::MAX))
            .optional()
            .await?;
        let Some(row) = row else { return Ok(None) };
        let sending: Option<i64> = row.find("sending_change")?;
        let claimed = ClaimedWebhook {
            tenant: self.tenant(row.get("business_id")?, None),
            webhook: webhook(&row)?,
            position: (row.get("position_change")?, row.get("position_id")?),
            sending: sending.zip(row.find("sending_id")?),
            rewinds: row.get("rewinds")?,
            fence: row.get("fence")?,
        };
        tx.commit().await?;
        Ok(Some(claimed))
    }
}

impl ClaimedWebhook {
    /// What is to be sent now. `None`: nothing, and the claim is given back.
    ///
    /// # Errors
    /// [`StoreError`]; then it is tried again once the lease has ended.
    pub async fn batch(&mut self) -> Result<Option<RecordBatch>, StoreError> {
        // It ends: each round is behind another piece whose rows have all changed since.
        loop {
            let Some(mapping) = self.tenant.mapping(self.webhook.mapping_id).await? else { return Ok(None) };
            let Some(batch) = self.piece(mapping).await? else { return Ok(None) };
            if batch.count > 0 {
                return Ok(Some(batch));
            }
            let done = !self.pass_over().await?;
            if done {
                return Ok(None);
            }
        }
    }

    /// The piece behind the position, with its end written down; without rows, where all of it has changed since.
    async fn piece(&mut self, mapping: Mapping) -> Result<Option<RecordBatch>, StoreError> {
        let source = RecordSource::mapping(&mapping);
        let named: Vec<&str> = self.webhook.fields.iter().flatten().map(String::as_str).collect();
        // Columns that the mapping has no more are left out.
        let fields: Vec<&Column> = match &self.webhook.fields {
            Some(_) => named.iter().filter_map(|name| chosen(&source, &[*name]).ok()).flatten().collect(),
            None => source.columns().iter().collect(),
        };
        let mut tx = self.tenant.snapshot("reading what a webhook is sent").await?;
        let newest = page::newest(&mut tx, &source).await?;
        let id = source.compared("id", tx.is_postgres());
        let mut values = Vec::new();
        let mut conditions = vec![page::behind(&source, &id, self.position.0, &self.position.1, &mut values)];
        let up_to = |(change, last): &(i64, String), values: &mut Vec<crate::sql::Value>| {
            values.extend([(*change).into(), last.into()]);
            format!("({}, {id}) <= (${}, ${})", source.change(), values.len() - 1, values.len())
        };
        if let Some(end) = &self.sending {
            conditions.push(up_to(end, &mut values));
        }
        let behind_all = (newest.saturating_add(1), String::new());
        let order = format!("{}, {id}", source.change());
        let (records, end) = if self.webhook.include_records {
            let read =
                page::read(&mut tx, &source, &fields, &conditions, &order, values.clone(), RECORDS, BYTES).await?;
            let end = if read.more { read.last } else { self.sending.clone() };
            (Some(read.records), end.unwrap_or(behind_all))
        } else {
            (None, self.sending.clone().unwrap_or(behind_all))
        };
        if self.sending.is_none() {
            conditions.push(up_to(&end, &mut values));
        }
        let counted = tx
            .query(format!(
                "SELECT count(*) AS n, count({}) AS gone, max({}) AS change, max({}) AS written FROM {} WHERE {}",
                source.compared("_deleted", tx.is_postgres()),
                source.change(),
                source.told("_synced_at", tx.is_postgres()),
                source.from(),
                conditions.join(" AND ")
            ))
            .bind_all(values)
            .one()
            .await?;
        let (count, deleted): (i64, i64) = (counted.get("n")?, counted.get("gone")?);
        let written_at = counted.find("written")?.unwrap_or_default();
        let run = tx
            .query("SELECT id FROM runs WHERE mapping_id = $1 AND last_change >= $2 ORDER BY last_change LIMIT 1")
            .bind(mapping.id)
            .bind(counted.find::<i64>("change")?)
            .optional()
            .await?;
        let run = run.map(|row| row.get("id")).transpose()?;
        drop(tx);
        if self.sending.as_ref() != Some(&end) && !self.write_end(&end).await? {
            return Ok(None);
        }
        let place = |(change, id): &(i64, String)| Place::Change { change: *change, id: id.clone() };
        let (from, to) = (place(&self.position), place(&end));
        let name = format!("{}:{}:{}", self.webhook.id, self.rewinds, joined(&from, &to));
        let digest = Digest::of(name);
        let id: String = digest.as_bytes().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let (from, to) = (RecordCursor::new(mapping.id, from), RecordCursor::new(mapping.id, to));
        self.sending = Some(end);
        Ok(Some(RecordBatch { id: format!("msg_{id}"), mapping, run, from, to, written_at, count, deleted, records }))
    }

    /// False if this claim holds the webhook no more.
    async fn write_end(&self, (change, id): &(i64, String)) -> Result<bool, StoreError> {
        let mut tx = self.tenant.write("writing down where a message ends").await?;
        let held = tx
            .query(
                "UPDATE record_webhooks SET sending_change = $1, sending_id = $2
                 WHERE business_id = $3 AND id = $4 AND fence = $5",
            )
            .bind(*change)
            .bind(id)
            .bind(self.tenant.business())
            .bind(self.webhook.id)
            .bind(self.fence)
            .execute()
            .await?;
        tx.commit().await?;
        Ok(held > 0)
    }

    /// Goes on behind a piece without rows. False, if that was all, and the claim was given back or is lost.
    async fn pass_over(&mut self) -> Result<bool, StoreError> {
        let Some(end) = self.sending.take() else { return Ok(false) };
        let mut tx = self.tenant.write("moving a webhook's position").await?;
        // Whether there is more is asked in the statement that gives the claim back, or a step between the two would have
        // rung for nobody.
        let row = tx
            .query(
                "UPDATE record_webhooks SET position_change = $1, position_id = $2, sending_change = NULL, sending_id = NULL,
                 leased_until = CASE WHEN $1 <= (SELECT changes FROM mapping_checkpoints WHERE mapping_id = $3)
                    THEN leased_until END,
                 attempts = CASE WHEN $1 <= (SELECT changes FROM mapping_checkpoints WHERE mapping_id = $3)
                    THEN attempts ELSE 0 END
                 WHERE business_id = $4 AND id = $5 AND fence = $6 RETURNING leased_until",
            )
            .bind(end.0)
            .bind(&end.1)
            .bind(self.webhook.mapping_id)
            .bind(self.tenant.business())
            .bind(self.webhook.id)
            .bind(self.fence)
            .optional()
            .await?;
        tx.commit().await?;
        self.position = end;
        row.map_or(Ok(false), |row| Ok(row.find::<Timestamp>("leased_until")?.is_some()))
    }

    /// Notes how the attempt went. False if this claim holds the webhook no more.
    ///
    /// # Errors
    /// [`StoreError`]; then the message is sent again once the lease has ended.
    pub async fn note(&self, attempt: &WebhookAttempt, now: Timestamp) -> Result<bool, StoreError> {
        match attempt {
            WebhookAttempt::Delivered => {
                let mut tx = self.tenant.write("noting how a webhook went").await?;
                let held = tx
                    .query(
                        "UPDATE record_webhooks SET position_change = sending_change, position_id = sending_id,
                         sending_change = NULL, sending_id = NULL, attempts = 0, next_attempt_at = NULL,
                         leased_until = NULL, last_success_at = $1, last_error = NULL
                         WHERE business_id = $2 AND id = $3 AND fence = $4 AND sending_change IS NOT NULL",
                    )
                    .bind(now)
                    .bind(self.tenant.business())
                    .bind(self.webhook.id)
                    .bind(self.fence)
                    .execute()
                    .await?;
                tx.commit().await?;
                Ok(held > 0)
            }
            WebhookAttempt::PutOff { until, reason } => {
                let mut tx = self.tenant.write("noting how a webhook went").await?;
                let held = tx
                    .query(
                        "UPDATE record_webhooks SET next_attempt_at = $1, leased_until = NULL, last_failure_at = $2,
                         last_error = $3 WHERE business_id = $4 AND id = $5 AND fence = $6",
                    )
                    .bind(*until)
                    .bind(now)
                    .bind(cleaned::text(reason, REASON))
                    .bind(self.tenant.business())
                    .bind(self.webhook.id)
                    .bind(self.fence)
                    .execute()
                    .await?;
                tx.commit().await?;
                Ok(held > 0)
            }
            WebhookAttempt::GivenUp { reason } => self.give_up(&cleaned::text(reason, REASON), now).await,
        }
    }

    /// Switches the webhook off, and tells so.
    async fn give_up(&self, reason: &str, now: Timestamp) -> Result<bool, StoreError> {
        let (tenant, id) = (&self.tenant, self.webhook.id);
        let mut tx = tenant.write("switching a webhook off").await?;
        tenant.hold_business(&mut tx).await?;
        let integration = tenant.hold_integration_of(&mut tx, id).await?;
        let held = tx
            .query(
                "UPDATE record_webhooks SET enabled = $1, disabled_reason = $2, leased_until = NULL, last_failure_at = $3,
                 last_error = $2 WHERE business_id = $4 AND id = $5 AND fence = $6",
            )
            .bind(false)
            .bind(reason)
            .bind(now)
            .bind(tenant.business())
            .bind(id)
            .bind(self.fence)
            .execute()
            .await?;
        if held == 0 {
            return Ok(false);
        }
        let changes = match integration {
            Some(integration) => {
                tenant.raise_webhook_failure(&mut tx, integration, &self.webhook.shown, reason, now).await?
            }
            // Its records change no more.
            None => Changes::default(),
        };
        let detail = json!({"leads_to": self.webhook.shown, "reason": reason});
        tenant.note(&mut tx, Action::RecordWebhookDisabled, Some(("record_webhook", id)), detail, now).await?;
        tx.commit().await?;
        tenant.store().alerts().note(&changes);
        Ok(true)
    }
}
