//! What the tenant host asks of every request: a Data Cloud token that lives and has the scope.

use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::middleware::Next;
use axum::response::Response;

use super::refusal::{Code, RestError, SERVICE, grpc, is_grpc};
use crate::Shared;
use crate::oauth::app::has_scope;
use crate::oauth::id_token;
use crate::org::Org;
use crate::rest::bearer;

/// A request that may be answered, and for whom.
#[derive(Clone)]
pub(super) struct Caller {
    /// Id of the user.
    pub(super) user_id: String,
}

enum Denied {
    Token(&'static str),
    Scope(&'static str),
}

pub(super) async fn guard(State(shared): State<Shared>, mut request: Request<Body>, next: Next) -> Response {
    let token = bearer(request.headers()).map(str::to_owned);
    let path = request.uri().path().to_owned();
    let name = name(request.method().as_str(), &path);
    let (checked, now) = shared
        .with_org(move |org| {
            let checked = check(org, token.as_deref(), wanted(&path));
            match (&checked, name) {
                (Err(_), _) => org.ledger.datacloud.refused += 1,
                (Ok(_), Some(name)) => *org.ledger.datacloud.calls.entry(name).or_default() += 1,
                (Ok(_), None) => {}
            }
            (checked, org.now())
        })
        .await;
    match checked {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(Denied::Token(why)) if is_grpc(&request) => grpc(Code::Unauthenticated, why),
        Err(Denied::Scope(why)) if is_grpc(&request) => grpc(Code::PermissionDenied, why),
        Err(Denied::Token(why)) => RestError::new(401, why).at(now),
        Err(Denied::Scope(why)) => RestError::new(403, why).at(now),
    }
}

/// The words are ours: by which a tenant refuses is not documented.
fn check(org: &mut Org, token: Option<&str>, wanted: &[&str]) -> Result<Caller, Denied> {
    let token = token.ok_or(Denied::Token("the request has no bearer token"))?;
    let claims = id_token::verified(org, token).ok_or(Denied::Token("the token is no data cloud token of this org"))?;
    let now = org.now();
    let Some(datacloud) = &org.datacloud else { return Err(Denied::Token("the org has no data cloud")) };
    // ID tokens are signed with the same key.
    if claims["audienceTenantId"] != datacloud.tenant.as_str() {
        return Err(Denied::Token("the token is for another audience"));
    }
    if claims["exp"].as_i64().is_none_or(|end| end <= now.as_second()) {
        return Err(Denied::Token("the token has expired"));
    }
    if !claims["jti"].as_str().is_some_and(|id| datacloud.issued.contains_key(id)) {
        return Err(Denied::Token("the token has been revoked"));
    }
    let scope = claims["scope"].as_str().unwrap_or("");
    if !wanted.iter().any(|wanted| has_scope(scope, wanted)) {
        return Err(Denied::Scope("the token lacks the scope for this resource"));
    }
    let user_id = claims["sub"].as_str().and_then(|id| id.rsplit('/').next()).unwrap_or("").to_owned();
    Ok(Caller { user_id })
}

/// The scopes of which one is needed.
fn wanted(path: &str) -> &'static [&'static str] {
    if path.starts_with("/api/v1/ingest") {
        &["cdp_ingest_api"]
    } else if path.starts_with("/api/v1/metadata") {
        &["cdp_query_api", "cdp_profile_api"]
    } else {
        &["cdp_query_api"]
    }
}

/// Under which name the ledger counts it.
fn name(method: &str, path: &str) -> Option<String> {
    if let Some(rpc) = path.strip_prefix(SERVICE) {
        return Some(rpc.to_owned());
    }
    let name = match (method, path) {
        ("POST", "/api/v2/query") => "query",
        ("GET", path) if path.starts_with("/api/v2/query/") => "nextBatch",
        ("GET", "/api/v1/metadata") => "metadata",
        (_, path) if path.starts_with("/api/v1/ingest/sources/") => "ingest",
        (_, path) if path.starts_with("/api/v1/ingest/jobs") => "jobs",
        _ => return None,
    };
    Some(name.to_owned())
}
