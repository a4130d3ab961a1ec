//! The REST data API under `/services/data`.

mod actions;
mod apex;
mod body;
mod changes;
mod collections;
mod composite;
mod conditional;
mod describe;
mod dispatch;
mod limits;
mod metadata;
mod paths;
mod pretty;
mod query;
mod retrieve;
mod search;
mod sobjects;
mod tooling;
mod uri;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

use crate::Shared;
use crate::api_error::ApiError;
use crate::clock::http_date;
use crate::org::Org;
use crate::turn;

pub(crate) use self::dispatch::{name_methods, override_method};

/// Oldest and newest version that the org speaks: v67.0 is Summer '26.
pub(crate) const VERSIONS: std::ops::RangeInclusive<u32> = 31..=67;

pub(crate) fn router() -> Router<Shared> {
    let v = "/services/data/{version}";
    Router::new()
        .route("/services/data", get(versions))
        .route(v, get(describe::resources))
        .route(&format!("{v}/limits"), get(limits::limits))
        .route(&format!("{v}/limits/recordCount"), get(limits::record_count))
        .route(&format!("{v}/query"), get(query::query))
        .route(&format!("{v}/queryAll"), get(query::query_all))
        .route(&format!("{v}/query/{{locator}}"), get(query::more))
        .route(&format!("{v}/queryAll/{{locator}}"), get(query::more))
        .route(&format!("{v}/search"), get(search::search))
        .route(&format!("{v}/parameterizedSearch"), get(search::by_parameters).post(search::by_body))
        .merge(tooling::router())
        .merge(sobjects::router())
        .merge(collections::router())
        .merge(composite::router())
        .merge(actions::router())
        .merge(apex::router())
        .route(
            &format!("{v}/metadata/deployRequest"),
            post(metadata::deploy).layer(DefaultBodyLimit::max(crate::metadata::soap::BODY)),
        )
        .route(&format!("{v}/metadata/deployRequest/{{id}}"), get(metadata::check).patch(metadata::cancel))
        .route(&format!("{v}/recent"), get(describe::recent))
        .route_layer(axum::middleware::from_fn(dispatch::remember))
        .method_not_allowed_fallback(dispatch::method_not_allowed)
        .fallback(async || ApiError::not_found().into_response())
        .layer(axum::middleware::from_fn(pretty::print))
        .layer(axum::middleware::from_fn(uri::bounded))
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        json_response(self.status, self.body().to_string().into_bytes())
    }
}

pub(crate) fn json_response(status: u16, body: Vec<u8>) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [("content-type", "application/json;charset=UTF-8")], body).into_response()
}

/// A call by a logged-in user, as every data resource takes it.
pub(crate) struct Call<'a> {
    pub(crate) org: &'a mut Org,
    pub(crate) user_id: String,
    /// `67.0`
    pub(crate) version: String,
}

impl Shared {
    /// Checks session, version and limits, then answers; adds the headers that every data answer carries.
    pub(crate) async fn answer(
        self,
        version: impl Into<Option<String>>,
        headers: HeaderMap,
        answer: impl FnOnce(&mut Call<'_>) -> Result<Response, ApiError> + Send + 'static,
    ) -> Response {
        let version = version.into();
        let (resource, kept) = (dispatch::resource(), turn::kept());
        self.with_org(move |org| {
            let mut response = authorised(org, version.as_deref(), &headers)
                .and_then(|user_id| {
                    count(org, resource, kept)?;
                    let version = version.unwrap_or_default().trim_start_matches('v').to_owned();
                    answer(&mut Call { org, user_id, version })
                })
                .unwrap_or_else(IntoResponse::into_response);
            let usage = usage(org);
            for (name, value) in [
                ("sforce-limit-info", usage.as_str()),
                ("date", &http_date(org.now())),
                ("cache-control", "no-cache,must-revalidate,max-age=0,no-store,private"),
                ("x-content-type-options", "nosniff"),
                ("vary", "Accept-Encoding"),
            ] {
                if let (Ok(name), Ok(value)) = (name.parse::<axum::http::HeaderName>(), value.parse()) {
                    response.headers_mut().insert(name, value);
                }
            }
            response
        })
        .await
    }
}

/// `Sforce-Limit-Info`.
fn usage(org: &Org) -> String {
    format!("api-usage={}/{}", org.usage.used(org.now()), org.daily_limit)
}

/// Counts a call against the org's limit. Those inside of another call have been counted with it.
fn count(org: &mut Org, resource: Option<String>, kept: bool) -> Result<(), ApiError> {
    if let Some(resource) = resource {
        *org.ledger.resources.entry(resource).or_default() += 1;
    }
    if kept {
        return Ok(());
    }
    if !org.count_call() {
        return Err(ApiError::new(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."));
    }
    Ok(())
}

/// The token of a request: `Bearer`, or the older `OAuth`.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get("authorization")?.to_str().ok()?;
    value.strip_prefix("Bearer ").or_else(|| value.strip_prefix("OAuth "))
}

/// Apex REST has no version in its paths.
fn authorised(org: &mut Org, version: Option<&str>, headers: &HeaderMap) -> Result<String, ApiError> {
    if headers.get("authorization").is_some() && bearer(headers).is_none() {
        return Err(ApiError::new(401, "INVALID_AUTH_HEADER", "INVALID_HEADER_TYPE"));
    }
    let token = bearer(headers).unwrap_or("").to_owned();
    let session = org.session(&token).ok_or_else(ApiError::invalid_session)?;
    if !["api", "full"].iter().any(|scope| crate::oauth::app::has_scope(&session.scope, scope)) {
        const NO_SCOPE: &str = "This session is not valid for use with the REST API";
        return Err(ApiError::new(401, "INVALID_SESSION_ID", NO_SCOPE));
    }
    let user_id = session.user_id.clone();
    let Some(version) = version else { return Ok(user_id) };
    let number = version.strip_prefix('v').and_then(|v| v.strip_suffix(".0")).and_then(|v| v.parse().ok());
    match number {
        Some(number) if VERSIONS.contains(&number) => Ok(user_id),
        Some(number) if number < *VERSIONS.start() => {
            Err(ApiError::new(410, "GONE", format!("API version {number}.0 is no longer supported")))
        }
        _ => Err(ApiError::not_found()),
    }
}

/// `GET /services/data`, which needs no login.
async fn versions(State(shared): State<Shared>) -> Response {
    const SEASONS: [&str; 3] = ["Spring", "Summer", "Winter"];
    let versions: Vec<Value> = VERSIONS
        .map(|v| {
            // v31.0 was Summer '14; three releases a year, Winter named for the year to come.
            let (season, year) = (SEASONS[(v % 3) as usize], 14 + (v - 29) / 3);
            json!({"label": format!("{season} '{year}"), "url": format!("/services/data/v{v}.0"), "version": format!("{v}.0")})
        })
        .collect();
    let mut response = json_response(200, Value::Array(versions).to_string().into_bytes());
    // By the org's clock, which a test may have moved.
    if let Ok(date) = http_date(shared.with_org(|org| org.now()).await).parse() {
        response.headers_mut().insert("date", date);
    }
    response
}
