//! Logs in and streams records, page by page.
//!
//! ```sh
//! tieline emulate                 # prints the variables to export
//! cargo run --example query -- "SELECT Name, Email FROM Contact LIMIT 5"
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use futures_util::TryStreamExt;
use tieline_auth::{Credentials, OrgConfig};
use tieline_client::{Connection, Record};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let soql = std::env::args().nth(1).unwrap_or_else(|| "SELECT Id, Name FROM Contact LIMIT 5".to_owned());
    let org = Connection::new(Credentials::new(OrgConfig::from_env()?)?)?;
    let mut records = std::pin::pin!(org.query::<Record>(&soql));
    while let Some(record) = records.try_next().await? {
        println!("{}", serde_json::to_string(&record)?);
    }
    Ok(())
}
