//! Another definition for a mapping that is there.

use jiff::Timestamp;
use tieline_client::Connection;
use tieline_store::mappings::{Mapping, NewDefinition};
use tieline_store::{StoreError, Tenant};

use crate::error::SyncError;
use crate::mapping::{self, Definition, Describes, Flaw, MappingError, Plan};

/// Changes a mapping's definition, after holding it against the org. Object and table stay. Columns that are new, or made
/// otherwise than before, are filled by the next run; columns that are left out keep their values. Another cursor, and
/// records from an earlier time on, are a reading anew.
///
/// # Errors
/// [`SyncError::Mapping`] with all that does not fit, or for another object or table;
/// [`StoreError::Taken`] for a name that is, [`StoreError::BuiltIn`] for the contacts;
/// [`SyncError::NoMapping`].
pub async fn change_mapping(
    connection: &Connection,
    store: &Tenant,
    there: &Mapping,
    definition: &Definition,
    now: Timestamp,
) -> Result<Mapping, SyncError> {
    if there.is_contacts() {
        return Err(StoreError::BuiltIn { mapping: there.name.clone() }.into());
    }
    let describes = Describes::load_now(connection, definition).await?;
    let plan = mapping::plan_of(definition, &describes)?;
    stays(store, there, definition, &plan)?;
    let before = Definition::from_json(there.definition.clone()).ok();
    let describes = match &before {
        Some(before) => Describes::load(connection, before).await?,
        None => describes,
    };
    let had = before.as_ref().and_then(|before| Plan::of_shown(before, &describes).ok());
    let since = before.as_ref().and_then(|before| before.since);
    let earlier = since.is_some_and(|since| definition.since.is_none_or(|now| now < since));
    let written = definition.to_json();
    let new = NewDefinition {
        name: &definition.name,
        definition: &written,
        columns: &plan.columns,
        refill: &had.as_ref().map(|had| plan.made_otherwise_than(had)).unwrap_or_default(),
        keep_lost: definition.takes_all_fields(),
        reload: earlier || had.is_some_and(|had| had.cursor != plan.cursor),
    };
    let changed = store.change_mapping(there, &new, now).await?;
    changed.ok_or_else(|| SyncError::NoMapping { mapping: there.name.clone() })
}

/// Refuses another object, and another table.
fn stays(store: &Tenant, mapping: &Mapping, definition: &Definition, plan: &Plan) -> Result<(), MappingError> {
    let mut flaws = Vec::new();
    if plan.object != mapping.object {
        let reason = format!("the mapping is of `{}`, and cannot become one of `{}`", mapping.object, plan.object);
        flaws.push(Flaw::new("object", reason).hint("make another mapping"));
    }
    if store.table_name(definition.table()) != mapping.table.name() {
        let reason = format!("its rows are in the table `{}`, and stay there", mapping.table.name());
        flaws.push(Flaw::new("table", reason).hint("name that table, or make another mapping"));
    }
    if flaws.is_empty() { Ok(()) } else { Err(MappingError { mapping: definition.name.clone(), flaws }) }
}
