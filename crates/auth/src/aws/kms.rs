//! AWS KMS: a key that signs there and never leaves, and values that it has encrypted.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{Aws, AwsError, Service};
use crate::error::ConfigError;
use crate::grant::jwt_bearer::{NotSigned, PrivateKey, RemoteKey};
use crate::transit::public_key_of;

/// Bytes that `Sign` takes as they are. Source: KMS API Reference, `Sign`.
const LONGEST_MESSAGE: usize = 4096;

/// An RSA key pair in KMS (`SIGN_VERIFY`, `RSA_2048` or longer).
#[derive(Debug)]
pub struct KmsKey {
    aws: Aws,
    id: String,
    public_key: Option<Vec<u8>>,
}

impl KmsKey {
    /// The key by its id, ARN or alias (`alias/tieline`). Nothing is asked of KMS, so the public half is not known.
    ///
    /// # Errors
    /// The text is no name of a key.
    pub fn unasked(aws: Aws, id: &str) -> Result<PrivateKey, ConfigError> {
        Ok(PrivateKey::remote(std::sync::Arc::new(Self { aws, id: checked(id)?, public_key: None })))
    }

    /// The key with its public half, to make a certificate of it.
    ///
    /// # Errors
    /// What KMS says; and when the key is not RSA.
    pub async fn key(aws: Aws, id: &str) -> Result<PrivateKey, ConfigError> {
        let id = checked(id)?;
        let answer = aws.ask(Service::Kms, "GetPublicKey", &id, &json!({ "KeyId": id })).await;
        let answer = answer.map_err(|e| ConfigError::new(e.to_string(), e.hint()))?;
        let der = answer["PublicKey"].as_str().and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
        let public_key = public_key_of(&der).ok_or_else(|| {
            ConfigError::new(
                format!("the KMS key {id} is not RSA, and Salesforce takes no other"),
                "make one: aws kms create-key --key-usage SIGN_VERIFY --key-spec RSA_2048",
            )
        })?;
        Ok(PrivateKey::remote(std::sync::Arc::new(Self { aws, id, public_key: Some(public_key) })))
    }
}

pub(crate) fn checked(id: &str) -> Result<String, ConfigError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_/:".contains(&byte);
    match !id.is_empty() && id.len() <= 2048 && id.bytes().all(fits) {
        true => Ok(id.to_owned()),
        false => Err(ConfigError::new(
            format!("`{id}` is no key of KMS"),
            "give its id, its ARN, or alias/NAME: kms:alias/tieline",
        )),
    }
}

impl RemoteKey for KmsKey {
    fn describe(&self) -> String {
        format!("{} in KMS", self.id)
    }

    fn public_key(&self) -> Option<&[u8]> {
        self.public_key.as_deref()
    }

    fn sign<'a>(&'a self, message: &'a [u8]) -> BoxFuture<'a, Result<Vec<u8>, NotSigned>> {
        Box::pin(async move {
            // Of longer messages KMS takes the digest.
            let (message, kind) = match message.len() {
                0..=LONGEST_MESSAGE => (STANDARD.encode(message), "RAW"),
                _ => (STANDARD.encode(digest(&SHA256, message)), "DIGEST"),
            };
            let body = json!({
                "KeyId": self.id,
                "Message": message,
                "MessageType": kind,
                "SigningAlgorithm": "RSASSA_PKCS1_V1_5_SHA_256",
            });
            let answer = self.aws.ask(Service::Kms, "Sign", &self.id, &body).await;
            let answer = answer.map_err(|e| NotSigned { reason: e.to_string(), passing: e.passing, hint: e.hint() })?;
            let signature = answer["Signature"].as_str().and_then(|text| STANDARD.decode(text).ok());
            signature.ok_or_else(|| NotSigned {
                reason: "its answer holds no signature".to_owned(),
                passing: false,
                hint: "see that the key is RSA, and for signing (SIGN_VERIFY)".to_owned(),
            })
        })
    }
}

/// Decrypts what KMS has encrypted with a symmetric key. `context`: the pairs that it was bound to.
///
/// # Errors
/// What KMS says.
pub async fn decrypt(
    aws: &Aws,
    ciphertext: &[u8],
    context: &BTreeMap<String, String>,
) -> Result<Zeroizing<Vec<u8>>, AwsError> {
    let mut body = json!({ "CiphertextBlob": STANDARD.encode(ciphertext) });
    if !context.is_empty() {
        body["EncryptionContext"] = context.iter().map(|(k, v)| (k.clone(), Value::from(v.as_str()))).collect();
    }
    let answer = aws.ask(Service::Kms, "Decrypt", "", &body).await?;
    let text = answer["Plaintext"].as_str().and_then(|text| STANDARD.decode(text).ok());
    text.map(Zeroizing::new).ok_or_else(|| AwsError {
        service: "kms",
        operation: "Decrypt".to_owned(),
        code: "NoPlaintext".to_owned(),
        message: String::new(),
        passing: false,
    })
}
