//! The ways to prove who one is: one file each, all through `token_endpoint`.
//!
//! A [`Grant`] is what a program can repeat by itself. [`authorization_code`] and [`device`] need a person once, and
//! leave a refresh token behind.

pub mod authorization_code;
pub mod begun_login;
pub mod client_credentials;
pub mod device;
pub mod jwt_bearer;
pub mod password;
pub mod refresh_token;
pub mod soap_login;
pub mod token_exchange;

use jiff::Timestamp;

use crate::config::OrgConfig;
use crate::error::AuthErrorKind;
use crate::grant::jwt_bearer::PrivateKey;
use crate::secret::Secret;
use crate::token_endpoint::Form;

/// A grant and what it needs.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Grant {
    /// A signed assertion: no secret travels. Needs a key whose certificate the app has, and a user who is
    /// approved for the app.
    JwtBearer {
        /// The user's name (not the id).
        username: String,
        /// The RSA key.
        key: PrivateKey,
    },
    /// A refresh token that a person's login has left.
    RefreshToken {
        /// The token.
        refresh_token: Secret,
    },
    /// The app itself logs in, as the user that its policies name. Needs the client secret, and the org's My Domain
    /// as login URL.
    ClientCredentials,
    /// User name and password: legacy. Blocked in new orgs, and external client apps do not have it.
    Password {
        /// The user's name.
        username: String,
        /// The password, with the security token appended where the org wants one.
        password: Secret,
    },
    /// A token of another identity provider, which a handler in the org turns into a user (RFC 8693).
    TokenExchange {
        /// The other provider's token, and what kind of token it is.
        subject: token_exchange::Subject,
    },
    /// A token from elsewhere. It is used until it ends and cannot be renewed.
    AccessToken {
        /// The token.
        access_token: Secret,
        /// The org's host, which no token response tells here.
        instance_url: url::Url,
    },
}

impl Grant {
    /// Its OAuth name, or `access_token`.
    pub fn name(&self) -> &'static str {
        match self {
            Grant::JwtBearer { .. } => "jwt-bearer",
            Grant::RefreshToken { .. } => "refresh_token",
            Grant::ClientCredentials => "client_credentials",
            Grant::Password { .. } => "password",
            Grant::TokenExchange { .. } => "token-exchange",
            Grant::AccessToken { .. } => "access_token",
        }
    }

    pub(crate) fn refresh_token(&self) -> Option<&Secret> {
        match self {
            Grant::RefreshToken { refresh_token } => Some(refresh_token),
            _ => None,
        }
    }

    /// Who logs in, as far as it tells one login of an app from another. Secrets among it: to be digested only.
    pub(crate) fn subject(&self) -> &str {
        match self {
            Grant::JwtBearer { username, .. } | Grant::Password { username, .. } => username,
            Grant::RefreshToken { refresh_token } => refresh_token.expose(),
            Grant::ClientCredentials => "",
            Grant::TokenExchange { subject } => subject.token.expose(),
            Grant::AccessToken { access_token, .. } => access_token.expose(),
        }
    }

    /// The form of its token request. `refresh_token` is the current one of the chain.
    pub(crate) async fn form(
        &self,
        config: &OrgConfig,
        audience: &str,
        refresh_token: Option<&str>,
        now: Timestamp,
    ) -> Result<Form, AuthErrorKind> {
        match self {
            Grant::JwtBearer { username, key } => jwt_bearer::form(config, username, key, audience, now).await,
            Grant::RefreshToken { refresh_token: configured } => {
                Ok(refresh_token::form(config, refresh_token.unwrap_or(configured.expose())))
            }
            Grant::ClientCredentials => Ok(client_credentials::form(config)),
            Grant::Password { username, password } => Ok(password::form(config, username, password)),
            Grant::TokenExchange { subject } => Ok(token_exchange::form(config, subject)),
            Grant::AccessToken { .. } => Err(AuthErrorKind::NotRenewable),
        }
    }
}
