//! The token store in PostgreSQL: one row an org, every rule one statement.
//!
//! The entries are sealed before they come here, and named by digests: the table tells nobody which orgs there are.

use std::time::Duration;

use sqlx::postgres::{PgArguments, PgPoolOptions, PgRow};
use sqlx::{ConnectOptions, PgPool, Postgres, Row, Transaction};
use tieline_auth::token_store::{Answer, Entry, Lease, Swap, Take, TokenStore, TokenStoreError};

use crate::migrations;
use crate::open::postgres::{self, Address};

/// A token is looked at rarely; a fleet has many processes, and the server few connections.
const CONNECTIONS: u32 = 2;
const IDLE: Duration = Duration::from_secs(30);
const ACQUIRE: Duration = Duration::from_secs(10);

/// Takes, extends or refuses the lease. No row comes back where somebody else has it.
const LEASE: &str = "
INSERT INTO tieline_tokens AS t (key, fence, owner, lease_until)
VALUES ($1, 1, $2, clock_timestamp() + $3 * interval '1 millisecond')
ON CONFLICT (key) DO UPDATE SET
    fence = t.fence + CASE WHEN t.owner IS NOT DISTINCT FROM $2 THEN 0 ELSE 1 END,
    owner = $2,
    lease_until = excluded.lease_until
WHERE $4 OR t.owner IS NULL OR t.owner = $2 OR t.lease_until <= clock_timestamp()
RETURNING fence";

const REMAINING: &str = "
SELECT greatest(0, ceil(extract(epoch FROM lease_until - clock_timestamp()) * 1000))::bigint
FROM tieline_tokens WHERE key = $1";

const SWAP: &str = "
UPDATE tieline_tokens SET sealed = $4, version = version + 1
WHERE key = $1 AND version = $2 AND fence = $3
RETURNING version";

type PgQuery<'q> = sqlx::query::Query<'q, Postgres, PgArguments>;

/// Tokens in the table `tieline_tokens`.
#[derive(Clone)]
pub struct TokenTable {
    pool: PgPool,
    address: String,
    /// Whether statements may be prepared for a connection: not behind a transaction pooler.
    prepared: bool,
}

impl std::fmt::Debug for TokenTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenTable").field("address", &self.address).finish_non_exhaustive()
    }
}

impl TokenTable {
    /// Connects to `postgres://[user[:password]@]host[:port]/database` and makes the table where it is not there.
    /// With `?pooler=transaction` a pooler may be in between that gives every transaction another connection.
    ///
    /// # Errors
    /// The URL is not one, the server cannot be reached, or the user may not make a table. The password is not in the
    /// message.
    pub async fn connect(url: &str) -> Result<Self, TokenStoreError> {
        let address = "postgresql".to_owned();
        let failed = |address: &str, error: String| TokenStoreError { store: address.to_owned(), reason: error };
        let Address { options, pooled } = postgres::address(url).map_err(|e| failed(&address, e.to_string()))?;
        let address = format!(
            "postgresql {}:{}/{}",
            options.get_host(),
            options.get_port(),
            options.get_database().unwrap_or("")
        );
        // Not through the pool, which would try until its time is up and then say no more than that.
        let mut connection = options.connect().await.map_err(|e| failed(&address, e.to_string()))?;
        let there: bool = sqlx::raw_sql("SELECT to_regclass('tieline_tokens') IS NOT NULL")
            .fetch_one(&mut connection)
            .await
            .and_then(|row| row.try_get(0))
            .map_err(|e| failed(&address, e.to_string()))?;
        drop(connection);
        let pool = PgPoolOptions::new().max_connections(CONNECTIONS).idle_timeout(IDLE).acquire_timeout(ACQUIRE);
        let table = Self { pool: pool.connect_lazy_with(options.clone()), address, prepared: !pooled };
        if !there {
            // Under a lock of the database's, so that a fleet that starts at once makes it once.
            let made = postgres::migrate(&options, &migrations::tokens()).await;
            made.map_err(|e| failed(&table.address, e.to_string()))?;
        }
        Ok(table)
    }

    /// Each operation is a transaction: only within one a pooler leaves a statement's two halves on one connection.
    async fn begin(&self) -> Result<Transaction<'static, Postgres>, TokenStoreError> {
        self.pool.begin().await.map_err(|e| self.failed(&e))
    }

    async fn commit(&self, tx: Transaction<'static, Postgres>) -> Result<(), TokenStoreError> {
        tx.commit().await.map_err(|e| self.failed(&e))
    }

    fn prepared<'q>(&self, query: PgQuery<'q>) -> PgQuery<'q> {
        query.persistent(self.prepared)
    }

    fn first(&self, row: &PgRow) -> Result<i64, TokenStoreError> {
        row.try_get(0).map_err(|e| self.failed(&e))
    }

    fn failed(&self, error: &sqlx::Error) -> TokenStoreError {
        TokenStoreError { store: self.address.clone(), reason: error.to_string() }
    }
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

impl TokenStore for TokenTable {
    fn describe(&self) -> String {
        self.address.clone()
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn load<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Entry>> {
        Box::pin(async move {
            let mut tx = self.begin().await?;
            let row = self
                .prepared(sqlx::query("SELECT version, sealed FROM tieline_tokens WHERE key = $1 AND version > 0"))
                .bind(key)
                .fetch_optional(&mut *tx)
                .await
                .map_err(|e| self.failed(&e))?;
            self.commit(tx).await?;
            let entry = |row: PgRow| -> Result<Entry, sqlx::Error> {
                Ok(Entry { version: unsigned(row.try_get(0)?), sealed: row.try_get(1)? })
            };
            row.map(entry).transpose().map_err(|e| self.failed(&e))
        })
    }

    fn lease<'a>(&'a self, key: &'a str, owner: &'a str, time: Duration, take: Take) -> Answer<'a, Lease> {
        Box::pin(async move {
            let mut tx = self.begin().await?;
            let fence = self
                .prepared(sqlx::query(LEASE))
                .bind(key)
                .bind(owner)
                .bind(i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
                .bind(take == Take::ByForce)
                .fetch_optional(&mut *tx)
                .await
                .map_err(|e| self.failed(&e))?;
            let lease = match fence {
                Some(row) => Lease::Held { fence: unsigned(self.first(&row)?) },
                None => {
                    let remaining = self.prepared(sqlx::query(REMAINING)).bind(key).fetch_optional(&mut *tx).await;
                    let remaining = remaining.map_err(|e| self.failed(&e))?.map(|row| self.first(&row)).transpose()?;
                    Lease::Busy { remaining: Duration::from_millis(unsigned(remaining.unwrap_or(0))) }
                }
            };
            self.commit(tx).await?;
            Ok(lease)
        })
    }

    fn compare_and_swap<'a>(&'a self, key: &'a str, expected: u64, fence: u64, sealed: &'a [u8]) -> Answer<'a, Swap> {
        Box::pin(async move {
            let mut tx = self.begin().await?;
            let version = self
                .prepared(sqlx::query(SWAP))
                .bind(key)
                .bind(number(expected))
                .bind(number(fence))
                .bind(sealed)
                .fetch_optional(&mut *tx)
                .await
                .map_err(|e| self.failed(&e))?;
            let swap = match version {
                Some(row) => Swap::Done(unsigned(self.first(&row)?)),
                None => Swap::Refused,
            };
            self.commit(tx).await?;
            Ok(swap)
        })
    }

    fn release<'a>(&'a self, key: &'a str, owner: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut tx = self.begin().await?;
            self.prepared(sqlx::query("UPDATE tieline_tokens SET owner = NULL WHERE key = $1 AND owner = $2"))
                .bind(key)
                .bind(owner)
                .execute(&mut *tx)
                .await
                .map_err(|e| self.failed(&e))?;
            self.commit(tx).await
        })
    }
}
