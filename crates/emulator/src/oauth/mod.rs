//! The OAuth endpoints of the org.

pub(crate) mod access;
pub(crate) mod app;
pub(crate) mod authorize;
pub(crate) mod browser;
mod client;
pub(crate) mod code;
pub(crate) mod device;
pub(crate) mod discovery;
pub(crate) mod grants;
pub(crate) mod id_token;
pub(crate) mod introspect;
mod jwt;
pub(crate) mod token;
pub(crate) mod userinfo;

use serde_json::{Value, json};

/// A refusal by the token endpoint: HTTP 400 and two keys.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OAuthError(pub(crate) &'static str, pub(crate) &'static str);

impl OAuthError {
    pub(crate) fn body(&self) -> Value {
        json!({"error": self.0, "error_description": self.1})
    }

    /// As the endpoints write it that do not answer JSON.
    pub(crate) fn form(&self) -> String {
        url::form_urlencoded::Serializer::new(String::new())
            .append_pair("error", self.0)
            .append_pair("error_description", self.1)
            .finish()
            // Salesforce writes spaces as %20 here.
            .replace('+', "%20")
    }
}

/// Random characters of the alphabet in which access tokens are written.
pub(crate) fn random_token(length: usize) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._";
    (0..length).map(|_| ALPHABET[fastrand::usize(..64)] as char).collect()
}
