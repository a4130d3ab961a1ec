//! Load for a running service, and what it costs there. `cargo xtask bench service` starts the service and runs this.
//!
//! - `prepare`: makes the first user and an API key, and prints where and as whom the rest goes.
//! - `load CASE CONNECTIONS`: one route over so many connections.
//! - `import ROWS`: an import of so many contacts, from its request to its end.
//! - `soak MINUTES`: all routes at a moderate rate, and the memory of the process.

mod http;
mod load;
mod soak;
mod target;

use anyhow::{Context, Result, bail};

pub(crate) async fn run(arguments: &[&str]) -> Result<()> {
    match *arguments {
        ["prepare"] => target::prepare().await,
        ["load", case, connections] => load::run(case, connections.parse().context("how many connections?")?).await,
        ["import", rows] => load::import(rows.parse().context("how many rows?")?).await,
        ["soak", minutes] => soak::run(minutes.parse().context("how many minutes?")?).await,
        _ => bail!("usage: tieline-bench service prepare | load CASE CONNECTIONS | import ROWS | soak MINUTES"),
    }
}
