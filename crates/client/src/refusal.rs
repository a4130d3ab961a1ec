//! What an org says when it refuses a call.

use reqwest::header::HeaderMap;
use serde::{Deserialize, Serialize};

use crate::error::ClientError;

/// An org's refusal, in its own words.
#[derive(Debug, thiserror::Error)]
#[error("{what} failed: org `{org}` answered {status}{}{code}: {message}", if code.is_empty() { "" } else { " " })]
pub struct Refusal {
    /// The org's alias.
    pub org: String,
    /// Method and path, or what was attempted.
    pub what: String,
    /// HTTP status.
    pub status: u16,
    /// Salesforce's error code, such as `INVALID_FIELD`; empty where the answer had none.
    pub code: String,
    /// Salesforce's message.
    pub message: String,
    /// Fields that Salesforce names.
    pub fields: Vec<String>,
    /// All errors of the answer, the first included; most answers have one.
    pub errors: Vec<ErrorItem>,
    /// The request may have been carried out all the same.
    pub outcome_unknown: bool,
    /// As it came.
    pub(crate) body: RawBody,
    /// As they came.
    pub(crate) headers: RawHeaders,
}

/// The headers of a refusal. Their values are not printed: cookies are among them.
#[derive(Clone, Default)]
pub(crate) struct RawHeaders(pub(crate) HeaderMap);

impl std::fmt::Debug for RawHeaders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

/// The body of a refusal. It is not printed: it may quote records.
#[derive(Clone, Default)]
pub(crate) struct RawBody(pub(crate) Vec<u8>);

impl std::fmt::Debug for RawBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Refusal {
    /// The body of the answer as it came.
    pub fn body(&self) -> &[u8] {
        &self.body.0
    }

    /// The headers of the answer as they came; what was compressed is not so any more.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers.0
    }
}

/// One error of an answer, with all that the org says about it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ErrorItem {
    /// Salesforce's code. Errors of a call name it `errorCode`, those of a record `statusCode`.
    #[serde(default, rename = "errorCode", alias = "statusCode", alias = "exceptionCode")]
    pub code: String,
    /// Its words.
    #[serde(default, alias = "exceptionMessage")]
    pub message: String,
    /// Fields that it names.
    #[serde(default, deserialize_with = "null_as_default")]
    pub fields: Vec<String>,
    /// What else is said, such as `extendedErrorDetails` or `duplicateResult`.
    #[serde(flatten)]
    pub more: serde_json::Map<String, serde_json::Value>,
}

fn null_as_default<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

impl std::fmt::Display for ErrorItem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.message.trim())?;
        if self.fields.is_empty() { Ok(()) } else { write!(f, " ({})", self.fields.join(", ")) }
    }
}

/// Reads the error bodies of the data API: an array of objects, or a single one; of the XML APIs; and of what stands in
/// front of them.
pub(crate) fn refused(org: &str, what: &str, status: u16, body: &[u8]) -> ClientError {
    let errors = errors_in(status, body);
    let first = errors.first().cloned().unwrap_or_default();
    // A query's error begins with a line break, on which its caret stands aligned: only the end is trimmed.
    let message = match first.message.trim_end() {
        "" => "it gave no reason".to_owned(),
        text => text.to_owned(),
    };
    ClientError::Refused(Box::new(Refusal {
        org: org.to_owned(),
        what: what.to_owned(),
        status,
        code: first.code,
        message,
        fields: first.fields,
        errors,
        outcome_unknown: false,
        body: RawBody(body.to_vec()),
        headers: RawHeaders::default(),
    }))
}

/// The refusal of a tree: the errors stand with the records that have them.
#[derive(Deserialize)]
struct Refused {
    results: Vec<RefusedRecord>,
}

#[derive(Deserialize)]
struct RefusedRecord {
    #[serde(default)]
    errors: Vec<ErrorItem>,
}

/// Code and message of an error of the older Bulk API.
fn bulk_error(body: &[u8]) -> Option<(String, String)> {
    let text = std::str::from_utf8(body).ok().filter(|text| text.contains("<exceptionCode>"))?;
    let error = crate::metadata::Element::parse(text).ok().filter(|root| root.name == "error")?;
    let message = error.at("exceptionMessage").unwrap_or_default();
    Some((error.at("exceptionCode")?.to_owned(), message.to_owned()))
}

fn errors_in(status: u16, body: &[u8]) -> Vec<ErrorItem> {
    if let Some((code, message)) = crate::metadata::soap::fault(body).or_else(|| bulk_error(body)) {
        return vec![ErrorItem { code, message, ..ErrorItem::default() }];
    }
    if let Ok(list) = serde_json::from_slice::<Vec<ErrorItem>>(body) {
        return list;
    }
    if let (300, Ok(paths)) = (status, serde_json::from_slice::<Vec<String>>(body)) {
        // Several records have the same external id; the answer is their paths.
        let message = format!("{} records match: {}", paths.len(), paths.join(", "));
        return vec![ErrorItem { code: "MULTIPLE_CHOICES".to_owned(), message, ..ErrorItem::default() }];
    }
    if let Ok(refused) = serde_json::from_slice::<Refused>(body) {
        return refused.results.into_iter().flat_map(|record| record.errors).collect();
    }
    if let Ok(one) = serde_json::from_slice::<ErrorItem>(body)
        && !(one.code.is_empty() && one.message.is_empty())
    {
        return vec![one];
    }
    let text = String::from_utf8_lossy(&body[..body.len().min(200)]).trim().to_owned();
    vec![ErrorItem { message: text, ..ErrorItem::default() }]
}
