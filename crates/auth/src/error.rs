//! What can go wrong on the way to a token, in two kinds: [`ConfigError`] before anything was sent,
//! [`AuthError`] afterwards.

use std::sync::Arc;

use jiff::Timestamp;
use url::Url;

use crate::catalogue::{self, Remedy};
use crate::config::origin;
use crate::token_store::TokenStoreError;

/// A host that must not see a credential.
#[derive(Debug, Clone, thiserror::Error)]
#[error("host `{host}` is not allowed: {reason}")]
pub struct HostRefused {
    /// The host as written.
    pub host: String,
    /// Why it was refused.
    pub reason: &'static str,
}

/// The configuration cannot lead to a login.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct ConfigError {
    message: String,
    hint: String,
}

impl ConfigError {
    /// An error with its next act.
    pub fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into() }
    }

    /// The next act.
    pub fn hint(&self) -> &str {
        &self.hint
    }
}

/// A login that failed. Cheap to clone: every caller that waited for it gets the same one.
#[derive(Debug, Clone, thiserror::Error)]
#[error("could not {task} {org}: {kind}{}", if *remembered { until(.next_attempt) } else { String::new() })]
pub struct AuthError {
    /// The org's alias or login host.
    pub org: String,
    /// What was attempted.
    task: &'static str,
    kind: Arc<AuthErrorKind>,
    /// The failure is remembered: before this moment nothing is sent.
    next_attempt: Option<Timestamp>,
    /// It happened before, and nothing was sent this time.
    remembered: bool,
}

const LOG_IN: &str = "log in to";

fn until(next_attempt: &Option<Timestamp>) -> String {
    next_attempt.map_or_else(String::new, |at| format!(" (remembered; the next attempt is made after {at:.0})"))
}

/// What happened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthErrorKind {
    /// The token endpoint refused, in its own words.
    #[error("Salesforce answered `{error}` ({description})")]
    Refused {
        /// OAuth error code, such as `invalid_grant`.
        error: String,
        /// Salesforce's description.
        description: String,
        /// The next act.
        hint: String,
    },
    /// No answer: name, connection, TLS or time.
    #[error("{url} cannot be reached: {reason}")]
    Unreachable {
        /// The token endpoint.
        url: String,
        /// The innermost cause.
        reason: String,
    },
    /// An answer that is no token and no OAuth error: a gateway's page, most likely.
    #[error("{url} answered HTTP {status} with something that is not a token response")]
    Unintelligible {
        /// The token endpoint.
        url: String,
        /// HTTP status.
        status: u16,
    },
    /// The URL that came with the token, or the token endpoint itself, is not Salesforce's.
    #[error("{0}")]
    Host(HostRefused),
    /// The assertion could not be signed.
    #[error("the private key could not sign: {0}")]
    Signing(String),
    /// The service that keeps the private key did not sign.
    #[error("the key {key} did not sign: {reason}")]
    KeyService {
        /// Which key, where.
        key: String,
        /// What it said.
        reason: String,
        /// It may sign later, as it is.
        passing: bool,
        /// The next act.
        hint: String,
    },
    /// A refresh token was sent, no answer came, and the org may have replaced it: sending it again could count as
    /// theft and end everything that came from it.
    #[error("the answer to a refresh was lost, and the refresh token may be spent")]
    Uncertain,
    /// The grant was revoked through us.
    #[error("the grant was revoked at {at:.0}")]
    Revoked {
        /// When.
        at: Timestamp,
    },
    /// The token store did not answer.
    #[error("{0}")]
    Store(TokenStoreError),
    /// The refresh token's home cannot be read, and the token store does not know the newest one.
    #[error("the newest refresh token is in {home}, which cannot be read: {reason}")]
    Home {
        /// Where.
        home: String,
        /// What is wrong, and the next act.
        reason: String,
    },
    /// Somebody has put another refresh token there since the configuration was read, perhaps with another host or app.
    #[error("the settings in {home} have changed since they were read")]
    HomeChanged {
        /// Where.
        home: String,
    },
    /// Another process holds the lease for longer than a login can take.
    #[error("another process has been getting a token for {seconds} s and has not finished")]
    Busy {
        /// How long it was waited for.
        seconds: u64,
    },
    /// The store's entry does not open.
    #[error("the token in {store} cannot be opened: {reason}")]
    Sealed {
        /// Which store.
        store: String,
        /// What is wrong.
        reason: String,
    },
    /// The response's signature was not made with our client secret.
    #[error("the signature of the token response does not fit the client secret")]
    Signature,
    /// Tokens are issued and not taken: another login would not help.
    #[error("the org refuses even the token that it has just issued")]
    FreshTokenRefused,
    /// What came back to the redirect URI does not belong to a login that was begun here.
    #[error("the callback was refused: {reason}")]
    Callback {
        /// What does not fit.
        reason: &'static str,
    },
    /// The token given was refused and there is no grant to get another.
    #[error("the access token is no longer valid and nothing was given to renew it")]
    NotRenewable,
}

impl AuthError {
    pub(crate) fn new(org: &str, kind: AuthErrorKind) -> Self {
        Self { org: org.to_owned(), task: LOG_IN, kind: Arc::new(kind), next_attempt: None, remembered: false }
    }

    /// Of something else than a login.
    pub(crate) fn while_trying(self, task: &'static str) -> Self {
        Self { task, ..self }
    }

    pub(crate) fn remembered(mut self) -> Self {
        self.remembered = true;
        self
    }

    pub(crate) fn until(mut self, at: Timestamp) -> Self {
        self.next_attempt = Some(at);
        self
    }

    /// Before this moment nothing is sent: askers get the same failure again.
    pub fn next_attempt(&self) -> Option<Timestamp> {
        self.next_attempt
    }

    /// What happened, for callers that want to tell cases apart.
    pub fn kind(&self) -> &AuthErrorKind {
        &self.kind
    }

    /// Heals without anybody's help: worth trying again later.
    pub fn is_transient(&self) -> bool {
        match &*self.kind {
            AuthErrorKind::Unreachable { .. } => true,
            AuthErrorKind::Unintelligible { status, .. } => *status >= 500 || *status == 429,
            AuthErrorKind::Refused { error, description, .. } => {
                catalogue::explain(error, description).is_some_and(|row| row.remedy != Remedy::Person)
            }
            AuthErrorKind::Store(_)
            | AuthErrorKind::Busy { .. }
            | AuthErrorKind::Home { .. }
            | AuthErrorKind::HomeChanged { .. } => true,
            AuthErrorKind::KeyService { passing, .. } => *passing,
            _ => false,
        }
    }

    /// Somebody has to log in again, approve the app or change the org's settings.
    pub fn needs_person(&self) -> bool {
        use AuthErrorKind::{Callback, FreshTokenRefused, KeyService, NotRenewable, Refused, Revoked, Uncertain};
        matches!(
            &*self.kind,
            Refused { .. }
                | FreshTokenRefused
                | KeyService { .. }
                | Callback { .. }
                | NotRenewable
                | Uncertain
                | Revoked { .. }
        ) && !self.is_transient()
    }

    /// The next act.
    pub fn hint(&self) -> String {
        match &*self.kind {
            AuthErrorKind::Refused { hint, .. } => hint.clone(),
            AuthErrorKind::Unreachable { url, reason } if reason.contains("InvalidContentType") => {
                format!("{url} does not speak HTTPS; an org on this machine is named http://HOST:PORT")
            }
            AuthErrorKind::Unreachable { url, .. } => {
                format!("check the network, and that this is the right host: {url}")
            }
            AuthErrorKind::Unintelligible { .. } if self.task != LOG_IN => {
                "try again in a few minutes; see https://status.salesforce.com".to_owned()
            }
            AuthErrorKind::Unintelligible { .. } => {
                "check that SF_LOGIN_URL names a Salesforce login host; if it does, try again in a few minutes"
                    .to_owned()
            }
            AuthErrorKind::Host(_) => {
                "a token is only sent to Salesforce's domains; allow the host explicitly if it really is your org"
                    .to_owned()
            }
            AuthErrorKind::Signing(_) => "use an RSA key of 2048 bits or more, in PEM".to_owned(),
            AuthErrorKind::KeyService { hint, .. } => hint.clone(),
            AuthErrorKind::Uncertain => {
                "log in again for a new refresh token; until then the old access token is used while the org takes it"
                    .to_owned()
            }
            AuthErrorKind::Revoked { .. } => "log in again, or reinstate the grant".to_owned(),
            AuthErrorKind::Store(_) => "check TIELINE_TOKEN_STORE, and that the store can be reached".to_owned(),
            AuthErrorKind::Home { .. } => "see that this program may reach and read it, and try again".to_owned(),
            AuthErrorKind::HomeChanged { .. } => "read the settings again, and try again".to_owned(),
            AuthErrorKind::Busy { .. } => "try again; if it stays, look for a process that hangs".to_owned(),
            AuthErrorKind::Sealed { .. } => {
                "use the master key with which it was sealed (TIELINE_MASTER_KEY_FILE), or name another store"
                    .to_owned()
            }
            AuthErrorKind::FreshTokenRefused => {
                "check the user's password (expired?), its session settings, and its IP ranges in the org".to_owned()
            }
            AuthErrorKind::Callback { .. } => "begin the login again, and finish it in the same browser".to_owned(),
            AuthErrorKind::Signature => {
                "check SF_CLIENT_SECRET; if it is right, something between this machine and Salesforce changes answers"
                    .to_owned()
            }
            AuthErrorKind::NotRenewable => {
                "give a new SF_ACCESS_TOKEN, or credentials that can be renewed (a private key or a refresh token)"
                    .to_owned()
            }
        }
    }
}

/// The next act for an OAuth refusal. `audience` is what the assertion named, where there was one.
pub(crate) fn hint_for(error: &str, description: &str, audience: Option<&str>, login_url: &Url) -> String {
    let Some(row) = catalogue::explain(error, description) else {
        return "see docs/errors.md for what this answer means".to_owned();
    };
    // The two refusals that a wrong pair of host and audience causes.
    match audience {
        Some(audience) if matches!(row.description, "audience" | "approved this consumer") => {
            format!("{}; {}", row.next, pairs(audience, login_url))
        }
        _ => row.next.to_owned(),
    }
}

/// The pairs worth trying instead of the one that failed.
fn pairs(audience: &str, login_url: &Url) -> String {
    let host = origin(login_url);
    let candidates = [
        ("production", "https://login.salesforce.com", "https://login.salesforce.com"),
        ("sandbox", "https://test.salesforce.com", "https://test.salesforce.com"),
        ("production by My Domain", host.as_str(), "https://login.salesforce.com"),
        ("sandbox by My Domain", host.as_str(), "https://test.salesforce.com"),
        ("the host itself", host.as_str(), host.as_str()),
    ];
    let mut seen = vec![(host.as_str(), audience)];
    let mut text = format!("tried SF_LOGIN_URL={host} with SF_AUDIENCE={audience}; worth trying:");
    for (what, host, audience) in candidates {
        if !seen.contains(&(host, audience)) {
            seen.push((host, audience));
            text.push_str(&format!(" {host} with {audience} ({what}),"));
        }
    }
    text.truncate(text.len() - 1);
    text
}
