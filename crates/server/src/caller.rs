//! Who asks: a signed-in user in one of their businesses, or a program with an API key.
//!
//! A handler that takes a [`Caller`] runs for nobody else, and sees the rows of that business alone.

use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use jiff::SignedDuration;
use tieline_store::audit::Actor;
use tieline_store::{Digest, Role, Session, Tenant, User, Uuid};

use crate::client_address::ClientAddress;
use crate::limits::{Guarded, Identity, Limits};
use crate::problem::Problem;
use crate::secrets;
use crate::service::Service;
use crate::telemetry::request::caller_is;

/// How an API key begins, so that scanners for secrets can know it.
pub(crate) const KEY_PREFIX: &str = "tl_";
/// The header that names the business, for those who are in several.
pub(crate) const BUSINESS: &str = "x-tieline-business";
/// The header that carries the session's token for changes.
pub(crate) const CSRF: &str = "x-csrf-token";
/// A session's use is noted once in so long.
const NOTED_EVERY: SignedDuration = SignedDuration::from_mins(1);
/// How long a request waits for that.
const NOTED_WITHIN: Duration = Duration::from_millis(250);

/// Who is behind a request that has proven it.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The business's rows, and no others.
    pub tenant: Tenant,
    /// What they may do there.
    pub role: Role,
    /// Who it is.
    pub who: Who,
    /// Where from.
    pub address: String,
}

/// A person or a program.
#[derive(Debug, Clone)]
pub enum Who {
    /// Somebody who is signed in.
    User(Box<SignedIn>),
    /// A program with this API key.
    ApiKey(Uuid),
    /// Whoever sits at this machine: where there is no sign-in, as in the demo.
    Local,
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Who::User(signed_in) => write!(f, "user {}", signed_in.user.id),
            Who::ApiKey(id) => write!(f, "api_key {id}"),
            Who::Local => f.write_str("local"),
        }
    }
}

/// A signed-in user, in whatever business.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// Who it is.
    pub user: User,
    /// The browser's session.
    pub session: Session,
    /// What this session sends along with changes.
    pub csrf_token: String,
}

impl Caller {
    /// Refuses whoever may not do what this role may.
    ///
    /// # Errors
    /// 403.
    pub fn at_least(&self, role: Role) -> Result<(), Problem> {
        if self.role >= role {
            return Ok(());
        }
        Err(Problem::forbidden(
            "role_required",
            format!("this needs the role `{role}`, and yours is `{}`", self.role),
            "ask an owner or admin of the business",
        ))
    }

    /// Who it is, for the audit log.
    pub fn actor(&self) -> Actor {
        match &self.who {
            Who::User(signed_in) => Actor::User(signed_in.user.id),
            Who::ApiKey(id) => Actor::ApiKey(*id),
            Who::Local => Actor::System,
        }
    }

    /// The user; programs have none.
    ///
    /// # Errors
    /// 403.
    pub fn signed_in(&self) -> Result<&SignedIn, Problem> {
        match &self.who {
            Who::User(signed_in) => Ok(signed_in),
            _ => Err(Problem::forbidden(
                "session_required",
                "this needs a signed-in user, and an API key is none",
                "sign in with a browser",
            )),
        }
    }
}

/// What was found out about a request before its handler asks.
#[derive(Clone)]
struct Found(Result<Caller, Problem>);

impl FromRequestParts<Service> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, service: &Service) -> Result<Self, Problem> {
        if let Some(Found(found)) = parts.extensions.get::<Found>() {
            return found.clone();
        }
        let found = find(parts, service).await;
        parts.extensions.insert(Found(found.clone()));
        found
    }
}

/// The caller of a page's form, whose token stands in the form and is checked there. What was found out before looked for a
/// header.
pub(crate) async fn of_a_form(parts: &mut Parts, service: &Service) -> Result<Caller, Problem> {
    let method = std::mem::take(&mut parts.method);
    let found = find(parts, service).await;
    parts.method = method;
    found
}

/// Whoever is signed in, for a form whose own secret (an invitation) stands for the session's token.
pub(crate) struct FormUser(pub(crate) Result<SignedIn, Problem>);

impl FromRequestParts<Service> for FormUser {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, service: &Service) -> Result<Self, Self::Rejection> {
        let method = std::mem::take(&mut parts.method);
        let found = <SignedIn as FromRequestParts<Service>>::from_request_parts(parts, service).await;
        parts.method = method;
        Ok(Self(found))
    }
}

impl Guarded for Service {
    fn limits(&self) -> &Limits {
        self.limits_of_node()
    }

    async fn identify(&self, parts: &mut Parts) -> Option<Identity> {
        match Caller::from_request_parts(parts, self).await.ok()?.who {
            Who::User(signed_in) => Some(Identity::User(signed_in.user.id)),
            Who::ApiKey(id) => Some(Identity::ApiKey(id)),
            Who::Local => None,
        }
    }
}

async fn find(parts: &mut Parts, service: &Service) -> Result<Caller, Problem> {
    let Ok(Address(address)) = Address::from_request_parts(parts, service).await;
    if !service.settings().sign_in {
        let tenant = service.store().own().by(Actor::System, Some(&address));
        return Ok(Caller { tenant, role: Role::Owner, who: Who::Local, address });
    }
    if let Some(key) = bearer(&parts.headers)? {
        let (key, network) = (Digest::of(key), network(parts, service));
        service.wrong_keys().may_ask(key, &network)?;
        let found = service.store().api_key(key, service.now()).await?;
        service.wrong_keys().note(key, &network, found.is_some());
        let (key, tenant) = found.ok_or_else(Problem::unauthenticated)?;
        caller_is("api_key", key.id);
        let tenant = tenant.by(Actor::ApiKey(key.id), Some(&address));
        return Ok(Caller { tenant, role: key.role, who: Who::ApiKey(key.id), address });
    }
    let signed_in = SignedIn::from_request_parts(parts, service).await?;
    let memberships = service.store().memberships(signed_in.user.id).await?;
    let membership = match business(&parts.headers)? {
        Some(wanted) => memberships.into_iter().find(|m| m.business() == wanted),
        // What a browser has chosen may have gone since.
        None => {
            let chosen = service.cookies().business(&parts.headers);
            let place = memberships.iter().position(|m| Some(m.business()) == chosen).unwrap_or_default();
            memberships.into_iter().nth(place)
        }
    };
    let membership = membership.ok_or_else(|| {
        Problem::forbidden(
            "no_business",
            "you are no member of this business",
            "take up an invitation, or name another business in X-Tieline-Business",
        )
    })?;
    let tenant = service.store().as_member(&membership).by(Actor::User(signed_in.user.id), Some(&address));
    Ok(Caller { tenant, role: membership.role(), who: Who::User(Box::new(signed_in)), address })
}

impl FromRequestParts<Service> for SignedIn {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, service: &Service) -> Result<Self, Problem> {
        let token = service.cookies().session(&parts.headers).ok_or_else(Problem::unauthenticated)?;
        let now = service.now();
        let (key, network) = (Digest::of(&token), network(parts, service));
        service.wrong_keys().may_ask(key, &network)?;
        let found = service.store().session(key, now).await?;
        service.wrong_keys().note(key, &network, found.is_some());
        let (session, user) = found.ok_or_else(Problem::unauthenticated)?;
        caller_is("user", user.id);
        let csrf_token = secrets::csrf_token(&token);
        if !matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS) {
            same_origin(&parts.headers, service)?;
            let sent = parts.headers.get(CSRF).and_then(|value| value.to_str().ok()).unwrap_or_default();
            if !secrets::are_equal(sent, &csrf_token) {
                return Err(Problem::forbidden(
                    "csrf",
                    "this change carries no valid X-CSRF-Token",
                    "send the csrf_token of GET /api/session along with it; programs use an API key instead",
                ));
            }
        }
        if now.duration_since(session.last_seen_at) >= NOTED_EVERY {
            let expires_at = service.session_end(session.created_at, now);
            // A database that takes no writes for a while still tells who is signed in.
            let noting = service.store().touch_session(session.id, now, expires_at);
            match tokio::time::timeout(NOTED_WITHIN, noting).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => tracing::warn!(%error, "a session's use was not noted"),
                Err(_) => tracing::warn!("a session's use was not noted: the database takes too long to write"),
            }
        }
        Ok(Self { user, session, csrf_token })
    }
}

/// Refuses a request that a page of another site makes. Browsers say where a request comes from; programs say nothing.
pub(crate) fn same_origin(headers: &HeaderMap, service: &Service) -> Result<(), Problem> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let is_foreign = match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => !matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => origin != service.origin(),
        (None, None) => false,
    };
    if is_foreign {
        return Err(Problem::forbidden(
            "foreign_origin",
            "this request comes from another site",
            "send it from the service's own pages; programs use an API key",
        ));
    }
    Ok(())
}

/// The key of `Authorization: Bearer`; none without that header.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let key = value.to_str().ok().and_then(|text| text.split_once(' '));
    match key {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") && key.starts_with(KEY_PREFIX) => Ok(Some(key)),
        _ => Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "unauthenticated",
            "the header Authorization holds no API key of this service",
            "send it as: Authorization: Bearer tl_…",
        )),
    }
}

fn business(headers: &HeaderMap) -> Result<Option<Uuid>, Problem> {
    let Some(value) = headers.get(BUSINESS) else { return Ok(None) };
    let id = value.to_str().ok().and_then(|text| Uuid::parse_str(text).ok());
    id.map(Some).ok_or_else(|| Problem::invalid("X-Tieline-Business is no id", "send the id of GET /api/session"))
}

/// What wrong keys are counted by.
fn network(parts: &Parts, service: &Service) -> String {
    service.limits_of_node().trusted().client_of(parts).network()
}

/// Where a request comes from: the socket's address, or what a trusted proxy says.
pub(crate) struct Address(pub(crate) String);

impl FromRequestParts<Service> for Address {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, service: &Service) -> Result<Self, Self::Rejection> {
        let ClientAddress(address) = service.limits_of_node().trusted().client_of(parts);
        Ok(Self(address.map_or_else(|| "unknown".to_owned(), |address| address.to_string())))
    }
}
