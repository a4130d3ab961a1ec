//! Channels: places to be told, with what leads there sealed.

use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::audit::Action;
use crate::error::StoreError;
use crate::keys::{BusinessLock, Cell};
use crate::open::Tenant;
use crate::sql::{Row, Tx};

/// How a channel is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChannelKind {
    /// A signed webhook.
    Webhook,
    /// A Slack-shaped webhook.
    Slack,
    /// A mail.
    Email,
}

impl ChannelKind {
    /// All of them.
    pub const ALL: [ChannelKind; 3] = [ChannelKind::Webhook, ChannelKind::Slack, ChannelKind::Email];

    /// Its name in the database and in the API.
    pub fn name(self) -> &'static str {
        match self {
            ChannelKind::Webhook => "webhook",
            ChannelKind::Slack => "slack",
            ChannelKind::Email => "email",
        }
    }

    /// From its name.
    pub fn from_name(name: &str) -> Option<Self> {
        ChannelKind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A channel, without what leads to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertChannel {
    /// UUID.
    pub id: Uuid,
    /// What people call it.
    pub name: String,
    /// How it is told.
    pub kind: ChannelKind,
    /// What may be shown of where it leads.
    pub shown: String,
    /// Whether it is told anything.
    pub enabled: bool,
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

/// A channel to be made.
#[derive(Debug)]
pub struct NewChannel<'a> {
    /// What people call it.
    pub name: &'a str,
    /// How it is told.
    pub kind: ChannelKind,
    /// What may be shown of where it leads.
    pub shown: &'a str,
    /// All of where it leads: sealed.
    pub setting: &'a [u8],
}

impl Tenant {
    /// Makes a channel; `None`, if there are `most` already.
    ///
    /// # Errors
    /// [`StoreError::Taken`], if there is one of that name.
    pub async fn create_alert_channel(
        &self,
        new: &NewChannel<'_>,
        most: u32,
        now: Timestamp,
    ) -> Result<Option<AlertChannel>, StoreError> {
        let id = Uuid::now_v7();
        let (mut tx, sealed) = self
            .write_sealed_holding(
                "making an alert channel",
                self.setting_of(id),
                Some(new.setting),
                BusinessLock::Alone,
            )
            .await?;
        if self.is_full(&mut tx, "SELECT count(*) AS n FROM alert_channels WHERE business_id = $1", most).await? {
            return Ok(None);
        }
        let row = tx
            .query(
                "INSERT INTO alert_channels (id, business_id, name, kind, shown, setting, created_at, updated_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $7) RETURNING *",
            )
            .bind(id)
            .bind(self.business())
            .bind(new.name)
            .bind(new.kind.name())
            .bind(new.shown)
            .bind(sealed)
            .bind(now)
            .one()
            .await
            .map_err(|e| e.or_taken(|| format!("there is an alert channel named `{}` already", new.name)))?;
        let detail = json!({"name": new.name, "kind": new.kind.name(), "leads_to": new.shown});
        self.note(&mut tx, Action::AlertCreated, Some(("alert_channel", id)), detail, now).await?;
        tx.commit().await?;
        alert_channel(&row).map(Some)
    }

    /// Whether a business has as many as it may. One at a time asks.
    pub(crate) async fn is_full(&self, tx: &mut Tx, count: &'static str, most: u32) -> Result<bool, StoreError> {
        tx.query("SELECT id FROM businesses WHERE id = $1 FOR NO KEY UPDATE").bind(self.business()).optional().await?;
        let there: i64 = tx.query(count).bind(self.business()).value("n").await?;
        Ok(there >= i64::from(most))
    }

    /// All channels, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn alert_channels(&self) -> Result<Vec<AlertChannel>, StoreError> {
        let mut tx = self.read("listing the alert channels").await?;
        let rows = tx
            .query("SELECT * FROM alert_channels WHERE business_id = $1 ORDER BY created_at, id")
            .bind(self.business())
            .all()
            .await?;
        rows.iter().map(alert_channel).collect()
    }

    /// One channel.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn alert_channel(&self, id: Uuid) -> Result<Option<AlertChannel>, StoreError> {
        let mut tx = self.read("reading an alert channel").await?;
        let row = tx
            .query("SELECT * FROM alert_channels WHERE business_id = $1 AND id = $2")
            .bind(self.business())
            .bind(id)
            .optional()
            .await?;
        row.as_ref().map(alert_channel).transpose()
    }

    /// Opens where a channel leads; `None`, if there is none.
    ///
    /// # Errors
    /// [`StoreError::Sealed`] with another master key, or for a row that was tampered with.
    pub async fn open_alert_channel(&self, id: Uuid) -> Result<Option<(AlertChannel, Zeroizing<Vec<u8>>)>, StoreError> {
        let mut refused = None;
        loop {
            let mut tx = self.read("reading an alert channel").await?;
            let row = tx
                .query("SELECT * FROM alert_channels WHERE business_id = $1 AND id = $2")
                .bind(self.business())
                .bind(id)
                .optional()
                .await?;
            drop(tx);
            let Some(row) = row else { return Ok(None) };
            let sealed: Vec<u8> = row.get("setting")?;
            match self.unseal(self.setting_of(id), &sealed).await {
                // Sealed anew meanwhile, unless it is what it was.
                Err(StoreError::Sealed { .. }) if refused.as_ref() != Some(&sealed) => refused = Some(sealed),
                opened => return Ok(Some((alert_channel(&row)?, opened?))),
            }
        }
    }

    /// Renames a channel, switches it, or leads it elsewhere; what is `None` stays. What waits for one that is switched off
    /// is not sent. `None`, if there is no such channel.
    ///
    /// # Errors
    /// [`StoreError::Taken`], if another one has that name.
    pub async fn update_alert_channel(
        &self,
        id: Uuid,
        name: Option<&str>,
        enabled: Option<bool>,
        leads_to: Option<(&str, &[u8])>,
        now: Timestamp,
    ) -> Result<Option<AlertChannel>, StoreError> {
        let setting = leads_to.map(|(_, setting)| setting);
        let (mut tx, sealed) = self
            .write_sealed_holding("changing an alert channel", self.setting_of(id), setting, BusinessLock::Share)
            .await?;
        let row = tx
            .query(
                "UPDATE alert_channels SET name = coalesce($1, name), enabled = coalesce($2, enabled),
                 shown = coalesce($3, shown), setting = coalesce($4, setting), updated_at = $5
                 WHERE business_id = $6 AND id = $7 RETURNING *",
            )
            .bind(name)
            .bind(enabled)
            .bind(leads_to.map(|(shown, _)| shown))
            .bind(sealed)
            .bind(now)
            .bind(self.business())
            .bind(id)
            .optional()
            .await
            .map_err(|e| {
                e.or_taken(|| format!("there is an alert channel named `{}` already", name.unwrap_or_default()))
            })?;
        let Some(channel) = row.as_ref().map(alert_channel).transpose()? else { return Ok(None) };
        if enabled == Some(false) {
            super::deliveries::give_up_all(&mut tx, self.business(), id, "the channel was switched off", now).await?;
        }
        let detail = json!({"renamed": name.is_some(), "enabled": channel.enabled, "leads_to": channel.shown});
        self.note(&mut tx, Action::AlertUpdated, Some(("alert_channel", id)), detail, now).await?;
        tx.commit().await?;
        Ok(Some(channel))
    }

    /// Keeps other secrets of a channel. `None`, if there is no such channel.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn rotate_alert_secret(
        &self,
        id: Uuid,
        setting: &[u8],
        now: Timestamp,
    ) -> Result<Option<AlertChannel>, StoreError> {
        let cell = self.setting_of(id);
        let (mut tx, sealed) =
            self.write_sealed_holding("keeping a signing secret", cell, Some(setting), BusinessLock::Share).await?;
        let row = tx
            .query("UPDATE alert_channels SET setting = $1, updated_at = $2 WHERE business_id = $3 AND id = $4 RETURNING *")
            .bind(sealed)
            .bind(now)
            .bind(self.business())
            .bind(id)
            .optional()
            .await?;
        let Some(channel) = row.as_ref().map(alert_channel).transpose()? else { return Ok(None) };
        self.note(&mut tx, Action::AlertKeyRotated, Some(("alert_channel", id)), json!({}), now).await?;
        tx.commit().await?;
        Ok(Some(channel))
    }

    /// Takes a channel out, with what it was sent. False if there is none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn delete_alert_channel(&self, id: Uuid, now: Timestamp) -> Result<bool, StoreError> {
        let mut tx = self.write("deleting an alert channel").await?;
        self.hold_business(&mut tx).await?;
        let gone = tx
            .query("DELETE FROM alert_channels WHERE business_id = $1 AND id = $2")
            .bind(self.business())
            .bind(id)
            .execute()
            .await?;
        if gone == 0 {
            return Ok(false);
        }
        self.note(&mut tx, Action::AlertDeleted, Some(("alert_channel", id)), json!({}), now).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Notes how a message went that is none of the outbox: a test.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn note_alert_channel(&self, id: Uuid, error: Option<&str>, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.write("noting how an alert channel does").await?;
        note_channel(&mut tx, self.business(), id, error, now).await?;
        tx.commit().await
    }

    fn setting_of(&self, id: Uuid) -> Cell {
        Cell { table: "alert_channels", column: "setting", row: id, owner: self.business() }
    }
}

/// Notes that a channel has taken a message, or why it has not.
pub(super) async fn note_channel(
    tx: &mut Tx,
    business: Uuid,
    id: Uuid,
    error: Option<&str>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let set = match error {
        None => "last_success_at = $1, last_error = $2",
        Some(_) => "last_failure_at = $1, last_error = $2",
    };
    tx.query(format!("UPDATE alert_channels SET {set} WHERE business_id = $3 AND id = $4"))
        .bind(now)
        .bind(error)
        .bind(business)
        .bind(id)
        .execute()
        .await?;
    Ok(())
}

pub(super) fn alert_channel(row: &Row) -> Result<AlertChannel, StoreError> {
    Ok(AlertChannel {
        id: row.get("id")?,
        name: row.get("name")?,
        kind: ChannelKind::from_name(&row.get::<String>("kind")?).unwrap_or(ChannelKind::Webhook),
        shown: row.get("shown")?,
        enabled: row.get("enabled")?,
        last_success_at: row.find("last_success_at")?,
        last_failure_at: row.find("last_failure_at")?,
        last_error: row.find("last_error")?,
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
    })
}
