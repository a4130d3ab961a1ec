//! Where conditions come from: what is noted of an integration, and what was found at a look around.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use uuid::Uuid;

use super::failing::told;
use super::raise::{Alarm, Changes};
use super::{AlertKind, Severity};
use crate::error::StoreError;
use crate::integration_logs::{Event, Level, write_log};
use crate::integrations::Status;
use crate::open::Tenant;
use crate::runs;
use crate::sql::Tx;
use crate::sync_work::Work;

/// Seconds of a day.
const DAY: i64 = 24 * 60 * 60;
/// Days before a certificate's end from which on it is more than a warning.
const CERTIFICATE_ERROR: i64 = 7;
/// Per cent of the org's calls from which on it is more than a warning.
const BUDGET_ERROR: i64 = 95;

/// Something that failed with an integration.
#[derive(Debug, Clone, Copy)]
pub struct Failure<'a> {
    /// Somebody must log in to the org, or change its settings.
    pub needs_person: bool,
    /// It was a sync run: runs are counted.
    pub is_run: bool,
    /// What the run was of; none: a caller has found it out.
    pub work: Option<Work>,
    /// The run, if one has begun.
    pub run: Option<Uuid>,
    /// What happened.
    pub reason: &'a str,
    /// What to do.
    pub hint: &'a str,
}

/// The org's API calls within 24 hours, as it has told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiCalls {
    /// Made by everybody in the org.
    pub used: u64,
    /// Allowed.
    pub allowed: u64,
}

impl Tenant {
    /// Notes that something failed: the integration's status, what of it fails, an entry of its log and the notification are
    /// one transaction. A login that has failed is told by the log once, until the notification is over. Nothing is noted of
    /// an integration that somebody has disconnected.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn note_failure(&self, id: Uuid, failure: &Failure<'_>, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.write("noting a failure of the integration").await?;
        self.hold_business(&mut tx).await?;
        let row = tx
            .query(
                "UPDATE integrations SET status = $1, status_reason = $2, updated_at = $3, failed_runs = failed_runs + $4
                 WHERE business_id = $5 AND id = $6 AND status <> 'inactive' RETURNING name, failed_runs",
            )
            .bind(Status::Error.name())
            .bind(failure.reason)
            .bind(now)
            .bind(i64::from(failure.is_run))
            .bind(self.business())
            .bind(id)
            .optional()
            .await?;
        let Some(row) = row else { return Ok(()) };
        let (name, mut failures): (String, i64) = (row.get("name")?, row.get("failed_runs")?);
        if let Some(work) = failure.work {
            let noted = self.note_failing(&mut tx, (id, work), failure.needs_person, failure.reason, now).await?;
            failures = noted.unwrap_or(failures);
        }
        let (kind, event, title) = if failure.needs_person {
            (AlertKind::AuthFailure, Event::AuthFailure, format!("`{name}` needs somebody to log in"))
        } else {
            (AlertKind::SyncFailure, Event::SyncError, format!("the sync of `{name}` fails"))
        };
        let alarm = Alarm {
            kind,
            integration: id,
            measure: failures,
            severity: Severity::Error,
            title,
            detail: failure.reason.to_owned(),
            hint: failure.hint.to_owned(),
        };
        let changes = self.weigh(&mut tx, &alarm, now).await?;
        if !failure.needs_person || changes.counted == 0 {
            let mut detail = json!({});
            if let Some(run) = failure.run {
                let row = tx.query("SELECT * FROM runs WHERE business_id = $1 AND id = $2");
                let row = row.bind(self.business()).bind(run).optional().await?;
                detail = row.as_ref().map(runs::run).transpose()?.as_ref().map_or(detail, told);
            }
            detail["hint"] = failure.hint.into();
            write_log(&mut tx, self.business(), Some(id), event, Level::Error, failure.reason, detail, now).await?;
        }
        tx.commit().await?;
        self.store().alerts().note(&changes);
        Ok(())
    }

    /// Weighs how much of its API calls an org has used.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn note_api_calls(&self, id: Uuid, calls: ApiCalls, now: Timestamp) -> Result<(), StoreError> {
        if calls.allowed == 0 {
            return Ok(());
        }
        let percent = calls.used.saturating_mul(100) / calls.allowed;
        let percent = i64::try_from(percent).unwrap_or(i64::MAX);
        let Some((mut tx, name)) = self.look_at("weighing an org's API calls", id).await? else { return Ok(()) };
        let alarm = Alarm {
            kind: AlertKind::ApiBudget,
            integration: id,
            measure: percent,
            severity: if percent >= BUDGET_ERROR { Severity::Error } else { Severity::Warning },
            title: format!("`{name}` has used {percent} % of its API calls"),
            detail: format!("{} of {} calls within 24 hours are used, by everybody in the org", calls.used, calls.allowed),
            hint: "sync less often, keep a reserve (api_reserve) for others, or find who calls in the org's setup, under API Usage"
                .to_owned(),
        };
        let changes = self.weigh(&mut tx, &alarm, now).await?;
        self.keep_look(tx, id, &alarm, changes, Event::ApiBudgetLow, now).await
    }

    /// Weighs how near the end of a certificate is.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn note_certificate(&self, id: Uuid, not_after: Timestamp, now: Timestamp) -> Result<(), StoreError> {
        let left = not_after.duration_since(now);
        let days = days(left);
        let Some((mut tx, name)) = self.look_at("weighing a certificate's end", id).await? else { return Ok(()) };
        let ends = match days {
            ..=0 => "has ended".to_owned(),
            1 => "ends within a day".to_owned(),
            days => format!("ends in {days} days"),
        };
        let alarm = Alarm {
            kind: AlertKind::CertificateExpiry,
            integration: id,
            measure: days,
            severity: if days <= CERTIFICATE_ERROR { Severity::Error } else { Severity::Warning },
            title: format!("the certificate of `{name}` {ends}"),
            detail: format!("it is good until {not_after}"),
            hint: "make a new one (`tieline setup rotate-certificate`), and give it to the integration".to_owned(),
        };
        let changes = self.weigh(&mut tx, &alarm, now).await?;
        self.keep_look(tx, id, &alarm, changes, Event::CertificateExpiring, now).await
    }

    /// Ends what is said of a certificate that is not known any more.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn forget_certificate(&self, id: Uuid, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.write("forgetting a certificate").await?;
        self.hold_business(&mut tx).await?;
        let changes = self.resolve(&mut tx, id, &[AlertKind::CertificateExpiry], now).await?;
        tx.commit().await?;
        self.store().alerts().note(&changes);
        Ok(())
    }

    /// Tells that a webhook of an integration's records was switched off, in a transaction that holds the integration.
    pub(crate) async fn raise_webhook_failure(
        &self,
        tx: &mut Tx,
        integration: Uuid,
        leads_to: &str,
        reason: &str,
        now: Timestamp,
    ) -> Result<Changes, StoreError> {
        let hint = "see to the receiver, then switch the webhook on: PATCH /api/webhooks/{id} {\"enabled\": true}; it goes on where it stopped";
        let alarm = Alarm {
            kind: AlertKind::WebhookFailure,
            integration,
            measure: 0,
            severity: Severity::Error,
            title: format!("the webhook to `{leads_to}` was switched off"),
            detail: reason.to_owned(),
            hint: hint.to_owned(),
        };
        let changes = self.weigh(tx, &alarm, now).await?;
        let (event, detail) = (Event::WebhookDisabled, json!({"detail": reason, "hint": hint}));
        write_log(tx, self.business(), Some(integration), event, Level::Error, &alarm.title, detail, now).await?;
        Ok(changes)
    }

    /// The integration held, with its name; none, if there is none in use.
    async fn look_at(&self, doing: &'static str, id: Uuid) -> Result<Option<(Tx, String)>, StoreError> {
        let mut tx = self.write(doing).await?;
        self.hold_business(&mut tx).await?;
        let row = tx
            .query(
                "SELECT name FROM integrations WHERE business_id = $1 AND id = $2 AND status <> 'inactive' FOR UPDATE",
            )
            .bind(self.business())
            .bind(id)
            .optional()
            .await?;
        row.map(|row| Ok((tx, row.get("name")?))).transpose()
    }

    async fn keep_look(
        &self,
        mut tx: Tx,
        id: Uuid,
        alarm: &Alarm,
        changes: Changes,
        event: Event,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if !changes.opened.is_empty() {
            let level = if alarm.severity == Severity::Error { Level::Error } else { Level::Warning };
            let detail = json!({"detail": alarm.detail, "hint": alarm.hint});
            write_log(&mut tx, self.business(), Some(id), event, level, &alarm.title, detail, now).await?;
        }
        tx.commit().await?;
        self.store().alerts().note(&changes);
        Ok(())
    }

    /// Holds the business for a transaction that is going to take one of its integrations and then to write rows that
    /// refer to both: a login that is kept takes the business first, too.
    pub(crate) async fn hold_business(&self, tx: &mut Tx) -> Result<(), StoreError> {
        tx.query("SELECT id FROM businesses WHERE id = $1 FOR SHARE").bind(self.business()).optional().await.map(drop)
    }
}

/// Days that are left, a part of one counting whole; 0 or less, once it is over.
fn days(left: SignedDuration) -> i64 {
    let seconds = left.as_secs() + i64::from(left.subsec_nanos() > 0);
    seconds.div_euclid(DAY) + i64::from(seconds.rem_euclid(DAY) > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_that_has_begun_counts() {
        for (seconds, expected) in
            [(DAY * 30, 30), (DAY * 30 + 1, 31), (DAY * 7 - 1, 7), (1, 1), (0, 0), (-1, 0), (-DAY, -1), (-DAY - 1, -1)]
        {
            assert_eq!(days(SignedDuration::from_secs(seconds)), expected, "{seconds} s");
        }
    }
}
