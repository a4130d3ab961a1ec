//! Rows into the org: any number, from any source, in as many jobs as they need.

use futures_util::{Stream, StreamExt};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::csv::Delimiter;
use super::feeder::{CHUNK, Feeder};
use super::job::{JobInfo, JobKind, JobState};
use super::rows::Rows;
use super::upload;
use crate::connection::Connection;
use crate::error::ClientError;
use crate::wait::Wait;

/// Bytes of a job's data unless told otherwise. Salesforce takes 150 MB of base64, which is what it makes of it: 100 MB of
/// CSV stay below that (Bulk API 2.0 Developer Guide, "Upload Job Data").
pub const BYTES_PER_JOB: u64 = 100_000_000;

/// What an ingest job does with its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Operation {
    /// Creates records.
    Insert,
    /// Changes records by their `Id`.
    Update,
    /// Creates or changes records by an external id.
    Upsert,
    /// Moves records to the recycle bin by their `Id`.
    Delete,
    /// Deletes records for good by their `Id`; the user needs the permission "Bulk API Hard Delete".
    HardDelete,
}

/// What is to be done with the rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct IngestOptions {
    /// The object, such as `Contact`.
    pub object: String,
    /// What is done.
    pub operation: Operation,
    /// With [`Operation::Upsert`]: the external id.
    #[serde(default)]
    pub external_id: Option<String>,
    /// What stands between the values.
    #[serde(default)]
    pub delimiter: Delimiter,
    /// Id of the assignment rule for cases and leads.
    #[serde(default)]
    pub assignment_rule: Option<String>,
    /// Bytes of one job's data at most.
    #[serde(default = "bytes_per_job")]
    pub bytes_per_job: u64,
}

fn bytes_per_job() -> u64 {
    BYTES_PER_JOB
}

impl IngestOptions {
    /// With the usual settings.
    pub fn new(object: impl Into<String>, operation: Operation) -> Self {
        Self {
            object: object.into(),
            operation,
            external_id: None,
            delimiter: Delimiter::default(),
            assignment_rule: None,
            bytes_per_job: BYTES_PER_JOB,
        }
    }

    /// An upsert by this external id.
    pub fn upsert(object: impl Into<String>, external_id: impl Into<String>) -> Self {
        Self { external_id: Some(external_id.into()), ..Self::new(object, Operation::Upsert) }
    }
}

/// A job that has all its data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IngestJob {
    /// Its id.
    pub id: String,
    /// The first of its rows, counted from 0 in the whole input.
    pub first_row: u64,
    /// How many it has.
    pub rows: u64,
}

/// All that is needed to go on with an ingest in another process. Write it down after each event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IngestHandle {
    /// What is done.
    pub options: IngestOptions,
    /// Jobs that have their data.
    pub jobs: Vec<IngestJob>,
    /// A job that is being given its data; the org does nothing with it yet.
    #[serde(default)]
    pub open_job: Option<String>,
    /// A job that has all its data, while it is not known that the org has heard that.
    #[serde(default)]
    pub handed: Option<IngestJob>,
    /// CRC-32 of the header line and the rows that these jobs have: who goes on must feed an input that begins with them.
    #[serde(default)]
    pub checksum: Option<u32>,
    /// The input was read to its end.
    #[serde(default)]
    pub complete: bool,
}

impl IngestHandle {
    /// Of an ingest that has not begun.
    pub fn new(options: IngestOptions) -> Self {
        Self { options, jobs: Vec::new(), open_job: None, handed: None, checksum: None, complete: false }
    }

    /// Rows that are known to be in the org's hands; those of a job that is `handed` may be as well.
    pub fn rows(&self) -> u64 {
        self.jobs.iter().map(|job| job.rows).sum()
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum IngestEvent<'a> {
    /// A job was made, and waits for its data.
    Opened {
        /// Its id.
        job: &'a str,
    },
    /// Data was produced for it.
    Produced {
        /// Rows so far, those of earlier jobs included.
        rows: u64,
        /// Bytes of CSV so far, those of earlier jobs included.
        bytes: u64,
    },
    /// A job has all its data, and is about to be told so. Who does not write this down cannot go on from here.
    Handed {
        /// It.
        job: &'a IngestJob,
    },
    /// A job has all its data, and the org works.
    Closed {
        /// It.
        job: &'a IngestJob,
    },
    /// A job was looked at.
    Seen {
        /// What the org says.
        info: &'a JobInfo,
    },
}

/// Which rows of the results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Results {
    /// Those that were written, with `sf__Id` and `sf__Created`.
    Successful,
    /// Those that were refused, with `sf__Id` and `sf__Error`.
    Failed,
    /// Those that the org did not come to.
    Unprocessed,
}

/// What became of all jobs.
#[derive(Debug, Clone, PartialEq)]
pub struct IngestSummary {
    /// The jobs at their end, in the order of their rows.
    pub jobs: Vec<JobInfo>,
    /// Rows that were sent.
    pub rows: u64,
}

impl IngestSummary {
    /// Rows that were worked off, those that failed among them.
    pub fn processed(&self) -> u64 {
        self.jobs.iter().map(|job| job.number_records_processed).sum()
    }

    /// Rows that failed.
    pub fn failed(&self) -> u64 {
        self.jobs.iter().map(|job| job.number_records_failed).sum()
    }

    /// Every row was worked off, and none failed.
    pub fn is_success(&self) -> bool {
        self.failed() == 0
            && self.processed() == self.rows
            && self.jobs.iter().all(|job| job.state == JobState::JobComplete)
    }
}

type OnEvent = Box<dyn FnMut(&IngestHandle, IngestEvent<'_>) + Send>;

/// An ingest: rows are fed to it, and it makes jobs of them.
///
/// ```no_run
/// # async fn example(org: tieline_client::Connection) -> Result<(), Box<dyn std::error::Error>> {
/// use tieline_client::bulk::{Ingest, IngestOptions, Operation, Wait};
///
/// let mut ingest = Ingest::new(&org, IngestOptions::new("Contact", Operation::Insert));
/// ingest.feed_csv(tokio::fs::File::open("contacts.csv").await?).await?;
/// let summary = ingest.wait(&Wait::default()).await?;
/// println!("{} of {} rows failed", summary.failed(), summary.rows);
/// # Ok(()) }
/// ```
pub struct Ingest {
    pub(super) connection: Connection,
    pub(super) handle: IngestHandle,
    on_event: OnEvent,
    seen: Vec<JobInfo>,
}

impl std::fmt::Debug for Ingest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ingest")
            .field("org", &self.connection.org())
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}

impl Ingest {
    /// Nothing is sent yet.
    pub fn new(connection: &Connection, options: IngestOptions) -> Self {
        Self::resume(connection, IngestHandle::new(options))
    }

    /// Goes on where another process stopped. If its input was not read to the end, feed the same input again from its
    /// beginning: rows that the org has already are passed over.
    pub fn resume(connection: &Connection, handle: IngestHandle) -> Self {
        Self { connection: connection.clone(), handle, on_event: Box::new(|_, _| {}), seen: Vec::new() }
    }

    /// Tells `on_event` what happens, with the handle as it stands then.
    pub fn on_event(self, on_event: impl FnMut(&IngestHandle, IngestEvent<'_>) + Send + 'static) -> Self {
        Self { on_event: Box::new(on_event), ..self }
    }

    /// What is needed to go on with it.
    pub fn handle(&self) -> &IngestHandle {
        &self.handle
    }

    /// Sends CSV with a header line, from any reader, as it comes. Line ends may be `LF` or `CRLF`; they become `LF`, those
    /// within values too, for the org refuses a mixture. A byte order mark is taken off. Empty lines are passed over.
    ///
    /// # Errors
    /// [`ClientError::Input`] for input that is not CSV, with the number of the record: what came before it, in jobs that
    /// have all their data, is being worked off; the job that was being filled is aborted. As [`Connection::send`] otherwise.
    pub async fn feed_csv(&mut self, mut input: impl AsyncRead + Unpin) -> Result<(), ClientError> {
        self.settle().await?;
        let mut feeder = Feeder::new(self);
        let mut chunk = vec![0; CHUNK];
        let outcome = loop {
            match input.read(&mut chunk).await {
                Ok(0) => break feeder.end().await,
                Ok(read) => {
                    if let Err(error) = feeder.chunk(&chunk[..read]).await {
                        break Err(error);
                    }
                }
                Err(error) => break Err(feeder.ingest.input(format!("the input cannot be read: {error}"))),
            }
        };
        feeder.close(outcome).await
    }

    /// Sends records of a type of the caller's: its fields are the columns, and `None` is an empty value. Names with a dot,
    /// such as `Account.Ext__c`, come by `#[serde(rename = "…")]`.
    ///
    /// # Errors
    /// As [`Ingest::feed_csv`]; [`ClientError::Input`] for a record that cannot be written.
    pub async fn feed<T: Serialize>(&mut self, records: impl Stream<Item = T>) -> Result<(), ClientError> {
        self.settle().await?;
        let delimiter = self.handle.options.delimiter.byte();
        let mut feeder = Feeder::new(self);
        let mut records = std::pin::pin!(records);
        let (mut buffer, mut header) = (Vec::with_capacity(CHUNK + 4096), true);
        let outcome = 'fed: loop {
            let mut writer = ::csv::WriterBuilder::new().delimiter(delimiter).has_headers(header).from_writer(buffer);
            let mut last = false;
            let mut size = 0;
            // The writer's own buffer holds 8 KB more.
            while size < CHUNK {
                let Some(record) = records.next().await else {
                    last = true;
                    break;
                };
                if let Err(error) = writer.serialize(record) {
                    break 'fed Err(feeder.ingest.input(format!("a record cannot be written as CSV: {error}")));
                }
                header = false;
                size = writer.get_ref().len();
            }
            buffer = match writer.into_inner() {
                Ok(buffer) => buffer,
                Err(error) => break Err(feeder.ingest.input(error.to_string())),
            };
            if let Err(error) = feeder.chunk(&buffer).await {
                break Err(error);
            }
            buffer.clear();
            if last {
                // No record, no header, and nothing to do, unless there were some before.
                break if header && feeder.is_new() { Ok(()) } else { feeder.end().await };
            }
        };
        feeder.close(outcome).await
    }

    /// Gives up what is not in the org's hands yet: aborts the job that was being filled, after a feed that was cancelled.
    pub async fn abandon(&mut self) {
        if let Some(job) = self.handle.open_job.take() {
            upload::give_up(&self.connection, &job).await;
        }
    }

    /// What another process left behind: a job with all its data is told so, if it was not; one without is aborted.
    async fn settle(&mut self) -> Result<(), ClientError> {
        if let Some(job) = self.handle.handed.clone() {
            // One that somebody aborted may have begun before; what it did not come to is among its unprocessed rows.
            if self.connection.job_info(JobKind::Ingest, &job.id).await?.state == JobState::Open {
                upload::close(&self.connection, &job.id).await?;
            }
            self.handed_over(job);
        }
        let Some(open) = self.handle.open_job.clone() else { return Ok(()) };
        match self.connection.job_info(JobKind::Ingest, &open).await?.state {
            JobState::Open => upload::give_up(&self.connection, &open).await,
            JobState::Aborted => {}
            state => {
                let reason = format!("job {open} is {state}, and it was not noted how many rows it was given");
                return Err(self.input(reason));
            }
        }
        self.handle.open_job = None;
        Ok(())
    }

    /// The org knows that a job has all its data.
    pub(super) fn handed_over(&mut self, job: IngestJob) {
        self.handle.jobs.push(job.clone());
        (self.handle.handed, self.handle.open_job) = (None, None);
        self.tell(IngestEvent::Closed { job: &job });
    }

    /// Aborts all jobs that have not ended. Rows that were worked off before stay as they are.
    ///
    /// # Errors
    /// As [`Connection::send`]; a job that has ended is none.
    pub async fn abort(&mut self) -> Result<(), ClientError> {
        // One that may not have been told to begin is not told so first.
        let of_handle = self.handle.jobs.iter().chain(&self.handle.handed).map(|job| &job.id);
        for job in of_handle.chain(&self.handle.open_job) {
            if let Err(error) = self.connection.abort_job(JobKind::Ingest, job).await
                && !self.connection.job_info(JobKind::Ingest, job).await?.state.is_final()
            {
                return Err(error);
            }
        }
        self.handle.open_job = None;
        if let Some(job) = self.handle.handed.clone() {
            self.handed_over(job);
        }
        Ok(())
    }

    /// Waits until all jobs have ended. Jobs that failed are no error here: the summary tells, and their rows are among the
    /// results.
    ///
    /// # Errors
    /// [`ClientError::StillRunning`] when the time is over; as [`Connection::send`] otherwise.
    pub async fn wait(&mut self, wait: &Wait) -> Result<IngestSummary, ClientError> {
        self.settle().await?;
        let begun = tokio::time::Instant::now();
        let mut jobs = Vec::with_capacity(self.handle.jobs.len());
        for job in &self.handle.jobs {
            let left = wait.at_most.map(|limit| limit.saturating_sub(begun.elapsed()));
            let wait = Wait { at_most: left, ..*wait };
            let (handle, on_event) = (&self.handle, &mut self.on_event);
            let seen = |info: &JobInfo| on_event(handle, IngestEvent::Seen { info });
            let outcome = self.connection.wait_for_job(JobKind::Ingest, &job.id, &wait, seen).await;
            jobs.push(match outcome {
                Err(ClientError::JobEnded { .. }) => self.connection.job_info(JobKind::Ingest, &job.id).await?,
                other => other?,
            });
        }
        self.seen.clone_from(&jobs);
        Ok(IngestSummary { jobs, rows: self.handle.rows() })
    }

    /// Rows of the results of one of the jobs, once it has ended.
    pub fn results(&self, job: &IngestJob, which: Results) -> Rows {
        let known = self.seen.iter().find(|info| info.id == job.id);
        Rows::of_file(&self.connection, job, which, self.handle.options.delimiter, known)
    }

    pub(super) fn input(&self, reason: String) -> ClientError {
        ClientError::Input { org: self.connection.org().to_owned(), reason }
    }

    pub(super) fn tell(&mut self, event: IngestEvent<'_>) {
        (self.on_event)(&self.handle, event);
    }
}
