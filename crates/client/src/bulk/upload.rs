//! The data of an ingest job: put there once, whatever becomes of the connection.

use std::sync::Arc;

use reqwest::Method;
use serde_json::json;

use super::ingest::{IngestOptions, Operation};
use super::job::{JobInfo, JobKind, JobState};
use super::spool::Spooled;
use crate::connection::Connection;
use crate::error::ClientError;
use crate::request::{Body, Request};

/// Makes a job without data. A lost answer leaves one behind that never gets any, and that does nothing.
pub(super) async fn create(connection: &Connection, options: &IngestOptions) -> Result<String, ClientError> {
    let mut body = json!({
        "object": options.object, "operation": options.operation, "contentType": "CSV", "lineEnding": "LF",
        "columnDelimiter": options.delimiter,
    });
    if let (Operation::Upsert, Some(field)) = (options.operation, &options.external_id) {
        body["externalIdFieldName"] = json!(field);
    }
    if let Some(rule) = &options.assignment_rule {
        body["assignmentRuleId"] = json!(rule);
    }
    let request = connection.json(Method::POST, JobKind::Ingest.path(), &body)?.reading();
    Ok(connection.send_json::<JobInfo>(&request).await?.id)
}

/// Uploads a file as it is written, and answers the job that has it. A job takes data once. So when an answer was lost,
/// the job is aborted, before it was closed and so before anything was done, and another takes its place.
pub(super) async fn upload(
    connection: Connection,
    options: IngestOptions,
    mut job: String,
    data: Spooled,
) -> Result<String, ClientError> {
    let mut attempt = 1;
    loop {
        let path = connection.data_path(&format!("jobs/ingest/{job}/batches"));
        let open = {
            let data = data.clone();
            Arc::new(move || data.body())
        };
        let request = Request::new(Method::PUT, path)
            .with_body(Body::Stream { content_type: "text/csv; charset=UTF-8".to_owned(), open })
            .repeatable(false);
        match connection.send_for_nothing(&request).await {
            Ok(()) => return Ok(job),
            Err(error) if error.outcome_unknown() && attempt < connection.options().retry.attempts => {
                tracing::info!(job, attempt, "{}; another job takes its place", error.without_data());
                tokio::time::sleep(connection.options().retry.pause(attempt, None)).await;
                attempt += 1;
                give_up(&connection, &job).await;
                job = create(&connection, &options).await?;
            }
            Err(error) => {
                give_up(&connection, &job).await;
                return Err(error);
            }
        }
    }
}

/// Aborts a job that was not closed, if the org can be reached. Left open it does nothing either.
pub(super) async fn give_up(connection: &Connection, job: &str) {
    if let Err(error) = connection.abort_job(JobKind::Ingest, job).await {
        tracing::info!(job, "could not be aborted, and stays open without effect: {}", error.without_data());
    }
}

/// Says that all data is there. From here on the org works.
pub(super) async fn close(connection: &Connection, job: &str) -> Result<(), ClientError> {
    match connection.set_state(JobKind::Ingest, job, "UploadComplete").await {
        Ok(_) => Ok(()),
        Err(error) => {
            // The first attempt may have closed it, though its answer was lost.
            let info = connection.job_info(JobKind::Ingest, job).await;
            match info {
                Ok(info) if !matches!(info.state, JobState::Open | JobState::Aborted) => Ok(()),
                _ => Err(error),
            }
        }
    }
}
