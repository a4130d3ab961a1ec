//! `tieline datacloud`: SQL, objects and ingestion of Data Cloud.

mod ingest;
mod objects;
mod parameter;
mod query;
mod sink;

use clap::Subcommand;
use tieline_auth::Reuse;
use tieline_datacloud::config::LIKELY_VALID;
use tieline_datacloud::{DataCloud, DataCloudTokenProvider};

use crate::failure::Failure;
use crate::settings::OrgChoice;

/// Query Data Cloud, list its objects, send data to it
#[derive(Subcommand)]
pub(crate) enum DataCloudCommand {
    Query(Box<query::Query>),
    Objects(objects::Objects),
    Ingest(ingest::Ingest),
    Job(ingest::JobCommand),
}

impl DataCloudCommand {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self {
            DataCloudCommand::Query(command) => command.run().await,
            DataCloudCommand::Objects(command) => command.run().await,
            DataCloudCommand::Ingest(command) => command.run().await,
            DataCloudCommand::Job(command) => command.run().await,
        }
    }
}

/// Which tenant a command works on.
#[derive(clap::Args)]
struct Tenant {
    #[command(flatten)]
    org: OrgChoice,
    /// Data space [default: the default data space]
    #[arg(long, value_name = "NAME", env = "SF_DATASPACE", hide_env = true)]
    dataspace: Option<String>,
}

impl Tenant {
    async fn connect(&self) -> Result<DataCloud, Failure> {
        let mut credentials = self.org.connection().await?.credentials().clone();
        // The exchange shows whether the login still lives, so it is kept while it may; unless somebody decided otherwise.
        if credentials.config().reuse_is_usual() && credentials.is_renewable() {
            credentials = credentials.reusing(Reuse::For(LIKELY_VALID))?;
        }
        let dataspace = self.dataspace.as_deref().filter(|name| !name.is_empty());
        Ok(DataCloud::new(DataCloudTokenProvider::of(credentials, dataspace))?)
    }
}
