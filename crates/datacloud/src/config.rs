//! How to log in to an org for its Data Cloud, under the names that users of `hyperdb-api-salesforce` know.

use std::time::Duration;

use tieline_auth::{ConfigError, Grant, OrgConfig, PrivateKey, Reuse, Secret, Settings};

/// How long an access token of the first stage is taken to live: Salesforce tells no life, its own client for Hyper
/// assumes 7,199 s. The org may end the session before; then the exchange is refused, and a login follows.
pub const LIKELY_VALID: Duration = Duration::from_secs(7_199);

/// How the first stage proves itself.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum AuthMode {
    /// By an assertion signed with a private key (JWT bearer).
    PrivateKey {
        /// The user to log in as.
        username: String,
        /// The key whose certificate the app has.
        key: PrivateKey,
    },
    /// By user name and password; needs a client secret. With it Data Cloud accepts a login for one exchange only.
    Password {
        /// The user.
        username: String,
        /// The password, with the security token at its end where the org asks for one.
        password: Secret,
    },
    /// By a refresh token.
    RefreshToken {
        /// The refresh token.
        refresh_token: Secret,
    },
}

impl AuthMode {
    /// JWT bearer with an RSA key in PEM, PKCS#8 or PKCS#1.
    ///
    /// # Errors
    /// When the key cannot be read.
    pub fn private_key(username: impl Into<String>, pem: &str) -> Result<Self, ConfigError> {
        Ok(Self::PrivateKey { username: username.into(), key: PrivateKey::from_pem(pem)? })
    }

    /// User name and password.
    pub fn password(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self::Password { username: username.into(), password: Secret::new(password) }
    }

    /// A refresh token.
    pub fn refresh_token(refresh_token: impl Into<String>) -> Self {
        Self::RefreshToken { refresh_token: Secret::new(refresh_token) }
    }
}

/// An org to log in to for its Data Cloud.
///
/// ```
/// use tieline_datacloud::{AuthMode, DataCloudTokenProvider, SalesforceAuthConfig};
///
/// let config = SalesforceAuthConfig::new("https://login.salesforce.com", "3MVG9…")?
///     .client_secret("1955…")
///     .auth_mode(AuthMode::refresh_token("5Aep861…"))
///     .dataspace("default");
/// let provider = DataCloudTokenProvider::new(config)?; // nothing is sent yet
/// # Ok::<(), tieline_auth::ConfigError>(())
/// ```
#[derive(Debug, Clone)]
pub struct SalesforceAuthConfig {
    login_url: String,
    client_id: String,
    client_secret: Option<Secret>,
    mode: Option<AuthMode>,
    pub(crate) dataspace: Option<String>,
    timeout: Duration,
    retries: Option<u32>,
}

impl SalesforceAuthConfig {
    /// A login host (`https://login.salesforce.com`, `https://test.salesforce.com`, a My Domain) and an app's consumer
    /// key.
    ///
    /// # Errors
    /// When the host is not a URL, or may not see a credential.
    pub fn new(login_url: impl Into<String>, client_id: impl Into<String>) -> Result<Self, ConfigError> {
        let login_url = login_url.into();
        // Checked here, where the caller can still tell which value is wrong.
        tieline_auth::App::new(&login_url, "")?;
        Ok(Self {
            login_url,
            client_id: client_id.into(),
            client_secret: None,
            mode: None,
            dataspace: None,
            timeout: Duration::from_secs(30),
            retries: None,
        })
    }

    /// How the login proves itself.
    #[must_use]
    pub fn auth_mode(self, mode: AuthMode) -> Self {
        Self { mode: Some(mode), ..self }
    }

    /// The app's consumer secret.
    #[must_use]
    pub fn client_secret(self, secret: impl Into<String>) -> Self {
        Self { client_secret: Some(Secret::new(secret)), ..self }
    }

    /// The data space that tokens are for; without one, the default data space.
    #[must_use]
    pub fn dataspace(self, name: impl Into<String>) -> Self {
        Self { dataspace: Some(name.into()).filter(|name: &String| !name.is_empty()), ..self }
    }

    /// How long a token request may take, in seconds (30).
    #[must_use]
    pub fn timeout_secs(self, seconds: u64) -> Self {
        Self { timeout: Duration::from_secs(seconds), ..self }
    }

    /// How often a token request is repeated that failed for a passing reason (twice).
    #[must_use]
    pub fn max_retries(self, retries: u32) -> Self {
        Self { retries: Some(retries), ..self }
    }

    /// The first stage as credentials know it. The token is kept while it is likely to live.
    pub(crate) fn org(&self) -> Result<OrgConfig, ConfigError> {
        let grant = match self.mode.clone() {
            Some(AuthMode::PrivateKey { username, key }) => Grant::JwtBearer { username, key },
            Some(AuthMode::Password { username, password }) => Grant::Password { username, password },
            Some(AuthMode::RefreshToken { refresh_token }) => Grant::RefreshToken { refresh_token },
            None => {
                return Err(ConfigError::new(
                    format!("the login to {} does not say how it proves itself", self.login_url),
                    "call auth_mode() with a private key, a password or a refresh token",
                ));
            }
        };
        if let (Grant::Password { .. }, None) = (&grant, &self.client_secret) {
            return Err(ConfigError::new(
                format!("the login to {} by password has no client secret", self.login_url),
                "call client_secret() with the app's consumer secret",
            ));
        }
        let mut org = OrgConfig::new(&self.login_url, &self.client_id, grant)?;
        org.client_secret = self.client_secret.clone();
        org.reuse = Reuse::For(LIKELY_VALID);
        Ok(org)
    }

    pub(crate) fn settle(&self, mut settings: Settings) -> Result<Settings, ConfigError> {
        if let Some(retries) = self.retries {
            settings.retry.attempts = retries.saturating_add(1);
        }
        if settings.http.is_none() {
            settings.http = Some(tieline_auth::http::token_client_within(self.timeout).map_err(|e| {
                ConfigError::new(
                    format!("could not prepare HTTPS: {}", tieline_auth::http::innermost(&e)),
                    "install the system's CA certificates (Debian: apt-get install ca-certificates)",
                )
            })?);
        }
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_before_anything_is_sent() {
        let config = || SalesforceAuthConfig::new("https://login.salesforce.com", "3MVG9").unwrap();
        assert!(SalesforceAuthConfig::new("https://evil.example", "3MVG9").is_err());
        let error = config().org().unwrap_err();
        assert!(error.hint().contains("auth_mode()"), "{error}");
        let error = config().auth_mode(AuthMode::password("ada@example.org", "pw")).org().unwrap_err();
        assert!(error.hint().contains("client_secret()"), "{error}");
        let org = config().auth_mode(AuthMode::refresh_token("5Aep")).org().unwrap();
        assert_eq!(org.reuse, Reuse::For(LIKELY_VALID));
    }

    #[test]
    fn no_secret_is_printed() {
        let config = SalesforceAuthConfig::new("https://login.salesforce.com", "3MVG9").unwrap();
        let config = config.client_secret("s3cret").auth_mode(AuthMode::password("ada@example.org", "pw-of-ada"));
        let text = format!("{config:?}");
        assert!(!text.contains("s3cret") && !text.contains("pw-of-ada"), "{text}");
    }
}
