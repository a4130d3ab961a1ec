//! What can go wrong with a call.

use tieline_auth::http::innermost;
use tieline_auth::{AuthError, ConfigError};

use crate::catalogue::{self, Remedy};
use crate::refusal::Refusal;

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
    /// The caller's own reserve of API calls begins here; nothing was sent.
    #[error(
        "{what} was not sent: org `{org}` has used {used} of {allowed} API calls, and {reserve} are kept in reserve"
    )]
    Reserve {
        /// The org's alias.
        org: String,
        /// Method and path.
        what: String,
        /// Calls made within 24 hours.
        used: u64,
        /// Calls allowed within 24 hours.
        allowed: u64,
        /// Calls that are left to others.
        reserve: u64,
    },
    /// The request is not one; nothing was sent.
    #[error("{what} was not sent to org `{org}`: {reason}")]
    Unsendable {
        /// The org's alias.
        org: String,
        /// Method and path, or what was attempted.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A wait of the caller's own has ended, and the job goes on in the org.
    #[error("job {job} of org `{org}` is not done after {waited:?}; it goes on (it is {state})")]
    StillRunning {
        /// The org's alias.
        org: String,
        /// The job's id, under which it is found again.
        job: String,
        /// Its state as it was seen last.
        state: String,
        /// How long it was waited for.
        waited: std::time::Duration,
    },
    /// A job ended without success.
    #[error("job {job} of org `{org}` ended as {state}: {reason}")]
    JobEnded {
        /// The org's alias.
        org: String,
        /// The job's id.
        job: String,
        /// `Failed` or `Aborted`.
        state: String,
        /// What the org says.
        reason: String,
    },
    /// What the caller gave to send cannot be read.
    #[error("could not read what is to be sent to org `{org}`: {reason}")]
    Input {
        /// The org's alias.
        org: String,
        /// What is wrong, and where.
        reason: String,
    },
    /// What came cannot be written to where the caller wants it.
    #[error("could not write what came from org `{org}`: {reason}")]
    Output {
        /// The org's alias.
        org: String,
        /// What the system says.
        reason: String,
        /// Whoever read it has gone.
        broken_pipe: bool,
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
        /// The request may have been carried out all the same.
        outcome_unknown: bool,
    },
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

    /// The request may have been carried out: its answer was lost. Look before repeating it.
    pub fn outcome_unknown(&self) -> bool {
        match self {
            ClientError::Refused(refusal) => refusal.outcome_unknown,
            ClientError::Unreachable { outcome_unknown, .. } | ClientError::Unreadable { outcome_unknown, .. } => {
                *outcome_unknown
            }
            _ => false,
        }
    }

    pub(crate) fn with_outcome_unknown(mut self, unknown: bool) -> Self {
        match &mut self {
            ClientError::Refused(refusal) => refusal.outcome_unknown = unknown,
            ClientError::Unreachable { outcome_unknown, .. } | ClientError::Unreadable { outcome_unknown, .. } => {
                *outcome_unknown = unknown;
            }
            _ => {}
        }
        self
    }

    /// The same with the headers of the refusal.
    pub(crate) fn with_headers(mut self, headers: &reqwest::header::HeaderMap) -> Self {
        if let ClientError::Refused(refusal) = &mut self {
            refusal.headers.0 = headers.clone();
        }
        self
    }

    /// The error for a log: Salesforce's messages quote values of records.
    pub(crate) fn without_data(&self) -> String {
        match self {
            ClientError::Refused(refusal) => format!("the org answered {} {}", refusal.status, refusal.code),
            ClientError::Unreachable { reason, .. } | ClientError::Unreadable { reason, .. } => reason.clone(),
            other => other.to_string(),
        }
    }

    /// Heals without anybody's help: the same call may succeed later. Not so where nobody knows whether it was carried out,
    /// and repeating it might do it twice; see [`ClientError::outcome_unknown`].
    pub fn is_transient(&self) -> bool {
        match self {
            error if error.outcome_unknown() => false,
            ClientError::Auth(error) => error.is_transient(),
            ClientError::Config(_) => false,
            ClientError::Unreachable { .. } | ClientError::Reserve { .. } | ClientError::StillRunning { .. } => true,
            ClientError::Refused(refusal) => {
                let row = catalogue::explain(&refusal.code);
                crate::retry::is_transient_status(refusal.status)
                    || row.is_some_and(|row| matches!(row.remedy, Remedy::Wait | Remedy::WaitLong))
            }
            ClientError::Unreadable { .. }
            | ClientError::Unsendable { .. }
            | ClientError::Input { .. }
            | ClientError::Output { .. }
            | ClientError::JobEnded { .. } => false,
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
            other if other.outcome_unknown() => {
                "the request may have been carried out: look before repeating it".to_owned()
            }
            ClientError::Unreachable { .. } => "check the network, and https://status.salesforce.com".to_owned(),
            ClientError::Reserve { .. } => {
                "wait until older calls are a day old, or set a smaller reserve; `tieline limits` shows what is left"
                    .to_owned()
            }
            ClientError::Unsendable { .. } => "correct the request; the org knows nothing of it".to_owned(),
            ClientError::Input { .. } => "correct the input and send it again from where it stands".to_owned(),
            ClientError::Output { .. } => "make room, or write elsewhere; what the org has is not changed".to_owned(),
            ClientError::StillRunning { job, .. } => format!("wait for it again with its id, {job}, or abort it"),
            ClientError::JobEnded { .. } => {
                "rows that were processed before it ended stay; its results name them".to_owned()
            }
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

/// What a task of this crate's own answered. It panics if the task did.
pub(crate) fn joined<T>(
    org: &str,
    outcome: Result<Result<T, ClientError>, tokio::task::JoinError>,
) -> Result<T, ClientError> {
    outcome.unwrap_or_else(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => Err(ClientError::Unreachable {
            org: org.to_owned(),
            what: "a call".to_owned(),
            reason: "the runtime that it ran on has ended".to_owned(),
            attempts: 1,
            outcome_unknown: false,
        }),
    })
}

/// What came cannot be decompressed: mostly, it was cut off.
pub(crate) fn spoiled(
    org: &str,
    what: &str,
    error: &std::io::Error,
    attempts: u32,
    outcome_unknown: bool,
) -> ClientError {
    let reason = format!("what it compressed cannot be read: {error}");
    ClientError::Unreachable { org: org.to_owned(), what: what.to_owned(), reason, attempts, outcome_unknown }
}

/// The connection broke, or never came about.
pub(crate) fn broken(
    org: &str,
    what: &str,
    error: &reqwest::Error,
    attempts: u32,
    outcome_unknown: bool,
) -> ClientError {
    let reason = if error.is_timeout() { "it did not answer in time".to_owned() } else { innermost(error) };
    ClientError::Unreachable { org: org.to_owned(), what: what.to_owned(), reason, attempts, outcome_unknown }
}
