//! A run under way, and its steps.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tieline_store::mappings::{Job, Mapping, MappingState, MappingStep, RowError, Spent, Standing, WalkKind};
use tieline_store::object_tables::{Change, Rows};
use tieline_store::{Checkpoint, Run};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::load::forget;
use super::pages::{IDS, Reading};
use super::portion::Portion;
use super::{Asked, Engine, MappingReport, Progress};
use crate::error::SyncError;
use crate::mapping::{CellError, Decoded, Definition, MOST_ERRORS, Plan};

/// What a step does to the table, with its columns.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    Rows,
    Cells(Arc<[usize]>),
    Marks,
}

impl Kind {
    fn of_table(&self) -> Change<'_> {
        match self {
            Kind::Rows => Change::Rows,
            Kind::Cells(columns) => Change::Cells(columns),
            Kind::Marks => Change::Marks,
        }
    }
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
    /// The same, as far as it is known to be in the database.
    written: Standing,
    pub(super) asked: Asked,
    /// As somebody wrote the mapping.
    pub(super) definition: Definition,
    /// The org can be asked what was changed and deleted.
    pub(super) replicates: bool,
    /// Up to when the org shows all changes, asked for before they are read.
    pub(super) proof: Option<Timestamp>,
    /// Something was met for which this run can prove nothing.
    pub(super) unproven: bool,
    /// Ids of the org's log of deletes, as numbers in order.
    pub(super) log: Option<Vec<u128>>,
    /// Ids of one query that the org answers in time.
    pub(super) ids_at_once: usize,
    /// Differences that were found and are not counted yet.
    pub(super) drift: u64,
    /// In a lock that nobody waits for: with it, a run may be looked at by another thread.
    progress: Mutex<&'e mut (dyn FnMut(Progress) + Send)>,
    shown: Progress,
    /// What was counted before the last step.
    calls: u64,
    pub(super) calls_at_start: u64,
    bytes: u64,
    spare: Option<Rows>,
    pending: Option<JoinHandle<Result<Written, SyncError>>>,
    portion: Portion,
}

/// A step that is in the database.
struct Written {
    /// What its rows were in, which the next one may have.
    spare: Rows,
    /// Where the mapping stands with it.
    standing: Standing,
    /// How many there were.
    rows: usize,
    /// How long that took.
    took: Duration,
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
            written: mapping.standing.clone(),
            mapping: Arc::new(mapping),
            reading: Reading::new(plan.clone(), engine.care.longest_query),
            plan,
            definition,
            asked: Asked::default(),
            replicates: false,
            proof: None,
            unproven: false,
            log: None,
            ids_at_once: IDS,
            drift: 0,
            progress: Mutex::new(progress),
            shown: Progress::default(),
            calls,
            calls_at_start: calls,
            bytes,
            spare: None,
            pending: None,
            portion: Portion::of(&engine.care),
        }
    }

    /// All that a run does.
    pub(super) async fn all(&mut self, asked: Asked) -> Result<(), SyncError> {
        self.asked = asked.and(self.standing.progress.asked);
        self.asked.allow_gone |= self.standing.progress.allow_gone;
        self.describe().await?;
        if self.asked.reload {
            self.begin_reload().await?;
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

    async fn begin_reload(&mut self) -> Result<(), SyncError> {
        self.standing.checkpoint = Checkpoint::default();
        let progress = &mut self.standing.progress;
        let job = progress.job.take();
        (progress.walk, progress.reloading) = (None, true);
        // From here on it goes on by itself.
        progress.asked.reload = false;
        progress.unfilled.clear();
        self.note().await?;
        self.give_up(job).await;
        self.set_state(MappingState::Reload).await
    }

    /// A job whose results nobody is going to read.
    pub(super) async fn give_up(&self, job: Option<Job>) {
        if let Some(job) = job {
            let connection = &self.engine.connection;
            forget(connection, connection.query_job(job.id)).await;
        }
    }

    /// Says how the mapping stands while the run goes on.
    pub(super) async fn set_state(&mut self, state: MappingState) -> Result<(), SyncError> {
        self.settle().await?;
        let now = self.engine.clock.now();
        self.engine.store.set_mapping_state(&self.run, &self.mapping, state, None, now).await?;
        let mapping = Arc::make_mut(&mut self.mapping);
        (mapping.state, mapping.state_reason) = (state, None);
        Ok(())
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

    /// A mapping that waited for calls and failed for another reason does not wait for calls any more.
    pub(super) fn state_without_quota(&self) -> Option<(MappingState, String)> {
        let state = match self.standing.checkpoint.through {
            Some(_) => MappingState::Synced,
            None => MappingState::Initial,
        };
        (self.mapping.state == MappingState::PausedQuota).then_some((state, String::new()))
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
        self.progress.get_mut().unwrap_or_else(PoisonError::into_inner)(self.shown);
    }

    /// Writes rows with where the mapping stands now. The write goes on while the next rows are read; it has ended before
    /// the next one begins, but that many rows may be on their way to the database already.
    pub(super) async fn commit(&mut self, kind: Kind, batch: Batch, drift: u64) -> Result<(), SyncError> {
        let Batch { rows, errors, failed } = batch;
        let count = rows.len();
        let (store, run, mapping) = (self.engine.store.clone(), self.run.clone(), self.mapping.clone());
        let (on_its_way, of, change) = (store.clone(), mapping.clone(), kind.clone());
        let staged = tokio::spawn(async move { on_its_way.stage_rows(&of, change.of_table(), rows).await });
        self.settle().await?;
        if failed > 0 {
            self.standing.progress.failing = true;
        }
        let connection = &self.engine.connection;
        let (calls, bytes) = (connection.api_calls(), connection.bytes_read());
        let spent = Spent {
            read: if matches!(kind, Kind::Marks) { 0 } else { count as u64 },
            api_calls: calls - self.calls,
            bytes: bytes - self.bytes,
            drift_found: drift + std::mem::take(&mut self.drift),
            failed_cells: failed,
        };
        (self.calls, self.bytes) = (calls, bytes);
        let (standing, now) = (self.standing.clone(), self.engine.clock.now());
        self.pending = Some(tokio::spawn(async move {
            let begun = Instant::now();
            let rows = staged.await.map_err(|_| SyncError::Interrupted)??;
            let errors: Vec<RowError> = errors.into_iter().map(row_error).collect();
            let step = MappingStep { rows, change: kind.of_table(), standing: &standing, spent, errors: &errors };
            let (spare, _) = store.commit_rows(&run, &mapping, step, now).await?;
            Ok(Written { spare, standing, rows: count, took: begun.elapsed() })
        }));
        Ok(())
    }

    /// A step's rows are as many as are written at once.
    pub(super) fn is_full(&self, rows: &Rows) -> bool {
        rows.len() >= self.portion.rows() || rows.size() >= self.engine.care.step_bytes
    }

    /// Notes where the mapping stands, without rows.
    pub(super) async fn note(&mut self) -> Result<(), SyncError> {
        let rows = Rows::new(self.mapping.table.columns().len());
        self.commit(Kind::Rows, Batch::of(rows), 0).await?;
        self.settle().await
    }

    /// Waits until the last step is written. If it was not, whatever is still noted of this run says that the mapping stands
    /// before it: its rows are read again.
    pub(super) async fn settle(&mut self) -> Result<(), SyncError> {
        let Some(pending) = self.pending.take() else { return Ok(()) };
        let written = pending.await.unwrap_or(Err(SyncError::Interrupted));
        let Written { spare, standing, rows, took } = written.inspect_err(|_| self.standing = self.written.clone())?;
        self.portion.took(rows, took, &self.engine.care);
        (self.spare, self.written) = (Some(spare), standing);
        // Something was committed: whoever watches sees that it goes on, though nothing was read.
        self.show(0, None);
        Ok(())
    }
}

fn row_error(error: CellError) -> RowError {
    RowError { record: error.record, column: error.column, reason: error.reason, value: Some(error.value) }
}
