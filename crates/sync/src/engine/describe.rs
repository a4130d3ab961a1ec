//! The mapping held against the org's object, and a table that follows it.
//!
//! What the org said of the object is kept with the mapping, so that a run asks for it only when it is old, or when the org
//! refuses a field. Columns are added and filled. A column whose field is no longer shown keeps its values: the field may
//! have been deleted, or only hidden from the user, and nobody can tell the two apart. One whose type has changed makes
//! room for a new one, under another name.

use std::sync::Arc;

use serde_json::{Value, json};
use tieline_client::Connection;
use tieline_client::rest::describe::Describe;
use tieline_store::mappings::{Mapping, MappingState, NewMapping, TableChange, WalkKind};
use tieline_store::object_tables::Column;
use tieline_store::{Checkpoint, Tenant, Uuid};

use super::pages::Reading;
use super::work::Work;
use crate::error::SyncError;
use crate::mapping::{self, Definition, Describes, Plan};

/// Makes a mapping and its table, after holding it against the org.
///
/// # Errors
/// [`SyncError::Mapping`] with all that does not fit; [`StoreError::Taken`](tieline_store::StoreError::Taken) for a name
/// that is.
pub async fn create_mapping(
    connection: &Connection,
    store: &Tenant,
    integration: Uuid,
    definition: &Definition,
    now: jiff::Timestamp,
) -> Result<Mapping, SyncError> {
    let describes = Describes::load(connection, definition).await?;
    let plan = mapping::plan_of(definition, &describes)?;
    let written = definition.to_json();
    let new = NewMapping {
        name: &definition.name,
        object: &plan.object,
        table: definition.table(),
        columns: plan.columns.clone(),
        definition: &written,
    };
    Ok(store.create_mapping(integration, &new, now).await?)
}

impl Work<'_> {
    /// Has plan and table as the org's object is, as far as that is known to be fresh.
    pub(super) async fn describe(&mut self) -> Result<(), SyncError> {
        let fresh = !self.is_due(self.standing.progress.described_at, self.engine.care.describe_every);
        let kept = self.mapping.plan.as_ref().filter(|_| fresh).and_then(read);
        if let Some(describes) = kept {
            self.take(&describes)?;
            // Other columns of the same object: by another definition, or another version of this program.
            return if self.follows() { Ok(()) } else { self.follow(&describes).await };
        }
        let describes = Describes::load_now(&self.engine.connection, &self.definition).await?;
        if describes.get(&self.definition.object).is_none() {
            return Err(SyncError::ObjectGone {
                org: self.engine.connection.org().to_owned(),
                object: self.definition.object.clone(),
                table: self.mapping.table.name().to_owned(),
            });
        }
        self.take(&describes)?;
        self.follow(&describes).await?;
        self.standing.progress.described_at = Some(self.engine.clock.now());
        self.note().await
    }

    fn take(&mut self, describes: &Describes) -> Result<(), SyncError> {
        self.replicates = describes.get(&self.definition.object).is_some_and(|describe| describe.replicateable);
        let plan = Plan::of_shown(&self.definition, describes)?;
        self.standing.progress.cursor = plan.cursor.clone();
        self.plan = Arc::new(plan);
        self.reading = Reading::new(self.plan.clone(), self.engine.care.longest_query);
        Ok(())
    }

    fn follows(&self) -> bool {
        self.plan.columns == self.mapping.table.columns()
    }

    /// Changes the table, if the plan's columns are others. What is left to do with them is noted before, and what was
    /// known of them is forgotten behind: cut off anywhere, it is done again.
    async fn follow(&mut self, describes: &Describes) -> Result<(), SyncError> {
        let (had, has) = (self.mapping.table.columns().to_vec(), self.plan.columns.clone());
        let named = |columns: &[Column], name: &str| columns.iter().find(|column| column.name == name).cloned();
        let changed = had != has;
        let lost = self.standing.progress.lost.clone();
        let left_out = self.standing.progress.left_out.clone();
        let mut renamed = Vec::new();
        if changed {
            let there = self.engine.store.table_columns(&self.mapping).await?;
            // Nothing has been read yet: the first load fills all.
            let is_read = self.standing.checkpoint != Checkpoint::default();
            let progress = &mut self.standing.progress;
            for column in &has {
                let before = named(&had, &column.name);
                if before.as_ref() == Some(column) {
                    continue;
                }
                let before = before.or(named(&lost, &column.name)).or(named(&left_out, &column.name));
                if let Some(other) = before.filter(|other| other.kind != column.kind) {
                    renamed.push((column.name.clone(), free_name(&other, |name| there.iter().any(|t| t == name))));
                }
                if is_read {
                    progress.unfilled.push(column.name.clone());
                }
            }
            for column in had.iter().filter(|column| named(&has, &column.name).is_none()) {
                if named(&progress.lost, &column.name).is_none() {
                    progress.lost.push(column.clone());
                }
            }
            progress.unfilled.sort_unstable();
            progress.unfilled.dedup();
            progress.unfilled.retain(|name| named(&has, name).is_some());
            // What is under way was begun with other columns. A job would answer those.
            progress.walk = progress.walk.take().filter(|walk| walk.kind == WalkKind::Compare);
            let job = progress.job.take();
            self.note().await?;
            self.give_up(job).await;
        }
        let kept = keep(describes);
        let change = TableChange { columns: has, renamed };
        let now = self.engine.clock.now();
        self.engine.store.alter_mapping(&self.run, &self.mapping, &change, &kept, now).await?;
        let progress = &mut self.standing.progress;
        progress.lost.retain(|lost| named(&change.columns, &lost.name).is_none());
        progress.left_out.retain(|left| named(&change.columns, &left.name).is_none());
        let mapping = Arc::make_mut(&mut self.mapping);
        mapping.table = Arc::new(mapping.table.with_columns(change.columns));
        mapping.plan = Some(kept);
        if progress.lost != lost || progress.left_out != left_out {
            self.note().await?;
        }
        if !self.standing.progress.unfilled.is_empty() && self.mapping.state == MappingState::Synced {
            self.set_state(MappingState::Resync).await?;
        }
        Ok(())
    }
}

/// A name for a column that makes room: `amount_was_number`, with a number behind it if that is taken.
fn free_name(column: &Column, taken: impl Fn(&str) -> bool) -> String {
    let kind = column.kind.name();
    // Names have 63 bytes at most.
    let stem = &column.name[..column.name.len().min(40)];
    let mut name = format!("{stem}_was_{kind}");
    let mut n = 2;
    while taken(&name) {
        name = format!("{stem}_was_{kind}_{n}");
        n += 1;
    }
    name
}

/// What the org said, as far as a plan needs it.
fn keep(describes: &Describes) -> Value {
    let lean = |describe: &Arc<Describe>| {
        let mut lean = (**describe).clone();
        lean.child_relationships.clear();
        lean.record_type_infos.clear();
        lean.more.clear();
        for field in &mut lean.fields {
            field.picklist_values.clear();
            field.more.clear();
        }
        json!(lean)
    };
    json!({"describes": describes.objects().map(lean).collect::<Vec<_>>()})
}

/// What a mapping came to when its object was described last: the org is not asked. None before its first run.
pub fn kept_plan(mapping: &Mapping) -> Option<Plan> {
    let describes = mapping.plan.as_ref().and_then(read)?;
    Plan::of_shown(&Definition::of(mapping).ok()?, &describes).ok()
}

fn read(kept: &Value) -> Option<Describes> {
    let describes: Vec<Describe> = serde_json::from_value(kept.get("describes")?.clone()).ok()?;
    Some(describes.into_iter().collect())
}
