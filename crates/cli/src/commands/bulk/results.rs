//! `tieline bulk results`: rows that a query found, and what became of rows that were sent.

use std::path::PathBuf;

use tieline_client::Connection;
use tieline_client::bulk::ingest::{IngestJob, IngestSummary, Results};
use tieline_client::bulk::{
    Delimiter, Ingest, IngestHandle, IngestOptions, JobInfo, JobKind, JobState, Operation, Rows,
};

use super::ingest::End;
use super::{find, query, state, summary, wait};
use crate::commands::stopped;
use crate::failure::Failure;
use crate::rows::{Format, Sink};
use crate::settings::OrgChoice;
use crate::setup::bootstrap::ENDED_BY_A_PERSON;

/// Print the rows of a query job, or what became of the rows of an ingest
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline bulk results 750Em0000000002AAA --output accounts.csv
  tieline bulk results 750Em0000000001AAA
  tieline bulk results 750Em0000000001AAA --rows unprocessed --csv > again.csv
  tieline bulk results 750Em0000000001AAA --results outcome

The org keeps jobs and their results for seven days.")]
pub(crate) struct JobResults {
    #[command(flatten)]
    org: OrgChoice,
    #[command(flatten)]
    format: Format,
    /// Id of the job; of the first one, where an ingest has several
    id: String,
    /// Which rows of an ingest
    #[arg(long, value_enum, default_value_t = Which::Failed)]
    rows: Which,
    /// Folder for success.csv, failed.csv and unprocessed.csv of an ingest
    #[arg(long, value_name = "DIR", conflicts_with_all = ["rows", "json", "csv", "output"])]
    results: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Which {
    Successful,
    Failed,
    Unprocessed,
}

impl JobResults {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let found = state::find(&self.id)?;
        let mut sink = Sink::open(&self.format)?;
        let connection = self.org.to_call().await?;
        let ingest = match found {
            Some((noted, _)) => {
                noted.is_of(&connection).await?;
                Ingest::resume(&connection, noted.handle)
            }
            None => match find(&connection, &self.id).await? {
                (JobKind::Query, _) => {
                    return query::read_when_done(&connection.query_job(&self.id), sink, &wait(None)).await;
                }
                (JobKind::Ingest, info) => of_job(&connection, &info),
            },
        };
        if let Some(folder) = &self.results {
            return summary::write_all(&ingest, folder).await;
        }
        let which = match self.rows {
            Which::Successful => Results::Successful,
            Which::Failed => Results::Failed,
            Which::Unprocessed => Results::Unprocessed,
        };
        let bar = sink.bar();
        let work = async {
            for job in &ingest.handle().jobs {
                if !copy(ingest.results(job, which), &mut sink, &bar).await? {
                    return Ok(false);
                }
            }
            Ok::<_, Failure>(true)
        };
        let wanted = tokio::select! {
            wanted = work => wanted?,
            () = stopped() => {
                bar.finish_and_clear();
                return Err(Failure::told(ENDED_BY_A_PERSON));
            }
        };
        bar.finish_and_clear();
        if !wanted {
            return Ok(());
        }
        let total = sink.rows();
        sink.end(total, "row")
    }
}

/// False when the reader has seen enough.
async fn copy(mut rows: Rows, sink: &mut Sink, bar: &indicatif::ProgressBar) -> Result<bool, Failure> {
    while let Some(row) = rows.next().await? {
        if !sink.row(&row)? {
            return Ok(false);
        }
        bar.inc(1);
    }
    if sink.rows() == 0 {
        let columns: Vec<String> = rows.columns().into_iter().map(str::to_owned).collect();
        return sink.header(&columns);
    }
    Ok(true)
}

/// An ingest that consists of one job, of which nothing is noted here.
fn of_job(connection: &Connection, info: &JobInfo) -> Ingest {
    let said = |name: &str| info.more.get(name).and_then(serde_json::Value::as_str).unwrap_or_default();
    let mut options = IngestOptions::new(info.object.clone().unwrap_or_default(), Operation::Insert);
    options.delimiter = said("columnDelimiter").parse().unwrap_or(Delimiter::Comma);
    let job = IngestJob { id: info.id.clone(), first_row: 0, rows: info.number_records_processed };
    Ingest::resume(connection, IngestHandle { jobs: vec![job], complete: true, ..IngestHandle::new(options) })
}

/// Tells the end of such an ingest. How many rows were sent is not known: those that were worked off are.
pub(super) async fn of_one(connection: &Connection, info: JobInfo, end: &End) -> Result<(), Failure> {
    let (ingest, named) = (of_job(connection, &info), info.id.clone());
    let summary = IngestSummary { rows: info.number_records_processed, jobs: vec![info] };
    let complete = summary.jobs.iter().all(|job| job.state == JobState::JobComplete);
    match summary::tell(&ingest, &summary, end, &named).await {
        Ok(()) if !complete => Err(Failure::told(crate::failure::FAILED)),
        other => other,
    }
}
