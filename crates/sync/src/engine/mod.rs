//! The engine: keeps the table of a mapping in step with an object of an org.
//!
//! A run ([`Engine::run`]) takes no input beyond the mapping's name: what to do follows from where the mapping stands and
//! from the org. So it may be killed, repeated and started twice. In this order it
//!
//! 1. holds the mapping against the org's describe, and has the table follow (`describe`);
//! 2. reads everything, where nothing was read yet: by pages (`poll`) or by a Bulk job (`load`); or what has changed since
//!    (`poll`); or all of it, where the object has nothing to tell changes by (`walk`);
//! 3. asks what was deleted (`gone`, `log`), and for children whose parents changed (`parents`);
//! 4. fills new columns, reads again those that change without a stamp, and compares all ids, each when it is due (`walk`);
//! 5. moves [`Standing::verified_through`](tieline_store::mappings::Standing), if all of that proves it (`verify`).
//!
//! Everything is written in steps: rows, where the mapping stands and the run's counters are one transaction (`work`).

mod bisect;
mod change;
mod describe;
mod gone;
mod load;
mod log;
mod pages;
mod parents;
mod poll;
mod portion;
mod quota;
mod report;
mod verify;
mod walk;
mod work;

use std::sync::Arc;
use std::time::Duration;

use tieline_auth::Clock;
use tieline_client::Connection;
use tieline_store::mappings::{Mapping, MappingState};
use tieline_store::{RunState, Tenant, Uuid};

pub use change::change_mapping;
pub use describe::{create_mapping, kept_plan};
pub use quota::Share;
pub use report::{MappingReport, Progress};
pub use tieline_store::sync_work::Asked;

use crate::error::SyncError;
use crate::mapping::Definition;
use crate::scan::Window;
use work::Work;

/// Keeps mappings of one org in step.
#[derive(Debug, Clone)]
pub struct Engine {
    /// The org.
    pub connection: Connection,
    /// The business in the database.
    pub store: Tenant,
    /// How to read.
    pub care: EngineCare,
    /// For run times and for what is due; checkpoints go by the org's clock.
    pub clock: Arc<dyn Clock>,
}

/// How carefully, how often and in which portions to read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EngineCare {
    /// Lookback and lag of each scan.
    pub window: Window,
    /// An initial load of so many records goes by a Bulk job, where the mapping leaves the choice to us. A page has 2,000
    /// records, so below that a job costs more calls and more waiting than it saves.
    pub bulk_from: u64,
    /// For how long a run waits for a Bulk job; the next run goes on with it.
    pub job_wait: Duration,
    /// How old a describe may be.
    pub describe_every: Duration,
    /// How often it is proven that nothing is missing: three calls.
    pub verify_every: Duration,
    /// How often all ids are compared: a call for 2,000 records.
    pub compare_every: Duration,
    /// How often columns that change without a stamp are read again.
    pub refresh_every: Duration,
    /// How much of the org's API calls of a day a run may make.
    pub share: Share,
    /// After how long a run that ran out of calls is tried again.
    pub retry_after: Duration,
    /// Rows of a step at most.
    pub step_rows: usize,
    /// Bytes of a step's rows at most.
    pub step_bytes: usize,
    /// How long the database should take for a step. One that takes longer gets fewer rows at once, though never less than a
    /// page: a transaction holds its locks, and what a crash undoes is read again.
    pub step_time: Duration,
    /// Queries longer than this are split: Salesforce takes 100,000 characters (SOQL and SOSL Reference, "SOQL and SOSL
    /// limits").
    pub longest_query: usize,
    /// Records that a comparison may always mark as gone, whatever part of the table they are.
    pub gone_at_least: u64,
}

impl Default for EngineCare {
    fn default() -> Self {
        let hour = Duration::from_secs(3_600);
        Self {
            window: Window::default(),
            bulk_from: 50_000,
            job_wait: hour,
            describe_every: hour,
            verify_every: hour,
            compare_every: 7 * 24 * hour,
            refresh_every: 24 * hour,
            share: Share::default(),
            retry_after: hour,
            step_rows: 20_000,
            step_bytes: 4 << 20,
            step_time: Duration::from_secs(2),
            longest_query: 90_000,
            gone_at_least: 50,
        }
    }
}

impl Engine {
    /// Runs once. Whatever happens, the run's row tells how it ended.
    ///
    /// # Errors
    /// [`SyncError`]; steps written before it are kept, and the next run goes on there.
    pub async fn run(
        &self,
        mapping: Uuid,
        asked: Asked,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<MappingReport, SyncError> {
        self.run_and_tell(mapping, asked, progress, &mut None).await
    }

    /// The same, and says which run it is as soon as one has begun: one that fails, too, has its row in the history.
    ///
    /// # Errors
    /// As [`Engine::run`].
    pub async fn run_and_tell(
        &self,
        mapping: Uuid,
        asked: Asked,
        progress: &mut (dyn FnMut(Progress) + Send),
        begun: &mut Option<Uuid>,
    ) -> Result<MappingReport, SyncError> {
        let now = self.clock.now();
        let (found, _) = self.mapping(mapping, asked).await?;
        let run = self.store.start_mapping_run(&found, now).await?;
        *begun = Some(run.id);
        // Where it stands from now on: a run before this one can write no more.
        let (mapping, definition) = match self.mapping(mapping, asked).await {
            Ok(found) => found,
            Err(error) => {
                self.store.finish_mapping_run(&run, RunState::Failed, Some(&error.to_string()), None, now).await?;
                return Err(error);
            }
        };
        let mut work = Work::new(self, run.clone(), mapping, definition, progress);
        let outcome = work.all(asked).await;
        let settled = work.settle().await;
        let outcome = outcome.and(settled);
        let (state, mapping_state, error) = match &outcome {
            Ok(()) => (RunState::Success, work.state_at_end(), None),
            Err(error) if error.is_out_of_calls() => {
                (RunState::PausedQuota, Some((MappingState::PausedQuota, error.to_string())), Some(error.to_string()))
            }
            Err(error) => {
                let state = state_after(error).or_else(|| work.state_without_quota());
                (RunState::Failed, state, Some(error.to_string()))
            }
        };
        let retry_at = outcome.as_ref().is_err_and(SyncError::is_out_of_calls).then(|| work.retry_at());
        let ended = match &outcome {
            Err(error @ SyncError::MassDelete { records, of, .. }) => {
                let (held, now) = ((*records, *of), self.clock.now());
                self.store
                    .hold_mapping(&run, &work.mapping, held, &error.to_string(), now)
                    .await
                    .map_err(SyncError::from)
            }
            _ => self.end(&mut work, mapping_state, retry_at, outcome.is_ok()).await,
        };
        let finished = self.store.finish_mapping_run(&run, state, error.as_deref(), retry_at, self.clock.now()).await;
        outcome?;
        ended?;
        finished?;
        let run = self.store.run(run.id).await?.unwrap_or(run);
        Ok(work.report(run))
    }

    /// The mapping, if it is to be run.
    async fn mapping(&self, mapping: Uuid, asked: Asked) -> Result<(Mapping, Definition), SyncError> {
        let found = self.store.mapping(mapping).await?;
        let found = found.ok_or_else(|| SyncError::NoMapping { mapping: mapping.to_string() })?;
        if found.state == MappingState::Paused && !asked.allow_gone {
            return Err(SyncError::Paused { mapping: found.name, reason: found.state_reason.unwrap_or_default() });
        }
        let definition = Definition::of(&found)?;
        Ok((found, definition))
    }

    /// What is left to say of the mapping itself.
    async fn end(
        &self,
        work: &mut Work<'_>,
        state: Option<(MappingState, String)>,
        retry_at: Option<jiff::Timestamp>,
        ended_well: bool,
    ) -> Result<(), SyncError> {
        if let Some((state, reason)) = state {
            let reason = Some(reason.as_str()).filter(|reason| !reason.is_empty());
            let now = self.clock.now();
            self.store.set_mapping_state(&work.run, &work.mapping, state, reason, now).await?;
        }
        let progress = &mut work.standing.progress;
        let done = if ended_well { Asked::default() } else { progress.asked };
        if retry_at != progress.retry_at || done != progress.asked {
            (progress.retry_at, progress.asked) = (retry_at, done);
            work.note().await?;
        }
        Ok(())
    }
}

/// The mapping's state after an error that only a person can end.
fn state_after(error: &SyncError) -> Option<(MappingState, String)> {
    match error {
        SyncError::ObjectGone { .. } | SyncError::Mapping(_) => Some((MappingState::SchemaChanged, error.to_string())),
        error if error.needs_person() => Some((MappingState::NeedsReauth, error.to_string())),
        _ => None,
    }
}
