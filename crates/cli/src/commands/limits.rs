//! `tieline limits`: what the org allows, and what is left of it.

use std::cmp::Reverse;

use super::stopped;
use crate::failure::Failure;
use crate::output;
use crate::settings::OrgChoice;
use crate::setup::bootstrap::ENDED_BY_A_PERSON;

/// Show the org's limits and what is left of them, the scarcest first
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline limits
  tieline limits --json | jq .DailyApiRequests.Remaining")]
pub(crate) struct Limits {
    #[command(flatten)]
    org: OrgChoice,
    /// One JSON object, as the org says it
    #[arg(long)]
    json: bool,
}

impl Limits {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let read = async { Ok::<_, Failure>(self.org.connection().await?.limits().await?) };
        let limits = tokio::select! {
            limits = read => limits?,
            () = stopped() => return Err(Failure::told(ENDED_BY_A_PERSON)),
        };
        if self.json {
            output::line(&serde_json::to_string(&limits).map_err(anyhow::Error::from)?)?;
            return Ok(());
        }
        let mut rows: Vec<_> = limits
            .iter()
            .map(|(name, limit)| {
                let used = limit.max.saturating_sub(limit.remaining);
                let tenths = if limit.max > 0 { used.saturating_mul(1_000) / limit.max } else { 0 };
                (Reverse(tenths), name, used, limit)
            })
            .collect();
        rows.sort_by_key(|(tenths, name, ..)| (*tenths, *name));
        let mut table = output::table(&["limit", "used", "left", "allowed", "%"]);
        for (Reverse(tenths), name, used, limit) in rows {
            let percent = format!("{}.{}", tenths / 10, tenths.abs() % 10);
            table.add_row([name, &used.to_string(), &limit.remaining.to_string(), &limit.max.to_string(), &percent]);
        }
        output::line(&table.to_string())?;
        Ok(())
    }
}
