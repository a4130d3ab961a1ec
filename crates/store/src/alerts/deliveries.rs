//! Messages to be sent: one worker at a time on each, however many nodes there are.
//!
//! A worker claims a message for a while (its lease) and notes how the attempt went. If it dies in between, the lease ends
//! and the next one sends the same message again, under the same id: at least once. Each attempt has a greater number, and
//! a worker whose number is not the newest any more notes nothing.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use uuid::Uuid;

use super::channels::note_channel;
use crate::cleaned;
use crate::error::StoreError;
use crate::open::{Store, Tenant};
use crate::sql::{Row, Tx};

/// Longest reason that is kept, in characters.
const REASON: usize = 500;

/// A message as it was written down, and how its sending goes.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertDelivery {
    /// UUID. The message's id comes from it.
    pub id: Uuid,
    /// Where to.
    pub channel_id: Uuid,
    /// Of what; none: it tells how many were not sent.
    pub notification_id: Option<Uuid>,
    /// `opened`, `reminder`, `resolved` or `summary`.
    pub event: String,
    /// `waiting`, `delivered`, `failed`, `folded` (into a summary) or `superseded` (by a newer one).
    pub state: String,
    /// What is sent.
    pub payload: Value,
    /// Of a summary: how many messages it stands for.
    pub folded: i64,
    /// Attempts begun.
    pub attempts: i64,
    /// When it is due.
    pub next_attempt_at: Timestamp,
    /// What the other side answered: an HTTP status or a code of SMTP.
    pub status: Option<i64>,
    /// Why the last attempt failed.
    pub error: Option<String>,
    /// When it was written down.
    pub created_at: Timestamp,
    /// When it was delivered, given up, folded or superseded.
    pub ended_at: Option<Timestamp>,
}

/// The right to send a message, until somebody else has it.
#[derive(Debug, Clone)]
pub struct ClaimedDelivery {
    /// The business it belongs to.
    pub tenant: Tenant,
    /// The message; its attempts have this one among them.
    pub delivery: AlertDelivery,
}

/// How an attempt went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    /// The other side took it.
    Delivered {
        /// What it answered.
        status: u16,
    },
    /// It is tried again.
    PutOff {
        /// When.
        until: Timestamp,
        /// What happened.
        reason: String,
    },
    /// Nothing more is tried.
    GivenUp {
        /// What happened.
        reason: String,
        /// The other side wants nothing any more: the channel is switched off.
        disable: bool,
    },
}

impl Store {
    /// Claims the next message that is due, of any business. A channel is told one thing at a time, in order.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn claim_delivery(&self, now: Timestamp, lease: Duration) -> Result<Option<ClaimedDelivery>, StoreError> {
        let until = SignedDuration::try_from(lease).ok().and_then(|lease| now.checked_add(lease).ok());
        let mut tx = self.write("claiming a message of an alert").await?;
        let row = tx
            .query(
                "UPDATE alert_deliveries SET attempts = attempts + 1, leased_until = $2 WHERE id = (
                    SELECT d.id FROM alert_deliveries AS d
                    WHERE d.state = 'waiting' AND d.next_attempt_at <= $1 AND (d.leased_until IS NULL OR d.leased_until <= $1)
                    AND EXISTS (SELECT 1 FROM alert_channels AS c WHERE c.id = d.channel_id AND c.enabled)
                    AND NOT EXISTS (SELECT 1 FROM alert_deliveries AS o WHERE o.channel_id = d.channel_id
                        AND o.state = 'waiting' AND o.leased_until > $1)
                    ORDER BY d.next_attempt_at, d.id LIMIT 1 FOR UPDATE SKIP LOCKED)
                 RETURNING *",
            )
            .bind(now)
            .bind(until.unwrap_or(Timestamp::MAX))
            .optional()
            .await?;
        let Some(row) = row else { return Ok(None) };
        let tenant = self.tenant(row.get("business_id")?, None);
        let claimed = ClaimedDelivery { tenant, delivery: delivery(&row)? };
        tx.commit().await?;
        Ok(Some(claimed))
    }

    /// Whether a periodic look is due, which it then is for nobody else until so much time has passed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn take_alert_check(
        &self,
        name: &'static str,
        every: SignedDuration,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut tx = self.write("taking up a periodic check").await?;
        let taken = tx
            .query(
                "INSERT INTO alert_checks (name, ran_at) VALUES ($1, $2)
                 ON CONFLICT (name) DO UPDATE SET ran_at = excluded.ran_at WHERE alert_checks.ran_at <= $3",
            )
            .bind(name)
            .bind(now)
            .bind(now.saturating_sub(every).unwrap_or(Timestamp::MIN))
            .execute()
            .await?;
        tx.commit().await?;
        Ok(taken > 0)
    }
}

impl ClaimedDelivery {
    /// Notes how the attempt went. False if this claim holds the message no more.
    ///
    /// # Errors
    /// [`StoreError`]; then the message is sent again once the lease has ended.
    pub async fn note(&self, attempt: &Attempt, now: Timestamp) -> Result<bool, StoreError> {
        let (business, channel, id) = (self.tenant.business(), self.delivery.channel_id, self.delivery.id);
        let mut tx = self.tenant.write("noting how a message went").await?;
        // Channels before their messages, as everybody takes them.
        tx.query("SELECT id FROM alert_channels WHERE business_id = $1 AND id = $2 FOR UPDATE")
            .bind(business)
            .bind(channel)
            .optional()
            .await?;
        let (status, reason) = match attempt {
            Attempt::Delivered { status } => (Some(i64::from(*status)), None),
            Attempt::PutOff { reason, .. } | Attempt::GivenUp { reason, .. } => {
                (None, Some(cleaned::text(reason, REASON)))
            }
        };
        let (state, due) = match attempt {
            Attempt::Delivered { .. } => ("delivered", None),
            Attempt::PutOff { until, .. } => ("waiting", Some(*until)),
            Attempt::GivenUp { .. } => ("failed", None),
        };
        // What is newer says all that this one would: it is not tried again beside it.
        let held = tx
            .query(
                "UPDATE alert_deliveries SET leased_until = NULL, status = $1, error = $2,
                 next_attempt_at = coalesce($3, next_attempt_at),
                 state = CASE WHEN $4 = 'waiting' AND EXISTS (SELECT 1 FROM alert_deliveries AS n
                    WHERE n.business_id = $5 AND n.notification_id = alert_deliveries.notification_id
                    AND n.channel_id = alert_deliveries.channel_id AND n.id <> alert_deliveries.id
                    AND n.created_at >= alert_deliveries.created_at AND n.state IN ('waiting', 'delivered'))
                    THEN 'superseded' ELSE $4 END,
                 ended_at = CASE WHEN $4 = 'waiting' THEN NULL ELSE $8 END
                 WHERE business_id = $5 AND id = $6 AND attempts = $7 AND state = 'waiting'",
            )
            .bind(status)
            .bind(&reason)
            .bind(due)
            .bind(state)
            .bind(business)
            .bind(id)
            .bind(self.delivery.attempts)
            .bind(now)
            .execute()
            .await?;
        tx.query(
            "UPDATE alert_deliveries SET ended_at = $1
             WHERE business_id = $2 AND id = $3 AND state = 'superseded' AND ended_at IS NULL",
        )
        .bind(now)
        .bind(business)
        .bind(id)
        .execute()
        .await?;
        if held > 0 {
            note_channel(&mut tx, business, channel, reason.as_deref(), now).await?;
            if let Attempt::GivenUp { disable: true, .. } = attempt {
                tx.query("UPDATE alert_channels SET enabled = $1, updated_at = $2 WHERE business_id = $3 AND id = $4")
                    .bind(false)
                    .bind(now)
                    .bind(business)
                    .bind(channel)
                    .execute()
                    .await?;
                let why = "the other side wants nothing any more, and the channel was switched off";
                give_up_all(&mut tx, business, channel, why, now).await?;
            }
        }
        tx.commit().await?;
        Ok(held > 0)
    }
}

impl Tenant {
    /// The messages of a notification, oldest first, at most `limit` of the newest.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn alert_deliveries(&self, notification: Uuid, limit: u32) -> Result<Vec<AlertDelivery>, StoreError> {
        let mut tx = self.read("listing the messages of a notification").await?;
        let rows = tx
            .query(
                "SELECT * FROM alert_deliveries WHERE business_id = $1 AND notification_id = $2
                 ORDER BY created_at DESC, id DESC LIMIT $3",
            )
            .bind(self.business())
            .bind(notification)
            .bind(limit)
            .all()
            .await?;
        rows.iter().rev().map(delivery).collect()
    }

    /// How many messages have yet to be taken by somebody.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn waiting_deliveries(&self) -> Result<i64, StoreError> {
        let mut tx = self.read("counting the messages that wait").await?;
        let waiting = "SELECT count(*) AS n FROM alert_deliveries WHERE business_id = $1 AND state = 'waiting'";
        tx.query(waiting).bind(self.business()).value("n").await
    }
}

/// Ends all that waits for a channel. What is under way ends by itself.
pub(super) async fn give_up_all(
    tx: &mut Tx,
    business: Uuid,
    channel: Uuid,
    why: &'static str,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.query(
        "UPDATE alert_deliveries SET state = 'failed', error = $1, ended_at = $2
         WHERE business_id = $3 AND channel_id = $4 AND state = 'waiting'",
    )
    .bind(why)
    .bind(now)
    .bind(business)
    .bind(channel)
    .execute()
    .await?;
    Ok(())
}

fn delivery(row: &Row) -> Result<AlertDelivery, StoreError> {
    Ok(AlertDelivery {
        id: row.get("id")?,
        channel_id: row.get("channel_id")?,
        notification_id: row.find("notification_id")?,
        event: row.get("event")?,
        state: row.get("state")?,
        payload: row.get("payload")?,
        folded: row.get("folded")?,
        attempts: row.get("attempts")?,
        next_attempt_at: row.get("next_attempt_at")?,
        status: row.find("status")?,
        error: row.find("error")?,
        created_at: row.get("created_at")?,
        ended_at: row.find("ended_at")?,
    })
}
