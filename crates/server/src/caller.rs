//! Who asks: a signed-in user in one of their businesses, or a program with an API key.
//!
//! A handler that takes a [`Caller`] runs for nobody else, and sees the rows of that business alone.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use jiff::SignedDuration;
use tieline_store::{Digest, Role, Session, Tenant, User, Uuid};

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

/// Who is behind a request that has proven it.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The business's rows, and no others.
    pub tenant: Tenant,
    /// What they may do there.
    pub role: Role,
    /// Who it is.
    pub who: Who,
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

impl FromRequestParts<Service> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, service: &Service) -> Result<Self, Problem> {
        if !service.settings().sign_in {
            return Ok(Self { tenant: service.store().own(), role: Role::Owner, who: Who::Local });
        }
        if let Some(key) = bearer(&parts.headers)? {
            let found = service.store().api_key(Digest::of(key), service.now()).await?;
            let (key, tenant) = found.ok_or_else(Problem::unauthenticated)?;
            caller_is("api_key", key.id);
            return Ok(Self { tenant, role: key.role, who: Who::ApiKey(key.id) });
        }
        let signed_in = SignedIn::from_request_parts(parts, service).await?;
        let memberships = service.store().memberships(signed_in.user.id).await?;
        let membership = match business(&parts.headers)? {
            Some(wanted) => memberships.into_iter().find(|m| m.business() == wanted),
            None => memberships.into_iter().next(),
        };
        let membership = membership.ok_or_else(|| {
            Problem::forbidden(
                "no_business",
                "you are no member of this business",
                "take up an invitation, or name another business in X-Tieline-Business",
            )
        })?;
        let tenant = service.store().as_member(&membership);
        Ok(Self { tenant, role: membership.role(), who: Who::User(Box::new(signed_in)) })
    }
}

impl FromRequestParts<Service> for SignedIn {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, service: &Service) -> Result<Self, Problem> {
        let token = service.cookies().session(&parts.headers).ok_or_else(Problem::unauthenticated)?;
        let now = service.now();
        let found = service.store().session(Digest::of(&token), now).await?;
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
            service.store().touch_session(session.id, now, expires_at).await?;
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

/// Where a request comes from, as far as the socket tells.
pub(crate) struct Address(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Address {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let socket = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        Ok(Self(socket.map_or_else(|| "unknown".to_owned(), |ConnectInfo(address)| address.ip().to_string())))
    }
}
