//! Reads rows of Data Cloud as Arrow record batches, with a parameter, and prints the first ones.
//!
//! The org is the one that the `SF_*` variables name; `tieline emulate --datacloud` prints some.
//!
//! ```sh
//! cargo run --package tieline-datacloud --example datacloud_query -- \
//!     'SELECT "ssot__FirstName__c", "ssot__LastName__c" FROM "ssot__Individual__dlm" WHERE "ssot__LastName__c" > ?' M
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use tieline_auth::{OrgConfig, Settings};
use tieline_datacloud::output::cells;
use tieline_datacloud::{DataCloud, DataCloudTokenProvider};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let sql = arguments.next().unwrap_or_else(|| "SELECT 1 AS \"one\"".to_owned());
    let provider = DataCloudTokenProvider::for_org(OrgConfig::from_env()?, None, Settings::default())?;
    let cloud = DataCloud::new(provider)?;
    let query = arguments.fold(cloud.query(sql), |query, value| query.bind(value));
    let mut rows = query.run().await?;
    let names: Vec<_> = rows.schema().fields().iter().map(|field| field.name().as_str()).collect();
    println!("{}", names.join(" | "));
    let mut count = 0;
    while let Some(batch) = rows.next().await? {
        if count == 0 {
            for row in cells(&batch, 10)? {
                println!("{}", row.join(" | "));
            }
        }
        count += batch.num_rows();
    }
    println!("{count} rows of query {}", rows.status().query_id);
    Ok(())
}
