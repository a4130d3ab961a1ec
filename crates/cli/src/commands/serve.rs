//! `tieline serve`: the service with its page.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use tieline_auth::SystemClock;
use tieline_server::{Service, Settings};
use tieline_sync::integration;
use tokio::net::TcpListener;

use crate::commands::{stopped, sync};
use crate::failure::Failure;
use crate::settings::{self, Care, Database};

/// Keep the database in step and show it on a web page
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline serve
  tieline serve --listen 127.0.0.1:8080 --every 60 --database-url sqlite:people.db

The SF_* variables, if set, are saved (sealed) as the integration `default`; later starts need them no more.")]
pub(crate) struct Serve {
    /// Address of the page; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7400")]
    listen: SocketAddr,
    /// Seconds between sync runs
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    every: u64,
    /// Allow orgs on this machine over plain HTTP, such as a local one
    #[arg(long)]
    allow_loopback: bool,
    #[command(flatten)]
    database: Database,
    #[command(flatten)]
    care: Care,
}

impl Serve {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        if !self.listen.ip().is_loopback() {
            return Err(Failure::usage(
                format!("the page shows people's data and has no sign-in yet, so it cannot listen on {}", self.listen),
                "listen on 127.0.0.1 and put a proxy that signs people in before it",
            ));
        }
        let store = self.database.open().await?;
        // What the environment says must be right; nothing at all is fine when the database knows an org.
        let told = integration::is_any_set(|name| std::env::var(name).ok());
        if told {
            sync::integration_from_environment(&store.own(), &SystemClock::default()).await?;
        }
        let listener =
            TcpListener::bind(self.listen).await.with_context(|| format!("could not listen on {}", self.listen))?;
        say!("tieline is ready at http://{}", listener.local_addr()?);
        let settings = Settings {
            every: Duration::from_secs(self.every),
            window: self.care.window(),
            allow_loopback: self.allow_loopback,
            tokens: settings::shared_tokens().await?,
        };
        tieline_server::serve(listener, Service::new(store.clone(), settings), stopped()).await?;
        store.close().await;
        Ok(())
    }
}
