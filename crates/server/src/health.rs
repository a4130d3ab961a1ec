//! Whether the service lives, and whether it can work.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::service::Service;

/// How it is.
#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
    /// `live`, `ready` or `unavailable`.
    status: &'static str,
    /// Why it is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Whether the process lives
///
/// It looks at nothing but itself: a database that is away is no reason to start the process anew.
#[utoipa::path(get, path = "/health/live", tag = "health", security(()), responses((status = 200, description = "It does", body = Health)))]
pub(crate) async fn live() -> Json<Health> {
    Json(Health { status: "live", reason: None })
}

/// Whether the service can work
///
/// That is: whether a write to the database commits, asked once in three seconds at most.
#[utoipa::path(get, path = "/health/ready", tag = "health", security(()), responses(
    (status = 200, description = "It can", body = Health),
    (status = 503, description = "It cannot, for now", body = Health),
))]
pub(crate) async fn ready(State(service): State<Service>) -> (StatusCode, Json<Health>) {
    if service.is_draining() {
        let health = Health { status: "unavailable", reason: Some("the service is being stopped".to_owned()) };
        return (StatusCode::SERVICE_UNAVAILABLE, Json(health));
    }
    let Err(reason) = service.readiness().ask().await else {
        return (StatusCode::OK, Json(Health { status: "ready", reason: None }));
    };
    let health = Health { status: "unavailable", reason: Some(reason.to_owned()) };
    (StatusCode::SERVICE_UNAVAILABLE, Json(health))
}
