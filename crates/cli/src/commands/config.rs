//! `tieline config`: the configuration of the service.

use clap::Subcommand;

use crate::commands::serve::Serve;
use crate::config::check::{Report, State, examine};
use crate::failure::Failure;

const USAGE: u8 = 2;

/// See whether the service is configured well
#[derive(Subcommand)]
pub(crate) enum Config {
    Check(Box<Check>),
}

/// Read all configuration of `tieline serve` and try what can be tried without a change anywhere
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline config check
  tieline config check --config /etc/tieline/tieline.toml
  tieline config check --json | jq -r '.checks[] | select(.state != \"ok\")'

Each thing is one line: ok, warning or error. What stands on the command line overrides the environment, and the
environment the file. Exit codes: 0 no error, 2 an error.")]
pub(crate) struct Check {
    #[command(flatten)]
    serve: Serve,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

impl Config {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let Config::Check(check) = self;
        let mut report = Report::new(check.json);
        examine(&mut report, &check.serve).await;
        if check.json {
            say!("{}", report.json());
        }
        if report.worst() == State::Error { Err(Failure::told(USAGE)) } else { Ok(()) }
    }
}
