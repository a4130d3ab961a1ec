//! `tieline sync`: keep a database in step.

use std::sync::Arc;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use serde_json::Value;
use tieline_auth::{Clock, SystemClock};
use tieline_client::Connection;
use tieline_store::{Tenant, Uuid};
use tieline_sync::{Report, Syncer, integration};

use crate::commands::stopped;
use crate::failure::Failure;
use crate::output;
use crate::settings::{self, Care, Database};

/// Name of the integration that the SF_* variables make.
pub(crate) const DEFAULT: &str = "default";

/// Keep a database in step with the org
#[derive(Subcommand)]
pub(crate) enum Sync {
    Run(Run),
}

/// What can be synced.
#[derive(Clone, Copy, ValueEnum)]
enum Mapping {
    Contact,
}

/// Bring a mapping up to date, once or for ever
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline sync run --once
  tieline sync run --once --json --database-url sqlite:people.db
  tieline sync run --every 60                     every minute until stopped

A run that is killed goes on where it stopped; starting a second one at the same time loses nothing.")]
pub(crate) struct Run {
    /// What to sync
    #[arg(long, value_enum, default_value = "contact")]
    mapping: Mapping,
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

impl Sync {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self {
            Sync::Run(command) => command.run().await,
        }
    }
}

/// Saves the login of the SF_* variables in the database, sealed, and answers the integration's id with the
/// connection.
pub(crate) async fn integration_from_environment(
    tenant: &Tenant,
    clock: &dyn Clock,
) -> Result<(Uuid, Connection), Failure> {
    let (login, credentials) = integration::capture(|name| std::env::var(name).ok())?;
    let id = tenant.save_integration(DEFAULT, &credentials, clock.now()).await?;
    let tokens = settings::tokens(tenant, id).await?;
    Ok((id, login.connect(tokens)?))
}

impl Run {
    async fn run(self) -> Result<(), Failure> {
        let Mapping::Contact = self.mapping;
        let clock = Arc::new(SystemClock::default());
        let store = self.database.open().await?;
        let tenant = store.own();
        let (integration, connection) = integration_from_environment(&tenant, &*clock).await?;
        let syncer = Syncer { connection, store: tenant, integration, window: self.care.window(), clock };
        let outcome = tokio::select! {
            outcome = self.passes(&syncer) => outcome,
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

    async fn passes(&self, syncer: &Syncer) -> Result<(), Failure> {
        loop {
            let report = pass(syncer, "Contact").await;
            match report {
                Ok(report) if self.json => drop(output::line(&Value::from(report).to_string())?),
                Ok(report) => say!("{}", summary(&report)),
                Err(failure) if self.once => return Err(failure),
                // The next pass may find the org in better health; what failed is in the history.
                Err(failure) => drop(failure.report()),
            }
            if self.once {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_secs(self.every)).await;
        }
    }
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
