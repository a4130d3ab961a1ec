//! Query jobs.

use reqwest::Method;
use serde_json::json;

use super::csv::Delimiter;
use super::job::{JobInfo, JobKind};
use super::rows::Rows;
use crate::connection::Connection;
use crate::error::ClientError;
use crate::wait::Wait;

/// How a query job runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BulkQueryOptions {
    /// Deleted and archived records too.
    pub deleted_too: bool,
    /// What stands between the values of its results.
    pub delimiter: Delimiter,
}

/// A query job, in the org. What is needed to come back to it is its id.
#[derive(Debug, Clone)]
pub struct QueryJob {
    connection: Connection,
    id: String,
    delimiter: Delimiter,
    /// Rows that it has, once it is known that it is complete.
    rows: std::sync::Arc<std::sync::OnceLock<u64>>,
}

impl Connection {
    /// Begins a query job. Salesforce takes no `GROUP BY`, `OFFSET`, `TYPEOF`, aggregates or queries of children here.
    ///
    /// # Errors
    /// As [`Connection::send`]. After a lost answer another job is begun: the first then has results that nobody reads.
    pub async fn bulk_query(&self, soql: &str, options: BulkQueryOptions) -> Result<QueryJob, ClientError> {
        let body = json!({
            "operation": if options.deleted_too { "queryAll" } else { "query" },
            "query": soql, "contentType": "CSV", "columnDelimiter": options.delimiter, "lineEnding": "LF",
        });
        let request = self.json(Method::POST, JobKind::Query.path(), &body)?.reading();
        let info: JobInfo = self.send_json(&request).await?;
        Ok(QueryJob { delimiter: options.delimiter, ..self.query_job(info.id) })
    }

    /// A query job that is in the org already, whoever began it. Nothing is sent yet.
    pub fn query_job(&self, id: impl Into<String>) -> QueryJob {
        QueryJob {
            connection: self.clone(),
            id: id.into(),
            delimiter: Delimiter::default(),
            rows: std::sync::Arc::default(),
        }
    }
}

impl QueryJob {
    /// Under which [`Connection::query_job`] finds it again.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The same with results that have this between their values; as it was begun with.
    pub fn delimited_by(self, delimiter: Delimiter) -> Self {
        Self { delimiter, ..self }
    }

    /// What the org says of it.
    ///
    /// # Errors
    /// As [`Connection::job_info`].
    pub async fn info(&self) -> Result<JobInfo, ClientError> {
        let info = self.connection.job_info(JobKind::Query, &self.id).await?;
        self.learn(&info);
        Ok(info)
    }

    /// Waits until it is complete.
    ///
    /// # Errors
    /// As [`Connection::wait_for_job`].
    pub async fn wait(&self, wait: &Wait) -> Result<JobInfo, ClientError> {
        self.wait_and(wait, |_| {}).await
    }

    /// The same, and shows `seen` what the org says at each look.
    ///
    /// # Errors
    /// As [`Connection::wait_for_job`].
    pub async fn wait_and(&self, wait: &Wait, seen: impl FnMut(&JobInfo)) -> Result<JobInfo, ClientError> {
        let info = self.connection.wait_for_job(JobKind::Query, &self.id, wait, seen).await?;
        self.learn(&info);
        Ok(info)
    }

    fn learn(&self, info: &JobInfo) {
        if info.state == super::job::JobState::JobComplete {
            // Another waiter may have been first; the number is the same.
            let _ = self.rows.set(info.number_records_processed);
        }
    }

    /// Its rows, in the order of the result, each page read ahead by a few pieces.
    pub fn rows(&self) -> Rows {
        self.rows_at_once(1)
    }

    /// The same with so many pages under way at once, where the org offers that (v58 and later); their rows still come in
    /// order. Each page under way holds up to a few megabytes.
    pub fn rows_at_once(&self, pages: usize) -> Rows {
        let rows = Rows::of_query(&self.connection, &self.id, self.delimiter, pages);
        rows.expecting(self.rows.get().copied())
    }

    /// Ends it.
    ///
    /// # Errors
    /// As [`Connection::abort_job`].
    pub async fn abort(&self) -> Result<JobInfo, ClientError> {
        self.connection.abort_job(JobKind::Query, &self.id).await
    }

    /// Removes it with its results.
    ///
    /// # Errors
    /// As [`Connection::delete_job`].
    pub async fn delete(&self) -> Result<(), ClientError> {
        self.connection.delete_job(JobKind::Query, &self.id).await
    }
}
