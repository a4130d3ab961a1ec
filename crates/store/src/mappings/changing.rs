//! Another definition for a mapping that is there.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Mapping, pausing, progress_of};
use crate::audit::Action;
use crate::error::StoreError;
use crate::object_tables::Column;
use crate::open::Tenant;
use crate::sync_work::{Asked, REQUEST};

/// What a mapping is from now on.
#[derive(Debug, Clone)]
pub struct NewDefinition<'a> {
    /// What people call it.
    pub name: &'a str,
    /// As somebody wrote it.
    pub definition: &'a Value,
    /// The columns that it is to have: what of the table is not among them keeps its values, and is left alone.
    pub columns: &'a [Column],
    /// Columns that stay and are made otherwise than before: they are filled anew.
    pub refill: &'a [String],
    /// Columns that the org does not show and the definition still means.
    pub keep_lost: bool,
    /// Everything is read anew.
    pub reload: bool,
}

impl Tenant {
    /// Changes a mapping's definition, and asks for a run of it. A run under way can write no more; the next one makes the
    /// columns that are new, and fills them. `None` if there is no such mapping.
    ///
    /// # Errors
    /// [`StoreError::Taken`] if the integration has another mapping of that name; [`StoreError::BuiltIn`] for the contacts.
    pub async fn change_mapping(
        &self,
        mapping: &Mapping,
        new: &NewDefinition<'_>,
        now: Timestamp,
    ) -> Result<Option<Mapping>, StoreError> {
        if mapping.is_contacts() {
            return Err(StoreError::BuiltIn { mapping: mapping.name.clone() });
        }
        let mut tx = self.write("changing the mapping").await?;
        self.hold_of(&mut tx, mapping).await?;
        let row = tx
            .query("SELECT columns FROM mappings WHERE business_id = $1 AND id = $2 FOR UPDATE")
            .bind(self.business())
            .bind(mapping.id)
            .optional()
            .await?;
        let Some(row) = row else { return Ok(None) };
        let had: Vec<Column> = serde_json::from_value(row.get("columns")?).unwrap_or_default();
        let stays = |column: &Column| new.columns.iter().any(|other| other.name == column.name);
        let (kept, left): (Vec<Column>, Vec<Column>) = had.into_iter().partition(stays);
        tx.query(
            "UPDATE mappings SET name = $1, definition = $2, columns = $3, plan = NULL, updated_at = $4
             WHERE business_id = $5 AND id = $6",
        )
        .bind(new.name)
        .bind(new.definition)
        .bind(serde_json::to_value(&kept).unwrap_or_default())
        .bind(now)
        .bind(self.business())
        .bind(mapping.id)
        .execute()
        .await
        .map_err(|e| e.or_taken(|| format!("there is a mapping `{}` already", new.name)))?;
        tx.query(REQUEST).bind(now).bind(vec![mapping.id]).all().await?;
        pausing::stop_runs(&mut tx, mapping.id).await?;
        let row = tx
            .query("SELECT through, scan_stamp, progress FROM mapping_checkpoints WHERE mapping_id = $1")
            .bind(mapping.id)
            .one()
            .await?;
        let mut progress = progress_of(&row)?;
        let is_read = row.find::<Timestamp>("through")?.is_some() || row.find::<Timestamp>("scan_stamp")?.is_some();
        let names: Vec<&str> = left.iter().map(|column| column.name.as_str()).collect();
        let added: Vec<&str> = new
            .columns
            .iter()
            .map(|column| column.name.as_str())
            .filter(|name| !kept.iter().any(|k| k.name == *name))
            .collect();
        let detail = json!({"mapping": new.name, "added": added, "left_out": names, "filled_anew": new.refill, "reload": new.reload});
        let mut left_out = left;
        if !new.keep_lost {
            left_out.append(&mut progress.lost);
        }
        progress.unfilled.retain(|name| new.columns.iter().any(|column| column.name == *name));
        for column in left_out {
            progress.left_out.retain(|known| known.name != column.name);
            progress.left_out.push(column);
        }
        if is_read {
            progress.unfilled.extend(new.refill.iter().cloned());
            progress.unfilled.sort_unstable();
            progress.unfilled.dedup();
            // What is under way was begun with other columns.
            progress.walk = progress.walk.take().filter(|walk| walk.kind == super::WalkKind::Compare);
            progress.asked = progress.asked.and(Asked { reload: new.reload, ..Asked::default() });
        }
        progress.job = None;
        tx.query("UPDATE mapping_checkpoints SET progress = $1 WHERE mapping_id = $2")
            .bind(serde_json::to_value(&progress).unwrap_or_default())
            .bind(mapping.id)
            .execute()
            .await?;
        self.note(&mut tx, Action::MappingChanged, Some(("mapping", mapping.id)), detail, now).await?;
        tx.commit().await?;
        self.mapping(mapping.id).await
    }
}
