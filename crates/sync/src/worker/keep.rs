//! Keeping a lease while there is hope for the work, and ending the work well when its worker is being stopped.

use std::time::Duration;

use tieline_auth::Clock;
use tieline_store::sync_work::WorkClaim;
use tokio::sync::watch;

use super::Outcome;

/// How long a run may go without a step: longer than the client's own repetitions take, and than an org takes to make the
/// first rows of a bulk query. One that hangs longer than that is as good as dead. A run that waits for the org shows each
/// look at it as a step, so that it may wait for longer.
pub const HANGS: Duration = Duration::from_secs(30 * 60);

/// What a run tells of itself. A step is what was committed, or a sign that the org is still at it.
#[derive(Debug)]
pub struct Steps(watch::Sender<u64>);

impl Default for Steps {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl Steps {
    /// A step has ended: from here the next run could go on.
    pub fn done(&self) {
        self.0.send_modify(|n| *n += 1);
    }

    /// How many have ended.
    pub fn count(&self) -> u64 {
        *self.0.borrow()
    }

    /// Resolves once the worker is being stopped and the step that was under way then has ended, or had its time.
    pub(super) async fn last_one(&self, stopping: watch::Receiver<bool>, patience: Duration) {
        stopped(stopping).await;
        let (mut steps, seen) = (self.0.subscribe(), self.count());
        let _ = tokio::time::timeout(patience, steps.wait_for(|n| *n > seen)).await;
    }
}

/// Resolves once it is true; never, if nobody is left who could say so.
pub(super) async fn stopped(mut stopping: watch::Receiver<bool>) {
    if stopping.wait_for(|stopping| *stopping).await.is_err() {
        std::future::pending().await
    }
}

/// Prolongs the lease; resolves when it is another's, when nobody knows whose it is any more, or when the run hangs: what the
/// run's outcome is then.
///
/// Whoever cannot reach the database stops by itself before the lease ends: a third of it earlier, by the clock that does not
/// jump. So others may take the work up at its end although clocks differ.
pub(super) async fn keep(
    claim: &WorkClaim,
    steps: &Steps,
    clock: &dyn Clock,
    lease: Duration,
    hangs: Duration,
) -> Outcome {
    let failed = |reason: &str| Outcome::Failed { reason: reason.to_owned(), retry_at: None };
    let (every, last) = (lease / 3, lease * 2 / 3);
    let mut prolonged = clock.monotonic();
    let (mut seen, mut silent) = (steps.count(), Duration::ZERO);
    loop {
        tokio::time::sleep(every).await;
        let done = steps.count();
        silent = if done == seen { silent + every } else { Duration::ZERO };
        seen = done;
        if silent >= hangs {
            return failed(&format!("it has not moved for {} seconds, and was given up", silent.as_secs()));
        }
        let before = clock.monotonic();
        match tokio::time::timeout(every, claim.prolong(clock.now())).await {
            Ok(Ok(true)) => prolonged = before,
            Ok(Ok(false)) => return Outcome::Fenced,
            // A database that does not answer now may do so before the lease ends.
            Ok(Err(_)) | Err(_) if before.saturating_sub(prolonged) < last => {}
            Ok(Err(_)) | Err(_) => {
                return failed("the database did not answer for as long as the work was this worker's");
            }
        }
    }
}
