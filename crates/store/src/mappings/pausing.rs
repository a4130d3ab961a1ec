//! A mapping that rests until somebody says that it goes on.

use jiff::Timestamp;
use serde_json::json;

use super::{Mapping, MappingState, Progress, WalkKind};
use crate::audit::Action;
use crate::error::StoreError;
use crate::open::Tenant;
use crate::sql::Tx;

impl Tenant {
    /// Pauses a mapping: it is not read until somebody resumes it. A run under way can write no more; what it has written
    /// stays. False if it is paused already.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn pause_mapping(
        &self,
        mapping: &Mapping,
        reason: Option<&str>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut tx = self.write("pausing the mapping").await?;
        let set = tx
            .query(
                "UPDATE mappings SET state = $1, state_reason = $2, updated_at = $3
                 WHERE business_id = $4 AND id = $5 AND state <> $1",
            )
            .bind(MappingState::Paused.name())
            .bind(reason)
            .bind(now)
            .bind(self.business())
            .bind(mapping.id)
            .execute()
            .await?;
        if set != 1 {
            return Ok(false);
        }
        stop_runs(&mut tx, mapping).await?;
        let detail = json!({"mapping": mapping.name, "reason": reason});
        self.note(&mut tx, Action::SyncPaused, Some(("mapping", mapping.id)), detail, now).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Has a paused mapping go on. `allow_gone`: what its next comparison finds gone is gone, however much it is. False if
    /// it is not paused.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn resume_mapping(
        &self,
        mapping: &Mapping,
        allow_gone: bool,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut tx = self.write("resuming the mapping").await?;
        stop_runs(&mut tx, mapping).await?;
        let row = tx
            .query("SELECT through, progress FROM mapping_checkpoints WHERE business_id = $1 AND mapping_id = $2")
            .bind(self.business())
            .bind(mapping.id)
            .optional()
            .await?;
        let Some(row) = row else { return Ok(false) };
        let unreadable = |e: serde_json::Error| {
            StoreError::doing("resuming the mapping")(sqlx::Error::ColumnDecode {
                index: "progress".to_owned(),
                source: e.into(),
            })
        };
        let mut progress: Progress = serde_json::from_value(row.get("progress")?).map_err(unreadable)?;
        progress.allow_gone = allow_gone;
        // One that was cut off by what it found begins anew.
        if progress.walk.as_ref().is_some_and(|walk| walk.kind == WalkKind::Compare) {
            (progress.walk, progress.compared_at) = (None, None);
        }
        let state = match row.find::<Timestamp>("through")? {
            Some(_) => MappingState::Synced,
            None => MappingState::Initial,
        };
        let set = tx
            .query(
                "UPDATE mappings SET state = $1, state_reason = NULL, updated_at = $2
                 WHERE business_id = $3 AND id = $4 AND state = $5",
            )
            .bind(state.name())
            .bind(now)
            .bind(self.business())
            .bind(mapping.id)
            .bind(MappingState::Paused.name())
            .execute()
            .await?;
        if set != 1 {
            return Ok(false);
        }
        tx.query("UPDATE mapping_checkpoints SET progress = $1 WHERE business_id = $2 AND mapping_id = $3")
            .bind(serde_json::to_value(&progress).unwrap_or_default())
            .bind(self.business())
            .bind(mapping.id)
            .execute()
            .await?;
        let detail = json!({"mapping": mapping.name, "allow_gone": allow_gone});
        self.note(&mut tx, Action::SyncResumed, Some(("mapping", mapping.id)), detail, now).await?;
        tx.commit().await?;
        Ok(true)
    }
}

/// A run that began before this can write no more.
async fn stop_runs(tx: &mut Tx, mapping: &Mapping) -> Result<(), StoreError> {
    let sql = "UPDATE mapping_checkpoints SET fence = fence + 1 WHERE mapping_id = $1";
    tx.query(sql).bind(mapping.id).execute().await.map(drop)
}
