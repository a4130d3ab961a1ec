//! What a mapping's table holds, to be compared with the org.

use std::collections::HashMap;

use jiff::Timestamp;

use super::{Mapping, Target};
use crate::error::StoreError;
use crate::open::Tenant;
use crate::sql::Row;

/// Which version of a record the table has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Its stamp.
    pub stamp: Option<Timestamp>,
    /// How it went, by [`Deletion::name`](crate::object_tables::Deletion::name); none if it is there.
    pub deleted: Option<String>,
}

/// Where a mapping's rows are, and how what is compared is called there.
struct Place {
    table: String,
    /// Which of the table's rows are the mapping's.
    of: String,
    id: &'static str,
    stamp: &'static str,
    deleted: &'static str,
    /// Whether moments are texts there.
    texts: bool,
}

impl Place {
    fn of(mapping: &Mapping, postgres: bool) -> Self {
        match mapping.target {
            Target::Table => Self {
                table: format!("\"{}\"", mapping.table.name()),
                of: "true".to_owned(),
                id: "\"id\"",
                stamp: "\"_stamp\"",
                deleted: "\"_deleted\"",
                texts: !postgres,
            },
            // Ids of ours are digits and hyphens: nothing in them is syntax.
            Target::Contacts => Self {
                table: mapping.table.name().to_owned(),
                of: format!(
                    "business_id = '{}' AND source_type = 'salesforce' AND integration_id = '{}'",
                    mapping.business_id, mapping.id
                ),
                id: "source_id",
                stamp: "source_stamp",
                deleted: "deletion",
                texts: false,
            },
        }
    }

    fn version(&self, row: &Row) -> Result<Version, StoreError> {
        let stamp = if self.texts {
            row.find::<String>("stamp")?.and_then(|text| text.parse().ok())
        } else {
            row.find("stamp")?
        };
        Ok(Version { stamp, deleted: row.find("deleted")? })
    }
}

impl Tenant {
    /// Which versions the table has of these records.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn versions(&self, mapping: &Mapping, ids: Vec<String>) -> Result<HashMap<String, Version>, StoreError> {
        let mut tx = self.read("comparing rows").await?;
        let place = Place::of(mapping, tx.is_postgres());
        let Place { table, of, id, stamp, deleted, .. } = &place;
        let sql = format!(
            "SELECT {id} AS id, {stamp} AS stamp, {deleted} AS deleted FROM {table} WHERE {of} AND {id} = ANY($1)"
        );
        let rows = tx.query(sql).bind(ids).all().await?;
        rows.iter().map(|row| Ok((row.get("id")?, place.version(row)?))).collect()
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
        let Place { table, of, id, deleted, .. } = Place::of(mapping, tx.is_postgres());
        let sql = format!(
            "SELECT {id} AS id FROM {table} WHERE {of} AND {id} > $1 AND ($2 IS NULL OR {id} <= $2) AND {deleted} IS NULL
             ORDER BY {id} LIMIT $3"
        );
        let rows = tx.query(sql).bind(after).bind(until).bind(limit).all().await?;
        rows.iter().map(|row| row.get("id")).collect()
    }

    /// How many records the table has, those that are gone too, and at most how many it may not have because somebody was
    /// erased here.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn count_rows(&self, mapping: &Mapping) -> Result<u64, StoreError> {
        let mut tx = self.read("counting rows").await?;
        let Place { table, of, .. } = Place::of(mapping, tx.is_postgres());
        let sql = format!(
            "SELECT (SELECT count(*) FROM {table} WHERE {of})
             + (SELECT count(*) FROM erased_persons WHERE business_id = $1) AS n"
        );
        let n: i64 = tx.query(sql).bind(self.business()).value("n").await?;
        Ok(u64::try_from(n).unwrap_or_default())
    }

    /// How many records the table shows as there.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn count_present(&self, mapping: &Mapping) -> Result<u64, StoreError> {
        let mut tx = self.read("counting rows").await?;
        let Place { table, of, deleted, .. } = Place::of(mapping, tx.is_postgres());
        let sql = format!("SELECT count(*) AS n FROM {table} WHERE {of} AND {deleted} IS NULL");
        let n: i64 = tx.query(sql).value("n").await?;
        Ok(u64::try_from(n).unwrap_or_default())
    }
}
