//! What a login by a person leaves: tokens that are handed over to [`Credentials`] once.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;

use crate::config::{App, OrgConfig};
use crate::credentials::Credentials;
use crate::error::{AuthError, AuthErrorKind, ConfigError};
use crate::grant::Grant;
use crate::secret::Secret;
use crate::settings::Settings;
use crate::token_endpoint::{Access, Issued};
use crate::token_state::SavedToken;

/// A finished login: an access token, and a refresh token if that scope was granted.
pub struct BegunLogin {
    config: OrgConfig,
    access: Access,
    at: Timestamp,
}

impl std::fmt::Debug for BegunLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BegunLogin").field("config", &self.config).finish_non_exhaustive()
    }
}

impl BegunLogin {
    pub(crate) fn new(app: App, issued: Issued, now: Timestamp) -> Result<Self, AuthErrorKind> {
        let access = issued.access?;
        let grant = match issued.refresh_token {
            Some(refresh_token) => Grant::RefreshToken { refresh_token },
            None => Grant::AccessToken {
                access_token: access.access_token.clone(),
                instance_url: access.instance_url.clone(),
            },
        };
        let App { login_url, client_id, client_secret, hosts } = app;
        let alias = access.instance_url.host_str().unwrap_or_default().to_owned();
        let reuse = crate::config::default_reuse(&grant);
        let config = OrgConfig {
            alias,
            login_url,
            client_id,
            client_secret,
            grant,
            audience: None,
            reuse,
            hosts,
            store_as: None,
            home: None,
        };
        Ok(Self { config, access, at: now })
    }

    /// How to log in from now on: by the refresh token, or not at all where there is none. Change alias and policy
    /// here before [`BegunLogin::into_credentials`].
    pub fn config_mut(&mut self) -> &mut OrgConfig {
        &mut self.config
    }

    /// The configuration.
    pub fn config(&self) -> &OrgConfig {
        &self.config
    }

    /// The org that the person has logged in to, as its identity URL says: 18 characters. `None` if the org sent no such
    /// URL.
    pub fn organization_id(&self) -> Option<&str> {
        self.access.id.as_deref()?.rsplit('/').nth(1)
    }

    /// Where the org's API is.
    pub fn instance_url(&self) -> &url::Url {
        &self.access.instance_url
    }

    /// The scopes that were granted, as the org names them.
    pub fn scope(&self) -> Option<&str> {
        self.access.scope.as_deref()
    }

    /// Ends what was just granted: for a login that is not to be kept.
    ///
    /// # Errors
    /// What the org says, or that it cannot be reached.
    pub async fn discard(self, http: &reqwest::Client) -> Result<(), AuthError> {
        let token = match &self.config.grant {
            Grant::RefreshToken { refresh_token } => refresh_token.expose(),
            _ => self.access.access_token.expose(),
        };
        let ended = crate::revocation::revoke(http, self.config.app(), token).await;
        ended.map_err(|failed| AuthError::new(&self.config.alias, failed.kind))
    }

    /// The ID token (a JWT), where `openid` was among the scopes.
    pub fn id_token(&self) -> Option<&Secret> {
        self.access.id_token.as_ref()
    }

    pub(crate) fn access(&self) -> (&Secret, &url::Url) {
        (&self.access.access_token, &self.access.instance_url)
    }

    pub(crate) fn has_nonce(&self, nonce: &Secret) -> bool {
        let claims = || -> Option<serde_json::Value> {
            let claims = self.id_token()?.expose().split('.').nth(1)?;
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
        };
        claims().is_some_and(|claims| claims["nonce"].as_str() == Some(nonce.expose()))
    }

    /// Credentials that begin with the access token at hand, written down in the token store first.
    ///
    /// # Errors
    /// When HTTPS cannot be prepared, or the store does not take the token.
    pub async fn into_credentials(self, settings: Settings) -> Result<Credentials, LoginError> {
        let saved = SavedToken {
            access_token: self.access.access_token.expose().to_owned(),
            instance_url: self.access.instance_url,
            id: self.access.id,
            scope: self.access.scope,
            issued_at: self.access.issued_at,
            obtained_at: self.at,
            ends_at: self.access.ends_at,
        };
        let renewable = matches!(self.config.grant, Grant::RefreshToken { .. });
        let credentials = Credentials::with(self.config, settings)?;
        if renewable {
            credentials.renewal().begin_chain(saved).await?;
        }
        Ok(credentials)
    }
}

/// A login that was granted, and cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The machine.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The token store.
    #[error(transparent)]
    Auth(#[from] AuthError),
}
