//! `tieline datacloud ingest`: rows into a data lake object, through an ingestion connector.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tieline_datacloud::DataCloud;
use tieline_datacloud::ingest::{BulkOptions, Job, JobState, Operation, Target};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

use super::Tenant;
use crate::commands::stopped;
use crate::failure::{FAILED, Failure, UNFINISHED};
use crate::output;
use crate::setup::bootstrap::ENDED_BY_A_PERSON;

/// Rows that are sent in one go.
const ROWS: usize = 1_000;
/// Rows do not wait for longer than this for others to come.
const A_MOMENT: Duration = Duration::from_secs(1);

/// Send rows to Data Cloud through an ingestion connector
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline datacloud ingest web page_view views.csv              a bulk job; waits for its end
  tieline datacloud ingest web page_view views.csv --no-wait    prints the job's id, and nothing else
  tieline datacloud ingest web page_view --delete keys.csv      deletes by primary key
  tail -f views.jsonl | tieline datacloud ingest web page_view --rows -

Connector and object are set up in Data Cloud. A CSV's first line names the fields; one of keys to delete has no such line,
and the key in its first column. What --rows sends is taken before it is looked at: rows that do not fit the connector's
schema are dropped later, without a word. --check asks first.")]
pub(crate) struct Ingest {
    #[command(flatten)]
    tenant: Tenant,
    /// API name of the connector
    connector: String,
    /// API name of its object
    object: String,
    /// CSV file; `-` reads standard input
    #[arg(value_name = "CSV", required_unless_present = "rows")]
    csv: Option<PathBuf>,
    /// Send rows at once instead: a file of JSON objects, one a line; `-` reads standard input
    #[arg(long, value_name = "JSONL", conflicts_with_all = ["csv", "delete", "no_wait", "wait", "json"])]
    rows: Option<PathBuf>,
    /// With --rows: let Data Cloud check each row first, and send none of a bundle that does not fit
    #[arg(long, requires = "rows")]
    check: bool,
    /// Delete the rows whose primary keys the CSV holds; it has no header
    #[arg(long)]
    delete: bool,
    /// Do not wait for the end of the job
    #[arg(long)]
    no_wait: bool,
    /// Wait so long at most; the job goes on, and the exit code is 6
    #[arg(long, value_name = "SECONDS", conflicts_with = "no_wait")]
    wait: Option<u64>,
    /// One JSON object a job
    #[arg(long)]
    json: bool,
}

/// Show an ingest job, or end it
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline datacloud job 5f3c… --wait
  tieline datacloud job 5f3c… --abort")]
pub(crate) struct JobCommand {
    #[command(flatten)]
    tenant: Tenant,
    /// The job's id
    id: String,
    /// Wait for its end
    #[arg(long, conflicts_with = "abort")]
    wait: bool,
    /// End it; its rows are dropped
    #[arg(long)]
    abort: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl Ingest {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let cloud = self.tenant.connect().await?;
        let target = cloud.ingest(&self.connector, &self.object);
        if let Some(file) = &self.rows {
            return send_rows(&target, file, self.check).await;
        }
        let operation = if self.delete { Operation::Delete } else { Operation::Upsert };
        let csv = self.csv.clone().unwrap_or_else(|| PathBuf::from("-"));
        let input = open(&csv).await?;
        let bar = output::progress_bar("rows");
        let filled = std::cell::RefCell::new(String::new());
        let sending = target.send_csv(operation, input, BulkOptions::default(), |job, rows| {
            filled.borrow_mut().clone_from(&job.id);
            bar.set_position(rows);
        });
        let sent = tokio::select! {
            sent = sending => sent,
            () = stopped() => {
                bar.finish_and_clear();
                return Err(given_up(&cloud, &filled.take()).await);
            }
        };
        bar.finish_and_clear();
        let jobs = sent?;
        if jobs.is_empty() {
            note!("{} holds no rows; nothing was sent", csv.display());
            return Ok(());
        }
        if self.no_wait {
            for job in &jobs {
                match self.json {
                    true => told(job, true)?,
                    false => drop(output::line(&job.id)?),
                }
            }
            return Ok(());
        }
        // Whatever becomes of the waiting, the jobs go on: their ids must be known.
        for job in &jobs {
            note!("job {} has all of its rows; waiting for its end", job.id);
        }
        let mut worst = None;
        for job in jobs {
            let job = tokio::select! {
                seen = cloud.wait_for_ingest_job(&job.id, self.wait.map(Duration::from_secs)) => {
                    seen.map_err(|error| Failure::from(error).after_sending(&again(&job.id)))?
                }
                () = stopped() => {
                    note!("stopped waiting; the job goes on: tieline datacloud job {} --wait", job.id);
                    return Err(Failure::told(ENDED_BY_A_PERSON));
                }
            };
            told(&job, self.json)?;
            if not_done(job.state) == Some(UNFINISHED) {
                output::hint(&format!("wait for it again: {}", again(&job.id)));
            }
            worst = worst.max(not_done(job.state));
        }
        worst.map_or(Ok(()), |code| Err(Failure::told(code)))
    }
}

/// The exit code of a job that has not done what it was for. One that is under way counts more than one that failed: whoever
/// repeats the command sends its rows twice.
fn not_done(state: JobState) -> Option<u8> {
    match state {
        JobState::JobComplete => None,
        JobState::Failed | JobState::Aborted => Some(FAILED),
        _ => Some(UNFINISHED),
    }
}

fn again(job: &str) -> String {
    format!("tieline datacloud job {job} --wait")
}

/// Somebody has stopped the command: a job that is half full is of no use.
async fn given_up(cloud: &DataCloud, job: &str) -> Failure {
    if !job.is_empty() {
        match cloud.abort_ingest_job(job).await {
            Ok(()) => note!("job {job} is ended; none of its rows is taken"),
            Err(error) => note!("job {job} is still open: {error}"),
        }
    }
    Failure::told(ENDED_BY_A_PERSON)
}

impl JobCommand {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let cloud: DataCloud = self.tenant.connect().await?;
        if self.abort {
            cloud.abort_ingest_job(&self.id).await?;
        }
        let job = match self.wait {
            true => cloud.wait_for_ingest_job(&self.id, None).await?,
            false => cloud.ingest_job(&self.id).await?,
        };
        told(&job, self.json)?;
        match not_done(job.state) {
            // What was asked for: a look, or its end.
            None | Some(UNFINISHED) => Ok(()),
            Some(_) if self.abort && job.state == JobState::Aborted => Ok(()),
            Some(code) => Err(Failure::told(code)),
        }
    }
}

/// Prints a job.
fn told(job: &Job, json: bool) -> Result<(), Failure> {
    if json {
        output::line(&serde_json::to_string(job).map_err(anyhow::Error::from)?)?;
    } else {
        let state = match job.state {
            JobState::Open => "takes files",
            JobState::UploadComplete => "waits for Data Cloud",
            JobState::InProgress => "is worked on",
            JobState::JobComplete => "is done",
            JobState::Failed => "failed",
            JobState::Aborted => "was ended",
            _ => "is in a state that this program does not know",
        };
        output::line(&format!("job {} {state}", job.id))?;
    }
    if job.state == JobState::Failed && !json {
        output::hint("the data stream's page in Data Cloud tells why; rows must fit the connector's schema");
    }
    Ok(())
}

/// Sends what has come when there is enough, nothing more comes for a moment, or somebody stops the command.
async fn send_rows(target: &Target, file: &Path, check: bool) -> Result<(), Failure> {
    let mut lines = BufReader::new(open(file).await?).lines();
    let (mut rows, mut sent, mut number) = (Vec::new(), 0, 0);
    let mut ended = None;
    while ended.is_none() {
        let line = tokio::select! {
            line = tokio::time::timeout(A_MOMENT, lines.next_line()) => line,
            () = stopped() => {
                ended = Some(Err(Failure::told(ENDED_BY_A_PERSON)));
                continue;
            }
        };
        match line {
            Ok(line) => match line.map_err(|e| unread(file, &e))? {
                None => ended = Some(Ok(())),
                Some(line) => {
                    number += 1;
                    if !line.trim().is_empty() {
                        rows.push(row(&line, number, file, sent)?);
                    }
                    if rows.len() < ROWS {
                        continue;
                    }
                }
            },
            Err(_) if rows.is_empty() => continue,
            Err(_) => {}
        }
        sent += send(target, &rows, sent, check).await?;
        rows.clear();
    }
    sent += send(target, &rows, sent, check).await?;
    note!("{sent} {} taken", if sent == 1 { "row" } else { "rows" });
    ended.unwrap_or(Ok(()))
}

fn row(line: &str, number: usize, file: &Path, sent: usize) -> Result<serde_json::Value, Failure> {
    let wrong = |reason: String| {
        let message = format!("line {number} of {} is no row: {reason}", file.display());
        Failure::new(message, format!("write one JSON object a line; {sent} rows before it were sent"))
    };
    match serde_json::from_str(line) {
        Ok(serde_json::Value::Object(row)) => Ok(serde_json::Value::Object(row)),
        Ok(_) => Err(wrong("it is no JSON object".to_owned())),
        Err(error) => Err(wrong(error.to_string())),
    }
}

async fn send(target: &Target, rows: &[serde_json::Value], before: usize, check: bool) -> Result<usize, Failure> {
    let send = async {
        if check && !rows.is_empty() {
            target.check(rows).await?;
        }
        target.send(rows).await
    };
    let sent = send.await;
    if sent.is_err() && before > 0 {
        note!("{before} rows were taken before");
    }
    Ok(sent?)
}

async fn open(file: &Path) -> Result<Box<dyn AsyncRead + Unpin + Send>, Failure> {
    Ok(match file.to_str() {
        Some("-") => Box::new(tokio::io::stdin()),
        _ => Box::new(tokio::fs::File::open(file).await.map_err(|e| unread(file, &e))?),
    })
}

fn unread(file: &Path, error: &std::io::Error) -> Failure {
    Failure::usage(format!("{} cannot be read: {error}", file.display()), "name a file, or `-` for standard input")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_goes_on_is_not_one_that_may_be_sent_again() {
        assert_eq!(not_done(JobState::JobComplete), None);
        assert_eq!(not_done(JobState::Failed), Some(FAILED));
        assert_eq!([JobState::UploadComplete, JobState::InProgress].map(not_done), [Some(UNFINISHED); 2]);
        let lost =
            Failure::transient("no answer", "check the network").after_sending("tieline datacloud job 5f3c --wait");
        assert!(lost.is_unfinished() && lost.hint() == Some("go on with: tieline datacloud job 5f3c --wait"));
    }
}
