//! OAuth 2.0 JWT bearer flow.
//!
//! 1. Build the claims: `iss` is the consumer key, `sub` the username, `aud` the login host (chosen apart
//!    from the host the request goes to), `exp` at most three minutes ahead.
//! 2. Sign them with RS256, the only algorithm Salesforce takes.
//! 3. POST the assertion; the answer holds an access token and never a refresh token.

use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer};

use crate::config::OrgConfig;
use crate::error::{AuthErrorKind, ConfigError};
use crate::token_endpoint::Form;
use crate::token_state::Fingerprint;

/// Name of the grant on the wire.
const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// Life of an assertion. Salesforce's documents say three minutes, some libraries five; 160 seconds hold
/// under both and leave room for clocks that differ.
const ASSERTION_SECONDS: i64 = 160;

/// An RSA private key, read once and kept ready to sign; or one that signs elsewhere and never comes here.
#[derive(Clone)]
pub struct PrivateKey(Place);

#[derive(Clone)]
enum Place {
    Here(Arc<RsaKeyPair>),
    Elsewhere(Arc<dyn RemoteKey>),
}

/// A key that a service keeps: Vault's or OpenBao's transit engine ([`crate::transit`]), a KMS, a hardware module.
pub trait RemoteKey: std::fmt::Debug + Send + Sync {
    /// Which key it is, for people.
    fn describe(&self) -> String;

    /// Its public half (an RSA key of PKCS#1 in DER), where it is known without asking.
    fn public_key(&self) -> Option<&[u8]>;

    /// Signs by RSASSA-PKCS1-v1_5 with SHA-256.
    fn sign<'a>(&'a self, message: &'a [u8]) -> BoxFuture<'a, Result<Vec<u8>, NotSigned>>;
}

/// A key that is elsewhere did not sign.
#[derive(Debug, Clone)]
pub struct NotSigned {
    /// What the service said, without a secret in it.
    pub reason: String,
    /// It may sign later, as it is: the service could not be reached, or is busy.
    pub passing: bool,
    /// The next act.
    pub hint: String,
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[private key]")
    }
}

impl PrivateKey {
    /// Reads PKCS#8 (`BEGIN PRIVATE KEY`) or PKCS#1 (`BEGIN RSA PRIVATE KEY`), also with its line breaks
    /// written as `\n`, as environment variables often carry them.
    ///
    /// # Errors
    /// [`ConfigError`] says what was found instead: a certificate, a public key, an encrypted or an elliptic
    /// key, or no PEM at all. Never the key itself.
    pub fn from_pem(pem: &str) -> Result<Self, ConfigError> {
        let pem = pem.replace("\\r", "").replace("\\n", "\n");
        let label = pem.split("-----BEGIN ").nth(1).and_then(|rest| rest.split("-----").next()).map(str::to_owned);
        let bad = |message: &str, hint: &str| {
            Err(ConfigError::new(format!("the private key cannot be used: {message}"), hint))
        };
        let generate = "give an RSA private key in PEM: `openssl genrsa 2048` makes one";
        let key = match label.as_deref() {
            None => {
                return bad(
                    "it is not PEM (there is no `-----BEGIN …-----` line)",
                    "pass the whole file, line breaks included (or written as \\n)",
                );
            }
            Some("CERTIFICATE") => {
                return bad(
                    "this is the certificate",
                    "the certificate goes to the app in Salesforce; the private key belongs here",
                );
            }
            Some("PUBLIC KEY" | "RSA PUBLIC KEY") => return bad("this is a public key", generate),
            Some("ENCRYPTED PRIVATE KEY") => {
                return bad(
                    "it is protected by a passphrase",
                    "remove it: openssl pkcs8 -in key.pem -nocrypt -topk8 -out plain.pem",
                );
            }
            Some("EC PRIVATE KEY") => {
                return bad("it is an elliptic-curve key, and Salesforce takes RSA only", generate);
            }
            Some("OPENSSH PRIVATE KEY") => {
                return bad("it is an OpenSSH key", "convert it: ssh-keygen -p -m PEM -f key");
            }
            Some("PRIVATE KEY") => PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map(PrivateKeyDer::from),
            Some("RSA PRIVATE KEY") => PrivatePkcs1KeyDer::from_pem_slice(pem.as_bytes()).map(PrivateKeyDer::from),
            Some(other) => return bad(&format!("it holds `{other}`"), generate),
        };
        let Ok(key) = key else {
            return bad(
                "its text between the BEGIN and END lines is damaged",
                "pass the whole file, line breaks included (or written as \\n)",
            );
        };
        let pair = match &key {
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
            other => RsaKeyPair::from_pkcs8(other.secret_der()),
        };
        match pair {
            Ok(pair) => Ok(Self(Place::Here(Arc::new(pair)))),
            Err(reason) => bad(&format!("it is not an RSA key of 2048 to 8192 bits ({reason})"), generate),
        }
    }

    /// Tells keys apart, by their public halves or their places.
    pub(crate) fn fingerprint(&self) -> String {
        let name = match (&self.0, self.public_key()) {
            (Place::Elsewhere(key), None) => key.describe(),
            (_, key) => STANDARD.encode(key.unwrap_or_default()),
        };
        Fingerprint::of(&[&name]).as_str().to_owned()
    }

    /// A key that signs elsewhere.
    pub fn remote(key: Arc<dyn RemoteKey>) -> Self {
        Self(Place::Elsewhere(key))
    }

    /// Its public half (an RSA key of PKCS#1 in DER); `None` where the service that keeps it has not been asked.
    pub fn public_key(&self) -> Option<&[u8]> {
        match &self.0 {
            Place::Here(pair) => Some(pair.public_key().as_ref()),
            Place::Elsewhere(key) => key.public_key(),
        }
    }

    /// Signs with RS256.
    ///
    /// # Errors
    /// [`AuthErrorKind::Signing`]; [`AuthErrorKind::KeyService`] for a key that is elsewhere.
    pub async fn sign(&self, message: &[u8]) -> Result<Vec<u8>, AuthErrorKind> {
        match &self.0 {
            Place::Here(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
                    .map_err(|e| AuthErrorKind::Signing(e.to_string()))?;
                Ok(signature)
            }
            Place::Elsewhere(key) => key.sign(message).await.map_err(|NotSigned { reason, passing, hint }| {
                AuthErrorKind::KeyService { key: key.describe(), reason, passing, hint }
            }),
        }
    }
}

/// Steps 1 and 2, and the form of step 3.
pub(crate) async fn form(
    config: &OrgConfig,
    username: &str,
    key: &PrivateKey,
    audience: &str,
    now: Timestamp,
) -> Result<Form, AuthErrorKind> {
    let assertion = assertion(&config.client_id, username, audience, now, key).await?;
    Ok(Form::new(GRANT_TYPE).with("assertion", assertion))
}

/// Steps 1 and 2: the signed assertion of `username` for the app `client_id`, valid for 160 seconds.
///
/// # Errors
/// As [`PrivateKey::sign`].
pub async fn assertion(
    client_id: &str,
    username: &str,
    audience: &str,
    now: Timestamp,
    key: &PrivateKey,
) -> Result<String, AuthErrorKind> {
    let claims = serde_json::json!({
        "iss": client_id,
        "sub": username,
        "aud": audience,
        "exp": now.as_second() + ASSERTION_SECONDS,
    });
    let mut message = URL_SAFE_NO_PAD.encode(br#"{"alg":"RS256","typ":"JWT"}"#);
    message.push('.');
    URL_SAFE_NO_PAD.encode_string(claims.to_string(), &mut message);
    let signature = key.sign(message.as_bytes()).await?;
    message.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut message);
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_private_key_is_named() {
        for (pem, said) in [
            ("hello", "not PEM"),
            ("-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----", "this is the certificate"),
            ("-----BEGIN PUBLIC KEY-----\nAA\n-----END PUBLIC KEY-----", "public key"),
            ("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA\n-----END ENCRYPTED PRIVATE KEY-----", "passphrase"),
            ("-----BEGIN EC PRIVATE KEY-----\nAA\n-----END EC PRIVATE KEY-----", "elliptic"),
            ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "not an RSA key"),
            ("-----BEGIN PRIVATE KEY-----\n*secret*", "damaged"),
        ] {
            let error = PrivateKey::from_pem(pem).expect_err(pem);
            assert!(error.to_string().contains(said), "{pem}: {error}");
            assert!(!error.to_string().contains("*secret*") && !error.hint().is_empty());
        }
    }
}
