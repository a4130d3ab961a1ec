//! A key in the transit engine of HashiCorp Vault or OpenBao (type `aes256-gcm96`), with the context as associated data.
//! A wrapped data key is the engine's own text, `vault:v1:…`, so a rotated key unwraps it.
//!
//! Source: the engine's HTTP API (`/v1/MOUNT/encrypt/NAME`, `/v1/MOUNT/decrypt/NAME`), which both servers share.

use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::BoxFuture;
use reqwest::Method;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::data_key::DataKeyBytes;
use super::service::{KeyService, KeyServiceError, MOVED_HINT};
use crate::transit::{NotServed, Transit};

/// The types that take associated data. Source: the engine's API, `associated_data`.
const KINDS: [&str; 4] = ["aes128-gcm96", "aes256-gcm96", "chacha20-poly1305", "xchacha20-poly1305"];

/// A key in a transit engine that wraps data keys.
#[derive(Debug)]
pub struct TransitService {
    transit: Transit,
    name: String,
    /// The key was there, and of a kind that fits.
    seen: AtomicBool,
}

impl TransitService {
    /// The key at this place.
    pub fn new(transit: Transit) -> Self {
        let name = format!("transit:{}/{}", transit.mount(), transit.name());
        Self { transit, name, seen: AtomicBool::new(false) }
    }

    /// That the key is there, once: to a token with many rights, the engine would make it by the first encryption, and a
    /// mistyped name would be a new key. Whoever gave a token no right to look should give it none to make keys.
    async fn look(&self) -> Result<(), KeyServiceError> {
        const TASK: &str = KeyServiceError::WRAP;
        if self.seen.load(Ordering::Relaxed) {
            return Ok(());
        }
        let answer = match self.transit.request(Method::GET, &format!("keys/{}", self.transit.name()), None).await {
            Ok(answer) => answer,
            Err(NotServed { status: Some(403), .. }) => return Ok(()),
            Err(NotServed { status: Some(404), .. }) => {
                let reason = format!("there is no such key at {}", self.transit.address());
                return Err(self.failed(TASK, NotServed { reason, passing: false, status: Some(404) }));
            }
            Err(error) => return Err(self.failed(TASK, error)),
        };
        let kind = answer["data"]["type"].as_str().unwrap_or_default();
        if !KINDS.contains(&kind) || answer["data"]["derived"] == true {
            let reason = format!("it is of type {kind}, or derived, and cannot bind a data key to its integration");
            return Err(self.failed(TASK, NotServed { reason, passing: false, status: Some(404) }));
        }
        self.seen.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn failed(&self, task: &'static str, error: NotServed) -> KeyServiceError {
        let NotServed { reason, passing, status } = error;
        let (mount, name, address) = (self.transit.mount(), self.transit.name(), self.transit.address());
        let hint = match status {
            _ if passing => format!("see that the key service at {address} can be reached, and is unsealed"),
            Some(403) => format!(
                "check VAULT_TOKEN: it may have run out; its policy must allow `update` on {mount}/encrypt/{name} and \
                 {mount}/decrypt/{name}"
            ),
            _ if reason.contains("authentication failed") => MOVED_HINT.to_owned(),
            _ => format!(
                "check VAULT_ADDR and the key's place; make the key with: \
                 bao write -f {mount}/keys/{name} type=aes256-gcm96 (or vault write …)"
            ),
        };
        KeyServiceError { service: self.name.clone(), task, reason, passing, hint }
    }

    async fn ask(&self, task: &'static str, operation: &str, body: Value) -> Result<Value, KeyServiceError> {
        let path = format!("{operation}/{}", self.transit.name());
        self.transit.request(Method::POST, &path, Some(body)).await.map_err(|error| self.failed(task, error))
    }

    fn unintelligible(&self, task: &'static str) -> KeyServiceError {
        let reason = "its answer holds no data key".to_owned();
        self.failed(task, NotServed { reason, passing: false, status: None })
    }
}

impl KeyService for TransitService {
    fn name(&self) -> &str {
        &self.name
    }

    fn wrap<'a>(&'a self, key: &'a DataKeyBytes, context: &'a str) -> BoxFuture<'a, Result<Vec<u8>, KeyServiceError>> {
        Box::pin(async move {
            self.look().await?;
            let body = json!({
                "plaintext": STANDARD.encode(key.expose()),
                "associated_data": STANDARD.encode(context),
            });
            let answer = self.ask(KeyServiceError::WRAP, "encrypt", body).await?;
            let wrapped = answer["data"]["ciphertext"].as_str().map(|text| text.as_bytes().to_vec());
            wrapped.ok_or_else(|| self.unintelligible(KeyServiceError::WRAP))
        })
    }

    fn unwrap<'a>(
        &'a self,
        wrapped: &'a [u8],
        context: &'a str,
    ) -> BoxFuture<'a, Result<DataKeyBytes, KeyServiceError>> {
        Box::pin(async move {
            let body = json!({
                "ciphertext": String::from_utf8_lossy(wrapped),
                "associated_data": STANDARD.encode(context),
            });
            let answer = self.ask(KeyServiceError::UNWRAP, "decrypt", body).await?;
            let bytes = answer["data"]["plaintext"].as_str();
            let bytes = bytes.and_then(|text| STANDARD.decode(text).ok()).map(Zeroizing::new);
            let key = bytes.and_then(|bytes| DataKeyBytes::new(&bytes));
            key.ok_or_else(|| self.unintelligible(KeyServiceError::UNWRAP))
        })
    }
}
