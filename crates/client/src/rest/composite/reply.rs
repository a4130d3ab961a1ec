//! What became of the requests of a composite call.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::parts::{Part, Parts};
use crate::connection::Connection;
use crate::error::ClientError;
use crate::refusal::refused;
use crate::request::Request;

#[derive(Debug, Deserialize)]
pub(super) struct CompositeResponse {
    #[serde(rename = "compositeResponse")]
    pub(super) responses: Vec<One>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct One {
    body: Option<Box<RawValue>>,
    #[serde(default)]
    http_headers: Map<String, Value>,
    http_status_code: u16,
    reference_id: String,
}

/// A request of a composite call that failed.
pub type PartError = ClientError;

/// The answers to the requests of a composite call.
#[derive(Debug)]
pub struct Answers {
    org: String,
    parts: Parts,
    responses: Vec<One>,
}

impl Answers {
    /// The answer to a request.
    ///
    /// # Errors
    /// Its refusal. In a call that is all or none, all but the one that failed say `PROCESSING_HALTED`; see
    /// [`Answers::first_failure`].
    pub fn get<T: DeserializeOwned>(&self, part: &Part<T>) -> Result<T, PartError> {
        let what = self.parts.what(part.at);
        let Some(one) = self.one(part) else {
            let (org, reason) = (self.org.clone(), "the request is of another call".to_owned());
            return Err(ClientError::Unreadable { org, what, reason, outcome_unknown: false });
        };
        let body = one.body.as_deref().map_or("null", RawValue::get);
        if !(200..300).contains(&one.http_status_code) {
            return Err(refused(&self.org, &what, one.http_status_code, body.as_bytes()));
        }
        serde_json::from_str(body).map_err(|e| ClientError::Unreadable {
            org: self.org.clone(),
            what,
            reason: e.to_string(),
            outcome_unknown: false,
        })
    }

    fn one<T>(&self, part: &Part<T>) -> Option<&One> {
        self.responses.get(part.at)
    }

    /// HTTP status of an answer; `None` for a request of another call.
    pub fn status<T>(&self, part: &Part<T>) -> Option<u16> {
        self.one(part).map(|one| one.http_status_code)
    }

    /// Headers of an answer, such as `Location`.
    pub fn headers<T>(&self, part: &Part<T>) -> Option<&Map<String, Value>> {
        self.one(part).map(|one| &one.http_headers)
    }

    /// All requests were carried out.
    pub fn is_success(&self) -> bool {
        self.responses.iter().all(|one| (200..300).contains(&one.http_status_code))
    }

    /// The refusal that all the others follow from: the first that is not `PROCESSING_HALTED`.
    pub fn first_failure(&self) -> Option<PartError> {
        let failed = |(at, one): (usize, &One)| {
            let body = one.body.as_deref().map_or("null", RawValue::get);
            (one.http_status_code >= 300)
                .then(|| refused(&self.org, &self.parts.what(at), one.http_status_code, body.as_bytes()))
        };
        let all: Vec<ClientError> = self.responses.iter().enumerate().filter_map(failed).collect();
        let cause = all.iter().position(|error| error.salesforce_code() != Some("PROCESSING_HALTED"));
        all.into_iter().nth(cause.unwrap_or(0))
    }
}

impl Connection {
    /// Puts answers to their requests: by reference, for the org may answer in another order.
    pub(super) fn answers(
        &self,
        request: &Request,
        parts: &Parts,
        response: CompositeResponse,
    ) -> Result<Answers, ClientError> {
        let mut found: Vec<Option<One>> = (0..parts.len()).map(|_| None).collect();
        for one in response.responses {
            if let Some(at) = (0..parts.len()).find(|at| parts.reference(*at) == one.reference_id) {
                found[at] = Some(one);
            }
        }
        let all: Option<Vec<One>> = found.into_iter().collect();
        let missing = || {
            let (org, what) = (self.org().to_owned(), request.what());
            let reason = "it does not answer all requests of the call".to_owned();
            ClientError::Unreadable { org, what, reason, outcome_unknown: !request.reads }
        };
        Ok(Answers { org: self.org().to_owned(), parts: parts.clone(), responses: all.ok_or_else(missing)? })
    }
}
