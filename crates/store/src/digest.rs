//! Secrets that somebody shows us are kept as digests.

use aws_lc_rs::digest::{SHA256, digest};

/// SHA-256 of a secret with 256 bits of its own (a session's, an API key's): such a one needs no slow hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of a secret.
    pub fn of(secret: impl AsRef<[u8]>) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, secret.as_ref()).as_ref());
        Self(bytes)
    }

    /// As it was kept. `None`, if the bytes are none of a digest.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[digest]")
    }
}

impl From<Digest> for crate::sql::Value {
    fn from(digest: Digest) -> Self {
        digest.0.to_vec().into()
    }
}
