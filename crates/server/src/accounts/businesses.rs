//! Businesses.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tieline_store::audit::Actor;
use tieline_store::{Membership, Role, Uuid};
use utoipa::ToSchema;

use crate::accounts::checked_name;
use crate::caller::{Address, SignedIn};
use crate::connect::{Report, revoke_every};
use crate::extract::{Body, Path};
use crate::problem::Problem;
use crate::service::Service;

/// A new business.
#[derive(Deserialize, ToSchema)]
pub(crate) struct NewBusiness {
    /// Its name.
    #[schema(min_length = 1, max_length = 100)]
    pub(crate) name: String,
}

/// A business that was made.
#[derive(Serialize, ToSchema)]
pub(crate) struct MadeBusiness {
    /// UUID.
    pub(crate) id: Uuid,
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

/// What a business is to be called.
#[derive(Deserialize, ToSchema)]
pub(crate) struct BusinessChange {
    /// Its name from now on.
    #[schema(min_length = 1, max_length = 100)]
    pub(crate) name: String,
}

/// Rename a business
///
/// Whoever deletes it types that name from then on.
#[utoipa::path(patch, path = "/api/businesses/{id}", tag = "accounts", security(("session" = [], "csrf" = [])), request_body = BusinessChange, params(("id" = Uuid, Path, description = "The business")), responses(
    (status = 200, description = "It, renamed", body = MadeBusiness),
    (status = "4XX", description = "It is not", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn change_business(
    State(service): State<Service>,
    signed_in: SignedIn,
    Address(address): Address,
    Path(id): Path<Uuid>,
    Body(change): Body<BusinessChange>,
) -> Result<Json<MadeBusiness>, Problem> {
    let membership = owned(&service, &signed_in, id).await?;
    let name = checked_name("name", &change.name)?;
    let tenant = service.store().as_member(&membership).by(Actor::User(signed_in.user.id), Some(&address));
    tenant.rename_business(&name, service.now()).await?;
    service.changed();
    Ok(Json(MadeBusiness { id, name }))
}

/// The membership of somebody who owns the business.
async fn owned(service: &Service, signed_in: &SignedIn, id: Uuid) -> Result<Membership, Problem> {
    let membership = service.store().membership(signed_in.user.id, id).await?;
    let membership = membership.ok_or_else(|| Problem::not_found("business"))?;
    if membership.role() != Role::Owner {
        return Err(Problem::forbidden(
            "role_required",
            format!("this needs the role `owner`, and yours is `{}`", membership.role()),
            "ask an owner of the business",
        ));
    }
    Ok(membership)
}

/// That somebody means it.
#[derive(Deserialize, ToSchema)]
pub(crate) struct Meant {
    /// The business's name, to the letter.
    #[schema(min_length = 1, max_length = 100)]
    pub(crate) name: String,
    /// Delete it also if an org could not be told: its tokens live on there, and nobody can end them from here any more.
    #[serde(default)]
    pub(crate) anyway: bool,
}

/// Delete a business
///
/// First all access to its orgs is ended, there too; then every row of it is gone, its keys and its audit log among them.
/// Its people keep their accounts.
#[utoipa::path(delete, path = "/api/businesses/{id}", tag = "accounts", security(("session" = [], "csrf" = [])), request_body = Meant, params(("id" = Uuid, Path, description = "The business")), responses(
    (status = 200, description = "It is gone. What became of its access to each org", body = Report),
    (status = "4XX", description = "It is not", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed: ask again, it goes on", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn delete_business(
    State(service): State<Service>,
    signed_in: SignedIn,
    Address(address): Address,
    Path(id): Path<Uuid>,
    Body(meant): Body<Meant>,
) -> Result<Json<Report>, Problem> {
    let membership = owned(&service, &signed_in, id).await?;
    if meant.name != membership.name() {
        return Err(Problem::invalid(
            "name is not the name of this business",
            "send the name as GET /api/session has it: nothing of the business can be brought back",
        ));
    }
    let tenant = service.store().as_member(&membership).by(Actor::User(signed_in.user.id), Some(&address));
    let report = revoke_every(&service, &tenant).await?;
    if !report.complete() && !meant.anyway {
        return Err(Problem::conflict(
            "orgs_not_told",
            format!("these orgs could not be told that access has ended: {}", report.failed().join(", ")),
            "ask again later, or end access there yourself (Connected Apps OAuth Usage) and send \"anyway\": true",
        ));
    }
    // To its end, however long that takes and whether or not somebody waits for it.
    let node = service.clone();
    let deleting = tokio::spawn(async move { tenant.delete_business(node.now()).await });
    deleting.await.map_err(|panicked| Problem::internal("a business was not deleted", &panicked))??;
    service.changed();
    Ok(Json(report))
}
