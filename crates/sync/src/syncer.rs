//! A run: one pass over the object, page by page.

use std::sync::Arc;

use tieline_auth::Clock;
use tieline_client::{Connection, Page};
use tieline_store::{Checkpoint, ContactRow, Run, RunState, Step, StepOutcome, Tenant, Uuid};

use crate::contact;
use crate::error::SyncError;
use crate::scan::{Scan, Window};

/// Keeps one object of one org in step.
#[derive(Debug, Clone)]
pub struct Syncer {
    /// The org.
    pub connection: Connection,
    /// The business in the database.
    pub store: Tenant,
    /// Id of the integration in the database.
    pub integration: Uuid,
    /// How carefully to read.
    pub window: Window,
    /// For run times only; checkpoints go by the org's clock.
    pub clock: Arc<dyn Clock>,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress {
    /// Records read.
    pub read: u64,
    /// Records that this scan will read, as far as is known.
    pub total: u64,
}

/// What a run has done.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Report {
    /// The run, as the history shows it.
    pub run: Run,
    /// Everything stamped before this is in the database.
    pub verified_through: Option<String>,
}

impl Syncer {
    /// Runs once. Whatever happens, the run's row tells how it ended.
    ///
    /// # Errors
    /// [`SyncError`]; pages written before it are kept.
    pub async fn run(&self, progress: &mut (dyn FnMut(Progress) + Send)) -> Result<Report, SyncError> {
        let run = self.store.start_run(self.integration, contact::OBJECT, self.clock.now()).await?;
        let outcome = self.scans(&run, progress).await;
        let (state, error) = match &outcome {
            Ok(_) => (RunState::Success, None),
            Err(error) => (RunState::Failed, Some(error.to_string())),
        };
        let ended = self.store.finish_run(&run, state, error.as_deref(), self.clock.now()).await;
        let checkpoint = outcome?;
        ended?;
        let run = self.store.run(run.id).await?.unwrap_or(run);
        Ok(Report { run, verified_through: checkpoint.through.map(|t| t.to_string()) })
    }

    /// A scan that an earlier run left unfinished, then a new one.
    async fn scans(&self, run: &Run, progress: &mut (dyn FnMut(Progress) + Send)) -> Result<Checkpoint, SyncError> {
        let mut calls = self.connection.api_calls();
        loop {
            let before = self.store.checkpoint(self.integration, contact::OBJECT).await?;
            let mut scan = Scan::begin(&before, &self.window);
            while !self.query(run, &mut scan, &mut calls, progress).await? {}
            if !scan.is_resumed() {
                return Ok(scan.finished());
            }
        }
    }

    /// Reads from the scan's position to its end; false if the org closed the cursor on the way and the query
    /// must be asked again from where it stands.
    async fn query(
        &self,
        run: &Run,
        scan: &mut Scan,
        calls: &mut u64,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<bool, SyncError> {
        let from = scan.clone();
        let soql = format!(
            "SELECT {} FROM {}{} ORDER BY SystemModstamp, Id",
            contact::FIELDS,
            contact::OBJECT,
            scan.condition("SystemModstamp").map(|condition| format!(" WHERE {condition}")).unwrap_or_default()
        );
        let mut pages = self.connection.query_all_pages::<contact::Row>(&soql);
        let mut read = 0;
        loop {
            let page = match pages.next().await {
                Ok(Some(page)) => page,
                Ok(None) => return Ok(true),
                Err(error) if error.salesforce_code() == Some("INVALID_QUERY_LOCATOR") && *scan != from => {
                    return Ok(false);
                }
                Err(error) => return Err(error.into()),
            };
            let server_time =
                page.server_time.ok_or_else(|| SyncError::NoServerTime { org: self.connection.org().to_owned() })?;
            scan.fix_end(server_time, &self.window);
            let now_calls = self.connection.api_calls();
            let (total, count) = (page.total_size, page.records.len() as u64);
            self.write(run, scan, page, now_calls - *calls).await?;
            *calls = now_calls;
            read += count;
            progress(Progress { read, total });
        }
    }

    async fn write(
        &self,
        run: &Run,
        scan: &mut Scan,
        page: Page<contact::Row>,
        api_calls: u64,
    ) -> Result<StepOutcome, SyncError> {
        let is_last = page.is_last;
        let contacts: Vec<ContactRow> = page.records.into_iter().map(|row| row.0).collect();
        for contact in &contacts {
            scan.saw(contact.source_stamp, &contact.source_id);
        }
        let checkpoint = if is_last { scan.finished() } else { scan.checkpoint() };
        let step = Step { contacts: &contacts, checkpoint: &checkpoint, api_calls };
        Ok(self.store.commit_step(run, &step, self.clock.now()).await?)
    }
}

impl From<Report> for serde_json::Value {
    /// The stable form of `tieline sync run --json`.
    fn from(report: Report) -> Self {
        let Report { run, verified_through } = report;
        serde_json::json!({
            "run": run.id, "state": run.state, "object": run.object,
            "rows": {"read": run.rows_read, "inserted": run.inserted, "updated": run.updated, "deleted": run.deleted},
            "api_calls": run.api_calls, "checkpoint": verified_through, "verified_through": verified_through,
        })
    }
}
