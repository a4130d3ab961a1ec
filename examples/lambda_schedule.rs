//! A Lambda function on a schedule: says who was changed since yesterday, and how many calls the org has left.

use futures_util::TryStreamExt;
use lambda_runtime::LambdaEvent;
use serde_json::{Value, json};
use tieline_client::Record;
use tieline_lambda::handler::{self, Invocation, Salesforce};

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    tieline_lambda::logging::start();
    handler::run(Salesforce::from_env()?, look).await
}

async fn look(_: LambdaEvent<Value>, invocation: Invocation) -> Result<Value, lambda_runtime::Error> {
    let org = invocation.connection("default").await?;
    // A stream: memory stays the same, however many there are.
    let changed = "SELECT Id FROM Contact WHERE SystemModstamp >= YESTERDAY";
    let mut records = std::pin::pin!(org.query::<Record>(changed));
    let mut count = 0;
    while records.try_next().await?.is_some() {
        count += 1;
    }
    let usage = org.api_usage();
    Ok(json!({ "changed": count, "calls_left": usage.map(|usage| usage.allowed.saturating_sub(usage.used)) }))
}
