//! Who is told of what: messages written down for channels, and folded where there are too many.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use super::raise::Audience;
use super::{Notification, NotificationState};
use crate::error::StoreError;
use crate::open::Tenant;
use crate::sql::Tx;

/// Messages of one channel within an hour. What comes beyond them is counted, and told as one.
pub const MESSAGES_PER_HOUR: i64 = 30;

const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// What a channel has heard last of a notification.
struct Heard {
    event: String,
    at: Timestamp,
}

impl Tenant {
    /// The channels that have heard of any of these.
    pub(super) async fn channels_told_of(
        &self,
        tx: &mut Tx,
        notifications: &[Notification],
    ) -> Result<BTreeSet<Uuid>, StoreError> {
        let ids: Vec<Uuid> = notifications.iter().map(|notification| notification.id).collect();
        if ids.is_empty() {
            return Ok(BTreeSet::new());
        }
        let rows = tx
            .query(
                "SELECT DISTINCT channel_id FROM alert_deliveries WHERE business_id = $1 AND notification_id = ANY($2)",
            )
            .bind(self.business())
            .bind(ids)
            .all()
            .await?;
        rows.iter().map(|row| row.get("channel_id")).collect()
    }

    /// Those of the channels that are switched on, held until the transaction ends: how many messages one has had in the
    /// last hour is counted by one at a time.
    pub(super) async fn lock_channels(
        &self,
        tx: &mut Tx,
        channels: BTreeSet<Uuid>,
    ) -> Result<BTreeSet<Uuid>, StoreError> {
        if channels.is_empty() {
            return Ok(channels);
        }
        let rows = tx
            .query("SELECT id FROM alert_channels WHERE business_id = $1 AND id = ANY($2) AND enabled ORDER BY id FOR UPDATE")
            .bind(self.business())
            .bind(channels.into_iter().collect::<Vec<_>>())
            .all()
            .await?;
        rows.iter().map(|row| row.get("id")).collect()
    }

    /// Tells an audience that a condition holds: each channel when it has not heard of it, and again after its quiet time,
    /// unless somebody has acknowledged it. How many messages are to be sent.
    pub(super) async fn tell(
        &self,
        tx: &mut Tx,
        notification: &Notification,
        audience: &Audience,
        listening: &BTreeSet<Uuid>,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        if notification.state != NotificationState::Open {
            return Ok(0);
        }
        let mut queued = 0;
        for (channel, quiet) in audience.iter().filter(|(channel, _)| listening.contains(channel)) {
            let event = match self.heard(tx, notification.id, *channel).await? {
                None => "opened",
                Some(heard) if now.duration_since(heard.at) < *quiet => continue,
                Some(heard) if heard.event == "resolved" => "opened",
                Some(_) => "reminder",
            };
            queued += self.write_message(tx, notification, *channel, event, now).await?;
        }
        Ok(queued)
    }

    /// Tells each channel once that what it has heard of is over.
    pub(super) async fn tell_of_the_end(
        &self,
        tx: &mut Tx,
        ended: &[Notification],
        listening: &BTreeSet<Uuid>,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let mut queued = 0;
        for channel in listening {
            let mut newest = None;
            for notification in ended {
                if self.heard(tx, notification.id, *channel).await?.is_some_and(|heard| heard.event != "resolved") {
                    newest = Some(notification);
                }
            }
            if let Some(notification) = newest {
                queued += self.write_message(tx, notification, *channel, "resolved", now).await?;
            }
        }
        Ok(queued)
    }

    async fn heard(&self, tx: &mut Tx, notification: Uuid, channel: Uuid) -> Result<Option<Heard>, StoreError> {
        let row = tx
            .query(
                "SELECT event, created_at FROM alert_deliveries WHERE business_id = $1 AND notification_id = $2
                 AND channel_id = $3 ORDER BY created_at DESC, id DESC LIMIT 1",
            )
            .bind(self.business())
            .bind(notification)
            .bind(channel)
            .optional()
            .await?;
        row.map(|row| Ok(Heard { event: row.get("event")?, at: row.get("created_at")? })).transpose()
    }

    /// Writes a message down, or counts it to those that are folded. What the channel was still to hear of this
    /// notification is out of date, and is not sent any more.
    async fn write_message(
        &self,
        tx: &mut Tx,
        notification: &Notification,
        channel: Uuid,
        event: &'static str,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        tx.query(
            "UPDATE alert_deliveries SET state = 'superseded', ended_at = $1 WHERE business_id = $2 AND notification_id = $3
             AND channel_id = $4 AND state = 'waiting' AND (leased_until IS NULL OR leased_until <= $1)",
        )
        .bind(now)
        .bind(self.business())
        .bind(notification.id)
        .bind(channel)
        .execute()
        .await?;
        let sent: i64 = tx
            .query(
                "SELECT count(*) AS n FROM alert_deliveries WHERE business_id = $1 AND channel_id = $2 AND created_at > $3
                 AND state <> 'folded' AND event <> 'summary'",
            )
            .bind(self.business())
            .bind(channel)
            .bind(now.saturating_sub(HOUR).unwrap_or(Timestamp::MIN))
            .value("n")
            .await?;
        let folded = sent >= MESSAGES_PER_HOUR;
        let payload = self.payload(tx, notification, event, now).await?;
        tx.query(
            "INSERT INTO alert_deliveries (id, business_id, channel_id, notification_id, event, state, payload,
             next_attempt_at, created_at, ended_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, $9)",
        )
        .bind(Uuid::now_v7())
        .bind(self.business())
        .bind(channel)
        .bind(notification.id)
        .bind(event)
        .bind(if folded { "folded" } else { "waiting" })
        .bind(payload)
        .bind(now)
        .bind(folded.then_some(now))
        .execute()
        .await?;
        if folded {
            self.fold(tx, channel, now).await?;
        }
        Ok(u64::from(!folded))
    }

    /// What is sent: the notification as it is now. Every attempt sends the same.
    async fn payload(
        &self,
        tx: &mut Tx,
        notification: &Notification,
        event: &str,
        now: Timestamp,
    ) -> Result<Value, StoreError> {
        let named = tx
            .query("SELECT name FROM integrations WHERE business_id = $1 AND id = $2")
            .bind(self.business())
            .bind(notification.integration_id)
            .optional()
            .await?;
        let name: Option<String> = named.map(|row| row.get("name")).transpose()?;
        Ok(json!({
            "type": format!("notification.{event}"),
            "timestamp": now,
            "data": {
                "id": notification.id, "kind": notification.kind, "business_id": self.business(),
                "integration": notification.integration_id.map(|id| json!({"id": id, "name": name})),
                "severity": notification.severity, "state": notification.state, "title": notification.title,
                "detail": notification.detail, "hint": notification.hint, "count": notification.count,
                "opened_at": notification.opened_at, "last_at": notification.last_at,
                "resolved_at": notification.resolved_at,
            },
        }))
    }

    /// Counts one more to the message that tells of those that are not sent. It goes an hour after the first of them.
    async fn fold(&self, tx: &mut Tx, channel: Uuid, now: Timestamp) -> Result<(), StoreError> {
        tx.query(
            "INSERT INTO alert_deliveries (id, business_id, channel_id, event, state, folded, next_attempt_at, created_at)
             VALUES ($1, $2, $3, 'summary', 'waiting', 1, $4, $5)
             ON CONFLICT (channel_id) WHERE event = 'summary' AND state = 'waiting' AND attempts = 0
             DO UPDATE SET folded = alert_deliveries.folded + 1",
        )
        .bind(Uuid::now_v7())
        .bind(self.business())
        .bind(channel)
        .bind(now.saturating_add(HOUR).unwrap_or(now))
        .bind(now)
        .execute()
        .await?;
        Ok(())
    }
}
