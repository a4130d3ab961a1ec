//! One org to log in to, as plain data.

use std::time::Duration;

use url::{Host, Url};

use crate::error::ConfigError;
use crate::grant::Grant;
use crate::host::AllowedHosts;
use crate::secret::Secret;

/// Where to log in, as which app, and by which grant.
#[derive(Debug, Clone)]
pub struct OrgConfig {
    /// What people call the org; the login host where nobody named it.
    pub alias: String,
    /// Host of the token endpoint, such as `https://login.salesforce.com` or a My Domain. `SF_LOGIN_URL`.
    pub login_url: Url,
    /// The app's consumer key. `SF_CLIENT_ID`.
    pub client_id: String,
    /// The app's consumer secret, where it has one. `SF_CLIENT_SECRET`.
    pub client_secret: Option<Secret>,
    /// How the login proves itself.
    pub grant: Grant,
    /// `aud` of a JWT assertion, where it must differ from [`OrgConfig::audience`]'s rule. `SF_AUDIENCE`.
    pub audience: Option<String>,
    /// How long a token is reused.
    pub reuse: Reuse,
    /// Hosts that may see a token.
    pub hosts: AllowedHosts,
}

/// How long a token is used before another is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// So long after it was issued. Salesforce tells no lifetime; these are ours.
    For(Duration),
    /// Until the org refuses it.
    UntilRefused,
}

/// Tokens from a refresh token are reused for half an hour: well inside the shortest common session timeout.
const REFRESH_REUSE: Duration = Duration::from_secs(30 * 60);
/// JWT tokens are reused for three minutes, less a buffer of 30 seconds.
const JWT_REUSE: Duration = Duration::from_secs(3 * 60 - 30);

impl OrgConfig {
    /// An org with the usual settings for its grant.
    ///
    /// # Errors
    /// When `login_url` is not a URL, or its host may not see a credential.
    ///
    /// ```
    /// use tieline_auth::{Grant, OrgConfig, Secret};
    /// let grant = Grant::RefreshToken { refresh_token: Secret::new("5Aep861…") };
    /// let config = OrgConfig::new("https://test.salesforce.com", "3MVG9…", grant).unwrap();
    /// assert_eq!(config.audience(), "https://test.salesforce.com");
    /// assert!(OrgConfig::new("https://salesforce.example", "id", config.grant).is_err());
    /// ```
    pub fn new(login_url: &str, client_id: impl Into<String>, grant: Grant) -> Result<Self, ConfigError> {
        let login_url = parse_host_url("login URL", login_url)?;
        let reuse = match grant {
            Grant::JwtBearer { .. } => Reuse::For(JWT_REUSE),
            Grant::RefreshToken { .. } => Reuse::For(REFRESH_REUSE),
            Grant::AccessToken { .. } => Reuse::UntilRefused,
        };
        Ok(Self {
            alias: login_url.host_str().unwrap_or_default().to_owned(),
            login_url,
            client_id: client_id.into(),
            client_secret: None,
            grant,
            audience: None,
            reuse,
            hosts: AllowedHosts::default(),
        })
    }

    /// The `aud` of a JWT assertion. The token host and the audience are two things: an org is reached at its
    /// My Domain, but an assertion is addressed to `login` or `test`.
    pub fn audience(&self) -> String {
        if let Some(audience) = &self.audience {
            return audience.clone();
        }
        let own = origin(&self.login_url);
        match self.login_url.host() {
            Some(Host::Domain("login.salesforce.com" | "test.salesforce.com" | "localhost")) => own,
            Some(Host::Domain(name)) if name.ends_with(".sandbox.my.salesforce.com") => {
                "https://test.salesforce.com".to_owned()
            }
            Some(Host::Domain(name)) if name.ends_with(".my.salesforce.com") => {
                "https://login.salesforce.com".to_owned()
            }
            _ => own,
        }
    }

    pub(crate) fn token_url(&self) -> Url {
        let mut url = self.login_url.clone();
        url.set_path("/services/oauth2/token");
        url.set_query(None);
        url
    }
}

/// Scheme, host and port, without a slash at the end.
pub(crate) fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// Reads a URL that names a host; a missing scheme is taken to be https.
pub(crate) fn parse_host_url(what: &str, text: &str) -> Result<Url, ConfigError> {
    let text = text.trim();
    let full = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let url = Url::parse(&full).map_err(|e| {
        ConfigError::new(
            format!("the {what} `{text}` is not a URL: {e}"),
            "write it like https://acme.my.salesforce.com",
        )
    })?;
    AllowedHosts::default().check(&url).map_err(|refused| {
        ConfigError::new(
            format!("the {what} `{text}` cannot be used: {refused}"),
            "write it like https://acme.my.salesforce.com",
        )
    })?;
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_audience_follows_from_the_host() {
        for (login, audience) in [
            ("https://login.salesforce.com", "https://login.salesforce.com"),
            ("test.salesforce.com/", "https://test.salesforce.com"),
            ("https://acme.my.salesforce.com", "https://login.salesforce.com"),
            ("https://acme--dev.sandbox.my.salesforce.com/", "https://test.salesforce.com"),
            ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
            ("https://site.force.com", "https://site.force.com"),
        ] {
            let grant = Grant::RefreshToken { refresh_token: Secret::new("x") };
            let mut config = OrgConfig::new(login, "id", grant).expect(login);
            assert_eq!(config.audience(), audience, "{login}");
            config.audience = Some("https://chosen".to_owned());
            assert_eq!(config.audience(), "https://chosen");
        }
    }
}
