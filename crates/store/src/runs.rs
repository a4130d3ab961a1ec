//! Runs: one pass over an object each, with its counters. How one begins and is brought forward: `mappings/stepping`.

use jiff::Timestamp;
use uuid::Uuid;

use crate::alerts::{Changes, told};
use crate::error::StoreError;
use crate::integration_logs::{Event, Level, write_log};
use crate::open::Tenant;
use crate::pages::{Cursor, Page};
use crate::sql::{Row, Tx};
use crate::sync_work::Work;

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Under way.
    Running,
    /// Ended well.
    Success,
    /// Ended with an error; the next run goes on where it stopped.
    Failed,
    /// The org's API calls of the day are spent; a later run goes on where it stopped.
    PausedQuota,
}

impl RunState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Running, Self::Success, Self::Failed, Self::PausedQuota];

    /// From its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Its name in the database and in the API.
    pub fn name(self) -> &'static str {
        match self {
            RunState::Running => "running",
            RunState::Success => "success",
            RunState::Failed => "failed",
            RunState::PausedQuota => "paused_quota",
        }
    }
}

/// A run as the history shows it.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Run {
    /// UUID, in order of time.
    pub id: Uuid,
    /// Its integration.
    pub integration_id: Uuid,
    /// Its mapping; none: it is a run of the integration's contacts.
    pub mapping_id: Option<Uuid>,
    /// The object that was read.
    pub object: String,
    /// `running`, `success`, `failed`, …
    pub state: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended; none while it runs.
    pub finished_at: Option<Timestamp>,
    /// Records that the org sent.
    pub rows_read: i64,
    /// Rows that are new here.
    pub inserted: i64,
    /// Rows that changed here.
    pub updated: i64,
    /// Rows that became tombstones.
    pub deleted: i64,
    /// Requests to the org.
    pub api_calls: i64,
    /// Bytes of the org's answers.
    pub bytes: i64,
    /// Differences that no cursor could see, found by comparing, and repaired.
    pub drift_found: i64,
    /// Values that did not fit their columns.
    pub failed_cells: i64,
    /// When a run that ran out of the org's API calls is tried again.
    pub retry_at: Option<Timestamp>,
    /// Why it failed.
    pub error: Option<String>,
    #[serde(skip)]
    fence: i64,
}

impl Run {
    pub(crate) fn fence(&self) -> i64 {
        self.fence
    }

    /// What it is a run of.
    pub(crate) fn work(&self) -> Work {
        match self.mapping_id {
            // That of the contacts has the integration's id.
            Some(mapping) if mapping != self.integration_id => Work::Mapping { mapping },
            _ => Work::Contacts { integration: self.integration_id },
        }
    }
}

/// Which runs to list. All conditions must hold; none lists all.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunFilter {
    /// Of this integration.
    pub integration: Option<Uuid>,
    /// Of this mapping.
    pub mapping: Option<Uuid>,
    /// That stand so.
    pub state: Option<RunState>,
}

/// What a step did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct StepOutcome {
    /// Rows that are new.
    pub inserted: u64,
    /// Rows that changed, deletions and returns included.
    pub updated: u64,
    /// Of the changed and new ones, those that are tombstones now.
    pub deleted: u64,
}

impl Tenant {
    /// Holds the integration before its rows are written: whoever deletes it takes them in the same order.
    pub(crate) async fn hold_integration(&self, tx: &mut Tx, id: Uuid) -> Result<(), StoreError> {
        let held = tx.query("SELECT id FROM integrations WHERE business_id = $1 AND id = $2 FOR KEY SHARE");
        held.bind(self.business()).bind(id).optional().await.map(drop)
    }

    /// Ends a run, if it is still the one at work. One that ended well ends what was wrong with what it is of, and what is
    /// said of the integration, if nothing else of it fails.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn finish_run(
        &self,
        run: &Run,
        state: RunState,
        error: Option<&str>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.write("ending a run").await?;
        let mut changes = Changes::default();
        if state == RunState::Success {
            // Before the run's row, as whoever begins a run takes them.
            self.hold_for_alerts(&mut tx, run.integration_id).await?;
        }
        let row = tx
            .query("UPDATE runs SET state = $1, finished_at = $2, error = $3 WHERE id = $4 AND state = 'running' RETURNING *")
            .bind(state.name())
            .bind(now)
            .bind(error)
            .bind(run.id)
            .optional()
            .await?;
        // With its counters.
        let ended = row.as_ref().map(self::run).transpose()?;
        match (state, &ended) {
            (RunState::Success, _) => {
                // Access that was taken away meanwhile stays away.
                tx.query(
                    "UPDATE integrations SET last_sync_at = $1, status = 'active', status_reason = NULL, failed_runs = 0
                     WHERE id = $2 AND status <> 'inactive'",
                )
                .bind(now)
                .bind(run.integration_id)
                .execute()
                .await?;
                changes.add(self.note_recovery(&mut tx, ended.as_ref().unwrap_or(run), now).await?);
                changes.add(self.settle_held(&mut tx, run.integration_id, now).await?);
            }
            (RunState::PausedQuota, Some(ended)) => {
                let (message, detail) = (error.unwrap_or_default(), told(ended));
                let (integration, event) = (Some(run.integration_id), Event::SyncPausedQuota);
                write_log(&mut tx, self.business(), integration, event, Level::Warning, message, detail, now).await?;
            }
            _ => {}
        }
        tx.commit().await?;
        self.store().alerts().note(&changes);
        Ok(())
    }

    /// The last runs of an integration, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn runs(&self, integration: Uuid, limit: u32) -> Result<Vec<Run>, StoreError> {
        let mut tx = self.read("listing the runs").await?;
        let rows = tx
            .query("SELECT * FROM runs WHERE integration_id = $1 ORDER BY started_at DESC, id DESC LIMIT $2")
            .bind(integration)
            .bind(limit)
            .all()
            .await?;
        rows.iter().map(run).collect()
    }

    /// A page of a mapping's runs, newest first: at most `limit`, from behind the cursor.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn runs_of_mapping(
        &self,
        mapping: Uuid,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Page<Run>, StoreError> {
        let mut tx = self.read("listing the runs").await?;
        let rows = tx
            .query(
                "SELECT * FROM runs WHERE business_id = $1 AND mapping_id = $2
                 AND ($3 IS NULL OR (started_at, id) < ($3, $4)) ORDER BY started_at DESC, id DESC LIMIT $5",
            )
            .bind(self.business())
            .bind(mapping)
            .bind(after.map(|cursor| cursor.at))
            .bind(after.map(|cursor| cursor.id))
            .bind(i64::from(limit).saturating_add(1))
            .all()
            .await?;
        let runs = rows.iter().map(run).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::of(runs, limit, |run| Cursor { at: run.started_at, id: run.id }))
    }

    /// A page of the business's runs, newest first: at most `limit`, from behind the cursor.
    ///
    /// Those of each integration are read in their own order and brought into one: an index goes by integration, and a page
    /// costs the same however long the history is.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn run_history(
        &self,
        filter: &RunFilter,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Page<Run>, StoreError> {
        let mut tx = self.read("listing the runs").await?;
        let of: Vec<(&str, Uuid)> = match (filter.mapping, filter.integration) {
            (Some(mapping), _) => vec![("mapping_id", mapping)],
            (None, Some(integration)) => vec![("integration_id", integration)],
            (None, None) => {
                let all =
                    tx.query("SELECT id FROM integrations WHERE business_id = $1").bind(self.business()).all().await?;
                all.iter().map(|row| Ok(("integration_id", row.get("id")?))).collect::<Result<_, StoreError>>()?
            }
        };
        let mut runs = Vec::new();
        for (column, id) in of {
            let sql = format!(
                "SELECT * FROM runs WHERE business_id = $1 AND {column} = $2 AND ($3 IS NULL OR state = $3)
                 AND ($4 IS NULL OR (started_at, id) < ($4, $5)) ORDER BY started_at DESC, id DESC LIMIT $6"
            );
            let rows = tx
                .query(sql)
                .bind(self.business())
                .bind(id)
                .bind(filter.state.map(RunState::name))
                .bind(after.map(|cursor| cursor.at))
                .bind(after.map(|cursor| cursor.id))
                .bind(i64::from(limit).saturating_add(1))
                .all()
                .await?;
            runs.extend(rows.iter().map(run).collect::<Result<Vec<_>, _>>()?);
        }
        runs.sort_by_key(|run| std::cmp::Reverse((run.started_at, run.id)));
        runs.truncate(limit as usize + 1);
        Ok(Page::of(runs, limit, |run| Cursor { at: run.started_at, id: run.id }))
    }

    /// One run by its id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn run(&self, id: Uuid) -> Result<Option<Run>, StoreError> {
        let mut tx = self.read("reading a run").await?;
        tx.query("SELECT * FROM runs WHERE id = $1").bind(id).optional().await?.as_ref().map(run).transpose()
    }

    /// How many runs an integration has had.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn count_runs(&self, integration: Uuid) -> Result<i64, StoreError> {
        let mut tx = self.read("counting the runs").await?;
        tx.query("SELECT count(*) AS n FROM runs WHERE integration_id = $1").bind(integration).value("n").await
    }
}

pub(crate) fn run(row: &Row) -> Result<Run, StoreError> {
    Ok(Run {
        id: row.get("id")?,
        integration_id: row.get("integration_id")?,
        mapping_id: row.find("mapping_id")?,
        object: row.get("object")?,
        state: row.get("state")?,
        started_at: row.get("started_at")?,
        finished_at: row.find("finished_at")?,
        rows_read: row.get("rows_read")?,
        inserted: row.get("inserted")?,
        updated: row.get("updated")?,
        deleted: row.get("deleted")?,
        api_calls: row.get("api_calls")?,
        bytes: row.get("bytes")?,
        drift_found: row.get("drift_found")?,
        failed_cells: row.get("failed_cells")?,
        retry_at: row.find("retry_at")?,
        error: row.find("error")?,
        fence: row.get("fence")?,
    })
}
