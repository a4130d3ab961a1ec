//! `tieline sync run`: bring a mapping up to date.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;
use tieline_auth::SystemClock;
use tieline_store::mappings::{CONTACTS, Mapping};
use tieline_sync::engine::{Asked, Engine, EngineCare, MappingReport};

use super::{integration_from_environment, mapping_named};
use crate::commands::stopped;
use crate::failure::Failure;
use crate::output;
use crate::settings::{Care, Database};

/// Another name of the built-in mapping of contacts.
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
    /// Name of the mapping; `contacts` is built in
    #[arg(long, value_name = "NAME", default_value = CONTACTS)]
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

impl Run {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let clock = Arc::new(SystemClock::default());
        let store = self.database.open().await?;
        let tenant = store.own();
        let (integration, connection) = integration_from_environment(&tenant, &*clock).await?;
        let mapping = match self.mapping.as_str() {
            CONTACT | CONTACTS => tenant.contacts_mapping(integration).await?,
            name => Some(mapping_named(&tenant, name).await?),
        };
        let mapping = mapping.context("the integration was deleted just now")?;
        let usual = EngineCare::default();
        let window = self.care.window();
        let care = EngineCare { window, bulk_from: self.bulk_from.unwrap_or(usual.bulk_from), ..usual };
        let engine = Engine { connection, store: tenant, care, clock };
        let outcome = tokio::select! {
            outcome = self.passes(&engine, &mapping) => outcome,
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

    async fn passes(&self, engine: &Engine, mapping: &Mapping) -> Result<(), Failure> {
        let mut asked =
            Asked { verify: self.verify, compare: self.compare, reload: self.reload, allow_gone: self.allow_gone };
        loop {
            match pass(engine, mapping, asked).await {
                Ok(report) if self.json => drop(output::line(&Value::from(&report).to_string())?),
                Ok(report) => say!("{}", summary(&report)),
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
}

/// One pass with a bar.
pub(crate) async fn pass(engine: &Engine, mapping: &Mapping, asked: Asked) -> Result<MappingReport, Failure> {
    let bar = output::progress_bar("records");
    let owner = format!("sync run, {}", std::process::id());
    let report = engine
        .run_by_hand(mapping, asked, &owner, &mut |progress| {
            bar.set_length(progress.total);
            bar.set_position(progress.read);
        })
        .await;
    bar.finish_and_clear();
    Ok(report?)
}

pub(crate) fn summary(report: &MappingReport) -> output::Table {
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
