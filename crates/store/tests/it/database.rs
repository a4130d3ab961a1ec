//! A database of a test's own, in either kind.

use std::sync::{Arc, Mutex, Weak};

use jiff::Timestamp;
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, Row};
use tieline_auth::keyring::Keyring;
use tieline_store::{Credentials, Store, Uuid};

use crate::servers::Postgres;

/// A local master key.
pub(crate) const KEY: &str = "q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s=";

/// Each test on both databases: modules `sqlite` and `postgres`.
macro_rules! on_both {
    ($($test:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $test() {
                super::$test(crate::database::Db::sqlite().await).await;
            })*
        }
        mod postgres {
            $(#[tokio::test]
            async fn $test() {
                if let Some(db) = crate::database::Db::postgres().await {
                    super::$test(db).await;
                }
            })*
        }
    };
}

pub(crate) fn now() -> Timestamp {
    "2026-06-01T12:00:00Z".parse().unwrap()
}

pub(crate) fn ring(spec: &str) -> Keyring {
    Keyring::from_spec(spec, |_| None).unwrap()
}

pub(crate) struct Db {
    pub(crate) store: Store,
    /// A connection beside the store's, for what the store would never do.
    pub(crate) raw: Raw,
    pub(crate) place: Place,
}

pub(crate) enum Place {
    File(tempfile::TempDir),
    Server(String, Arc<Postgres>),
}

pub(crate) enum Raw {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// One server for all tests that run at the same time.
static SERVER: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());

fn server() -> Option<Arc<Postgres>> {
    let mut slot = SERVER.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(server) = slot.upgrade() {
        return Some(server);
    }
    let server = Arc::new(Postgres::start()?);
    *slot = Arc::downgrade(&server);
    Some(server)
}

/// An empty database on the server.
pub(crate) fn empty_postgres() -> Option<Place> {
    let server = server()?;
    let name = format!("t{}", Uuid::now_v7().simple());
    server.sql(&format!("CREATE DATABASE {name}"));
    let url = format!("{}/{name}", server.url.rsplit_once('/').unwrap().0);
    Some(Place::Server(url, server))
}

impl Place {
    pub(crate) async fn open(&self) -> Store {
        match self {
            Place::File(folder) => Store::open(&folder.path().join("t.db")).await.unwrap(),
            Place::Server(url, _) => Store::connect(url, ring(KEY)).await.unwrap(),
        }
    }
}

impl Db {
    pub(crate) async fn sqlite() -> Db {
        let place = Place::File(tempfile::tempdir().unwrap());
        let store = place.open().await;
        // One connection: another would not know at once what this one did to the schema.
        let raw = SqlitePoolOptions::new().max_connections(1);
        let raw = raw.connect_with(SqliteConnectOptions::new().filename(store.path().unwrap())).await.unwrap();
        Db { store, raw: Raw::Sqlite(raw), place }
    }

    pub(crate) async fn postgres() -> Option<Db> {
        let place = empty_postgres()?;
        let store = place.open().await;
        let Place::Server(url, _) = &place else { unreachable!() };
        let raw = PgPoolOptions::new().max_connections(1).connect(url).await.unwrap();
        Some(Db { store, raw: Raw::Postgres(raw), place })
    }

    pub(crate) async fn integration(&self) -> Uuid {
        let credentials = Credentials::new(b"hidden-refresh-token".to_vec());
        self.store.own().save_integration("acme", &credentials, now()).await.unwrap()
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        matches!(self.raw, Raw::Sqlite(_))
    }
}

impl Raw {
    /// Runs statements as whoever owns the tables.
    pub(crate) async fn run(&self, sql: &str) {
        match self {
            Raw::Sqlite(pool) => sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await.map(drop),
            Raw::Postgres(pool) => sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await.map(drop),
        }
        .unwrap_or_else(|e| panic!("{sql}: {e}"));
    }

    /// The first column of all rows, which must be text.
    pub(crate) async fn texts(&self, sql: &str) -> Vec<String> {
        match self {
            Raw::Sqlite(pool) => {
                let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(pool).await.unwrap();
                rows.iter().map(|row| row.get(0)).collect()
            }
            Raw::Postgres(pool) => {
                let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(pool).await.unwrap();
                rows.iter().map(|row| row.get(0)).collect()
            }
        }
    }

    /// Makes every such write fail: `BEFORE UPDATE OF x ON t`, perhaps with `WHEN …`.
    pub(crate) async fn failpoint(&self, event: &str, when: &str) {
        self.run(&match self {
            Raw::Sqlite(_) => {
                let when = if when.is_empty() { String::new() } else { format!("WHEN {when}") };
                format!("CREATE TRIGGER failpoint {event} {when} BEGIN SELECT RAISE(ABORT, 'failpoint'); END")
            }
            Raw::Postgres(_) => {
                let when = if when.is_empty() { String::new() } else { format!("WHEN ({when})") };
                format!(
                    "CREATE OR REPLACE FUNCTION failpoint() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'failpoint'; END $$;
                     CREATE TRIGGER failpoint {event} FOR EACH ROW {when} EXECUTE FUNCTION failpoint()"
                )
            }
        })
        .await;
    }

    pub(crate) async fn mend(&self, table: &str) {
        self.run(&match self {
            Raw::Sqlite(_) => "DROP TRIGGER failpoint".to_owned(),
            Raw::Postgres(_) => format!("DROP TRIGGER failpoint ON {table}"),
        })
        .await;
    }
}
