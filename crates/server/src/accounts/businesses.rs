//! Businesses.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tieline_store::Uuid;
use utoipa::ToSchema;

use crate::accounts::checked_name;
use crate::caller::{Address, SignedIn};
use crate::extract::Body;
use crate::problem::Problem;
use crate::service::Service;

/// A new business.
#[derive(Deserialize, ToSchema)]
pub(crate) struct NewBusiness {
    /// Its name.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
}

/// A business that was made.
#[derive(Serialize, ToSchema)]
pub(crate) struct MadeBusiness {
    /// UUID.
    id: Uuid,
    /// Its name.
    name: String,
}

/// Make a business
///
/// Whoever makes it is its owner.
#[utoipa::path(post, path = "/api/businesses", tag = "accounts", security(("session" = [], "csrf" = [])), request_body = NewBusiness, responses(
    (status = 201, description = "It is there", body = MadeBusiness),
    (status = "4XX", description = "It is not", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn create_business(
    State(service): State<Service>,
    signed_in: SignedIn,
    Address(address): Address,
    Body(new): Body<NewBusiness>,
) -> Result<(StatusCode, Json<MadeBusiness>), Problem> {
    let name = checked_name("name", &new.name)?;
    let id = service.store().create_business(&name, signed_in.user.id, &address, service.now()).await?;
    Ok((StatusCode::CREATED, Json(MadeBusiness { id, name })))
}
