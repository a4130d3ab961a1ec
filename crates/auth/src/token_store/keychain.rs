//! The file store with its master key in the keychain of the operating system (Keychain on macOS, Credential Manager
//! on Windows, the Secret Service of GNOME or KDE on Linux).
//!
//! The tokens themselves stay in the sealed file: no keychain has a compare-and-swap or a lease, some ask the person
//! at every write, and Windows takes 2,560 bytes at most. What protects the tokens is the key.

use keyring::v1::{Entry, Error};

use crate::sealing::{MasterKey, new_key_text};
use crate::token_store::TokenStoreError;

/// Under this service the key is shown to the person.
const SERVICE: &str = "tieline";

/// The master key of this name (`default`, as a rule); made at first use.
///
/// # Errors
/// There is no keychain (a server or a container, most often), or it is locked.
pub fn master_key(name: &str) -> Result<MasterKey, TokenStoreError> {
    let failed = |reason: String| TokenStoreError { store: "keychain".to_owned(), reason };
    let said = |error: Error| failed(error.to_string());
    let entry = Entry::new(SERVICE, &format!("master key {name}")).map_err(said)?;
    let text = match entry.get_password() {
        Ok(text) => zeroize::Zeroizing::new(text),
        Err(Error::NoEntry) => {
            let text = new_key_text().ok_or_else(|| failed("the system gives no randomness".to_owned()))?;
            entry.set_password(&text).map_err(said)?;
            // Two that start at once: the one that is there now counts for both.
            zeroize::Zeroizing::new(entry.get_password().map_err(said)?)
        }
        Err(error) => return Err(said(error)),
    };
    MasterKey::from_text(&text).map_err(|reason| failed(reason.to_owned()))
}
