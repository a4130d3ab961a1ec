//! `tieline bulk ingest`: rows of a CSV into the org, in as many jobs as they need.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tieline_client::bulk::ingest::IngestEvent;
use tieline_client::bulk::{Delimiter, Ingest, IngestHandle, IngestOptions, Operation};
use tieline_client::{ClientError, Connection};
use tokio::io::AsyncRead;

use super::state::{Noted, StateFile, instance_url};
use super::{summary, wait};
use crate::commands::stopped;
use crate::failure::Failure;
use crate::output;
use crate::setup::bootstrap::ENDED_BY_A_PERSON;
use crate::settings::OrgChoice;

/// Create, change or delete records from a CSV, by jobs
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline bulk ingest Contact --operation insert --file contacts.csv
  tieline bulk ingest Contact --operation upsert --external-id Key__c --file contacts.csv --results outcome
  zcat leads.csv.gz | tieline bulk ingest Lead --operation insert --file - --no-wait

The first line names the fields; an empty value leaves a field as it is, #N/A empties it. What was sent is noted after each
step, so that `tieline bulk resume ID` goes on even after kill -9. Rows that fail do not stop the others: exit code 5 tells.")]
pub(crate) struct BulkIngest {
    #[command(flatten)]
    org: OrgChoice,
    /// The object, such as Contact
    object: String,
    /// What is done with each row
    #[arg(long, value_enum)]
    operation: What,
    /// With upsert: the external id that records are found by
    #[arg(long, value_name = "FIELD", required_if_eq("operation", "upsert"))]
    external_id: Option<String>,
    /// CSV file; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// What stands between values: comma, semicolon, tab, pipe, caret or backquote
    #[arg(long, value_name = "NAME", default_value = "comma")]
    delimiter: Delimiter,
    /// Print the first job's id when all is sent, and do not wait
    #[arg(long, conflicts_with_all = ["results", "timeout"])]
    no_wait: bool,
    /// File to note in how far it is [default: in the state folder, where `bulk resume ID` finds it]
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    #[command(flatten)]
    end: End,
}

/// What is wanted of the end of an ingest.
#[derive(clap::Args)]
pub(super) struct End {
    /// Folder for success.csv, failed.csv and unprocessed.csv
    #[arg(long, value_name = "DIR")]
    pub(super) results: Option<PathBuf>,
    /// Wait so long at most; the jobs go on
    #[arg(long, value_name = "SECONDS")]
    pub(super) timeout: Option<u64>,
    /// One JSON object
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
#[value(rename_all = "camelCase")]
enum What {
    Insert,
    Update,
    Upsert,
    Delete,
    /// Past the recycle bin
    HardDelete,
}

impl From<What> for Operation {
    fn from(what: What) -> Self {
        match what {
            What::Insert => Operation::Insert,
            What::Update => Operation::Update,
            What::Upsert => Operation::Upsert,
            What::Delete => Operation::Delete,
            What::HardDelete => Operation::HardDelete,
        }
    }
}

impl BulkIngest {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let input = open(&self.file).await?;
        if let Some(folder) = &self.end.results {
            summary::prepare(folder)?;
        }
        let connection = self.org.connection().await?;
        let mut options = IngestOptions::new(&self.object, self.operation.into());
        options.external_id = self.external_id.clone();
        options.delimiter = self.delimiter;
        let noted = Noted {
            instance_url: instance_url(&connection).await?,
            input: self.file.display().to_string(),
            handle: IngestHandle { options, jobs: Vec::new(), open_job: None, complete: false },
        };
        let state = StateFile::new(self.state.clone());
        let mut running = Running::new(&connection, noted, state);
        running.feed(input).await?;
        if self.no_wait {
            return running.leave(self.end.json);
        }
        running.finish(&self.end).await
    }
}

/// An ingest of which each step is noted.
pub(super) struct Running {
    pub(super) ingest: Ingest,
    noted: Arc<Mutex<(Noted, StateFile)>>,
    bar: indicatif::ProgressBar,
}

impl Running {
    pub(super) fn new(connection: &Connection, noted: Noted, state: StateFile) -> Self {
        let bar = output::rows_bar();
        let handle = noted.handle.clone();
        let noted = Arc::new(Mutex::new((noted, state)));
        let (shared, shown) = (noted.clone(), bar.clone());
        let mut processed = std::collections::HashMap::new();
        let ingest = Ingest::resume(connection, handle).on_event(move |handle, event| {
            note(&shared, handle);
            match event {
                IngestEvent::Produced { rows, .. } => shown.set_position(rows),
                IngestEvent::Seen { info } => {
                    processed.insert(info.id.clone(), info.number_records_processed);
                    shown.set_position(processed.values().sum());
                }
                _ => {}
            }
        });
        Self { ingest, noted, bar }
    }

    /// Sends all rows. When somebody stops that, the job that was being filled is given up; those before it go on.
    pub(super) async fn feed(&mut self, input: Box<dyn AsyncRead + Unpin + Send>) -> Result<(), Failure> {
        self.bar.set_message("sending, ");
        let fed = tokio::select! {
            fed = self.ingest.feed_csv(input) => Some(fed),
            () = stopped() => None,
        };
        if fed.is_none() {
            self.ingest.abandon().await;
        }
        note(&self.noted, self.ingest.handle());
        match fed {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => {
                self.bar.finish_and_clear();
                self.told_of_jobs();
                Err(error.into())
            }
            None => {
                self.bar.finish_and_clear();
                eprintln!("stopped; the job that was being filled is given up");
                self.told_of_jobs();
                Err(Failure::told(ENDED_BY_A_PERSON))
            }
        }
    }

    /// What is in the org's hands already, and how to send the rest.
    fn told_of_jobs(&self) {
        let rows = self.ingest.handle().rows();
        if rows == 0 {
            eprintln!("no rows are in the org's hands");
            return;
        }
        let jobs = self.ingest.handle().jobs.iter().map(|job| job.id.as_str()).collect::<Vec<_>>().join(", ");
        let guard = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let file = guard.0.input.clone();
        drop(guard);
        eprintln!("{} are in the org's hands: job {jobs}", output::count(rows, "row"));
        eprintln!("to send the others: tieline bulk resume {} --file {file}", self.named());
    }

    /// How `bulk resume` is told which ingest is meant.
    fn named(&self) -> String {
        let guard = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        match guard.1.given() {
            Some(file) => format!("--state {}", file.display()),
            None => guard.0.id().unwrap_or_default().to_owned(),
        }
    }

    /// All is sent; nobody waits.
    fn leave(self, json: bool) -> Result<(), Failure> {
        self.bar.finish_and_clear();
        let handle = self.ingest.handle();
        let Some(first) = handle.jobs.first() else {
            eprintln!("the input holds no rows; nothing was sent");
            return Ok(());
        };
        let told = || serde_json::json!({"id": first.id, "jobs": handle.jobs, "sent": handle.rows()}).to_string();
        output::line(&if json { told() } else { first.id.clone() })?;
        let jobs = output::count(handle.jobs.len() as u64, "job");
        eprintln!("{} sent in {jobs}; to wait: tieline bulk resume {}", output::count(handle.rows(), "row"), self.named());
        Ok(())
    }

    /// Waits for all jobs, tells what became of the rows, and writes them where they are wanted.
    pub(super) async fn finish(mut self, end: &End) -> Result<(), Failure> {
        if self.ingest.handle().jobs.is_empty() {
            self.bar.finish_and_clear();
            eprintln!("the input holds no rows; nothing was sent");
            return Ok(());
        }
        let named = self.named();
        let rows = self.ingest.handle().rows();
        for job in &self.ingest.handle().jobs {
            self.bar.suspend(|| eprintln!("job {} has {}", job.id, output::count(job.rows, "row")));
        }
        self.bar.set_message("");
        self.bar.set_position(0);
        output::total_is(&self.bar, rows);
        let waited = tokio::select! {
            waited = self.ingest.wait(&wait(end.timeout)) => Some(waited),
            () = stopped() => None,
        };
        self.bar.finish_and_clear();
        match waited {
            Some(Ok(summary)) => summary::tell(&self.ingest, &summary, end, &named).await,
            Some(Err(ClientError::StillRunning { waited, .. })) => Err(summary::unfinished(waited, &named)),
            Some(Err(error)) => Err(error.into()),
            None => {
                eprintln!("stopped waiting; the org goes on: tieline bulk resume {named}");
                Err(Failure::told(ENDED_BY_A_PERSON))
            }
        }
    }
}

fn note(noted: &Mutex<(Noted, StateFile)>, handle: &IngestHandle) {
    let mut guard = noted.lock().unwrap_or_else(PoisonError::into_inner);
    let (noted, state) = &mut *guard;
    if noted.handle != *handle {
        noted.handle.clone_from(handle);
        state.note(noted);
    }
}

pub(super) async fn open(file: &Path) -> Result<Box<dyn AsyncRead + Unpin + Send>, Failure> {
    Ok(match file.to_str() {
        Some("-") => Box::new(tokio::io::stdin()),
        _ => Box::new(tokio::fs::File::open(file).await.map_err(|error| {
            Failure::usage(
                format!("{} cannot be read: {error}", file.display()),
                "name a file, or `-` for standard input",
            )
        })?),
    })
}
