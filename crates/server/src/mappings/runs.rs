//! Runs of mappings: asked for, and what they have done.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tieline_store::mappings::MappingState;
use tieline_store::sync_work::Asked;
use tieline_store::{Role, Run, Uuid};
use utoipa::ToSchema;

use super::no_mapping;
use crate::caller::Caller;
use crate::extract::{Body, Path, Query};
use crate::lists::Place;
use crate::problem::Problem;
use crate::service::Service;

/// A run, with what it has done until now.
#[derive(Serialize, ToSchema)]
#[schema(as = SyncRun)]
pub(crate) struct RunView {
    /// UUID.
    pub(crate) id: Uuid,
    /// Its integration.
    pub(crate) integration_id: Uuid,
    /// Its mapping; none: it is a run of the integration's contacts.
    pub(crate) mapping_id: Option<Uuid>,
    /// The object that was read.
    pub(crate) object: String,
    /// `running`, `success`, `failed`, or `paused_quota`: the org has no API calls left for it.
    pub(crate) state: String,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) started_at: Timestamp,
    /// When it ended; none while it runs.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) finished_at: Option<Timestamp>,
    /// Records that the org sent.
    pub(crate) rows_read: i64,
    /// Rows that are new.
    pub(crate) inserted: i64,
    /// Rows that changed, deletions and returns included.
    pub(crate) updated: i64,
    /// Rows that are marked as gone.
    pub(crate) deleted: i64,
    /// Differences that no cursor could see, found and repaired.
    pub(crate) drift_found: i64,
    /// Values that did not fit their columns.
    pub(crate) failed_cells: i64,
    /// Requests to the org.
    pub(crate) api_calls: i64,
    /// Bytes of its answers.
    pub(crate) bytes: i64,
    /// When it is tried again, if the org has no API calls left.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) retry_at: Option<Timestamp>,
    /// Why it failed.
    pub(crate) error: Option<String>,
}

impl From<Run> for RunView {
    fn from(run: Run) -> Self {
        Self {
            id: run.id,
            integration_id: run.integration_id,
            mapping_id: run.mapping_id,
            object: run.object,
            state: run.state,
            started_at: run.started_at,
            finished_at: run.finished_at,
            rows_read: run.rows_read,
            inserted: run.inserted,
            updated: run.updated,
            deleted: run.deleted,
            drift_found: run.drift_found,
            failed_cells: run.failed_cells,
            api_calls: run.api_calls,
            bytes: run.bytes,
            retry_at: run.retry_at,
            error: run.error,
        }
    }
}

/// A page of runs.
#[derive(Serialize, ToSchema)]
#[schema(as = SyncRunPage)]
pub(crate) struct RunPage {
    /// Newest first.
    pub(crate) items: Vec<RunView>,
    /// Where the next page begins; none: this was the last.
    pub(crate) next: Option<String>,
}

/// What a run is to do beside what is due.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = AskedOfRun)]
#[expect(clippy::struct_excessive_bools, reason = "each is asked for by itself")]
pub(crate) struct ToRun {
    /// Prove that nothing is missing.
    #[schema(default = false)]
    pub(crate) verify: bool,
    /// Compare all ids with the org's.
    #[schema(default = false)]
    pub(crate) compare: bool,
    /// Read everything anew. Admins alone.
    #[schema(default = false)]
    pub(crate) reload: bool,
    /// Compare all ids, and mark as gone what is not found, however much it is. Admins alone.
    #[schema(default = false)]
    pub(crate) allow_gone: bool,
}

impl From<ToRun> for Asked {
    fn from(asked: ToRun) -> Self {
        let ToRun { verify, compare, reload, allow_gone } = asked;
        Self { verify, compare, reload, allow_gone }
    }
}

impl From<Asked> for ToRun {
    fn from(asked: Asked) -> Self {
        let Asked { verify, compare, reload, allow_gone } = asked;
        Self { verify, compare, reload, allow_gone }
    }
}

/// A request for a run.
#[derive(Serialize, ToSchema)]
#[schema(as = RunTicket)]
pub(crate) struct TicketView {
    /// The mapping.
    mapping_id: Uuid,
    /// It is served once `requests.served` of `GET /api/mappings/{id}` is as great: a run that began after it has ended.
    ticket: i64,
}

/// Ask for a run
///
/// At once, or as soon as the one under way has ended; however many ask before it begins, it is one. What is asked for reaches
/// whichever node runs it, and stands until it is done, also when that node dies.
#[utoipa::path(post, path = "/api/mappings/{id}/runs", tag = "mappings", request_body = ToRun, params(("id" = Uuid, Path, description = "The mapping")), responses(
    (status = 202, description = "It is asked for", body = TicketView),
    (status = "4XX", description = "It is not", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn request_run(
    State(service): State<Service>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Body(asked): Body<ToRun>,
) -> Result<(StatusCode, Json<TicketView>), Problem> {
    caller.at_least(if asked.reload || asked.allow_gone { Role::Admin } else { Role::Member })?;
    let mapping = caller.tenant.mapping(id).await?.ok_or_else(no_mapping)?;
    if mapping.state == MappingState::Paused {
        let detail = mapping
            .state_reason
            .map_or_else(|| "the mapping is paused".to_owned(), |reason| format!("the mapping is paused: {reason}"));
        let hint = "resume it: POST /api/mappings/{id}/resume, which takes allow_gone, too";
        return Err(Problem::conflict("paused", detail, hint));
    }
    // Nobody may have made its schedule yet.
    service.follow_schedules().await;
    let ticket = caller.tenant.request_run(id, asked.into(), service.now()).await?;
    let ticket = ticket.ok_or_else(|| {
        Problem::conflict("not_connected", "the mapping's integration is not connected", "connect it first")
    })?;
    service.follow_schedules().await;
    Ok((StatusCode::ACCEPTED, Json(TicketView { mapping_id: id, ticket: ticket.number() })))
}

/// The runs of a mapping
#[utoipa::path(get, path = "/api/mappings/{id}/runs", tag = "mappings", params(("id" = Uuid, Path, description = "The mapping"), Place), responses(
    (status = 200, description = "A page", body = RunPage),
    (status = "4XX", description = "There is none", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn runs(
    caller: Caller,
    Path(id): Path<Uuid>,
    Query(place): Query<Place>,
) -> Result<Json<RunPage>, Problem> {
    let (cursor, limit) = (place.cursor()?, place.limit()?);
    caller.tenant.mapping(id).await?.ok_or_else(no_mapping)?;
    let page = caller.tenant.runs_of_mapping(id, cursor, limit).await?;
    let items = page.items.into_iter().map(RunView::from).collect();
    Ok(Json(RunPage { items, next: page.next.map(|cursor| cursor.to_string()) }))
}

/// One run
///
/// Of a mapping, or of an integration's contacts.
#[utoipa::path(get, path = "/api/runs/{id}", tag = "mappings", params(("id" = Uuid, Path, description = "The run")), responses(
    (status = 200, description = "It", body = RunView),
    (status = "4XX", description = "There is none", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn run(caller: Caller, Path(id): Path<Uuid>) -> Result<Json<RunView>, Problem> {
    Ok(Json(caller.tenant.run(id).await?.ok_or_else(|| Problem::not_found("run"))?.into()))
}
