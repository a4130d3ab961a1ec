//! Looking at a database without changing anything in it.

use std::path::Path;

use jiff::Timestamp;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, Row};
use tieline_auth::keyring::Keyring;

use crate::canaries::{self, Canary};
use crate::error::StoreError;
use crate::migrations::{self, NEWEST};
use crate::open::postgres::{self, Address};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The file, or address and name without password.
    pub place: String,
    /// Version of the schema; `None` where there is none yet.
    pub schema: Option<i64>,
    /// Newest schema that this program knows.
    pub newest: i64,
    /// What the canary of the ring's first key says; [`Canary::Unchecked`] without a ring.
    pub canary: Canary,
    /// Whether something is sealed in it.
    pub sealed: bool,
    /// The server's clock, in milliseconds; SQLite has this machine's.
    pub clock: Option<Timestamp>,
}

const THERE: &str = "SELECT count(*) FROM sqlite_master WHERE name IN ('_sqlx_migrations', 'schema_support')";
const SEALED: &str = "SELECT (SELECT count(*) FROM data_keys)";
const CANARY: &str = "SELECT wrapped, sealed FROM key_canaries WHERE service = $1";

impl Inspection {
    fn of(place: String) -> Self {
        Self { place, schema: None, newest: NEWEST, canary: Canary::None, sealed: false, clock: None }
    }

    async fn try_key(&mut self, ring: Option<&Keyring>, canary: Option<(Vec<u8>, Vec<u8>)>) {
        self.canary = match (ring, canary) {
            (None, _) => Canary::Unchecked,
            (Some(_), None) => Canary::None,
            (Some(ring), Some((wrapped, sealed))) => {
                canaries::open(ring, ring.primary().name(), &wrapped, &sealed).await
            }
        };
    }
}

/// Looks at a SQLite file. One that is not there is not made.
///
/// # Errors
/// [`StoreError`]: it cannot be read, is no database, or is a newer program's.
pub async fn inspect_file(path: &Path, ring: Option<&Keyring>) -> Result<Inspection, StoreError> {
    let mut found = Inspection::of(path.display().to_string());
    if !path.exists() {
        return Ok(found);
    }
    let failed = |e: sqlx::Error| StoreError::Open { place: path.display().to_string(), reason: e.to_string() };
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(false).read_only(true);
    let mut connection = options.connect().await.map_err(failed)?;
    let there: i64 = sqlx::query_scalar(THERE).fetch_one(&mut connection).await.map_err(failed)?;
    if there == 2 {
        let row = sqlx::query(migrations::VERSIONS).fetch_one(&mut connection).await.map_err(failed)?;
        let schema: i64 = row.get("found");
        migrations::check(schema, row.get("needed"), &found.place)?;
        found.schema = Some(schema);
        if schema >= 2 {
            let sealed: i64 = sqlx::query_scalar(SEALED).fetch_one(&mut connection).await.map_err(failed)?;
            found.sealed = sealed > 0;
            let mut canary = None;
            if let Some(ring) = ring {
                let query = sqlx::query(CANARY).bind(ring.primary().name());
                let row = query.fetch_optional(&mut connection).await.map_err(failed)?;
                canary = row.map(|row| (row.get("wrapped"), row.get("sealed")));
            }
            found.try_key(ring, canary).await;
        }
    }
    connection.close().await.map_err(failed)?;
    Ok(found)
}

/// Looks at a database on a PostgreSQL server.
///
/// # Errors
/// [`StoreError`]: it cannot be reached, or is a newer program's.
pub async fn inspect_server(url: &str, ring: Option<&Keyring>) -> Result<Inspection, StoreError> {
    let unread = |e: sqlx::Error| StoreError::Open { place: "postgresql".to_owned(), reason: e.to_string() };
    let Address { options, .. } = postgres::address(url).map_err(unread)?;
    let database = options.get_database().unwrap_or("");
    let place = format!("postgresql {}:{}/{database}", options.get_host(), options.get_port());
    let failed = |e: sqlx::Error| StoreError::Open { place: place.clone(), reason: e.to_string() };
    let mut found = Inspection::of(place.clone());
    let mut connection = options.connect().await.map_err(failed)?;
    let clock: i64 = sqlx::query_scalar("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)")
        .persistent(false)
        .fetch_one(&mut connection)
        .await
        .map_err(failed)?;
    found.clock = Timestamp::from_millisecond(clock).ok();
    let there: bool = sqlx::query_scalar("SELECT to_regclass('schema_support') IS NOT NULL")
        .persistent(false)
        .fetch_one(&mut connection)
        .await
        .map_err(failed)?;
    if there {
        let row =
            sqlx::query(migrations::VERSIONS).persistent(false).fetch_one(&mut connection).await.map_err(failed)?;
        let schema = row.get("found");
        migrations::check(schema, row.get("needed"), &place)?;
        found.schema = Some(schema);
        let mut tx = connection.begin_with("BEGIN READ ONLY; SET LOCAL ROLE tieline_system").await.map_err(failed)?;
        let sealed: i64 = sqlx::query_scalar(SEALED).persistent(false).fetch_one(&mut *tx).await.map_err(failed)?;
        found.sealed = sealed > 0;
        let mut canary = None;
        if let Some(ring) = ring {
            let query = sqlx::query(CANARY).persistent(false).bind(ring.primary().name().to_owned());
            let row = query.fetch_optional(&mut *tx).await.map_err(failed)?;
            canary = row.map(|row| (row.get("wrapped"), row.get("sealed")));
        }
        tx.rollback().await.map_err(failed)?;
        found.try_key(ring, canary).await;
    }
    connection.close().await.map_err(failed)?;
    Ok(found)
}
