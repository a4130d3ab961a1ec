//! The members of a business.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tieline_store::{Member, Role, TeamChange, Uuid};
use utoipa::ToSchema;

use crate::accounts::RoleName;
use crate::caller::Caller;
use crate::extract::{Body, Path};
use crate::problem::Problem;
use crate::service::Service;

/// A member.
#[derive(Serialize, ToSchema)]
pub(crate) struct MemberView {
    /// The user.
    pub(crate) id: Uuid,
    /// Address.
    pub(crate) email: String,
    /// What to call them.
    pub(crate) name: String,
    /// What they may do.
    pub(crate) role: RoleName,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) joined_at: Timestamp,
}

/// All members.
#[derive(Serialize, ToSchema)]
pub(crate) struct Team {
    /// By address.
    pub(crate) members: Vec<MemberView>,
}

/// Another role.
#[derive(Deserialize, ToSchema)]
pub(crate) struct NewRole {
    /// The role from now on.
    pub(crate) role: RoleName,
}

/// The members of the business
#[utoipa::path(get, path = "/api/members", tag = "team", responses(
    (status = 200, description = "All", body = Team),
    (status = "4XX", description = "Not for this caller", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn members(caller: Caller) -> Result<Json<Team>, Problem> {
    let members = caller.tenant.members().await?;
    let view = |m: Member| MemberView {
        id: m.user.id,
        email: m.user.email,
        name: m.user.name,
        role: m.role.into(),
        joined_at: m.joined_at,
    };
    Ok(Json(Team { members: members.into_iter().map(view).collect() }))
}

/// Give a member another role
///
/// Owners are named and unnamed by owners. A business keeps one owner at least.
#[utoipa::path(patch, path = "/api/members/{id}", tag = "team", request_body = NewRole, params(("id" = Uuid, Path, description = "The user")), responses(
    (status = 204, description = "Done"),
    (status = "4XX", description = "Nothing was changed", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn change_role(
    State(service): State<Service>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Body(new): Body<NewRole>,
) -> Result<StatusCode, Problem> {
    change(&service, &caller, id, Some(new.role.into())).await
}

/// Take a member out
///
/// Everybody may leave. A business keeps one owner at least.
#[utoipa::path(delete, path = "/api/members/{id}", tag = "team", params(("id" = Uuid, Path, description = "The user")), responses(
    (status = 204, description = "Done"),
    (status = "4XX", description = "Nothing was changed", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn remove_member(
    State(service): State<Service>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, Problem> {
    change(&service, &caller, id, None).await
}

async fn change(service: &Service, caller: &Caller, id: Uuid, to: Option<Role>) -> Result<StatusCode, Problem> {
    let leaves = to.is_none() && caller.tenant.user() == Some(id);
    if !leaves {
        caller.at_least(Role::Admin)?;
        let members = caller.tenant.members().await?;
        let member = members.iter().find(|m| m.user.id == id).ok_or_else(|| Problem::not_found("member"))?;
        // Nobody makes others mightier than themselves, or the mightier weaker.
        if member.role > caller.role || to.is_some_and(|role| role > caller.role) {
            caller.at_least(Role::Owner)?;
        }
    }
    match caller.tenant.change_member(id, to, service.now()).await? {
        TeamChange::Done => Ok(StatusCode::NO_CONTENT),
        TeamChange::NotFound => Err(Problem::not_found("member")),
        TeamChange::LastOwner => Err(Problem::conflict(
            "last_owner",
            "this is the last owner of the business",
            "make somebody else an owner first",
        )),
    }
}
