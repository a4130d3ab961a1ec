//! What a node does beside answering: syncs, imports, alerts, and what is done now and then.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::task::JoinHandle;

use crate::service::Service;
use crate::telemetry;

/// Until work that has panicked begins again.
const AFTER_A_PANIC: Duration = Duration::from_secs(5);
/// How long a batch of an import, or a page of a sync, may take to be written once the service is being stopped, before the
/// rest is left to its lease.
const LAST_BATCH: Duration = Duration::from_secs(5);
/// The same for messages of alerts and webhooks.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// One that panics is told of and begun anew: without it the node would look well and do nothing.
async fn begun_again(name: &'static str, work: impl AsyncFn()) {
    while AssertUnwindSafe(work()).catch_unwind().await.is_err() {
        tracing::error!(work = name, "work in the background panicked, and begins again; see the panic's own message");
        tokio::time::sleep(AFTER_A_PANIC).await;
    }
}

/// Work that is under way.
pub(crate) struct Background {
    /// What gives back what it has.
    syncing: Option<JoinHandle<()>>,
    importing: Option<JoinHandle<()>>,
    /// A message that is cut off is sent again, so that one that is under way is better ended.
    alerting: JoinHandle<()>,
    telling: JoinHandle<()>,
    /// What may be dropped at any moment.
    others: Vec<JoinHandle<()>>,
}

impl Background {
    pub(crate) fn start(service: &Service) -> Self {
        let settings = service.settings();
        let syncing = settings.syncs.is_some().then(|| {
            let service = service.clone();
            tokio::spawn(begun_again("syncs", async move || service.work_syncs().await))
        });
        let importing = settings.imports.then(|| {
            let service = service.clone();
            tokio::spawn(begun_again("imports", async move || service.work_imports().await))
        });
        let sender = service.clone();
        let alerting = tokio::spawn(begun_again("alerts", async move || sender.work_alerts().await));
        let teller = service.clone();
        let telling = tokio::spawn(begun_again("records", async move || teller.work_records().await));
        let [sweeper, watcher, counter, matcher] = [(); 4].map(|()| service.clone());
        let others = vec![
            tokio::spawn(begun_again("sweeping", async move || sweeper.sweep_daily().await)),
            tokio::spawn(begun_again("duplicates", async move || matcher.match_all().await)),
            tokio::spawn(begun_again("conditions", async move || watcher.watch_conditions().await)),
            tokio::spawn(begun_again("counters", async move || counter.sweep_counters().await)),
            tokio::spawn(telemetry::keep_small(service.clone())),
        ];
        Self { syncing, importing, alerting, telling, others }
    }

    /// Ends it, the step under way first. A run that is cut off here goes on where it stopped; and so does an import.
    pub(crate) async fn stop(self, service: &Service) {
        service.stopping().send_replace(true);
        let Self { syncing, importing, alerting, telling, others } = self;
        let ended = async |work: Option<JoinHandle<()>>, patience| {
            let Some(mut work) = work else { return };
            if tokio::time::timeout(patience, &mut work).await.is_err() {
                work.abort();
            }
        };
        tokio::join!(ended(syncing, LAST_BATCH), ended(importing, LAST_BATCH));
        for other in others {
            other.abort();
        }
        tokio::join!(ended(Some(alerting), LAST_WORDS), ended(Some(telling), LAST_WORDS));
    }
}
