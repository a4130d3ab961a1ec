//! The schema's versions, compiled in. Numbered alike in both dialects, forward only.

use std::borrow::Cow;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr};

use crate::error::StoreError;

/// Newest schema that this program knows.
pub(crate) const NEWEST: i64 = 13;

/// Number, what it is about, and its statements.
type Versions = &'static [(i64, &'static str, &'static str)];

const SQLITE: Versions = &[
    (1, "contacts and checkpoints", include_str!("../migrations/sqlite/0001_contacts_and_checkpoints.sql")),
    (2, "service", include_str!("../migrations/sqlite/0002_service.sql")),
    (3, "alerts", include_str!("../migrations/sqlite/0003_alerts.sql")),
    (4, "personal data", include_str!("../migrations/sqlite/0004_personal_data.sql")),
    (5, "sign in", include_str!("../migrations/sqlite/0005_sign_in.sql")),
    (6, "mappings", include_str!("../migrations/sqlite/0006_mappings.sql")),
    (7, "mapping progress", include_str!("../migrations/sqlite/0007_mapping_progress.sql")),
    (8, "sync work", include_str!("../migrations/sqlite/0008_sync_work.sql")),
    (9, "records", include_str!("../migrations/sqlite/0009_records.sql")),
    (10, "duplicates", include_str!("../migrations/sqlite/0010_duplicates.sql")),
    (11, "contacts mapping", include_str!("../migrations/sqlite/0011_contacts_mapping.sql")),
    (12, "mappings by api", include_str!("../migrations/sqlite/0012_mappings_by_api.sql")),
    (13, "counting", include_str!("../migrations/sqlite/0013_counting.sql")),
];

/// What all of them make, one after the other, of a new file: its statements as SQLite keeps them. A file gets it in a sixth
/// of their time (a test holds the two against each other, and writes this one: `TIELINE_UPDATE_SCHEMA=1`).
pub(crate) const SQLITE_NEW: &str = include_str!("../migrations/sqlite/new.sql");

const POSTGRES: Versions = &[
    (2, "service", include_str!("../migrations/postgres/0002_service.sql")),
    (3, "alerts", include_str!("../migrations/postgres/0003_alerts.sql")),
    (4, "personal data", include_str!("../migrations/postgres/0004_personal_data.sql")),
    (5, "sign in", include_str!("../migrations/postgres/0005_sign_in.sql")),
    (6, "mappings", include_str!("../migrations/postgres/0006_mappings.sql")),
    (7, "mapping progress", include_str!("../migrations/postgres/0007_mapping_progress.sql")),
    (8, "sync work", include_str!("../migrations/postgres/0008_sync_work.sql")),
    (9, "records", include_str!("../migrations/postgres/0009_records.sql")),
    (10, "duplicates", include_str!("../migrations/postgres/0010_duplicates.sql")),
    (11, "contacts mapping", include_str!("../migrations/postgres/0011_contacts_mapping.sql")),
    (12, "mappings by api", include_str!("../migrations/postgres/0012_mappings_by_api.sql")),
    (13, "counting", include_str!("../migrations/postgres/0013_counting.sql")),
];

const TOKENS: Versions = &[(1, "tokens", include_str!("../migrations/tokens/0001_tokens.sql"))];

/// The schema's version, and the oldest program that may work with it.
pub(crate) const VERSIONS: &str = "SELECT coalesce((SELECT max(version) FROM _sqlx_migrations), 0) AS found, coalesce((SELECT max(oldest_program) FROM schema_support), 0) AS needed";

/// Refuses a schema that this program must not touch.
pub(crate) fn check(found: i64, needed: i64, place: &str) -> Result<(), StoreError> {
    if needed > NEWEST {
        return Err(StoreError::Newer { place: place.to_owned(), found, needed, known: NEWEST });
    }
    Ok(())
}

pub(crate) fn sqlite() -> Migrator {
    migrator(SQLITE)
}

pub(crate) fn postgres() -> Migrator {
    let mut migrator = migrator(POSTGRES);
    // A lock of the session's is no lock behind a pooler; the caller takes one of the transaction's.
    migrator.set_locking(false);
    migrator
}

/// The token table stands by itself: it may be in a database with nothing else of ours, and beside all else.
pub(crate) fn tokens() -> Migrator {
    let mut migrator = migrator(TOKENS);
    migrator.dangerous_set_table_name("_tieline_tokens_migrations");
    migrator.set_locking(false);
    migrator
}

fn migrator(migrations: Versions) -> Migrator {
    let migration = |&(version, description, sql): &(i64, &'static str, &'static str)| {
        Migration::new(
            version,
            Cow::Borrowed(description),
            MigrationType::Simple,
            AssertSqlSafe(sql).into_sql_str(),
            false,
        )
    };
    let mut migrator = Migrator::with_migrations(migrations.iter().map(migration).collect());
    // Whether a newer schema may be used is decided before, by the table `schema_support`.
    migrator.set_ignore_missing(true);
    migrator
}
