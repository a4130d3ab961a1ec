//! What becomes of a condition: a notification opens, is counted up, comes back, or ends.
//!
//! All of it happens within the transaction that notes the condition, which holds the integration's row: two that find the
//! same at once come one after the other.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::notifications::notification;
use super::steps::{RuleSettings, Step};
use super::{AlertKind, Notification, QUIET_SECONDS, Severity};
use crate::cleaned;
use crate::error::StoreError;
use crate::open::Tenant;
use crate::sql::Tx;

/// Longest title, and longest detail or hint, in characters.
const TITLE: usize = 200;
const TEXT: usize = 1_000;

/// A condition, measured.
#[derive(Debug)]
pub(super) struct Alarm {
    pub(super) kind: AlertKind,
    pub(super) integration: Uuid,
    /// Failures, per cent or days left; 0 where there is nothing to measure.
    pub(super) measure: i64,
    pub(super) severity: Severity,
    pub(super) title: String,
    pub(super) detail: String,
    pub(super) hint: String,
}

/// What a transaction has changed.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Notifications that are new, or were resolved and are open again.
    pub(crate) opened: Vec<AlertKind>,
    /// Those that were open already.
    pub(crate) counted: u64,
    pub(crate) resolved: Vec<AlertKind>,
    /// Messages to be sent.
    pub(crate) queued: u64,
}

impl Changes {
    /// All that another part of the transaction has changed, too.
    pub(crate) fn add(&mut self, other: Changes) {
        self.opened.extend(other.opened);
        self.resolved.extend(other.resolved);
        self.counted += other.counted;
        self.queued += other.queued;
    }
}

/// A channel, and for how long it is told nothing more of the same.
pub(super) type Audience = BTreeMap<Uuid, SignedDuration>;

/// A rule as far as it is needed here.
struct Applying {
    settings: RuleSettings,
    quiet: SignedDuration,
    enabled: bool,
    channels: Vec<Uuid>,
}

fn key(kind: AlertKind, integration: Uuid, step: Step) -> String {
    let step = step.map(|step| format!(":{step}")).unwrap_or_default();
    format!("{}:{integration}{step}", kind.name())
}

impl Tenant {
    /// Weighs a condition by the rules: raises what it has reached, and ends what it has not.
    pub(super) async fn weigh(&self, tx: &mut Tx, alarm: &Alarm, now: Timestamp) -> Result<Changes, StoreError> {
        let rules = self.applying_rules(tx, alarm.kind, alarm.integration).await?;
        let mut told: BTreeMap<Step, (SignedDuration, Audience)> = BTreeMap::new();
        let mut holding = BTreeSet::new();
        for rule in rules.iter().filter(|rule| rule.enabled) {
            let Some(reached) = rule.settings.reached(alarm.kind, alarm.measure) else { continue };
            holding.extend(reached.all.into_iter().map(|step| key(alarm.kind, alarm.integration, step)));
            let (quiet, audience) = told.entry(reached.now).or_insert((rule.quiet, Audience::new()));
            *quiet = (*quiet).max(rule.quiet);
            for channel in &rule.channels {
                let after = audience.entry(*channel).or_insert(rule.quiet);
                *after = (*after).min(rule.quiet);
            }
        }
        let ending = self.open_notifications(tx, alarm.integration, &[alarm.kind]).await?;
        let ending: Vec<Notification> = ending.into_iter().filter(|open| !holding.contains(&open.dedup_key)).collect();
        // All at once and in one order, or two that tell the same channels would wait for each other.
        let mut channels = self.channels_told_of(tx, &ending).await?;
        channels.extend(told.values().flat_map(|(_, audience)| audience.keys().copied()));
        let listening = self.lock_channels(tx, channels).await?;
        let mut changes = Changes::default();
        self.end(tx, ending, &listening, &mut changes, now).await?;
        for (step, (quiet, audience)) in told {
            let raised = self.raise(tx, alarm, step, quiet, &mut changes, now).await?;
            changes.queued += self.tell(tx, &raised, &audience, &listening, now).await?;
        }
        Ok(changes)
    }

    /// Ends all conditions of these kinds that an integration is in.
    pub(crate) async fn resolve(
        &self,
        tx: &mut Tx,
        integration: Uuid,
        kinds: &[AlertKind],
        now: Timestamp,
    ) -> Result<Changes, StoreError> {
        let mut changes = Changes::default();
        let ending = self.open_notifications(tx, integration, kinds).await?;
        if !ending.is_empty() {
            let channels = self.channels_told_of(tx, &ending).await?;
            let listening = self.lock_channels(tx, channels).await?;
            self.end(tx, ending, &listening, &mut changes, now).await?;
        }
        Ok(changes)
    }

    /// The rules of a kind that speak of an integration. Where a business has said nothing, the usual one stands, which
    /// tells no channel.
    async fn applying_rules(
        &self,
        tx: &mut Tx,
        kind: AlertKind,
        integration: Uuid,
    ) -> Result<Vec<Applying>, StoreError> {
        let rows = tx
            .query(
                "SELECT r.id, r.settings, r.quiet_seconds, r.enabled, c.channel_id FROM alert_rules AS r
                 LEFT JOIN alert_rule_channels AS c ON c.rule_id = r.id
                 WHERE r.business_id = $1 AND r.kind = $2 AND (r.integration_id IS NULL OR r.integration_id = $3)
                 ORDER BY r.id",
            )
            .bind(self.business())
            .bind(kind.name())
            .bind(integration)
            .all()
            .await?;
        let mut rules: BTreeMap<Uuid, Applying> = BTreeMap::new();
        for row in &rows {
            let rule = match rules.entry(row.get("id")?) {
                std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::btree_map::Entry::Vacant(new) => new.insert(Applying {
                    settings: super::rules::settings(row)?,
                    quiet: SignedDuration::from_secs(row.get("quiet_seconds")?),
                    enabled: row.get("enabled")?,
                    channels: Vec::new(),
                }),
            };
            rule.channels.extend(row.find::<Uuid>("channel_id")?);
        }
        if rules.is_empty() {
            let quiet = SignedDuration::from_secs(QUIET_SECONDS.into());
            return Ok(vec![Applying {
                settings: RuleSettings::default(),
                quiet,
                enabled: true,
                channels: Vec::new(),
            }]);
        }
        Ok(rules.into_values().collect())
    }

    async fn open_notifications(
        &self,
        tx: &mut Tx,
        integration: Uuid,
        kinds: &[AlertKind],
    ) -> Result<Vec<Notification>, StoreError> {
        let kinds: Vec<String> = kinds.iter().map(|kind| kind.name().to_owned()).collect();
        let rows = tx
            .query(
                "SELECT * FROM notifications WHERE business_id = $1 AND integration_id = $2 AND state <> 'resolved'
                 AND kind = ANY($3) ORDER BY opened_at, id",
            )
            .bind(self.business())
            .bind(integration)
            .bind(kinds)
            .all()
            .await?;
        rows.iter().map(notification).collect()
    }

    /// Opens the notification of a step, counts it up if it is open, or opens the one that was resolved a short while ago
    /// again: a condition that comes and goes is one.
    async fn raise(
        &self,
        tx: &mut Tx,
        alarm: &Alarm,
        step: Step,
        quiet: SignedDuration,
        changes: &mut Changes,
        now: Timestamp,
    ) -> Result<Notification, StoreError> {
        let key = key(alarm.kind, alarm.integration, step);
        let (title, detail) = (cleaned::text(&alarm.title, TITLE), cleaned::text(&alarm.detail, TEXT));
        let hint = cleaned::text(&alarm.hint, TEXT);
        let counted = tx
            .query(
                "UPDATE notifications SET count = count + 1, last_at = $1, severity = $2, title = $3, detail = $4, hint = $5
                 WHERE business_id = $6 AND dedup_key = $7 AND state <> 'resolved' RETURNING *",
            )
            .bind(now)
            .bind(alarm.severity.name())
            .bind(&title)
            .bind(&detail)
            .bind(&hint)
            .bind(self.business())
            .bind(&key)
            .optional()
            .await?;
        if let Some(row) = counted {
            changes.counted += 1;
            return notification(&row);
        }
        changes.opened.push(alarm.kind);
        let again = tx
            .query(
                "UPDATE notifications SET count = count + 1, last_at = $1, severity = $2, title = $3, detail = $4, hint = $5,
                 state = CASE WHEN acknowledged_at IS NULL THEN 'open' ELSE 'acknowledged' END, resolved_at = NULL
                 WHERE business_id = $6 AND id = (SELECT id FROM notifications WHERE business_id = $6 AND dedup_key = $7
                    AND state = 'resolved' AND resolved_at > $8 ORDER BY resolved_at DESC, id DESC LIMIT 1) RETURNING *",
            )
            .bind(now)
            .bind(alarm.severity.name())
            .bind(&title)
            .bind(&detail)
            .bind(&hint)
            .bind(self.business())
            .bind(&key)
            .bind(now.saturating_sub(quiet).unwrap_or(Timestamp::MIN))
            .optional()
            .await?;
        if let Some(row) = again {
            return notification(&row);
        }
        let row = tx
            .query(
                "INSERT INTO notifications (id, business_id, dedup_key, kind, integration_id, severity, title, detail, hint,
                 state, opened_at, last_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'open', $10, $10)
                 ON CONFLICT (business_id, dedup_key) WHERE state <> 'resolved'
                 DO UPDATE SET count = notifications.count + 1, last_at = excluded.last_at RETURNING *",
            )
            .bind(Uuid::now_v7())
            .bind(self.business())
            .bind(&key)
            .bind(alarm.kind.name())
            .bind(alarm.integration)
            .bind(alarm.severity.name())
            .bind(&title)
            .bind(&detail)
            .bind(&hint)
            .bind(now)
            .one()
            .await?;
        notification(&row)
    }

    /// Resolves notifications, and tells whoever was told of them; of several at once each channel is told once.
    async fn end(
        &self,
        tx: &mut Tx,
        ending: Vec<Notification>,
        listening: &BTreeSet<Uuid>,
        changes: &mut Changes,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut ended = Vec::new();
        for open in ending {
            let row = tx
                .query(
                    "UPDATE notifications SET state = 'resolved', resolved_at = $1 WHERE business_id = $2 AND id = $3
                     RETURNING *",
                )
                .bind(now)
                .bind(self.business())
                .bind(open.id)
                .one()
                .await?;
            let open = notification(&row)?;
            changes.resolved.extend(AlertKind::from_name(&open.kind));
            ended.push(open);
        }
        if !ended.is_empty() {
            changes.queued += self.tell_of_the_end(tx, &ended, listening, now).await?;
        }
        Ok(())
    }
}
