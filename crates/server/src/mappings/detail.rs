//! `/api/mappings`: all mappings, and one of them with all that is known of it.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tieline_store::Uuid;
use tieline_store::mappings::{Mapping, Standing, WalkKind};
use tieline_store::sync_work::{Failing, Pace, WorkItem};
use tieline_sync::mapping::Definition;
use utoipa::ToSchema;

use super::no_mapping;
use super::runs::{RunView, ToRun};
use super::view::MappingView;
use crate::caller::Caller;
use crate::extract::Path;
use crate::problem::Problem;
use crate::service::Service;

/// All mappings.
#[derive(Serialize, ToSchema)]
pub(crate) struct Mappings {
    /// Oldest first.
    pub(crate) mappings: Vec<MappingView>,
}

/// What a mapping is in the middle of.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = MappingStage)]
pub(crate) enum StageName {
    /// A Bulk job is to be read.
    BulkJob,
    /// A scan by the cursor.
    Scan,
    /// All ids are compared.
    Compare,
    /// New columns are filled.
    Fill,
    /// Columns that change without a stamp are read again.
    Refresh,
    /// Everything is read, by id.
    Reload,
}

/// What is under way; what was cut off goes on with the next run.
#[derive(Serialize, ToSchema)]
#[schema(as = UnderWay)]
pub(crate) struct UnderWayView {
    /// What.
    pub(crate) stage: StageName,
    /// When it began, by the org's clock.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) since: Option<Timestamp>,
    /// Records that it has seen, where it counts them.
    pub(crate) seen: Option<u64>,
}

impl UnderWayView {
    fn of(standing: &Standing) -> Option<Self> {
        if let Some(job) = &standing.progress.job {
            return Some(Self { stage: StageName::BulkJob, since: Some(job.begun), seen: None });
        }
        if standing.checkpoint.scan.is_some() {
            return Some(Self { stage: StageName::Scan, since: None, seen: None });
        }
        let walk = standing.progress.walk.as_ref()?;
        let stage = match walk.kind {
            WalkKind::Compare => StageName::Compare,
            WalkKind::Fill => StageName::Fill,
            WalkKind::Refresh => StageName::Refresh,
            WalkKind::Reload => StageName::Reload,
        };
        Some(Self { stage, since: Some(walk.began), seen: Some(walk.seen) })
    }
}

/// What fails from run to run.
#[derive(Serialize, ToSchema)]
#[schema(as = FailingSync)]
pub(crate) struct FailingView {
    /// Somebody must log in to the org, or change its settings.
    pub(crate) needs_person: bool,
    /// Why the last run failed.
    pub(crate) reason: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) since: Timestamp,
    /// Runs that have failed since one that did not.
    pub(crate) runs: i64,
}

impl From<Failing> for FailingView {
    fn from(failing: Failing) -> Self {
        let Failing { needs_person, reason, since, runs } = failing;
        Self { needs_person, reason, since, runs }
    }
}

/// Requests for runs.
#[derive(Serialize, ToSchema)]
#[schema(as = RunRequests)]
pub(crate) struct RequestsView {
    /// How many there were: the ticket of the last.
    pub(crate) requested: i64,
    /// Up to which ticket a run has ended, well or not.
    pub(crate) served: i64,
    /// What has been asked for beside what is due, and is not done yet.
    pub(crate) asked: ToRun,
}

/// A mapping, with all that is known of it.
#[derive(Serialize, ToSchema)]
#[schema(as = MappingDetail)]
pub(crate) struct MappingDetail {
    #[serde(flatten)]
    pub(crate) mapping: MappingView,
    /// As somebody wrote it.
    #[schema(value_type = Object)]
    pub(crate) definition: Value,
    /// Records that the table shows as there.
    pub(crate) rows: u64,
    /// What is under way, or was cut off.
    pub(crate) under_way: Option<UnderWayView>,
    /// Columns that have yet to be filled.
    pub(crate) unfilled: Vec<String>,
    /// Columns whose fields the org no longer shows: they keep their values.
    pub(crate) lost: Vec<String>,
    /// Columns that the definition has no more: they keep their values, too.
    pub(crate) left_out: Vec<String>,
    /// Whether some values did not fit their columns at any time.
    pub(crate) has_errors: bool,
    /// How often it is read: `every 900` (seconds), `cron 0 6 * * *`, `continuous`; none: as often as the service is told.
    pub(crate) pace: Option<String>,
    /// When the next run may begin; none: not before somebody acts.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) next_run_at: Option<Timestamp>,
    /// Whether a node is at it.
    pub(crate) running: bool,
    /// How it fails; none: it does not, as far as is known.
    pub(crate) failing: Option<FailingView>,
    /// Requests for runs.
    pub(crate) requests: RequestsView,
    /// When all ids were compared last.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) compared_at: Option<Timestamp>,
    /// When columns that change without a stamp were read last.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) refreshed_at: Option<Timestamp>,
    /// When a proof was tried last.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) verified_at: Option<Timestamp>,
    /// The newest run.
    pub(crate) last_run: Option<RunView>,
}

/// All that is known of a mapping now.
pub(super) async fn detail(service: &Service, caller: &Caller, mapping: Mapping) -> Result<MappingDetail, Problem> {
    let now = service.now();
    let rows = caller.tenant.count_present(&mapping).await?;
    let work = caller.tenant.work_of_mapping(mapping.id).await?;
    let last_run = caller.tenant.runs_of_mapping(mapping.id, None, 1).await?.items.pop();
    // The queue's is set with the first run.
    let written =
        Definition::from_json(mapping.definition.clone()).ok().and_then(|written| written.pace().ok().flatten());
    let pace = written.or_else(|| work.as_ref().and_then(|work| work.pace.clone()));
    let progress = &mapping.standing.progress;
    let names =
        |columns: &[tieline_store::object_tables::Column]| columns.iter().map(|column| column.name.clone()).collect();
    let asked = work.as_ref().map(|work| work.asked).unwrap_or_default().and(progress.asked);
    let paused = mapping.state == tieline_store::mappings::MappingState::Paused;
    Ok(MappingDetail {
        definition: mapping.definition.clone(),
        rows,
        under_way: UnderWayView::of(&mapping.standing),
        unfilled: progress.unfilled.clone(),
        lost: names(&progress.lost),
        left_out: names(&progress.left_out),
        has_errors: progress.failing,
        pace: pace.as_ref().map(Pace::to_string),
        next_run_at: work.as_ref().filter(|_| !paused).and_then(|work| work.ready_at),
        running: work.as_ref().is_some_and(|work| work.is_running(now)),
        requests: RequestsView {
            requested: work.as_ref().map_or(0, |work| work.requested),
            served: work.as_ref().map_or(0, |work| work.served),
            asked: asked.into(),
        },
        failing: work.and_then(|work: WorkItem| work.failing).map(FailingView::from),
        compared_at: progress.compared_at,
        refreshed_at: progress.refreshed_at,
        verified_at: progress.verified_at,
        last_run: last_run.map(RunView::from),
        mapping: MappingView::new(mapping, now),
    })
}

/// The mappings of the business
#[utoipa::path(get, path = "/api/mappings", tag = "mappings", responses(
    (status = 200, description = "All", body = Mappings),
    (status = "4XX", description = "Not for this caller", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn mappings(State(service): State<Service>, caller: Caller) -> Result<Json<Mappings>, Problem> {
    let (all, now) = (caller.tenant.every_mapping().await?, service.now());
    Ok(Json(Mappings { mappings: all.into_iter().map(|mapping| MappingView::new(mapping, now)).collect() }))
}

/// One mapping
#[utoipa::path(get, path = "/api/mappings/{id}", tag = "mappings", params(("id" = Uuid, Path, description = "The mapping")), responses(
    (status = 200, description = "It", body = MappingDetail),
    (status = "4XX", description = "There is none", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn mapping(
    State(service): State<Service>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Json<MappingDetail>, Problem> {
    let mapping = caller.tenant.mapping(id).await?.ok_or_else(no_mapping)?;
    Ok(Json(detail(&service, &caller, mapping).await?))
}
