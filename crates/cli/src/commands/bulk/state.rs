//! Where an ingest stands, on disk: what is needed to go on with it after the program has died.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tieline_client::Connection;
use tieline_client::bulk::IngestHandle;

use crate::failure::Failure;
use crate::settings::state_folder;

/// The org keeps jobs for seven days; nothing can be done with them after that.
const KEPT: Duration = Duration::from_secs(8 * 24 * 60 * 60);

/// An ingest as it is written down.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Noted {
    /// Whose jobs these are.
    pub(super) instance_url: String,
    /// The input's name, for messages.
    pub(super) input: String,
    pub(super) handle: IngestHandle,
}

impl Noted {
    /// What it is called: by its first job.
    pub(super) fn id(&self) -> Option<&str> {
        self.handle
            .jobs
            .first()
            .map(|job| job.id.as_str())
            .or(self.handle.handed.as_ref().map(|job| job.id.as_str()))
            .or(self.handle.open_job.as_deref())
    }

    /// Refuses to go on in another org.
    pub(super) async fn is_of(&self, connection: &Connection) -> Result<(), Failure> {
        let here = instance_url(connection).await?;
        if here == self.instance_url {
            return Ok(());
        }
        Err(Failure::usage(
            format!("this ingest was begun in {}, and this org is {here}", self.instance_url),
            "choose its org with --org",
        ))
    }
}

pub(super) async fn instance_url(connection: &Connection) -> Result<String, Failure> {
    let token = connection.credentials().token().await.map_err(Failure::from)?;
    Ok(token.instance_url().as_str().trim_end_matches('/').to_owned())
}

/// The file of one ingest.
pub(super) struct StateFile {
    /// Where the user wants it; else it is named after the first job.
    given: Option<PathBuf>,
    folder: Option<PathBuf>,
    /// Where it is.
    at: Option<PathBuf>,
    written: Option<IngestHandle>,
    /// Told once.
    failed: bool,
}

fn folder() -> Option<PathBuf> {
    state_folder().map(|folder| folder.join("bulk"))
}

impl StateFile {
    pub(super) fn new(given: Option<PathBuf>) -> Self {
        let folder = folder();
        if let Some(folder) = &folder {
            remove_old(folder);
        }
        Self { at: given.clone(), given, folder, written: None, failed: false }
    }

    /// Of an ingest that was noted there.
    fn found(at: PathBuf, given: bool) -> Self {
        Self { given: given.then(|| at.clone()), folder: folder(), at: Some(at), written: None, failed: false }
    }

    /// Where the ingest is noted, for messages; nothing where it is not, or where `bulk resume ID` finds it.
    pub(super) fn given(&self) -> Option<&Path> {
        self.given.as_deref()
    }

    /// Writes down how things stand, if that has changed. Not to be able to is no reason to stop.
    pub(super) fn note(&mut self, noted: &Noted) {
        if self.written.as_ref() == Some(&noted.handle) {
            return;
        }
        match self.write(noted) {
            Ok(()) => self.written = Some(noted.handle.clone()),
            Err(error) if !self.failed => {
                self.failed = true;
                tracing::warn!("how far the ingest is cannot be noted, so it cannot be resumed: {error}");
            }
            Err(_) => {}
        }
    }

    fn write(&mut self, noted: &Noted) -> std::io::Result<()> {
        let path = match (&self.given, &self.folder, noted.id()) {
            (Some(path), ..) => path.clone(),
            (None, Some(folder), Some(id)) if is_id(id) => folder.join(format!("{id}.json")),
            (None, None, _) => {
                return Err(std::io::Error::other("this user has no folder for it; name one with --state"));
            }
            _ => return Ok(()),
        };
        let within = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if self.given.is_none() {
            std::fs::create_dir_all(within)?;
        }
        let mut file = tempfile::NamedTempFile::new_in(within)?;
        serde_json::to_writer(&mut file, noted)?;
        file.write_all(b"\n")?;
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|e| e.error)?;
        // The first job was replaced by another before it had its data.
        if let Some(old) = self.at.replace(path.clone()).filter(|old| *old != path) {
            let _ = std::fs::remove_file(old);
        }
        Ok(())
    }
}

/// An id that is no path.
fn is_id(id: &str) -> bool {
    !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric())
}

fn remove_old(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        if modified.is_ok_and(|modified| modified.elapsed().is_ok_and(|age| age > KEPT)) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// The ingest that is called so, if this user has begun one.
pub(super) fn find(id: &str) -> Result<Option<(Noted, StateFile)>, Failure> {
    let path = folder().filter(|_| is_id(id)).map(|folder| folder.join(format!("{id}.json")));
    match path.filter(|path| path.exists()) {
        Some(path) => Ok(Some((read(&path)?, StateFile::found(path, false)))),
        None => Ok(None),
    }
}

/// The ingest that is noted there.
pub(super) fn open(path: &Path) -> Result<(Noted, StateFile), Failure> {
    Ok((read(path)?, StateFile::found(path.to_owned(), true)))
}

fn read(path: &Path) -> Result<Noted, Failure> {
    let unread = |reason: String| {
        Failure::usage(format!("{} cannot be read: {reason}", path.display()), "name the state file of an ingest")
    };
    let text = std::fs::read(path).map_err(|e| unread(e.to_string()))?;
    serde_json::from_slice(&text).map_err(|e| unread(e.to_string()))
}
