//! A run under way, and its steps.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use tieline_store::mappings::{Mapping, MappingState, MappingStep, RowError, Spent, Standing, WalkKind};
use tieline_store::object_tables::{Change, Rows};
use tieline_store::{Run, StepOutcome, StoreError};
use tokio::task::JoinHandle;

use super::pages::Reading;
use super::{Asked, Engine, MappingReport};
use crate::error::SyncError;
use crate::mapping::{CellError, Decoded, Definition, MOST_ERRORS, Plan};
use crate::syncer::Progress;

/// What a step does to the table, with its columns.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    Rows,
    Cells(Arc<[usize]>),
    Marks,
}

/// What a step writes.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) rows: Rows,
    errors: Vec<CellError>,
    failed: u64,
}

impl Batch {
    pub(super) fn of(rows: Rows) -> Self {
        Self { rows, ..Self::default() }
    }

    /// Takes all of another batch but its memory, which comes back.
    pub(super) fn append(&mut self, mut other: Self) -> Rows {
        let rows = std::mem::take(&mut other.rows);
        self.rows.append(&rows);
        self.take_errors(other);
        rows
    }

    pub(super) fn take_errors(&mut self, other: Self) {
        let room = MOST_ERRORS.saturating_sub(self.errors.len());
        self.errors.extend(other.errors.into_iter().take(room));
        self.failed += other.failed;
    }
}

impl From<Decoded> for Batch {
    fn from(decoded: Decoded) -> Self {
        Self { rows: decoded.rows, errors: decoded.errors, failed: decoded.failed }
    }
}

/// A run under way.
pub(super) struct Work<'e> {
    pub(super) engine: &'e Engine,
    pub(super) run: Run,
    pub(super) mapping: Arc<Mapping>,
    pub(super) plan: Arc<Plan>,
    /// How its columns are read.
    pub(super) reading: Reading,
    pub(super) standing: Standing,
    pub(super) asked: Asked,
    /// As somebody wrote the mapping.
    pub(super) definition: Definition,
    /// The org can be asked what was changed and deleted.
    pub(super) replicates: bool,
    /// Up to when the org shows all changes, asked for before they are read.
    pub(super) proof: Option<Timestamp>,
    /// Ids of the org's log of deletes.
    pub(super) log: Option<HashSet<String>>,
    /// Differences that were found and are not counted yet.
    pub(super) drift: u64,
    progress: &'e mut (dyn FnMut(Progress) + Send),
    shown: Progress,
    /// What was counted before the last step.
    calls: u64,
    pub(super) calls_at_start: u64,
    bytes: u64,
    spare: Option<Rows>,
    pending: Option<JoinHandle<Result<(Rows, StepOutcome), StoreError>>>,
    /// What the pending step is counted under.
    pub(super) outcome: StepOutcome,
}

impl<'e> Work<'e> {
    pub(super) fn new(
        engine: &'e Engine,
        run: Run,
        mapping: Mapping,
        definition: Definition,
        progress: &'e mut (dyn FnMut(Progress) + Send),
    ) -> Self {
        let plan = Arc::new(Plan::default());
        let (calls, bytes) = (engine.connection.api_calls(), engine.connection.bytes_read());
        Self {
            engine,
            run,
            standing: mapping.standing.clone(),
            mapping: Arc::new(mapping),
            reading: Reading::new(plan.clone(), engine.care.longest_query),
            plan,
            definition,
            asked: Asked::default(),
            replicates: false,
            proof: None,
            log: None,
            drift: 0,
            progress,
            shown: Progress::default(),
            calls,
            calls_at_start: calls,
            bytes,
            spare: None,
            pending: None,
            outcome: StepOutcome::default(),
        }
    }

    /// All that a run does.
    pub(super) async fn all(&mut self, asked: Asked) -> Result<(), SyncError> {
        self.asked = asked;
        self.describe().await?;
        if asked.reload {
            self.standing.checkpoint.scan = None;
            self.standing.checkpoint.through = None;
            self.standing.progress.job = None;
        }
        match self.read().await {
            // The org's fields have changed since they were described.
            Err(error) if error.is_schema_change() => {
                self.settle().await?;
                self.standing.progress.described_at = None;
                self.describe().await?;
                self.read().await
            }
            other => other,
        }
    }

    async fn read(&mut self) -> Result<(), SyncError> {
        if self.plan.cursor.is_none() {
            return self.walk(WalkKind::Reload).await;
        }
        let verifying = self.begin_proof().await?;
        if self.standing.checkpoint.through.is_none() || self.standing.progress.job.is_some() {
            self.load().await?;
        } else {
            self.poll().await?;
        }
        if verifying {
            self.gone().await?;
        }
        self.parents().await?;
        self.fill().await?;
        if self.refresh_is_due() {
            self.walk(WalkKind::Refresh).await?;
        }
        if self.compare_is_due() {
            self.walk(WalkKind::Compare).await?;
        }
        if verifying { self.end_proof().await } else { Ok(()) }
    }

    /// Which state the mapping has after a run that ended well, and why; none if it keeps the one it has.
    pub(super) fn state_at_end(&self) -> Option<(MappingState, String)> {
        let (state, reason) = if self.standing.progress.lost.is_empty() {
            (MappingState::Synced, String::new())
        } else {
            let lost: Vec<&str> = self.standing.progress.lost.iter().map(|column| column.name.as_str()).collect();
            let columns = lost.join(", ");
            let reason = format!(
                "the org no longer shows the fields of the columns {columns}; they keep their values, and are filled again when the fields are back"
            );
            (MappingState::SchemaChanged, reason)
        };
        let same = self.mapping.state == state && self.mapping.state_reason.as_deref().unwrap_or_default() == reason;
        (!same).then_some((state, reason))
    }

    /// When a run that ran out of calls is tried again.
    pub(super) fn retry_at(&self) -> Timestamp {
        let now = self.engine.clock.now();
        now.checked_add(self.engine.care.retry_after).unwrap_or(now)
    }

    pub(super) fn report(&self, run: Run) -> MappingReport {
        MappingReport::new(run, &self.mapping, &self.standing)
    }

    /// Rows to fill, with their memory from the last step.
    pub(super) fn empty_rows(&mut self, width: usize) -> Rows {
        match self.spare.take() {
            Some(rows) if rows.width() == width => rows,
            _ => Rows::new(width),
        }
    }

    /// How far it is, for whoever watches.
    pub(super) fn show(&mut self, read: u64, total: Option<u64>) {
        self.shown.read += read;
        if let Some(total) = total {
            self.shown.total = total.max(self.shown.read);
        }
        (self.progress)(self.shown);
    }

    /// Writes rows with where the mapping stands now. The write goes on while the next rows are read; it has ended before
    /// the next one begins.
    pub(super) async fn commit(&mut self, kind: Kind, batch: Batch, drift: u64) -> Result<(), SyncError> {
        self.settle().await?;
        let Batch { rows, errors, failed } = batch;
        let read = if matches!(kind, Kind::Marks) { 0 } else { rows.len() as u64 };
        if failed > 0 {
            self.standing.progress.failing = true;
        }
        let connection = &self.engine.connection;
        let (calls, bytes) = (connection.api_calls(), connection.bytes_read());
        let spent = Spent {
            read,
            api_calls: calls - self.calls,
            bytes: bytes - self.bytes,
            drift_found: drift + std::mem::take(&mut self.drift),
            failed_cells: failed,
        };
        (self.calls, self.bytes) = (calls, bytes);
        let (store, run, mapping) = (self.engine.store.clone(), self.run.clone(), self.mapping.clone());
        let (standing, now) = (self.standing.clone(), self.engine.clock.now());
        self.pending = Some(tokio::spawn(async move {
            let errors: Vec<RowError> = errors.into_iter().map(row_error).collect();
            let change = match &kind {
                Kind::Rows => Change::Rows,
                Kind::Cells(columns) => Change::Cells(columns),
                Kind::Marks => Change::Marks,
            };
            let step = MappingStep { rows, change, standing: &standing, spent, errors: &errors };
            store.commit_rows(&run, &mapping, step, now).await
        }));
        Ok(())
    }

    /// Notes where the mapping stands, without rows.
    pub(super) async fn note(&mut self) -> Result<(), SyncError> {
        let rows = Rows::new(self.mapping.table.columns().len());
        self.commit(Kind::Rows, Batch::of(rows), 0).await?;
        self.settle().await
    }

    /// Waits until the last step is written. What it did is added to `outcome`.
    pub(super) async fn settle(&mut self) -> Result<(), SyncError> {
        let Some(pending) = self.pending.take() else { return Ok(()) };
        let (rows, outcome) = pending.await.map_err(|_| SyncError::Interrupted)??;
        self.outcome.inserted += outcome.inserted;
        self.outcome.updated += outcome.updated;
        self.outcome.deleted += outcome.deleted;
        self.spare = Some(rows);
        Ok(())
    }

    /// What steps did since this was asked last.
    pub(super) fn take_outcome(&mut self) -> StepOutcome {
        std::mem::take(&mut self.outcome)
    }
}

fn row_error(error: CellError) -> RowError {
    RowError { record: error.record, column: error.column, reason: error.reason, value: Some(error.value) }
}
