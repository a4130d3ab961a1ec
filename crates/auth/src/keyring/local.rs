//! A key of 32 bytes in this process.
//!
//! A wrapped data key: version (1 byte, 1) ‖ nonce (12) ‖ sealed data key (32) ‖ tag (16), by AES-256-GCM-SIV with the
//! context as associated data.

use aws_lc_rs::aead::{AES_256_GCM_SIV, RandomizedNonceKey};
use futures_util::future::{BoxFuture, ready};

use super::data_key::{DataKeyBytes, KEY, derived};
use super::service::{KeyService, KeyServiceError, MOVED, MOVED_HINT};
use crate::sealing::{id_of, open_with, seal_with};

const VERSION: u8 = 1;
/// What the wrapping key is derived for. The key's own bytes may be those of a [`MasterKey`](crate::sealing::MasterKey)
/// too, and no key does two things.
const WRAPPING: &[u8] = b"tieline wrapped data keys 1";

/// A key that is in this process's memory. It prints its name alone.
pub struct LocalKey {
    name: String,
    key: RandomizedNonceKey,
}

impl std::fmt::Debug for LocalKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

impl LocalKey {
    /// A key of these 32 bytes; `None` if the cryptography refuses them, which it does for no 32 bytes.
    pub fn new(bytes: &[u8; KEY]) -> Option<Self> {
        let key = RandomizedNonceKey::new(&AES_256_GCM_SIV, &*derived(bytes, WRAPPING)?).ok()?;
        Some(Self { name: name_of(bytes), key })
    }

    fn failed(&self, task: &'static str, reason: &str, hint: &str) -> KeyServiceError {
        let (service, reason, hint) = (self.name.clone(), reason.to_owned(), hint.to_owned());
        KeyServiceError { service, task, reason, passing: false, hint }
    }
}

/// `local:` and the first 8 bytes of the key's SHA-256.
pub(super) fn name_of(bytes: &[u8; KEY]) -> String {
    id_of(bytes).iter().fold("local:".to_owned(), |name, byte| name + &format!("{byte:02x}"))
}

impl KeyService for LocalKey {
    fn name(&self) -> &str {
        &self.name
    }

    fn wrap<'a>(&'a self, key: &'a DataKeyBytes, context: &'a str) -> BoxFuture<'a, Result<Vec<u8>, KeyServiceError>> {
        let sealed =
            seal_with(&self.key, key.expose(), context.as_bytes()).map(|sealed| [&[VERSION], &*sealed].concat());
        Box::pin(ready(sealed.ok_or_else(|| {
            let hint = "see that the system's random number generator works (getrandom)";
            self.failed(KeyServiceError::WRAP, "the system gives no randomness", hint)
        })))
    }

    fn unwrap<'a>(
        &'a self,
        wrapped: &'a [u8],
        context: &'a str,
    ) -> BoxFuture<'a, Result<DataKeyBytes, KeyServiceError>> {
        let opened = match wrapped.split_first() {
            Some((&VERSION, sealed)) => open_with(&self.key, sealed, context.as_bytes()),
            _ => None,
        };
        let key = opened.and_then(|bytes| DataKeyBytes::new(&bytes));
        Box::pin(ready(key.ok_or_else(|| self.failed(KeyServiceError::UNWRAP, MOVED, MOVED_HINT))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wrapped_key_unwraps_with_its_key_and_its_context_alone() {
        let (one, other) = (LocalKey::new(&[1; KEY]).unwrap(), LocalKey::new(&[2; KEY]).unwrap());
        // Python: hashlib.sha256(b"\x01" * 32).hexdigest()[:16]
        assert_eq!(one.name(), "local:72cd6e8422c407fb");
        let key = DataKeyBytes::new(&[9; KEY]).unwrap();
        let wrapped = one.wrap(&key, "acme").await.unwrap();
        assert_eq!(wrapped.len(), 1 + 12 + KEY + 16);
        assert_eq!(one.unwrap(&wrapped, "acme").await.unwrap().expose(), &[9; KEY]);
        for (key, context) in [(&one, "acme2"), (&one, ""), (&other, "acme")] {
            let error = key.unwrap(&wrapped, context).await.unwrap_err();
            assert!(!error.passing && error.to_string().contains(key.name()), "{error}");
        }
        for at in 0..wrapped.len() {
            let mut damaged = wrapped.clone();
            damaged[at] ^= 1;
            assert!(one.unwrap(&damaged, "acme").await.is_err(), "byte {at}");
            assert!(one.unwrap(&wrapped[..at], "acme").await.is_err(), "cut at {at}");
        }
        // The key's own bytes do not open it: they are for what a master key seals.
        let raw = RandomizedNonceKey::new(&AES_256_GCM_SIV, &[1; KEY]).unwrap();
        assert!(open_with(&raw, &wrapped[1..], b"acme").is_none());
    }
}
