//! SQLite: one file, two pools.

use std::path::Path;
use std::time::Duration;

use sqlx::migrate::MigrateError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Row, SqliteConnection};

use super::statistics;
use crate::error::StoreError;
use crate::object_tables::BulkWriter;
use crate::sql::Database;
use crate::{migrations, tenancy};

/// Connections that read. More than the cores of a small host have nothing to do.
const READERS: u32 = 4;

pub(super) struct Prepared {
    pub(super) database: Database,
    /// Whether a key must be there already.
    pub(super) holds_credentials: bool,
}

pub(super) async fn prepared(path: &Path) -> Result<Prepared, StoreError> {
    let place = || path.display().to_string();
    let failed = |error: sqlx::Error| match error {
        sqlx::Error::Database(e) => StoreError::Open { place: place(), reason: e.message().to_owned() },
        other => StoreError::Open { place: place(), reason: other.to_string() },
    };
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        // Of a new file: half as many pages are looked for, written to the log and copied from there as with SQLite's 4 kB, and
        // rows cost a tenth less (docs/speed.md). With 16 kB they cost no less, and a small commit writes more.
        .page_size(8192)
        .journal_mode(SqliteJournalMode::Wal)
        // A checkpoint must not outlive its rows, nor a commit be lost with the power.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        // Records come in the order of their stamps, not of their ids: with SQLite's 2 MB the index pages are
        // read and written again for every page of a scan. The cache is memory; 8 MB is within our bound.
        .pragma("cache_size", "-8192")
        .pragma("temp_store", "memory")
        .pragma("wal_autocheckpoint", "4000")
        // What is deleted is overwritten, so that somebody who was erased is in no free page.
        .pragma("secure_delete", "ON")
        .busy_timeout(Duration::from_secs(10));
    own_file(path).map_err(|e| StoreError::Open { place: place(), reason: e.to_string() })?;
    // Not through the pools, whose connections see the tables through views. A table that is made anew leaves
    // references to it dangling for a moment.
    let mut plain = options.clone().foreign_keys(false).connect().await.map_err(failed)?;
    refuse_newer(&mut plain, &place()).await?;
    bring_up_to_date(&mut plain).await.map_err(|e| match e {
        MigrateError::Execute(e) => StoreError::doing("bringing the schema up to date")(e),
        other => StoreError::Open { place: place(), reason: other.to_string() },
    })?;
    statistics::tell(&mut plain).await.map_err(StoreError::doing("telling the shape of the tables"))?;
    let sealed: i64 = sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM integrations WHERE credentials IS NOT NULL) + (SELECT count(*) FROM data_keys)",
    )
    .fetch_one(&mut plain)
    .await
    .map_err(StoreError::doing("looking for sealed credentials"))?;
    plain.close().await.map_err(failed)?;
    let pool = |connections: u32| {
        SqlitePoolOptions::new()
            .max_connections(connections)
            .after_connect(|connection, _| Box::pin(tenancy::prepare(connection)))
            // After some failures, a full disk among them, SQLite itself has ended the transaction, and the rollback that
            // follows finds none (sqlite.org/lang_transaction.html, "Response To Errors Within A Transaction"). sqlx then
            // counts one that is not there, and begins no other on this connection for ever.
            .before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
    };
    let options = options.create_if_missing(false);
    let writer = pool(1).connect_with(options.clone()).await.map_err(failed)?;
    // Those that read have no page to keep until it is written: SQLite's own 2 MB, four times.
    let reader = pool(READERS).connect_with(options.pragma("cache_size", "-2000")).await.map_err(failed)?;
    Ok(Prepared {
        database: Database::Sqlite { writer, reader, bulk: BulkWriter::new(path.to_owned()) },
        holds_credentials: sealed > 0,
    })
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

/// A new file gets the newest schema at once, another one the versions that it lacks.
async fn bring_up_to_date(connection: &mut SqliteConnection) -> Result<(), MigrateError> {
    // Of two processes that begin at once, the second finds what the first has made.
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
    let is_new = sqlx::query_scalar("SELECT count(*) = 0 FROM sqlite_schema").fetch_one(&mut *tx).await?;
    if is_new {
        sqlx::raw_sql(migrations::SQLITE_NEW).execute(&mut *tx).await?;
    }
    migrations::sqlite().run_direct(None, &mut *tx, is_new).await?;
    Ok(tx.commit().await?)
}

async fn refuse_newer(connection: &mut SqliteConnection, place: &str) -> Result<(), StoreError> {
    let doing = StoreError::doing("reading the schema's version");
    let tables: i64 =
        sqlx::query_scalar("SELECT count(*) FROM sqlite_master WHERE name IN ('_sqlx_migrations', 'schema_support')")
            .fetch_one(&mut *connection)
            .await
            .map_err(&doing)?;
    if tables < 2 {
        return Ok(());
    }
    let row = sqlx::query(migrations::VERSIONS).fetch_one(connection).await.map_err(&doing)?;
    migrations::check(row.get("found"), row.get("needed"), place)
}
