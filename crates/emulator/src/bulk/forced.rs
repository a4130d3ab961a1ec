//! Ends of jobs that only the control API brings about.

use jiff::Timestamp;
use serde::Deserialize;

use super::State;
use super::classic::batch::State as BatchState;
use super::job::{Job, Phase};

/// A state that jobs are put into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) enum Forced {
    Failed,
    Aborted,
    /// Of batches of the first Bulk API only.
    NotProcessed,
}

impl State {
    /// Puts one job, or all that have not ended, into a state; answers how many jobs and batches.
    pub(crate) fn force(&mut self, id: Option<&str>, state: Forced, message: Option<&str>, now: Timestamp) -> usize {
        let mut forced = 0;
        let meant = |job: &str| id.is_none_or(|id| id == job || job.get(..15) == Some(id));
        if state != Forced::NotProcessed {
            for job in self.jobs.values_mut().filter(|job| meant(&job.id)) {
                if job.phase.is_end() && id.is_none() {
                    continue;
                }
                job.phase = if state == Forced::Failed { Phase::Failed } else { Phase::Aborted };
                job.error = message.filter(|_| state == Forced::Failed).map(str::to_owned);
                job.changed = now;
                forced += 1;
            }
        }
        for job in self.classic.values_mut() {
            let whole = meant(&job.id);
            for batch in job.batches.iter_mut().filter(|batch| whole || meant(&batch.id)) {
                let ended =
                    matches!(batch.state, BatchState::Completed | BatchState::Failed | BatchState::NotProcessed);
                if ended && id.is_none() {
                    continue;
                }
                batch.state = if state == Forced::Failed { BatchState::Failed } else { BatchState::NotProcessed };
                batch.message = message.map(str::to_owned);
                batch.changed = now;
                forced += 1;
            }
        }
        self.moved.notify_waiters();
        forced
    }

    /// Forgets one job, or all; or only the results of query jobs. Answers how many.
    pub(crate) fn expire_now(&mut self, id: Option<&str>, results_only: bool) -> usize {
        let meant = |job: &str| id.is_none_or(|id| id == job || job.get(..15) == Some(id));
        if results_only {
            let jobs = self.jobs.values_mut().filter(|job| meant(&job.id) && job.operation.is_query());
            return jobs.map(|job| job.expired = true).count();
        }
        let mut gone: Vec<String> = self.jobs.keys().filter(|job| meant(job)).cloned().collect();
        gone.extend(self.classic.keys().filter(|job| meant(job)).cloned());
        for id in &gone {
            self.jobs.remove(id);
            self.classic.remove(id);
            self.remove_files(id);
        }
        self.moved.notify_waiters();
        gone.len()
    }

    /// A column that running queries read is gone.
    pub(crate) fn fail_those_of(&mut self, object: &str, field: &str) {
        let reads =
            |job: &&mut Job| !job.phase.is_end() && job.plan.as_ref().is_some_and(|plan| plan.reads(object, field));
        for job in self.jobs.values_mut().filter(reads) {
            job.phase = Phase::Failed;
            job.error = Some(format!("InvalidBatch : Field name not found : {field}"));
        }
        self.moved.notify_waiters();
    }
}
