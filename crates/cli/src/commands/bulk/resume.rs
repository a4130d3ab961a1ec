//! `tieline bulk resume`: goes on with an ingest, or waits for a job.

use std::path::PathBuf;

use tieline_client::Connection;
use tieline_client::bulk::JobKind;

use super::ingest::{End, open};
use super::running::Running;
use super::state::{self, Noted, StateFile};
use super::{delimiter, find, query, wait};
use crate::commands::{or_stopped, stopped};
use crate::failure::Failure;
use crate::rows::{Format, Sink};
use crate::settings::OrgChoice;
use crate::setup::bootstrap::ENDED_BY_A_PERSON;

/// Go on with an ingest that was interrupted, or wait for a job
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline bulk resume 750Em0000000001AAA
  tieline bulk resume 750Em0000000001AAA --file contacts.csv --results outcome
  tieline bulk resume --state ingest.json --timeout 600

An ingest whose input was not read to its end needs it again, from its beginning: rows that the org has are passed over. A
query job's records are printed as JSON lines with --json, else as a table.")]
pub(crate) struct Resume {
    #[command(flatten)]
    org: OrgChoice,
    /// Id of the job; of the first one, where an ingest has several
    #[arg(required_unless_present = "state")]
    id: Option<String>,
    /// File in which the ingest was noted
    #[arg(long, value_name = "FILE", conflicts_with = "id")]
    state: Option<PathBuf>,
    /// The same CSV file again; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    end: End,
}

impl Resume {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let found = match (&self.state, &self.id) {
            (Some(path), _) => Some(state::open(path)?),
            (None, Some(id)) => state::find(id)?,
            (None, None) => None,
        };
        let connection = self.org.to_call().await?;
        match found {
            Some((noted, file)) => self.go_on(&connection, noted, file).await,
            None => self.wait(&connection, self.id.as_deref().unwrap_or_default()).await,
        }
    }

    async fn go_on(&self, connection: &Connection, noted: Noted, state: StateFile) -> Result<(), Failure> {
        noted.is_of(connection).await?;
        if noted.handle.complete {
            return Running::new(connection, noted, state).finish(&self.end).await;
        }
        let Some(file) = &self.file else {
            let id = self.id.clone().or_else(|| noted.id().map(str::to_owned)).unwrap_or_default();
            let named = self.state.as_ref().map_or(id, |state| format!("--state {}", state.display()));
            return Err(Failure::usage(
                format!("{} was not read to its end", noted.input),
                format!("give it again, from its beginning: tieline bulk resume {named} --file {}", noted.input),
            ));
        };
        let input = open(file).await?;
        let mut running = Running::new(connection, noted, state);
        running.feed(input).await?;
        running.finish(&self.end).await
    }

    /// A job of which nothing is noted here.
    async fn wait(&self, connection: &Connection, id: &str) -> Result<(), Failure> {
        let (kind, info) = find(connection, id).await?;
        if kind == JobKind::Query {
            let format = if self.end.json { Format::json() } else { Format::default() };
            let job = connection.query_job(id).delimited_by(delimiter(&info));
            return query::read_when_done(&job, Sink::open(&format)?, &wait(self.end.timeout)).await;
        }
        if info.state == tieline_client::bulk::JobState::Open {
            return Err(Failure::usage(
                format!("job {id} waits for its data, and nothing is noted here of the ingest that it belongs to"),
                "name its --state FILE, or send the rows again as a new ingest: tieline bulk ingest",
            ));
        }
        let wait = wait(self.end.timeout);
        let ended = tokio::select! {
            ended = connection.wait_for_job(kind, id, &wait, |_| {}) => ended,
            () = stopped() => return Err(Failure::told(ENDED_BY_A_PERSON)),
        };
        let info = match ended {
            Err(tieline_client::ClientError::JobEnded { .. }) => connection.job_info(kind, id).await?,
            other => other?,
        };
        or_stopped(super::results::of_one(connection, info, &self.end)).await
    }
}
