//! A batch: up to 25 requests that have nothing to do with each other.

use reqwest::Method;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::parts::repeatable;
use crate::connection::Connection;
use crate::error::ClientError;
use crate::refusal::refused;

/// Requests that are carried out one after the other, each for itself.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[must_use]
pub struct Batch {
    halt_on_error: bool,
    #[serde(rename = "batchRequests")]
    requests: Vec<One>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct One {
    method: &'static str,
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    rich_input: Option<Value>,
}

/// What became of the requests of a batch, in order.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchReply {
    /// At least one failed.
    pub has_errors: bool,
    results: Vec<Result1>,
    #[serde(skip)]
    org: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Result1 {
    status_code: u16,
    result: Option<Box<RawValue>>,
}

impl Batch {
    /// A batch without requests.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, and nothing is carried out after one that fails.
    pub fn halt_on_error(self) -> Self {
        Self { halt_on_error: true, ..self }
    }

    /// Adds a request below `/services/data/vNN.0/`, such as `GET` of `limits`.
    pub fn request(mut self, method: &'static str, path: impl Into<String>, body: Option<Value>) -> Self {
        self.requests.push(One { method, url: path.into(), rich_input: body });
        self
    }
}

impl BatchReply {
    /// How many answers there are.
    pub fn len(&self) -> usize {
        self.results.len()
    }

    /// True without any.
    pub fn is_empty(&self) -> bool {
        self.results.is_empty()
    }

    /// The answer to the n-th request; `()` or an `Option` where it has none.
    ///
    /// # Errors
    /// Its refusal. `BATCH_PROCESSING_HALTED`: one before it failed.
    pub fn get<T: DeserializeOwned>(&self, n: usize) -> Result<T, ClientError> {
        let what = format!("request {n} of the batch");
        let missing = || (404, "[]");
        let (status, body) = self
            .results
            .get(n)
            .map_or_else(missing, |one| (one.status_code, one.result.as_deref().map_or("null", RawValue::get)));
        if !(200..300).contains(&status) {
            return Err(refused(&self.org, &what, status, body.as_bytes()));
        }
        serde_json::from_str(body).map_err(|e| ClientError::Unreadable {
            org: self.org.clone(),
            what,
            reason: e.to_string(),
            outcome_unknown: false,
        })
    }
}

impl Connection {
    /// Sends a batch. What became of each request is in the reply.
    ///
    /// # Errors
    /// As [`Connection::send`]. After a lost answer it is repeated as [`Connection::composite`] is.
    pub async fn batch(&self, batch: &Batch) -> Result<BatchReply, ClientError> {
        let request = || {
            let mut sent = batch.clone();
            for one in &mut sent.requests {
                one.url = format!("v{}/{}", self.api_version(), one.url);
            }
            let repeatable = batch.requests.iter().all(|one| repeatable(one.method, &one.url));
            Ok(self.json(Method::POST, "composite/batch", &sent)?.repeatable(repeatable))
        };
        let (mut reply, _): (BatchReply, _) = self.send_with_paths(request).await?;
        if reply.results.len() != batch.requests.len() {
            return Err(self.unreadable_answer(&request()?, "it does not answer all requests of the batch"));
        }
        self.org().clone_into(&mut reply.org);
        Ok(reply)
    }
}
