//! Inviting people into a business.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tieline_store::{Digest, Invitation, Invited, NewUser, Role, Uuid};
use utoipa::ToSchema;

use crate::accounts::session::{Method, begin, told};
use crate::accounts::{RoleName, SecretText, checked_email, checked_name};
use crate::caller::{Address, Caller, SignedIn, same_origin};
use crate::extract::{Body, Path};
use crate::problem::Problem;
use crate::service::Service;
use crate::{passwords, secrets};

/// How long an invitation can be taken up.
const LIFE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Whom to invite, as what.
#[derive(Deserialize, ToSchema)]
pub(crate) struct NewInvitation {
    /// Address.
    #[schema(format = Email, max_length = 254)]
    pub(crate) email: String,
    /// What they will be able to do.
    pub(crate) role: RoleName,
}

/// An invitation.
#[derive(Serialize, ToSchema)]
pub(crate) struct InvitationView {
    /// UUID.
    pub(crate) id: Uuid,
    /// For whom.
    pub(crate) email: String,
    /// As what.
    pub(crate) role: RoleName,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) created_at: Timestamp,
    /// When it ends.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) expires_at: Timestamp,
    /// The link to send to them. It is shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "uri")]
    pub(crate) link: Option<String>,
}

impl InvitationView {
    fn new(invitation: Invitation, link: Option<String>) -> Self {
        Self {
            id: invitation.id,
            email: invitation.email,
            role: invitation.role.into(),
            created_at: invitation.created_at,
            expires_at: invitation.expires_at,
            link,
        }
    }
}

/// The invitations that nobody has taken up yet.
#[derive(Serialize, ToSchema)]
pub(crate) struct Invitations {
    /// Oldest first.
    pub(crate) invitations: Vec<InvitationView>,
}

/// Taking an invitation up: with a session of its owner, or as somebody new.
#[derive(Deserialize, ToSchema)]
pub(crate) struct Acceptance {
    /// The end of the link.
    #[schema(value_type = String, max_length = 200)]
    pub(crate) token: SecretText,
    /// What to call somebody new.
    #[schema(min_length = 1, max_length = 100)]
    pub(crate) name: Option<String>,
    /// Password of somebody new: twelve characters at least.
    #[schema(value_type = Option<String>, format = Password, min_length = 12, max_length = 256)]
    pub(crate) password: Option<SecretText>,
}

/// Invite somebody
///
/// The answer holds a link that works once, within seven days. A second invitation of the same person replaces the first.
#[utoipa::path(post, path = "/api/invitations", tag = "team", request_body = NewInvitation, responses(
    (status = 201, description = "The invitation, with its link", body = InvitationView),
    (status = "4XX", description = "It was not made", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn invite(
    State(service): State<Service>,
    caller: Caller,
    Body(new): Body<NewInvitation>,
) -> Result<(StatusCode, Json<InvitationView>), Problem> {
    let role = Role::from(new.role);
    caller.at_least(Role::Admin.max(role))?;
    let email = checked_email(&new.email)?;
    let token = secrets::random("")?;
    let now = service.now();
    let made = caller.tenant.invite(&email, role, Digest::of(token.expose()), now, now + LIFE).await?;
    // In the fragment: it reaches no server's log, and no other site by a referrer.
    let link = format!("{}/join#{}", service.origin(), token.expose());
    Ok((StatusCode::CREATED, Json(InvitationView::new(made, Some(link)))))
}

/// The invitations that nobody has taken up yet
#[utoipa::path(get, path = "/api/invitations", tag = "team", responses(
    (status = 200, description = "All", body = Invitations),
    (status = "4XX", description = "Not for this caller", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn invitations(State(service): State<Service>, caller: Caller) -> Result<Json<Invitations>, Problem> {
    caller.at_least(Role::Admin)?;
    let open = caller.tenant.invitations(service.now()).await?;
    Ok(Json(Invitations { invitations: open.into_iter().map(|i| InvitationView::new(i, None)).collect() }))
}

/// Take an invitation back
#[utoipa::path(delete, path = "/api/invitations/{id}", tag = "team", params(("id" = Uuid, Path, description = "The invitation")), responses(
    (status = 204, description = "It is gone"),
    (status = "4XX", description = "There is none", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn take_back(
    State(service): State<Service>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, Problem> {
    caller.at_least(Role::Admin)?;
    if !caller.tenant.take_back_invitation(id, service.now()).await? {
        return Err(Problem::not_found("invitation"));
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Take an invitation up
///
/// Whoever is signed in with the invited address joins with that account; somebody new gives name and password, and is
/// signed in.
#[utoipa::path(post, path = "/api/invitations/accept", tag = "team", security(()), request_body = Acceptance, responses(
    (status = 200, description = "Joined", body = crate::accounts::session::SessionView),
    (status = "4XX", description = "Not joined", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn accept(
    State(service): State<Service>,
    signed_in: Result<SignedIn, Problem>,
    Address(address): Address,
    headers: HeaderMap,
    Body(given): Body<Acceptance>,
) -> Result<Response, Problem> {
    same_origin(&headers, &service)?;
    let name = given.name.as_deref().map(|name| checked_name("name", name)).transpose()?;
    if let Some(password) = &given.password {
        passwords::check(&password.0, "")?;
    }
    let token = Digest::of(given.token.0.expose());
    let (invitation, _) = service.store().invitation(token, service.now()).await?.ok_or_else(ended)?;
    let now = service.now();
    let Some(password) = given.password else {
        let signed_in = signed_in?;
        if signed_in.user.email != invitation.email {
            return Err(Problem::forbidden(
                "other_address",
                "this invitation is for another address than yours",
                "sign in with the invited address, or sign out and join as somebody new",
            ));
        }
        let who = Invited::User(signed_in.user.id);
        service.store().accept_invitation(token, who, &address, now).await?.ok_or_else(ended)?;
        return Ok(Json(told(&service, &signed_in).await?).into_response());
    };
    service.passwords_are_taken()?;
    let name = name.ok_or_else(|| Problem::invalid("somebody new needs a name", "send `name` along"))?;
    passwords::check(&password.0, &invitation.email)?;
    let hash = passwords::hash(password.0).await?;
    let new = NewUser { email: &invitation.email, name: &name, password_hash: Some(&hash) };
    let (_, user) =
        service.store().accept_invitation(token, Invited::New(new), &address, now).await?.ok_or_else(ended)?;
    let account = service.store().account_of(user).await?.ok_or_else(ended)?;
    let (signed_in, cookie) = begin(&service, account.user, &headers, &address, Method::Password).await?;
    Ok(([(header::SET_COOKIE, cookie)], Json(told(&service, &signed_in).await?)).into_response())
}

/// No invitation has this token (any more).
pub(crate) fn ended() -> Problem {
    Problem::new(
        StatusCode::GONE,
        "invitation_ended",
        "there is no such invitation: it was taken up or back, replaced, or has ended",
        "ask for a new one",
    )
}
