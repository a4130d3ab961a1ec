//! What can go wrong with the database.

use std::path::PathBuf;

/// The database could not do what was asked. Nothing was half done: every write is one transaction.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file cannot be opened or made.
    #[error("could not open the database {}: {reason}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A newer program made the database.
    #[error("the database {} has schema {found}, which needs a tieline that knows schema {needed}; this one knows {known}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Schema of the database.
        found: i64,
        /// Oldest program that may open it.
        needed: i64,
        /// Newest schema of this program.
        known: i64,
    },
    /// No room.
    #[error("could not write to the database: the disk is full")]
    DiskFull,
    /// The statement failed.
    #[error("the database failed while {doing}: {source}")]
    Database {
        /// What was attempted.
        doing: &'static str,
        /// What the database said.
        source: sqlx::Error,
    },
    /// A later run has taken over the checkpoint.
    #[error("run {run} lost its checkpoint to a later run")]
    Fenced {
        /// The run that may no longer write.
        run: String,
    },
    /// The master key cannot be read or made.
    #[error(transparent)]
    MasterKey(#[from] tieline_auth::sealing::KeyError),
    /// Sealed text does not open: another key, another row, or damage.
    #[error("the sealed credentials of integration `{integration}` cannot be opened: {reason}")]
    Sealed {
        /// The row.
        integration: String,
        /// What is wrong.
        reason: &'static str,
    },
}

impl StoreError {
    /// The next act.
    pub fn hint(&self) -> &'static str {
        match self {
            StoreError::Open { .. } => {
                "check that the folder exists and can be written, and that the file is a SQLite database"
            }
            StoreError::Newer { .. } => "upgrade this program; the database was not touched",
            StoreError::DiskFull => "make room and run again: it goes on where it stopped, nothing is lost",
            StoreError::Database { .. } => "run again; if it stays, check the disk and `PRAGMA integrity_check`",
            StoreError::Fenced { .. } => "nothing is lost: the later run does the work",
            StoreError::MasterKey(_) => {
                "TIELINE_MASTER_KEY_FILE (or the .key file beside the database) must hold the key that it was made with"
            }
            StoreError::Sealed { .. } => "use the master key with which the integration was saved, or save it again",
        }
    }

    pub(crate) fn doing(doing: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
        move |source| match &source {
            // SQLITE_FULL, and SQLITE_IOERR_WRITE, which some file systems give instead.
            sqlx::Error::Database(e) if matches!(e.code().as_deref(), Some("13" | "778")) => StoreError::DiskFull,
            _ => StoreError::Database { doing, source },
        }
    }
}
