//! Code of the org's own: Apex REST, anonymous Apex, and actions.

use reqwest::Method;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::sobject::segment;
use crate::connection::Connection;
use crate::error::ClientError;
use crate::refusal::ErrorItem;
use crate::request::Request;

/// What became of anonymous Apex.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AnonymousApex {
    /// It could be compiled.
    pub compiled: bool,
    /// It ran to its end.
    pub success: bool,
    /// Line of the problem or exception; -1 without one.
    pub line: i64,
    /// Its column.
    pub column: i64,
    /// Why it could not be compiled.
    #[serde(default)]
    pub compile_problem: Option<String>,
    /// What it threw.
    #[serde(default)]
    pub exception_message: Option<String>,
    /// Where.
    #[serde(default)]
    pub exception_stack_trace: Option<String>,
    /// What else the org says.
    #[serde(flatten)]
    pub more: serde_json::Map<String, serde_json::Value>,
}

/// What became of one input of an action.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionResult {
    /// The action.
    pub action_name: String,
    /// It was carried out.
    pub is_success: bool,
    /// Why it was not.
    #[serde(default)]
    pub errors: Option<Vec<ErrorItem>>,
    /// What it answers.
    #[serde(default)]
    pub output_values: Option<Map<String, Value>>,
    /// What else the org says.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl Connection {
    /// Calls a REST resource of the org's own: `path` follows `/services/apexrest/`. A `POST` is not repeated after a lost
    /// answer; build a [`Request`] for one that may be.
    ///
    /// ```no_run
    /// # async fn example(org: tieline_client::Connection) -> Result<(), tieline_client::ClientError> {
    /// use tieline_client::Method;
    /// let order: serde_json::Value = org.apex(Method::GET, "orders/42", None::<&()>).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Connection::send`]; `NOT_FOUND` where nothing is mapped to the path, `APEX_ERROR` for an exception that the
    /// code does not catch.
    pub async fn apex<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, ClientError> {
        let path = format!("/services/apexrest/{}", path.trim_start_matches('/'));
        let request = match body {
            None => Request::new(method, path),
            Some(body) => {
                let what = format!("{method} {path}");
                Request::json(method, path, body).map_err(|e| ClientError::Unsendable {
                    org: self.org().to_owned(),
                    what,
                    reason: format!("it cannot be written as JSON: {e}"),
                })?
            }
        };
        self.send_and(&request, |reply| {
            // A method without a return value answers nothing.
            let body: &[u8] = if reply.body.is_empty() { b"null" } else { &reply.body };
            serde_json::from_slice(body)
        })
        .await
    }

    /// Runs Apex that is not stored in the org. What it did before it failed is undone.
    ///
    /// # Errors
    /// As [`Connection::send`]. Code that does not compile, or that throws, is no error but an answer.
    pub async fn execute_anonymous(&self, code: &str) -> Result<AnonymousApex, ClientError> {
        let path = format!("tooling/executeAnonymous?anonymousBody={}", segment(code));
        // Though it is a GET, running it twice is doing it twice.
        self.send_json(&Request { reads: false, ..Request::get(self.data_path(&path)).repeatable(false) }).await
    }

    /// Calls an action: `standard/emailSimple`, `custom/flow/My_Flow`, `custom/apex/MyClass`. One result for each input,
    /// in order.
    ///
    /// # Errors
    /// As [`Connection::send`]; not repeated after a lost answer. What an action itself refuses is in its result.
    pub async fn action(&self, name: &str, inputs: &[impl Serialize]) -> Result<Vec<ActionResult>, ClientError> {
        let name: Vec<String> = name.split('/').map(segment).collect();
        let body = serde_json::json!({"inputs": inputs.iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>().map_err(|e| {
            let (org, reason) = (self.org().to_owned(), format!("an input cannot be written as JSON: {e}"));
            ClientError::Unsendable { org, what: format!("the action {}", name.join("/")), reason }
        })?});
        let request = self.json(Method::POST, &format!("actions/{}", name.join("/")), &body)?;
        match self.send_json::<Vec<ActionResult>>(&request).await {
            // When all inputs fail, the results come under status 400.
            Err(ClientError::Refused(refusal)) => match serde_json::from_slice::<Vec<ActionResult>>(refusal.body()) {
                Ok(results) if results.len() == inputs.len() && !results.is_empty() => Ok(results),
                _ => Err(ClientError::Refused(refusal)),
            },
            Ok(results) if results.len() != inputs.len() => {
                let reason = format!("it holds {} results for {} inputs", results.len(), inputs.len());
                Err(self.unreadable_answer(&request, &reason))
            }
            other => other,
        }
    }
}
