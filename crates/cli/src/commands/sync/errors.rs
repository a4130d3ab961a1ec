//! `tieline sync errors`: values that did not fit their columns.

use serde_json::json;

use super::{all_mappings, mapping_named};
use crate::failure::Failure;
use crate::output;
use crate::settings::Database;

/// Show values of records that did not fit their columns
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline sync errors
  tieline sync errors --mapping leads --json | jq -r .record

The rows are there, with nothing (or the column's default) in that column. An error goes when the value fits.")]
pub(crate) struct Errors {
    /// Only those of this mapping
    #[arg(long, value_name = "NAME")]
    mapping: Option<String>,
    /// How many of each mapping
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    #[command(flatten)]
    database: Database,
    /// One JSON object an error
    #[arg(long)]
    json: bool,
}

impl Errors {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let store = self.database.open_existing().await?;
        let tenant = store.own();
        let mappings = match &self.mapping {
            Some(name) => vec![mapping_named(&tenant, name).await?],
            None => all_mappings(&tenant).await?.into_iter().map(|(_, mapping)| mapping).collect(),
        };
        let mut table = output::table(&["mapping", "record", "column", "value", "what is wrong", "since"]);
        let mut any = false;
        for mapping in &mappings {
            for kept in tenant.row_errors(mapping, self.limit).await? {
                any = true;
                let error = kept.error;
                if self.json {
                    let told = json!({
                        "mapping": mapping.name, "record": error.record, "column": error.column, "value": error.value,
                        "reason": error.reason, "run": kept.run, "at": kept.at,
                    });
                    output::line(&told.to_string())?;
                    continue;
                }
                let value = error.value.unwrap_or_default();
                table.add_row([
                    &mapping.name,
                    &error.record,
                    &error.column,
                    &value,
                    &error.reason,
                    &kept.at.to_string(),
                ]);
            }
        }
        store.close().await;
        match (self.json, any) {
            (true, _) => {}
            (false, true) => say!("{table}"),
            (false, false) => say!("All values fit their columns."),
        }
        Ok(())
    }
}
