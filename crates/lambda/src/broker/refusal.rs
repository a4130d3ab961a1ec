//! Every answer that is no token: a status, and JSON with `code`, `message`, `retryable` and `hint`.
//!
//! What Salesforce or AWS wrote is not passed on: it goes to the broker's own log. A program branches on `code`,
//! `retryable` says whether the same request may succeed later, and `Retry-After` says when.

use jiff::Timestamp;
use serde_json::json;
use tieline_auth::catalogue::{self, Remedy};
use tieline_auth::error::AuthErrorKind;
use tieline_auth::{AuthError, redact};

use crate::orgs::OrgError;

/// A request that gets no token.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    message: String,
    retryable: bool,
    pub(crate) hint: String,
    /// Seconds after which it is worth asking again.
    retry_after: Option<u64>,
}

impl Refusal {
    fn new(status: u16, code: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retryable: false, hint: hint.into(), retry_after: None }
    }

    fn after(mut self, seconds: u64) -> Self {
        (self.retryable, self.retry_after) = (true, Some(seconds));
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    pub(crate) fn foreign_host(what: &str) -> Self {
        let message = format!("the request is not addressed to this machine: {what}");
        Self::new(400, "foreign_host", message, "ask http://localhost, 127.0.0.1 or [::1], with one Host header")
    }

    pub(crate) fn forwarded() -> Self {
        let hint = "ask from the machine itself: tokens are not handed on through a proxy";
        Self::new(400, "forwarded", "the request was forwarded by a proxy", hint)
    }

    pub(crate) fn from_a_browser() -> Self {
        let hint = "ask from a program, without Origin and Referer: pages get no tokens";
        Self::new(400, "from_a_browser", "the request was made by a web page", hint)
    }

    pub(crate) fn method() -> Self {
        Self::new(405, "method_not_allowed", "tokens are read", "use GET")
    }

    pub(crate) fn forbidden() -> Self {
        let message = "the header X-Tieline-Token is missing, given twice, or does not hold the broker's secret";
        let hint = "send the value of TIELINE_BROKER_TOKEN, or in Lambda of AWS_SESSION_TOKEN (AWS_CONTAINER_AUTHORIZATION_TOKEN with SnapStart)";
        Self::new(403, "forbidden", message, hint)
    }

    pub(crate) fn path() -> Self {
        Self::new(404, "unknown_path", "there is nothing here", "ask for /v1/token or /ping")
    }

    pub(crate) fn parameter(message: String) -> Self {
        Self::new(400, "bad_parameter", message, "")
    }

    pub(crate) fn too_many(limit: usize) -> Self {
        let message = format!("{limit} connections to the broker are open already");
        let hint = "close connections after use, and keep a token until it ends instead of asking each time";
        Self::new(429, "connection_limit", message, hint).after(1)
    }

    pub(crate) fn not_ready() -> Self {
        let message = "no token is handed out before the first invocation: it would be kept in the snapshot";
        Self::new(503, "not_ready", message, "ask inside the handler, not while the function initialises").after(1)
    }

    pub(crate) fn too_slow(seconds: u64) -> Self {
        let message = format!("no token came within {seconds} s");
        Self::new(504, "upstream_timeout", message, "ask again; if it stays, see the broker's log").after(1)
    }

    pub(crate) fn org(error: &OrgError) -> Self {
        match error {
            OrgError::Unknown { wanted, known } => {
                let hint = match known.is_empty() {
                    true => "set TIELINE_CONNECTIONS, or the SF_* variables for `default`".to_owned(),
                    false => format!("the connections are: {}", known.join(", ")),
                };
                Self::new(404, "unknown_connection", format!("there is no connection `{wanted}`"), hint)
            }
            OrgError::Unavailable { place, .. } => {
                let message = format!("the settings in {place} cannot be read at the moment");
                Self::new(503, "secret_unavailable", message, error.hint()).after(1)
            }
            OrgError::Setting { connection, .. } => {
                let message = format!("the connection `{connection}` is not set up as it must be");
                Self::new(500, "configuration", message, format!("see the broker's log; {}", error.hint()))
            }
        }
    }

    pub(crate) fn login(error: &AuthError, now: Timestamp) -> Self {
        let org = &error.org;
        let hint = error.hint();
        let refused = |status, code, message: String| Self::new(status, code, message, hint.clone());
        let mut refusal = match error.kind() {
            AuthErrorKind::Refused { error: word, description, .. } => {
                let long = catalogue::explain(word, description).is_some_and(|row| row.remedy == Remedy::WaitLong);
                let message = format!("{org} refused the login: {}", code_only(word));
                match (long, error.is_transient()) {
                    (true, _) => refused(429, "login_limit", message),
                    (false, true) => refused(502, "upstream", message),
                    (false, false) => refused(401, "reauth_required", message),
                }
            }
            AuthErrorKind::Busy { .. } => {
                let message = format!("another process is logging in to {org}, and has not finished");
                refused(409, "refresh_in_progress_elsewhere", message)
            }
            AuthErrorKind::Store(_) | AuthErrorKind::Sealed { .. } => {
                refused(503, "token_store", "the token store cannot be used".to_owned())
            }
            AuthErrorKind::Home { .. } | AuthErrorKind::HomeChanged { .. } => refused(
                503,
                "secret_unavailable",
                format!("the newest refresh token for {org} cannot be read at the moment"),
            ),
            AuthErrorKind::Unreachable { .. } => {
                refused(504, "upstream_unreachable", format!("{org} cannot be reached"))
            }
            AuthErrorKind::KeyService { .. } if error.is_transient() => {
                refused(502, "upstream", format!("the service that keeps the key for {org} did not sign"))
            }
            _ if error.needs_person() => refused(401, "reauth_required", format!("{org} issues no token as it is")),
            AuthErrorKind::Signing(_) | AuthErrorKind::Host(_) => {
                refused(500, "configuration", format!("the login to {org} is not set up as it must be"))
            }
            _ => refused(502, "upstream", format!("the answer of {org} is no token")),
        };
        refusal.retryable = error.is_transient();
        // A failure that is remembered is answered without asking anybody until then.
        let wait = error.next_attempt().map(|at| at.duration_since(now).as_secs().max(0).unsigned_abs() + 1);
        refusal.retry_after = wait.or_else(|| refusal.retryable.then_some(1));
        refusal
    }

    /// Body of the answer.
    pub(crate) fn body(&self) -> String {
        let Self { code, message, retryable, hint, .. } = self;
        json!({ "code": code, "message": redact::mask(message), "retryable": retryable, "hint": redact::mask(hint) })
            .to_string()
    }

    pub(crate) fn retry_after(&self) -> Option<u64> {
        self.retry_after
    }
}

/// An OAuth error code is one word; anything else came from somewhere else.
fn code_only(word: &str) -> &str {
    let fits = !word.is_empty() && word.len() <= 64;
    match fits && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        true => word,
        false => "an unknown error",
    }
}
