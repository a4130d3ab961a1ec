//! `tieline sync runs`: what each run has done.

use super::{all_mappings, mapping_named};
use crate::failure::Failure;
use crate::output;
use crate::settings::Database;

/// Show the last runs: what was read, written and asked for
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline sync runs
  tieline sync runs --mapping accounts --limit 5
  tieline sync runs --json | jq 'select(.state == \"failed\") | .error'")]
pub(crate) struct Runs {
    /// Only those of this mapping
    #[arg(long, value_name = "NAME")]
    mapping: Option<String>,
    /// How many of each mapping
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    #[command(flatten)]
    database: Database,
    /// One JSON object a run
    #[arg(long)]
    json: bool,
}

impl Runs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let store = self.database.open_existing().await?;
        let tenant = store.own();
        let mappings = match &self.mapping {
            Some(name) => vec![mapping_named(&tenant, name).await?],
            None => all_mappings(&tenant).await?.into_iter().map(|(_, mapping)| mapping).collect(),
        };
        let mut table = output::table(&[
            "mapping",
            "started",
            "state",
            "read",
            "new",
            "changed",
            "deleted",
            "drift",
            "errors",
            "API calls",
            "bytes",
        ]);
        let mut failures = Vec::new();
        for mapping in &mappings {
            for run in tenant.mapping_runs(mapping, self.limit).await? {
                if self.json {
                    let mut told = serde_json::to_value(&run).unwrap_or_default();
                    told["mapping"] = mapping.name.as_str().into();
                    output::line(&told.to_string())?;
                    continue;
                }
                table.add_row([
                    mapping.name.clone(),
                    run.started_at.to_string(),
                    run.state.clone(),
                    run.rows_read.to_string(),
                    run.inserted.to_string(),
                    run.updated.to_string(),
                    run.deleted.to_string(),
                    run.drift_found.to_string(),
                    run.failed_cells.to_string(),
                    run.api_calls.to_string(),
                    run.bytes.to_string(),
                ]);
                failures.extend(run.error.map(|error| format!("{}: {error}", run.started_at)));
            }
        }
        store.close().await;
        if !self.json {
            say!("{table}");
            for failure in failures {
                note!("{failure}");
            }
        }
        Ok(())
    }
}
