//! `tieline bulk`: Bulk API 2.0. Jobs outlive the program that began them, so each command names the job and how to go on.

mod ingest;
mod job;
pub(super) mod query;
mod results;
mod resume;
mod running;
mod state;
mod summary;

use std::time::Duration;

use clap::Subcommand;
use tieline_client::bulk::{Delimiter, JobInfo, JobKind, Wait};
use tieline_client::{ClientError, Connection};

use crate::failure::Failure;

/// Very many records: query and ingest jobs (Bulk API 2.0)
#[derive(Subcommand)]
pub(crate) enum Bulk {
    Query(query::BulkQuery),
    Ingest(Box<ingest::BulkIngest>),
    Status(job::Status),
    Resume(resume::Resume),
    Results(results::JobResults),
    Abort(job::Abort),
    Jobs(job::Jobs),
}

impl Bulk {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self {
            Bulk::Query(command) => command.run().await,
            Bulk::Ingest(command) => command.run().await,
            Bulk::Status(command) => command.run().await,
            Bulk::Resume(command) => command.run().await,
            Bulk::Results(command) => command.run().await,
            Bulk::Abort(command) => command.run().await,
            Bulk::Jobs(command) => command.run().await,
        }
    }
}

/// How long to wait.
fn wait(seconds: Option<u64>) -> Wait {
    Wait { at_most: seconds.map(Duration::from_secs), ..Wait::default() }
}

/// Which of the two kinds a job is: an id does not tell.
async fn find(connection: &Connection, id: &str) -> Result<(JobKind, JobInfo), Failure> {
    match connection.job_info(JobKind::Ingest, id).await {
        Ok(info) if !matches!(info.operation.as_str(), "query" | "queryAll") => Ok((JobKind::Ingest, info)),
        Err(error) if !not_such(&error) => Err(error.into()),
        of_ingest => match connection.job_info(JobKind::Query, id).await {
            Ok(info) => Ok((JobKind::Query, info)),
            Err(error) if not_such(&error) => Err(of_ingest.err().unwrap_or(error).into()),
            Err(error) => Err(error.into()),
        },
    }
}

/// What stands between the values of a job's results: not every job is one of ours.
fn delimiter(info: &JobInfo) -> Delimiter {
    let said = info.more.get("columnDelimiter").and_then(serde_json::Value::as_str);
    said.and_then(|name| name.parse().ok()).unwrap_or_default()
}

fn not_such(error: &ClientError) -> bool {
    matches!(error, ClientError::Refused(refusal) if matches!(refusal.status, 400 | 404 | 405))
}
