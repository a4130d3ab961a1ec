//! A token and where it may be used.

use std::time::Duration;

use jiff::Timestamp;
use url::Url;

use crate::secret::Secret;

/// An access token with all that a call needs. Printing it shows everything but the token.
#[derive(Debug)]
pub struct Token {
    pub(crate) access_token: Secret,
    pub(crate) instance_url: Url,
    pub(crate) id: Option<String>,
    pub(crate) issued_at: Timestamp,
    /// When we stop using it, by the wall clock. Not a promise of Salesforce's: an org tells no expiry.
    pub(crate) reuse_until: Option<Timestamp>,
    /// The same moment by the monotonic clock.
    pub(crate) monotonic_until: Option<Duration>,
    /// Which token of these credentials this is: refusals compare it.
    pub(crate) generation: u64,
}

impl Token {
    /// The bearer token.
    pub fn access_token(&self) -> &Secret {
        &self.access_token
    }

    /// Scheme and host of the org's APIs, such as `https://acme.my.salesforce.com`.
    pub fn instance_url(&self) -> &Url {
        &self.instance_url
    }

    /// When the org issued it, by the org's clock.
    pub fn issued_at(&self) -> Timestamp {
        self.issued_at
    }

    /// When it will be replaced by another one; `None`: when the org refuses it.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.reuse_until
    }

    /// The org's id (18 characters, `00D…`), from the identity URL.
    pub fn organization_id(&self) -> Option<&str> {
        self.identity_part(1)
    }

    /// The user's id (18 characters, `005…`), from the identity URL.
    pub fn user_id(&self) -> Option<&str> {
        self.identity_part(0)
    }

    fn identity_part(&self, from_end: usize) -> Option<&str> {
        self.id.as_deref()?.rsplit('/').nth(from_end)
    }
}
