//! A Lambda function on an SQS queue: each message sets the email address of a contact.
//!
//! Messages are `{"contact": "003…", "email": "…"}`. Setting a field twice is the same as setting it once, so a message
//! that comes again does no harm. The event source must have `ReportBatchItemFailures`.

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use lambda_runtime::LambdaEvent;
use serde::Deserialize;
use serde_json::json;
use tieline_client::Connection;
use tieline_lambda::handler::{self, Invocation, Salesforce, queue};

/// Messages that are worked on at the same time: an org lets 25 long requests run at once, for all its users.
const AT_ONCE: usize = 5;

#[derive(Deserialize)]
struct Change {
    contact: String,
    email: String,
}

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    tieline_lambda::logging::start();
    handler::run(Salesforce::from_env()?, apply).await
}

async fn apply(
    event: LambdaEvent<SqsEvent>,
    invocation: Invocation,
) -> Result<SqsBatchResponse, lambda_runtime::Error> {
    let org = invocation.connection("default").await?;
    Ok(queue::each(&invocation, event.payload, AT_ONCE, |message| set_email(&org, message)).await)
}

async fn set_email(org: &Connection, message: SqsMessage) -> Result<(), lambda_runtime::Error> {
    let change: Change = serde_json::from_str(&message.body.unwrap_or_default())?;
    org.update("Contact", &change.contact, &json!({ "Email": change.email })).await?;
    Ok(())
}
