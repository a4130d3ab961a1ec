//! A key in the transit engine of HashiCorp Vault or OpenBao: it signs there (or wraps data keys, [`crate::keyring`])
//! and never leaves.
//!
//! Source: the engine's HTTP API (`/v1/MOUNT/keys/NAME`, `/v1/MOUNT/sign/NAME/sha2-256`), which both servers share.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use crate::error::ConfigError;
use crate::grant::jwt_bearer::{NotSigned, PrivateKey, RemoteKey};
use crate::host::is_loopback;
use crate::http::{innermost, without_url};
use crate::secret::Secret;

/// Where the key is, and the right to use it.
#[derive(Debug, Clone)]
pub struct Transit {
    address: Url,
    token: Secret,
    namespace: Option<String>,
    mount: String,
    name: String,
    http: reqwest::Client,
}

/// One version of a key: what an app's certificate was made for. Rotating the key in the server does not touch it.
#[derive(Debug)]
struct TransitKey {
    transit: Transit,
    /// The newest one, if it is not told.
    version: Option<u64>,
    public_key: Option<Vec<u8>>,
}

impl Transit {
    /// A key by its place: `MOUNT/NAME`, such as `transit/tieline`.
    ///
    /// # Errors
    /// When the address is not HTTPS (loopback may do without), or the place is not of that form.
    pub fn new(address: &str, token: Secret, namespace: Option<String>, place: &str) -> Result<Self, ConfigError> {
        let bad = |reason: String| {
            ConfigError::new(
                format!("the key service cannot be used: {reason}"),
                "set VAULT_ADDR (or BAO_ADDR) to https://HOST:8200, and name the key as MOUNT/NAME",
            )
        };
        let address =
            Url::parse(address.trim()).map_err(|e| bad(format!("its address `{address}` is not a URL ({e})")))?;
        if address.scheme() != "https" && !is_loopback(&address) {
            return Err(bad(format!("its address {address} is not https")));
        }
        let fits =
            |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_/.".contains(&b));
        let (mount, name) = place
            .rsplit_once('/')
            .filter(|(mount, name)| fits(mount) && fits(name))
            .ok_or_else(|| bad(format!("`{place}` is not the place of a key")))?;
        let http = crate::http::service_client().map_err(|e| bad(innermost(&e)))?;
        Ok(Self { address, token, namespace, mount: mount.to_owned(), name: name.to_owned(), http })
    }

    /// Makes the key, as RSA of 2,048, 3,072 or 4,096 bits, unless it is there already. It cannot be exported.
    ///
    /// # Errors
    /// What the server says.
    pub async fn create(&self, bits: usize) -> Result<(), ConfigError> {
        let body = json!({"type": format!("rsa-{bits}"), "exportable": false, "allow_plaintext_backup": false});
        self.ask(reqwest::Method::POST, &format!("keys/{}", self.name), Some(body)).await.map(drop)
    }

    /// Makes a new version of the key. What the ones before have signed, or will sign, stays valid.
    ///
    /// # Errors
    /// What the server says.
    pub async fn rotate(&self) -> Result<(), ConfigError> {
        self.ask(reqwest::Method::POST, &format!("keys/{}/rotate", self.name), Some(json!({}))).await.map(drop)
    }

    /// The key, ready to sign. `version`: the one that the certificate was made for; the newest where it is not known.
    ///
    /// # Errors
    /// What the server says; and when the key is not RSA.
    pub async fn key(&self, version: Option<u64>) -> Result<(PrivateKey, u64), ConfigError> {
        #[derive(Deserialize)]
        struct Key {
            latest_version: u64,
            keys: std::collections::BTreeMap<String, Value>,
        }
        let answer = self.ask(reqwest::Method::GET, &format!("keys/{}", self.name), None).await?;
        let bad = |reason: &str| self.failed(reason.to_owned());
        let key: Key = serde_json::from_value(answer["data"].clone()).map_err(|_| bad("its answer holds no key"))?;
        let version = version.unwrap_or(key.latest_version);
        let pem = key.keys.get(&version.to_string()).and_then(|key| key["public_key"].as_str());
        let pem = pem.ok_or_else(|| bad("the key has no such version, or is not RSA"))?;
        let der = x509_parser::pem::parse_x509_pem(pem.as_bytes()).map_err(|_| bad("the public key is not PEM"))?.1;
        let public_key = public_key_of(&der.contents).ok_or_else(|| bad("the key is not RSA"))?;
        let remote = TransitKey { transit: self.clone(), version: Some(version), public_key: Some(public_key) };
        Ok((PrivateKey::remote(Arc::new(remote)), version))
    }

    /// The key without asking the server anything: what it needs to sign, and no public half.
    pub fn unasked(self, version: Option<u64>) -> PrivateKey {
        PrivateKey::remote(Arc::new(TransitKey { transit: self, version, public_key: None }))
    }

    async fn ask(&self, method: reqwest::Method, path: &str, body: Option<Value>) -> Result<Value, ConfigError> {
        self.request(method, path, body).await.map_err(|error| self.failed(error.reason))
    }

    fn failed(&self, reason: String) -> ConfigError {
        ConfigError::new(
            format!("the key {}/{} at {} cannot be used: {reason}", self.mount, self.name, self.address),
            "check VAULT_ADDR, that VAULT_TOKEN may use the key (its policy), and that the transit engine is enabled there",
        )
    }

    /// Asks the engine: `path` is what follows its mount. What it answered, whatever the key is for.
    pub(crate) async fn request(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, NotServed> {
        let unreachable =
            |e: reqwest::Error| NotServed { reason: innermost(&without_url(e)), passing: true, status: None };
        let url = self.address.join(&format!("/v1/{}/{path}", self.mount));
        let url = url.map_err(|e| NotServed { reason: e.to_string(), passing: false, status: None })?;
        let mut request = self.http.request(method, url).header("X-Vault-Token", self.token.expose());
        if let Some(namespace) = &self.namespace {
            request = request.header("X-Vault-Namespace", namespace);
        }
        if let Some(body) = &body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let body = response.bytes().await.map_err(unreachable)?;
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        if status.is_success() {
            return Ok(answer);
        }
        let errors = answer["errors"].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>();
        let reason =
            format!("it answered {status}{}{}", if errors.is_empty() { "" } else { ": " }, errors.join("; ").trim());
        // Sealed or in standby is 503; a token that has ended, or has no right, 403.
        let passing = status.is_server_error() || status.as_u16() == 429;
        Err(NotServed { reason, passing, status: Some(status.as_u16()) })
    }

    /// Where the engine is.
    pub(crate) fn mount(&self) -> &str {
        &self.mount
    }

    /// The key's name in it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The server.
    pub(crate) fn address(&self) -> &Url {
        &self.address
    }
}

/// The engine did not do it.
#[derive(Debug)]
pub(crate) struct NotServed {
    /// What it said, without a secret in it.
    pub(crate) reason: String,
    /// It may do it later, as it is.
    pub(crate) passing: bool,
    /// Its HTTP status; `None` where there was no answer.
    pub(crate) status: Option<u16>,
}

impl RemoteKey for TransitKey {
    fn describe(&self) -> String {
        let Transit { address, mount, name, .. } = &self.transit;
        let version = self.version.map_or_else(String::new, |version| format!(" (version {version})"));
        format!("{mount}/{name}{version} at {address}")
    }

    fn public_key(&self) -> Option<&[u8]> {
        self.public_key.as_deref()
    }

    fn sign<'a>(&'a self, message: &'a [u8]) -> BoxFuture<'a, Result<Vec<u8>, NotSigned>> {
        Box::pin(async move {
            // Version zero is the newest.
            let version = self.version.unwrap_or(0);
            let body = json!({
                "input": STANDARD.encode(message), "key_version": version, "signature_algorithm": "pkcs1v15",
            });
            let path = format!("sign/{}/sha2-256", self.transit.name);
            let answer = self.transit.request(reqwest::Method::POST, &path, Some(body)).await;
            let answer = answer.map_err(|e| not_signed(e.reason, e.passing))?;
            // `vault:v1:BASE64`
            let signature = answer["data"]["signature"].as_str().and_then(|text| text.rsplit(':').next());
            signature
                .and_then(|text| STANDARD.decode(text).ok())
                .ok_or_else(|| not_signed("its answer holds no signature".to_owned(), false))
        })
    }
}

fn not_signed(reason: String, passing: bool) -> NotSigned {
    let hint = "check VAULT_ADDR and VAULT_TOKEN: the token may have run out, or its policy may not let it sign";
    NotSigned { reason, passing, hint: hint.to_owned() }
}

/// The RSA key (PKCS#1) inside a SubjectPublicKeyInfo.
pub(crate) fn public_key_of(der: &[u8]) -> Option<Vec<u8>> {
    use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo};
    let (_, info) = SubjectPublicKeyInfo::from_der(der).ok()?;
    matches!(info.parsed(), Ok(x509_parser::public_key::PublicKey::RSA(_)))
        .then(|| info.subject_public_key.data.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_service_over_plain_http_is_on_this_machine() {
        let at = |address: &str, place: &str| Transit::new(address, Secret::new("s.x"), None, place);
        assert!(at("http://127.0.0.1:8200", "transit/tieline").is_ok());
        assert!(at("https://vault.example.org", "team/transit/tieline").is_ok());
        for (address, place) in [
            ("http://vault.example.org", "transit/x"),
            ("vault", "transit/x"),
            ("https://v.example", "tieline"),
            ("https://v.example", "transit/../x y"),
        ] {
            let error = at(address, place).unwrap_err();
            assert!(error.hint().contains("VAULT_ADDR"), "{address} {place}: {error}");
        }
    }
}
