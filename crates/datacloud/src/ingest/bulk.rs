//! Bulk jobs: a CSV stream of any length.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncBufRead, BufReader};

use super::split::{File, Splitter};
use super::{Job, JobState, Operation, Target, with_note};
use crate::cloud::DataCloud;
use crate::error::DataCloudError;
use crate::http::{Call, Content, local, segment};

/// First and longest wait between looks at a job.
const LOOKS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// How a stream is cut into files and jobs.
#[derive(Debug, Clone, Copy)]
pub struct BulkOptions {
    /// Bytes of a file at most. The API takes 150 MB.
    pub file_bytes: u64,
    /// Files of a job at most. The API takes 100.
    pub files: usize,
}

impl Default for BulkOptions {
    fn default() -> Self {
        Self { file_bytes: 150_000_000, files: 100 }
    }
}

impl Target {
    /// Sends a CSV; answers the jobs that carry it, closed, in order. More than one
    /// is needed from 15 GB on. For an upsert its first line names the fields; for a deletion it has no such line, and the
    /// primary key in the first column (in the second, where the data stream has one, the record's version). Memory does not grow with the input: each file lies on disk until it is taken.
    ///
    /// # Errors
    /// When the CSV cannot be read or cut, or a call fails. The job that was being filled is aborted; jobs before it have
    /// been closed, and the error names them. `progress` is told the job that is being filled and the rows sent so far, first
    /// when the job is opened: whoever drops the future can end it.
    ///
    /// ```no_run
    /// # async fn example(cloud: tieline_datacloud::DataCloud) -> Result<(), Box<dyn std::error::Error>> {
    /// use tieline_datacloud::ingest::{BulkOptions, Operation};
    /// let csv = tokio::fs::File::open("views.csv").await?;
    /// let target = cloud.ingest("web", "page_view");
    /// for job in target.send_csv(Operation::Upsert, csv, BulkOptions::default(), |_, _| ()).await? {
    ///     let job = cloud.wait_for_ingest_job(&job.id, None).await?;
    ///     println!("{} is {:?}", job.id, job.state);
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn send_csv(
        &self,
        operation: Operation,
        csv: impl tokio::io::AsyncRead + Unpin,
        options: BulkOptions,
        progress: impl FnMut(&Job, u64),
    ) -> Result<Vec<Job>, DataCloudError> {
        let input = BufReader::with_capacity(1 << 20, csv);
        self.send_buffered(operation, input, options, progress).await
    }

    async fn send_buffered(
        &self,
        operation: Operation,
        csv: impl AsyncBufRead + Unpin,
        options: BulkOptions,
        mut progress: impl FnMut(&Job, u64),
    ) -> Result<Vec<Job>, DataCloudError> {
        let what = self.what("reading the CSV");
        let mut files = Splitter::new(csv, options.file_bytes, operation == Operation::Upsert)
            .await
            .map_err(|e| unfit(&what, &e))?;
        let mut jobs: Vec<Job> = Vec::new();
        let mut records = 0;
        let mut waiting = files.next().await.map_err(|e| unfit(&what, &e))?;
        while waiting.is_some() {
            let job = self.open_job(operation).await.map_err(|error| after(&jobs, error))?;
            progress(&job, records);
            let mut sent = 0;
            while sent < options.files.max(1)
                && let Some(file) = waiting.take()
            {
                let outcome = match self.upload(&job.id, &file).await {
                    Ok(()) => files.next().await.map_err(|e| unfit(&what, &e)),
                    Err(error) => Err(error),
                };
                match outcome {
                    Ok(next) => waiting = next,
                    Err(error) => {
                        // Half of the rows would be worse than none.
                        self.drop_job(&job.id).await;
                        return Err(after(&jobs, error));
                    }
                }
                records += file.records;
                sent += 1;
                progress(&job, records);
            }
            self.close(&job.id).await.map_err(|error| after(&jobs, error))?;
            jobs.push(Job { state: JobState::UploadComplete, ..job });
        }
        Ok(jobs)
    }

    async fn open_job(&self, operation: Operation) -> Result<Job, DataCloudError> {
        let body = json!({"object": self.object, "sourceName": self.connector, "operation": operation});
        self.cloud.rest_json(&Call::json(self.what("opening a job"), Method::POST, "/api/v1/ingest/jobs", &body)).await
    }

    /// The files of a job are there. If the answer got lost, the job itself tells.
    async fn close(&self, job: &str) -> Result<(), DataCloudError> {
        let Err(error) = self.cloud.change_job(job, "UploadComplete").await else { return Ok(()) };
        match self.cloud.ingest_job(job).await {
            Ok(Job { state: JobState::Open, .. }) => self.drop_job(job).await,
            Ok(Job { state: JobState::Failed | JobState::Aborted, .. }) | Err(_) => {}
            Ok(_) => return Ok(()),
        }
        Err(error)
    }

    async fn drop_job(&self, job: &str) {
        if let Err(error) = self.cloud.abort_ingest_job(job).await {
            tracing::warn!(job, "{error}");
        }
    }

    async fn upload(&self, job: &str, file: &File) -> Result<(), DataCloudError> {
        let call = Call {
            what: format!("uploading to ingest job {job}"),
            method: Method::PUT,
            path: format!("/api/v1/ingest/jobs/{}/batches", segment(job)),
            body: Content::Csv(&file.file, file.bytes),
            // Rows go by their primary key: the same file twice changes nothing.
            idempotent: true,
        };
        self.cloud.rest(&call).await.map(drop)
    }
}

impl DataCloud {
    /// Waits until nothing will change about a job any more, or the time is over: then the job is answered as it is,
    /// for it goes on without us.
    ///
    /// # Errors
    /// As [`DataCloud::ingest_job`].
    pub async fn wait_for_ingest_job(&self, id: &str, at_most: Option<Duration>) -> Result<Job, DataCloudError> {
        let end = at_most.and_then(|time| tokio::time::Instant::now().checked_add(time));
        let mut pause = LOOKS.0;
        loop {
            let job = self.ingest_job(id).await?;
            let now = tokio::time::Instant::now();
            if job.state.is_final() || end.is_some_and(|end| now >= end) {
                return Ok(job);
            }
            tokio::time::sleep(end.map_or(pause, |end| pause.min(end - now))).await;
            pause = (pause * 2).min(LOOKS.1);
        }
    }
}

fn unfit(what: &str, error: &std::io::Error) -> DataCloudError {
    match local(what, error) {
        DataCloudError::Local { what, reason, .. } => {
            DataCloudError::Local { what, reason, hint: "correct the CSV, and send it again".to_owned() }
        }
        error => error,
    }
}

/// The jobs before the one that failed are on their way.
fn after(jobs: &[Job], error: DataCloudError) -> DataCloudError {
    if jobs.is_empty() {
        return error;
    }
    let ids: Vec<&str> = jobs.iter().map(|job| job.id.as_str()).collect();
    with_note(error, &format!("complete before it: ingest jobs {}", ids.join(", ")))
}
