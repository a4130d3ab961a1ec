//! Many orgs in one process: one connection each, found again by name, with events and numbers.
//!
//! ```sh
//! cargo run --example many_orgs     # needs nothing: it starts three local orgs of its own
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use tieline_auth::{Credentials, Grant, OrgConfig, Secret};
use tieline_client::{Connection, Connections};
use tieline_emulator::{Emulator, Options};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let orgs = Connections::default();
    let mut running = Vec::new();
    for alias in ["north", "south", "west"] {
        let emulator = Emulator::start(Options { contacts: 10, ..Options::default() }).await?;
        let info = emulator.info().clone();
        orgs.get_or_open(alias, || {
            let grant = Grant::RefreshToken { refresh_token: Secret::new(&info.refresh_token) };
            let mut config = OrgConfig::new(&info.login_url, &info.client_id, grant)?;
            config.client_secret = Some(Secret::new(&info.client_secret));
            alias.clone_into(&mut config.alias);
            Connection::new(Credentials::new(config)?)
        })?;
        running.push(emulator);
    }
    // A thousand requests from wherever: each org logs in once.
    for number in 0..1_000 {
        let alias = ["north", "south", "west"][number % 3];
        let Some(org) = orgs.get(alias) else { continue };
        org.credentials().token().await?;
    }
    println!("{}", serde_json::to_string_pretty(&orgs.stats())?);
    for (alias, revocation) in orgs.revoke_all().await {
        println!("{alias}: revoked, complete: {}", revocation?.is_complete());
    }
    for emulator in running {
        emulator.stop().await;
    }
    Ok(())
}
