//! The orgs that somebody has logged in to: names in the clear, credentials sealed, in one file of this user's.
//!
//! `~/.local/state/tieline/orgs.json` (mode 0600). The key that seals it lies beside it (`tokens.json.key`, mode 0600) or
//! in the keychain of the operating system; the tokens themselves are in `tokens.json`, sealed with the same key.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use tieline_auth::sealing::MasterKey;
use tieline_auth::token_store::file::FileStore;
use tieline_auth::token_store::keychain;
use tieline_auth::{ConfigError, OrgConfig, SharedStore};

use crate::failure::Failure;
use crate::settings::state_folder;

const FORMAT: u32 = 1;

/// Where the key is that seals the credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum KeyPlace {
    /// In the keychain of the operating system.
    Keychain,
    /// In a file that only this user can read.
    File,
}

#[derive(Serialize, Deserialize)]
struct Book {
    format: u32,
    key: KeyPlace,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    default: Option<String>,
    orgs: BTreeMap<String, Entry>,
}

/// An org as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) username: String,
    pub(crate) user_id: String,
    pub(crate) org_id: String,
    pub(crate) instance_url: String,
    /// OAuth name of the grant.
    pub(crate) grant: String,
    pub(crate) saved_at: String,
    sealed: String,
}

/// The names under which a login is written in an environment, and its values.
pub(crate) type Variables = BTreeMap<String, String>;

/// The file of all orgs.
pub(crate) struct Orgs {
    folder: PathBuf,
    book: Option<Book>,
}

impl Orgs {
    /// Reads the file; nothing is made yet.
    pub(crate) fn open() -> Result<Self, Failure> {
        let folder = state_folder().ok_or_else(|| {
            Failure::usage(
                "there is no folder to keep logins in",
                "set HOME, or XDG_STATE_HOME to a folder of your own",
            )
        })?;
        let mut orgs = Self { folder, book: None };
        orgs.read()?;
        Ok(orgs)
    }

    fn path(&self) -> PathBuf {
        self.folder.join("orgs.json")
    }

    fn read(&mut self) -> Result<(), Failure> {
        let path = self.path();
        let damaged = |reason: String| {
            Failure::new(
                format!("the saved logins in {} cannot be read: {reason}", path.display()),
                "move the file away and log in again: tieline login",
            )
        };
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                self.book = None;
                return Ok(());
            }
            Err(error) => return Err(damaged(error.to_string())),
        };
        let book: Book = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
        if book.format != FORMAT {
            return Err(damaged(format!("it has format {}, this program knows {FORMAT}", book.format)));
        }
        self.book = Some(book);
        Ok(())
    }

    /// Changes the file under a lock: two commands at once lose nothing of each other's.
    fn change<T>(&mut self, key: KeyPlace, change: impl FnOnce(&mut Book) -> Result<T, Failure>) -> Result<T, Failure> {
        let path = self.path();
        let failed = |e: std::io::Error| {
            Failure::new(
                format!("could not write {}: {e}", path.display()),
                "see that the folder is yours and has room",
            )
        };
        std::fs::create_dir_all(&self.folder).map_err(failed)?;
        let lock = File::options().create(true).truncate(false).write(true).open(self.folder.join("orgs.json.lock"));
        let lock = lock.map_err(failed)?;
        lock.lock().map_err(failed)?;
        self.read()?;
        let mut book = self.book.take().unwrap_or(Book { format: FORMAT, key, default: None, orgs: BTreeMap::new() });
        let outcome = change(&mut book)?;
        if book.orgs.is_empty() {
            // With the last login goes the choice of where the key is.
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
                _ => self.book = None,
            }
            return Ok(outcome);
        }
        let text = serde_json::to_vec_pretty(&book).map_err(anyhow::Error::from)?;
        write_whole(&path, &text).map_err(failed)?;
        self.book = Some(book);
        Ok(outcome)
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (&String, &Entry)> {
        self.book.iter().flat_map(|book| &book.orgs)
    }

    pub(crate) fn default_alias(&self) -> Option<&str> {
        self.book.as_ref()?.default.as_deref()
    }

    pub(crate) fn key_place(&self) -> Option<KeyPlace> {
        self.book.as_ref().map(|book| book.key)
    }

    /// The alias as it is kept: an alias itself, or a user name that only one org has.
    pub(crate) fn find(&self, wanted: &str) -> Result<(String, Entry), Failure> {
        if let Some((alias, entry)) = self.entries().find(|(alias, _)| *alias == wanted) {
            return Ok((alias.clone(), entry.clone()));
        }
        let found: Vec<_> = self.entries().filter(|(_, entry)| entry.username == wanted).collect();
        match found.as_slice() {
            [(alias, entry)] => Ok(((*alias).clone(), (*entry).clone())),
            [] => {
                let known: Vec<&str> = self.entries().map(|(alias, _)| alias.as_str()).collect();
                let hint = match known.is_empty() {
                    true => "log in first: tieline login --alias NAME".to_owned(),
                    false => format!("the saved orgs are {}; `tieline login` adds one", known.join(", ")),
                };
                Err(Failure::usage(format!("no saved org is called `{wanted}`"), hint))
            }
            several => {
                let aliases: Vec<&str> = several.iter().map(|(alias, _)| alias.as_str()).collect();
                Err(Failure::usage(
                    format!("`{wanted}` is logged in to several orgs"),
                    format!("choose one by its alias: {}", aliases.join(", ")),
                ))
            }
        }
    }

    /// Where the key will be: as chosen; as it is already; in the keychain where there is one; else in a file.
    pub(crate) fn choose_key(&self, wanted: Option<KeyPlace>) -> Result<KeyPlace, Failure> {
        match (self.key_place(), wanted) {
            (Some(there), Some(wanted)) if there != wanted => Err(Failure::usage(
                format!("the saved logins are sealed with a key in {}", there.in_words()),
                "log out of all orgs first (tieline logout --all), then choose the other place",
            )),
            (Some(there), _) => Ok(there),
            (None, Some(wanted)) => Ok(wanted),
            // Tokens of earlier commands are sealed with it already.
            (None, None) if key_file(&self.folder).exists() => Ok(KeyPlace::File),
            (None, None) if keychain::master_key("default").is_ok() => Ok(KeyPlace::Keychain),
            (None, None) => Ok(KeyPlace::File),
        }
    }

    /// Keeps a login under an alias, in place of what was there. The first one is the default.
    pub(crate) fn save(
        &mut self,
        alias: &str,
        entry: Entry,
        variables: &Variables,
        key: KeyPlace,
        default: bool,
    ) -> Result<(), Failure> {
        std::fs::create_dir_all(&self.folder)?;
        let master = self.master_key(key)?;
        let text = serde_json::to_vec(variables).map_err(anyhow::Error::from)?;
        let sealed = master
            .seal(&text, &place(&entry))
            .ok_or_else(|| Failure::new("the system gives no randomness", "see that /dev/urandom can be read"))?;
        let entry = Entry { sealed: STANDARD.encode(sealed), ..entry };
        self.change(key, |book| {
            if book.key != key {
                return Err(Failure::transient(
                    format!("another login has meanwhile put the sealing key into {}", book.key.in_words()),
                    "log in again",
                ));
            }
            book.orgs.insert(alias.to_owned(), entry);
            if default || book.default.is_none() {
                book.default = Some(alias.to_owned());
            }
            Ok(())
        })
    }

    /// The settings of a saved login, opened.
    pub(crate) fn variables(&self, entry: &Entry) -> Result<Variables, Failure> {
        let master = self.master_key(self.key_place().unwrap_or(KeyPlace::File))?;
        let bytes = STANDARD.decode(&entry.sealed).map_err(|_| "it is not base64");
        let opened = bytes.and_then(|bytes| master.open(&bytes, &place(entry)));
        let variables = opened.and_then(|text| serde_json::from_slice(&text).map_err(|_| "it is not what was sealed"));
        variables.map_err(|reason| {
            Failure::new(
                format!("the saved login of {} cannot be opened: {reason}", entry.username),
                "log in again: tieline login",
            )
        })
    }

    pub(crate) fn set_default(&mut self, wanted: &str) -> Result<String, Failure> {
        let (alias, _) = self.find(wanted)?;
        self.change(KeyPlace::File, |book| {
            book.default = Some(alias.clone());
            Ok(alias)
        })
    }

    pub(crate) fn rename(&mut self, from: &str, to: &str) -> Result<(), Failure> {
        let (alias, _) = self.find(from)?;
        self.change(KeyPlace::File, |book| {
            if alias != to && book.orgs.contains_key(to) {
                return Err(Failure::usage(
                    format!("another org is called `{to}` already"),
                    format!("choose another name, or log out of that org first: tieline logout --org {to}"),
                ));
            }
            if let Some(entry) = book.orgs.remove(&alias) {
                book.orgs.insert(to.to_owned(), entry);
            }
            if book.default.as_deref() == Some(&alias) {
                book.default = Some(to.to_owned());
            }
            Ok(())
        })
    }

    pub(crate) fn remove(&mut self, alias: &str) -> Result<(), Failure> {
        self.change(KeyPlace::File, |book| {
            book.orgs.remove(alias);
            if book.default.as_deref() == Some(alias) {
                book.default = None;
                // The only one left is meant by whoever names none.
                if let [only] = book.orgs.keys().collect::<Vec<_>>().as_slice() {
                    book.default = Some((*only).clone());
                }
            }
            Ok(())
        })
    }

    fn master_key(&self, place: KeyPlace) -> Result<MasterKey, Failure> {
        master_key(&self.folder, place)
    }

    /// Where the tokens of this user's commands are.
    pub(crate) fn token_store(&self, place: KeyPlace) -> Result<SharedStore, Failure> {
        std::fs::create_dir_all(&self.folder)?;
        let store = Arc::new(FileStore::new(self.folder.join("tokens.json")));
        Ok(SharedStore { store, key: self.master_key(place)? })
    }
}

impl Entry {
    pub(crate) fn new(
        user: &tieline_auth::identity::UserInfo,
        instance_url: &url::Url,
        grant: &str,
        now: jiff::Timestamp,
    ) -> Self {
        Self {
            username: user.preferred_username.clone().unwrap_or_default(),
            user_id: user.user_id.clone(),
            org_id: user.organization_id.clone(),
            instance_url: instance_url.as_str().trim_end_matches('/').to_owned(),
            grant: grant.to_owned(),
            saved_at: format!("{now:.0}"),
            sealed: String::new(),
        }
    }

    /// The configuration that its variables lead to.
    pub(crate) fn config(&self, alias: &str, variables: &Variables) -> Result<OrgConfig, ConfigError> {
        // What is set now goes first: a key service's token ends sooner than a login, and the policy is this command's.
        let outside = |name: &str| {
            let fresh = name.starts_with("VAULT_") || name.starts_with("BAO_") || name == "TIELINE_TOKEN_REUSE";
            fresh.then(|| std::env::var(name).ok().filter(|value| !value.is_empty()))
        };
        let get = |name: &str| outside(name).flatten().or_else(|| variables.get(name).cloned());
        let mut config = OrgConfig::from_variables(get)?;
        config.alias = alias.to_owned();
        Ok(config)
    }
}

impl KeyPlace {
    pub(crate) fn in_words(self) -> &'static str {
        match self {
            KeyPlace::Keychain => "the keychain",
            KeyPlace::File => "a file",
        }
    }
}

/// Sealed for this user of this org: moved to another entry it does not open.
fn place(entry: &Entry) -> String {
    format!("orgs:{}:{}", entry.org_id, entry.user_id)
}

fn key_file(folder: &Path) -> PathBuf {
    folder.join("tokens.json.key")
}

fn master_key(folder: &Path, place: KeyPlace) -> Result<MasterKey, Failure> {
    match place {
        KeyPlace::File => MasterKey::load_or_create(&key_file(folder)).map_err(|e| {
            Failure::new(
                e.to_string(),
                "the key that sealed the saved logins must be there: put it back, or log in again",
            )
        }),
        KeyPlace::Keychain => keychain::master_key("default").map_err(|e| {
            Failure::new(
                e.to_string(),
                "unlock the keychain, or keep the key in a file: tieline login --credentials file",
            )
        }),
    }
}

/// Writes a file of mode 0600 as a whole, in place of what was there.
pub(crate) fn write_whole(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut whole = tempfile::Builder::new().prefix(".tieline-").tempfile_in(folder)?;
    whole.write_all(content)?;
    whole.as_file().sync_all()?;
    whole.persist(path).map_err(|e| e.error)?;
    Ok(())
}
