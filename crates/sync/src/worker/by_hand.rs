//! A run that somebody begins by hand, beside the queue.

use std::convert::Infallible;

use tieline_store::mappings::Mapping;
use tieline_store::sync_work::Ended;

use super::keep::{HANGS, Steps, keep};
use super::{LEASE, backoff};
use crate::engine::{Asked, Engine, MappingReport, Progress};
use crate::error::SyncError;

impl Engine {
    /// Runs once, as [`Engine::run`], and has the work in the queue meanwhile: no node begins a run beside it, and one that is
    /// under way ends. `owner` says who it is, for people to read.
    ///
    /// # Errors
    /// [`SyncError`]; steps written before it are kept.
    pub async fn run_by_hand(
        &self,
        mapping: &Mapping,
        asked: Asked,
        owner: &str,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<MappingReport, SyncError> {
        let Some(claim) = self.store.take_work(mapping.work(), owner, LEASE, self.clock.now()).await? else {
            return self.run(mapping.id, asked, progress).await;
        };
        let steps = Steps::default();
        let mut noted = |told| {
            steps.done();
            progress(told);
        };
        let kept = async {
            keep(&claim, &steps, &*self.clock, LEASE, HANGS).await;
            // Another run has the work, or will: this one finds that out when it writes, and tells it better.
            std::future::pending::<Infallible>().await
        };
        let ran = tokio::select! {
            ran = self.run(mapping.id, asked, &mut noted) => ran,
            never = kept => match never {},
        };
        let now = self.clock.now();
        let ended = match &ran {
            Ok(_) => claim.end(&Ended::Done { next: None }, now).await,
            Err(error) => {
                let pause = backoff(LEASE, claim.item.failures, 1.0);
                let retry_at = now.checked_add(pause).unwrap_or(now);
                claim.end(&Ended::Failed { error: &error.to_string(), retry_at }, now).await
            }
        };
        let report = ran?;
        ended?;
        Ok(report)
    }
}
