//! A table that follows its object.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::{Mapping, Target};
use crate::error::StoreError;
use crate::object_tables::{self, Beside, Column};
use crate::open::Tenant;
use crate::runs::Run;
use crate::sql::{Access, Database, Scope, Tx};

/// What is done to a table. Nothing is ever taken out of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableChange {
    /// Columns that it has from now on, in this order.
    pub columns: Vec<Column>,
    /// Columns that keep their values under another name, because one of another kind takes theirs: old and new name.
    pub renamed: Vec<(String, String)>,
}

impl Tenant {
    /// The columns that a mapping's table has in the database: those of the mapping, ours, and those that were left behind.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn table_columns(&self, mapping: &Mapping) -> Result<Vec<String>, StoreError> {
        if mapping.is_contacts() {
            return Ok(mapping.table.columns().iter().map(|column| column.name.clone()).collect());
        }
        let mut tx = self.store().database().begin(Scope::Schema, Access::Read, "looking at a table").await?;
        columns_of(&mut tx, mapping.table.name()).await
    }

    /// Changes a mapping's table and what the mapping says of it, both or neither.
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
        let table = match mapping.target {
            Target::Table => object_tables::ObjectTable::new(mapping.table.name(), change.columns.clone())?,
            Target::Contacts => mapping.table.with_columns(change.columns.clone()),
        };
        let fenced = || StoreError::Fenced { run: run.id.to_string() };
        let say = Beside {
            sql: "UPDATE mappings SET columns = $1, plan = $2, updated_at = $3 WHERE business_id = $4 AND id = $5
                  AND EXISTS (SELECT 1 FROM mapping_checkpoints WHERE mapping_id = $5 AND fence = $6)",
            values: vec![
                serde_json::to_value(table.columns()).unwrap_or_default().into(),
                plan.clone().into(),
                now.into(),
                self.business().into(),
                mapping.id.into(),
                run.fence().into(),
            ],
        };
        match self.store().database() {
            // The columns of `contacts` are what they are; custom fields are JSON there.
            _ if mapping.is_contacts() => {
                let mut tx = self.write("changing a mapping's columns").await?;
                if tx.query(say.sql).bind_all(say.values).execute().await? != 1 {
                    return Err(fenced());
                }
                tx.commit().await
            }
            Database::Sqlite { writer, bulk, .. } => {
                let turn = writer.acquire().await.map_err(StoreError::doing("changing a table"))?;
                let altered = bulk.alter(Arc::new(table.clone()), change.renamed.clone(), say).await?;
                drop(turn);
                if altered { Ok(()) } else { Err(fenced()) }
            }
            database @ Database::Postgres { .. } => {
                let mut tx = database.begin(Scope::Schema, Access::Write, "changing a table").await?;
                // What a mapping says is the service's, and its table is whoever's that owns all tables.
                tx.query("SET LOCAL ROLE tieline_system").execute().await?;
                if tx.query(say.sql).bind_all(say.values).execute().await? != 1 {
                    return Err(fenced());
                }
                tx.query("RESET ROLE").execute().await?;
                let there = columns_of(&mut tx, table.name()).await?;
                for statement in object_tables::alter(&table, &there, &change.renamed, true) {
                    tx.query(statement).execute().await?;
                }
                tx.commit().await
            }
        }
    }
}

async fn columns_of(tx: &mut Tx, table: &str) -> Result<Vec<String>, StoreError> {
    let sql = if tx.is_postgres() {
        "SELECT column_name::text AS name FROM information_schema.columns
         WHERE table_schema = current_schema() AND table_name = $1"
    } else {
        "SELECT name FROM pragma_table_info($1, 'main')"
    };
    tx.query(sql).bind(table).all().await?.iter().map(|row| row.get("name")).collect()
}
