//! A file that appears when it is whole.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::failure::Failure;

/// Where a file is going to be.
pub(crate) enum Place {
    /// Beside its place until it is whole.
    Beside(NamedTempFile, PathBuf),
    /// A device, a pipe, or what this process writes to already: written to as it is.
    Straight(std::fs::File, PathBuf),
}

impl Place {
    pub(crate) fn prepare(path: &Path) -> Result<Self, Failure> {
        let prepare = || {
            if let Some(stream) = of_this_process(path) {
                return Ok(Place::Straight(stream?, path.to_owned()));
            }
            let there = std::fs::metadata(path).ok();
            if there.as_ref().is_some_and(|there| !there.is_file()) {
                return Ok(Place::Straight(std::fs::File::options().write(true).open(path)?, path.to_owned()));
            }
            // Where a link leads to, and with the rights that somebody has given the file.
            let place = if there.is_some() { path.canonicalize()? } else { path.to_owned() };
            let folder = place.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let mut beside = tempfile::Builder::new();
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt;
                // Less what the user's umask takes away: a result is a file like any other.
                beside.permissions(std::fs::Permissions::from_mode(0o666));
            }
            let file = beside.prefix(".tieline-").tempfile_in(folder)?;
            if let Some(there) = there {
                file.as_file().set_permissions(there.permissions())?;
            }
            Ok(Place::Beside(file, place))
        };
        prepare().map_err(|e| unwritten_file(path, &e))
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Place::Beside(_, path) | Place::Straight(_, path) => path,
        }
    }

    pub(crate) fn keep(self) -> std::io::Result<()> {
        match self {
            Place::Straight(mut file, _) => file.flush(),
            Place::Beside(file, path) => {
                file.as_file().sync_all()?;
                file.persist(path).map_err(|e| e.error).map(drop)
            }
        }
    }
}

/// The output of this process that a path such as `/dev/stdout` names. It may lead to a file, to which others write as well.
#[cfg(unix)]
fn of_this_process(path: &Path) -> Option<std::io::Result<std::fs::File>> {
    use std::os::fd::AsFd;
    let stream = match path.to_str()? {
        "/dev/stdout" | "/dev/fd/1" | "/proc/self/fd/1" => std::io::stdout().as_fd().try_clone_to_owned(),
        "/dev/stderr" | "/dev/fd/2" | "/proc/self/fd/2" => std::io::stderr().as_fd().try_clone_to_owned(),
        _ => return None,
    };
    Some(stream.map(std::fs::File::from))
}

#[cfg(not(unix))]
fn of_this_process(_: &Path) -> Option<std::io::Result<std::fs::File>> {
    None
}

impl Write for Place {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Place::Beside(file, _) => file.write(bytes),
            Place::Straight(file, _) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Place::Beside(file, _) => file.flush(),
            Place::Straight(file, _) => file.flush(),
        }
    }
}

pub(crate) fn unwritten(error: std::io::Error) -> Failure {
    Failure::new(format!("the rows cannot be written: {error}"), hint(&error))
}

pub(crate) fn unwritten_file(path: &Path, error: &std::io::Error) -> Failure {
    // Not the temporary name, which tells nobody anything.
    let reason = std::io::Error::from(error.kind());
    let reason = if error.kind() == ErrorKind::Other { error.to_string() } else { reason.to_string() };
    Failure::new(format!("{} cannot be written: {reason}", path.display()), hint(error))
}

fn hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::Other => "choose another format, or cast the column to text in SQL",
        _ => "see that the folder is there, is yours and has room",
    }
}
