//! `tieline broker`: valid tokens for every program on this machine.

use std::net::SocketAddr;
use std::sync::Arc;

use tieline_auth::SystemClock;
use tieline_client::Connection;
use tieline_lambda::broker::{self, DEFAULT_CONNECTION, Listeners, SHORTEST_SECRET};
use tieline_lambda::orgs::{Org, Orgs};
use tieline_sync::integration;

use crate::commands::stopped;
use crate::failure::Failure;
use crate::orgs::Orgs as SavedOrgs;
use crate::settings::{OrgChoice, master_key_file, own_token_store, saved_org, sources, token_store};

/// Hand out valid tokens to programs on this machine, in any language
#[derive(clap::Args)]
#[command(after_help = "Examples:
  export TIELINE_BROKER_TOKEN=$(openssl rand -hex 32)
  tieline broker
  curl -H \"X-Tieline-Token: $TIELINE_BROKER_TOKEN\" http://localhost:2774/v1/token
  tieline broker --connection acme --connection other     saved orgs: …/v1/token?connection=acme
  TIELINE_CONNECTIONS=crm=secretsmanager:tieline/crm tieline broker

Callers send the secret TIELINE_BROKER_TOKEN; it is read from the environment only. docs/broker.md has the whole contract.")]
pub(crate) struct Broker {
    #[command(flatten)]
    org: OrgChoice,
    /// Address on this machine; `localhost` in both address families. Port 0 takes a free one
    #[arg(long, value_name = "ADDR", env = "TIELINE_BROKER_LISTEN", default_value_t = SocketAddr::from(([127, 0, 0, 1], broker::PORT)))]
    listen: SocketAddr,
    /// A saved org to hand out tokens for besides, under its alias; repeat it for more
    #[arg(long = "connection", value_name = "ALIAS")]
    connections: Vec<String>,
    /// Connections from callers that may be open at a time
    #[arg(long, value_name = "COUNT", default_value_t = broker::CONNECTION_LIMIT, value_parser = limit)]
    limit: usize,
}

fn limit(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|limit| (1..=100_000).contains(limit)).ok_or_else(|| "give 1 to 100000".to_owned())
}

impl Broker {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let secret = secret()?;
        let failure = if self.listen.ip().is_loopback() { Failure::new } else { Failure::usage };
        let listeners = Listeners::bind(self.listen).await.map_err(|e| failure(e.to_string(), e.hint().to_owned()))?;
        let orgs = self.orgs().await?;
        let names: Vec<&str> = orgs.names().collect();
        say!("tieline hands out tokens at http://localhost:{} for {}", listeners.port(), names.join(", "));
        let clock = Arc::new(SystemClock::default());
        let broker = broker::Broker::new(&secret, orgs, clock).with_limit(self.limit);
        broker::serve(listeners, broker, stopped()).await;
        Ok(())
    }

    async fn orgs(&self) -> Result<Orgs, Failure> {
        let is_set = |name: &str| std::env::var(name).is_ok_and(|text| !text.trim().is_empty());
        let by_environment = self.org.org.is_none() && integration::is_any_set(|name| std::env::var(name).ok());
        let mut orgs = if is_set("TIELINE_CONNECTIONS") || by_environment {
            // Where refresh tokens rotate, the next start must find the new one.
            let store = token_store(master_key_file().as_deref()).await?.or_else(own_token_store);
            sources().with_settings(tieline_auth::Settings { store, ..tieline_auth::Settings::default() }).orgs()?
        } else {
            let orgs = Orgs::new(Arc::new(SystemClock::default()));
            // Whoever names saved orgs need not have a default one.
            match self.org.connection().await {
                Ok(connection) => orgs.with(DEFAULT_CONNECTION, org(&connection)),
                Err(failure) if self.connections.is_empty() || self.org.org.is_some() => return Err(failure),
                Err(_) => orgs,
            }
        };
        if !is_set("TIELINE_CONNECTIONS") && by_environment {
            // What is missing in this process's environment will not come later.
            orgs.check(DEFAULT_CONNECTION).await.map_err(|error| Failure::usage(error.to_string(), error.hint()))?;
        }
        for wanted in &self.connections {
            let saved = SavedOrgs::open()?;
            let (alias, entry) = saved.find(wanted)?;
            orgs = orgs.with(wanted, org(&saved_org(&saved, &alias, &entry).await?));
        }
        Ok(orgs)
    }
}

fn org(connection: &Connection) -> Org {
    let (credentials, api_version) = (connection.credentials().clone(), connection.api_version().to_owned());
    Org { credentials, api_version, certificate_ends: None }
}

fn secret() -> Result<String, Failure> {
    let make = "make one, and give it to the callers too: export TIELINE_BROKER_TOKEN=$(openssl rand -hex 32)";
    match std::env::var("TIELINE_BROKER_TOKEN") {
        Ok(secret) if secret.len() >= SHORTEST_SECRET && secret.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Ok(secret)
        }
        Ok(secret) if secret.is_empty() => Err(Failure::usage("TIELINE_BROKER_TOKEN is empty", make)),
        Ok(_) => Err(Failure::usage(
            format!("TIELINE_BROKER_TOKEN must be {SHORTEST_SECRET} visible ASCII characters or more"),
            make,
        )),
        Err(_) => Err(Failure::usage("callers must prove who they are, and TIELINE_BROKER_TOKEN is not set", make)),
    }
}
