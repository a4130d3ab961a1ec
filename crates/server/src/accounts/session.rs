//! Signing in and out.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tieline_store::audit::{Action, Actor, Entry, Outcome};
use tieline_store::{Digest, Session, User, Uuid};
use utoipa::ToSchema;

use crate::accounts::{RoleName, SecretText};
use crate::caller::{Address, SignedIn, same_origin};
use crate::extract::{Body, Path};
use crate::problem::Problem;
use crate::service::Service;
use crate::{passwords, secrets};

/// Address and password.
#[derive(Deserialize, ToSchema)]
pub(crate) struct Credentials {
    /// Address of the account.
    #[schema(max_length = 254)]
    pub(crate) email: String,
    /// Its password.
    #[schema(value_type = String, format = Password, max_length = 256)]
    pub(crate) password: SecretText,
}

/// Who is signed in, and where they may act.
#[derive(Serialize, ToSchema)]
pub(crate) struct SessionView {
    /// The user.
    user: UserView,
    /// To be sent as `X-CSRF-Token` with every change.
    csrf_token: String,
    /// This session.
    session: Uuid,
    /// Where they are a member. The first is meant where no `X-Tieline-Business` is sent.
    businesses: Vec<BusinessView>,
}

/// A user.
#[derive(Serialize, ToSchema)]
pub(crate) struct UserView {
    /// UUID.
    pub(crate) id: Uuid,
    /// Address, in lower case.
    pub(crate) email: String,
    /// What to call them.
    pub(crate) name: String,
}

impl From<User> for UserView {
    fn from(user: User) -> Self {
        Self { id: user.id, email: user.email, name: user.name }
    }
}

/// A business that somebody is a member of.
#[derive(Serialize, ToSchema)]
pub(crate) struct BusinessView {
    /// UUID.
    id: Uuid,
    /// Its name.
    name: String,
    /// What they may do there.
    role: RoleName,
}

/// A browser that is signed in.
#[derive(Serialize, ToSchema)]
pub(crate) struct SessionRow {
    /// UUID.
    pub(crate) id: Uuid,
    /// This one.
    pub(crate) current: bool,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) created_at: Timestamp,
    /// Its last use, to a minute.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) last_seen_at: Timestamp,
    /// When it ends.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) expires_at: Timestamp,
    /// Where from.
    pub(crate) address: String,
    /// What with.
    pub(crate) user_agent: String,
}

/// All sessions of the user.
#[derive(Serialize, ToSchema)]
pub(crate) struct Sessions {
    /// Newest first.
    pub(crate) sessions: Vec<SessionRow>,
}

/// Another password.
#[derive(Deserialize, ToSchema)]
pub(crate) struct NewPassword {
    /// The one until now.
    #[schema(value_type = String, format = Password, max_length = 256)]
    pub(crate) current: SecretText,
    /// The one from now on: twelve characters at least.
    #[schema(value_type = String, format = Password, min_length = 12, max_length = 256)]
    pub(crate) new: SecretText,
}

/// How somebody has proven who they are, for the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    /// By a password, or by setting a first one.
    Password,
    /// By an OpenID provider.
    OpenId,
    /// By a link of the operator's that sets a password.
    ResetLink,
}

impl Method {
    fn name(self) -> &'static str {
        match self {
            Method::Password => "password",
            Method::OpenId => "oidc",
            Method::ResetLink => "reset_link",
        }
    }
}

/// Ends the session that this browser had before, if any: it is not the one that continues.
pub(crate) async fn end_before(service: &Service, headers: &HeaderMap, address: &str) -> Result<(), Problem> {
    if let Some(before) = service.cookies().session(headers)
        && let Some((session, _)) = service.store().session(Digest::of(before), service.now()).await?
    {
        service.store().end_session(session.user_id, session.id, address, service.now()).await?;
    }
    Ok(())
}

/// Begins a session: a new one with every sign-in.
pub(crate) async fn begin(
    service: &Service,
    user: User,
    headers: &HeaderMap,
    address: &str,
    method: Method,
) -> Result<(SignedIn, HeaderValue), Problem> {
    let token = secrets::random("")?;
    let now = service.now();
    let user_agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let session = Session {
        id: Uuid::now_v7(),
        user_id: user.id,
        created_at: now,
        last_seen_at: now,
        expires_at: service.session_end(now, now),
        address: address.to_owned(),
        user_agent: user_agent.chars().take(200).collect(),
    };
    let key = Digest::of(token.expose());
    service.store().begin_session(key, &session, method.name()).await?;
    // Here it has worked: whoever signs in where others guess can go on.
    service.wrong_keys().note(key, address, true);
    let seconds = session.expires_at.duration_since(now).as_secs();
    let cookie = service.cookies().set_session(&token, seconds);
    let csrf_token = secrets::csrf_token(token.expose());
    Ok((SignedIn { user, session, csrf_token }, cookie))
}

/// What a session's owner is told of it.
pub(crate) async fn told(service: &Service, signed_in: &SignedIn) -> Result<SessionView, Problem> {
    let memberships = service.store().memberships(signed_in.user.id).await?;
    let business = |m: tieline_store::Membership| BusinessView {
        id: m.business(),
        name: m.name().to_owned(),
        role: m.role().into(),
    };
    Ok(SessionView {
        user: signed_in.user.clone().into(),
        csrf_token: signed_in.csrf_token.clone(),
        session: signed_in.session.id,
        businesses: memberships.into_iter().map(business).collect(),
    })
}

/// Sign in
///
/// The session is a cookie that scripts cannot read.
#[utoipa::path(post, path = "/api/session", tag = "accounts", security(()), request_body = Credentials, responses(
    (status = 200, description = "Signed in", body = SessionView),
    (status = "4XX", description = "Not signed in", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn sign_in(
    State(service): State<Service>,
    Address(address): Address,
    headers: HeaderMap,
    Body(given): Body<Credentials>,
) -> Result<Response, Problem> {
    same_origin(&headers, &service)?;
    service.passwords_are_taken()?;
    if let Err(refusal) = service.limits_of_node().take_account(&given.email).await {
        return Ok(*refusal);
    }
    let account = service.store().account(given.email.trim()).await?.filter(|account| !account.is_disabled);
    let hash = account.as_ref().and_then(|account| account.password_hash.clone());
    let fits = passwords::verify(given.password.0, hash).await?;
    let Some(account) = account.filter(|_| fits) else {
        let detail = json!({"method": Method::Password.name()});
        let failed = Entry {
            detail,
            outcome: Outcome::Failure,
            address: Some(&address),
            ..Entry::new(Actor::Anonymous, Action::SessionFailed)
        };
        service.store().audit(&failed, service.now()).await?;
        // The same answer, after the same time, whether there is such a user or not.
        let hint = "check both";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "wrong_credentials", "address or password is wrong", hint));
    };
    end_before(&service, &headers, &address).await?;
    let (signed_in, cookie) = begin(&service, account.user, &headers, &address, Method::Password).await?;
    Ok(([(header::SET_COOKIE, cookie)], Json(told(&service, &signed_in).await?)).into_response())
}

/// Who is signed in
#[utoipa::path(get, path = "/api/session", tag = "accounts", security(("session" = [])), responses(
    (status = 200, description = "The session", body = SessionView),
    (status = "4XX", description = "Nobody is", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn session(State(service): State<Service>, signed_in: SignedIn) -> Result<Json<SessionView>, Problem> {
    Ok(Json(told(&service, &signed_in).await?))
}

/// Sign out
#[utoipa::path(delete, path = "/api/session", tag = "accounts", security(("session" = [], "csrf" = [])), responses(
    (status = 204, description = "Signed out"),
    (status = "4XX", description = "Nobody was signed in", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn sign_out(
    State(service): State<Service>,
    signed_in: SignedIn,
    Address(address): Address,
) -> Result<Response, Problem> {
    let (user, session) = (signed_in.user.id, signed_in.session.id);
    service.store().end_session(user, session, &address, service.now()).await?;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, service.cookies().end_session())]).into_response())
}

/// The sessions of the user
#[utoipa::path(get, path = "/api/sessions", tag = "accounts", security(("session" = [])), responses(
    (status = 200, description = "All that have not ended", body = Sessions),
    (status = "4XX", description = "Nobody is signed in", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn sessions(State(service): State<Service>, signed_in: SignedIn) -> Result<Json<Sessions>, Problem> {
    let rows = service.store().sessions_of(signed_in.user.id, service.now()).await?;
    let row = |s: Session| SessionRow {
        current: s.id == signed_in.session.id,
        id: s.id,
        created_at: s.created_at,
        last_seen_at: s.last_seen_at,
        expires_at: s.expires_at,
        address: s.address,
        user_agent: s.user_agent,
    };
    Ok(Json(Sessions { sessions: rows.into_iter().map(row).collect() }))
}

/// End a session of the user
#[utoipa::path(delete, path = "/api/sessions/{id}", tag = "accounts", security(("session" = [], "csrf" = [])), params(("id" = Uuid, Path, description = "The session")), responses(
    (status = 204, description = "It has ended"),
    (status = "4XX", description = "There is none", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn end_session(
    State(service): State<Service>,
    signed_in: SignedIn,
    Address(address): Address,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, Problem> {
    match service.store().end_session(signed_in.user.id, id, &address, service.now()).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Problem::not_found("session")),
    }
}

/// Change the password
///
/// All other sessions of the user end.
#[utoipa::path(post, path = "/api/password", tag = "accounts", security(("session" = [], "csrf" = [])), request_body = NewPassword, responses(
    (status = 204, description = "It is changed"),
    (status = "4XX", description = "It is not", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn change_password(
    State(service): State<Service>,
    signed_in: SignedIn,
    Address(address): Address,
    Body(given): Body<NewPassword>,
) -> Result<StatusCode, Problem> {
    let account = service.store().account_of(signed_in.user.id).await?.ok_or_else(Problem::unauthenticated)?;
    if account.password_hash.is_none() {
        return Err(Problem::conflict(
            "no_password",
            "this account has no password: it signs in with a provider",
            "to have one all the same, ask the operator of this service for a link that sets it",
        ));
    }
    if !passwords::verify(given.current.0, account.password_hash).await? {
        return Err(Problem::forbidden("wrong_credentials", "the current password is wrong", "check it"));
    }
    passwords::check(&given.new.0, &signed_in.user.email)?;
    let hash = passwords::hash(given.new.0).await?;
    let (user, keep) = (signed_in.user.id, Some(signed_in.session.id));
    service.store().set_password(user, &hash, keep, &address, service.now()).await?;
    Ok(StatusCode::NO_CONTENT)
}
