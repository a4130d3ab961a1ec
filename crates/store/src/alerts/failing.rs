//! What of an integration fails, and what is held: a condition ends when nothing of the integration is in it any more.
//!
//! A failure belongs to what has failed, the contacts or a mapping, and stands in its row of the queue until a run of it
//! ends well. A mapping that is paused is not run, so what it failed with does not count while it rests; whoever resumes it
//! will see.

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::AlertKind;
use super::Severity;
use super::raise::{Alarm, Changes};
use crate::error::StoreError;
use crate::integration_logs::{Event, Level, write_log};
use crate::integrations::Status;
use crate::mappings::{Held, Mapping};
use crate::open::Tenant;
use crate::runs::Run;
use crate::sql::Tx;
use crate::sync_work::Work;

/// Of an integration: what fails, the newest first.
const FAILING: &str = "SELECT w.failing, w.failing_reason, w.failed_runs FROM sync_work AS w
    LEFT JOIN mappings AS m ON m.id = w.id
    WHERE w.business_id = $1 AND w.integration_id = $2 AND w.failing IS NOT NULL AND (m.id IS NULL OR m.state <> 'paused')
    ORDER BY w.failing_since DESC, w.id";

const AUTH: &str = "auth";
const SYNC: &str = "sync";

/// What a run has done, for the log.
pub(crate) fn told(run: &Run) -> Value {
    json!({
        "run": run.id, "mapping": run.mapping_id, "object": run.object, "rows_read": run.rows_read, "inserted": run.inserted,
        "updated": run.updated, "deleted": run.deleted, "drift_found": run.drift_found, "failed_cells": run.failed_cells,
        "bytes": run.bytes, "api_calls": run.api_calls,
    })
}

impl Tenant {
    /// Notes that a run of this has failed: how often in a row that is of the one that fails most, as far as the queue
    /// knows.
    pub(super) async fn note_failing(
        &self,
        tx: &mut Tx,
        (integration, work): (Uuid, Work),
        needs_person: bool,
        reason: &str,
        now: Timestamp,
    ) -> Result<Option<i64>, StoreError> {
        tx.query(
            "UPDATE sync_work SET failing = $1, failing_reason = $2, failing_since = coalesce(failing_since, $3),
             failed_runs = failed_runs + 1 WHERE business_id = $4 AND id = $5",
        )
        .bind(if needs_person { AUTH } else { SYNC })
        .bind(reason)
        .bind(now)
        .bind(self.business())
        .bind(work.id())
        .execute()
        .await?;
        let rows = tx.query(FAILING).bind(self.business()).bind(integration).all().await?;
        let failures: Vec<i64> = rows.iter().map(|row| row.get("failed_runs")).collect::<Result<_, _>>()?;
        Ok(failures.into_iter().max())
    }

    /// Notes that a run has ended well, in a transaction that holds the integration: what it failed with is over, and what
    /// the integration is said to be in, if nothing else of it fails.
    pub(crate) async fn note_recovery(&self, tx: &mut Tx, run: &Run, now: Timestamp) -> Result<Changes, StoreError> {
        if self.forget_failing(tx, run.work()).await? {
            let message = format!("the sync of `{}` works again", run.object);
            let (event, level) = (Event::SyncRecovered, Level::Info);
            write_log(tx, self.business(), Some(run.integration_id), event, level, &message, told(run), now).await?;
        }
        self.settle_failures(tx, run.integration_id, true, now).await
    }

    /// Nothing is said of its failures any more. False if there were none.
    pub(crate) async fn forget_failing(&self, tx: &mut Tx, work: Work) -> Result<bool, StoreError> {
        let forgotten = tx
            .query(
                "UPDATE sync_work SET failing = NULL, failing_reason = NULL, failing_since = NULL, failed_runs = 0
                 WHERE business_id = $1 AND id = $2 AND failing IS NOT NULL",
            )
            .bind(self.business())
            .bind(work.id())
            .execute()
            .await?;
        Ok(forgotten > 0)
    }

    /// Has the integration's status and its conditions as what fails of it is now, in a transaction that holds it. `proven`:
    /// the org was just read, so that a login that callers found wanting is none any more.
    pub(crate) async fn settle_failures(
        &self,
        tx: &mut Tx,
        integration: Uuid,
        proven: bool,
        now: Timestamp,
    ) -> Result<Changes, StoreError> {
        let rows = tx.query(FAILING).bind(self.business()).bind(integration).all().await?;
        let mut kinds = Vec::new();
        for row in &rows {
            kinds.push(row.get::<String>("failing")?);
        }
        let mut over = Vec::new();
        if !kinds.iter().any(|kind| kind == SYNC) {
            over.push(AlertKind::SyncFailure);
        }
        if proven && !kinds.iter().any(|kind| kind == AUTH) {
            over.push(AlertKind::AuthFailure);
        }
        let changes = self.resolve(tx, integration, &over, now).await?;
        // None also where somebody was named in it who was erased since.
        let newest: Option<String> = rows.first().map(|row| row.find("failing_reason")).transpose()?.flatten();
        let failing = rows.first();
        let sql = match failing {
            Some(_) => {
                "UPDATE integrations SET status = $1, status_reason = $2
                 WHERE business_id = $3 AND id = $4 AND status IN ('active', 'error')"
            }
            // What a caller has found stands until it is known to be over.
            None => {
                "UPDATE integrations SET status = $1, status_reason = $2, failed_runs = 0
                 WHERE business_id = $3 AND id = $4 AND status = 'error' AND NOT EXISTS (SELECT 1 FROM notifications
                 WHERE integration_id = $4 AND kind = 'auth_failure' AND state <> 'resolved')"
            }
        };
        tx.query(sql)
            .bind(if failing.is_some() { Status::Error } else { Status::Active }.name())
            .bind(newest)
            .bind(self.business())
            .bind(integration)
            .execute()
            .await?;
        Ok(changes)
    }

    /// Tells that a mapping is held, in a transaction that holds the integration.
    pub(crate) async fn raise_sync_held(
        &self,
        tx: &mut Tx,
        (run, mapping, held): (&Run, &Mapping, &Held),
        reason: &str,
        now: Timestamp,
    ) -> Result<Changes, StoreError> {
        let hint = "if the user may no longer see them, give the right back and resume the mapping; if they are really gone, \
                    resume it with allow_gone (POST /api/mappings/{id}/resume, or `tieline sync mappings resume`)";
        let alarm = Alarm {
            kind: AlertKind::SyncHeld,
            integration: run.integration_id,
            measure: 0,
            severity: Severity::Error,
            title: format!(
                "the mapping `{}` is paused: {} of {} records seem gone",
                mapping.name, held.records, held.of
            ),
            detail: reason.to_owned(),
            hint: hint.to_owned(),
        };
        let changes = self.weigh(tx, &alarm, now).await?;
        let mut detail = told(run);
        detail["held"] = json!(held);
        detail["hint"] = hint.into();
        let (integration, event) = (Some(run.integration_id), Event::SyncHeld);
        write_log(tx, self.business(), integration, event, Level::Error, reason, detail, now).await?;
        Ok(changes)
    }

    /// Ends what is said of held mappings, if none of the integration's is held any more, in a transaction that holds it.
    pub(crate) async fn settle_held(
        &self,
        tx: &mut Tx,
        integration: Uuid,
        now: Timestamp,
    ) -> Result<Changes, StoreError> {
        let held: i64 = tx
            .query(
                "SELECT count(*) AS n FROM mappings WHERE business_id = $1 AND integration_id = $2 AND state = 'paused'
                 AND held_records IS NOT NULL",
            )
            .bind(self.business())
            .bind(integration)
            .value("n")
            .await?;
        if held > 0 {
            return Ok(Changes::default());
        }
        self.resolve(tx, integration, &[AlertKind::SyncHeld], now).await
    }

    /// Holds an integration whose conditions are about to be weighed: the business first, as everybody takes them.
    pub(crate) async fn hold_for_alerts(&self, tx: &mut Tx, integration: Uuid) -> Result<(), StoreError> {
        self.hold_business(tx).await?;
        let held = tx.query("SELECT id FROM integrations WHERE business_id = $1 AND id = $2 FOR UPDATE");
        held.bind(self.business()).bind(integration).optional().await.map(drop)
    }
}
