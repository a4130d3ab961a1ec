//! The file store with its master key in the keychain of the operating system (Keychain on macOS, Credential Manager
//! on Windows, the Secret Service of GNOME or KDE on Linux).
//!
//! The tokens themselves stay in the sealed file: no keychain has a compare-and-swap or a lease, some ask the person
//! at every write, and Windows takes 2,560 bytes at most. What protects the tokens is the key.

use keyring::v1::{Entry, Error};
use zeroize::Zeroizing;

use crate::sealing::{MasterKey, new_key_text};
use crate::token_store::TokenStoreError;

/// Under this service the key is shown to the person.
const SERVICE: &str = "tieline";

fn failed(reason: impl Into<String>) -> TokenStoreError {
    TokenStoreError { store: "keychain".to_owned(), reason: reason.into() }
}

fn entry(name: &str) -> Result<Entry, TokenStoreError> {
    Entry::new(SERVICE, name).map_err(|e| failed(e.to_string()))
}

/// Under which name a private key is kept.
pub fn private_key(name: &str) -> String {
    format!("private key {name}")
}

/// What the keychain keeps under a name; `None` if nothing.
///
/// # Errors
/// There is no keychain (a server or a container, most often), or it is locked.
pub fn read(name: &str) -> Result<Option<Zeroizing<String>>, TokenStoreError> {
    match entry(name)?.get_password() {
        Ok(text) => Ok(Some(Zeroizing::new(text))),
        Err(Error::NoEntry) => Ok(None),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// Keeps a secret under a name, in place of what was there.
///
/// # Errors
/// As [`read`]; and when the secret is too long for it (Windows takes 2,560 bytes).
pub fn write(name: &str, secret: &str) -> Result<(), TokenStoreError> {
    entry(name)?.set_password(secret).map_err(|e| failed(e.to_string()))
}

/// Forgets what is kept under a name; nothing is no error.
///
/// # Errors
/// As [`read`].
pub fn remove(name: &str) -> Result<(), TokenStoreError> {
    match entry(name)?.delete_credential() {
        Ok(()) | Err(Error::NoEntry) => Ok(()),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// The master key of this name (`default`, as a rule); made at first use.
///
/// # Errors
/// As [`read`].
pub fn master_key(name: &str) -> Result<MasterKey, TokenStoreError> {
    let name = format!("master key {name}");
    let text = match read(&name)? {
        Some(text) => text,
        None => {
            write(&name, &new_key_text().ok_or_else(|| failed("the system gives no randomness"))?)?;
            // Two that start at once: the one that is there now counts for both.
            read(&name)?.ok_or_else(|| failed("it does not keep what it is given"))?
        }
    };
    MasterKey::from_text(&text).map_err(failed)
}
