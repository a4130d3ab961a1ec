//! All of a business, to take along.

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use tieline_store::Role;

use crate::caller::Caller;
use crate::problem::Problem;
use crate::service::Service;

/// All of the business
///
/// Lines of JSON, `{"table":…,"row":…}`, all as they were at one moment; everything but secrets. An answer that breaks off
/// is not whole: ask again.
#[utoipa::path(get, path = "/api/export", tag = "personal data", responses(
    (status = 200, description = "It", body = String, content_type = "application/x-ndjson"),
    (status = "4XX", description = "Not for this caller", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn export(State(service): State<Service>, caller: Caller) -> Result<Response, Problem> {
    caller.at_least(Role::Owner)?;
    // Each holds a connection to the database for as long as its reader takes.
    let turn = service.exports().try_acquire_owned().map_err(|_| {
        let detail = "other exports are under way on this node";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail, "ask again in some minutes")
    })?;
    let pieces = caller.tenant.export(service.now()).await?;
    // An error breaks the answer off, which its reader sees.
    let pieces = pieces.inspect(move |piece| {
        let _turn = &turn;
        if let Err(error) = piece {
            tracing::error!(%error, "an export broke off");
        }
    });
    let headers = [
        (CONTENT_TYPE, "application/x-ndjson"),
        (CONTENT_DISPOSITION, "attachment; filename=\"tieline-export.ndjson\""),
    ];
    Ok((headers, Body::from_stream(pieces)).into_response())
}
