//! What wraps data keys, and how it fails.

use futures_util::future::BoxFuture;

use super::data_key::DataKeyBytes;

/// A key that wraps data keys: in this process, in AWS KMS, in Vault's or OpenBao's transit engine.
pub trait KeyService: std::fmt::Debug + Send + Sync {
    /// Its name, which is stored beside every data key that it wrapped and so never changes:
    /// `local:` and 16 hexadecimal digits of the key's digest, `kms:ID`, `transit:MOUNT/NAME`.
    fn name(&self) -> &str;

    /// Wraps a data key. It unwraps with the same context alone.
    ///
    /// # Errors
    /// [`KeyServiceError`].
    fn wrap<'a>(&'a self, key: &'a DataKeyBytes, context: &'a str) -> BoxFuture<'a, Result<Vec<u8>, KeyServiceError>>;

    /// Unwraps a data key.
    ///
    /// # Errors
    /// [`KeyServiceError`]: not passing for another context, another key or damage.
    fn unwrap<'a>(
        &'a self,
        wrapped: &'a [u8],
        context: &'a str,
    ) -> BoxFuture<'a, Result<DataKeyBytes, KeyServiceError>>;
}

/// Why a wrapped data key does not unwrap where all else is well.
pub(super) const MOVED: &str = "the wrapped data key was damaged, or belongs to another integration";
/// And what helps.
pub(super) const MOVED_HINT: &str =
    "put the data key's row back as it was (from a backup); a data key serves its own integration alone";

/// A key service did not wrap or unwrap a data key.
#[derive(Debug, Clone, thiserror::Error)]
#[error("could not {task} with the key {service}: {reason}")]
pub struct KeyServiceError {
    /// The name of the service ([`KeyService::name`]).
    pub service: String,
    /// What was attempted: `wrap a data key`, `unwrap a data key`.
    pub task: &'static str,
    /// What it said, without a secret in it.
    pub reason: String,
    /// The service is out of reach for now: no connection, no answer in time, too many requests, an error of its own.
    /// Otherwise it refused: another context, no right, damage.
    pub passing: bool,
    /// The next act.
    pub hint: String,
}

impl KeyServiceError {
    /// What [`KeyService::wrap`] attempts.
    pub const WRAP: &'static str = "wrap a data key";
    /// What [`KeyService::unwrap`] attempts.
    pub const UNWRAP: &'static str = "unwrap a data key";

    /// The next act.
    pub fn hint(&self) -> &str {
        &self.hint
    }
}

/// The keyring did not give a data key.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum KeyringError {
    /// The key that wrapped the data key is not in the ring. No other one is tried.
    #[error("could not unwrap a data key: it was wrapped with the key {service}, which the keyring does not hold (it holds {})", held.join(", "))]
    Missing {
        /// The name that was stored beside the data key.
        service: String,
        /// The names in the ring, the primary first.
        held: Vec<String>,
    },
    /// The key service failed.
    #[error(transparent)]
    Service(#[from] KeyServiceError),
    /// A data key needs random bytes, and there are none.
    #[error("could not make a data key: the system gives no randomness")]
    NoRandomness,
}

impl KeyringError {
    /// The service is out of reach for now; otherwise the answer stays what it is.
    pub fn passing(&self) -> bool {
        matches!(self, Self::Service(error) if error.passing)
    }

    /// The next act.
    pub fn hint(&self) -> String {
        match self {
            Self::Missing { service, .. } if service.starts_with("local:") => format!(
                "put the key {service} back into the keyring, below its first entry (from a backup of the key file); \
                 without it nothing opens that its data keys sealed"
            ),
            Self::Missing { service, .. } => format!(
                "add `{service}` to the keyring, below its first entry; without it nothing opens that its data keys \
                 sealed"
            ),
            Self::Service(error) => error.hint.clone(),
            Self::NoRandomness => "see that the system's random number generator works (getrandom)".to_owned(),
        }
    }
}
