//! What a mapping's table holds, to be compared with the org.

use std::collections::HashMap;

use jiff::Timestamp;

use super::Mapping;
use crate::error::StoreError;
use crate::open::Tenant;
use crate::sql::{Row, Tx};

/// Which version of a record the table has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Its stamp.
    pub stamp: Option<Timestamp>,
    /// How it went, by [`Deletion::name`](crate::object_tables::Deletion::name); none if it is there.
    pub deleted: Option<String>,
}

fn quoted(mapping: &Mapping) -> String {
    format!("\"{}\"", mapping.table.name())
}

fn version(row: &Row, postgres: bool) -> Result<Version, StoreError> {
    let stamp =
        if postgres { row.find("_stamp")? } else { row.find::<String>("_stamp")?.and_then(|text| text.parse().ok()) };
    Ok(Version { stamp, deleted: row.find("_deleted")? })
}

impl Tenant {
    /// Which versions the table has of these records.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn versions(&self, mapping: &Mapping, ids: Vec<String>) -> Result<HashMap<String, Version>, StoreError> {
        let mut tx = self.read("comparing rows").await?;
        let sql = format!("SELECT \"id\", \"_stamp\", \"_deleted\" FROM {} WHERE \"id\" = ANY($1)", quoted(mapping));
        self.read_versions(&mut tx, sql, ids).await.map(HashMap::from_iter)
    }

    async fn read_versions(
        &self,
        tx: &mut Tx,
        sql: String,
        ids: Vec<String>,
    ) -> Result<Vec<(String, Version)>, StoreError> {
        let postgres = tx.is_postgres();
        let rows = tx.query(sql).bind(ids).all().await?;
        rows.iter().map(|row| Ok((row.get("id")?, version(row, postgres)?))).collect()
    }

    /// Records that the table shows as there, with an id above `after` and, if that is given, not above `until`: the first
    /// `limit`, in the order of their ids.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn present_ids(
        &self,
        mapping: &Mapping,
        after: &str,
        until: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, StoreError> {
        let mut tx = self.read("comparing rows").await?;
        let sql = format!(
            "SELECT \"id\" FROM {} WHERE \"id\" > $1 AND ($2 IS NULL OR \"id\" <= $2) AND \"_deleted\" IS NULL ORDER BY \"id\" LIMIT $3",
            quoted(mapping)
        );
        let rows = tx.query(sql).bind(after).bind(until).bind(limit).all().await?;
        rows.iter().map(|row| row.get("id")).collect()
    }

    /// How many records the table has, those that are gone too.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn count_rows(&self, mapping: &Mapping) -> Result<u64, StoreError> {
        let mut tx = self.read("counting rows").await?;
        let n: i64 = tx.query(format!("SELECT count(*) AS n FROM {}", quoted(mapping))).value("n").await?;
        Ok(u64::try_from(n).unwrap_or_default())
    }

    /// How many records the table shows as there.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn count_present(&self, mapping: &Mapping) -> Result<u64, StoreError> {
        let mut tx = self.read("counting rows").await?;
        let sql = format!("SELECT count(*) AS n FROM {} WHERE \"_deleted\" IS NULL", quoted(mapping));
        let n: i64 = tx.query(sql).value("n").await?;
        Ok(u64::try_from(n).unwrap_or_default())
    }
}
