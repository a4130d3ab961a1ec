//! Rows of the mapping that is built in, into the table `contacts`.
//!
//! Contacts are matched, merged and followed by leads, and every reader of them knows their columns: so they have no table of
//! their own, and are written by the one statement that writes contacts. What changes only a part of a row is put together
//! with what is held, and written as a whole.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::{Change, Rows};
use crate::contacts::{CHUNK, ContactRow};
use crate::duplicates::{Told, org_merges};
use crate::error::StoreError;
use crate::mappings::{Mapping, MappingStep};
use crate::open::Tenant;
use crate::runs::StepOutcome;
use crate::sql::Tx;

/// Writes a step's rows, and has leads follow contacts that the org has merged. None: begin again (see [`org_merges`]).
pub(super) async fn write(
    tenant: &Tenant,
    tx: &mut Tx,
    mapping: &Mapping,
    step: &MappingStep<'_>,
    change: i64,
    now: Timestamp,
) -> Result<Option<(StepOutcome, Told)>, StoreError> {
    let Some(integration) = mapping.integration_id else { return Ok(Some(Default::default())) };
    let (mut outcome, mut lost) = (StepOutcome::default(), BTreeMap::new());
    if step.change.is_nothing() {
        return Ok(Some((outcome, Told::new())));
    }
    // Few at a time: all of a step, taken apart, would be many times its size.
    for rows in step.rows.each_once().chunks(CHUNK) {
        let contacts = match step.change {
            Change::Rows => whole(tenant, tx, mapping, step, rows).await?,
            Change::Cells(columns) => {
                let table = mapping.table.part(columns);
                let take = |contact: &mut ContactRow, row| contact.take(&step.rows, row, table.columns());
                changed(tenant, tx, &step.rows, rows, take).await?
            }
            Change::Marks => {
                let mark = |contact: &mut ContactRow, row| contact.deleted = step.rows.deleted(row);
                changed(tenant, tx, &step.rows, rows, mark).await?
            }
        };
        lost.extend(contacts.iter().filter_map(lost_to));
        let written = tenant.upsert_contacts(tx, integration, &contacts, change, now).await?;
        outcome.inserted += written.inserted;
        outcome.updated += written.updated;
        outcome.deleted += written.deleted;
    }
    Ok(org_merges(tenant, tx, &lost, now).await?.map(|told| (outcome, told)))
}

/// A contact that the org has merged into another one, and that one.
fn lost_to(contact: &ContactRow) -> Option<(String, String)> {
    let master = contact.source_metadata.get("MasterRecordId").and_then(Value::as_str)?;
    (contact.deleted.is_some() && master != contact.source_id).then(|| (contact.source_id.clone(), master.to_owned()))
}

/// Rows as they were read; what the org no longer shows stays as it is held.
async fn whole(
    tenant: &Tenant,
    tx: &mut Tx,
    mapping: &Mapping,
    step: &MappingStep<'_>,
    rows: &[usize],
) -> Result<Vec<ContactRow>, StoreError> {
    let of = |row: &usize| ContactRow::of(&step.rows, *row, mapping.table.columns());
    let mut contacts: Vec<ContactRow> = rows.iter().map(of).collect();
    let hidden = &step.standing.progress.lost;
    if !hidden.is_empty() {
        let mut held = tenant.held_contacts(tx, ids(&step.rows, rows)).await?;
        for contact in &mut contacts {
            let Some(held) = held.get_mut(&contact.source_id) else { continue };
            hidden.iter().for_each(|column| contact.keep(held, &column.name));
        }
    }
    Ok(contacts)
}

/// Those of the rows that are held in no newer version, and are others with the change.
async fn changed(
    tenant: &Tenant,
    tx: &mut Tx,
    from: &Rows,
    rows: &[usize],
    change: impl Fn(&mut ContactRow, usize),
) -> Result<Vec<ContactRow>, StoreError> {
    let mut held = tenant.held_contacts(tx, ids(from, rows)).await?;
    let mut changed = Vec::new();
    for row in rows {
        let Some(before) = held.remove(from.id(*row)) else { continue };
        if from.stamp(*row).is_some_and(|stamp| stamp < before.source_stamp.as_millisecond()) {
            continue;
        }
        let mut after = before.clone();
        change(&mut after, *row);
        if after != before {
            changed.push(after);
        }
    }
    Ok(changed)
}

fn ids(from: &Rows, rows: &[usize]) -> Vec<String> {
    rows.iter().map(|row| from.id(*row).to_owned()).collect()
}
