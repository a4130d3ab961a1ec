//! Transactions: each knows for whom it works, and nothing runs outside of one.

use std::borrow::Cow;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArguments, PgPool};
use sqlx::sqlite::{SqliteArguments, SqlitePool};
use sqlx::{AssertSqlSafe, Postgres, Sqlite, Transaction};
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::dialect::{by_place, for_sqlite};
use super::row::{Column, Row};
use super::value::Value;
use crate::error::StoreError;
use crate::object_tables::BulkWriter;

/// Whose rows a transaction sees and may write. The database itself holds to it (see [`crate::tenancy`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scope {
    /// One business's. `user`: on behalf of whom.
    Tenant { business: Uuid, user: Option<Uuid> },
    /// The memberships of a person, and the businesses that they lead to.
    User(Uuid),
    /// Everybody's: for what comes before a business is known (whose session is this?), and for the service's own
    /// work. Its statements are few, and each says in its own words which row it means.
    System,
    /// Nobody's rows: tables are made and changed. On PostgreSQL as whoever owns them.
    Schema,
}

/// What a transaction is for. SQLite has one writer; PostgreSQL refuses writes in a reading one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    /// Reads all from one moment, however many statements it takes.
    Snapshot,
    Write,
}

/// The connections to either database.
#[derive(Debug, Clone)]
pub(crate) enum Database {
    /// One writing connection: SQLite has one writer at a time, and waiting here is fair. Rows by the thousand have
    /// another one, used by whoever holds the first.
    Sqlite { writer: SqlitePool, reader: SqlitePool, bulk: BulkWriter },
    /// `prepared`: whether a statement may be prepared for the whole connection. Behind a transaction pooler the
    /// next transaction has another one. `ahead`: connections that may wait with rows whose turn has not come.
    Postgres { pool: PgPool, prepared: bool, ahead: Arc<Semaphore> },
}

impl Database {
    /// Begins a transaction. `doing` is what its errors say was attempted.
    pub(crate) async fn begin(&self, scope: Scope, access: Access, doing: &'static str) -> Result<Tx, StoreError> {
        let begun = match self {
            Database::Sqlite { writer, reader, .. } => {
                let pool = if access == Access::Write { writer } else { reader };
                pool.begin_with(AssertSqlSafe(begin_sqlite(&scope, access))).await.map(Inner::Sqlite)
            }
            Database::Postgres { pool, prepared, .. } => {
                // In a task of its own, which ends whoever waits for it: a caller that is dropped between BEGIN and its
                // answer would give the connection back within a transaction that sqlx does not know of, and the next
                // one's statements would run in that.
                let (pool, begin) = (pool.clone(), AssertSqlSafe(begin_postgres(&scope, access)));
                let begun = tokio::spawn(async move { pool.begin_with(begin).await }).await;
                let begun = begun.unwrap_or(Err(sqlx::Error::WorkerCrashed));
                begun.map(|transaction| Inner::Postgres { transaction, prepared: *prepared })
            }
        };
        Ok(Tx { inner: begun.map_err(StoreError::doing(doing))?, scope, doing })
    }

    pub(crate) async fn limit_pages(&self, pages: u32) -> Result<(), sqlx::Error> {
        if let Database::Sqlite { writer, bulk, .. } = self {
            bulk.limit_pages(pages);
            sqlx::query(AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"))).execute(writer).await?;
        }
        Ok(())
    }

    /// Folds SQLite's write-ahead log into the file, and empties it: what was overwritten is in neither then. Whoever
    /// reads at this moment keeps it from being complete; the next one is.
    pub(crate) async fn fold(&self) {
        let Database::Sqlite { writer, .. } = self else { return };
        // Nobody is waited for: all who write would wait too.
        let fold = "PRAGMA busy_timeout = 0; PRAGMA wal_checkpoint(TRUNCATE); PRAGMA busy_timeout = 10000";
        if let Err(error) = sqlx::raw_sql(fold).execute(writer).await {
            tracing::warn!(%error, "the write-ahead log was not emptied");
        }
    }

    pub(crate) async fn close(&self) {
        match self {
            Database::Sqlite { writer, reader, bulk } => {
                bulk.close();
                reader.close().await;
                writer.close().await;
            }
            Database::Postgres { pool, .. } => pool.close().await,
        }
    }
}

/// One journey to the database tells all of it. The ids are UUIDs: their text holds nothing that SQL would read.
fn begin_sqlite(scope: &Scope, access: Access) -> String {
    let begin = if access == Access::Write { "BEGIN IMMEDIATE" } else { "BEGIN" };
    let (business, user) = match scope {
        Scope::Tenant { business, user } => (business.to_string(), user.map(|user| user.to_string())),
        Scope::User(user) => (String::new(), Some(user.to_string())),
        Scope::System => ("*".to_owned(), None),
        Scope::Schema => (String::new(), None),
    };
    format!("{begin}; UPDATE temp.scope SET business = '{business}', person = '{}'", user.unwrap_or_default())
}

fn begin_postgres(scope: &Scope, access: Access) -> String {
    let begin = match access {
        // Whoever has waited for a lock sees what was committed meanwhile, whatever the server's default is.
        Access::Write => "BEGIN ISOLATION LEVEL READ COMMITTED",
        Access::Read => "BEGIN READ ONLY",
        Access::Snapshot => "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY",
    };
    let told = |business: &str, user: &str| {
        format!(
            "{begin}; SET LOCAL ROLE tieline_app; SET LOCAL tieline.business = '{business}'; SET LOCAL tieline.person = '{user}'"
        )
    };
    match scope {
        Scope::Tenant { business, user } => {
            told(&business.to_string(), &user.map(|user| user.to_string()).unwrap_or_default())
        }
        Scope::User(user) => told("", &user.to_string()),
        Scope::System => format!("{begin}; SET LOCAL ROLE tieline_system"),
        Scope::Schema => begin.to_owned(),
    }
}

/// A transaction. Dropped without [`Tx::commit`] it leaves nothing behind.
pub(crate) struct Tx {
    inner: Inner,
    scope: Scope,
    doing: &'static str,
}

enum Inner {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres { transaction: Transaction<'static, Postgres>, prepared: bool },
}

impl Tx {
    /// A statement, to be given its values and run.
    pub(crate) fn query(&mut self, sql: impl Into<Cow<'static, str>>) -> Query<'_> {
        Query { tx: self, sql: sql.into(), values: Vec::new() }
    }

    pub(crate) fn is_postgres(&self) -> bool {
        matches!(self.inner, Inner::Postgres { .. })
    }

    /// One row of PostgreSQL's, by arguments that were encoded before.
    pub(crate) async fn postgres_row(&mut self, sql: String, arguments: PgArguments) -> Result<Row, StoreError> {
        let doing = self.doing;
        let Inner::Postgres { transaction, prepared } = &mut self.inner else {
            return Err(StoreError::doing(doing)(sqlx::Error::Configuration("this is no PostgreSQL".into())));
        };
        let query = sqlx::query_with(AssertSqlSafe(sql), arguments).persistent(*prepared);
        query.fetch_one(&mut **transaction).await.map(|row| Row::postgres(row, doing)).map_err(StoreError::doing(doing))
    }

    /// How many rows of PostgreSQL's a statement touches, by arguments that were encoded before.
    pub(crate) async fn postgres_count(&mut self, sql: String, arguments: PgArguments) -> Result<u64, StoreError> {
        let doing = self.doing;
        let Inner::Postgres { transaction, prepared } = &mut self.inner else {
            return Err(StoreError::doing(doing)(sqlx::Error::Configuration("this is no PostgreSQL".into())));
        };
        let query = sqlx::query_with(AssertSqlSafe(sql), arguments).persistent(*prepared);
        query.execute(&mut **transaction).await.map(|done| done.rows_affected()).map_err(StoreError::doing(doing))
    }

    /// Sends what PostgreSQL's `COPY … FROM STDIN` asks for: a head, pieces, of which `fill` appends one each time until it
    /// says that there are no more, and an end. Not to be given up before it is done: behind the end's sending, sqlx takes
    /// its answer for the one to the next statement.
    pub(crate) async fn postgres_copy(
        &mut self,
        sql: &str,
        (head, end): (&[u8], &[u8]),
        mut fill: impl FnMut(&mut Vec<u8>) -> Result<bool, BoxDynError>,
    ) -> Result<(), StoreError> {
        let failed = StoreError::doing(self.doing);
        let Inner::Postgres { transaction, .. } = &mut self.inner else {
            return Err(failed(sqlx::Error::Configuration("this is no PostgreSQL".into())));
        };
        let mut copy = transaction.copy_in_raw(sql).await.map_err(&failed)?;
        let mut piece = head.to_vec();
        // What cannot be encoded costs the connection. Dropped, the copy tells the server that it fails, and sqlx closes the
        // connection; its `abort` leaves the connection one answer behind, if the server has failed before (sqlx 0.9).
        while fill(&mut piece).map_err(|error| failed(sqlx::Error::Encode(error)))? {
            copy.send(piece.as_slice()).await.map_err(&failed)?;
            piece.clear();
        }
        piece.extend(end);
        copy.send(piece.as_slice()).await.map_err(&failed)?;
        copy.finish().await.map(drop).map_err(failed)
    }

    /// Has each statement of this transaction planned for its values and for the tables as they are. PostgreSQL keeps the
    /// plan of a prepared statement until it has new statistics; one that was made when a table was empty goes through
    /// all of it, and an import fills a table faster than statistics follow.
    pub(crate) async fn plan_anew(&mut self) -> Result<(), StoreError> {
        if self.is_postgres() {
            self.query("SET LOCAL plan_cache_mode = force_custom_plan").execute().await?;
        }
        Ok(())
    }

    /// Has the statements of this transaction go by indexes. Where PostgreSQL knows nothing yet of how often values of a
    /// young table repeat, it takes each for a frequent one, and goes through the whole table to find the first few.
    pub(crate) async fn by_index(&mut self) -> Result<(), StoreError> {
        if self.is_postgres() {
            self.query("SET LOCAL enable_seqscan = off").execute().await?;
        }
        Ok(())
    }

    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        let committed = match self.inner {
            Inner::Sqlite(transaction) => transaction.commit().await,
            Inner::Postgres { transaction, .. } => transaction.commit().await,
        };
        committed.map_err(StoreError::doing(self.doing))
    }
}

/// A statement with its values.
#[must_use]
pub(crate) struct Query<'t> {
    tx: &'t mut Tx,
    sql: Cow<'static, str>,
    values: Vec<Value>,
}

/// The same call of a query of either database, with its error told.
macro_rules! run {
    ($query:expr, $call:ident) => {{
        let Query { tx, sql, values } = $query;
        let failed = StoreError::doing(tx.doing);
        match &mut tx.inner {
            Inner::Sqlite(transaction) => {
                let query = sqlite(sql, values, &tx.scope).map_err(&failed)?;
                Either::Sqlite(query.$call(&mut **transaction).await.map_err(failed)?)
            }
            Inner::Postgres { transaction, prepared } => {
                let query = postgres(sql, values, *prepared).map_err(&failed)?;
                Either::Postgres(query.$call(&mut **transaction).await.map_err(failed)?)
            }
        }
    }};
}

enum Either<S, P> {
    Sqlite(S),
    Postgres(P),
}

impl<'t> Query<'t> {
    /// The next value: `$1`, `$2`, …
    pub(crate) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Many values at once.
    pub(crate) fn bind_all(mut self, values: impl IntoIterator<Item = Value>) -> Self {
        self.values.extend(values);
        self
    }

    /// Runs it; how many rows it touched.
    pub(crate) async fn execute(self) -> Result<u64, StoreError> {
        Ok(match run!(self, execute) {
            Either::Sqlite(done) => done.rows_affected(),
            Either::Postgres(done) => done.rows_affected(),
        })
    }

    /// All rows.
    pub(crate) async fn all(self) -> Result<Vec<Row>, StoreError> {
        let doing = self.tx.doing;
        Ok(match run!(self, fetch_all) {
            Either::Sqlite(rows) => rows.into_iter().map(|row| Row::sqlite(row, doing)).collect(),
            Either::Postgres(rows) => rows.into_iter().map(|row| Row::postgres(row, doing)).collect(),
        })
    }

    /// The rows as they come: what was read is not kept.
    pub(crate) fn stream(self) -> Result<BoxStream<'t, Result<Row, StoreError>>, StoreError> {
        let Query { tx, sql, values } = self;
        let doing = tx.doing;
        Ok(match &mut tx.inner {
            Inner::Sqlite(transaction) => {
                let query = sqlite(sql, values, &tx.scope).map_err(StoreError::doing(doing))?;
                let rows = query.fetch(&mut **transaction);
                rows.map(move |row| row.map(|row| Row::sqlite(row, doing)).map_err(StoreError::doing(doing))).boxed()
            }
            Inner::Postgres { transaction, prepared } => {
                let query = postgres(sql, values, *prepared).map_err(StoreError::doing(doing))?;
                let rows = query.fetch(&mut **transaction);
                rows.map(move |row| row.map(|row| Row::postgres(row, doing)).map_err(StoreError::doing(doing))).boxed()
            }
        })
    }

    /// The first row, if there is one.
    pub(crate) async fn optional(self) -> Result<Option<Row>, StoreError> {
        let doing = self.tx.doing;
        Ok(match run!(self, fetch_optional) {
            Either::Sqlite(row) => row.map(|row| Row::sqlite(row, doing)),
            Either::Postgres(row) => row.map(|row| Row::postgres(row, doing)),
        })
    }

    /// The one row that there must be.
    pub(crate) async fn one(self) -> Result<Row, StoreError> {
        let doing = self.tx.doing;
        self.optional().await?.ok_or(sqlx::Error::RowNotFound).map_err(StoreError::doing(doing))
    }

    /// One column, by its name, of the one row that there must be.
    pub(crate) async fn value<T: Column>(self, column: &str) -> Result<T, StoreError> {
        self.one().await?.get(column)
    }
}

/// Values that a statement for SQLite may have by their names (`$1`). SQLite looks through all names for each: twice as
/// many take four times as long, and two thousand took longer than the rest of the statement a hundred times over.
const NAMED: usize = 24;

type SqliteQuery = sqlx::query::Query<'static, Sqlite, SqliteArguments>;
type PostgresQuery = sqlx::query::Query<'static, Postgres, PgArguments>;

fn sqlite(sql: Cow<'static, str>, values: Vec<Value>, scope: &Scope) -> Result<SqliteQuery, sqlx::Error> {
    let sql = match sql {
        Cow::Borrowed(sql) => for_sqlite(sql, scope),
        Cow::Owned(sql) => Cow::Owned(for_sqlite(&sql, scope).into_owned()),
    };
    // A list of rows is another statement for each length, and sqlx keeps the last hundred of a connection: with some
    // thousand values each is large, and the memory of all of them is the service's for good.
    let kept = values.len() <= NAMED;
    let (sql, values) = if kept { (sql, values) } else { by_place(&sql, values) };
    let mut arguments = SqliteArguments::default();
    for value in values {
        value.add_to_sqlite(&mut arguments).map_err(sqlx::Error::Encode)?;
    }
    Ok(sqlx::query_with(AssertSqlSafe(sql), arguments).persistent(kept))
}

fn postgres(sql: Cow<'static, str>, values: Vec<Value>, prepared: bool) -> Result<PostgresQuery, sqlx::Error> {
    let mut arguments = PgArguments::default();
    for value in values {
        value.add_to_postgres(&mut arguments).map_err(sqlx::Error::Encode)?;
    }
    Ok(sqlx::query_with(AssertSqlSafe(sql), arguments).persistent(prepared))
}
