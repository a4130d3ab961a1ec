//! Mappings paused and resumed.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use tieline_store::{Role, Uuid};
use utoipa::ToSchema;

use super::detail::{MappingDetail, detail};
use super::no_mapping;
use crate::caller::Caller;
use crate::extract::{Body, Path};
use crate::problem::Problem;
use crate::service::Service;

/// Longest reason, in characters.
const LONGEST_REASON: usize = 500;

/// Why a mapping is paused.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ToPause {
    /// For whoever sees it.
    #[schema(max_length = 500)]
    pub(crate) reason: Option<String>,
}

/// How a mapping goes on.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ToResume {
    /// What its next comparison finds gone is gone, however much it is: for a mapping that is held.
    #[serde(default)]
    pub(crate) allow_gone: bool,
}

/// Pause a mapping
///
/// It is not read until somebody resumes it. A run under way can write no more; what it has written stays.
#[utoipa::path(post, path = "/api/mappings/{id}/pause", tag = "mappings", request_body = ToPause, params(("id" = Uuid, Path, description = "The mapping")), responses(
    (status = 200, description = "It is paused, or was before", body = MappingDetail),
    (status = "4XX", description = "There is none", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn pause_mapping(
    State(service): State<Service>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Body(pause): Body<ToPause>,
) -> Result<Json<MappingDetail>, Problem> {
    caller.at_least(Role::Admin)?;
    if pause.reason.as_ref().is_some_and(|reason| reason.chars().count() > LONGEST_REASON) {
        return Err(Problem::invalid(format!("the reason is longer than {LONGEST_REASON} characters"), "shorten it"));
    }
    let mapping = caller.tenant.mapping(id).await?.ok_or_else(no_mapping)?;
    caller.tenant.pause_mapping(&mapping, pause.reason.as_deref(), service.now()).await?;
    service.changed();
    let paused = caller.tenant.mapping(id).await?.ok_or_else(no_mapping)?;
    Ok(Json(detail(&service, &caller, paused).await?))
}

/// Have a paused mapping go on
///
/// Its next run begins soon. With `allow_gone` what its next comparison finds gone is gone, however much it is; without, a
/// mapping that is held compares anew, and is held again if nothing has changed.
#[utoipa::path(post, path = "/api/mappings/{id}/resume", tag = "mappings", request_body = ToResume, params(("id" = Uuid, Path, description = "The mapping")), responses(
    (status = 200, description = "It goes on", body = MappingDetail),
    (status = "4XX", description = "There is none, or it is not paused", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn resume_mapping(
    State(service): State<Service>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Body(resume): Body<ToResume>,
) -> Result<Json<MappingDetail>, Problem> {
    caller.at_least(Role::Admin)?;
    let mapping = caller.tenant.mapping(id).await?.ok_or_else(no_mapping)?;
    if !caller.tenant.resume_mapping(&mapping, resume.allow_gone, service.now()).await? {
        let detail = format!("the mapping is not paused, but `{}`", mapping.state.name());
        let hint = "ask for a run: POST /api/mappings/{id}/runs, which takes allow_gone, too";
        return Err(Problem::conflict("not_paused", detail, hint));
    }
    service.follow_schedules().await;
    service.changed();
    let resumed = caller.tenant.mapping(id).await?.ok_or_else(no_mapping)?;
    Ok(Json(detail(&service, &caller, resumed).await?))
}
