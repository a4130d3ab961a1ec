//! What several commands read from environment and arguments.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tieline_client::Connection;
use tieline_store::Store;
use tieline_sync::{Window, integration};

use crate::failure::Failure;

/// The org that the SF_* variables name.
pub(crate) fn connection() -> Result<Connection, Failure> {
    let (login, _) = integration::capture(|name| std::env::var(name).ok())?;
    Ok(login.connect()?)
}

/// Where the database is.
#[derive(Args)]
pub(crate) struct Database {
    /// Database: a SQLite file, or sqlite:FILE
    #[arg(long, value_name = "URL", env = "TIELINE_DATABASE_URL", default_value = "tieline.db")]
    database_url: String,
    /// File of the master key that seals credentials [default: beside the database, ….key]
    #[arg(long, value_name = "FILE", env = "TIELINE_MASTER_KEY_FILE")]
    master_key_file: Option<PathBuf>,
}

impl Database {
    pub(crate) async fn open(&self) -> Result<Store, Failure> {
        let url = self.database_url.as_str();
        if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            return Err(Failure::usage(
                "PostgreSQL is not supported yet",
                "name a SQLite file: --database-url tieline.db",
            ));
        }
        let path = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:")).unwrap_or(url);
        let path = PathBuf::from(path);
        Ok(match &self.master_key_file {
            Some(key) => Store::open_with_key(&path, key).await?,
            None => Store::open(&path).await?,
        })
    }
}

/// How carefully a sync reads.
#[derive(Args, Clone, Copy)]
pub(crate) struct Care {
    /// Seconds before the checkpoint at which every scan begins again
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    lookback: u64,
    /// Seconds that the checkpoint stays behind the org's clock
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    lag: u64,
}

impl Care {
    pub(crate) fn window(self) -> Window {
        Window { lookback: Duration::from_secs(self.lookback), lag: Duration::from_secs(self.lag) }
    }
}
