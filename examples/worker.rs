//! One of many workers that share a token: calls the org for a while and tells what it cost.
//!
//! ```sh
//! export TIELINE_TOKEN_STORE=file:/tmp/tokens.json TIELINE_TOKEN_REUSE=until_refused
//! for i in 1 2 3 4 5; do cargo run --example worker & done; wait
//! curl -s "$CONTROL/ledger"      # the local org counted one login
//! ```
//!
//! `WORKER_SECONDS` (5), `WORKER_PAUSE_MS` between calls (100), `WORKER_LEASE_MS` (15000): how long the right to log in
//! may be held by a worker that hangs.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example shows what it does")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tieline_auth::{Credentials, OrgConfig, Settings};
use tieline_client::Connection;
use tieline_store::token_stores;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let store = std::env::var("TIELINE_TOKEN_STORE").unwrap_or_else(|_| "memory:".to_owned());
    let key = std::env::var_os("TIELINE_MASTER_KEY_FILE").map(PathBuf::from);
    let settings = Settings {
        store: token_stores::open(&store, key.as_deref(), None).await?,
        lease: Duration::from_millis(number("WORKER_LEASE_MS", 15_000)),
        ..Settings::default()
    };
    let org = Connection::new(Credentials::with(OrgConfig::from_env()?, settings)?)?;
    let (until, pause) = (number("WORKER_SECONDS", 5), Duration::from_millis(number("WORKER_PAUSE_MS", 100)));
    let started = Instant::now();
    let (mut done, mut failed) = (0u64, 0u64);
    while started.elapsed() < Duration::from_secs(until) {
        match org.limits().await {
            Ok(_) => done += 1,
            Err(error) => {
                failed += 1;
                eprintln!("error: {error}\nhint: {}", error.hint());
            }
        }
        tokio::time::sleep(pause).await;
    }
    let tokens = org.credentials().stats();
    println!("{}", serde_json::json!({"calls": done, "failed": failed, "tokens": tokens}));
    Ok(())
}
