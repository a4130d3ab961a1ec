//! `tieline bulk ingest`: rows of a CSV into the org, in as many jobs as they need.

use std::path::{Path, PathBuf};

use tieline_client::bulk::ingest::BYTES_PER_JOB;
use tieline_client::bulk::{Delimiter, IngestHandle, IngestOptions, Operation};
use tokio::io::AsyncRead;

use super::running::Running;
use super::state::{Noted, StateFile, instance_url};
use super::summary;
use crate::failure::Failure;
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
    /// Bytes of one job's data at most
    #[arg(long, value_name = "BYTES", default_value_t = BYTES_PER_JOB)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=BYTES_PER_JOB))]
    job_size: u64,
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
        if let Some(field) = self.external_id.as_ref().filter(|_| !matches!(self.operation, What::Upsert)) {
            let hint = "an external id is what an upsert finds records by: write --operation upsert";
            return Err(Failure::usage(format!("--external-id {field} says nothing here"), hint));
        }
        let input = open(&self.file).await?;
        if let Some(folder) = &self.end.results {
            summary::prepare(folder)?;
        }
        let connection = self.org.to_call().await?;
        let mut options = IngestOptions::new(&self.object, self.operation.into());
        options.external_id = self.external_id.clone();
        options.delimiter = self.delimiter;
        options.bytes_per_job = self.job_size;
        let noted = Noted {
            instance_url: instance_url(&connection).await?,
            input: self.file.display().to_string(),
            handle: IngestHandle::new(options),
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
