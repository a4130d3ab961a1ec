//! The ways to prove who one is: one file each, all through `token_endpoint`.

pub mod jwt_bearer;

use crate::grant::jwt_bearer::PrivateKey;
use crate::secret::Secret;

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
            Grant::AccessToken { .. } => "access_token",
        }
    }
}
