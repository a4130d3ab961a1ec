//! How busy the connections to the database are, for metrics; and letting go of them.

use std::time::Duration;

use sqlx::{Database as Kind, Pool};

use crate::open::Store;
use crate::sql::Database;

/// How often it is looked whether connections are still in use. It is a matter of milliseconds.
const LOOK_EVERY: Duration = Duration::from_millis(2);

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

    /// Closes the connections to PostgreSQL, once nobody uses them or that long has passed; those that are needed later are
    /// opened then. For a process that is about to be frozen: what is open would be dead after it, and a transaction on the
    /// way would hold its locks meanwhile.
    pub async fn let_go(&self, patience: Duration) {
        let Database::Postgres { pool, .. } = self.database() else { return };
        let unused = async {
            while u32::try_from(pool.num_idle()).unwrap_or(u32::MAX) < pool.size() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let _ = tokio::time::timeout(patience, unused).await;
        while let Some(connection) = pool.try_acquire() {
            // One that cannot say good-bye is gone as well.
            let _ = tokio::time::timeout(patience, connection.close()).await;
        }
    }
}
