//! The result of a query: Arrow record batches, in order, each row once.
//!
//! Rows are numbered. What has come with the answer to the query counts from nought; the rest is fetched by row number, a
//! few parts ahead of the reader. So whatever ends a stream too early (a server that gives up waiting, a connection that
//! breaks, a token that runs out), the next call goes on at the first row that is missing. Memory is bounded by the parts
//! on their way, however large the result.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};
use futures_util::Stream;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::cloud::DataCloud;
use crate::error::DataCloudError;
use crate::proto::{self, query_status::CompletionStatus};

mod begin;
mod decoder;
mod fetch;
mod info;

/// Batches of one part that may wait for the reader.
const WAITING: usize = 2;
/// Rows of the first part where nothing tells their size yet.
const FIRST_GUESS: u64 = 50_000;

/// How far a query is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct QueryStatus {
    /// Identifies the query at the tenant; another process can read the result by it.
    pub query_id: String,
    /// All rows are there.
    pub complete: bool,
    /// The result is kept until it expires.
    pub kept: bool,
    /// Rows so far; of a statement without result, the rows that it changed.
    pub rows: u64,
    /// From 0 to 1.
    pub progress: f64,
    /// When the result is dropped.
    pub expires_at: Option<Timestamp>,
    /// How long the server has worked on it, in seconds.
    pub seconds: Option<f64>,
}

/// The rows of a query. Dropping it ends what is under way; a query that still runs is cancelled, unless it was found by its
/// id.
pub struct Results {
    cloud: DataCloud,
    sql: Arc<str>,
    schema: SchemaRef,
    /// A statement that answers with no rows has none.
    has_rows: bool,
    shared: Arc<Shared>,
    /// In order.
    parts: VecDeque<Part>,
    /// Rows before this one have been asked for. `None`: nobody knows yet how many come with the query's own answer.
    planned: Option<u64>,
    tasks: JoinSet<()>,
    ended: bool,
    /// For a query of one's own; another one's goes on.
    _cancel: Option<CancelOnDrop>,
}

/// What one task brings.
struct Part {
    batches: Batches,
    /// Rows that it has brought.
    come: u64,
    /// Rows that it is to bring; `None` for the query's own answer, which tells at its end.
    wanted: Option<u64>,
}

type Batches = mpsc::Receiver<Result<RecordBatch, DataCloudError>>;

/// Nobody reads the result any more: the tenant need not go on.
struct CancelOnDrop {
    cloud: DataCloud,
    shared: Arc<Shared>,
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        let QueryStatus { query_id, complete, .. } = self.shared.known().status.clone();
        if complete || query_id.is_empty() {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let cloud = self.cloud.clone();
            runtime.spawn(async move {
                if let Err(error) = cloud.cancel(&query_id).await {
                    tracing::debug!(query_id, "{error}");
                }
            });
        }
    }
}

/// What the tasks of one result know in common.
#[derive(Default)]
struct Shared(Mutex<Known>);

#[derive(Default)]
struct Known {
    status: QueryStatus,
    /// Rows that came with the query's own answer, once that has ended.
    first: Option<u64>,
    /// Of all that has come so far.
    rows: u64,
    bytes: u64,
}

impl Shared {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The query has an id: it runs, or has run.
    fn is_told(&self) -> bool {
        !self.known().status.query_id.is_empty()
    }

    fn learn(&self, status: proto::QueryStatus) {
        let mut known = self.known();
        let completion = status.completion_status();
        if known.status.query_id.is_empty() && !status.query_id.is_empty() {
            tracing::debug!(query = status.query_id, "the query has an id");
        }
        let new = QueryStatus {
            query_id: if status.query_id.is_empty() { known.status.query_id.clone() } else { status.query_id },
            // Messages may overtake each other between calls; what is complete stays so.
            complete: known.status.complete || completion != CompletionStatus::RunningOrUnspecified,
            kept: known.status.kept || completion == CompletionStatus::Finished,
            rows: known.status.rows.max(status.row_count),
            progress: known.status.progress.max(status.progress),
            expires_at: status
                .expiration_time
                .and_then(|at| Timestamp::new(at.seconds, at.nanos).ok())
                .or(known.status.expires_at),
            seconds: status.execution_stats.map(|stats| stats.wall_clock_time).or(known.status.seconds),
        };
        known.status = new;
    }

    fn has_come(&self, rows: u64, bytes: usize) {
        let mut known = self.known();
        known.rows += rows;
        known.bytes += bytes as u64;
    }
}

impl std::fmt::Debug for Results {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Results").field("status", &self.status()).field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl Results {
    /// Names and types of the columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// False for a statement that answers with no rows.
    pub fn has_rows(&self) -> bool {
        self.has_rows
    }

    /// How far the query is, as far as is known here.
    pub fn status(&self) -> QueryStatus {
        self.shared.known().status.clone()
    }

    /// The next rows; `None` after the last ones.
    ///
    /// # Errors
    /// As [`Query::run`](crate::Query::run). What came before the error was right.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, DataCloudError> {
        while !self.ended {
            self.plan();
            if let Some(part) = self.parts.front_mut() {
                match part.batches.recv().await {
                    Some(Ok(batch)) => {
                        part.come += batch.num_rows() as u64;
                        self.plan();
                        return Ok(Some(batch));
                    }
                    Some(Err(error)) => {
                        self.ended = true;
                        return Err(error);
                    }
                    None => self.part_has_ended()?,
                }
            } else if self.status().complete && self.planned.is_some() {
                self.ended = true;
            } else {
                let beyond = if self.has_rows { self.planned.unwrap_or(0) } else { u64::MAX };
                if let Err(error) = self.cloud.wait_for_rows(&self.shared, &self.sql, beyond).await {
                    self.ended = true;
                    return Err(error);
                }
            }
        }
        Ok(None)
    }

    /// A task that died (of an answer that nobody thought of) must not look like one that is done.
    fn part_has_ended(&mut self) -> Result<(), DataCloudError> {
        let Some(part) = self.parts.pop_front() else { return Ok(()) };
        let wanted = part.wanted.or(self.shared.known().first);
        if wanted == Some(part.come) {
            return Ok(());
        }
        self.ended = true;
        let wanted = wanted.map_or_else(String::new, |wanted| format!(" of {wanted}"));
        Err(begin::unreadable(&self.cloud, format!("a part ended after {}{wanted} rows", part.come)))
    }

    /// All batches as a stream; it ends after the first error.
    pub fn into_stream(self) -> impl Stream<Item = Result<RecordBatch, DataCloudError>> + Send {
        futures_util::stream::unfold(self, |mut this| async move {
            let next = this.next().await.transpose()?;
            Some((next, this))
        })
    }

    /// Ends the query at the tenant, whatever it has produced.
    ///
    /// # Errors
    /// When the tenant cannot be reached.
    pub async fn cancel(self) -> Result<(), DataCloudError> {
        let id = self.status().query_id;
        self.cloud.cancel(&id).await?;
        // Nothing is left to be cancelled.
        self.shared.known().status.complete = true;
        Ok(())
    }

    /// Asks for what can be asked for by now.
    fn plan(&mut self) {
        let (first, rows) = {
            let known = self.shared.known();
            (known.first, known.status.rows)
        };
        let Some(first) = first else { return };
        let mut planned = self.planned.unwrap_or(first);
        while self.has_rows && planned < rows && self.parts.len() <= self.cloud.0.options.read_ahead {
            let count = self.rows_of_a_part().min(rows - planned);
            let part = self.fetch(planned, count);
            self.parts.push_back(part);
            planned += count;
        }
        self.planned = Some(planned);
    }

    fn rows_of_a_part(&self) -> u64 {
        let known = self.shared.known();
        match known.rows {
            0 => FIRST_GUESS,
            rows => (self.cloud.0.options.part_bytes.saturating_mul(rows) / known.bytes.max(1)).max(1),
        }
    }

    fn fetch(&mut self, offset: u64, count: u64) -> Part {
        let (rows, batches) = mpsc::channel(WAITING);
        let range = fetch::Range { offset, count };
        let task = fetch::fetch(self.cloud.clone(), self.sql.clone(), self.shared.clone(), range, rows);
        self.tasks.spawn(task);
        // Those that are done are let go.
        while self.tasks.try_join_next().is_some() {}
        Part { batches, come: 0, wanted: Some(count) }
    }

    fn empty_schema() -> SchemaRef {
        Arc::new(Schema::empty())
    }
}
