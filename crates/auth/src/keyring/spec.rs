//! How a keyring is written.

use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::data_key::KEY;
use super::local::{LocalKey, name_of};
use super::transit::TransitService;
use super::{KeyService, Keyring, file};
use crate::environment::transit;
use crate::error::ConfigError;
use crate::sealing::key_of_text;

/// What an entry may be.
pub(super) const FORMS: &str = "an entry is 32 bytes in base64, 64 hexadecimal digits, file:PATH, kms:ID or \
                                transit:MOUNT/NAME, the one that wraps new data keys first; make a key with: \
                                openssl rand -base64 32";

/// One key, as an entry writes it.
pub(super) enum Entry {
    Local(Zeroizing<[u8; KEY]>),
    Kms(String),
    Transit(String),
}

impl Entry {
    /// Reads an entry that is a key. What is no entry is not repeated in the error: it may be a mistyped key.
    pub(super) fn read(text: &str) -> Result<Self, &'static str> {
        match text.split_once(':') {
            Some(("kms", id)) if !id.is_empty() => Ok(Self::Kms(id.to_owned())),
            Some(("transit", place)) if !place.is_empty() => Ok(Self::Transit(place.to_owned())),
            Some(("file", _)) => Err("a key file cannot name another one"),
            Some(_) => Err("what stands before the colon is no kind of key"),
            None => key_of_text(text).map(Self::Local),
        }
    }

    /// The name of its service.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Local(bytes) => name_of(bytes),
            Self::Kms(id) => format!("kms:{id}"),
            Self::Transit(place) => format!("transit:{place}"),
        }
    }
}

/// The lines of a text that are no comments, without the space around them.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// What the services are reached with.
type Variable = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

impl Keyring {
    /// Reads entries (see [`keyring`](crate::keyring)), separated by commas or line ends; lines that start with `#` are
    /// left out. `variable` gives what AWS (`AWS_REGION` and the others of its own programs) and Vault or OpenBao
    /// (`VAULT_ADDR`, `VAULT_TOKEN`, `VAULT_NAMESPACE`, or `BAO_…`) are reached with. Nothing is asked of them yet.
    ///
    /// # Errors
    /// Says which entry is bad, and never repeats a key: a file cannot be read, or others may read it (unix); a variable
    /// is missing.
    ///
    /// ```
    /// use tieline_auth::keyring::Keyring;
    /// let ring = Keyring::from_spec(&format!("# the newest first\n{}, {}", "ab".repeat(32), "cd".repeat(32)), |_| None);
    /// assert_eq!(ring.unwrap().names(), ["local:9a2db2e23f1504cd", "local:7969ec0fcb8b648d"]);
    /// ```
    pub fn from_spec(
        spec: &str,
        variable: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
    ) -> Result<Self, ConfigError> {
        let variable: Variable = Arc::new(variable);
        let mut services = Vec::new();
        let entries = lines(spec).flat_map(|line| line.split(',')).map(str::trim).filter(|entry| !entry.is_empty());
        for (at, entry) in entries.enumerate() {
            match entry.strip_prefix("file:") {
                Some(path) => services.extend(of_file(Path::new(path), &variable)?),
                None => {
                    let read = Entry::read(entry);
                    let read = read.map_err(|reason| bad(&format!("entry {} of the keyring", at + 1), reason))?;
                    services.push(service(&read, &variable)?);
                }
            }
        }
        Self::new(services)
    }

    /// The ring of a key file; makes the file with one fresh key, readable by its owner alone, where there is none. What
    /// other services its lines name are reached with this process's environment.
    ///
    /// # Errors
    /// The file cannot be read or made, others may read it (unix), or a line is no entry.
    pub fn load_or_create(path: &Path) -> Result<Self, ConfigError> {
        crate::sealing::create_if_absent(path).map_err(|error| {
            ConfigError::new(
                format!("could not make the key file {}: {}", path.display(), error.reason),
                "name a file in a folder that this program may write to",
            )
        })?;
        let variable: Variable = Arc::new(|name| std::env::var(name).ok());
        Self::new(of_file(path, &variable)?)
    }
}

fn bad(what: &str, reason: &str) -> ConfigError {
    ConfigError::new(format!("{what} cannot be used: {reason}"), FORMS)
}

fn of_file(path: &Path, variable: &Variable) -> Result<Vec<Arc<dyn KeyService>>, ConfigError> {
    let text = file::read(path)?;
    entries(path, &text)?.iter().map(|(_, entry)| service(entry, variable)).collect()
}

/// The entries of a key file, each with the number of its line from 0.
pub(super) fn entries(path: &Path, text: &str) -> Result<Vec<(usize, Entry)>, ConfigError> {
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        for line in lines(line) {
            let entry = Entry::read(line);
            let what = || format!("line {} of the key file {}", at + 1, path.display());
            found.push((at, entry.map_err(|reason| bad(&what(), reason))?));
        }
    }
    if found.is_empty() {
        return Err(bad(&format!("the key file {}", path.display()), "it holds no key"));
    }
    Ok(found)
}

fn service(entry: &Entry, variable: &Variable) -> Result<Arc<dyn KeyService>, ConfigError> {
    Ok(match entry {
        Entry::Local(bytes) => {
            Arc::new(LocalKey::new(bytes).ok_or_else(|| bad("a key of the keyring", "it was not accepted"))?)
        }
        Entry::Kms(id) => kms(id, variable)?,
        Entry::Transit(place) => {
            let get = |name: &str| variable(name).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty());
            Arc::new(TransitService::new(transit(&get, place)?))
        }
    })
}

#[cfg(feature = "aws")]
fn kms(id: &str, variable: &Variable) -> Result<Arc<dyn KeyService>, ConfigError> {
    Ok(Arc::new(super::KmsService::new(crate::aws::Aws::from_variables(variable.clone())?, id)?))
}

#[cfg(not(feature = "aws"))]
fn kms(id: &str, _: &Variable) -> Result<Arc<dyn KeyService>, ConfigError> {
    Err(ConfigError::new(
        format!("the key `{id}` of the keyring is in AWS KMS, which this program was built without"),
        "build it with the feature `aws`, or take a key of another kind",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault(name: &str) -> Option<String> {
        match name {
            "BAO_ADDR" => Some("http://127.0.0.1:8200".to_owned()),
            "BAO_TOKEN" => Some("s.x".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn entries_are_read_in_order_and_each_key_is_in_the_ring_once() {
        let key = |byte: &str| byte.repeat(32);
        let (one, two) = (name_of(&[0xab; KEY]), name_of(&[0xcd; KEY]));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        file::write_new(&path, &format!("# old\n\n  {}  \ntransit:transit/x\r\n", key("cd"))).unwrap();
        let spec =
            format!("{},\n # not {}\n,file:{},transit:transit/x,{}", key("AB"), key("ee"), path.display(), key("ab"));
        let ring = Keyring::from_spec(&spec, vault).unwrap();
        assert_eq!(ring.names(), [&*one, &*two, "transit:transit/x"]);
        assert_eq!(ring.primary().name(), one);
        assert_eq!(ring.by_name(&two).unwrap().name(), two);
        assert!(ring.by_name("local:").is_none());
    }

    #[test]
    fn what_is_no_entry_is_refused_and_not_repeated() {
        let fine = "ab".repeat(32);
        for (spec, said) in [
            (String::new(), "holds no key"),
            ("# nothing\n".to_owned(), "holds no key"),
            (format!("{fine},cGxhbnRlZCBzZWNyZXQ="), "entry 2 of the keyring cannot be used: it is not 32 bytes"),
            ("planted secret".to_owned(), "it is not base64"),
            ("planted:secret".to_owned(), "no kind of key"),
            ("kms:".to_owned(), "no kind of key"),
            ("transit:transit/x".to_owned(), "VAULT_ADDR is not set"),
            ("file:/nowhere/planted".to_owned(), "could not read the key file /nowhere/planted"),
        ] {
            let error = Keyring::from_spec(&spec, |_| None).unwrap_err();
            assert!(error.to_string().contains(said), "{spec}: {error}");
            assert!(!error.hint().is_empty() && !error.to_string().contains("secret"), "{error}");
            assert!(!error.to_string().contains("cGxh") && !error.to_string().contains(&fine), "{error}");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let error = |text: &str| {
            let _ = std::fs::remove_file(&path);
            file::write_new(&path, text).unwrap();
            Keyring::load_or_create(&path).unwrap_err().to_string()
        };
        assert!(error(&format!("{fine}\nfile:other")).contains("line 2 of the key file"));
        assert!(error("# nothing").contains("it holds no key"));
        assert!(error(&format!("{fine},{fine}")).contains("it is not base64"), "a file has one entry on a line");
    }

    #[cfg(unix)]
    #[test]
    fn a_key_file_is_made_once_and_not_read_where_others_may_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let ring = Keyring::load_or_create(&path).unwrap();
        assert_eq!(Keyring::load_or_create(&path).unwrap().names(), ring.names());
        let mode = |mode| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        for open in [0o640, 0o604, 0o620, 0o601] {
            mode(open);
            let error = Keyring::load_or_create(&path).unwrap_err();
            assert!(error.hint().contains(&format!("chmod 600 {}", path.display())), "{open:o}: {error}");
        }
        mode(0o400);
        assert_eq!(Keyring::from_spec(&format!("file:{}", path.display()), |_| None).unwrap().names(), ring.names());
        // What a master key was, is a ring of one key.
        crate::sealing::MasterKey::load(&path).unwrap();
        assert!(Keyring::load_or_create(&folder.path().join("absent/keys")).is_err());
    }
}
