//! `POST /services/oauth2/token`: the one door through which every grant passes.

use jiff::Timestamp;
use serde::Deserialize;
use url::Url;

use crate::config::{OrgConfig, parse_host_url};
use crate::error::{AuthErrorKind, HostRefused, hint_for};
use crate::grant::{Grant, jwt_bearer};
use crate::http::innermost;
use crate::secret::Secret;

/// A token as the endpoint gave it.
pub(crate) struct Issued {
    pub(crate) access_token: Secret,
    pub(crate) instance_url: Url,
    /// The identity URL: `https://login.salesforce.com/id/ORG/USER`.
    pub(crate) id: Option<String>,
    pub(crate) issued_at: Timestamp,
}

#[derive(Deserialize)]
struct TokenResponse {
    access_token: String,
    instance_url: String,
    id: Option<String>,
    /// Milliseconds, as text.
    issued_at: Option<String>,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
    #[serde(default)]
    error_description: String,
}

/// Runs the configured grant once. No retry: the caller decides, and a refresh is not safe to repeat blindly.
pub(crate) async fn exchange(
    http: &reqwest::Client,
    config: &OrgConfig,
    now: Timestamp,
) -> Result<Issued, AuthErrorKind> {
    let mut audience = None;
    let mut form: Vec<(&str, String)> = Vec::new();
    match &config.grant {
        Grant::JwtBearer { username, key } => {
            audience = Some(config.audience());
            form.push(("grant_type", jwt_bearer::GRANT_TYPE.to_owned()));
            form.push(("assertion", jwt_bearer::assertion(config, username, key, now)?));
        }
        Grant::RefreshToken { refresh_token } => {
            form.push(("grant_type", "refresh_token".to_owned()));
            form.push(("refresh_token", refresh_token.expose().to_owned()));
            form.push(("client_id", config.client_id.clone()));
            if let Some(secret) = &config.client_secret {
                form.push(("client_secret", secret.expose().to_owned()));
            }
        }
        Grant::AccessToken { .. } => return Err(AuthErrorKind::NotRenewable),
    }
    let url = config.token_url();
    config.hosts.check(&url).map_err(AuthErrorKind::Host)?;
    let unreachable = |error: reqwest::Error| {
        let reason = if error.is_timeout() { "it did not answer in time".to_owned() } else { innermost(&error) };
        AuthErrorKind::Unreachable { url: url.to_string(), reason }
    };
    let response =
        http.post(url.clone()).header("accept", "application/json").form(&form).send().await.map_err(unreachable)?;
    let status = response.status().as_u16();
    let body = response.bytes().await.map_err(unreachable)?;
    if status == 200
        && let Ok(token) = serde_json::from_slice::<TokenResponse>(&body)
    {
        return issued(config, token, now);
    }
    match serde_json::from_slice::<Refusal>(&body) {
        Ok(Refusal { error, error_description }) => {
            let hint = hint_for(&error, &error_description, audience.as_deref(), config.login_url.as_str());
            Err(AuthErrorKind::Refused { error, description: error_description, hint })
        }
        Err(_) => Err(AuthErrorKind::Unintelligible { url: url.to_string(), status }),
    }
}

fn issued(config: &OrgConfig, token: TokenResponse, now: Timestamp) -> Result<Issued, AuthErrorKind> {
    let access_token = Secret::new(token.access_token);
    let instance_url = parse_host_url("instance URL", &token.instance_url).map_err(|_| {
        AuthErrorKind::Host(HostRefused {
            host: token.instance_url.clone(),
            reason: "the org named it as its instance URL",
        })
    })?;
    config.hosts.check(&instance_url).map_err(AuthErrorKind::Host)?;
    let issued_at = token.issued_at.and_then(|ms| ms.parse().ok()).and_then(|ms| Timestamp::from_millisecond(ms).ok());
    Ok(Issued { access_token, instance_url, id: token.id, issued_at: issued_at.unwrap_or(now) })
}
