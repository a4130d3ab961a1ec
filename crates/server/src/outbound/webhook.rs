//! Alerts as signed webhooks, after the Standard Webhooks specification; see [`super::signature`].

use axum::http::HeaderMap;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use bytes::Bytes;
use tieline_auth::Secret;

use super::Outcome;
pub use super::retry::next_attempt;
use super::sender::Sender;
use super::signature::is_id;
pub use super::signature::{BadSecret, ID, NotVerified, SIGNATURE, SigningSecret, TIMESTAMP, TOLERANCE, sign, verify};

/// One message for one receiver.
#[derive(Clone)]
pub struct Delivery {
    /// Names the message, the same over all attempts: letters, digits, `-` and `_`, at most 255.
    pub id: String,
    /// Where to. Some receivers keep a key in it.
    pub url: Secret,
    /// JSON, as it is sent and signed.
    pub body: Bytes,
    /// What it is signed with; for as long as a secret is being exchanged, the new one and the old one.
    pub secrets: Vec<SigningSecret>,
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery").field("id", &self.id).field("bytes", &self.body.len()).finish_non_exhaustive()
    }
}

/// Sends webhooks.
#[derive(Debug, Clone)]
pub struct Webhooks {
    sender: Sender,
}

impl Webhooks {
    /// Through this sender.
    pub fn new(sender: Sender) -> Self {
        Self { sender }
    }

    /// One attempt. The time of the attempt and the signatures are made anew for each.
    pub async fn deliver(&self, delivery: &Delivery) -> Outcome {
        let failed = |reason: &str| Outcome::Failed { reason: format!("cannot sign the webhook: {reason}") };
        if !is_id(&delivery.id) {
            return failed("its id is not made of 1 to 255 letters, digits, `-` and `_`");
        }
        if delivery.secrets.is_empty() {
            return failed("it has no signing secret; give the destination one");
        }
        let timestamp = self.sender.clock().now().as_second();
        let signature = sign(&delivery.id, timestamp, &delivery.body, &delivery.secrets);
        let (Ok(id), Ok(signature)) = (HeaderValue::from_str(&delivery.id), HeaderValue::from_str(&signature)) else {
            return failed("its id or signature is no header");
        };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ID, id);
        headers.insert(TIMESTAMP, timestamp.into());
        headers.insert(SIGNATURE, signature);
        self.sender.post(&delivery.url, headers, delivery.body.clone()).await
    }
}
