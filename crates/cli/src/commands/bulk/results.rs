//! `tieline bulk results`: rows that a query found, and what became of rows that were sent.

use std::path::PathBuf;

use tieline_client::bulk::ingest::{IngestJob, IngestSummary, Results};
use tieline_client::bulk::{Ingest, IngestHandle, IngestOptions, JobInfo, JobKind, JobState, Operation, Rows};
use tieline_client::{ClientError, Connection};

use super::ingest::End;
use super::{delimiter, find, query, state, summary, wait};
use crate::commands::{or_stopped, stopped};
use crate::failure::{FAILED, Failure, UNFINISHED};
use crate::output;
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
                all_ended(&connection, noted.handle, &self.id).await?
            }
            None => match find(&connection, &self.id).await? {
                (JobKind::Query, info) => {
                    let job = connection.query_job(&self.id).delimited_by(delimiter(&info));
                    return query::read_when_done(&job, sink, &wait(None)).await;
                }
                (JobKind::Ingest, info) => {
                    has_ended(&info, &self.id)?;
                    or_stopped(of_job(&connection, &info)).await?
                }
            },
        };
        if let Some(folder) = &self.results {
            return or_stopped(summary::write_all(&ingest, folder)).await;
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

/// Results are the whole only of what has ended.
fn has_ended(info: &JobInfo, named: &str) -> Result<(), Failure> {
    if info.state.is_final() {
        return Ok(());
    }
    Err(Failure::new(
        format!("job {} has not ended (it is {}): its results are not complete", info.id, info.state),
        format!("wait for it: tieline bulk resume {named}"),
    )
    .with_code(UNFINISHED))
}

/// The ingest with all jobs that were given to the org.
async fn all_ended(connection: &Connection, mut handle: IngestHandle, named: &str) -> Result<Ingest, Failure> {
    for job in handle.jobs.iter().chain(&handle.handed) {
        has_ended(&connection.job_info(JobKind::Ingest, &job.id).await?, named)?;
    }
    handle.jobs.extend(handle.handed.take());
    if !handle.complete {
        note!("not all of the input was sent: {} of it have results", output::count(handle.rows(), "row"));
    }
    Ok(Ingest::resume(connection, handle))
}

/// An ingest that consists of one job, of which nothing is noted here. How many rows it was given the org does not say: they
/// are those that it worked off, and those that it lists as unprocessed.
async fn of_job(connection: &Connection, info: &JobInfo) -> Result<Ingest, Failure> {
    let mut options = IngestOptions::new(info.object.clone().unwrap_or_default(), Operation::Insert);
    options.delimiter = delimiter(info);
    let job = IngestJob { id: info.id.clone(), first_row: 0, rows: info.number_records_processed };
    let of = |job: IngestJob| {
        let handle = IngestHandle { jobs: vec![job], complete: true, ..IngestHandle::new(options.clone()) };
        Ingest::resume(connection, handle)
    };
    if info.state == JobState::JobComplete {
        return Ok(of(job));
    }
    let mut listed = of(job.clone()).results(&job, Results::Unprocessed);
    loop {
        match listed.next().await.map(|row| row.is_some()) {
            Ok(true) => {}
            Ok(false) => break,
            // At its end, for there are more than none, which is all that the handle knows of. Had the list been cut off, the
            // next reading, which has to find as many rows, would refuse it.
            Err(ClientError::Unreadable { .. }) if listed.count() > 0 => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(of(IngestJob { rows: job.rows + listed.count(), ..job }))
}

/// Tells the end of such an ingest.
pub(super) async fn of_one(connection: &Connection, info: JobInfo, end: &End) -> Result<(), Failure> {
    let (ingest, named) = (of_job(connection, &info).await?, info.id.clone());
    let summary = IngestSummary { rows: ingest.handle().rows(), jobs: vec![info] };
    let complete = summary.jobs.iter().all(|job| job.state == JobState::JobComplete);
    match summary::tell(&ingest, &summary, end, &named).await {
        Ok(()) if !complete => Err(Failure::told(FAILED)),
        other => other,
    }
}
