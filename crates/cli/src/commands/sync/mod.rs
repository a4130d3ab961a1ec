//! `tieline sync`: keep a database in step.

mod errors;
mod mappings;
mod run;
mod runs;
mod status;

use clap::Subcommand;
use tieline_auth::Clock;
use tieline_client::Connection;
use tieline_store::mappings::{CONTACTS, Mapping};
use tieline_store::{Integration, Tenant, Uuid};
use tieline_sync::integration;

use crate::failure::Failure;
use crate::settings;

pub(crate) use run::{pass, summary};

/// Name of the integration that the SF_* variables make.
pub(crate) const DEFAULT: &str = "default";

/// Keep a database in step with the org
#[derive(Subcommand)]
pub(crate) enum Sync {
    Run(run::Run),
    #[command(subcommand)]
    Mappings(mappings::Mappings),
    Status(status::Status),
    Runs(runs::Runs),
    Errors(errors::Errors),
}

impl Sync {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self {
            Sync::Run(command) => command.run().await,
            Sync::Mappings(command) => command.run().await,
            Sync::Status(command) => command.run().await,
            Sync::Runs(command) => command.run().await,
            Sync::Errors(command) => command.run().await,
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

/// The mappings of all integrations, by the names of both.
async fn all_mappings(tenant: &Tenant) -> Result<Vec<(Integration, Mapping)>, Failure> {
    let mut all = Vec::new();
    for integration in tenant.integrations().await? {
        for mapping in tenant.mappings(integration.id).await? {
            all.push((integration.clone(), mapping));
        }
    }
    Ok(all)
}

/// The mapping of a name, for which people may say `contact` where they mean contacts; of several integrations' mappings, that of the SF_* variables' integration.
async fn mapping_named(tenant: &Tenant, name: &str) -> Result<Mapping, Failure> {
    let name = if name == "contact" { CONTACTS } else { name };
    let mut all = all_mappings(tenant).await?;
    all.retain(|(_, mapping)| mapping.name == name);
    let one = all.iter().position(|(integration, _)| integration.name == DEFAULT).or((all.len() == 1).then_some(0));
    match one {
        Some(n) => Ok(all.swap_remove(n).1),
        None if all.is_empty() => Err(Failure::usage(
            format!("there is no mapping `{name}`"),
            "`tieline sync mappings list` shows them; `tieline sync mappings add FILE` makes one",
        )),
        None => Err(Failure::usage(
            format!("{} integrations have a mapping `{name}`", all.len()),
            "the API tells them apart: GET /api/mappings",
        )),
    }
}
