//! A data key, and what it seals.
//!
//! A sealed value: version (1 byte, 2) ‖ id of the data key (16) ‖ nonce (12) ‖ sealed text ‖ tag (16). Version 1 is
//! [`sealing`](crate::sealing)'s, where the data key lies beside the text.

use aws_lc_rs::aead::{AES_256_GCM_SIV, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use zeroize::Zeroizing;

use crate::sealing::{MasterKey, open_with, seal_with};

const VERSION: u8 = 2;
/// Bytes of a key.
pub(super) const KEY: usize = 32;
const ID: usize = 16;
const NONCE: usize = 12;
const TAG: usize = 16;
/// What the key of the token entries is derived for.
const TOKENS: &[u8] = b"tieline token entries 1";

/// The 32 bytes of a data key, for the key service that wraps them. They print as `[data key]`.
pub struct DataKeyBytes(Zeroizing<[u8; KEY]>);

impl DataKeyBytes {
    /// Takes 32 bytes in; `None` for any other number.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut own = Zeroizing::new([0; KEY]);
        if bytes.len() != KEY {
            return None;
        }
        own.copy_from_slice(bytes);
        Some(Self(own))
    }

    /// The bytes themselves, for the one place that wraps them.
    pub fn expose(&self) -> &[u8; KEY] {
        &self.0
    }
}

impl std::fmt::Debug for DataKeyBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[data key]")
    }
}

/// The key that seals the values of one integration. It prints as `[data key]`.
pub struct DataKey {
    id: [u8; ID],
    bytes: DataKeyBytes,
    key: RandomizedNonceKey,
    tokens: MasterKey,
}

impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[data key]")
    }
}

/// Where a sealed value lies. It opens nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// Whose it is.
    pub tenant: &'a str,
    /// The table.
    pub table: &'a str,
    /// The row's key.
    pub row: &'a str,
    /// The column.
    pub column: &'a str,
}

impl Place<'_> {
    /// The associated data: the version, and each part behind its length (8 bytes, big-endian), so that no two places
    /// are written alike.
    fn encoded(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        for part in [self.tenant, self.table, self.row, self.column] {
            out.extend_from_slice(&(part.len() as u64).to_be_bytes());
            out.extend_from_slice(part.as_bytes());
        }
        out
    }
}

impl DataKey {
    /// A fresh key under an id of the caller's (a UUID's bytes). `None` if the system gives no randomness.
    pub fn generate(id: [u8; ID]) -> Option<Self> {
        let mut bytes = Zeroizing::new([0; KEY]);
        aws_lc_rs::rand::fill(&mut *bytes).ok()?;
        Self::new(id, DataKeyBytes(bytes))
    }

    /// `None` if the cryptography refuses the bytes, which it does for no 32 bytes.
    pub(super) fn new(id: [u8; ID], bytes: DataKeyBytes) -> Option<Self> {
        let key = RandomizedNonceKey::new(&AES_256_GCM_SIV, bytes.expose()).ok()?;
        let tokens = MasterKey::from_bytes(&*derived(bytes.expose(), TOKENS)?).ok()?;
        Some(Self { id, bytes, key, tokens })
    }

    /// The id under which it was made.
    pub fn id(&self) -> [u8; ID] {
        self.id
    }

    pub(super) fn bytes(&self) -> &DataKeyBytes {
        &self.bytes
    }

    /// Seals `text` for one place; `None` if the system gives no randomness.
    ///
    /// ```
    /// use tieline_auth::keyring::{DataKey, Place, sealed_with};
    /// let key = DataKey::generate([7; 16]).unwrap();
    /// let place = Place { tenant: "acme", table: "integrations", row: "1", column: "refresh_token" };
    /// let sealed = key.seal(b"5Aep861", &place).unwrap();
    /// assert_eq!(sealed_with(&sealed), Some([7; 16]));
    /// assert_eq!(&**key.open(&sealed, &place).unwrap(), b"5Aep861");
    /// assert!(key.open(&sealed, &Place { tenant: "other", ..place }).is_err());
    /// ```
    pub fn seal(&self, text: &[u8], place: &Place<'_>) -> Option<Vec<u8>> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.id);
        out.extend(seal_with(&self.key, text, &place.encoded())?);
        Some(out)
    }

    /// Opens what was sealed for this place.
    ///
    /// # Errors
    /// The reason: another data key, another place, or damage.
    pub fn open(&self, sealed: &[u8], place: &Place<'_>) -> Result<Zeroizing<Vec<u8>>, &'static str> {
        let (version, rest) = sealed.split_first().ok_or("it is too short")?;
        if *version != VERSION {
            return Err("it was sealed by another version");
        }
        let (id, text) = rest.split_at_checked(ID).ok_or("it is too short")?;
        if id != self.id {
            return Err("it was sealed with another data key");
        }
        open_with(&self.key, text, &place.encoded()).ok_or("it was damaged, or sealed for another place")
    }

    /// The key of the integration's entries in a token store ([`SharedStore`](crate::SharedStore)): derived from this
    /// one by HKDF-SHA256, so it is the same wherever the data key is.
    pub fn master_key(&self) -> MasterKey {
        self.tokens.clone()
    }
}

/// Which data key sealed a value; `None` where it is no value of a data key's.
pub fn sealed_with(sealed: &[u8]) -> Option<[u8; ID]> {
    let (version, rest) = sealed.split_first()?;
    let (id, text) = rest.split_first_chunk::<ID>()?;
    (*version == VERSION && text.len() >= NONCE + TAG).then_some(*id)
}

/// Another key out of a key: HKDF-SHA256 without salt (the key is uniform already). `purpose` tells one from another.
pub(super) fn derived(key: &[u8; KEY], purpose: &[u8]) -> Option<Zeroizing<[u8; KEY]>> {
    let mut out = Zeroizing::new([0; KEY]);
    let extracted = Salt::new(HKDF_SHA256, &[]).extract(key);
    extracted.expand(&[purpose], HKDF_SHA256).ok()?.fill(&mut *out).ok()?;
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLACE: Place<'static> = Place { tenant: "acme", table: "integrations", row: "1", column: "secret" };

    #[test]
    fn a_sealed_value_is_of_the_written_format_and_no_byte_of_it_can_be_changed() {
        let key = DataKey::generate(*b"sixteen bytes id").unwrap();
        let sealed = key.seal(b"refresh token", &PLACE).unwrap();
        assert_eq!((sealed[0], &sealed[1..17]), (2, &b"sixteen bytes id"[..]));
        assert_eq!(sealed.len(), 1 + ID + NONCE + b"refresh token".len() + TAG);
        assert!(!sealed.windows(7).any(|part| part == b"refresh"));
        assert_ne!(sealed, key.seal(b"refresh token", &PLACE).unwrap(), "each has a nonce of its own");
        assert_eq!(&**key.open(&sealed, &PLACE).unwrap(), b"refresh token");
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(key.open(&damaged, &PLACE).is_err(), "byte {at}");
            assert!(key.open(&sealed[..at], &PLACE).is_err(), "cut at {at}");
        }
        let other = DataKey::generate([0; ID]).unwrap();
        assert_eq!(other.open(&sealed, &PLACE).unwrap_err(), "it was sealed with another data key");
        let same_id = DataKey::generate(*b"sixteen bytes id").unwrap();
        assert!(same_id.open(&sealed, &PLACE).is_err(), "an id is no key");
        let empty = key.seal(b"", &PLACE).unwrap();
        assert!(key.open(&empty, &PLACE).unwrap().is_empty());
        assert_eq!(sealed_with(&empty), Some(*b"sixteen bytes id"));
        assert_eq!(sealed_with(&empty[..empty.len() - 1]), None);
        let older = MasterKey::ephemeral().unwrap().seal(b"x", "a").unwrap();
        assert_eq!(sealed_with(&older), None, "a value of version 1 has no data key of ours");
    }

    #[test]
    fn the_key_of_the_token_entries_follows_from_the_data_key() {
        let key = DataKey::generate([1; ID]).unwrap();
        let again = DataKey::new([2; ID], DataKeyBytes::new(key.bytes().expose()).unwrap()).unwrap();
        let sealed = key.master_key().seal(b"token", "entry").unwrap();
        assert_eq!(&**again.master_key().open(&sealed, "entry").unwrap(), b"token");
        let itself = MasterKey::from_bytes(key.bytes().expose()).unwrap();
        assert!(itself.open(&sealed, "entry").is_err(), "it is not the data key itself");
        let other = DataKey::generate([1; ID]).unwrap();
        assert!(other.master_key().open(&sealed, "entry").is_err());
    }

    /// RFC 5869 has no case without salt and with this input; made with Python's `hmac`: `extract` with 32 zero bytes.
    #[test]
    fn the_derivation_is_hkdf_sha256() {
        let hex: String = derived(&[0x0b; KEY], TOKENS).unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "17c721d7e2832e579d53750da5977dc549b5c5470a686ca8f63dd6ba06cd7a46");
    }

    fn parts() -> impl Strategy<Value = [String; 4]> {
        // Few letters and short parts: places that differ only in where a part ends are frequent.
        let part = || "[a:\\x00/]{0,3}";
        (part(), part(), part(), part()).prop_map(|(a, b, c, d)| [a, b, c, d])
    }

    fn place(parts: &[String; 4]) -> Place<'_> {
        Place { tenant: &parts[0], table: &parts[1], row: &parts[2], column: &parts[3] }
    }

    proptest! {
        #[test]
        fn a_value_opens_in_its_own_place_alone(one in parts(), other in parts(), text: Vec<u8>) {
            let key = DataKey::generate([3; ID]).unwrap();
            let sealed = key.seal(&text, &place(&one)).unwrap();
            prop_assert_eq!(&**key.open(&sealed, &place(&one)).unwrap(), &text);
            prop_assert_eq!(key.open(&sealed, &place(&other)).is_ok(), one == other);
        }

        /// The same letters, split elsewhere: what a plain joining of the parts would take for one place.
        #[test]
        fn a_place_is_told_from_another_split_of_the_same_text(text in "[a:]{1,8}", cuts: [prop::sample::Index; 6]) {
            let split = |cuts: &[prop::sample::Index]| {
                let mut at: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
                at.sort_unstable();
                [&text[..at[0]], &text[at[0]..at[1]], &text[at[1]..at[2]], &text[at[2]..]].map(str::to_owned)
            };
            let (one, other) = (split(&cuts[..3]), split(&cuts[3..]));
            let key = DataKey::generate([3; ID]).unwrap();
            let sealed = key.seal(b"x", &place(&one)).unwrap();
            prop_assert_eq!(key.open(&sealed, &place(&other)).is_ok(), one == other);
        }

        #[test]
        fn nothing_that_lies_there_brings_a_reader_down(bytes: Vec<u8>) {
            let key = DataKey::generate([3; ID]).unwrap();
            prop_assert!(key.open(&bytes, &PLACE).is_err());
            let _ = sealed_with(&bytes);
        }
    }
}
