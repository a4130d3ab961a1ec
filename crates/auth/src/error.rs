//! What can go wrong on the way to a token, in two kinds: [`ConfigError`] before anything was sent,
//! [`AuthError`] afterwards.

use std::sync::Arc;

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
    pub(crate) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into() }
    }

    /// The next act.
    pub fn hint(&self) -> &str {
        &self.hint
    }
}

/// A login that failed. Cheap to clone: every caller that waited for it gets the same one.
#[derive(Debug, Clone, thiserror::Error)]
#[error("could not log in to {org}: {kind}")]
pub struct AuthError {
    /// The org's alias or login host.
    pub org: String,
    kind: Arc<AuthErrorKind>,
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
    /// The token given was refused and there is no grant to get another.
    #[error("the access token is no longer valid and nothing was given to renew it")]
    NotRenewable,
}

impl AuthError {
    pub(crate) fn new(org: &str, kind: AuthErrorKind) -> Self {
        Self { org: org.to_owned(), kind: Arc::new(kind) }
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
                matches!(
                    error.as_str(),
                    "server_error" | "service_unavailable" | "system_down" | "slow_down" | "rate_limit_exceeded"
                ) || description.contains("login rate exceeded")
                    || description.contains("already being processed")
            }
            AuthErrorKind::Host(_) | AuthErrorKind::Signing(_) | AuthErrorKind::NotRenewable => false,
        }
    }

    /// Somebody has to log in again, approve the app or change the org's settings.
    pub fn needs_person(&self) -> bool {
        matches!(&*self.kind, AuthErrorKind::Refused { .. } | AuthErrorKind::NotRenewable) && !self.is_transient()
    }

    /// The next act.
    pub fn hint(&self) -> String {
        match &*self.kind {
            AuthErrorKind::Refused { hint, .. } => hint.clone(),
            AuthErrorKind::Unreachable { url, .. } => {
                format!("check the network and that SF_LOGIN_URL names the right host ({url})")
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
            AuthErrorKind::NotRenewable => {
                "give a new SF_ACCESS_TOKEN, or credentials that can be renewed (a private key or a refresh token)"
                    .to_owned()
            }
        }
    }
}

/// The next act for an OAuth refusal. `audience` is what the assertion named, where there was one.
pub(crate) fn hint_for(error: &str, description: &str, audience: Option<&str>, login_url: &str) -> String {
    let text = description.to_ascii_lowercase();
    let has = |part: &str| text.contains(part);
    let pairs = format!(
        "the token host was {login_url} and the audience {}; for a sandbox both belong to test.salesforce.com, for production to login.salesforce.com (SF_LOGIN_URL, SF_AUDIENCE)",
        audience.unwrap_or("not used")
    );
    match error {
        "invalid_client_id" => "check SF_CLIENT_ID (the consumer key); a new app takes up to ten minutes to become known".to_owned(),
        "invalid_client" => "check SF_CLIENT_SECRET; if the app was made elsewhere, see that it is installed in this org".to_owned(),
        "invalid_app_access" | "OAUTH_APP_ACCESS_DENIED" => {
            "an admin must allow the user in the app's policies: add a permission set or profile of the user to the app".to_owned()
        }
        "rate_limit_exceeded" => "a user may log in 3,600 times an hour: share one token instead, and wait".to_owned(),
        _ if has("login rate exceeded") => "a user may log in 3,600 times an hour: share one token instead, and wait".to_owned(),
        _ if has("approved this consumer") => {
            format!("pre-authorise the user for the app (admin-approved, with a permission set), or let the user log in to it once; {pairs}")
        }
        _ if has("audience") => pairs,
        _ if has("invalid assertion") || has("validate jwt") => {
            "the private key does not belong to the certificate that the app was given: upload the matching certificate, or use the other key".to_owned()
        }
        _ if has("expired authorization code") && audience.is_some() => {
            "the assertion had expired when it arrived: this machine's clock is wrong".to_owned()
        }
        _ if has("expired access/refresh token") => {
            "the refresh token was revoked, has expired or was replaced: log in again".to_owned()
        }
        _ if has("inactive") => "the user is frozen or inactive: reactivate it or use another".to_owned(),
        _ if has("ip restricted") => "the app or the profile allows only certain addresses: relax it or add this one".to_owned(),
        _ if has("authentication failure") => {
            "check user name, password and security token; external client apps do not allow this flow at all".to_owned()
        }
        _ => "see docs/errors.md for what this answer means".to_owned(),
    }
}
