//! Envelope encryption for credentials and tokens at rest, always on.
//!
//! Every row is sealed with a data key of its own (AES-256-GCM-SIV), which is sealed with the master key. The
//! associated data names table, business and row: ciphertext moved to another row or tenant does not open.
//!
//! A sealed value: version (1 byte) ‖ id of the master key (8) ‖ nonce and sealed data key (12 + 32 + 16) ‖ nonce ‖
//! sealed text ‖ tag.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

const VERSION: u8 = 1;
const KEY: usize = 32;
const NONCE: usize = 12;
const TAG: usize = 16;
const ID: usize = 8;
const WRAPPED: usize = NONCE + KEY + TAG;

/// The master key cannot be read or made.
#[derive(Debug, Clone, thiserror::Error)]
#[error("could not use the master key {}: {reason}", path.display())]
pub struct KeyError {
    /// The key's file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// The key that seals data keys. It prints nothing of itself.
#[derive(Clone)]
pub struct MasterKey {
    key: Arc<RandomizedNonceKey>,
    /// First bytes of the key's digest: tells which key sealed a value.
    id: [u8; ID],
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[master key]")
    }
}

impl MasterKey {
    /// Reads the key file (32 bytes in base64); makes one, readable by its owner alone, where there is none.
    ///
    /// # Errors
    /// [`KeyError`]: the file cannot be read or made, or holds something else.
    pub fn load_or_create(file: &Path) -> Result<Self, KeyError> {
        create_if_absent(file)?;
        Self::load(file)
    }

    /// Reads the key file.
    ///
    /// # Errors
    /// [`KeyError`]: it is not there, cannot be read, or holds something else.
    pub fn load(file: &Path) -> Result<Self, KeyError> {
        let failed = |reason: String| KeyError { path: file.to_owned(), reason };
        let mut text = Zeroizing::new(String::new());
        std::fs::File::open(file).and_then(|mut f| f.read_to_string(&mut text)).map_err(|e| failed(e.to_string()))?;
        Self::from_text(&text).map_err(|reason| failed(reason.to_owned()))
    }

    /// A key that lives as long as this process. `None` if the system gives no randomness.
    pub fn ephemeral() -> Option<Self> {
        Self::from_text(&new_key_text()?).ok()
    }

    /// Reads 32 bytes in base64, or as 64 hexadecimal digits (what Secrets Manager can make by itself).
    ///
    /// # Errors
    /// What is wrong with the text, without the text.
    pub fn from_text(text: &str) -> Result<Self, &'static str> {
        Self::from_bytes(&*key_of_text(text)?)
    }

    /// A key whose bytes are at hand: derived from another one, or read before.
    pub(crate) fn from_bytes(bytes: &[u8; KEY]) -> Result<Self, &'static str> {
        let key = RandomizedNonceKey::new(&AES_256_GCM_SIV, bytes).map_err(|_| "the key was not accepted")?;
        Ok(Self { key: Arc::new(key), id: id_of(bytes) })
    }

    /// Seals `text` for one place, such as table, business and row; `None` if the system gives no randomness.
    pub fn seal(&self, text: &[u8], place: &str) -> Option<Vec<u8>> {
        let mut data_key = Zeroizing::new([0u8; KEY]);
        aws_lc_rs::rand::fill(&mut *data_key).ok()?;
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.id);
        out.extend(seal_with(&self.key, &*data_key, format!("{place}:key").as_bytes())?);
        let data_key = RandomizedNonceKey::new(&AES_256_GCM_SIV, &*data_key).ok()?;
        out.extend(seal_with(&data_key, text, place.as_bytes())?);
        Some(out)
    }

    /// Opens what was sealed for this place.
    ///
    /// # Errors
    /// The reason: another key, another place, or damage.
    pub fn open(&self, sealed: &[u8], place: &str) -> Result<Zeroizing<Vec<u8>>, &'static str> {
        let (head, rest) = sealed.split_at_checked(1 + ID).ok_or("it is too short")?;
        if head[0] != VERSION {
            return Err("it was sealed by another version");
        }
        if head[1..] != self.id {
            return Err("it was sealed with another master key");
        }
        let (wrapped, text) = rest.split_at_checked(WRAPPED).ok_or("it is too short")?;
        const MOVED: &str = "it was damaged, or sealed for another row";
        let data_key = open_with(&self.key, wrapped, format!("{place}:key").as_bytes()).ok_or(MOVED)?;
        let data_key = RandomizedNonceKey::new(&AES_256_GCM_SIV, &data_key).map_err(|_| MOVED)?;
        open_with(&data_key, text, place.as_bytes()).ok_or(MOVED)
    }
}

/// First bytes of a key's digest, which tell it from others and tell nothing of it.
pub(crate) fn id_of(bytes: &[u8; KEY]) -> [u8; ID] {
    let mut id = [0; ID];
    id.copy_from_slice(&digest::digest(&digest::SHA256, bytes).as_ref()[..ID]);
    id
}

/// 32 bytes in base64, or as 64 hexadecimal digits.
pub(crate) fn key_of_text(text: &str) -> Result<Zeroizing<[u8; KEY]>, &'static str> {
    let text = text.trim();
    let bytes = match from_hex(text) {
        Some(bytes) => bytes,
        None => Zeroizing::new(STANDARD.decode(text).map_err(|_| "it is not base64")?),
    };
    let mut key = Zeroizing::new([0; KEY]);
    if bytes.len() != KEY {
        return Err("it is not 32 bytes in base64");
    }
    key.copy_from_slice(&bytes);
    Ok(key)
}

/// Writes a fresh key into a file of its owner's alone, unless the file is there.
pub(crate) fn create_if_absent(file: &Path) -> Result<(), KeyError> {
    let failed = |reason: String| KeyError { path: file.to_owned(), reason };
    let written = |e: std::io::Error| failed(e.to_string());
    if file.exists() {
        return Ok(());
    }
    let text = new_key_text().ok_or_else(|| failed("the system gives no randomness".to_owned()))?;
    // Whole or not at all: a process that dies here must not leave half a key, nor two that start at once a key each.
    // The temporary file has mode 0600 from its first moment.
    let mut whole = tempfile::NamedTempFile::new_in(folder_of(file)).map_err(written)?;
    whole.write_all(text.as_bytes()).and_then(|()| whole.as_file().sync_all()).map_err(written)?;
    match whole.persist_noclobber(file) {
        Ok(_) => Ok(()),
        Err(lost) if lost.error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(written(error.error)),
    }
}

/// The folder that a file is in.
pub(crate) fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// As many hexadecimal digits as a key has; in base64 they would be another number of bytes.
fn from_hex(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    if text.len() != 2 * KEY || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = Zeroizing::new(vec![0; KEY]);
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().as_chunks::<2>().0) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// 32 random bytes in base64.
pub(crate) fn new_key_text() -> Option<Zeroizing<String>> {
    let mut bytes = Zeroizing::new([0u8; KEY]);
    aws_lc_rs::rand::fill(&mut *bytes).ok()?;
    Some(Zeroizing::new(STANDARD.encode(*bytes)))
}

/// Nonce ‖ sealed text ‖ tag. `place`: the associated data.
pub(crate) fn seal_with(key: &RandomizedNonceKey, text: &[u8], place: &[u8]) -> Option<Vec<u8>> {
    let mut buffer = text.to_vec();
    let nonce = key.seal_in_place_append_tag(Aad::from(place), &mut buffer).ok()?;
    let mut out = nonce.as_ref().to_vec();
    out.append(&mut buffer);
    Some(out)
}

/// What [`seal_with`] has sealed for the same place.
pub(crate) fn open_with(key: &RandomizedNonceKey, sealed: &[u8], place: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, text) = sealed.split_at_checked(NONCE)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut buffer = Zeroizing::new(text.to_vec());
    let length = key.open_in_place(nonce, Aad::from(place), &mut buffer).ok()?.len();
    buffer.truncate(length);
    Some(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_text_opens_only_in_its_place_and_with_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        let key = MasterKey::load_or_create(&file).unwrap();
        let sealed = key.seal(b"refresh token", "integrations:a:1").unwrap();
        let again = MasterKey::load_or_create(&file).unwrap();
        assert_eq!(&**again.open(&sealed, "integrations:a:1").unwrap(), b"refresh token");
        assert!(again.open(&sealed, "integrations:b:1").is_err(), "another tenant");
        assert!(again.open(&sealed, "integrations:a:2").is_err(), "another row");
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(again.open(&damaged, "integrations:a:1").is_err(), "byte {at}");
        }
        let other = MasterKey::load_or_create(&folder.path().join("other")).unwrap();
        assert_eq!(other.open(&sealed, "integrations:a:1").unwrap_err(), "it was sealed with another master key");
        assert!(!sealed.windows(7).any(|w| w == b"refresh"));
    }

    #[test]
    fn a_key_is_read_in_either_of_two_forms() {
        let sealed = MasterKey::from_text(&STANDARD.encode([0xabu8; KEY])).unwrap().seal(b"x", "a").unwrap();
        for text in ["ab".repeat(KEY), "AB".repeat(KEY) + "\n"] {
            assert_eq!(&**MasterKey::from_text(&text).unwrap().open(&sealed, "a").unwrap(), b"x");
        }
        for bad in ["ab".repeat(KEY - 1), "ab".repeat(KEY + 1), "g".repeat(2 * KEY)] {
            assert!(MasterKey::from_text(&bad).is_err(), "{bad}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn the_key_file_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        MasterKey::load_or_create(&file).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&file, "short").unwrap();
        assert!(MasterKey::load_or_create(&file).is_err());
    }
}
