//! Runs of a mapping: begun, and brought forward step by step.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use uuid::Uuid;

use super::{Mapping, MappingState, Standing};
use crate::error::StoreError;
use crate::object_tables::{self, Change, Rows, StagedRows};
use crate::open::Tenant;
use crate::pages::{MalformedCursor, Page};
use crate::runs::{Run, RunState, StepOutcome, run};
#[cfg(doc)]
use crate::sync_work::Asked;
use crate::sync_work::take_asked;

/// What a step has cost, and what else it found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// Records that the org sent.
    pub read: u64,
    /// Requests to the org.
    pub api_calls: u64,
    /// Bytes of its answers.
    pub bytes: u64,
    /// Differences that no cursor could see.
    pub drift_found: u64,
    /// Values that did not fit their columns.
    pub failed_cells: u64,
}

/// A value that did not fit its column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowError {
    /// Id of the record.
    pub record: String,
    /// Column of the table.
    pub column: String,
    /// What is wrong with it.
    pub reason: String,
    /// The value, shortened.
    pub value: Option<String>,
}

/// A step of a run.
#[derive(Debug)]
pub struct MappingStep<'a> {
    /// Rows to write, on their way already ([`Tenant::stage_rows`]) or not; they come back empty, to be filled again.
    pub rows: StagedRows,
    /// What they do to the table.
    pub change: Change<'a>,
    /// Where the mapping stands once they are written.
    pub standing: &'a Standing,
    /// What it has cost.
    pub spent: Spent,
    /// Values that did not fit.
    pub errors: &'a [RowError],
}

/// A [`RowError`] as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptError {
    /// It.
    pub error: RowError,
    /// The run that met it last.
    pub run: Uuid,
    /// When.
    pub at: Timestamp,
}

/// A place in the errors of a mapping: record and column of the last one that was seen.
///
/// ```
/// use tieline_store::mappings::ErrorCursor;
///
/// let cursor: ErrorCursor = "003000000000001AAA-phone".parse().unwrap();
/// assert_eq!(cursor.to_string(), "003000000000001AAA-phone");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorCursor {
    record: String,
    column: String,
}

impl fmt::Display for ErrorCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.record, self.column)
    }
}

impl FromStr for ErrorCursor {
    type Err = MalformedCursor;

    fn from_str(text: &str) -> Result<Self, MalformedCursor> {
        let (record, column) = text.split_once('-').ok_or(MalformedCursor)?;
        let plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !plain(record) || !plain(column) {
            return Err(MalformedCursor);
        }
        Ok(Self { record: record.to_owned(), column: column.to_owned() })
    }
}

impl Tenant {
    /// Starts a run of a mapping. It takes the checkpoint over: a run that was under way can write no more, and is marked as
    /// interrupted. What was asked of it ([`Asked`]) is moved
    /// from the queue to the mapping's progress, where it stands until the engine has done it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn start_mapping_run(&self, mapping: &Mapping, now: Timestamp) -> Result<Run, StoreError> {
        let integration =
            mapping.integration_id.ok_or_else(|| StoreError::NoIntegration { mapping: mapping.name.clone() })?;
        let mut tx = self.write("starting a run").await?;
        self.hold_integration(&mut tx, integration).await?;
        let asked = take_asked(&mut tx, self.business(), mapping.work()).await?;
        let row = tx
            .query("UPDATE mapping_checkpoints SET fence = fence + 1 WHERE mapping_id = $1 RETURNING fence, progress")
            .bind(mapping.id)
            .one()
            .await?;
        let fence: i64 = row.get("fence")?;
        if !asked.is_nothing() {
            let mut progress = super::progress_of(&row)?;
            progress.asked = progress.asked.and(asked);
            tx.query("UPDATE mapping_checkpoints SET progress = $1 WHERE mapping_id = $2")
                .bind(serde_json::to_value(&progress).unwrap_or_default())
                .bind(mapping.id)
                .execute()
                .await?;
        }
        tx.query(
            "UPDATE runs SET state = 'failed', finished_at = $1, error = 'interrupted: a later run took over'
             WHERE mapping_id = $2 AND state = 'running'",
        )
        .bind(now)
        .bind(mapping.id)
        .execute()
        .await?;
        let row = tx
            .query(
                "INSERT INTO runs (id, business_id, integration_id, mapping_id, object, fence, state, started_at)
                 VALUES ($1, $2, $3, $4, $5, $6, 'running', $7) RETURNING *",
            )
            .bind(Uuid::now_v7())
            .bind(self.business())
            .bind(integration)
            .bind(mapping.id)
            .bind(&mapping.object)
            .bind(fence)
            .bind(now)
            .one()
            .await?;
        tx.commit().await?;
        run(&row)
    }

    /// Writes rows of a mapping, where it stands, and the run's counters, as one transaction. With contacts go the leads of
    /// those that the org has merged.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] if a later run has taken the mapping, or the integration was disconnected: nothing was
    /// written.
    pub async fn commit_rows(
        &self,
        run: &Run,
        mapping: &Mapping,
        step: MappingStep<'_>,
        now: Timestamp,
    ) -> Result<(Rows, StepOutcome), StoreError> {
        object_tables::commit(self, run, mapping, step, now).await
    }

    /// Ends a run of a mapping, as [`Tenant::finish_run`] does; with the time of the next try, if it ran out of the org's
    /// API calls.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn finish_mapping_run(
        &self,
        run: &Run,
        state: RunState,
        error: Option<&str>,
        retry_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if retry_at.is_some() {
            let mut tx = self.write("ending a run").await?;
            tx.query("UPDATE runs SET retry_at = $1 WHERE id = $2").bind(retry_at).bind(run.id).execute().await?;
            tx.commit().await?;
        }
        self.finish_run(run, state, error, now).await
    }

    /// The last runs of a mapping, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn mapping_runs(&self, mapping: &Mapping, limit: u32) -> Result<Vec<Run>, StoreError> {
        let mut tx = self.read("listing the runs").await?;
        let rows = tx
            .query("SELECT * FROM runs WHERE business_id = $1 AND mapping_id = $2 ORDER BY started_at DESC, id DESC LIMIT $3")
            .bind(self.business())
            .bind(mapping.id)
            .bind(limit)
            .all()
            .await?;
        rows.iter().map(run).collect()
    }

    /// Values of a mapping's records that did not fit, the newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn row_errors(&self, mapping: &Mapping, limit: u32) -> Result<Vec<KeptError>, StoreError> {
        let mut tx = self.read("reading what did not fit").await?;
        let rows = tx
            .query("SELECT * FROM row_errors WHERE business_id = $1 AND mapping_id = $2 ORDER BY at DESC, record_id LIMIT $3")
            .bind(self.business())
            .bind(mapping.id)
            .bind(limit)
            .all()
            .await?;
        rows.iter().map(kept).collect()
    }

    /// A page of the same, by record and column: an error that is met again stays in its place.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn row_errors_from(
        &self,
        mapping: Uuid,
        after: Option<ErrorCursor>,
        limit: u32,
    ) -> Result<Page<KeptError, ErrorCursor>, StoreError> {
        let mut tx = self.read("reading what did not fit").await?;
        let (record, column) = after.map(|after| (after.record, after.column)).unzip();
        let rows = tx
            .query(
                "SELECT * FROM row_errors WHERE business_id = $1 AND mapping_id = $2
                 AND ($3 IS NULL OR (record_id, column_name) > ($3, $4)) ORDER BY record_id, column_name LIMIT $5",
            )
            .bind(self.business())
            .bind(mapping)
            .bind(record)
            .bind(column)
            .bind(i64::from(limit).saturating_add(1))
            .all()
            .await?;
        let errors = rows.iter().map(kept).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::of(errors, limit, |kept| {
            let RowError { record, column, .. } = &kept.error;
            ErrorCursor { record: record.clone(), column: column.clone() }
        }))
    }

    /// Values that did not fit and that this run met last, by record and column: `limit` of them. One that a later run has
    /// met again is that run's.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn row_errors_of_run(&self, mapping: Uuid, run: Uuid, limit: u32) -> Result<Vec<KeptError>, StoreError> {
        let mut tx = self.read("reading what did not fit").await?;
        let rows = tx
            .query(
                "SELECT * FROM row_errors WHERE business_id = $1 AND mapping_id = $2 AND run_id = $3
                 ORDER BY record_id, column_name LIMIT $4",
            )
            .bind(self.business())
            .bind(mapping)
            .bind(run)
            .bind(limit)
            .all()
            .await?;
        rows.iter().map(kept).collect()
    }

    /// Sets the state of a mapping, if the run is still the one at work.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] if it is not.
    pub async fn set_mapping_state(
        &self,
        run: &Run,
        mapping: &Mapping,
        state: MappingState,
        reason: Option<&str>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.write("setting the mapping's state").await?;
        let set = tx
            .query(
                "UPDATE mappings SET state = $1, state_reason = $2, updated_at = $3, held_records = NULL, held_of = NULL,
                 held_at = NULL WHERE business_id = $4 AND id = $5
                 AND EXISTS (SELECT 1 FROM mapping_checkpoints WHERE mapping_id = $5 AND fence = $6)",
            )
            .bind(state.name())
            .bind(reason)
            .bind(now)
            .bind(self.business())
            .bind(mapping.id)
            .bind(run.fence())
            .execute()
            .await?;
        if set != 1 {
            return Err(StoreError::Fenced { run: run.id.to_string() });
        }
        tx.commit().await
    }
}

fn kept(row: &crate::sql::Row) -> Result<KeptError, StoreError> {
    let error = RowError {
        record: row.get("record_id")?,
        column: row.get("column_name")?,
        reason: row.get("reason")?,
        value: row.find("value")?,
    };
    Ok(KeptError { error, run: row.get("run_id")?, at: row.get("at")? })
}
