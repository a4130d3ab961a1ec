//! Envelope encryption with a data key for each integration, and the key services that wrap data keys.
//!
//! A [`DataKey`] seals values, each bound to its [`Place`]. It lies in the database wrapped by the *primary* of a
//! [`Keyring`], beside the primary's name ([`Wrapped`]), and bound to a context of the caller's (whose it is) and its own
//! id: moved to another row it does not unwrap. The other keys of the ring only unwrap, until [`Keyring::rewrap`] has
//! brought every data key under the primary and they can go. [`DataKeys`] keeps unwrapped ones at hand.
//!
//! A ring is written as entries, the primary first ([`Keyring::from_spec`]):
//!
//! | entry | key |
//! | --- | --- |
//! | 32 bytes in base64, or 64 hexadecimal digits | in this process |
//! | `file:PATH` | the entries of that file, one on a line |
//! | `kms:ID` | in AWS KMS |
//! | `transit:MOUNT/NAME` | in Vault or OpenBao |
//!
//! Nothing is ever stored unsealed for want of a key: without one there is an error.

mod cache;
mod data_key;
pub mod file;
#[cfg(feature = "aws")]
mod kms;
mod local;
mod service;
mod spec;
mod transit;

use std::sync::Arc;

pub use cache::{CacheRules, DataKeys};
pub use data_key::{DataKey, DataKeyBytes, Place, sealed_with};
#[cfg(feature = "aws")]
pub use kms::KmsService;
pub use local::LocalKey;
pub use service::{KeyService, KeyServiceError, KeyringError};
pub use transit::TransitService;

use crate::error::ConfigError;

/// A data key as it lies in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrapped {
    /// The name of the key that wrapped it ([`KeyService::name`]).
    pub service: String,
    /// What that key made of it.
    pub bytes: Vec<u8>,
}

/// Key services in order: the first, the primary, wraps new data keys; the others only unwrap.
#[derive(Debug, Clone)]
pub struct Keyring {
    /// Not empty, and no two of one name.
    services: Vec<Arc<dyn KeyService>>,
}

impl Keyring {
    /// A ring of these services, the primary first. Of those with one name the first is taken.
    ///
    /// # Errors
    /// There is none.
    pub fn new(services: impl IntoIterator<Item = Arc<dyn KeyService>>) -> Result<Self, ConfigError> {
        let mut ring: Vec<Arc<dyn KeyService>> = Vec::new();
        for service in services {
            if !ring.iter().any(|held| held.name() == service.name()) {
                ring.push(service);
            }
        }
        if ring.is_empty() {
            return Err(ConfigError::new("the keyring holds no key", spec::FORMS));
        }
        Ok(Self { services: ring })
    }

    /// What wraps new data keys.
    pub fn primary(&self) -> &Arc<dyn KeyService> {
        &self.services[0]
    }

    /// The service of this name, wherever in the ring it is.
    pub fn by_name(&self, name: &str) -> Option<&Arc<dyn KeyService>> {
        self.services.iter().find(|service| service.name() == name)
    }

    /// The names, the primary's first.
    pub fn names(&self) -> Vec<&str> {
        self.services.iter().map(|service| service.name()).collect()
    }

    /// A fresh data key, and what to store of it. `context`: whose it is, such as tenant and integration; the same is
    /// needed to unwrap it.
    ///
    /// # Errors
    /// [`KeyringError`]: the primary is out of reach or refuses.
    pub async fn wrap_new(&self, id: [u8; 16], context: &str) -> Result<(DataKey, Wrapped), KeyringError> {
        let key = DataKey::generate(id).ok_or(KeyringError::NoRandomness)?;
        let wrapped = self.wrap(key.bytes(), id, context).await?;
        Ok((key, wrapped))
    }

    /// The data key that was wrapped under this id and context by the service of that name. No other service is tried.
    ///
    /// # Errors
    /// [`KeyringError`]: the ring does not hold the service, or it is out of reach or refuses.
    pub async fn unwrap(
        &self,
        service: &str,
        bytes: &[u8],
        id: [u8; 16],
        context: &str,
    ) -> Result<DataKey, KeyringError> {
        let service = self.by_name(service).ok_or_else(|| KeyringError::Missing {
            service: service.to_owned(),
            held: self.names().into_iter().map(str::to_owned).collect(),
        })?;
        let key = service.unwrap(bytes, &bound(id, context)).await?;
        DataKey::new(id, key).ok_or_else(|| {
            let (service, reason) = (service.name().to_owned(), "what it unwrapped is no key".to_owned());
            let hint = service::MOVED_HINT.to_owned();
            KeyServiceError { service, task: KeyServiceError::UNWRAP, reason, passing: false, hint }.into()
        })
    }

    /// The same data key wrapped by the primary; `None` if it is so already. What it sealed opens as before.
    ///
    /// # Errors
    /// As [`Keyring::unwrap`] and [`Keyring::wrap_new`]; what was stored stays good.
    pub async fn rewrap(
        &self,
        wrapped: &Wrapped,
        id: [u8; 16],
        context: &str,
    ) -> Result<Option<Wrapped>, KeyringError> {
        if wrapped.service == self.primary().name() {
            return Ok(None);
        }
        let key = self.unwrap(&wrapped.service, &wrapped.bytes, id, context).await?;
        self.wrap(key.bytes(), id, context).await.map(Some)
    }

    async fn wrap(&self, key: &DataKeyBytes, id: [u8; 16], context: &str) -> Result<Wrapped, KeyringError> {
        let primary = self.primary();
        let bytes = primary.wrap(key, &bound(id, context)).await?;
        Ok(Wrapped { service: primary.name().to_owned(), bytes })
    }
}

/// The context that a service binds a data key to: the caller's, a colon, and the id in 32 hexadecimal digits. Two data
/// keys of one owner cannot be taken for each other either.
fn bound(id: [u8; 16], context: &str) -> String {
    format!("{context}:{:032x}", u128::from_be_bytes(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place<'static> = Place { tenant: "acme", table: "integrations", row: "1", column: "secret" };

    fn ring(keys: &[u8]) -> Keyring {
        Keyring::new(keys.iter().map(|byte| Arc::new(LocalKey::new(&[*byte; 32]).unwrap()) as Arc<dyn KeyService>))
            .unwrap()
    }

    #[tokio::test]
    async fn a_data_key_comes_under_the_primary_and_stays_itself() {
        let (old, both, new) = (ring(&[1]), ring(&[2, 1, 2, 1]), ring(&[2]));
        assert_eq!(both.names(), [new.names()[0], old.names()[0]], "each is in it once");
        let (key, wrapped) = old.wrap_new([5; 16], "acme").await.unwrap();
        let sealed = key.seal(b"secret", &PLACE).unwrap();
        assert_eq!(wrapped.service, old.primary().name());
        // The ring that has both, in another place, unwraps it; the one that lacks it says which key it lacks.
        let same = both.unwrap(&wrapped.service, &wrapped.bytes, [5; 16], "acme").await.unwrap();
        assert_eq!(&**same.open(&sealed, &PLACE).unwrap(), b"secret");
        let error = new.unwrap(&wrapped.service, &wrapped.bytes, [5; 16], "acme").await.unwrap_err();
        assert!(!error.passing() && error.hint().contains(&wrapped.service), "{error}");
        for name in [old.primary().name(), new.primary().name()] {
            assert!(error.to_string().contains(name), "{error}");
        }
        assert!(new.rewrap(&wrapped, [5; 16], "acme").await.is_err());

        let moved = both.rewrap(&wrapped, [5; 16], "acme").await.unwrap().unwrap();
        assert_eq!(moved.service, new.primary().name());
        assert_eq!(both.rewrap(&moved, [5; 16], "acme").await.unwrap(), None);
        let after = new.unwrap(&moved.service, &moved.bytes, [5; 16], "acme").await.unwrap();
        assert_eq!(&**after.open(&sealed, &PLACE).unwrap(), b"secret");
    }

    #[tokio::test]
    async fn a_wrapped_key_belongs_to_its_owner_and_its_id() {
        let ring = ring(&[1, 2]);
        let (_, wrapped) = ring.wrap_new([5; 16], "acme").await.unwrap();
        assert!(ring.unwrap(&wrapped.service, &wrapped.bytes, [5; 16], "acme").await.is_ok());
        for (id, context) in [([6; 16], "acme"), ([5; 16], "other"), ([5; 16], "")] {
            let error = ring.unwrap(&wrapped.service, &wrapped.bytes, id, context).await.unwrap_err();
            assert!(!error.passing() && error.to_string().contains("another integration"), "{error}");
        }
        // Under the name of a key that did not wrap it: no other one is tried.
        let other = ring.names()[1];
        assert!(ring.unwrap(other, &wrapped.bytes, [5; 16], "acme").await.is_err());
        assert!(Keyring::new([]).is_err());
    }

    #[tokio::test]
    async fn s37_no_key_is_in_what_can_be_printed() {
        let text = "5a".repeat(32);
        let ring = Keyring::from_spec(&format!("{text}, transit:transit/x"), |name| match name {
            "VAULT_ADDR" => Some("https://vault.example.org:8200".to_owned()),
            "VAULT_TOKEN" => Some("planted-vault-token".to_owned()),
            _ => None,
        })
        .unwrap();
        let (key, wrapped) = ring.wrap_new([5; 16], "acme").await.unwrap();
        let bytes = DataKeyBytes::new(key.bytes().expose()).unwrap();
        assert_eq!(format!("{key:?} {bytes:?}"), "[data key] [data key]");
        let refused = ring.unwrap(&wrapped.service, &wrapped.bytes, [6; 16], "acme").await.unwrap_err();
        let missing = ring.unwrap("kms:x", &wrapped.bytes, [5; 16], "acme").await.unwrap_err();
        let bad = Keyring::from_spec(&format!("{text}5a,kms"), |_| None).unwrap_err();
        let all = format!(
            "{ring:?} {ring:#?} {key:?} {key:#?} {wrapped:?} {refused} {refused:?} {} {missing} {missing:?} {} {bad} \
             {bad:?} {:?}",
            refused.hint(),
            missing.hint(),
            key.master_key(),
        );
        let hex: String = bytes.expose().iter().map(|byte| format!("{byte:02x}")).collect();
        let list = format!("{:?}", bytes.expose());
        for secret in [&text[..16], "planted-vault-token", &hex[..16], &list[1..20], "[90, 90, 90"] {
            assert!(!all.contains(secret), "`{secret}` is in {all}");
        }
    }
}
