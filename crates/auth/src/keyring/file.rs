//! A key file: entries of a [`Keyring`](super::Keyring), one on a line, the primary first. It is changed as a whole or not
//! at all.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::data_key::KEY;
use super::local::name_of;
use super::spec::{Entry, FORMS, entries};
use crate::error::ConfigError;
use crate::sealing::{MasterKey, folder_of, key_of_text, new_key_text};

fn failed(task: &str, path: &Path, error: &std::io::Error) -> ConfigError {
    ConfigError::new(
        format!("could not {task} the key file {}: {error}", path.display()),
        "check the path, and run this as the user whose file it is",
    )
}

/// The text of a key file.
///
/// # Errors
/// It cannot be read, or others than its owner have any right to it (unix).
pub(super) fn read(path: &Path) -> Result<Zeroizing<String>, ConfigError> {
    let mut file = File::open(path).map_err(|e| failed("read", path, &e))?;
    read_open(&mut file, path)
}

fn read_open(file: &mut File, path: &Path) -> Result<Zeroizing<String>, ConfigError> {
    let read = |e: std::io::Error| failed("read", path, &e);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = file.metadata().map_err(read)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(ConfigError::new(
                format!(
                    "the key file {} has mode {mode:03o}: others than its owner have a right to it",
                    path.display()
                ),
                format!("chmod 600 {}, and if others did read it, add a new key and retire this one", path.display()),
            ));
        }
    }
    // Of the size at once: a buffer that grows leaves copies behind.
    let size = file.metadata().map_err(read)?.len();
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(size).unwrap_or(0) + 1));
    file.read_to_string(&mut text).map_err(read)?;
    Ok(text)
}

/// The names of the keys in a key file, the primary's first.
///
/// # Errors
/// The file cannot be read, others may read it (unix), or a line is no entry.
pub fn names(path: &Path) -> Result<Vec<String>, ConfigError> {
    let mut names = Vec::new();
    for (_, entry) in entries(path, &read(path)?)? {
        let name = entry.name();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// The keys of a key file that are in the file itself, as what sealed whole databases before there were data keys.
///
/// # Errors
/// As [`names`].
pub fn master_keys(path: &Path) -> Result<Vec<MasterKey>, ConfigError> {
    let mut keys = Vec::new();
    for (_, entry) in entries(path, &read(path)?)? {
        if let Entry::Local(bytes) = entry {
            keys.push(MasterKey::from_bytes(&bytes).map_err(|reason| {
                ConfigError::new(format!("a key of the key file {} cannot be used: {reason}", path.display()), FORMS)
            })?);
        }
    }
    Ok(keys)
}

/// Puts a fresh key into the first line of a key file, which makes it the primary of whoever reads the file next, and
/// tells its name. All other lines stay as they are.
///
/// # Errors
/// As [`names`], or the file cannot be replaced, or the system gives no randomness.
pub fn add(path: &Path) -> Result<String, ConfigError> {
    let no_randomness = || {
        ConfigError::new(
            format!("could not add a key to {}: the system gives no randomness", path.display()),
            "see that the system's random number generator works (getrandom)",
        )
    };
    let key = new_key_text().ok_or_else(no_randomness)?;
    let bytes: Zeroizing<[u8; KEY]> = key_of_text(&key).map_err(|_| no_randomness())?;
    edit(path, |text| {
        entries(path, text)?;
        let mut whole = Zeroizing::new(String::with_capacity(key.len() + 1 + text.len()));
        whole.push_str(&key);
        whole.push('\n');
        whole.push_str(text);
        Ok(whole)
    })?;
    Ok(name_of(&bytes))
}

/// Removes the key of this name from a key file. Data keys that it wrapped no longer unwrap: bring them under the primary
/// before ([`Keyring::rewrap`](super::Keyring::rewrap)).
///
/// # Errors
/// The key is the primary, or not in the file; or as [`add`].
pub fn retire(path: &Path, name: &str) -> Result<(), ConfigError> {
    edit(path, |text| {
        let found = entries(path, text)?;
        let named: Vec<(usize, String)> = found.iter().map(|(line, entry)| (*line, entry.name())).collect();
        let gone: Vec<usize> = named.iter().filter(|(_, held)| held == name).map(|(line, _)| *line).collect();
        if named[0].1 == name {
            return Err(ConfigError::new(
                format!("{name} is the primary of {}: it wraps new data keys", path.display()),
                "add another key first, and bring the data keys under it",
            ));
        }
        if gone.is_empty() {
            let held = named.iter().map(|(_, held)| held.as_str()).collect::<Vec<_>>().join(", ");
            return Err(ConfigError::new(
                format!("the key {name} is not in {}", path.display()),
                format!("name one of those that are: {held}"),
            ));
        }
        let kept = text.split_inclusive('\n').enumerate().filter(|(line, _)| !gone.contains(line));
        let mut whole = Zeroizing::new(String::with_capacity(text.len()));
        kept.for_each(|(_, line)| whole.push_str(line));
        Ok(whole)
    })
}

/// Replaces a file's text by what `change` makes of it. One process at a time; one that dies leaves the file as it was.
fn edit(path: &Path, change: impl FnOnce(&str) -> Result<Zeroizing<String>, ConfigError>) -> Result<(), ConfigError> {
    // A link stays a link.
    let path = &path.canonicalize().map_err(|e| failed("read", path, &e))?;
    let mut file = locked(path).map_err(|e| failed("lock", path, &e))?;
    let text = change(&read_open(&mut file, path)?)?;
    replace(path, &file, &text).map_err(|e| failed("replace", path, &e))
}

/// The file, locked until the value is dropped.
fn locked(path: &Path) -> std::io::Result<File> {
    loop {
        let file = File::open(path)?;
        file.lock()?;
        // Whoever had the lock before may have put another file in its place.
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let (own, now) = (file.metadata()?, std::fs::metadata(path)?);
            if (own.dev(), own.ino()) != (now.dev(), now.ino()) {
                continue;
            }
        }
        return Ok(file);
    }
}

fn replace(path: &Path, old: &File, text: &str) -> std::io::Result<()> {
    let folder: PathBuf = folder_of(path).to_owned();
    // Mode 0600 from its first moment.
    let mut whole = tempfile::NamedTempFile::new_in(&folder)?;
    whole.write_all(text.as_bytes())?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        // An administrator who edits it must not take it from the service that reads it.
        let (was, is) = (old.metadata()?, whole.as_file().metadata()?);
        if (was.uid(), was.gid()) != (is.uid(), is.gid()) {
            std::os::unix::fs::fchown(whole.as_file(), Some(was.uid()), Some(was.gid()))?;
        }
    }
    #[cfg(not(unix))]
    let _ = old;
    whole.as_file().sync_all()?;
    whole.persist(path).map_err(|error| error.error)?;
    // The name too must outlive a power cut; Windows cannot open a folder so.
    #[cfg(unix)]
    File::open(&folder)?.sync_all()?;
    Ok(())
}

/// A file of its owner's alone.
#[cfg(test)]
pub(super) fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    let mut whole = tempfile::NamedTempFile::new_in(folder_of(path))?;
    whole.write_all(text.as_bytes())?;
    whole.persist_noclobber(path).map(drop).map_err(|error| error.error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyring::Keyring;

    #[tokio::test]
    async fn a_key_is_added_used_and_the_one_before_retired() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let before = Keyring::load_or_create(&path).unwrap();
        let old = before.primary().name().to_owned();
        let (_, wrapped) = before.wrap_new([5; 16], "acme").await.unwrap();
        let kept = format!("# the first key\n{}\n\n# the end", std::fs::read_to_string(&path).unwrap());
        std::fs::remove_file(&path).unwrap();
        write_new(&path, &kept).unwrap();

        let new = add(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.split_once('\n').unwrap().1, kept, "nothing else was touched");
        assert_eq!(names(&path).unwrap(), [new.clone(), old.clone()]);
        let master = crate::sealing::MasterKey::from_text(kept.lines().nth(1).unwrap()).unwrap();
        let sealed = master.seal(b"x", "row").unwrap();
        let opened: Vec<_> = master_keys(&path).unwrap().iter().map(|key| key.open(&sealed, "row").is_ok()).collect();
        assert_eq!(opened, [false, true], "what the old key sealed by itself still opens");
        let both = Keyring::load_or_create(&path).unwrap();
        assert_eq!(both.names(), [&new, &old]);
        let moved = both.rewrap(&wrapped, [5; 16], "acme").await.unwrap().unwrap();

        let error = retire(&path, &new).unwrap_err();
        assert!(error.to_string().contains("is the primary") && error.hint().contains("add another"), "{error}");
        let error = retire(&path, "local:0000000000000000").unwrap_err();
        assert!(error.to_string().contains("is not in") && error.hint().contains(&old), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "what was refused changed nothing");
        retire(&path, &old).unwrap();
        let first = text.split_once('\n').unwrap().0;
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{first}\n# the first key\n\n# the end"));
        let after = Keyring::load_or_create(&path).unwrap();
        assert!(after.unwrap(&moved.service, &moved.bytes, [5; 16], "acme").await.is_ok());
        assert!(after.unwrap(&wrapped.service, &wrapped.bytes, [5; 16], "acme").await.is_err());
    }

    #[test]
    fn a_primary_that_is_written_twice_is_the_primary_still() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let (one, two) = ("ab".repeat(32), "cd".repeat(32));
        write_new(&path, &format!("{one}\n{two}\n{}\n{two}", one.to_uppercase())).unwrap();
        assert!(retire(&path, &name_of(&[0xab; KEY])).is_err());
        retire(&path, &name_of(&[0xcd; KEY])).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{one}\n{}\n", one.to_uppercase()));
    }

    #[cfg(unix)]
    #[test]
    fn a_change_keeps_mode_and_link_and_leaves_no_other_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("keys"), folder.path().join("link"));
        Keyring::load_or_create(&path).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        add(&link).unwrap();
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(names(&path).unwrap().len(), 2);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "no temporary file");

        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        assert!(add(&path).unwrap_err().hint().contains("chmod 600"));
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        std::fs::write(&path, format!("{text}no key")).unwrap();
        assert!(add(&path).is_err() && retire(&path, "local:0").is_err(), "what it cannot read it does not change");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{text}no key"));
        assert!(add(&folder.path().join("absent")).is_err());
    }

    /// Readers meanwhile see a whole file, and no key is lost between two who add one.
    #[test]
    fn many_who_add_a_key_at_once_all_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        Keyring::load_or_create(&path).unwrap();
        let mut added: Vec<String> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..8).map(|_| scope.spawn(|| (0..5).map(|_| add(&path).unwrap()).collect::<Vec<_>>())).collect();
            while !threads.iter().all(std::thread::ScopedJoinHandle::is_finished) {
                names(&path).unwrap();
            }
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        let mut held = names(&path).unwrap();
        held.pop();
        held.sort_unstable();
        added.sort_unstable();
        assert_eq!(held, added);
    }
}
