//! Rules: from when on a condition is told, and to whom.

use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::{AlertKind, RuleSettings};
use crate::audit::Action;
use crate::error::StoreError;
use crate::open::Tenant;
use crate::sql::{Row, Tx};

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertRule {
    /// UUID.
    pub id: Uuid,
    /// See [`AlertKind`]; a newer program may have written one that this one does not know.
    pub kind: String,
    /// The integration that it speaks of; none: all of the business's.
    pub integration_id: Option<Uuid>,
    /// From when on.
    pub settings: RuleSettings,
    /// How long a channel that was told is told nothing more of the same.
    pub quiet_seconds: i64,
    /// Whether it counts. Where every rule that speaks of a condition is switched off, it is not even a notification.
    pub enabled: bool,
    /// Who is told.
    pub channels: Vec<Uuid>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its last change.
    pub updated_at: Timestamp,
}

/// A rule to be made.
#[derive(Debug)]
pub struct NewRule<'a> {
    /// Of what.
    pub kind: AlertKind,
    /// Of which integration.
    pub integration: Option<Uuid>,
    /// From when on.
    pub settings: RuleSettings,
    /// See [`AlertRule::quiet_seconds`].
    pub quiet_seconds: u32,
    /// See [`AlertRule::enabled`].
    pub enabled: bool,
    /// Who is told.
    pub channels: &'a [Uuid],
}

/// Changes; what is `None` stays.
#[derive(Debug, Default)]
pub struct RuleChange<'a> {
    /// All settings anew.
    pub settings: Option<RuleSettings>,
    /// See [`AlertRule::quiet_seconds`].
    pub quiet_seconds: Option<u32>,
    /// See [`AlertRule::enabled`].
    pub enabled: Option<bool>,
    /// All channels anew.
    pub channels: Option<&'a [Uuid]>,
}

/// What became of a rule that was to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SavedRule {
    /// It is kept.
    Done(AlertRule),
    /// There is no such rule.
    NoRule,
    /// There is no such integration.
    NoIntegration,
    /// There is no such channel.
    NoChannel,
    /// There are as many as there may be.
    Full,
}

impl Tenant {
    /// Makes a rule, unless there are `most` already.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn create_alert_rule(
        &self,
        new: &NewRule<'_>,
        most: u32,
        now: Timestamp,
    ) -> Result<SavedRule, StoreError> {
        let mut tx = self.write("making an alert rule").await?;
        if self.is_full(&mut tx, "SELECT count(*) AS n FROM alert_rules WHERE business_id = $1", most).await? {
            return Ok(SavedRule::Full);
        }
        if let Some(integration) = new.integration {
            let there = tx
                .query("SELECT id FROM integrations WHERE business_id = $1 AND id = $2")
                .bind(self.business())
                .bind(integration)
                .optional()
                .await?;
            if there.is_none() {
                return Ok(SavedRule::NoIntegration);
            }
        }
        let id = Uuid::now_v7();
        let row = tx
            .query(
                "INSERT INTO alert_rules (id, business_id, kind, integration_id, settings, quiet_seconds, enabled,
                 created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8) RETURNING *",
            )
            .bind(id)
            .bind(self.business())
            .bind(new.kind.name())
            .bind(new.integration)
            .bind(json!(new.settings))
            .bind(new.quiet_seconds)
            .bind(new.enabled)
            .bind(now)
            .one()
            .await?;
        if !self.set_channels(&mut tx, id, new.channels).await? {
            return Ok(SavedRule::NoChannel);
        }
        let rule = AlertRule { channels: self.channels_of(&mut tx, id).await?, ..alert_rule(&row)? };
        let detail = json!({"kind": rule.kind, "channels": rule.channels.len()});
        self.note(&mut tx, Action::AlertCreated, Some(("alert_rule", id)), detail, now).await?;
        tx.commit().await?;
        Ok(SavedRule::Done(rule))
    }

    /// All rules, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn alert_rules(&self) -> Result<Vec<AlertRule>, StoreError> {
        let mut tx = self.read("listing the alert rules").await?;
        let rows = tx
            .query("SELECT * FROM alert_rules WHERE business_id = $1 ORDER BY created_at, id")
            .bind(self.business())
            .all()
            .await?;
        let mut rules = rows.iter().map(alert_rule).collect::<Result<Vec<_>, _>>()?;
        let told = tx
            .query("SELECT rule_id, channel_id FROM alert_rule_channels WHERE business_id = $1 ORDER BY channel_id")
            .bind(self.business())
            .all()
            .await?;
        for row in told {
            let (of, channel): (Uuid, Uuid) = (row.get("rule_id")?, row.get("channel_id")?);
            if let Some(rule) = rules.iter_mut().find(|rule| rule.id == of) {
                rule.channels.push(channel);
            }
        }
        Ok(rules)
    }

    /// One rule.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn alert_rule(&self, id: Uuid) -> Result<Option<AlertRule>, StoreError> {
        let mut tx = self.read("reading an alert rule").await?;
        let row = tx
            .query("SELECT * FROM alert_rules WHERE business_id = $1 AND id = $2")
            .bind(self.business())
            .bind(id)
            .optional()
            .await?;
        let Some(rule) = row.as_ref().map(alert_rule).transpose()? else { return Ok(None) };
        Ok(Some(AlertRule { channels: self.channels_of(&mut tx, id).await?, ..rule }))
    }

    /// Changes a rule.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn update_alert_rule(
        &self,
        id: Uuid,
        change: &RuleChange<'_>,
        now: Timestamp,
    ) -> Result<SavedRule, StoreError> {
        let mut tx = self.write("changing an alert rule").await?;
        let row = tx
            .query(
                "UPDATE alert_rules SET settings = coalesce($1, settings), quiet_seconds = coalesce($2, quiet_seconds),
                 enabled = coalesce($3, enabled), updated_at = $4 WHERE business_id = $5 AND id = $6 RETURNING *",
            )
            .bind(change.settings.map(|settings| json!(settings)))
            .bind(change.quiet_seconds)
            .bind(change.enabled)
            .bind(now)
            .bind(self.business())
            .bind(id)
            .optional()
            .await?;
        let Some(rule) = row.as_ref().map(alert_rule).transpose()? else { return Ok(SavedRule::NoRule) };
        if let Some(channels) = change.channels
            && !self.set_channels(&mut tx, id, channels).await?
        {
            return Ok(SavedRule::NoChannel);
        }
        let rule = AlertRule { channels: self.channels_of(&mut tx, id).await?, ..rule };
        let detail = json!({"kind": rule.kind, "enabled": rule.enabled, "channels": rule.channels.len()});
        self.note(&mut tx, Action::AlertUpdated, Some(("alert_rule", id)), detail, now).await?;
        tx.commit().await?;
        Ok(SavedRule::Done(rule))
    }

    /// Takes a rule out. False if there is none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn delete_alert_rule(&self, id: Uuid, now: Timestamp) -> Result<bool, StoreError> {
        let mut tx = self.write("deleting an alert rule").await?;
        let gone = tx
            .query("DELETE FROM alert_rules WHERE business_id = $1 AND id = $2")
            .bind(self.business())
            .bind(id)
            .execute()
            .await?;
        if gone == 0 {
            return Ok(false);
        }
        self.note(&mut tx, Action::AlertDeleted, Some(("alert_rule", id)), json!({}), now).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// False if one of the channels is not there.
    async fn set_channels(&self, tx: &mut Tx, rule: Uuid, channels: &[Uuid]) -> Result<bool, StoreError> {
        let mut channels = channels.to_vec();
        channels.sort_unstable();
        channels.dedup();
        tx.query("DELETE FROM alert_rule_channels WHERE business_id = $1 AND rule_id = $2")
            .bind(self.business())
            .bind(rule)
            .execute()
            .await?;
        let there = tx
            .query(
                "INSERT INTO alert_rule_channels (business_id, rule_id, channel_id)
                 SELECT business_id, $2, id FROM alert_channels WHERE business_id = $1 AND id = ANY($3)",
            )
            .bind(self.business())
            .bind(rule)
            .bind(channels.clone())
            .execute()
            .await?;
        Ok(there == channels.len() as u64)
    }

    async fn channels_of(&self, tx: &mut Tx, rule: Uuid) -> Result<Vec<Uuid>, StoreError> {
        let rows = tx
            .query("SELECT channel_id FROM alert_rule_channels WHERE business_id = $1 AND rule_id = $2 ORDER BY channel_id")
            .bind(self.business())
            .bind(rule)
            .all()
            .await?;
        rows.iter().map(|row| row.get("channel_id")).collect()
    }
}

/// Settings that this program cannot read are the usual ones.
pub(super) fn settings(row: &Row) -> Result<RuleSettings, StoreError> {
    Ok(serde_json::from_value(row.get("settings")?).unwrap_or_default())
}

fn alert_rule(row: &Row) -> Result<AlertRule, StoreError> {
    Ok(AlertRule {
        id: row.get("id")?,
        kind: row.get("kind")?,
        integration_id: row.find("integration_id")?,
        settings: settings(row)?,
        quiet_seconds: row.get("quiet_seconds")?,
        enabled: row.get("enabled")?,
        channels: Vec::new(),
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
    })
}
