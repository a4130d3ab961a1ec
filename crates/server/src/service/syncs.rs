//! Syncs: what the queue says is next, on whichever node has a place for it.
//!
//! A nudge carries no input. It says "look again", and looking again is all that a run does; a lost one costs time,
//! never rows.

use std::time::Duration;

use jiff::Timestamp;
use tieline_auth::ConfigError;
use tieline_client::Connection;
use tieline_store::mappings::Mapping;
use tieline_store::sync_work::{Asked, Ticket, Work};
use tieline_store::{Integration, Status, StoreError, Tenant, Uuid};
use tieline_sync::engine::{Engine, EngineCare};
use tieline_sync::importer::LATER;
use tieline_sync::mapping::Definition;
use tieline_sync::worker::{self, Ended};
use tieline_sync::{Job, Outcome, RunWork, Steps, SyncError, Worker, WorkerSettings};
use tracing::Instrument;

use super::Service;
use crate::telemetry::measures;

/// How often whoever waits for a run looks after it.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long somebody waits for runs of other nodes.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a node works on syncs.
#[derive(Debug, Clone)]
pub struct SyncWorker {
    /// Runs at a time on this node.
    pub at_once: usize,
    /// Runs of a business at a time, on all nodes together.
    pub per_business: u32,
    /// How long work waits whose worker was killed, before another one goes on with it.
    pub lease: Duration,
    /// Rows of a step of a mapping at most: what is lost when a run is cut off.
    pub step_rows: usize,
}

impl Default for SyncWorker {
    fn default() -> Self {
        let step_rows = EngineCare::default().step_rows;
        Self { at_once: worker::AT_ONCE, per_business: worker::PER_BUSINESS, lease: worker::LEASE, step_rows }
    }
}

impl Service {
    /// Asks for runs of everything soon, without waiting for them.
    pub async fn sync_soon(&self) {
        match self.0.store.request_all(self.now()).await {
            Ok(_) => self.0.nudge.notify_one(),
            Err(error) => tracing::error!(%error, hint = error.hint(), "could not ask for sync runs"),
        }
    }

    /// Works sync runs off until the service is being stopped; then what is under way ends its step and is given back.
    pub async fn work_syncs(&self) {
        self.worker().work(&self.0.nudge, self.0.stopping.subscribe()).await;
    }

    /// Asks for a run of everything, and works off whatever there is until each request is served. Failures are in the history;
    /// they do not stop the others.
    pub async fn run_all(&self) {
        let worker = self.worker();
        worker.follow().await;
        let drained = async {
            let mut tickets = self.0.store.request_all(self.now()).await?;
            while !tickets.is_empty() {
                worker.drain().await?;
                tickets = self.0.store.unserved(&tickets).await?;
                if !tickets.is_empty() {
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            }
            Ok::<_, StoreError>(())
        };
        match tokio::time::timeout(PATIENCE, drained).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, hint = error.hint(), "could not run the syncs"),
            Err(_) => tracing::warn!("another node is still at a sync run that was asked for here"),
        }
    }

    /// Asks for a run of everything of a business, and waits for it, for a while: any node may do it.
    pub(crate) async fn sync_now(&self, tenant: &Tenant, patience: Duration) {
        self.worker().follow().await;
        let served = async {
            let mut tickets: Vec<Ticket> = tenant.request_sync(None, self.now()).await?;
            self.0.nudge.notify_one();
            while !tickets.is_empty() {
                tokio::time::sleep(LOOK_EVERY).await;
                tickets = self.0.store.unserved(&tickets).await?;
            }
            Ok::<_, StoreError>(())
        };
        if let Ok(Err(error)) = tokio::time::timeout(patience, served).await {
            tracing::error!(%error, hint = error.hint(), "could not ask for a sync run");
        }
    }

    /// Makes schedules that are missing, and has this node look at what is due.
    pub(crate) async fn follow_schedules(&self) {
        self.worker().follow().await;
        self.0.nudge.notify_one();
    }

    pub(super) fn worker(&self) -> Worker<Runner> {
        let SyncWorker { at_once, per_business, lease, .. } = self.0.settings.syncs.clone().unwrap_or_default();
        let owner = self.0.name.clone();
        let settings =
            WorkerSettings { owner, at_once, per_business, every: self.0.settings.every, lease, hangs: worker::HANGS };
        Worker::new(self.0.store.clone(), Runner(self.clone()), self.0.clock.clone(), settings)
    }

    /// Clears away counters of requests that are full again, now and then, until dropped.
    pub(crate) async fn sweep_counters(&self) {
        loop {
            if let Err(error) = self.0.store.sweep_rate_limits().await {
                tracing::warn!(%error, "old counters were not taken out");
            }
            tokio::time::sleep(self.0.settings.every).await;
        }
    }

    async fn run_mapping(&self, tenant: &Tenant, id: Uuid, steps: &Steps) -> Outcome {
        let found = async {
            let Some(mapping) = tenant.mapping(id).await? else { return Ok(None) };
            let Some(integration) = mapping.integration_id else { return Ok(None) };
            Ok::<_, StoreError>(tenant.integration(integration).await?.map(|integration| (mapping, integration)))
        };
        let (mapping, integration) = match found.await {
            Ok(Some(found)) => found,
            Ok(None) => return Outcome::Gone,
            Err(error) => return Outcome::Failed { reason: error.to_string(), retry_at: None },
        };
        self.changed();
        let span = tracing::info_span!("sync_run", integration = %integration.id, mapping = %id);
        let (began, mut run) = (self.0.clock.monotonic(), None);
        let ran = self.bring_up(tenant, &mapping, &integration, steps, &mut run).instrument(span).await;
        self.measure_run(tenant, run, self.0.clock.monotonic().saturating_sub(began)).await;
        self.ended(tenant, &integration, (mapping.work(), run), ran).await
    }

    /// Counts what a run that has ended has done.
    async fn measure_run(&self, tenant: &Tenant, run: Option<Uuid>, took: Duration) {
        let Some(run) = run else { return };
        match tenant.run(run).await {
            Ok(Some(run)) => measures::mapping_run(&run, took),
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "what a sync run has done was not counted"),
        }
    }

    /// What is noted of the end of a run of this.
    async fn ended(
        &self,
        tenant: &Tenant,
        integration: &Integration,
        of: (Work, Option<Uuid>),
        ran: Result<(), SyncError>,
    ) -> Outcome {
        let outcome = match ran {
            Ok(()) => Outcome::Done { next: None },
            Err(SyncError::Store(error @ StoreError::Fenced { .. })) => {
                tracing::info!(integration = %integration.name, %error, "another process does the work");
                Outcome::Fenced
            }
            // It goes on by itself: nobody has to be called.
            Err(error) if error.is_out_of_calls() => {
                tracing::warn!(integration = %integration.name, %error, "a sync run waits for the org's API calls");
                self.outcome_of(&error)
            }
            // It is paused, and the alert that says so was raised with that.
            Err(error @ SyncError::MassDelete { .. }) => {
                tracing::error!(integration = %integration.name, %error, hint = %error.hint(), "a mapping is held");
                self.outcome_of(&error)
            }
            // Somebody has deleted it a moment ago.
            Err(SyncError::NoMapping { .. }) => Outcome::Gone,
            // Somebody has paused it a moment ago.
            Err(error @ SyncError::Paused { .. }) => {
                tracing::info!(integration = %integration.name, %error, "nothing is read");
                self.outcome_of(&error)
            }
            Err(error) => {
                tracing::error!(integration = %integration.name, %error, hint = %error.hint(), "a sync run failed");
                self.note_failed_run(tenant, integration, of, &error).await;
                self.outcome_of(&error)
            }
        };
        self.changed();
        outcome
    }

    /// One run of a mapping.
    async fn bring_up(
        &self,
        tenant: &Tenant,
        mapping: &Mapping,
        integration: &Integration,
        steps: &Steps,
        run: &mut Option<Uuid>,
    ) -> Result<(), SyncError> {
        if !mapping.is_contacts() {
            self.keep_pace(tenant, mapping).await?;
        }
        let connection = self.connection(tenant, integration).await?;
        same_org(integration, &connection).await?;
        let SyncWorker { step_rows, .. } = self.0.settings.syncs.clone().unwrap_or_default();
        let care = EngineCare { window: self.0.settings.window, step_rows, ..EngineCare::default() };
        let (store, clock) = (tenant.clone(), self.0.clock.clone());
        let engine = Engine { connection: connection.clone(), store, care, clock };
        let mut progress = |_| {
            steps.done();
            self.changed();
        };
        // What somebody has asked for stands with the mapping once the run has begun.
        let ran = engine.run_and_tell(mapping.id, Asked::default(), &mut progress, run).await;
        self.note_api_calls(tenant, integration.id, &connection).await;
        ran?;
        if mapping.is_contacts() { self.note_org(tenant, integration, &connection).await } else { Ok(()) }
    }

    /// Keeps what the login tells of the org.
    async fn note_org(
        &self,
        tenant: &Tenant,
        integration: &Integration,
        connection: &Connection,
    ) -> Result<(), SyncError> {
        if let Ok(token) = connection.credentials().token().await {
            let config = serde_json::json!({
                "instance_url": token.instance_url().as_str().trim_end_matches('/'),
                "organization_id": token.organization_id(),
            });
            if config.as_object().into_iter().flatten().any(|(key, value)| integration.config.get(key) != Some(value)) {
                let now = self.0.clock.now();
                tenant.note_integration(integration.id, Status::Active, None, Some(&config), now).await?;
            }
        }
        Ok(())
    }

    /// A mapping's own schedule is the queue's, however it came to be there.
    async fn keep_pace(&self, tenant: &Tenant, mapping: &Mapping) -> Result<(), SyncError> {
        let pace = Definition::from_json(mapping.definition.clone())?.pace().ok().flatten();
        let work = Work::Mapping { mapping: mapping.id };
        let kept = tenant.work_of_mapping(mapping.id).await?.and_then(|item| item.pace);
        if kept != pace {
            tenant.set_pace(work, pace.as_ref(), self.now()).await?;
        }
        Ok(())
    }

    /// What passes by itself is tried again soon, all else with the next tick, as somebody may have helped by then.
    fn outcome_of(&self, error: &SyncError) -> Outcome {
        let after = |time: jiff::SignedDuration| self.now().checked_add(time).unwrap_or(Timestamp::MAX);
        if error.is_out_of_calls() {
            return Outcome::PausedQuota { until: after(LATER) };
        }
        let passes = error.is_transient() || matches!(error, SyncError::Store(error) if error.is_passing());
        let every = jiff::SignedDuration::try_from(self.0.settings.every).unwrap_or(jiff::SignedDuration::MAX);
        Outcome::Failed { reason: error.to_string(), retry_at: (!passes).then(|| after(every)) }
    }
}

/// Refuses a login that leads to another org. One that fails is told by the run, which has a row in the history.
async fn same_org(integration: &Integration, connection: &Connection) -> Result<(), SyncError> {
    if let (Some(expected), Ok(token)) = (&integration.organization_id, connection.credentials().token().await)
        && let Some(found) = token.organization_id()
        && expected != found
    {
        return Err(ConfigError::new(
            format!("the integration `{}` is the org {expected}, and its login leads to {found}", integration.name),
            "log in to the same org; what was synced from one must not be mixed with another's",
        )
        .into());
    }
    Ok(())
}

/// What the worker's work is, on a node of the service.
pub(super) struct Runner(Service);

impl RunWork for Runner {
    fn runs_mappings(&self) -> bool {
        true
    }

    async fn run(&self, job: &Job, steps: &Steps) -> Outcome {
        match job.work {
            // Contacts have their integration's id.
            Work::Contacts { integration: id } | Work::Mapping { mapping: id } => {
                self.0.run_mapping(&job.tenant, id, steps).await
            }
        }
    }

    async fn ended(&self, _: &Job, ended: &Ended) {
        measures::sync_run(match ended {
            Ended::Ran(Outcome::Done { .. }) => "done",
            Ended::Ran(Outcome::Failed { .. }) => "failed",
            Ended::Ran(Outcome::PausedQuota { .. }) => "paused_quota",
            Ended::Ran(Outcome::Fenced) => "fenced",
            Ended::Ran(Outcome::Gone) => "gone",
            Ended::TakenOver => "taken_over",
            Ended::GivenBack => "given_back",
        });
        self.0.changed();
    }
}
