//! `tieline sync run`: bring a mapping up to date.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tieline_auth::SystemClock;
use tieline_store::Uuid;
use tieline_sync::engine::{Asked, Engine, EngineCare, MappingReport};
use tieline_sync::{Report, Syncer};

use super::{integration_from_environment, mapping_named};
use crate::commands::stopped;
use crate::failure::Failure;
use crate::output;
use crate::settings::{Care, Database};

/// The built-in mapping of contacts.
const CONTACT: &str = "contact";

/// Bring a mapping up to date, once or for ever
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline sync run --once
  tieline sync run --once --json --database-url sqlite:people.db
  tieline sync run --every 60                     every minute until stopped
  tieline sync run --mapping accounts --once --verify

A run that is killed goes on where it stopped; starting a second one at the same time loses nothing.")]
pub(crate) struct Run {
    /// What to sync: `contact` for the contacts table, or the name of a mapping
    #[arg(long, value_name = "NAME", default_value = CONTACT)]
    mapping: String,
    /// Prove now that nothing is missing; otherwise that is done once an hour
    #[arg(long)]
    verify: bool,
    /// Compare all ids with the org's now; otherwise that is done once a week
    #[arg(long)]
    compare: bool,
    /// Read everything anew
    #[arg(long)]
    reload: bool,
    /// Mark as gone whatever a comparison does not find, however much it is
    #[arg(long)]
    allow_gone: bool,
    /// Records from which the first load goes by a Bulk job [default: 50000]
    #[arg(long, value_name = "RECORDS")]
    bulk_from: Option<u64>,
    /// One pass instead of one every `--every` seconds
    #[arg(long)]
    once: bool,
    /// Seconds between passes
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    every: u64,
    /// One JSON object a pass
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: Database,
    #[command(flatten)]
    care: Care,
}

/// What a pass brings up to date.
enum Work {
    Contacts(Syncer),
    Mapping(Engine, Uuid),
}

/// What it has done, for people and for programs.
struct Told {
    table: output::Table,
    json: Value,
}

impl Run {
    pub(super) async fn run(self) -> Result<(), Failure> {
        if self.mapping == CONTACT && (self.verify || self.compare || self.reload || self.allow_gone) {
            return Err(Failure::usage(
                "the contacts table is not verified, compared or reloaded",
                "name a mapping with --mapping; `tieline sync mappings list` shows them",
            ));
        }
        let clock = Arc::new(SystemClock::default());
        let store = self.database.open().await?;
        let tenant = store.own();
        let (integration, connection) = integration_from_environment(&tenant, &*clock).await?;
        let window = self.care.window();
        let work = if self.mapping == CONTACT {
            Work::Contacts(Syncer { connection, store: tenant, integration, window, clock })
        } else {
            let mapping = mapping_named(&tenant, &self.mapping).await?.id;
            let usual = EngineCare::default();
            let care = EngineCare { window, bulk_from: self.bulk_from.unwrap_or(usual.bulk_from), ..usual };
            Work::Mapping(Engine { connection, store: tenant, care, clock }, mapping)
        };
        let outcome = tokio::select! {
            outcome = self.passes(&work) => outcome,
            // What was committed stays; the next run goes on from there.
            () = stopped() => match self.once {
                true => Err(Failure::new(
                    "stopped before the pass was complete",
                    "nothing is lost: the next run goes on where this one stopped",
                )),
                false => Ok(()),
            },
        };
        store.close().await;
        outcome
    }

    async fn passes(&self, work: &Work) -> Result<(), Failure> {
        let mut asked =
            Asked { verify: self.verify, compare: self.compare, reload: self.reload, allow_gone: self.allow_gone };
        loop {
            match self.pass(work, asked).await {
                Ok(told) if self.json => drop(output::line(&told.json.to_string())?),
                Ok(told) => say!("{}", told.table),
                Err(failure) if self.once => return Err(failure),
                // The next pass may find the org in better health; what failed is in the history.
                Err(failure) => drop(failure.report()),
            }
            if self.once {
                return Ok(());
            }
            // What was asked for is done once; a reload that was cut off goes on by itself.
            asked = Asked::default();
            tokio::time::sleep(Duration::from_secs(self.every)).await;
        }
    }

    async fn pass(&self, work: &Work, asked: Asked) -> Result<Told, Failure> {
        match work {
            Work::Contacts(syncer) => {
                let report = pass(syncer, "Contact").await?;
                Ok(Told { table: summary(&report), json: Value::from(report) })
            }
            Work::Mapping(engine, mapping) => {
                let bar = output::progress_bar("records");
                let report = engine
                    .run(*mapping, asked, &mut |progress| {
                        bar.set_length(progress.total);
                        bar.set_position(progress.read);
                    })
                    .await;
                bar.finish_and_clear();
                let report = report?;
                Ok(Told { table: mapping_summary(&report), json: Value::from(&report) })
            }
        }
    }
}

fn mapping_summary(report: &MappingReport) -> output::Table {
    let run = &report.run;
    let mut table = output::table(&[
        "mapping",
        "read",
        "new",
        "changed",
        "deleted",
        "drift",
        "API calls",
        "complete through",
        "verified through",
    ]);
    let time = |at: Option<jiff::Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
    table.add_row([
        report.mapping.clone(),
        run.rows_read.to_string(),
        run.inserted.to_string(),
        run.updated.to_string(),
        run.deleted.to_string(),
        run.drift_found.to_string(),
        run.api_calls.to_string(),
        time(report.checkpoint),
        time(report.verified_through),
    ]);
    table
}

/// One pass with a bar.
pub(crate) async fn pass(syncer: &Syncer, what: &'static str) -> Result<Report, Failure> {
    let bar = output::progress_bar(what);
    let owner = format!("sync run, {}", std::process::id());
    let report = syncer
        .run_by_hand(&owner, &mut |progress| {
            bar.set_length(progress.total);
            bar.set_position(progress.read);
        })
        .await;
    bar.finish_and_clear();
    Ok(report?)
}

pub(crate) fn summary(report: &Report) -> output::Table {
    let run = &report.run;
    let mut table = output::table(&["object", "read", "new", "changed", "deleted", "API calls", "complete through"]);
    table.add_row([
        run.object.clone(),
        run.rows_read.to_string(),
        run.inserted.to_string(),
        run.updated.to_string(),
        run.deleted.to_string(),
        run.api_calls.to_string(),
        report.verified_through.clone().unwrap_or_default(),
    ]);
    table
}
