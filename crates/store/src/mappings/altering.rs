//! A table that follows its object.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::Mapping;
use crate::error::StoreError;
use crate::object_tables::{self, Column};
use crate::open::Tenant;
use crate::runs::Run;
use crate::sql::{Access, Database, Scope};

/// What is done to a table. Nothing is ever taken out of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableChange {
    /// Columns that it has from now on, in this order.
    pub columns: Vec<Column>,
    /// Columns that keep their values under another name, because one of another kind takes theirs: old and new name.
    pub renamed: Vec<(String, String)>,
}

impl Tenant {
    /// Changes a mapping's table and what the mapping says of it. It may be done again after it was cut off.
    ///
    /// # Errors
    /// [`StoreError::Table`] for columns that cannot be; [`StoreError::Fenced`] if a later run has taken the mapping.
    pub async fn alter_mapping(
        &self,
        run: &Run,
        mapping: &Mapping,
        change: &TableChange,
        plan: &Value,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let table = object_tables::ObjectTable::new(mapping.table.name(), change.columns.clone())?;
        match self.store().database() {
            Database::Sqlite { writer, bulk, .. } => {
                let turn = writer.acquire().await.map_err(StoreError::doing("changing a table"))?;
                bulk.alter(Arc::new(table.clone()), change.renamed.clone()).await?;
                drop(turn);
            }
            database @ Database::Postgres { .. } => {
                let mut tx = database.begin(Scope::Schema, Access::Write, "changing a table").await?;
                let there = tx.query(
                    "SELECT column_name::text AS name FROM information_schema.columns
                     WHERE table_schema = current_schema() AND table_name = $1",
                );
                let there = there.bind(table.name()).all().await?;
                let there: Vec<String> = there.iter().map(|row| row.get("name")).collect::<Result<_, _>>()?;
                for statement in object_tables::alter(&table, &there, &change.renamed, true) {
                    tx.query(statement).execute().await?;
                }
                tx.commit().await?;
            }
        }
        let columns = serde_json::to_value(table.columns()).unwrap_or_default();
        let mut tx = self.write("changing the mapping").await?;
        let set = tx
            .query(
                "UPDATE mappings SET columns = $1, plan = $2, updated_at = $3 WHERE business_id = $4 AND id = $5
                 AND EXISTS (SELECT 1 FROM mapping_checkpoints WHERE mapping_id = $5 AND fence = $6)",
            )
            .bind(&columns)
            .bind(plan)
            .bind(now)
            .bind(self.business())
            .bind(mapping.id)
            .bind(run.fence())
            .execute()
            .await?;
        if set != 1 {
            return Err(StoreError::Fenced { run: run.id.to_string() });
        }
        tx.commit().await
    }
}
