//! What stands for the org's own code.

use axum::Router;
use axum::extract::{Json, State};
use axum::http::StatusCode;
use axum::routing::put;

use crate::Shared;
use crate::stand_ins::{Action, ApexRest};

pub(super) fn router() -> Router<Shared> {
    Router::new().route("/apexrest", put(apex_rest)).route("/actions", put(actions))
}

/// Replaces all handlers.
async fn apex_rest(State(shared): State<Shared>, Json(handlers): Json<Vec<ApexRest>>) -> StatusCode {
    if handlers.iter().any(|handler| !(200..600).contains(&handler.status)) {
        return StatusCode::UNPROCESSABLE_ENTITY;
    }
    shared.with_org(move |org| org.stand_ins.apex_rest = handlers).await;
    StatusCode::NO_CONTENT
}

/// Replaces all custom actions.
async fn actions(State(shared): State<Shared>, Json(actions): Json<Vec<Action>>) -> StatusCode {
    shared.with_org(move |org| org.stand_ins.actions = actions).await;
    StatusCode::NO_CONTENT
}
