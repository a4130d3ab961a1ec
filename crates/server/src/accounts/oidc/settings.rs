//! What the operator says of the provider.

use tieline_auth::{ConfigError, Secret};
use url::Url;

use super::CALLBACK;
use super::discovery::{ClientAuth, Metadata};
use super::door::Door;

/// A provider that people may sign in with.
#[derive(Debug, Clone)]
pub struct OpenIdProvider {
    /// Its name for itself, to the letter: where its configuration is found, and what its tokens must say.
    pub issuer: String,
    /// This service as the provider knows it.
    pub client_id: String,
    /// What proves it; none for a public client.
    pub client_secret: Option<Secret>,
    /// What the button calls the provider.
    pub name: String,
    /// Whether whoever has a verified address at the provider is the user with this address here, without having linked
    /// the two. Who can have an address verified there can then sign in as that user.
    pub trust_email: bool,
    /// Whether people sign in with the provider only, and no password is taken.
    pub only: bool,
}

impl OpenIdProvider {
    /// A provider with the rest as it usually is.
    ///
    /// # Errors
    /// When the issuer is no URL that may be used: HTTPS (or HTTP on this machine), without query, fragment and user.
    pub fn new(issuer: impl Into<String>, client_id: impl Into<String>) -> Result<Self, ConfigError> {
        let (issuer, client_id) = (issuer.into(), client_id.into());
        issuer_url(&issuer)?;
        if client_id.trim().is_empty() || client_id.chars().any(char::is_control) {
            return Err(ConfigError::new(
                "the provider's client id is empty or holds line breaks",
                "copy it from the provider's page of the application",
            ));
        }
        let (client_secret, name) = (None, "single sign-on".to_owned());
        Ok(Self { issuer, client_id, client_secret, name, trust_email: false, only: false })
    }

    /// Where the provider must send browsers back to: to be registered there, to the letter.
    #[must_use]
    pub fn redirect_uri(public_url: &Url) -> String {
        public_url.join(CALLBACK).map(String::from).unwrap_or_default()
    }

    /// Reads the provider's own configuration, as a sign-in would, and says what was found.
    ///
    /// # Errors
    /// When it cannot be reached, is another's, or lacks what a sign-in needs.
    pub async fn try_discovery(&self) -> Result<String, ConfigError> {
        let door = Door::to(&issuer_url(&self.issuer)?)?;
        let found = Metadata::discover(&door, self).await?;
        let auth = match found.client_auth {
            ClientAuth::Basic => "client_secret_basic",
            ClientAuth::Post => "client_secret_post",
            ClientAuth::None => "no secret",
        };
        Ok(format!("{} answers; the service proves itself by {auth}", self.issuer))
    }
}

/// The issuer as a URL. Source of the form: OpenID Connect Discovery 1.0, section 2 (no query, no fragment).
pub(super) fn issuer_url(issuer: &str) -> Result<Url, ConfigError> {
    let refuse = |why: &str| {
        ConfigError::new(
            format!("the issuer `{issuer}` {why}"),
            "copy it from the provider's .well-known/openid-configuration, to the letter: https://login.example.com",
        )
    };
    let url = Url::parse(issuer).map_err(|_| refuse("is not a URL"))?;
    if !url.username().is_empty() || url.password().is_some() {
        // Not repeated: it may be a password.
        return Err(ConfigError::new("the issuer holds a user name or password", "leave out what stands before the @"));
    }
    if url.host().is_none()
        || !(url.scheme() == "https" || (url.scheme() == "http" && tieline_auth::host::is_loopback(&url)))
    {
        return Err(refuse("is not https"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refuse("has a query or a fragment"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_https_or_on_this_machine_and_nothing_else() {
        for good in ["https://accounts.google.com", "https://login.example.com/tenant/v2.0", "http://127.0.0.1:9/x"] {
            assert!(OpenIdProvider::new(good, "tieline").is_ok(), "{good}");
        }
        for bad in [
            "",
            "login.example.com",
            "http://login.example.com",
            "https://login.example.com?x=1",
            "https://login.example.com/#x",
            "ftp://127.0.0.1/",
        ] {
            assert!(OpenIdProvider::new(bad, "tieline").is_err(), "{bad}");
        }
        let told = OpenIdProvider::new("https://user:planted@login.example.com", "tieline").unwrap_err();
        assert!(!told.to_string().contains("planted"), "{told}");
        assert!(OpenIdProvider::new("https://login.example.com", " ").is_err());
    }
}
