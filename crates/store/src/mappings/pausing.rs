//! A mapping that rests until somebody says that it goes on.

use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::{Held, Mapping, MappingState, WalkKind};
use crate::alerts::Changes;
use crate::audit::Action;
use crate::error::StoreError;
use crate::open::Tenant;
use crate::runs::{self, Run};
use crate::sql::Tx;
use crate::sync_work::REQUEST;

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
        self.hold_of(&mut tx, mapping).await?;
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
        let failing = self.forget_failing(&mut tx, mapping.work()).await?;
        stop_runs(&mut tx, mapping.id).await?;
        let changes = self.settle_mapping(&mut tx, mapping, failing, now).await?;
        let detail = json!({"mapping": mapping.name, "reason": reason});
        self.note(&mut tx, Action::SyncPaused, Some(("mapping", mapping.id)), detail, now).await?;
        tx.commit().await?;
        self.store().alerts().note(&changes);
        Ok(true)
    }

    /// Pauses a mapping of whose table so much is not to be found that a person must decide, if the run is still the one at
    /// work. The alert that says so is raised in the same transaction.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] if it is not.
    pub async fn hold_mapping(
        &self,
        run: &Run,
        mapping: &Mapping,
        (records, of): (u64, u64),
        reason: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.write("holding the mapping").await?;
        self.hold_of(&mut tx, mapping).await?;
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let set = tx
            .query(
                "UPDATE mappings SET state = $1, state_reason = $2, updated_at = $3, held_records = $4, held_of = $5, held_at = $3
                 WHERE business_id = $6 AND id = $7
                 AND EXISTS (SELECT 1 FROM mapping_checkpoints WHERE mapping_id = $7 AND fence = $8)",
            )
            .bind(MappingState::Paused.name())
            .bind(reason)
            .bind(now)
            .bind(number(records))
            .bind(number(of))
            .bind(self.business())
            .bind(mapping.id)
            .bind(run.fence())
            .execute()
            .await?;
        if set != 1 {
            return Err(StoreError::Fenced { run: run.id.to_string() });
        }
        let failing = self.forget_failing(&mut tx, mapping.work()).await?;
        let mut changes = self.settle_mapping(&mut tx, mapping, failing, now).await?;
        let held = Held { records, of, at: now };
        let row = tx.query("SELECT * FROM runs WHERE business_id = $1 AND id = $2");
        let row = row.bind(self.business()).bind(run.id).one().await?;
        let counted = runs::run(&row)?;
        changes.add(self.raise_sync_held(&mut tx, (&counted, mapping, &held), reason, now).await?);
        tx.commit().await?;
        self.store().alerts().note(&changes);
        Ok(())
    }

    /// Holds its integration before the rows of the mapping are written: so does whoever begins a run.
    pub(super) async fn hold_of(&self, tx: &mut Tx, mapping: &Mapping) -> Result<(), StoreError> {
        match mapping.integration_id {
            Some(integration) => self.hold_for_alerts(tx, integration).await,
            None => Ok(()),
        }
    }

    /// Ends what is over because a mapping is not run any more, or runs again, in a transaction that holds its integration.
    /// `failing`: it was failing until now.
    pub(super) async fn settle_mapping(
        &self,
        tx: &mut Tx,
        mapping: &Mapping,
        failing: bool,
        now: Timestamp,
    ) -> Result<Changes, StoreError> {
        let Some(integration) = mapping.integration_id else { return Ok(Changes::default()) };
        let mut changes = self.settle_held(tx, integration, now).await?;
        if failing {
            changes.add(self.settle_failures(tx, integration, false, now).await?);
        }
        Ok(changes)
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
        self.hold_of(&mut tx, mapping).await?;
        // It is due at once. The queue's row before the checkpoint's, as whoever begins a run takes them.
        tx.query(REQUEST).bind(now).bind(vec![mapping.id]).all().await?;
        stop_runs(&mut tx, mapping.id).await?;
        let row = tx
            .query("SELECT through, progress FROM mapping_checkpoints WHERE business_id = $1 AND mapping_id = $2")
            .bind(self.business())
            .bind(mapping.id)
            .optional()
            .await?;
        let Some(row) = row else { return Ok(false) };
        let mut progress = super::progress_of(&row)?;
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
                "UPDATE mappings SET state = $1, state_reason = NULL, updated_at = $2, held_records = NULL, held_of = NULL,
                 held_at = NULL WHERE business_id = $3 AND id = $4 AND state = $5",
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
        let changes = self.settle_mapping(&mut tx, mapping, false, now).await?;
        let detail = json!({"mapping": mapping.name, "allow_gone": allow_gone});
        self.note(&mut tx, Action::SyncResumed, Some(("mapping", mapping.id)), detail, now).await?;
        tx.commit().await?;
        self.store().alerts().note(&changes);
        Ok(true)
    }
}

/// A run that began before this can write no more.
pub(super) async fn stop_runs(tx: &mut Tx, mapping: Uuid) -> Result<(), StoreError> {
    let sql = "UPDATE mapping_checkpoints SET fence = fence + 1 WHERE mapping_id = $1";
    tx.query(sql).bind(mapping).execute().await.map(drop)
}
