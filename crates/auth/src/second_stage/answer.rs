//! What the org answers to an exchange.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use url::Url;

use super::exchange::Refused;
use super::{Exchanged, Stage};
use crate::config::parse_host_url;
use crate::error::{AuthErrorKind, HostRefused};
use crate::host::is_loopback;
use crate::secret::Secret;
use crate::token::Token;
use crate::token_endpoint::{self, Answer, Refusal};

#[derive(Deserialize)]
struct Response {
    access_token: String,
    instance_url: String,
    expires_in: Option<i64>,
}

/// An error in the form of the data API.
#[derive(Deserialize)]
struct ApiError {
    #[serde(rename = "errorCode")]
    error_code: String,
    #[serde(default)]
    message: String,
}

impl Stage {
    pub(super) fn read(&self, login: &Token, answer: Answer) -> Result<Exchanged, Refused> {
        let Answer { url, status, body, .. } = answer;
        if status == 200
            && let Ok(response) = serde_json::from_slice::<Response>(&body)
        {
            return self.exchanged(login, response).map_err(Refused::Otherwise);
        }
        let of_data_api = || serde_json::from_slice::<Vec<ApiError>>(&body).ok()?.into_iter().next();
        Err(Refused::ByOrg(match (serde_json::from_slice::<Refusal>(&body), of_data_api()) {
            (Ok(Refusal { error, error_description }), _) => self.refusal(error, error_description),
            (_, Some(ApiError { error_code, message })) => self.refusal(error_code, message),
            // A page instead of JSON is how some refusals look (help article 005104785).
            _ => self.refusal(format!("HTTP {status}"), format!("{url} answered with no token and no error")),
        }))
    }

    fn exchanged(&self, login: &Token, response: Response) -> Result<Exchanged, AuthErrorKind> {
        let host = response.instance_url.trim();
        // It comes without a scheme. On this machine it is what the login's host speaks, elsewhere HTTPS.
        let full = if host.contains("://") { host.to_owned() } else { format!("https://{host}") };
        let local = Url::parse(&full).is_ok_and(|url| is_loopback(&url));
        let full = match full.strip_prefix("https") {
            Some(rest) if local && !host.contains("://") => format!("{}{rest}", login.instance_url().scheme()),
            _ => full,
        };
        let refused = |reason| AuthErrorKind::Host(HostRefused { host: host.to_owned(), reason });
        let mut instance_url = parse_host_url("instance URL", &full)
            .map_err(|_| refused("the org named it as the second instance URL"))?;
        self.credentials.config().hosts.check(&instance_url).map_err(AuthErrorKind::Host)?;
        if is_loopback(&instance_url) && !is_loopback(login.instance_url()) {
            return Err(refused("an org elsewhere named this machine"));
        }
        instance_url.set_path("");
        instance_url.set_query(None);
        instance_url.set_fragment(None);
        let now = self.credentials.renewal().settings.clock.now();
        let told = response.expires_in.and_then(|seconds| now.checked_add(SignedDuration::from_secs(seconds)).ok());
        let default = SignedDuration::try_from(self.exchange.default_life).unwrap_or(SignedDuration::MAX);
        let ends_at = told
            .or_else(|| token_endpoint::jwt_end(&response.access_token))
            .unwrap_or_else(|| now.checked_add(default).unwrap_or(Timestamp::MAX));
        Ok(Exchanged { access_token: Secret::new(response.access_token), instance_url, ends_at })
    }

    pub(super) fn refusal(&self, error: String, description: String) -> AuthErrorKind {
        AuthErrorKind::Refused { error, description, hint: self.exchange.hint.to_owned() }
    }
}
