//! Mappings: which object of an org is kept in step, in which table, and how far it has been read.
//!
//! Reading order: here (what a mapping is), `contacts` (the one that is built in), `progress` (where it stands), `stepping`
//! (how a run brings it forward), `altering` (a table that follows its object), `changing` (another definition), `pausing` (until
//! somebody says that it goes on), `standing_rows` (what the table holds, to be compared), `lags` (how far all are).

mod altering;
mod changing;
mod contacts;
mod lags;
mod pausing;
mod progress;
mod standing_rows;
mod stepping;

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::audit::Action;
use crate::checkpoints::{Checkpoint, Position};
use crate::error::StoreError;
use crate::object_tables::{self, Column, ObjectTable};
use crate::open::Tenant;
use crate::sql::{Access, Row, Scope};
use crate::tenancy;

pub use altering::TableChange;
pub use changing::NewDefinition;
pub(crate) use contacts::make_contacts_mapping;
pub use contacts::{CONTACTS, is_reserved};
pub use lags::ObjectLag;
pub use progress::{Job, Progress, Standing, Walk, WalkKind};
pub use standing_rows::Version;
pub use stepping::{ErrorCursor, KeptError, MappingStep, RowError, Spent};

/// How a mapping stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MappingState {
    /// Its first scan has not ended yet.
    Initial,
    /// It is kept in step.
    Synced,
    /// New columns are being filled.
    Resync,
    /// All of it is being read anew.
    Reload,
    /// The org's object has changed so that somebody must look.
    SchemaChanged,
    /// Somebody has paused it.
    Paused,
    /// It waits for the org's API calls of the day.
    PausedQuota,
    /// Somebody must log in.
    NeedsReauth,
}

impl MappingState {
    const ALL: [Self; 8] = [
        Self::Initial,
        Self::Synced,
        Self::Resync,
        Self::Reload,
        Self::SchemaChanged,
        Self::Paused,
        Self::PausedQuota,
        Self::NeedsReauth,
    ];

    /// Its name in the database and in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Initial => "initial",
            Self::Synced => "synced",
            Self::Resync => "resync",
            Self::Reload => "reload",
            Self::SchemaChanged => "schema_changed",
            Self::Paused => "paused",
            Self::PausedQuota => "paused_quota",
            Self::NeedsReauth => "needs_reauth",
        }
    }
}

/// Where a mapping's rows go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Into a table of its own.
    Table,
    /// Into `contacts`, as those of its integration: the mapping that is built in.
    Contacts,
}

/// A mapping.
#[derive(Debug, Clone)]
pub struct Mapping {
    /// UUID.
    pub id: Uuid,
    /// Whose it is.
    pub business_id: Uuid,
    /// Its integration; none if that was deleted: the table stays as it was.
    pub integration_id: Option<Uuid>,
    /// What people call it: one of that name in an integration.
    pub name: String,
    /// API name of the object.
    pub object: String,
    /// Whether its rows are in a table of its own.
    pub target: Target,
    /// Where its rows are. Of contacts the columns are what is read, each under the name that it has in `contacts` or in the
    /// JSON there.
    pub table: Arc<ObjectTable>,
    /// As somebody wrote it.
    pub definition: Value,
    /// How it stands.
    pub state: MappingState,
    /// Why, where that is not clear by itself.
    pub state_reason: Option<String>,
    /// Records that its comparison did not find, while it is paused for that.
    pub held: Option<Held>,
    /// What came of it when it was held against the org's describe: the engine's.
    pub plan: Option<Value>,
    /// Where it stands.
    pub standing: Standing,
}

/// Why a mapping is paused by itself: so much of its table is not to be found in the org.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Held {
    /// Records that are not there.
    pub records: u64,
    /// Records that the table shows as there.
    pub of: u64,
    /// When that was found.
    pub at: Timestamp,
}

/// A mapping to be made.
#[derive(Debug, Clone)]
pub struct NewMapping<'a> {
    /// What people call it.
    pub name: &'a str,
    /// API name of the object.
    pub object: &'a str,
    /// Table, as the business names it.
    pub table: &'a str,
    /// Its columns.
    pub columns: Vec<Column>,
    /// As somebody wrote it.
    pub definition: &'a Value,
}

pub(crate) const SELECT: &str =
    "SELECT m.*, c.through, c.scan_stamp, c.scan_id, c.scan_until, c.verified_through, c.progress FROM mappings AS m
    JOIN mapping_checkpoints AS c ON c.mapping_id = m.id";

impl Tenant {
    /// The name that a table of this business has in the database. The business that the database began with has its
    /// tables under their own names; those of others carry a mark.
    pub fn table_name(&self, table: &str) -> String {
        if self.business() == self.store().own().business() {
            return table.to_owned();
        }
        let id = self.business().simple().to_string();
        format!("b{}_{table}", &id[id.len() - 12..])
    }

    /// Makes a mapping and its table.
    ///
    /// # Errors
    /// [`StoreError::Table`] for a table that cannot be, [`StoreError::Taken`] if the integration has a mapping of that
    /// name or the database such a table.
    pub async fn create_mapping(
        &self,
        integration: Uuid,
        new: &NewMapping<'_>,
        now: Timestamp,
    ) -> Result<Mapping, StoreError> {
        if is_reserved(new.name) || new.table == CONTACTS {
            let name = if is_reserved(new.name) { new.name } else { new.table };
            return Err(StoreError::Taken(format!("`{name}` is the name of the mapping that is built in")));
        }
        let table = ObjectTable::new(&self.table_name(new.table), new.columns.clone())?;
        let taken = || format!("there is a table named `{}` already", new.table);
        if tenancy::is_ours(table.name()) {
            return Err(StoreError::Taken(taken()));
        }
        if self.integration(integration).await?.is_none() {
            return Err(StoreError::NoIntegration { mapping: new.name.to_owned() });
        }
        // The table first: one that is there already is somebody else's, and never ours to drop.
        if let Err(error) = self.make_table(&table).await {
            return Err(if error.is_existing_table() { StoreError::Taken(taken()) } else { error });
        }
        let made = self.insert_mapping(integration, new, &table, now).await;
        if made.is_err() {
            self.drop_table(table.name()).await?;
        }
        let id = made?;
        self.mapping(id).await?.ok_or_else(|| StoreError::doing("making the mapping")(sqlx::Error::RowNotFound))
    }

    async fn insert_mapping(
        &self,
        integration: Uuid,
        new: &NewMapping<'_>,
        table: &ObjectTable,
        now: Timestamp,
    ) -> Result<Uuid, StoreError> {
        let id = Uuid::now_v7();
        let columns = serde_json::to_value(table.columns()).unwrap_or_default();
        let mut tx = self.write("making the mapping").await?;
        tx.query(
            "INSERT INTO mappings (id, business_id, integration_id, name, object, table_name, definition, columns, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)",
        )
        .bind(id)
        .bind(self.business())
        .bind(integration)
        .bind(new.name)
        .bind(new.object)
        .bind(table.name())
        .bind(new.definition)
        .bind(&columns)
        .bind(now)
        .execute()
        .await
        .map_err(|e| e.or_taken(|| format!("there is a mapping `{}`, or one into the table `{}`, already", new.name, new.table)))?;
        tx.query("INSERT INTO mapping_checkpoints (mapping_id, business_id) VALUES ($1, $2)")
            .bind(id)
            .bind(self.business())
            .execute()
            .await?;
        let detail =
            json!({"mapping": new.name, "object": new.object, "table": table.name(), "integration": integration});
        self.note(&mut tx, Action::MappingCreated, Some(("mapping", id)), detail, now).await?;
        tx.commit().await?;
        Ok(id)
    }

    async fn drop_table(&self, name: &str) -> Result<(), StoreError> {
        let mut tx = self.store().database().begin(Scope::Schema, Access::Write, "dropping a table").await?;
        tx.query(object_tables::drop_table(name)).execute().await?;
        tx.commit().await
    }

    async fn make_table(&self, table: &ObjectTable) -> Result<(), StoreError> {
        let mut tx = self.store().database().begin(Scope::Schema, Access::Write, "making a table").await?;
        for statement in object_tables::create(table, self.business(), tx.is_postgres()) {
            tx.query(statement).execute().await?;
        }
        tx.commit().await
    }

    /// The mappings of an integration, by name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn mappings(&self, integration: Uuid) -> Result<Vec<Mapping>, StoreError> {
        let mut tx = self.read("reading the mappings").await?;
        let sql = format!("{SELECT} WHERE m.business_id = $1 AND m.integration_id = $2 ORDER BY m.name");
        tx.query(sql).bind(self.business()).bind(integration).all().await?.iter().map(mapping).collect()
    }

    /// One mapping by its id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn mapping(&self, id: Uuid) -> Result<Option<Mapping>, StoreError> {
        let mut tx = self.read("reading the mapping").await?;
        let sql = format!("{SELECT} WHERE m.business_id = $1 AND m.id = $2");
        tx.query(sql).bind(self.business()).bind(id).optional().await?.as_ref().map(mapping).transpose()
    }

    /// Takes a mapping out, with its table: no run can write any more, and what was said of it is over. False if there is
    /// none.
    ///
    /// # Errors
    /// [`StoreError::BuiltIn`] for the contacts.
    pub async fn delete_mapping(&self, mapping: &Mapping, now: Timestamp) -> Result<bool, StoreError> {
        if mapping.is_contacts() {
            return Err(StoreError::BuiltIn { mapping: mapping.name.clone() });
        }
        let mut tx = self.write("deleting the mapping").await?;
        let there = tx.query("SELECT id FROM mappings WHERE business_id = $1 AND id = $2");
        if there.bind(self.business()).bind(mapping.id).optional().await?.is_none() {
            return Ok(false);
        }
        pausing::stop_runs(&mut tx, mapping.id).await?;
        tx.commit().await?;
        // The table first: a mapping without one can be deleted again, and a table without a mapping by nobody.
        self.drop_table(mapping.table.name()).await?;
        let mut tx = self.write("deleting the mapping").await?;
        if let Some(integration) = mapping.integration_id {
            self.hold_for_alerts(&mut tx, integration).await?;
        }
        let failing = self.forget_failing(&mut tx, mapping.work()).await?;
        let gone = tx
            .query("DELETE FROM mappings WHERE business_id = $1 AND id = $2")
            .bind(self.business())
            .bind(mapping.id)
            .execute()
            .await?;
        if gone == 0 {
            return Ok(false);
        }
        let changes = self.settle_mapping(&mut tx, mapping, failing, now).await?;
        let detail = json!({"mapping": mapping.name, "object": mapping.object, "table": mapping.table.name()});
        self.note(&mut tx, Action::MappingDeleted, Some(("mapping", mapping.id)), detail, now).await?;
        tx.commit().await?;
        self.store().alerts().note(&changes);
        Ok(true)
    }

    /// Drops the tables of all mappings: the business is about to go.
    pub(crate) async fn drop_object_tables(&self) -> Result<(), StoreError> {
        let mut tx = self.read("reading the mappings").await?;
        let sql = "SELECT table_name FROM mappings WHERE business_id = $1 AND target = 'table'";
        let rows = tx.query(sql).bind(self.business()).all().await?;
        drop(tx);
        for row in rows {
            self.drop_table(&row.get::<String>("table_name")?).await?;
        }
        Ok(())
    }
}

pub(crate) fn mapping(row: &Row) -> Result<Mapping, StoreError> {
    let columns: Value = row.get("columns")?;
    let unreadable = |e: Box<dyn std::error::Error + Send + Sync>| {
        StoreError::doing("reading the mapping")(sqlx::Error::ColumnDecode { index: "columns".to_owned(), source: e })
    };
    let columns: Vec<Column> = serde_json::from_value(columns).map_err(|e| unreadable(e.into()))?;
    let (target, table) = match row.get::<String>("target")?.as_str() {
        "contacts" => (Target::Contacts, ObjectTable::of_contacts(columns)),
        _ => {
            let table = ObjectTable::new(&row.get::<String>("table_name")?, columns);
            (Target::Table, table.map_err(|e| unreadable(e.into()))?)
        }
    };
    let state: String = row.get("state")?;
    let whole = |n: i64| u64::try_from(n).unwrap_or_default();
    let held = match (row.find("held_records")?, row.find("held_of")?, row.find("held_at")?) {
        (Some(records), Some(of), Some(at)) => Some(Held { records: whole(records), of: whole(of), at }),
        _ => None,
    };
    let position = row.find("scan_stamp")?.zip(row.find("scan_id")?).map(|(stamp, id)| Position { stamp, id });
    Ok(Mapping {
        id: row.get("id")?,
        business_id: row.get("business_id")?,
        integration_id: row.find("integration_id")?,
        name: row.get("name")?,
        object: row.get("object")?,
        target,
        table: Arc::new(table),
        definition: row.get("definition")?,
        // The database's own check lets no other name in.
        state: MappingState::ALL.into_iter().find(|s| s.name() == state).unwrap_or(MappingState::Paused),
        state_reason: row.find("state_reason")?,
        held,
        plan: row.find("plan")?,
        standing: Standing {
            checkpoint: Checkpoint { through: row.find("through")?, scan: position.zip(row.find("scan_until")?) },
            verified_through: row.find("verified_through")?,
            progress: progress_of(row)?,
        },
    })
}

/// What the engine remembers, of a checkpoint's row.
fn progress_of(row: &Row) -> Result<Progress, StoreError> {
    serde_json::from_value(row.get("progress")?).map_err(|e| {
        let source = e.into();
        StoreError::doing("reading the mapping")(sqlx::Error::ColumnDecode { index: "progress".to_owned(), source })
    })
}
