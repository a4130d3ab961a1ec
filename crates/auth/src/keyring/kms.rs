//! A symmetric key in AWS KMS (`ENCRYPT_DECRYPT`, `SYMMETRIC_DEFAULT`). The context is the value of the pair `tieline` in
//! the encryption context, so a key policy may ask for it (`kms:EncryptionContext:tieline`).
//!
//! Source: KMS API Reference, `Encrypt` and `Decrypt`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::data_key::DataKeyBytes;
use super::service::{KeyService, KeyServiceError, MOVED_HINT};
use crate::aws::{Aws, AwsError, Service, kms::checked};
use crate::error::ConfigError;

/// A key in KMS that wraps data keys.
#[derive(Debug)]
pub struct KmsService {
    aws: Aws,
    id: String,
    name: String,
}

impl KmsService {
    /// The key by its id, ARN or alias. An alias may be pointed at another key later: what was wrapped before unwraps as
    /// long as the earlier key is there and may be used.
    ///
    /// # Errors
    /// The text is no name of a key.
    pub fn new(aws: Aws, id: &str) -> Result<Self, ConfigError> {
        let id = checked(id)?;
        Ok(Self { aws, name: format!("kms:{id}"), id })
    }

    async fn ask(&self, task: &'static str, operation: &str, body: &Value) -> Result<Value, KeyServiceError> {
        let answer = self.aws.ask(Service::Kms, operation, &self.id, body).await;
        answer.map_err(|error| {
            let (reason, hint) = (error.to_string(), hint(&error));
            KeyServiceError { service: self.name.clone(), task, reason, passing: error.passing, hint }
        })
    }

    fn unintelligible(&self, task: &'static str) -> KeyServiceError {
        let hint = "see that AWS_ENDPOINT_URL is KMS, and the key symmetric: aws kms create-key".to_owned();
        let reason = "its answer holds no data key".to_owned();
        KeyServiceError { service: self.name.clone(), task, reason, passing: false, hint }
    }
}

fn hint(error: &AwsError) -> String {
    match error.code.as_str() {
        "InvalidCiphertextException" => MOVED_HINT.to_owned(),
        "DisabledException" | "KMSInvalidStateException" => {
            "enable the key (aws kms enable-key), or take its deletion back (aws kms cancel-key-deletion)".to_owned()
        }
        "InvalidKeyUsageException" => {
            "name a symmetric key for encryption; make one with: aws kms create-key".to_owned()
        }
        "NotFoundException" => {
            "check the key's id, the account and the region (AWS_REGION); make a key with: aws kms create-key"
                .to_owned()
        }
        _ => error.hint(),
    }
}

impl KeyService for KmsService {
    fn name(&self) -> &str {
        &self.name
    }

    fn wrap<'a>(&'a self, key: &'a DataKeyBytes, context: &'a str) -> BoxFuture<'a, Result<Vec<u8>, KeyServiceError>> {
        Box::pin(async move {
            let body = json!({
                "KeyId": self.id,
                "Plaintext": STANDARD.encode(key.expose()),
                "EncryptionContext": { "tieline": context },
            });
            let answer = self.ask(KeyServiceError::WRAP, "Encrypt", &body).await?;
            let wrapped = answer["CiphertextBlob"].as_str().and_then(|text| STANDARD.decode(text).ok());
            wrapped.ok_or_else(|| self.unintelligible(KeyServiceError::WRAP))
        })
    }

    fn unwrap<'a>(
        &'a self,
        wrapped: &'a [u8],
        context: &'a str,
    ) -> BoxFuture<'a, Result<DataKeyBytes, KeyServiceError>> {
        Box::pin(async move {
            let mut body = json!({
                "CiphertextBlob": STANDARD.encode(wrapped),
                "EncryptionContext": { "tieline": context },
            });
            // With it KMS refuses what any other key has encrypted. Not with an alias, which is the name of another key
            // once it was pointed elsewhere.
            if !self.id.contains("alias/") {
                body["KeyId"] = Value::from(self.id.as_str());
            }
            let answer = self.ask(KeyServiceError::UNWRAP, "Decrypt", &body).await?;
            let bytes = answer["Plaintext"].as_str().and_then(|text| STANDARD.decode(text).ok()).map(Zeroizing::new);
            let key = bytes.and_then(|bytes| DataKeyBytes::new(&bytes));
            key.ok_or_else(|| self.unintelligible(KeyServiceError::UNWRAP))
        })
    }
}
