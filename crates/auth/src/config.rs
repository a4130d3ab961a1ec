//! One org to log in to, as plain data.

use std::time::Duration;

use url::{Host, Url};

use crate::error::ConfigError;
use crate::grant::Grant;
use crate::host::AllowedHosts;
use crate::refresh_token_home::Home;
use crate::secret::Secret;
use crate::token_state::Fingerprint;

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
    /// Name of the entry in a token store. Without one it follows from host, app and credential, which is right
    /// unless a replaced refresh token is to take its predecessor's place.
    pub store_as: Option<String>,
    /// Where a refresh token that the org replaces is kept besides the token store.
    pub home: Option<Home>,
}

/// How long a token is used before another is asked for. Salesforce tells no lifetime: a session ends two hours (or
/// what the org has set) after its last call, and a caller learns of it by a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// So long after it was issued, at most; less where the response tells an earlier end.
    For(Duration),
    /// Until the org refuses it (`until_refused`): the fewest logins, and what a fleet should use.
    UntilRefused,
    /// Until its true end, which is asked for by introspection after each login (one more request; the app needs
    /// the right to it). Where the org does not tell, like the grant's default.
    Introspected,
}

/// Tokens from a refresh token are reused for half an hour: well inside the shortest common session timeout.
const REFRESH_REUSE: Duration = Duration::from_secs(30 * 60);
/// Tokens without refresh token are reused for three minutes, less a buffer of 30 seconds.
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
        let reuse = default_reuse(&grant);
        Ok(Self {
            alias: login_url.host_str().unwrap_or_default().to_owned(),
            login_url,
            client_id: client_id.into(),
            client_secret: None,
            grant,
            audience: None,
            reuse,
            hosts: AllowedHosts::default(),
            store_as: None,
            home: None,
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

    /// Nobody has chosen how long a token is reused: it is as usual for the grant.
    pub fn reuse_is_usual(&self) -> bool {
        self.reuse == default_reuse(&self.grant)
    }

    pub(crate) fn app(&self) -> AppRef<'_> {
        AppRef {
            login_url: &self.login_url,
            client_id: &self.client_id,
            client_secret: self.client_secret.as_ref(),
            hosts: &self.hosts,
        }
    }

    /// Names this login without telling anything of it: a digest of host, app and user (or refresh token, or
    /// [`OrgConfig::store_as`]), in lower-case hexadecimal. A token store keeps it under this name.
    pub fn digest(&self) -> String {
        let host = origin(&self.login_url);
        let name = match (&self.store_as, &self.home) {
            (Some(name), _) => Fingerprint::of(&["name", name]),
            // The token of a later reading is the same login.
            (None, Some(home)) => Fingerprint::of(&["home", &home.place.name(), &host, &self.client_id]),
            (None, None) => Fingerprint::of(&[&host, &self.client_id, self.grant.name(), self.grant.subject()]),
        };
        name.hex()
    }

    /// Of everything that a login depends on: a failure is remembered for this configuration, not for a better one.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        let key = match &self.grant {
            Grant::JwtBearer { key, .. } => key.fingerprint(),
            Grant::Password { password, .. } => password.expose().to_owned(),
            _ => String::new(),
        };
        let secret = self.client_secret.as_ref().map_or("", |secret| secret.expose());
        let (host, audience) = (origin(&self.login_url), self.audience());
        // All who have read a token of the same chain remember the same failure.
        let since = self.home.as_ref().map(|home| home.generation.since.to_string());
        let subject = since.as_deref().unwrap_or_else(|| self.grant.subject());
        Fingerprint::of(&[&host, &audience, &self.client_id, secret, self.grant.name(), subject, &key])
    }
}

/// An app and the host where it logs people in: what the logins begin with that need a person.
#[derive(Debug, Clone)]
pub struct App {
    /// Host of the login pages and the token endpoint.
    pub login_url: Url,
    /// The consumer key.
    pub client_id: String,
    /// The consumer secret. A public client has none, and must not send one.
    pub client_secret: Option<Secret>,
    /// Hosts that may see a token.
    pub hosts: AllowedHosts,
}

impl App {
    /// An app at a login host (`https://login.salesforce.com`, `https://test.salesforce.com`, a My Domain).
    ///
    /// # Errors
    /// As [`OrgConfig::new`].
    pub fn new(login_url: &str, client_id: impl Into<String>) -> Result<Self, ConfigError> {
        let login_url = parse_host_url("login URL", login_url)?;
        Ok(Self { login_url, client_id: client_id.into(), client_secret: None, hosts: AllowedHosts::default() })
    }

    pub(crate) fn as_ref(&self) -> AppRef<'_> {
        AppRef {
            login_url: &self.login_url,
            client_id: &self.client_id,
            client_secret: self.client_secret.as_ref(),
            hosts: &self.hosts,
        }
    }
}

/// An app, wherever it is written down.
#[derive(Clone, Copy)]
pub(crate) struct AppRef<'a> {
    pub(crate) login_url: &'a Url,
    pub(crate) client_id: &'a str,
    pub(crate) client_secret: Option<&'a Secret>,
    pub(crate) hosts: &'a AllowedHosts,
}

impl AppRef<'_> {
    /// An OAuth endpoint of the login host: `token`, `authorize`, `revoke`, `introspect`.
    pub(crate) fn oauth_url(self, endpoint: &str) -> Url {
        let mut url = self.login_url.clone();
        url.set_path(&format!("/services/oauth2/{endpoint}"));
        url.set_query(None);
        url.set_fragment(None);
        url
    }
}

/// The policy of a grant, unless told otherwise.
pub(crate) fn default_reuse(grant: &Grant) -> Reuse {
    match grant {
        Grant::RefreshToken { .. } => Reuse::For(REFRESH_REUSE),
        Grant::AccessToken { .. } => Reuse::UntilRefused,
        _ => Reuse::For(JWT_REUSE),
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
