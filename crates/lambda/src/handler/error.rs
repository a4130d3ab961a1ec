//! What a function's caller, and its log, is told when it fails.

use jiff::Timestamp;
use lambda_runtime::Diagnostic;
use tieline_auth::AuthError;
use tieline_client::ClientError;

use crate::broker::refusal::Refusal;
use crate::orgs::{NoToken, OrgError};

/// There is no connection to call with, or no time.
#[derive(Debug, thiserror::Error)]
pub enum HandlerError {
    /// The org's settings.
    #[error(transparent)]
    Org(#[from] OrgError),
    /// The login.
    #[error(transparent)]
    Login(#[from] AuthError),
    /// The time that the invocation has is over.
    #[error("the invocation's time is over")]
    Deadline,
}

impl HandlerError {
    /// A word for programs: one of the broker's (`reauth_required`, `login_limit`, …), or `deadline`.
    pub fn code(&self) -> &'static str {
        match self {
            HandlerError::Org(error) => Refusal::org(error).code,
            HandlerError::Login(error) => login(error),
            HandlerError::Deadline => "deadline",
        }
    }

    /// The next act.
    pub fn hint(&self) -> String {
        match self {
            HandlerError::Org(error) => error.hint().to_owned(),
            HandlerError::Login(error) => error.hint(),
            HandlerError::Deadline => "give the function more time, or less to do at a time".to_owned(),
        }
    }
}

impl From<NoToken> for HandlerError {
    fn from(error: NoToken) -> Self {
        match error {
            NoToken::Org(error) => HandlerError::Org(error),
            NoToken::Login(error) => HandlerError::Login(error),
        }
    }
}

fn login(error: &AuthError) -> &'static str {
    // The time is for `Retry-After`, which nobody asks for here.
    Refusal::login(error, Timestamp::UNIX_EPOCH).code
}

fn code_of(error: &ClientError) -> String {
    match error {
        ClientError::Auth(error) => login(error).to_owned(),
        ClientError::Config(_) => "configuration".to_owned(),
        ClientError::Unreachable { outcome_unknown: true, .. } => "outcome_unknown".to_owned(),
        _ => error.salesforce_code().unwrap_or("upstream").to_owned(),
    }
}

/// What Lambda is told of an error: its type is a word that one can branch on (of a call that failed Salesforce's own code,
/// `outcome_unknown` or `upstream`), its message ends with the hint.
pub(crate) fn diagnostic(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Diagnostic {
    let (error_type, hint) = if let Some(error) = error.downcast_ref::<HandlerError>() {
        (error.code().to_owned(), Some(error.hint()))
    } else if let Some(error) = error.downcast_ref::<ClientError>() {
        (code_of(error), Some(error.hint()))
    } else {
        ("function_error".to_owned(), None)
    };
    let hint = hint.map(|hint| format!(" (hint: {hint})")).unwrap_or_default();
    let error_message = tieline_auth::redact::mask(&format!("{error}{hint}")).into_owned();
    Diagnostic { error_type, error_message }
}
