//! Where a fleet keeps the one token of each org: load, lease, compare-and-swap.
//!
//! A store holds opaque, sealed values; what they mean is this crate's business, not the store's. Three rules make
//! a store correct, and [`conformance`] checks them:
//!
//! - **A lease belongs to one owner** until it is released or its time is up. Each grant of a lease to a *new* owner
//!   carries a higher fencing number.
//! - **Compare-and-swap** writes only if the value is the one that the writer has read *and* no later lease was
//!   granted. A process that slept through its lease (a stopped process, a frozen Lambda) cannot overwrite what its
//!   successor wrote.
//! - **What was written is durable** as far as the store can promise it, before the call returns.

pub mod conformance;
pub mod file;
#[cfg(feature = "keychain")]
pub mod keychain;
pub mod memory;
#[cfg(feature = "redis")]
pub mod redis;

use std::time::Duration;

use futures_util::future::BoxFuture;

/// A value with its version, which grows by one with every write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// 1 or more.
    pub version: u64,
    /// The sealed value.
    pub sealed: Vec<u8>,
}

/// The answer to a request for a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    /// It is yours, under this fencing number.
    Held {
        /// Higher than that of every lease granted before on this key.
        fence: u64,
    },
    /// Somebody else has it, for at most so long.
    Busy {
        /// Time left.
        remaining: Duration,
    },
}

/// How to take a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Take {
    /// Only if nobody else holds it; the holder itself gets more time under the same number.
    IfFree,
    /// Whoever holds it loses it: its fencing number is no longer the highest.
    ByForce,
}

/// The answer to a compare-and-swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swap {
    /// Written; the new version.
    Done(u64),
    /// Another value was there, or a later lease was granted. Nothing was written.
    Refused,
}

/// The store did not answer, or not as it should.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the token store {store} could not be used: {reason}")]
pub struct TokenStoreError {
    /// Which store, without its secrets.
    pub store: String,
    /// What it said.
    pub reason: String,
}

/// What an operation answers, in its time.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, TokenStoreError>>;

/// A place that several processes share. Keys are short texts of `[0-9a-z-]`.
pub trait TokenStore: Send + Sync + std::fmt::Debug {
    /// What it is, for messages: `file tokens.json`. No passwords.
    fn describe(&self) -> String;

    /// True if a value survives the end of this process.
    fn is_durable(&self) -> bool;

    /// The value under the key.
    fn load<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Entry>>;

    /// Takes or extends the lease on the key for `time`, counted from now by the store's clock.
    fn lease<'a>(&'a self, key: &'a str, owner: &'a str, time: Duration, take: Take) -> Answer<'a, Lease>;

    /// Writes `sealed` if the key's version is `expected` (0: nothing is there) and `fence` is the highest number
    /// granted.
    fn compare_and_swap<'a>(&'a self, key: &'a str, expected: u64, fence: u64, sealed: &'a [u8]) -> Answer<'a, Swap>;

    /// Gives the lease back, if `owner` still has it.
    fn release<'a>(&'a self, key: &'a str, owner: &'a str) -> Answer<'a, ()>;

    /// When access was taken away from all that is kept here: then nobody gets a lease, and nobody logs in without one.
    /// Asked where a lease was not granted. Most stores know of no such thing.
    fn revoked_at(&self) -> Answer<'_, Option<jiff::Timestamp>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

/// A name for who takes a lease. From the system each time: processes that come from one snapshot, or one fork, have
/// the same generator in the same state, and two that had the same name would both hold the lease.
pub(crate) fn new_owner() -> String {
    format!("{:016x}{:016x}", random_seed(), random_seed())
}

/// A number from the system's source of randomness.
pub fn random_seed() -> u64 {
    // Without one, which no supported system is, the generator's own start must do.
    getrandom::u64().unwrap_or_else(|_| fastrand::u64(..))
}

/// One key of a store that keeps its own books (memory and file): the rules in one place.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Slot {
    pub(crate) version: u64,
    /// Highest fencing number granted.
    pub(crate) fence: u64,
    pub(crate) holder: Option<Holder>,
    #[serde(with = "sealed_text")]
    pub(crate) sealed: Vec<u8>,
}

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(crate) struct Holder {
    owner: String,
    /// Milliseconds by the store's clock.
    until: u64,
}

impl Slot {
    pub(crate) fn entry(&self) -> Option<Entry> {
        (self.version > 0).then(|| Entry { version: self.version, sealed: self.sealed.clone() })
    }

    pub(crate) fn lease(&mut self, owner: &str, time: Duration, take: Take, now: u64) -> Lease {
        let time = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let until = now.saturating_add(time);
        match &mut self.holder {
            Some(holder) if holder.owner == owner => holder.until = until,
            // A lease that ends later than a fresh one would was granted by a clock that has been set back since.
            Some(holder) if take == Take::IfFree && holder.until > now && holder.until <= until => {
                return Lease::Busy { remaining: Duration::from_millis(holder.until - now) };
            }
            _ => {
                self.fence += 1;
                self.holder = Some(Holder { owner: owner.to_owned(), until });
            }
        }
        Lease::Held { fence: self.fence }
    }

    pub(crate) fn swap(&mut self, expected: u64, fence: u64, sealed: &[u8]) -> Swap {
        if self.version != expected || self.fence != fence {
            return Swap::Refused;
        }
        self.version += 1;
        self.sealed = sealed.to_vec();
        Swap::Done(self.version)
    }

    pub(crate) fn release(&mut self, owner: &str) {
        if self.holder.as_ref().is_some_and(|holder| holder.owner == owner) {
            self.holder = None;
        }
    }
}

/// Bytes as base64 in a JSON file.
mod sealed_text {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}
