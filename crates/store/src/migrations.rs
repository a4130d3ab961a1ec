//! The schema's versions, compiled in. Numbered, forward only.

use std::borrow::Cow;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr};

/// Newest schema that this program knows.
pub(crate) const NEWEST: i64 = 1;

const SQLITE: [(i64, &str, &str); 1] =
    [(1, "contacts and checkpoints", include_str!("../migrations/sqlite/0001_contacts_and_checkpoints.sql"))];

pub(crate) fn sqlite() -> Migrator {
    let migrations = SQLITE.map(|(version, description, sql)| {
        Migration::new(
            version,
            Cow::Borrowed(description),
            MigrationType::Simple,
            AssertSqlSafe(sql).into_sql_str(),
            false,
        )
    });
    let mut migrator = Migrator::with_migrations(migrations.to_vec());
    // Whether a newer schema may be used is decided before, by the table `schema_support`.
    migrator.set_ignore_missing(true);
    migrator
}
