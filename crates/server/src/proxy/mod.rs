//! Any REST path of an org through its connection, with token, retry, API budget and audit.
//!
//! 1. [`path`] decides whether the path may be called, and writes it anew. The host is the connection's, always.
//! 2. Who asks, and what the integration allows: `config.proxy`, `config.api_reserve`.
//! 3. [`upload`] takes the body, [`headers`] chooses what goes along.
//! 4. The client sends it, and repeats what may be repeated.
//! 5. [`answer`] passes on what the org says, or tells in a problem why it said nothing; [`record`] writes it down.

mod answer;
mod headers;
mod path;
mod policy;
mod record;
mod upload;

use std::time::Duration;

use axum::Router;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::map_request;
use axum::response::Response;
use axum::routing::{MethodFilter, on};
use tieline_client::{Body as Sent, ClientError, Connection, Download, Once, Request as Call, session};
use tieline_store::{Integration, Role, Status, Tenant, Uuid};
use tieline_sync::SyncError;
use utoipa::OpenApi;

use self::answer::{Answering, not_repeatable, overdue};
use self::path::OrgPath;
use self::record::Underway;
use self::upload::{Fault, Upload};
use crate::caller::{self, Caller, Who};
use crate::problem::Problem;
use crate::service::Service;

pub(crate) use policy::{ProxyMode, checked_reserve, mode_of, reserve_of};

/// How often the org is asked whether its budget has recovered while the reserve stops calls.
const RESERVE_LOOK: Duration = Duration::from_secs(60);

/// The route. Its time is its own: an upload may take longer than an answer of this service.
pub(crate) fn routes() -> Router<Service> {
    let methods = MethodFilter::GET
        .or(MethodFilter::HEAD)
        .or(MethodFilter::POST)
        .or(MethodFilter::PATCH)
        .or(MethodFilter::PUT)
        .or(MethodFilter::DELETE);
    Router::new().route("/api/connections/{id}/proxy/{*path}", on(methods, forward))
}

/// The routes, with what must be known before anybody asks who calls.
pub(crate) fn before_all(routes: Router<Service>) -> Router<Service> {
    routes.route_layer(map_request(async |mut request: Request| {
        take_session(request.headers_mut());
        request
    }))
}

/// The route's description, put to the others.
pub(crate) fn described(mut document: utoipa::openapi::OpenApi) -> utoipa::openapi::OpenApi {
    let mut own = Described::openapi();
    for item in own.paths.paths.values_mut() {
        let all = [
            ("proxy_get", &mut item.get),
            ("proxy_head", &mut item.head),
            ("proxy_post", &mut item.post),
            ("proxy_patch", &mut item.patch),
            ("proxy_put", &mut item.put),
            ("proxy_delete", &mut item.delete),
        ];
        for (id, operation) in all {
            if let Some(operation) = operation {
                operation.operation_id = Some(id.to_owned());
            }
        }
    }
    document.merge(own);
    document
}

#[derive(OpenApi)]
#[openapi(paths(read, write), tags((name = "proxy", description = "Any REST path of an org, through its connection")))]
struct Described;

/// Read through a connection
///
/// `path` is one of the org's: `services/data/v67.0/limits`, `services/data/latest/query?q=…`, `services/apexrest/…`,
/// `services/async/…` or `services/scim/…`. Its query string goes along. The status and the body are the org's own, with
/// `X-Tieline-Upstream: salesforce`; a problem without that header is this service's. API keys may read whatever their
/// role; people must be members.
#[utoipa::path(method(get, head), path = "/api/connections/{id}/proxy/{path}", tag = "proxy", params(
    ("id" = Uuid, Path, description = "The integration"),
    ("path" = String, Path, description = "Path on the org's host, slashes and all", example = "services/data/latest/limits"),
), responses(
    (status = 200, description = "The org's answer; with every other status of its own as well", body = Vec<u8>, content_type = "*/*", headers(
        ("X-Tieline-Upstream" = String, description = "`salesforce`: the answer is the org's"),
        ("X-Tieline-Api-Usage" = String, description = "API calls used and allowed within 24 hours: 18/5000"),
    )),
    (status = "4XX", description = "Not for this caller, not this path, not connected (409), or the reserve is reached (429)", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The org could not be reached (502), did not answer (504), or the service failed", body = Problem, content_type = "application/problem+json"),
))]
#[allow(dead_code)] // Only its description is used: `forward` answers.
async fn read() {}

/// Change something through a connection
///
/// As for reading, and with a body of whatever type, up to 150 MB. A body of up to 1 MiB is sent again where the call
/// may be repeated; a longer one passes through once. This needs the role `member`.
#[utoipa::path(method(post, patch, put, delete), path = "/api/connections/{id}/proxy/{path}", tag = "proxy", params(
    ("id" = Uuid, Path, description = "The integration"),
    ("path" = String, Path, description = "Path on the org's host, slashes and all", example = "services/data/latest/sobjects/Contact"),
), request_body(content = Vec<u8>, content_type = "*/*", description = "Whatever the org takes there"), responses(
    (status = 200, description = "The org's answer; with every other status of its own as well", body = Vec<u8>, content_type = "*/*", headers(
        ("X-Tieline-Upstream" = String, description = "`salesforce`: the answer is the org's"),
        ("X-Tieline-Api-Usage" = String, description = "API calls used and allowed within 24 hours: 18/5000"),
    )),
    (status = "4XX", description = "Not for this caller, not this path, not connected (409), or the reserve is reached (429)", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The org could not be reached (502), did not answer (504), or the service failed", body = Problem, content_type = "application/problem+json"),
))]
#[allow(dead_code)] // Only its description is used: `forward` answers.
async fn write() {}

async fn forward(State(service): State<Service>, request: Request) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let caller = Caller::from_request_parts(&mut parts, &service).await?;
    let (proxy, id, rest) = place(parts.uri.path())?;
    let path = OrgPath::read(rest, parts.uri.query())?;
    let changes = path.changes || !matches!(parts.method, Method::GET | Method::HEAD);
    may(&caller, &service, &parts, changes)?;
    let integration = caller.tenant.integration(id).await?.ok_or_else(|| Problem::not_found("integration"))?;
    mode_of(&integration.config).allows(changes)?;
    let connection = connection(&service, &caller.tenant, &integration).await?;
    let content_type = headers::content_type(&parts.headers)?;

    let upload = Upload::take(body).await?;
    let mut underway = Underway::begin(&service, &caller, id, parts.method.as_str(), &path.path, changes).await?;
    let (call, passing) = call(&parts, &path, connection.api_version(), content_type, upload, &mut underway);
    let answering = Answering { connection: &connection, proxy, method: &parts.method, changes };
    let patience = service.settings().upstream_patience;
    let outcome = match sent(&connection, &call, passing.as_ref(), patience).await {
        None => Err(overdue(changes, patience)),
        Some(Ok(download)) => Ok(answering.passed(download).await),
        Some(Err(error)) => match own_reason(&error, passing.as_ref()) {
            Some(problem) => Err(problem),
            None if needs_login(&error) => Err(login_needed(&service, &caller.tenant, &integration, &error).await),
            None => answering.failed(error).await,
        },
    };
    match &outcome {
        Ok(answer) => underway.ended(Some(answer.status().as_u16()), None).await,
        Err(problem) => underway.ended(None, Some(problem.code())).await,
    }
    outcome
}

/// Clients of the older Bulk API send their token in a header of its own, and this one alone.
fn take_session(headers: &mut HeaderMap) {
    if headers.contains_key(header::AUTHORIZATION) {
        return;
    }
    let key = headers.get("x-sfdc-session").and_then(|value| value.to_str().ok());
    let bearer = key.filter(|key| key.starts_with(caller::KEY_PREFIX)).map(|key| format!("Bearer {key}"));
    if let Some(mut bearer) = bearer.and_then(|bearer| HeaderValue::try_from(bearer).ok()) {
        bearer.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, bearer);
    }
}

/// The parts of our own path: before the org's, the integration, and the org's as it came.
fn place(path: &str) -> Result<(String, Uuid, &str), Problem> {
    let wrong = || Problem::invalid("the path holds no valid id", "ids are UUIDs");
    let (id, rest) =
        path.strip_prefix("/api/connections/").and_then(|rest| rest.split_once("/proxy/")).ok_or_else(wrong)?;
    let id = Uuid::parse_str(id).map_err(|_| wrong())?;
    Ok((format!("/api/connections/{id}/proxy"), id, rest))
}

/// Whether they may. A key of a viewer reads: that is what one makes it for. People who may not see more than what was
/// synced must not see more of the org, either.
fn may(caller: &Caller, service: &Service, parts: &Parts, changes: bool) -> Result<(), Problem> {
    if matches!(caller.who, Who::ApiKey(_)) {
        return if changes { caller.at_least(Role::Member) } else { Ok(()) };
    }
    caller.at_least(Role::Member)?;
    // A browser brings its cookie along whoever sends it here. Even reading costs API calls, and an Apex method may do
    // more than read.
    caller::same_origin(&parts.headers, service)?;
    let dest = parts.headers.get("sec-fetch-dest").map(|value| value.as_bytes());
    if !matches!(dest, None | Some(b"empty" | b"document")) {
        return Err(Problem::forbidden(
            "not_for_pages",
            "an org's answers are no scripts, styles or frames of our pages",
            "fetch it by script, or open it for itself",
        ));
    }
    if changes && matches!(parts.method, Method::GET | Method::HEAD) {
        return Err(Problem::forbidden(
            "method_hidden",
            "this GET changes something, and a link in somebody's mail could make a browser send it",
            "programs send it with an API key",
        ));
    }
    Ok(())
}

async fn connection(service: &Service, tenant: &Tenant, integration: &Integration) -> Result<Connection, Problem> {
    let name = &integration.name;
    match integration.status {
        Status::Pending => {
            let detail = format!("nobody has connected `{name}` yet");
            return Err(Problem::conflict("not_connected", detail, "connect it, then call again"));
        }
        Status::Inactive => {
            let detail = format!("somebody has disconnected `{name}`");
            return Err(Problem::conflict("disconnected", detail, "connect it again"));
        }
        Status::Active | Status::Error => {}
    }
    service.connection(tenant, integration).await.map_err(|error| match error {
        SyncError::Store(error) => error.into(),
        SyncError::Config(error) => Problem::conflict("not_connected", error.to_string(), error.hint()),
        other => Problem::conflict("not_connected", other.to_string(), other.hint()),
    })
}

/// The call as the client sends it; and the body, where it passes through.
fn call(
    parts: &Parts,
    path: &OrgPath,
    version: &str,
    content_type: String,
    upload: Upload,
    underway: &mut Underway,
) -> (Call, Option<(Once, Fault)>) {
    let mut call = Call::new(parts.method.clone(), path.target(version));
    call.headers = headers::to_org(&parts.headers);
    // A method of Apex may add where HTTP's sets; and a GET that changes something is no GET.
    if path.changes || path.is_apex() && parts.method == Method::PATCH {
        call = call.repeatable(false);
    }
    match upload {
        Upload::Nothing => {
            underway.sends(Some(0));
            if !matches!(parts.method, Method::GET | Method::HEAD | Method::DELETE) {
                // Gateways ask for a length where a body could be (411).
                call.headers.insert(header::CONTENT_LENGTH, 0.into());
            }
            (call, None)
        }
        Upload::Kept(bytes) => {
            underway.sends(Some(bytes.len() as u64));
            (call.with_body(Sent::Raw { content_type, bytes }), None)
        }
        Upload::Passing { once, fault } => {
            underway.sends(once.length());
            (call.with_body(Sent::Once { content_type, once: once.clone() }), Some((once, fault)))
        }
    }
}

/// The org's answer; none if it took too long to begin.
async fn sent(
    connection: &Connection,
    call: &Call,
    passing: Option<&(Once, Fault)>,
    patience: Duration,
) -> Option<Result<Download, ClientError>> {
    let overdue = async {
        match passing {
            Some((once, _)) => once.quiet_for(patience).await,
            None => tokio::time::sleep(patience).await,
        }
    };
    let answer = async {
        let answer = connection.download(call).await;
        let old = connection.api_usage_age().is_none_or(|age| age >= RESERVE_LOOK);
        // The figure that stops calls is told by calls: somebody must go and see whether it still holds.
        if matches!(answer, Err(ClientError::Reserve { .. })) && old && connection.refresh_api_usage().await.is_ok() {
            return connection.download(call).await;
        }
        answer
    };
    tokio::select! {
        answer = answer => Some(answer),
        () = overdue => None,
    }
}

/// What went wrong on this side of the service.
fn own_reason(error: &ClientError, passing: Option<&(Once, Fault)>) -> Option<Problem> {
    let (once, fault) = passing?;
    if let Some(problem) = fault.problem() {
        return Some(problem);
    }
    match error {
        ClientError::Refused(refusal) if session::is_expired(refusal.status, refusal.body()) && once.has_begun() => {
            Some(not_repeatable())
        }
        _ => None,
    }
}

fn needs_login(error: &ClientError) -> bool {
    matches!(error, ClientError::Auth(error) if error.needs_person() && !error.is_transient())
}

/// Notes that somebody must log in, for all to see.
async fn login_needed(service: &Service, tenant: &Tenant, integration: &Integration, error: &ClientError) -> Problem {
    let (reason, hint) = (error.to_string(), error.hint());
    service.note_needed_login(tenant, integration, &reason, &hint).await;
    Problem::conflict("needs_login", reason, hint)
}
