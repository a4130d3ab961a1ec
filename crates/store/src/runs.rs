//! Runs: one pass over an object each, with its counters; and the step, which writes rows, checkpoint and
//! counters as one transaction.

use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use crate::checkpoints::Checkpoint;
use crate::contacts::ContactRow;
use crate::error::StoreError;
use crate::open::Store;

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
}

impl RunState {
    fn name(self) -> &'static str {
        match self {
            RunState::Running => "running",
            RunState::Success => "success",
            RunState::Failed => "failed",
        }
    }
}

/// A run as the history shows it.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Run {
    /// UUID, in order of time.
    pub id: String,
    /// Its integration.
    pub integration_id: String,
    /// The object that was read.
    pub object: String,
    /// `running`, `success`, `failed`, …
    pub state: String,
    /// Milliseconds since 1970.
    pub started_at: i64,
    /// Milliseconds since 1970; none while it runs.
    pub finished_at: Option<i64>,
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
    /// Why it failed.
    pub error: Option<String>,
    #[serde(skip)]
    fence: i64,
}

/// What one page of a scan brings.
#[derive(Debug)]
pub struct Step<'a> {
    /// The rows of the page.
    pub contacts: &'a [ContactRow],
    /// The checkpoint once they are written.
    pub checkpoint: &'a Checkpoint,
    /// Requests made since the last step.
    pub api_calls: u64,
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

impl Store {
    /// Starts a run. It takes the object's checkpoint over: a run that was under way can write no more, and is
    /// marked as interrupted.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn start_run(&self, integration: &str, object: &str, now: Timestamp) -> Result<Run, StoreError> {
        let doing = StoreError::doing("starting a run");
        let mut tx = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(&doing)?;
        let fence: i64 = sqlx::query_scalar(
            "INSERT INTO checkpoints (integration_id, object, fence) VALUES ($1, $2, 1)
             ON CONFLICT (integration_id, object) DO UPDATE SET fence = fence + 1 RETURNING fence",
        )
        .bind(integration)
        .bind(object)
        .fetch_one(&mut *tx)
        .await
        .map_err(&doing)?;
        sqlx::query(
            "UPDATE runs SET state = 'failed', finished_at = $1, error = 'interrupted: a later run took over'
             WHERE integration_id = $2 AND object = $3 AND state = 'running'",
        )
        .bind(now.as_millisecond())
        .bind(integration)
        .bind(object)
        .execute(&mut *tx)
        .await
        .map_err(&doing)?;
        let id = Uuid::now_v7().to_string();
        let row = sqlx::query(
            "INSERT INTO runs (id, integration_id, object, fence, state, started_at) VALUES ($1, $2, $3, $4, 'running', $5) RETURNING *",
        )
        .bind(&id)
        .bind(integration)
        .bind(object)
        .bind(fence)
        .bind(now.as_millisecond())
        .fetch_one(&mut *tx)
        .await
        .map_err(&doing)?;
        tx.commit().await.map_err(&doing)?;
        Ok(run(&row))
    }

    /// Writes a page: rows, checkpoint and counters, all or nothing.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when a later run has taken over; nothing is written then.
    pub async fn commit_step(&self, run: &Run, step: &Step<'_>, now: Timestamp) -> Result<StepOutcome, StoreError> {
        let doing = StoreError::doing("writing a page of contacts");
        let mut tx = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(&doing)?;
        let Checkpoint { through, scan } = step.checkpoint;
        let held = sqlx::query(
            "UPDATE checkpoints SET through = $1, scan_stamp = $2, scan_id = $3, scan_until = $4
             WHERE integration_id = $5 AND object = $6 AND fence = $7",
        )
        .bind(through.map(|t| t.as_millisecond()))
        .bind(scan.as_ref().map(|(position, _)| position.stamp.as_millisecond()))
        .bind(scan.as_ref().map(|(position, _)| position.id.as_str()))
        .bind(scan.as_ref().map(|(_, until)| until.as_millisecond()))
        .bind(&run.integration_id)
        .bind(&run.object)
        .bind(run.fence)
        .execute(&mut *tx)
        .await
        .map_err(&doing)?;
        if held.rows_affected() != 1 {
            return Err(StoreError::Fenced { run: run.id.clone() });
        }
        let outcome = self.upsert_contacts(&mut tx, &run.integration_id, step.contacts, now).await.map_err(&doing)?;
        sqlx::query(
            "UPDATE runs SET rows_read = rows_read + $1, inserted = inserted + $2, updated = updated + $3,
             deleted = deleted + $4, api_calls = api_calls + $5 WHERE id = $6",
        )
        .bind(step.contacts.len() as i64)
        .bind(outcome.inserted as i64)
        .bind(outcome.updated as i64)
        .bind(outcome.deleted as i64)
        .bind(step.api_calls as i64)
        .bind(&run.id)
        .execute(&mut *tx)
        .await
        .map_err(&doing)?;
        tx.commit().await.map_err(&doing)?;
        Ok(outcome)
    }

    /// Ends a run, if it is still the one at work.
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
        let doing = StoreError::doing("ending a run");
        let mut tx = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(&doing)?;
        sqlx::query("UPDATE runs SET state = $1, finished_at = $2, error = $3 WHERE id = $4 AND state = 'running'")
            .bind(state.name())
            .bind(now.as_millisecond())
            .bind(error)
            .bind(&run.id)
            .execute(&mut *tx)
            .await
            .map_err(&doing)?;
        if state == RunState::Success {
            sqlx::query("UPDATE integrations SET last_sync_at = $1, status = 'active' WHERE id = $2")
                .bind(now.as_millisecond())
                .bind(&run.integration_id)
                .execute(&mut *tx)
                .await
                .map_err(&doing)?;
        }
        tx.commit().await.map_err(&doing)
    }

    /// The last runs of an integration, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn runs(&self, integration: &str, limit: u32) -> Result<Vec<Run>, StoreError> {
        let rows =
            sqlx::query("SELECT * FROM runs WHERE integration_id = $1 ORDER BY started_at DESC, id DESC LIMIT $2")
                .bind(integration)
                .bind(limit)
                .fetch_all(&self.reader)
                .await
                .map_err(StoreError::doing("listing the runs"))?;
        Ok(rows.iter().map(run).collect())
    }

    /// One run by its id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn run(&self, id: &str) -> Result<Option<Run>, StoreError> {
        let row = sqlx::query("SELECT * FROM runs WHERE id = $1").bind(id).fetch_optional(&self.reader).await;
        Ok(row.map_err(StoreError::doing("reading a run"))?.as_ref().map(run))
    }

    /// How many runs an integration has had.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn count_runs(&self, integration: &str) -> Result<i64, StoreError> {
        sqlx::query_scalar("SELECT count(*) FROM runs WHERE integration_id = $1")
            .bind(integration)
            .fetch_one(&self.reader)
            .await
            .map_err(StoreError::doing("counting the runs"))
    }
}

fn run(row: &SqliteRow) -> Run {
    Run {
        id: row.get("id"),
        integration_id: row.get("integration_id"),
        object: row.get("object"),
        state: row.get("state"),
        started_at: row.get("started_at"),
        finished_at: row.get("finished_at"),
        rows_read: row.get("rows_read"),
        inserted: row.get("inserted"),
        updated: row.get("updated"),
        deleted: row.get("deleted"),
        api_calls: row.get("api_calls"),
        error: row.get("error"),
        fence: row.get("fence"),
    }
}
