//! What can go wrong with the database.

use tieline_auth::keyring::KeyringError;

/// The database could not do what was asked. Nothing was half done: every write is one transaction.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database cannot be opened, reached or made.
    #[error("could not open the database {place}: {reason}")]
    Open {
        /// The file, or the server's address and the database's name.
        place: String,
        /// What the system or the server said.
        reason: String,
    },
    /// A newer program made the database.
    #[error(
        "the database {place} has schema {found}, which needs a tieline that knows schema {needed}; this one knows {known}"
    )]
    Newer {
        /// The database.
        place: String,
        /// Schema of the database.
        found: i64,
        /// Oldest program that may open it.
        needed: i64,
        /// Newest schema of this program.
        known: i64,
    },
    /// The roles that keep businesses apart are not there, and this user may not make them.
    #[error("could not prepare the roles tieline_app and tieline_system in {place}: {reason}")]
    Roles {
        /// The database.
        place: String,
        /// What the server said.
        reason: String,
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
    /// Rows could not be written to SQLite.
    #[error("the database failed while {doing}: {source}")]
    Rows {
        /// What was attempted.
        doing: &'static str,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// Nothing can be read for a mapping any more.
    #[error("the mapping `{mapping}` has no integration any more: it was deleted")]
    NoIntegration {
        /// The mapping.
        mapping: String,
    },
    /// The mapping of contacts comes with its integration, and goes with it.
    #[error("the mapping `{mapping}` is built in: it can be neither changed nor deleted")]
    BuiltIn {
        /// The mapping.
        mapping: String,
    },
    /// A table of a mapping cannot be like that.
    #[error(transparent)]
    Table(#[from] crate::object_tables::TableError),
    /// A later run has taken over the checkpoint.
    #[error("run {run} lost its checkpoint to a later run")]
    Fenced {
        /// The run that may no longer write.
        run: String,
    },
    /// The master key's file cannot be read or made.
    #[error(transparent)]
    MasterKey(#[from] tieline_auth::sealing::KeyError),
    /// The keyring cannot be read.
    #[error(transparent)]
    KeyConfig(tieline_auth::ConfigError),
    /// A key service cannot be used, or a key is not among those given.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// Another key than the one that the database was made with.
    #[error("the master key {service} does not open what it is said to have sealed in this database")]
    WrongKey {
        /// Name of the key.
        service: String,
    },
    /// A key cannot be forgotten yet.
    #[error("the key {service} is still needed: {reason}")]
    KeyNeeded {
        /// Name of the key.
        service: String,
        /// What needs it.
        reason: String,
    },
    /// Sealed text does not open: another key, another row, or damage.
    #[error("what is sealed in {table} for `{row}` cannot be opened: {reason}")]
    Sealed {
        /// The table.
        table: &'static str,
        /// The row.
        row: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// Access to the integration was taken away in the meantime: what was asked for before is not kept.
    #[error("access to the integration `{integration}` was revoked in the meantime; the new token was not kept")]
    Revoked {
        /// The integration.
        integration: String,
    },
    /// There is one of that name, address or org already.
    #[error("{0}")]
    Taken(String),
}

impl StoreError {
    /// The next act.
    pub fn hint(&self) -> String {
        let hint = match self {
            StoreError::Keyring(error) => return error.hint(),
            StoreError::KeyConfig(error) => return error.hint().to_owned(),
            StoreError::Open { place, .. } if place.starts_with("postgresql ") => {
                "check that the server runs, and the host, user and password in the URL"
            }
            StoreError::Open { .. } => {
                "check that the folder exists and can be written, and that the file is a SQLite database"
            }
            StoreError::Newer { .. } => "upgrade this program; the database was not touched",
            StoreError::Roles { .. } => {
                "as an administrator: CREATE ROLE tieline_app NOLOGIN; CREATE ROLE tieline_system NOLOGIN; GRANT tieline_app, tieline_system TO <the user in the URL>;"
            }
            StoreError::DiskFull => "make room and run again: it goes on where it stopped, nothing is lost",
            StoreError::Database { source, .. } if source.to_string().contains("prepared statement") => {
                "behind a transaction pooler add ?pooler=transaction to the database's URL"
            }
            StoreError::Database { source: sqlx::Error::PoolTimedOut, .. } => {
                "all connections are busy, or the database does not answer; try again"
            }
            StoreError::Database { .. } | StoreError::Rows { .. } => {
                "run again; if it stays, check the database's disk and log (SQLite: `PRAGMA integrity_check`)"
            }
            StoreError::Fenced { .. } => "nothing is lost: the later run does the work",
            StoreError::MasterKey(_) | StoreError::WrongKey { .. } => {
                "TIELINE_MASTER_KEY or TIELINE_MASTER_KEY_FILE (or the .key file beside the database) must hold the key that it was made with"
            }
            StoreError::Sealed { .. } => "use the master key with which it was saved, or connect the org again",
            StoreError::KeyNeeded { .. } => "bring what it wraps under the first key: tieline keys rotate",
            StoreError::Revoked { .. } => "connect the org again if that is meant",
            StoreError::NoIntegration { .. } => "make the mapping anew for another integration",
            StoreError::BuiltIn { .. } => "pause it, or delete its integration",
            StoreError::Table(_) => "name it otherwise in the mapping",
            StoreError::Taken(_) => "choose another one",
        };
        hint.to_owned()
    }

    /// Whether the database itself did not answer: the same may do so a little later.
    pub fn is_passing(&self) -> bool {
        match self {
            StoreError::Keyring(error) => error.passing(),
            StoreError::Database { source, .. } => {
                matches!(source, sqlx::Error::PoolTimedOut | sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed)
                    || source.as_database_error().is_some_and(|e| {
                        // Connections, no more of them, shutdown, two that waited for each other; SQLITE_BUSY.
                        e.code().is_some_and(|code| {
                            ["08", "53", "57P", "40001", "40P01"].iter().any(|class| code.starts_with(class))
                                || code == "5"
                        })
                    })
            }
            StoreError::DiskFull => true,
            StoreError::Rows { source, .. } => source.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy),
            _ => false,
        }
    }

    /// Why the database takes no write, in words that tell nothing of where it is or what is in it.
    pub fn refusal(&self) -> &'static str {
        let code = match self {
            StoreError::DiskFull => return "the database's disk is full",
            StoreError::Database { source, .. } => source.as_database_error().and_then(|e| e.code()),
            _ => None,
        };
        match code.as_deref() {
            // PostgreSQL's read_only_sql_transaction: a replica, or `default_transaction_read_only`. SQLITE_READONLY.
            Some("25006" | "8") => "the database can be read only",
            // SQLITE_BUSY, with its extended codes.
            Some("5" | "261" | "517") => "another program holds the database's lock",
            _ => "the database does not answer",
        }
    }

    pub(crate) fn doing(doing: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
        move |source| match &source {
            // SQLITE_FULL, and SQLITE_IOERR_WRITE, which some file systems give instead; PostgreSQL's disk_full.
            sqlx::Error::Database(e) if matches!(e.code().as_deref(), Some("13" | "778" | "53100")) => {
                StoreError::DiskFull
            }
            _ => StoreError::Database { doing, source },
        }
    }

    /// Whether a unique constraint refused a row.
    pub(crate) fn is_duplicate(&self) -> bool {
        matches!(self, StoreError::Database { source, .. }
            if source.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation))
    }

    /// Whether there is such a table already.
    pub(crate) fn is_existing_table(&self) -> bool {
        matches!(self, StoreError::Database { source, .. } if source.as_database_error().is_some_and(|e| {
            e.code().as_deref() == Some("42P07") || e.message().contains("already exists")
        }))
    }

    /// The same as [`StoreError::Taken`], if a unique constraint refused the row.
    pub(crate) fn or_taken(self, what: impl FnOnce() -> String) -> Self {
        if self.is_duplicate() { StoreError::Taken(what()) } else { self }
    }
}
