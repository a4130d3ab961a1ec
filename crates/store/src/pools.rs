//! How busy the connections to the database are, for metrics.

use sqlx::{Database as Kind, Pool};

use crate::open::Store;
use crate::sql::Database;

/// Connections of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolUse {
    /// `sqlite_writer`, `sqlite_reader` or `postgres`.
    pub name: &'static str,
    /// Connections that are open.
    pub open: u32,
    /// Those of them that nobody uses. How many wait for one, sqlx does not tell: they do where `open` is `limit` and
    /// `idle` is 0.
    pub idle: u32,
    /// As many as may be open.
    pub limit: u32,
}

impl PoolUse {
    fn of<K: Kind>(name: &'static str, pool: &Pool<K>) -> Self {
        // The two are read one after the other.
        let open = pool.size();
        let idle = u32::try_from(pool.num_idle()).unwrap_or(u32::MAX).min(open);
        Self { name, open, idle, limit: pool.options().get_max_connections() }
    }
}

impl Store {
    /// The connections as they are now.
    pub fn pools(&self) -> Vec<PoolUse> {
        match self.database() {
            Database::Sqlite { writer, reader, .. } => {
                vec![PoolUse::of("sqlite_writer", writer), PoolUse::of("sqlite_reader", reader)]
            }
            Database::Postgres { pool, .. } => vec![PoolUse::of("postgres", pool)],
        }
    }
}
