//! Opening a database: pragmas, schema, master key.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::Row;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};

use crate::error::StoreError;
use crate::migrations;
use tieline_auth::SharedStore;
use tieline_auth::sealing::{KeyError, MasterKey};
use tieline_auth::token_store::file::FileStore;

/// The business that a database with one owner belongs to.
const OWN_BUSINESS: &str = "00000000-0000-7000-8000-000000000001";

/// The database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    /// One connection: SQLite has one writer at a time, and waiting here is fair.
    pub(crate) writer: SqlitePool,
    pub(crate) reader: SqlitePool,
    pub(crate) key: MasterKey,
    pub(crate) business: String,
    path: PathBuf,
}

impl Store {
    /// Opens the SQLite file, making it (and a master key beside it, mode 0600) where there is none, and brings
    /// its schema up to date.
    ///
    /// # Errors
    /// [`StoreError`]; a database that a newer program made is left untouched.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(".key");
        Self::open_with_key(path, Path::new(&beside)).await
    }

    /// The same with the master key elsewhere.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open_with_key(path: &Path, key_file: &Path) -> Result<Self, StoreError> {
        let failed = |error: sqlx::Error| match error {
            sqlx::Error::Database(e) => StoreError::Open { path: path.to_owned(), reason: e.message().to_owned() },
            other => StoreError::Open { path: path.to_owned(), reason: other.to_string() },
        };
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // A checkpoint must not outlive its rows, nor a commit be lost with the power.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            // Records come in the order of their stamps, not of their ids: with SQLite's 2 MB the index pages are
            // read and written again for every page of a scan. The cache is memory; 8 MB is within our bound.
            .pragma("cache_size", "-8192")
            .pragma("wal_autocheckpoint", "4000")
            .busy_timeout(Duration::from_secs(10));
        own_file(path).map_err(|e| StoreError::Open { path: path.to_owned(), reason: e.to_string() })?;
        let writer = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await.map_err(failed)?;
        refuse_newer(&writer, path).await?;
        migrations::sqlite().run(&writer).await.map_err(|e| match e {
            sqlx::migrate::MigrateError::Execute(e) => StoreError::doing("bringing the schema up to date")(e),
            other => StoreError::Open { path: path.to_owned(), reason: other.to_string() },
        })?;
        let reader = SqlitePoolOptions::new()
            .max_connections(4)
            .connect_with(options.create_if_missing(false))
            .await
            .map_err(failed)?;
        let sealed: i64 = sqlx::query_scalar("SELECT count(*) FROM integrations")
            .fetch_one(&writer)
            .await
            .map_err(StoreError::doing("looking for sealed credentials"))?;
        if sealed > 0 && !key_file.exists() {
            let reason = "it is not there, and the database holds credentials that were sealed with it".to_owned();
            return Err(KeyError { path: key_file.to_owned(), reason }.into());
        }
        let key = MasterKey::load_or_create(key_file)?;
        sqlx::query("INSERT INTO businesses (id, name, created_at) VALUES ($1, 'own', 0) ON CONFLICT DO NOTHING")
            .bind(OWN_BUSINESS)
            .execute(&writer)
            .await
            .map_err(StoreError::doing("preparing the database"))?;
        Ok(Self { writer, reader, key, business: OWN_BUSINESS.to_owned(), path: path.to_owned() })
    }

    /// Where the tokens of this database's integrations are kept: a file beside it (`….tokens.json`), sealed with its
    /// master key, and so shared by all processes that use the database.
    pub fn token_store(&self) -> SharedStore {
        let file = FileStore::new(self.path.with_added_extension("tokens.json"));
        SharedStore { store: Arc::new(file), key: self.key.clone() }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lets the file grow to so many pages (of 4 kB, as a rule) and no further: a disk that fills up, for tests and
    /// for hosts with a quota.
    pub async fn limit_pages(&self, pages: u32) {
        let pragma = format!("PRAGMA max_page_count = {pages}");
        if let Err(error) = sqlx::query(sqlx::AssertSqlSafe(pragma)).execute(&self.writer).await {
            tracing::warn!(%error, "could not limit the database's size");
        }
    }

    /// Closes all connections, so that the write-ahead log is folded into the file.
    pub async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}

/// Makes the file where there is none, readable by its owner alone: it holds people's data. SQLite gives its
/// companions the same rights.
fn own_file(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

async fn refuse_newer(pool: &SqlitePool, path: &Path) -> Result<(), StoreError> {
    let doing = StoreError::doing("reading the schema's version");
    let tables: i64 =
        sqlx::query_scalar("SELECT count(*) FROM sqlite_master WHERE name IN ('_sqlx_migrations', 'schema_support')")
            .fetch_one(pool)
            .await
            .map_err(&doing)?;
    if tables < 2 {
        return Ok(());
    }
    let row = sqlx::query("SELECT coalesce((SELECT max(version) FROM _sqlx_migrations), 0) AS found, coalesce((SELECT max(oldest_program) FROM schema_support), 0) AS needed")
        .fetch_one(pool)
        .await
        .map_err(&doing)?;
    let (found, needed): (i64, i64) = (row.get("found"), row.get("needed"));
    if needed > migrations::NEWEST {
        return Err(StoreError::Newer { path: path.to_owned(), found, needed, known: migrations::NEWEST });
    }
    Ok(())
}
