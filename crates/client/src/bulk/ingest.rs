//! Rows into the org: any number, from any source, in as many jobs as they need.

use futures_util::{Stream, StreamExt};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::task::JoinHandle;

use super::csv::{Delimiter, Found, Parser, Scanner};
use super::job::{JobInfo, JobKind, JobState, Wait};
use super::rows::Rows;
use super::spool::Spool;
use super::upload;
use crate::connection::Connection;
use crate::error::ClientError;

/// Bytes of a job's data unless told otherwise. Salesforce takes 150 MB of base64, which is what it makes of it: 100 MB of
/// CSV stay below that (Bulk API 2.0 Developer Guide, "Upload Job Data").
pub const BYTES_PER_JOB: u64 = 100_000_000;
/// Longest header line, in characters; the same guide.
const LONGEST_HEADER: usize = 32_000;
/// Read and written at once.
const CHUNK: usize = 256 * 1024;

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
    /// The input was read to its end.
    #[serde(default)]
    pub complete: bool,
}

impl IngestHandle {
    /// Rows that are in the org's hands.
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
    /// A job has all its data.
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
        Self::resume(connection, IngestHandle { options, jobs: Vec::new(), open_job: None, complete: false })
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
                break feeder.end().await;
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

    /// Aborts all jobs that have not ended. Rows that were worked off before stay as they are.
    ///
    /// # Errors
    /// As [`Connection::send`]; a job that has ended is none.
    pub async fn abort(&mut self) -> Result<(), ClientError> {
        self.abandon().await;
        for job in &self.handle.jobs {
            match self.connection.abort_job(JobKind::Ingest, &job.id).await {
                Ok(_) => {}
                Err(error) => {
                    let info = self.connection.job_info(JobKind::Ingest, &job.id).await?;
                    if !info.state.is_final() {
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    }

    /// Waits until all jobs have ended. Jobs that failed are no error here: the summary tells, and their rows are among the
    /// results.
    ///
    /// # Errors
    /// [`ClientError::StillRunning`] when the time is over; as [`Connection::send`] otherwise.
    pub async fn wait(&mut self, wait: &Wait) -> Result<IngestSummary, ClientError> {
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

    fn tell(&mut self, event: IngestEvent<'_>) {
        (self.on_event)(&self.handle, event);
    }
}

/// Makes jobs of chunks of CSV.
struct Feeder<'a> {
    ingest: &'a mut Ingest,
    scanner: Scanner,
    /// The header line with its line end; empty until it has come.
    header: Vec<u8>,
    columns: usize,
    /// A record that is not complete yet.
    partial: Vec<u8>,
    /// What is to be written next.
    buffer: Vec<u8>,
    part: Option<Part>,
    /// Records of the input so far, the header not counted.
    records: u64,
    /// Records that the org has already.
    pass_over: u64,
    bytes: u64,
}

/// A job that is being filled.
struct Part {
    spool: Spool,
    upload: JoinHandle<Result<String, ClientError>>,
    first_row: u64,
    rows: u64,
    bytes: u64,
}

impl Drop for Part {
    fn drop(&mut self) {
        self.upload.abort();
    }
}

impl<'a> Feeder<'a> {
    fn new(ingest: &'a mut Ingest) -> Self {
        let pass_over = ingest.handle.rows();
        Self {
            ingest,
            scanner: Scanner::default(),
            header: Vec::new(),
            columns: 0,
            partial: Vec::new(),
            buffer: Vec::with_capacity(CHUNK * 2),
            part: None,
            records: 0,
            pass_over,
            bytes: 0,
        }
    }

    /// Takes a piece of the input, which may end anywhere.
    async fn chunk(&mut self, chunk: &[u8]) -> Result<(), ClientError> {
        let mut rest = chunk;
        while let Some(end) = self.scanner.end(rest) {
            let (record, after) = rest.split_at(end);
            rest = after;
            if self.partial.is_empty() {
                self.record(record).await?;
            } else {
                let mut whole = std::mem::take(&mut self.partial);
                whole.extend_from_slice(record);
                let outcome = self.record(&whole).await;
                whole.clear();
                self.partial = whole;
                outcome?;
            }
        }
        self.partial.extend_from_slice(rest);
        // Salesforce takes 400,000 characters in a record; a quote that nobody closes would collect the whole input.
        if self.partial.len() > 4 << 20 {
            let reason = format!("record {} is longer than 4 MB: is a quote in it not closed?", self.records + 1);
            return Err(self.ingest.input(reason));
        }
        Ok(())
    }

    /// Takes a record with its line end.
    async fn record(&mut self, record: &[u8]) -> Result<(), ClientError> {
        let record = record.strip_suffix(b"\n").unwrap_or(record);
        let record = record.strip_suffix(b"\r").unwrap_or(record);
        if self.header.is_empty() {
            return self.take_header(record);
        }
        if record.is_empty() {
            return Ok(());
        }
        let values = values(record, self.ingest.handle.options.delimiter.byte());
        if values != self.columns {
            let reason = format!("record {} has {values} values and the header {}", self.records + 1, self.columns);
            return Err(self.ingest.input(reason));
        }
        self.records += 1;
        if self.records <= self.pass_over {
            return Ok(());
        }
        let size = record.len() as u64 + 1;
        let full = |part: &Part, limit: u64| part.rows > 0 && part.bytes + size > limit;
        if self.part.as_ref().is_some_and(|part| full(part, self.ingest.handle.options.bytes_per_job)) {
            self.finish().await?;
        }
        if self.part.is_none() {
            self.begin().await?;
        }
        if memchr::memchr(b'\r', record).is_some() {
            let mut from = 0;
            for at in memchr::memmem::find_iter(record, b"\r\n") {
                self.buffer.extend_from_slice(&record[from..at]);
                from = at + 1;
            }
            self.buffer.extend_from_slice(&record[from..]);
        } else {
            self.buffer.extend_from_slice(record);
        }
        self.buffer.push(b'\n');
        if let Some(part) = &mut self.part {
            part.rows += 1;
            part.bytes += size;
        }
        if self.buffer.len() >= CHUNK { self.write().await } else { Ok(()) }
    }

    fn take_header(&mut self, record: &[u8]) -> Result<(), ClientError> {
        let record = record.strip_prefix(b"\xef\xbb\xbf").unwrap_or(record);
        let mut parser = Parser::new(self.ingest.handle.options.delimiter);
        let line = [record, b"\n"].concat();
        if parser.read(&mut &line[..]) != Found::Row {
            return Err(self.ingest.input("the header line is empty or not UTF-8".to_owned()));
        }
        let names: Vec<&str> = parser.row().iter().collect();
        let problem = if line.len() > LONGEST_HEADER {
            Some(format!("the header line has more than {LONGEST_HEADER} bytes"))
        } else if let Some(n) = names.iter().position(|name| name.trim().is_empty()) {
            Some(format!("column {} has no name in the header line", n + 1))
        } else {
            let twice = |n: &usize| names[..*n].iter().any(|earlier| earlier.eq_ignore_ascii_case(names[*n]));
            (0..names.len()).find(twice).map(|n| format!("the header line names `{}` twice", names[n]))
        };
        if let Some(reason) = problem {
            return Err(self.ingest.input(reason));
        }
        self.columns = names.len();
        self.header = line;
        Ok(())
    }

    async fn begin(&mut self) -> Result<(), ClientError> {
        self.ingest.abandon().await;
        let (connection, options) = (self.ingest.connection.clone(), self.ingest.handle.options.clone());
        let spool = Spool::new().map_err(|e| self.ingest.input(format!("no temporary file can be made: {e}")))?;
        let job = upload::create(&connection, &options).await?;
        self.ingest.handle.open_job = Some(job.clone());
        self.ingest.tell(IngestEvent::Opened { job: &job });
        let upload = tokio::spawn(upload::upload(connection, options, job, spool.spooled()));
        let first_row = self.records - 1;
        self.part = Some(Part { spool, upload, first_row, rows: 0, bytes: self.header.len() as u64 });
        self.buffer.extend_from_slice(&self.header);
        Ok(())
    }

    async fn write(&mut self) -> Result<(), ClientError> {
        let Some(part) = &mut self.part else { return Ok(()) };
        if part.upload.is_finished() {
            return match (&mut part.upload).await {
                Ok(Err(error)) => Err(error),
                // It cannot be done before all is written.
                Ok(Ok(_)) => Err(self.ingest.input("the org took the data before it was complete".to_owned())),
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            };
        }
        self.bytes += self.buffer.len() as u64;
        let buffer = std::mem::take(&mut self.buffer);
        self.buffer = part.spool.write(buffer).await.map_err(|e| ClientError::Input {
            org: self.ingest.connection.org().to_owned(),
            reason: format!("the temporary file cannot be written: {e}"),
        })?;
        let (rows, bytes) = (self.records, self.bytes);
        self.ingest.tell(IngestEvent::Produced { rows, bytes });
        Ok(())
    }

    /// Gives a job its last data and lets the org begin.
    async fn finish(&mut self) -> Result<(), ClientError> {
        self.write().await?;
        let Some(mut part) = self.part.take() else { return Ok(()) };
        part.spool.complete();
        let id = match (&mut part.upload).await {
            Ok(id) => id?,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        self.ingest.handle.open_job = Some(id.clone());
        upload::close(&self.ingest.connection, &id).await?;
        let job = IngestJob { id, first_row: part.first_row, rows: part.rows };
        self.ingest.handle.jobs.push(job.clone());
        self.ingest.handle.open_job = None;
        self.ingest.tell(IngestEvent::Closed { job: &job });
        Ok(())
    }

    async fn end(&mut self) -> Result<(), ClientError> {
        if self.scanner.is_quoted() {
            let reason = format!("record {} ends within a quoted value", self.records + 1);
            return Err(self.ingest.input(reason));
        }
        if !self.partial.is_empty() {
            let last = std::mem::take(&mut self.partial);
            self.record(&last).await?;
        }
        if self.header.is_empty() {
            return Err(self.ingest.input("it is empty; a header line is needed".to_owned()));
        }
        if self.records < self.pass_over {
            let reason = format!("the org has {} records already, and the input has {}", self.pass_over, self.records);
            return Err(self.ingest.input(reason));
        }
        self.finish().await
    }

    async fn close(mut self, outcome: Result<(), ClientError>) -> Result<(), ClientError> {
        match outcome {
            Ok(()) => {
                self.ingest.handle.complete = true;
                Ok(())
            }
            Err(error) => {
                self.part = None;
                self.ingest.abandon().await;
                Err(error)
            }
        }
    }
}

/// How many values a record has.
fn values(record: &[u8], delimiter: u8) -> usize {
    if memchr::memchr(b'"', record).is_none() {
        return memchr::memchr_iter(delimiter, record).count() + 1;
    }
    let (mut quoted, mut values) = (false, 1);
    for byte in record {
        match byte {
            b'"' => quoted = !quoted,
            byte if *byte == delimiter && !quoted => values += 1,
            _ => {}
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_outside_of_quotes() {
        for (record, expected) in [("a", 1), ("a,b,", 3), ("\"a,b\",c", 2), ("\"a \"\",\"\" b\",\"\n,\"", 2), (",", 2)]
        {
            assert_eq!(values(record.as_bytes(), b','), expected, "{record}");
        }
    }
}
