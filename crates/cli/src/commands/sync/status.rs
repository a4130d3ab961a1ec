//! `tieline sync status`: how each mapping stands.

use jiff::Timestamp;
use serde_json::{Value, json};
use tieline_auth::{Clock, SystemClock};
use tieline_store::mappings::Mapping;
use tieline_store::{Run, Tenant};

use super::all_mappings;
use crate::failure::Failure;
use crate::output::{self, hint};
use crate::settings::Database;

/// Show how each mapping stands: how far it is read, and up to when nothing is missing
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline sync status
  tieline sync status --json | jq -r 'select(.state != \"synced\") | .mapping'

`complete through`: everything stamped before this has been read. `verified through`: it is proven that nothing before
this is missing.")]
pub(crate) struct Status {
    #[command(flatten)]
    database: Database,
    /// One JSON object a mapping
    #[arg(long)]
    json: bool,
}

/// A mapping and its last run.
struct Standing {
    mapping: Mapping,
    integration: String,
    rows: u64,
    last: Option<Run>,
}

impl Status {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let store = self.database.open_existing().await?;
        let standings = standings(&store.own()).await;
        store.close().await;
        let (standings, now) = (standings?, SystemClock::default().now());
        if self.json {
            for standing in &standings {
                output::line(&standing.json(now).to_string())?;
            }
            return Ok(());
        }
        if standings.is_empty() {
            say!("There is no mapping yet.");
            hint("`tieline sync mappings add FILE` makes one");
            return Ok(());
        }
        let mut table = output::table(&[
            "mapping",
            "object",
            "records",
            "state",
            "complete through",
            "verified through",
            "last run",
        ]);
        for standing in &standings {
            let mapping = &standing.mapping;
            let time = |at: Option<Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
            table.add_row([
                mapping.name.clone(),
                mapping.object.clone(),
                standing.rows.to_string(),
                mapping.state.name().to_owned(),
                time(mapping.standing.checkpoint.through),
                time(mapping.standing.verified_through),
                standing.last.as_ref().map(|run| run.state.clone()).unwrap_or_default(),
            ]);
        }
        say!("{table}");
        for Standing { mapping, .. } in &standings {
            if let Some(since) = mapping.definition.get("since").and_then(Value::as_str) {
                note!("{}: only records since {since}, and so are all of its numbers", mapping.name);
            }
            if let Some(cursor) = mapping.standing.progress.cursor.as_deref().filter(|c| *c != "SystemModstamp") {
                note!("{}: changes are found by {cursor}; what does not move it is not seen", mapping.name);
            }
            if let Some(reason) = &mapping.state_reason {
                note!("{}: {reason}", mapping.name);
            }
        }
        Ok(())
    }
}

async fn standings(tenant: &Tenant) -> Result<Vec<Standing>, Failure> {
    let mut standings = Vec::new();
    for (integration, mapping) in all_mappings(tenant).await? {
        let rows = tenant.count_present(&mapping).await?;
        let last = tenant.mapping_runs(&mapping, 1).await?.into_iter().next();
        standings.push(Standing { mapping, integration: integration.name, rows, last });
    }
    Ok(standings)
}

impl Standing {
    /// The stable form of `tieline sync status --json`.
    fn json(&self, now: Timestamp) -> Value {
        let Self { mapping, integration, rows, last } = self;
        let (standing, progress) = (&mapping.standing, &mapping.standing.progress);
        let lag = standing.checkpoint.through.map(|through| now.duration_since(through).as_secs());
        json!({
            "id": mapping.id, "mapping": mapping.name, "integration": integration, "object": mapping.object,
            "table": mapping.table.name(), "state": mapping.state, "state_reason": mapping.state_reason, "rows": rows,
            "since": mapping.definition.get("since"), "cursor": progress.cursor,
            "checkpoint": standing.checkpoint.through, "verified_through": standing.verified_through,
            "lag_seconds": lag, "compared_at": progress.compared_at, "refreshed_at": progress.refreshed_at,
            "retry_at": progress.retry_at, "last_run": last,
        })
    }
}
