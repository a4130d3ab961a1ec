//! A store in one file, for the processes of one machine.
//!
//! Every change is made under a lock on a second file and replaces the whole file: a reader sees the old or the new
//! one, never half, and a process that dies leaves the lock to the next. Meant for tens of orgs, not thousands.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{Answer, Entry, Lease, Slot, Swap, Take, TokenStore, TokenStoreError};
use crate::clock::{Clock, SystemClock};

const FORMAT: u32 = 1;

#[derive(serde::Serialize, serde::Deserialize)]
struct Book {
    format: u32,
    tokens: BTreeMap<String, Slot>,
}

/// Tokens in a file of mode 0600, with a lock file beside it (`….lock`).
#[derive(Debug, Clone)]
pub struct FileStore {
    path: Arc<Path>,
    clock: Arc<dyn Clock>,
}

impl FileStore {
    /// The store in this file, which is made at the first write; its folder must exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self::with_clock(path, Arc::new(SystemClock::default()))
    }

    /// The same with leases that end by this (wall) clock.
    pub fn with_clock(path: impl Into<PathBuf>, clock: Arc<dyn Clock>) -> Self {
        Self { path: path.into().into(), clock }
    }

    fn failed(&self) -> impl Fn(std::io::Error) -> TokenStoreError {
        let store = self.describe();
        move |error| TokenStoreError { store: store.clone(), reason: error.to_string() }
    }

    fn read(&self) -> std::io::Result<Book> {
        let bytes = match std::fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Book { format: FORMAT, tokens: BTreeMap::new() });
            }
            Err(error) => return Err(error),
        };
        let invalid = |text: String| std::io::Error::new(std::io::ErrorKind::InvalidData, text);
        let book: Book = serde_json::from_slice(&bytes).map_err(|e| invalid(format!("it is no token file: {e}")))?;
        if book.format != FORMAT {
            return Err(invalid(format!("it has format {}, this program knows {FORMAT}", book.format)));
        }
        Ok(book)
    }

    /// Changes one slot under the lock. `change` says whether the file must be written.
    async fn change<T: Send + 'static>(
        &self,
        key: &str,
        change: impl FnOnce(&mut Slot, u64) -> (T, bool) + Send + 'static,
    ) -> Result<T, TokenStoreError> {
        let (store, key) = (self.clone(), key.to_owned());
        let work = move || {
            let lock = own_file(&store.path.with_added_extension("lock"))?;
            lock.lock()?;
            let mut book = store.read()?;
            let now = u64::try_from(store.clock.now().as_millisecond()).unwrap_or(0);
            let (outcome, changed) = change(book.tokens.entry(key).or_default(), now);
            if changed {
                store.write(&book)?;
            }
            Ok(outcome)
        };
        self.blocking(work).await
    }

    fn write(&self, book: &Book) -> std::io::Result<()> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // Mode 0600 from its first moment.
        let mut whole = tempfile::Builder::new().prefix(".tieline-tokens-").tempfile_in(folder)?;
        whole.write_all(&serde_json::to_vec(book)?)?;
        whole.as_file().sync_all()?;
        whole.persist(&self.path).map_err(|e| e.error)?;
        // The new name must survive a power cut too. Windows cannot open a folder, and needs not.
        if cfg!(unix) {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, TokenStoreError> {
        match tokio::task::spawn_blocking(work).await {
            Ok(outcome) => outcome.map_err(self.failed()),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

fn own_file(path: &Path) -> std::io::Result<File> {
    let mut options = File::options();
    options.create(true).truncate(false).read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

impl TokenStore for FileStore {
    fn describe(&self) -> String {
        format!("file {}", self.path.display())
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn load<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Entry>> {
        Box::pin(async move {
            let (store, key) = (self.clone(), key.to_owned());
            self.blocking(move || Ok(store.read()?.tokens.get(&key).and_then(Slot::entry))).await
        })
    }

    fn lease<'a>(&'a self, key: &'a str, owner: &'a str, time: Duration, take: Take) -> Answer<'a, Lease> {
        let owner = owner.to_owned();
        Box::pin(self.change(key, move |slot, now| {
            let lease = slot.lease(&owner, time, take, now);
            (lease, matches!(lease, Lease::Held { .. }))
        }))
    }

    fn compare_and_swap<'a>(&'a self, key: &'a str, expected: u64, fence: u64, sealed: &'a [u8]) -> Answer<'a, Swap> {
        let sealed = sealed.to_vec();
        Box::pin(self.change(key, move |slot, _| {
            let swap = slot.swap(expected, fence, &sealed);
            (swap, matches!(swap, Swap::Done(_)))
        }))
    }

    fn release<'a>(&'a self, key: &'a str, owner: &'a str) -> Answer<'a, ()> {
        let owner = owner.to_owned();
        Box::pin(self.change(key, move |slot, _| {
            slot.release(&owner);
            ((), true)
        }))
    }
}
