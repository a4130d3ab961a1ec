//! Sync runs that somebody names, on nodes that are woken for each: functions in AWS Lambda.

use tieline_store::{StoreError, Uuid};
use tieline_sync::worker::Ended;
use tokio::sync::watch;

use super::Service;

impl Service {
    /// Names what could be taken now, of one business or all, at most `most`: (business, work). Schedules that are missing are
    /// made first, unless it is about one business.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn ready_syncs(&self, business: Option<Uuid>, most: u32) -> Result<Vec<(Uuid, Uuid)>, StoreError> {
        let worker = self.worker();
        if business.is_none() {
            worker.follow().await;
        }
        worker.ready(business, most).await
    }

    /// Works on one of them until it has ended, or until `stopping` says so: then the step under way is ended, and the rest
    /// given back at once. `None`: there is nothing to do about it now.
    ///
    /// # Errors
    /// [`StoreError`]: nobody knows how it stands.
    pub async fn work_on_sync(
        &self,
        business: Uuid,
        work: Uuid,
        stopping: watch::Receiver<bool>,
    ) -> Result<Option<Ended>, StoreError> {
        self.worker().work_on_named(business, work, stopping).await
    }
}
