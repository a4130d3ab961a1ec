//! Messages into a queue of SQS.

use serde_json::{Value, json};
use tieline_auth::ConfigError;
use tieline_auth::aws::{Aws, AwsError, Service};
use url::Url;

/// Messages of one call (SQS API Reference, `SendMessageBatch`).
const AT_ONCE: usize = 10;

/// A queue. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Queue {
    aws: Aws,
    url: String,
}

impl Queue {
    /// The queue of that URL, as AWS shows it. Nothing is asked yet.
    ///
    /// # Errors
    /// It is no URL.
    pub fn new(aws: Aws, url: &str) -> Result<Self, ConfigError> {
        match Url::parse(url.trim()) {
            Ok(url) if url.has_host() => Ok(Self { aws, url: url.into() }),
            _ => Err(ConfigError::new(
                format!("the queue `{url}` is no URL"),
                "copy it from SQS: https://sqs.eu-central-1.amazonaws.com/123456789012/tieline-syncs",
            )),
        }
    }

    /// Sends each of the texts as a message. One of which nobody knows whether it was taken is sent again, so that it may come
    /// twice, as any message of SQS may.
    ///
    /// # Errors
    /// [`AwsError`], the first, if some were not taken; the others were sent nevertheless.
    pub async fn send(&self, bodies: &[String]) -> Result<(), AwsError> {
        let mut outcome = Ok(());
        for some in bodies.chunks(AT_ONCE) {
            let entries: Vec<Value> =
                some.iter().enumerate().map(|(n, body)| json!({"Id": n.to_string(), "MessageBody": body})).collect();
            let body = json!({"QueueUrl": self.url, "Entries": entries});
            let sent = self.aws.ask(Service::Sqs, "SendMessageBatch", "", &body).await;
            outcome = outcome.and(sent.and_then(|answer| refused(&answer)));
        }
        outcome
    }
}

/// The first message of a batch that was refused: the batch itself is answered as well.
fn refused(answer: &Value) -> Result<(), AwsError> {
    let Some(failed) = answer["Failed"].as_array().and_then(|failed| failed.first()) else { return Ok(()) };
    let text = |name: &str| failed[name].as_str().unwrap_or_default().to_owned();
    Err(AwsError {
        service: "sqs",
        operation: "SendMessageBatch".to_owned(),
        code: text("Code"),
        message: text("Message"),
        passing: failed["SenderFault"] != true,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_message_that_was_refused_is_told_though_its_batch_was_answered() {
        assert!(refused(&json!({"Successful": [{"Id": "0"}]})).is_ok());
        assert!(refused(&json!({"Successful": [], "Failed": []})).is_ok());
        let failed =
            json!({"Failed": [{"Id": "1", "Code": "InternalError", "Message": "later", "SenderFault": false}]});
        let error = refused(&failed).unwrap_err();
        assert!(error.passing && error.to_string().contains("InternalError: later"), "{error}");
    }

    #[test]
    fn what_is_no_url_is_no_queue() {
        let aws = Aws::from_variables(Arc::new(|name| (name == "AWS_REGION").then(|| "eu-central-1".to_owned())));
        let aws = aws.unwrap();
        assert!(Queue::new(aws.clone(), "https://sqs.eu-central-1.amazonaws.com/1/q").is_ok());
        assert!(Queue::new(aws, "tieline-syncs").unwrap_err().to_string().contains("tieline-syncs"));
    }
}
