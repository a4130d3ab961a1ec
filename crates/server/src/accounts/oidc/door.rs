//! The one place that connects to a provider: no redirects, public hosts over HTTPS or the issuer's own, with bounds.

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode};
use reqwest::RequestBuilder;
use serde::de::DeserializeOwned;
use tieline_auth::ConfigError;
use tieline_auth::http::innermost;
use url::{Host, Url};

use crate::outbound::address::{Allowed, Policy};
use crate::outbound::sender::{Limits, client_of_this_machine};

/// Longest answer. The largest key sets are of some tens of kilobytes.
const LONGEST: usize = 256 * 1024;

/// Why a provider is of no use right now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProviderError {
    /// It may answer later.
    #[error("{0}")]
    Away(String),
    /// It answers, and not as a provider does.
    #[error("{0}")]
    Wrong(String),
}

impl From<ProviderError> for ConfigError {
    fn from(error: ProviderError) -> Self {
        let hint = match error {
            ProviderError::Away(_) => "see that the provider can be reached from this machine",
            ProviderError::Wrong(_) => "check the issuer and what the provider has registered (docs/sign-in.md)",
        };
        ConfigError::new(error.to_string(), hint)
    }
}

/// Connects to one provider.
#[derive(Debug)]
pub(super) struct Door {
    client: reqwest::Client,
    policy: Arc<Policy>,
}

impl Door {
    /// The issuer is the operator's setting: it may be of an inner network. What it names besides may not.
    pub(super) fn to(issuer: &Url) -> Result<Self, ConfigError> {
        let allow = match issuer.host() {
            Some(Host::Domain(name)) => vec![Allowed::Host(name.trim_end_matches('.').to_owned())],
            Some(Host::Ipv4(ip)) => vec![Allowed::Network { address: ip.into(), prefix: 32 }],
            Some(Host::Ipv6(ip)) => vec![Allowed::Network { address: ip.into(), prefix: 128 }],
            None => Vec::new(),
        };
        let policy = Arc::new(Policy { allow });
        let client = client_of_this_machine(&policy, Limits::default()).map_err(|e| {
            ConfigError::new(format!("HTTPS cannot be prepared: {e}"), "check this machine's certificates")
        })?;
        Ok(Self { client, policy })
    }

    /// A URL that the provider names, if it may be used.
    pub(super) fn check(&self, what: &str, url: &str) -> Result<Url, ProviderError> {
        let refuse = |why: String| ProviderError::Wrong(format!("the provider's {what} cannot be used: {why}"));
        let url = self.policy.check(url).map_err(|refused| refuse(refused.to_string()))?;
        if url.scheme() != "https" && !tieline_auth::host::is_loopback(&url) {
            return Err(refuse("it is not https".to_owned()));
        }
        if url.fragment().is_some() {
            return Err(refuse("it has a fragment".to_owned()));
        }
        Ok(url)
    }

    /// Reads JSON.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        what: &str,
        url: &Url,
        headers: HeaderMap,
    ) -> Result<T, ProviderError> {
        let (status, body) = self.send(what, self.client.get(url.clone()).headers(headers)).await?;
        if !status.is_success() {
            return Err(unexpected(what, url, status));
        }
        json(what, &body)
    }

    /// Sends a form; the answer as it is.
    pub(super) async fn post(
        &self,
        what: &str,
        url: &Url,
        headers: HeaderMap,
        form: &[(&str, &str)],
    ) -> Result<(StatusCode, Vec<u8>), ProviderError> {
        let (status, body) = self.send(what, self.client.post(url.clone()).headers(headers).form(form)).await?;
        match status.is_redirection() || status.is_server_error() {
            true => Err(unexpected(what, url, status)),
            false => Ok((status, body)),
        }
    }

    async fn send(&self, what: &str, request: RequestBuilder) -> Result<(StatusCode, Vec<u8>), ProviderError> {
        let away = |error: reqwest::Error| {
            ProviderError::Away(format!("the provider's {what} does not answer: {}", innermost(&error.without_url())))
        };
        let mut answer = request.header("accept", "application/json").send().await.map_err(away)?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(away)? {
            if body.len() + chunk.len() > LONGEST {
                return Err(ProviderError::Wrong(format!("the provider's {what} is longer than {LONGEST} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((answer.status(), body))
    }
}

pub(super) fn json<T: DeserializeOwned>(what: &str, body: &[u8]) -> Result<T, ProviderError> {
    // Not serde's own words: they quote values, and a token may be one.
    serde_json::from_slice(body)
        .map_err(|_| ProviderError::Wrong(format!("the provider's {what} is not the JSON that it should be")))
}

fn unexpected(what: &str, url: &Url, status: StatusCode) -> ProviderError {
    let told = format!("the provider's {what} at {} answers {status}", url.host_str().unwrap_or_default());
    match status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        true => ProviderError::Away(told),
        false => ProviderError::Wrong(told),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door(issuer: &str) -> Door {
        Door::to(&issuer.parse().unwrap()).unwrap()
    }

    #[test]
    fn a_provider_leads_to_public_hosts_and_its_own() {
        let inner = door("https://idp.inner.internal");
        for url in ["https://idp.inner.internal/token", "https://keys.example.com/jwks"] {
            inner.check("token endpoint", url).unwrap();
        }
        for url in [
            "http://idp.inner.internal/token",
            "http://keys.example.com/jwks",
            "https://169.254.169.254/latest",
            "https://other.internal/token",
            "https://localhost/token",
            "https://10.0.0.1/token",
            "http://127.0.0.1:6379/",
            "https://user@idp.inner.internal/token",
            "https://idp.inner.internal/token#x",
            "file:///etc/passwd",
        ] {
            assert!(inner.check("token endpoint", url).is_err(), "{url}");
        }
        let local = door("http://127.0.0.1:9000");
        local.check("token endpoint", "http://127.0.0.1:9001/token").unwrap();
        assert!(local.check("token endpoint", "http://192.168.0.1/token").is_err());
    }
}
