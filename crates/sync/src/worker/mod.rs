//! Working off sync runs: whatever is due, asked for or left by a worker that died, a few at a time.
//!
//! A worker takes no input: what is next, the database knows ([`tieline_store::sync_work`]). How a piece of work is done it
//! does not know either; a [`RunWork`] does. In between it keeps the lease while the work is done, ends the work when the
//! lease is gone, decides when what failed is tried again, and stops in order: the step under way is ended, and what is
//! left is given back at once.

mod backoff;
mod by_hand;
mod keep;

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use jiff::Timestamp;
use tieline_auth::Clock;
use tieline_store::sync_work::{self, Claiming, Work, WorkClaim};
use tieline_store::{Store, StoreError, Tenant, Uuid};
use tokio::sync::{Notify, watch};
use tokio::task::{Id, JoinSet};

pub use backoff::backoff;
use keep::keep;
pub use keep::{HANGS, Steps};

/// How long a worker may be silent before another one takes its work. It says three times in so long that it lives.
pub const LEASE: Duration = Duration::from_secs(60);

/// Runs of a node at a time, and of a business on all nodes together. An org takes 25 long requests at a time (Salesforce
/// Developer Limits, "Concurrent API Request Limits"), of which others want some.
pub const AT_ONCE: usize = 4;
/// See [`AT_ONCE`].
pub const PER_BUSINESS: u32 = 2;

/// How often a worker looks for work that nobody has told it of.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often schedules that are missing are made.
const FOLLOW_EVERY: Duration = Duration::from_secs(60);
/// How long a step may take to end once the worker is being stopped.
const LAST_STEP: Duration = Duration::from_secs(3);

/// How a worker works.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// Who it is, for people to read.
    pub owner: String,
    /// Runs at a time.
    pub at_once: usize,
    /// Runs of a business at a time, on all nodes together.
    pub per_business: u32,
    /// How often what has no pace of its own is synced.
    pub every: Duration,
    /// How long work waits whose worker was killed.
    pub lease: Duration,
    /// How long a run may go without a step before it is given up.
    pub hangs: Duration,
}

impl WorkerSettings {
    /// The usual ones.
    pub fn new(owner: impl Into<String>) -> Self {
        Self {
            owner: owner.into(),
            at_once: AT_ONCE,
            per_business: PER_BUSINESS,
            every: Duration::from_secs(900),
            lease: LEASE,
            hangs: HANGS,
        }
    }
}

/// A piece of work that was taken.
#[derive(Debug, Clone)]
pub struct Job {
    /// Whose it is.
    pub tenant: Tenant,
    /// What it is.
    pub work: Work,
    /// Grows each time that it is taken.
    pub fence: i64,
    /// Times in a row that it has failed before.
    pub failures: i64,
}

/// How a run ended, as whoever ran it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Well.
    Done {
        /// When it is due again, if it is another time than its pace says.
        next: Option<Timestamp>,
    },
    /// It failed.
    Failed {
        /// Why.
        reason: String,
        /// When it is tried again; none: after a pause that grows with each failure.
        retry_at: Option<Timestamp>,
    },
    /// The org has no calls left for it.
    PausedQuota {
        /// Until when.
        until: Timestamp,
    },
    /// A later run has its checkpoint.
    Fenced,
    /// It is no work any more.
    Gone,
}

/// How the work on something ended, as the worker tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// As whoever ran it said; and what was said stands in the database.
    Ran(Outcome),
    /// Somebody else has it now.
    TakenOver,
    /// The worker is being stopped: the next one goes on.
    GivenBack,
}

/// Who does the work.
pub trait RunWork: Send + Sync + 'static {
    /// Whether mappings are done here. Otherwise they are left to workers that do.
    fn runs_mappings(&self) -> bool;

    /// Does it. It may be dropped at any await, and is, after a step, when the worker is being stopped: what was committed
    /// stays, and the next run goes on from there. `steps` is told of each step.
    fn run(&self, job: &Job, steps: &Steps) -> impl Future<Output = Outcome> + Send;

    /// Hears how it ended.
    fn ended(&self, job: &Job, ended: &Ended) -> impl Future<Output = ()> + Send;
}

/// Works off sync runs. Cheap to clone.
#[derive(Debug)]
pub struct Worker<R>(Arc<Inner<R>>);

impl<R> Clone for Worker<R> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

struct Inner<R> {
    store: Store,
    runner: R,
    clock: Arc<dyn Clock>,
    random: Box<dyn Fn() -> f64 + Send + Sync>,
    settings: WorkerSettings,
}

impl<R> std::fmt::Debug for Inner<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl<R: RunWork> Worker<R> {
    /// A worker for all businesses.
    pub fn new(store: Store, runner: R, clock: Arc<dyn Clock>, settings: WorkerSettings) -> Self {
        Self::with_random(store, runner, clock, settings, fastrand::f64)
    }

    /// The same with another source of randomness for pauses: from 0 up to 1.
    pub fn with_random(
        store: Store,
        runner: R,
        clock: Arc<dyn Clock>,
        settings: WorkerSettings,
        random: impl Fn() -> f64 + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Inner { store, runner, clock, random: Box::new(random), settings }))
    }

    fn lease(&self) -> Duration {
        self.0.settings.lease.max(Duration::from_secs(1))
    }

    fn claiming(&self) -> Claiming {
        let WorkerSettings { owner, per_business, every, .. } = &self.0.settings;
        Claiming {
            owner: owner.clone(),
            mappings: self.0.runner.runs_mappings(),
            per_business: *per_business,
            every: *every,
            lease: self.lease(),
        }
    }

    /// Works until it is being stopped. `nudge` says that there may be something to do.
    pub async fn work(&self, nudge: &Notify, stopping: watch::Receiver<bool>) {
        let mut running = Running::default();
        let mut followed = None;
        loop {
            let now = self.0.clock.monotonic();
            if followed.is_none_or(|at| now.saturating_sub(at) >= FOLLOW_EVERY) {
                followed = Some(now);
                self.follow().await;
            }
            if *stopping.borrow() {
                break;
            }
            if let Err(error) = self.take(&mut running, &stopping).await {
                tracing::error!(%error, hint = error.hint(), "sync runs cannot be taken");
            }
            tokio::select! {
                () = nudge.notified() => {}
                () = running.one_ended() => {}
                () = tokio::time::sleep(LOOK_EVERY.mul_f64(0.5 + (self.0.random)() / 2.0)) => {}
                () = keep::stopped(stopping.clone()) => {}
            }
        }
        running.all_ended().await;
    }

    /// Works off what there is, until nothing is left that could be taken.
    ///
    /// # Errors
    /// [`StoreError`], when nothing can be taken; what was begun is done.
    pub async fn drain(&self) -> Result<(), StoreError> {
        let (_never, stopping) = watch::channel(false);
        let mut running = Running::default();
        loop {
            let taken = self.take(&mut running, &stopping).await;
            if taken.is_err() || running.is_empty() {
                running.all_ended().await;
                return taken;
            }
            running.one_ended().await;
        }
    }

    /// Makes schedules that are missing.
    pub async fn follow(&self) {
        let followed = self.0.store.follow_integrations(self.0.settings.every, self.0.clock.now()).await;
        if let Err(error) = followed {
            tracing::error!(%error, hint = error.hint(), "schedules could not be made for integrations");
        }
    }

    /// Takes as much as there is a place for.
    async fn take(&self, running: &mut Running, stopping: &watch::Receiver<bool>) -> Result<(), StoreError> {
        let claiming = self.claiming();
        while running.len() < self.0.settings.at_once.max(1) {
            if !self.0.store.has_ready_work(&claiming, self.0.clock.now()).await? {
                return Ok(());
            }
            let Some(claim) = self.0.store.claim_work(&claiming, self.0.clock.now()).await? else { return Ok(()) };
            let (worker, stopping) = (self.clone(), stopping.clone());
            running.begin(claim.work().id(), async move {
                // It is told already.
                let _ = worker.work_on(claim, stopping).await;
            });
        }
        Ok(())
    }

    /// What could be taken now, by names (business, work), as [`Store::ready_work`] tells it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn ready(&self, business: Option<Uuid>, most: u32) -> Result<Vec<(Uuid, Uuid)>, StoreError> {
        self.0.store.ready_work(business, &self.claiming(), most, self.0.clock.now()).await
    }

    /// Does that piece of work of a business, until it has ended or the worker is being stopped. `None`: somebody else has it,
    /// it is not due, the business has no place for it, or it is gone.
    ///
    /// # Errors
    /// [`StoreError`]: it could not be taken, or how it ended could not be noted; then it is anybody's once its lease has ended.
    pub async fn work_on_named(
        &self,
        business: Uuid,
        id: Uuid,
        stopping: watch::Receiver<bool>,
    ) -> Result<Option<Ended>, StoreError> {
        let claim = self.0.store.claim_work_named(business, id, &self.claiming(), self.0.clock.now()).await?;
        match claim {
            Some(claim) => self.work_on(claim, stopping).await.map(Some),
            None => Ok(None),
        }
    }

    async fn work_on(&self, claim: WorkClaim, stopping: watch::Receiver<bool>) -> Result<Ended, StoreError> {
        let job =
            Job { tenant: claim.tenant.clone(), work: claim.work(), fence: claim.fence, failures: claim.item.failures };
        let steps = Steps::default();
        let run = AssertUnwindSafe(self.0.runner.run(&job, &steps)).catch_unwind();
        let outcome = tokio::select! {
            biased;
            outcome = run => Some(outcome.unwrap_or_else(|_| {
                Outcome::Failed { reason: "the run panicked: see the program's log".to_owned(), retry_at: None }
            })),
            outcome = keep(&claim, &steps, &*self.0.clock, self.lease(), self.0.settings.hangs) => Some(outcome),
            () = steps.last_one(stopping, LAST_STEP) => None,
        };
        let ended = match outcome {
            Some(outcome) => self.end(&claim, outcome).await,
            None => claim.give_back(self.0.clock.now()).await.map(|held| match held {
                true => Ended::GivenBack,
                false => Ended::TakenOver,
            }),
        };
        match &ended {
            Ok(ended) => self.0.runner.ended(&job, ended).await,
            // Once the lease has ended it is taken up again.
            Err(error) => {
                tracing::error!(%error, hint = error.hint(), "how a sync run ended could not be noted");
            }
        }
        ended
    }

    async fn end(&self, claim: &WorkClaim, outcome: Outcome) -> Result<Ended, StoreError> {
        let now = self.0.clock.now();
        let ended = match &outcome {
            Outcome::Done { next } => sync_work::Ended::Done { next: *next },
            Outcome::Failed { reason, retry_at } => {
                let pause = backoff(self.0.settings.every, claim.item.failures, (self.0.random)());
                let retry_at = retry_at.unwrap_or_else(|| now.checked_add(pause).unwrap_or(Timestamp::MAX));
                sync_work::Ended::Failed { error: reason, retry_at }
            }
            Outcome::PausedQuota { until } => sync_work::Ended::PausedQuota { until: *until },
            Outcome::Gone => sync_work::Ended::Gone,
            // A run that somebody has begun by hand may be what is in the way: it has what there was to do.
            Outcome::Fenced => sync_work::Ended::Done { next: None },
        };
        let held = claim.end(&ended, now).await?;
        Ok(if held { Ended::Ran(outcome) } else { Ended::TakenOver })
    }
}

/// What is under way.
#[derive(Debug, Default)]
struct Running {
    tasks: JoinSet<()>,
    /// For the log, should one panic outside of its run.
    of: HashMap<Id, Uuid>,
}

impl Running {
    fn len(&self) -> usize {
        self.tasks.len()
    }

    fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    fn begin(&mut self, id: Uuid, work: impl Future<Output = ()> + Send + 'static) {
        let task = self.tasks.spawn(work);
        self.of.insert(task.id(), id);
    }

    /// Resolves when one has ended; never, if there is none.
    async fn one_ended(&mut self) {
        let ended = match self.tasks.join_next_with_id().await {
            Some(Ok((task, ()))) => task,
            Some(Err(error)) => {
                let work = self.of.get(&error.id()).map(ToString::to_string);
                tracing::error!(%error, work, "the work on a sync run panicked; it is taken up again when its lease has ended");
                error.id()
            }
            None => std::future::pending().await,
        };
        self.of.remove(&ended);
    }

    async fn all_ended(&mut self) {
        while !self.is_empty() {
            self.one_ended().await;
        }
    }
}
