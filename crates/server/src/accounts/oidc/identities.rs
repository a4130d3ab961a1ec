//! The identities that a user signs in with.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;
use tieline_store::{Identity, Unlinked, Uuid, WaysIn};
use utoipa::ToSchema;

use crate::caller::{Address, SignedIn};
use crate::extract::Path;
use crate::problem::Problem;
use crate::service::Service;

/// Who the user is at a provider.
#[derive(Serialize, ToSchema)]
#[schema(as = Identity)]
pub(crate) struct IdentityView {
    /// UUID.
    pub(crate) id: Uuid,
    /// The provider.
    #[schema(format = "uri")]
    pub(crate) issuer: String,
    /// The address that the provider told last. Nobody is found by it.
    pub(crate) email: Option<String>,
    /// Since when the user can sign in with it.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) created_at: Timestamp,
    /// When the user did last.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) last_used_at: Option<Timestamp>,
}

impl From<Identity> for IdentityView {
    fn from(identity: Identity) -> Self {
        Self {
            id: identity.id,
            issuer: identity.issuer,
            email: identity.email,
            created_at: identity.created_at,
            last_used_at: identity.last_used_at,
        }
    }
}

/// The identities of the user.
#[derive(Serialize, ToSchema)]
pub(crate) struct Identities {
    /// Oldest first.
    identities: Vec<IdentityView>,
}

/// The identities that the user signs in with
///
/// New ones are linked on the page `/account`.
#[utoipa::path(get, path = "/api/session/identities", tag = "accounts", security(("session" = [])), responses(
    (status = 200, description = "All", body = Identities),
    (status = "4XX", description = "Nobody is signed in", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn identities(
    State(service): State<Service>,
    signed_in: SignedIn,
) -> Result<Json<Identities>, Problem> {
    let all = service.store().identities_of(signed_in.user.id).await?;
    Ok(Json(Identities { identities: all.into_iter().map(IdentityView::from).collect() }))
}

/// Take an identity off the user
///
/// Not the last way in: whoever has neither a password nor another identity keeps it. Sessions go on.
#[utoipa::path(delete, path = "/api/session/identities/{id}", tag = "accounts", security(("session" = [], "csrf" = [])), params(("id" = Uuid, Path, description = "The identity")), responses(
    (status = 204, description = "It is gone"),
    (status = "4XX", description = "There is none, or it is the last way in", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn unlink_identity(
    State(service): State<Service>,
    signed_in: SignedIn,
    Address(address): Address,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, Problem> {
    let issuer = service.settings().open_id.as_ref().map(|told| told.issuer.as_str());
    let ways = WaysIn { issuer, password: service.takes_passwords() };
    let ended = service.store().unlink_identity(signed_in.user.id, id, ways, Some(&address), service.now()).await?;
    match ended {
        Unlinked::Done => Ok(StatusCode::NO_CONTENT),
        Unlinked::NotFound => Err(Problem::not_found("identity")),
        Unlinked::LastWayIn => Err(Problem::conflict(
            "last_way_in",
            "this is the last way in that you have: nobody could sign in to this account any more",
            "link another identity first, or have the operator send you a link to set a password",
        )),
    }
}
