//! `tieline doctor`: whether a login will work, and if not, what to do.

use std::path::PathBuf;

use crate::doctor::{Report, State, cannot_begin, examine};
use crate::failure::Failure;
use crate::output;
use crate::settings::OrgChoice;

/// Check everything that a login depends on, and say what to do
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline doctor
  tieline doctor --org production
  tieline doctor --certificate keys/public.crt --strict      for CI: warnings count too
  tieline doctor --json | jq -r '.checks[] | select(.state != \"pass\")'

Exit codes: 0 nothing failed, 1 something failed, 3 it needs a person, 4 it may pass by itself.")]
pub(crate) struct Doctor {
    #[command(flatten)]
    org: OrgChoice,
    /// Certificate that the app has [default: the one beside the private key]
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// Warnings count as failures
    #[arg(long)]
    strict: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let mut report = Report::new(self.json);
        match self.org.choose().await {
            Ok(chosen) => examine(&mut report, &chosen, self.certificate).await,
            Err(failure) => cannot_begin(&mut report, failure),
        }
        if self.json {
            output::line(&report.json().to_string())?;
        }
        let count = |state: State| report.checks.iter().filter(|check| check.state == state).count();
        let (failed, warned) = (count(State::Fail), count(State::Warn));
        if !self.json {
            let warnings = if warned == 1 { "warning" } else { "warnings" };
            note!("{} passed, {warned} {warnings}, {failed} failed", count(State::Pass));
        }
        match report.code(self.strict) {
            0 => Ok(()),
            code => Err(Failure::told(code)),
        }
    }
}
