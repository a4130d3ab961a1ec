//! What befalls an org as a whole, and the pages and jobs of its results.

use axum::Router;
use axum::extract::{Json, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{post, put};
use serde::Deserialize;
use serde_json::json;

use crate::Shared;
use crate::api_error::ApiError;
use crate::bulk::forced::Forced;
use crate::cursors::PageTrick;
use crate::hosts::{Left, Maintenance, move_org};
use crate::id;

pub(super) fn router() -> Router<Shared> {
    Router::new()
        .route("/maintenance", put(maintenance))
        .route("/instance/move", post(move_instance))
        .route("/organization/refresh", post(refresh))
        .route("/pages", post(add_trick).delete(clear_tricks))
        .route("/bulk/jobs", post(force_jobs))
        .route("/bulk/expire", post(expire_jobs))
}

async fn maintenance(State(shared): State<Shared>, Json(maintenance): Json<Maintenance>) -> StatusCode {
    shared.hosts.maintain(maintenance);
    StatusCode::NO_CONTENT
}

async fn move_instance(State(shared): State<Shared>, Json(left): Json<Left>) -> Response {
    match move_org(&shared, left).await {
        Ok(url) => axum::Json(json!({"instance_url": url})).into_response(),
        Err(error) => ApiError::new(500, "UNKNOWN_EXCEPTION", format!("emulator: {error:#}")).into_response(),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refresh {
    /// Another id is made up if none is given.
    organization_id: Option<String>,
    /// Access and refresh tokens live on.
    #[serde(default)]
    keep_tokens: bool,
    /// The records of the old sandbox are still there.
    #[serde(default = "yes")]
    keep_records: bool,
}

fn yes() -> bool {
    true
}

async fn refresh(State(shared): State<Shared>, Json(refresh): Json<Refresh>) -> Response {
    let refreshed = shared.with_org(move |org| {
        let id = match &refresh.organization_id {
            Some(id) => id::normalise(id).filter(|id| id.starts_with("00D")).ok_or_else(ApiError::not_found)?,
            None => org.new_id("00D"),
        };
        org.refresh(id, refresh.keep_tokens, refresh.keep_records)?;
        Ok::<_, ApiError>(org.id.clone())
    });
    match refreshed.await {
        Ok(id) => axum::Json(json!({"organization_id": id})).into_response(),
        Err(refused) => refused.into_response(),
    }
}

async fn add_trick(State(shared): State<Shared>, Json(trick): Json<PageTrick>) -> StatusCode {
    shared.with_org(move |org| org.page_tricks.add(trick)).await;
    StatusCode::NO_CONTENT
}

async fn clear_tricks(State(shared): State<Shared>) -> StatusCode {
    shared.with_org(|org| org.page_tricks.clear()).await;
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ForceJobs {
    /// A job or a batch; all that have not ended, if it is left out.
    id: Option<String>,
    state: Forced,
    message: Option<String>,
}

async fn force_jobs(State(shared): State<Shared>, Json(body): Json<ForceJobs>) -> Response {
    let forced = shared
        .with_org(move |org| {
            let now = org.now();
            org.bulk.force(body.id.as_deref(), body.state, body.message.as_deref(), now)
        })
        .await;
    axum::Json(json!({"jobs": forced})).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpireJobs {
    id: Option<String>,
    /// The job is still told of; its results are not.
    #[serde(default)]
    results_only: bool,
}

async fn expire_jobs(State(shared): State<Shared>, Json(body): Json<ExpireJobs>) -> Response {
    let gone = shared.with_org(move |org| org.bulk.expire_now(body.id.as_deref(), body.results_only)).await;
    axum::Json(json!({"jobs": gone})).into_response()
}
