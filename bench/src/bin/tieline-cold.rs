//! A program that is started for one query, as `tieline query` is: what it costs from its start to its end is measured from
//! outside. It prints its peak of memory, and asks the org in `SF_INSTANCE_URL` with the token in `SF_ACCESS_TOKEN`.
#![expect(clippy::print_stdout, reason = "the measurement goes to standard output")]

use futures_util::TryStreamExt;
use tieline_auth::{Credentials, OrgConfig};
use tieline_client::{Connection, Record};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let org = Connection::new(Credentials::new(OrgConfig::from_env()?)?)?;
    let found: Vec<Record> = org.query("SELECT Id FROM Contact LIMIT 1").try_collect().await?;
    anyhow::ensure!(found.len() == 1, "the query found {} records", found.len());
    let status = std::fs::read_to_string("/proc/self/status")?;
    println!("{}", status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or_default());
    Ok(())
}
