//! `tieline bulk query`: SOQL by a job.

use tieline_client::bulk::{BulkQueryOptions, JobState, QueryJob, Wait};

use super::wait;
use crate::commands::query::read_soql;
use crate::commands::stopped;
use crate::failure::Failure;
use crate::output;
use crate::rows::{Format, Sink};
use crate::settings::OrgChoice;
use crate::setup::bootstrap::ENDED_BY_A_PERSON;

/// Pages of a result that are under way at once.
const PAGES: usize = 3;

/// Run a SOQL query by a job, for millions of records
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline bulk query --output accounts.csv \"SELECT Id, Name FROM Account\"
  tieline bulk query --csv \"SELECT Id, Email FROM Contact\" | gzip > contacts.csv.gz
  ID=$(tieline bulk query --no-wait \"SELECT Id FROM Lead\"); tieline bulk results \"$ID\" --csv

Salesforce takes no GROUP BY, OFFSET, TYPEOF, aggregates and queries of children here. Values are text, as the org writes
them; null is empty, and null in JSON. Its results are kept for seven days.")]
pub(crate) struct BulkQuery {
    #[command(flatten)]
    org: OrgChoice,
    #[command(flatten)]
    format: Format,
    /// The query; `-` reads it from standard input
    soql: String,
    /// Deleted and archived records too
    #[arg(long)]
    all: bool,
    /// Print the job's id, and do not wait for it
    #[arg(long)]
    no_wait: bool,
    /// Wait so long at most; the job goes on
    #[arg(long, value_name = "SECONDS", conflicts_with = "no_wait")]
    timeout: Option<u64>,
}

impl BulkQuery {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let soql = read_soql(&self.soql)?;
        let sink = Sink::open(&self.format)?;
        let connection = self.org.to_call().await?;
        let options = BulkQueryOptions { deleted_too: self.all, ..BulkQueryOptions::default() };
        let job = tokio::select! {
            job = connection.bulk_query(&soql, options) => job?,
            () = stopped() => return Err(Failure::told(ENDED_BY_A_PERSON)),
        };
        if self.no_wait {
            let json = || serde_json::json!({"id": job.id()}).to_string();
            output::line(&if self.format.json { json() } else { job.id().to_owned() })?;
            return Ok(());
        }
        wait_and_read(&job, sink, &wait(self.timeout)).await
    }
}

/// Waits for a job and writes its rows. Whatever becomes of this program, the job's id was told.
pub(in crate::commands) async fn wait_and_read(job: &QueryJob, sink: Sink, wait: &Wait) -> Result<(), Failure> {
    note!("job {0}; `tieline bulk results {0}` reads its rows again", job.id());
    read_when_done(job, sink, wait).await
}

/// The same for somebody who knows the id.
pub(super) async fn read_when_done(job: &QueryJob, sink: Sink, wait: &Wait) -> Result<(), Failure> {
    let bar = sink.bar();
    let work = async {
        let info = job
            .wait_and(wait, |info| {
                bar.set_message(match info.state {
                    JobState::InProgress => "in progress, ",
                    JobState::UploadComplete => "waiting for its turn, ",
                    _ => "",
                });
                bar.set_position(info.number_records_processed);
            })
            .await?;
        bar.set_message("");
        bar.set_position(0);
        output::total_is(&bar, info.number_records_processed);
        let mut sink = sink;
        if !read(job, &mut sink, &bar).await? {
            return Ok(());
        }
        bar.finish_and_clear();
        let total = if sink.is_full() { info.number_records_processed } else { sink.rows() };
        sink.end(total, "record")
    };
    tokio::select! {
        outcome = work => {
            bar.finish_and_clear();
            outcome
        }
        () = stopped() => {
            bar.finish_and_clear();
            let id = job.id();
            note!("stopped; job {id} goes on: `tieline bulk resume {id}` waits for it, `tieline bulk abort {id}` ends it");
            Err(Failure::told(ENDED_BY_A_PERSON))
        }
    }
}

/// Writes the rows of a complete job; false when the reader has seen enough.
async fn read(job: &QueryJob, sink: &mut Sink, bar: &indicatif::ProgressBar) -> Result<bool, Failure> {
    let mut rows = job.rows_at_once(PAGES);
    while let Some(row) = rows.next().await? {
        if !sink.row(&row)? {
            return Ok(false);
        }
        bar.inc(1);
        if sink.is_full() {
            return Ok(true);
        }
    }
    if sink.rows() == 0 {
        let columns: Vec<String> = rows.columns().into_iter().map(str::to_owned).collect();
        return sink.header(&columns);
    }
    Ok(true)
}
