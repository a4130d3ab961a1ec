//! The proof that nothing is missing up to a certain time.
//!
//! The org says of each object up to when all changes are visible (`latestDateCovered` of its list of changed records): it
//! stays at the beginning of the longest transaction that is under way. Whoever asks for that time first, and then reads
//! everything that was stamped from the last proof on, has everything up to it. Deletes are proven by the log in the same
//! manner. Source: SOAP API Developer Guide, "getUpdated".

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tieline_store::Checkpoint;

use super::gone::minute;
use super::work::Work;
use crate::error::SyncError;

/// Longer than the shortest window that the org takes.
const WINDOW: SignedDuration = SignedDuration::from_mins(5);

impl Work<'_> {
    /// Asks up to when changes are visible, if a proof is due. True if one is to be made.
    pub(super) async fn begin_proof(&mut self) -> Result<bool, SyncError> {
        // Whether the pages that an earlier run read of the scan made a whole was to be seen at its end, to which it did not
        // come: another look at all of it is due.
        if self.standing.checkpoint.scan.is_some() {
            self.standing.progress.verified_at = None;
            if !self.replicates {
                self.compare_anew();
            }
        }
        let standing = &self.standing;
        let load_begins = standing.checkpoint == Checkpoint::default() && standing.progress.job.is_none();
        let due = load_begins
            || self.asked.verify
            || self.is_due(standing.progress.verified_at, self.engine.care.verify_every);
        if !due || !self.replicates {
            return Ok(false);
        }
        let end = minute(self.org_time().await?);
        let updated = self.engine.connection.updated(&self.plan.object, end - WINDOW, end).await;
        let proof = match updated {
            Ok(updated) => updated.latest_date_covered.min(end),
            // More records than an answer holds were changed within minutes; and the window may not be one for the org.
            Err(error) if matches!(error.salesforce_code(), Some("EXCEEDED_ID_LIMIT" | "INVALID_REPLICATION_DATE")) => {
                tracing::info!(mapping = %self.mapping.name, %error, "nothing is proven by this run");
                self.standing.progress.verified_at = Some(self.engine.clock.now());
                return Ok(true);
            }
            Err(error) => return Err(error.into()),
        };
        self.proof = Some(proof);
        let standing = &mut self.standing;
        if load_begins {
            standing.progress.proof = Some(proof);
            standing.progress.deletes_through.get_or_insert(proof);
        } else if standing.verified_through.is_none()
            && standing.progress.proof.is_none()
            && standing.checkpoint.through.is_some()
        {
            // The org did not say so when the load began. What was visible by now is proven by comparing everything.
            standing.progress.proof = Some(proof);
            self.compare_anew();
        }
        Ok(true)
    }

    /// Everything was read: what was to be proven is.
    pub(super) async fn end_proof(&mut self) -> Result<(), SyncError> {
        if self.unproven {
            return Ok(());
        }
        let proven = match self.standing.verified_through {
            Some(verified) => self.proof.map(|proof| proof.max(verified)),
            // All that was visible when the first load began was read by it; or, if that was not known, looked at again.
            None => self.standing.progress.proof.or(self.proof),
        };
        let Some(proven) = proven else { return Ok(()) };
        let deletes = self.standing.progress.deletes_through.unwrap_or(proven);
        let proven = proven.min(deletes);
        self.standing.verified_through = Some(self.standing.verified_through.map_or(proven, |known| known.max(proven)));
        self.standing.progress.proof = None;
        self.standing.progress.asked.verify = false;
        self.standing.progress.verified_at = Some(self.engine.clock.now());
        self.note().await
    }

    /// Whether so much time has passed; or the clock was set back.
    pub(super) fn is_due(&self, last: Option<Timestamp>, every: Duration) -> bool {
        let now = self.engine.clock.now();
        last.is_none_or(|last| last > now || last.checked_add(every).is_ok_and(|next| next <= now))
    }
}
