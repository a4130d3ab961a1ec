//! The schema's versions, compiled in. Numbered, forward only.

use std::borrow::Cow;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr};

/// Newest schema that this program knows.
pub(crate) const NEWEST: i64 = 1;

const SQLITE: [(i64, &str, &str); 1] =
    [(1, "contacts and checkpoints", include_str!("../migrations/sqlite/0001_contacts_and_checkpoints.sql"))];

const TOKENS: [(i64, &str, &str); 1] = [(1, "tokens", include_str!("../migrations/tokens/0001_tokens.sql"))];

pub(crate) fn sqlite() -> Migrator {
    let mut migrator = migrator(&SQLITE);
    // Whether a newer schema may be used is decided before, by the table `schema_support`.
    migrator.set_ignore_missing(true);
    migrator
}

/// The token table stands by itself: it may be in a database with nothing else of ours, and beside all else.
pub(crate) fn tokens() -> Migrator {
    let mut migrator = migrator(&TOKENS);
    migrator.dangerous_set_table_name("_tieline_tokens_migrations");
    migrator.set_ignore_missing(true);
    migrator
}

fn migrator(migrations: &[(i64, &'static str, &'static str)]) -> Migrator {
    let migration = |&(version, description, sql): &(i64, &'static str, &'static str)| {
        Migration::new(
            version,
            Cow::Borrowed(description),
            MigrationType::Simple,
            AssertSqlSafe(sql).into_sql_str(),
            false,
        )
    };
    Migrator::with_migrations(migrations.iter().map(migration).collect())
}
