//! What a statement answers.

use jiff::Timestamp;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::types::Json;
use uuid::Uuid;

use super::time::PgTime;
use crate::error::StoreError;

/// A row of either database.
pub(crate) struct Row {
    inner: Inner,
    doing: &'static str,
}

pub(crate) enum Inner {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    pub(super) fn sqlite(row: SqliteRow, doing: &'static str) -> Self {
        Self { inner: Inner::Sqlite(row), doing }
    }

    pub(super) fn postgres(row: PgRow, doing: &'static str) -> Self {
        Self { inner: Inner::Postgres(row), doing }
    }

    /// A column by its name.
    pub(crate) fn get<T: Column>(&self, name: &str) -> Result<T, StoreError> {
        let null = || sqlx::Error::ColumnDecode { index: name.to_owned(), source: "it is null".into() };
        self.find(name)?.ok_or_else(null).map_err(StoreError::doing(self.doing))
    }

    /// A column that may be null.
    pub(crate) fn find<T: Column>(&self, name: &str) -> Result<Option<T>, StoreError> {
        T::read(&self.inner, name).map_err(StoreError::doing(self.doing))
    }
}

/// What a column may be read as.
pub(crate) trait Column: Sized {
    fn read(row: &Inner, name: &str) -> Result<Option<Self>, sqlx::Error>;
}

/// Types that both drivers read as they are.
macro_rules! plain_columns {
    ($($type:ty),*) => {$(
        impl Column for $type {
            fn read(row: &Inner, name: &str) -> Result<Option<Self>, sqlx::Error> {
                match row {
                    Inner::Sqlite(row) => sqlx::Row::try_get(row, name),
                    Inner::Postgres(row) => sqlx::Row::try_get(row, name),
                }
            }
        }
    )*};
}

plain_columns!(String, i64, bool, Vec<u8>);

impl Column for Timestamp {
    fn read(row: &Inner, name: &str) -> Result<Option<Self>, sqlx::Error> {
        match row {
            Inner::Sqlite(row) => {
                let milliseconds: Option<i64> = sqlx::Row::try_get(row, name)?;
                milliseconds.map(Timestamp::from_millisecond).transpose().map_err(|e| undecodable(name, e))
            }
            Inner::Postgres(row) => Ok(sqlx::Row::try_get::<Option<PgTime>, _>(row, name)?.map(|time| time.0)),
        }
    }
}

impl Column for Uuid {
    fn read(row: &Inner, name: &str) -> Result<Option<Self>, sqlx::Error> {
        match row {
            Inner::Sqlite(row) => {
                let text: Option<&str> = sqlx::Row::try_get(row, name)?;
                text.map(Uuid::parse_str).transpose().map_err(|e| undecodable(name, e))
            }
            Inner::Postgres(row) => sqlx::Row::try_get(row, name),
        }
    }
}

impl Column for serde_json::Value {
    fn read(row: &Inner, name: &str) -> Result<Option<Self>, sqlx::Error> {
        match row {
            Inner::Sqlite(row) => {
                let text: Option<&str> = sqlx::Row::try_get(row, name)?;
                text.map(serde_json::from_str).transpose().map_err(|e| undecodable(name, e))
            }
            Inner::Postgres(row) => Ok(sqlx::Row::try_get::<Option<Json<Self>>, _>(row, name)?.map(|json| json.0)),
        }
    }
}

fn undecodable(name: &str, error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: name.to_owned(), source: error.into() }
}
