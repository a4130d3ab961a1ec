//! What can go wrong with a call.

use serde::Deserialize;
use tieline_auth::http::innermost;
use tieline_auth::{AuthError, ConfigError};

use crate::catalogue::{self, Remedy};

/// A call that failed, in terms of what the caller can do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No token could be had.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The configuration is at fault.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The org answered, and refused.
    #[error(transparent)]
    Refused(Box<Refusal>),
    /// The org could not be reached, or the connection broke, and trying again did not help.
    #[error("{what} failed: no answer from org `{org}` after {attempts} attempts: {reason}")]
    Unreachable {
        /// The org's alias.
        org: String,
        /// Method and path.
        what: String,
        /// The innermost cause.
        reason: String,
        /// How often it was tried.
        attempts: u32,
        /// The request may have been carried out all the same.
        outcome_unknown: bool,
    },
    /// The answer does not have the expected form.
    #[error("{what} failed: the answer of org `{org}` cannot be read: {reason}")]
    Unreadable {
        /// The org's alias.
        org: String,
        /// Method and path.
        what: String,
        /// What did not fit.
        reason: String,
    },
}

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
}

impl ClientError {
    pub(crate) fn no_https(org: &str, error: &(dyn std::error::Error + 'static)) -> Self {
        ClientError::Unreachable {
            org: org.to_owned(),
            what: "preparing HTTPS".to_owned(),
            reason: innermost(error),
            attempts: 0,
            outcome_unknown: false,
        }
    }

    /// Salesforce's error code, where it gave one.
    pub fn salesforce_code(&self) -> Option<&str> {
        match self {
            ClientError::Refused(refusal) if !refusal.code.is_empty() => Some(&refusal.code),
            _ => None,
        }
    }

    /// Heals without anybody's help.
    pub fn is_transient(&self) -> bool {
        match self {
            ClientError::Auth(error) => error.is_transient(),
            ClientError::Config(_) => false,
            ClientError::Unreachable { .. } => true,
            ClientError::Refused(refusal) => {
                let row = catalogue::explain(&refusal.code);
                crate::retry::is_transient_status(refusal.status)
                    || row.is_some_and(|row| matches!(row.remedy, Remedy::Wait | Remedy::WaitLong))
            }
            ClientError::Unreadable { .. } => false,
        }
    }

    /// Somebody has to log in again or change the org's settings.
    pub fn needs_person(&self) -> bool {
        match self {
            ClientError::Auth(error) => error.needs_person(),
            ClientError::Refused(refusal) => {
                refusal.status == 401
                    || catalogue::explain(&refusal.code).is_some_and(|row| row.remedy == Remedy::Person)
            }
            _ => false,
        }
    }

    /// The next act.
    pub fn hint(&self) -> String {
        match self {
            ClientError::Auth(error) => error.hint(),
            ClientError::Config(error) => error.hint().to_owned(),
            ClientError::Unreachable { outcome_unknown: true, .. } => {
                "the request may have been carried out: look before repeating it".to_owned()
            }
            ClientError::Unreachable { .. } => "check the network, and https://status.salesforce.com".to_owned(),
            ClientError::Unreadable { .. } => {
                "a proxy may have answered in Salesforce's place; TIELINE_LOG=debug shows the calls".to_owned()
            }
            ClientError::Refused(refusal) => match catalogue::explain(&refusal.code) {
                Some(row) => row.next.to_owned(),
                None => "see docs/errors.md for what this code means".to_owned(),
            },
        }
    }
}

#[derive(Deserialize)]
struct Body {
    #[serde(default, rename = "errorCode")]
    error_code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    fields: Option<Vec<String>>,
}

/// Reads the error bodies of the data API: an array of one object (the first counts), or a single object.
pub(crate) fn refused(org: &str, what: &str, status: u16, body: &[u8]) -> ClientError {
    if let Some((code, message)) = crate::metadata::soap::fault(body) {
        return refusal(org, what, status, Body { error_code: code, message, fields: None });
    }
    let first = match serde_json::from_slice::<Vec<Body>>(body) {
        Ok(list) => list.into_iter().next(),
        Err(_) => serde_json::from_slice::<Body>(body).ok(),
    };
    let first = first.unwrap_or_else(|| {
        let text = String::from_utf8_lossy(&body[..body.len().min(200)]).trim().to_owned();
        Body { error_code: String::new(), message: text, fields: None }
    });
    refusal(org, what, status, first)
}

fn refusal(org: &str, what: &str, status: u16, first: Body) -> ClientError {
    // A query's error begins with a line break, on which its caret stands aligned: only the end is trimmed.
    let message = match first.message.trim_end() {
        "" => "it gave no reason".to_owned(),
        text => text.to_owned(),
    };
    ClientError::Refused(Box::new(Refusal {
        org: org.to_owned(),
        what: what.to_owned(),
        status,
        code: first.error_code,
        message,
        fields: first.fields.unwrap_or_default(),
    }))
}
