//! `POST /services/oauth2/token`: the one door through which every grant passes.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Deserialize;
use url::Url;

use crate::config::{AppRef, parse_host_url};
use crate::error::{AuthErrorKind, HostRefused, hint_for};
use crate::host::AllowedHosts;
use crate::http::{innermost, without_url};
use crate::secret::Secret;

/// The fields of a token request. Values are secrets as a rule: there is no way to print them.
pub(crate) struct Form(Vec<(&'static str, String)>);

impl Form {
    pub(crate) fn new(grant_type: &str) -> Self {
        Self(vec![("grant_type", grant_type.to_owned())])
    }

    /// With the app's id, and its secret where it has one.
    pub(crate) fn of_app(grant_type: &str, app: AppRef<'_>) -> Self {
        Self::new(grant_type).with_app(app)
    }

    /// No `grant_type`: the requests beside the grants (device start, introspection, revocation).
    pub(crate) fn bare() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn with_app(self, app: AppRef<'_>) -> Self {
        let form = self.with("client_id", app.client_id);
        match app.client_secret {
            Some(secret) => form.with("client_secret", secret.expose()),
            None => form,
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.0.push((name, value.into()));
        self
    }
}

/// What the endpoint gave.
pub(crate) struct Issued {
    /// A new refresh token. It must be kept even if the rest turns out to be unusable: with rotation the old one is
    /// dead.
    pub(crate) refresh_token: Option<Secret>,
    pub(crate) access: Result<Access, AuthErrorKind>,
}

/// An access token whose response has passed every check.
pub(crate) struct Access {
    pub(crate) access_token: Secret,
    pub(crate) instance_url: Url,
    /// The identity URL: `https://login.salesforce.com/id/ORG/USER`.
    pub(crate) id: Option<String>,
    /// Scopes, separated by spaces.
    pub(crate) scope: Option<String>,
    pub(crate) id_token: Option<Secret>,
    pub(crate) issued_at: Timestamp,
    /// Its true end, where the response or the token itself tells one.
    pub(crate) ends_at: Option<Timestamp>,
}

/// No token, and what the caller needs to decide about another attempt.
pub(crate) struct Failed {
    pub(crate) kind: AuthErrorKind,
    pub(crate) outcome: Outcome,
    /// The org's clock.
    pub(crate) date: Option<Timestamp>,
    pub(crate) retry_after: Option<Duration>,
}

/// How far the request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The org has certainly not acted on it.
    NotDone,
    /// The org said no.
    Refused,
    /// Nobody knows.
    Unknown,
}

#[derive(Deserialize)]
struct TokenResponse {
    access_token: String,
    refresh_token: Option<String>,
    instance_url: String,
    id: Option<String>,
    scope: Option<String>,
    id_token: Option<String>,
    /// Milliseconds, as text.
    issued_at: Option<String>,
    signature: Option<String>,
    /// Seconds. Salesforce gives none; its JWT-based access tokens and proxies in front of it may.
    expires_in: Option<i64>,
}

#[derive(Deserialize)]
pub(crate) struct Refusal {
    pub(crate) error: String,
    #[serde(default)]
    pub(crate) error_description: String,
}

/// Sends one token request. No retry: the caller decides, and a refresh is not safe to repeat blindly.
pub(crate) async fn exchange(
    http: &reqwest::Client,
    app: AppRef<'_>,
    form: &Form,
    audience: Option<&str>,
    now: Timestamp,
) -> Result<Issued, Failed> {
    let answer = post(http, app, "token", form).await?;
    if answer.status == 200
        && let Ok(token) = serde_json::from_slice::<TokenResponse>(&answer.body)
    {
        let refresh_token = token.refresh_token.clone().map(Secret::new);
        return Ok(Issued { refresh_token, access: access(app, token, now) });
    }
    Err(refused(app, audience, answer))
}

/// An answer of one of the OAuth endpoints.
pub(crate) struct Answer {
    pub(crate) url: Url,
    pub(crate) status: u16,
    pub(crate) body: bytes::Bytes,
    pub(crate) date: Option<Timestamp>,
    pub(crate) retry_after: Option<Duration>,
}

/// POSTs a form to `/services/oauth2/{endpoint}`, after the allow-list has passed the host.
pub(crate) async fn post(
    http: &reqwest::Client,
    app: AppRef<'_>,
    endpoint: &str,
    form: &Form,
) -> Result<Answer, Failed> {
    post_to(http, app.hosts, app.oauth_url(endpoint), form).await
}

/// POSTs a form to any endpoint that the allow-list passes.
pub(crate) async fn post_to(
    http: &reqwest::Client,
    hosts: &AllowedHosts,
    url: Url,
    form: &Form,
) -> Result<Answer, Failed> {
    let failed = |kind, outcome| Failed { kind, outcome, date: None, retry_after: None };
    hosts.check(&url).map_err(|e| failed(AuthErrorKind::Host(e), Outcome::NotDone))?;
    let unreachable = |error: reqwest::Error| {
        let outcome = if error.is_connect() || error.is_builder() { Outcome::NotDone } else { Outcome::Unknown };
        let error = without_url(error);
        let reason = if error.is_timeout() { "it did not answer in time".to_owned() } else { innermost(&error) };
        failed(AuthErrorKind::Unreachable { url: url.to_string(), reason }, outcome)
    };
    let request = http.post(url.clone()).header("accept", "application/json").form(&form.0);
    let response = request.send().await.map_err(unreachable)?;
    let status = response.status().as_u16();
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    let date = header("date").and_then(|text| jiff::fmt::rfc2822::parse(text).ok()).map(|date| date.timestamp());
    let retry_after = header("retry-after").and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
    let body = response.bytes().await.map_err(unreachable)?;
    Ok(Answer { url, status, body, date, retry_after })
}

/// Reads an answer that is not what was asked for.
pub(crate) fn refused(app: AppRef<'_>, audience: Option<&str>, answer: Answer) -> Failed {
    let Answer { url, status, body, date, retry_after } = answer;
    // Revocation writes its errors as a form, everything else as JSON.
    let refusal = serde_json::from_slice::<Refusal>(&body).ok().or_else(|| {
        let fields: std::collections::HashMap<_, _> = url::form_urlencoded::parse(&body).into_owned().collect();
        Some(Refusal {
            error: fields.get("error")?.clone(),
            error_description: fields.get("error_description").cloned().unwrap_or_default(),
        })
    });
    let (kind, outcome) = match refusal {
        Some(Refusal { error, error_description: description }) => {
            let hint = hint_for(&error, &description, audience, app.login_url);
            (AuthErrorKind::Refused { error, description, hint }, Outcome::Refused)
        }
        None => {
            // 429 and 503 are written before the org looks at a request; what a gateway gave up on may be done.
            let outcome = if matches!(status, 429 | 503) { Outcome::NotDone } else { Outcome::Unknown };
            (AuthErrorKind::Unintelligible { url: url.to_string(), status }, outcome)
        }
    };
    Failed { kind, outcome, date, retry_after }
}

fn access(app: AppRef<'_>, token: TokenResponse, now: Timestamp) -> Result<Access, AuthErrorKind> {
    let access_token = Secret::new(token.access_token);
    verify_signature(app, token.signature.as_deref(), token.id.as_deref(), token.issued_at.as_deref())?;
    let instance_url = parse_host_url("instance URL", &token.instance_url).map_err(|_| {
        AuthErrorKind::Host(HostRefused {
            host: token.instance_url.clone(),
            reason: "the org named it as its instance URL",
        })
    })?;
    app.hosts.check(&instance_url).map_err(AuthErrorKind::Host)?;
    let issued_at = token.issued_at.and_then(|ms| ms.parse().ok()).and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let expires_in =
        token.expires_in.and_then(|seconds| now.checked_add(jiff::SignedDuration::from_secs(seconds)).ok());
    let ends_at = expires_in.or_else(|| jwt_end(access_token.expose()));
    let id_token = token.id_token.map(Secret::new);
    let issued_at = issued_at.unwrap_or(now);
    Ok(Access { access_token, instance_url, id: token.id, scope: token.scope, id_token, issued_at, ends_at })
}

/// base64(HMAC-SHA256(client secret, id ‖ issued_at)), by Salesforce's documentation of the token response. Where one
/// of the parts is missing there is nothing to verify: JWT bearer responses may lack all three.
fn verify_signature(
    app: AppRef<'_>,
    signature: Option<&str>,
    id: Option<&str>,
    issued_at: Option<&str>,
) -> Result<(), AuthErrorKind> {
    let (Some(secret), Some(signature), Some(id), Some(issued_at)) = (app.client_secret, signature, id, issued_at)
    else {
        return Ok(());
    };
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
    let signature = STANDARD.decode(signature).map_err(|_| AuthErrorKind::Signature)?;
    // Compares in constant time.
    hmac::verify(&key, format!("{id}{issued_at}").as_bytes(), &signature).map_err(|_| AuthErrorKind::Signature)
}

/// `exp` of an access token that is a JWT ("Issue JWT-based access tokens" of the app). It is read, not trusted: the
/// org decides.
pub(crate) fn jwt_end(token: &str) -> Option<Timestamp> {
    let mut parts = token.split('.');
    let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    Timestamp::from_second(claims.get("exp")?.as_i64()?).ok()
}
