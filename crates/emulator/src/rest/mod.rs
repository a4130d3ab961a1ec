//! The REST data API under `/services/data`.

mod limits;
mod metadata;
mod query;
mod search;
mod sobjects;
mod tooling;
mod uri;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

use crate::Shared;
use crate::api_error::ApiError;
use crate::clock::http_date;
use crate::org::Org;
use crate::schema;

/// Oldest and newest version that the org speaks: v67.0 is Summer '26.
pub(crate) const VERSIONS: std::ops::RangeInclusive<u32> = 31..=67;

pub(crate) fn router() -> Router<Shared> {
    let v = "/services/data/{version}";
    Router::new()
        .route("/services/data", get(versions))
        .route(v, get(resources))
        .route(&format!("{v}/limits"), get(limits::limits))
        .route(&format!("{v}/limits/recordCount"), get(limits::record_count))
        .route(&format!("{v}/query"), get(query::query).fallback(query::get_only))
        .route(&format!("{v}/queryAll"), get(query::query_all).fallback(query::get_only))
        .route(&format!("{v}/query/{{locator}}"), get(query::more).fallback(query::get_only))
        .route(&format!("{v}/queryAll/{{locator}}"), get(query::more).fallback(query::get_only))
        .route(&format!("{v}/search"), get(search::search))
        .route(&format!("{v}/parameterizedSearch"), get(search::by_parameters).post(search::by_body))
        .merge(tooling::router())
        .route(&format!("{v}/sobjects"), get(describe_global))
        .route(&format!("{v}/sobjects/{{object}}"), get(sobjects::basic).post(sobjects::create))
        .route(&format!("{v}/sobjects/{{object}}/describe"), get(describe))
        .route(
            &format!("{v}/sobjects/{{object}}/{{id}}"),
            get(sobjects::read).patch(sobjects::update).delete(sobjects::delete).post(sobjects::post_as_patch),
        )
        .route(
            &format!("{v}/metadata/deployRequest"),
            post(metadata::deploy).layer(DefaultBodyLimit::max(crate::metadata::soap::BODY)),
        )
        .route(&format!("{v}/metadata/deployRequest/{{id}}"), get(metadata::check).patch(metadata::cancel))
        .method_not_allowed_fallback(async || {
            ApiError::new(405, "METHOD_NOT_ALLOWED", "HTTP Method not allowed").into_response()
        })
        .fallback(async || ApiError::not_found().into_response())
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
        version: String,
        headers: HeaderMap,
        answer: impl FnOnce(&mut Call<'_>) -> Result<Response, ApiError> + Send + 'static,
    ) -> Response {
        self.with_org(move |org| {
            let mut response = authorised(org, &version, &headers)
                .and_then(|user_id| {
                    org.ledger.api_calls += 1;
                    if org.ledger.api_calls > org.daily_limit {
                        return Err(ApiError::new(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."));
                    }
                    let version = version.trim_start_matches('v').to_owned();
                    answer(&mut Call { org, user_id, version })
                })
                .unwrap_or_else(IntoResponse::into_response);
            let usage = format!("api-usage={}/{}", org.ledger.api_calls, org.daily_limit);
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

/// The token of a request: `Bearer`, or the older `OAuth`.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get("authorization")?.to_str().ok()?;
    value.strip_prefix("Bearer ").or_else(|| value.strip_prefix("OAuth "))
}

fn authorised(org: &mut Org, version: &str, headers: &HeaderMap) -> Result<String, ApiError> {
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

async fn resources(State(shared): State<Shared>, Path(version): Path<String>, headers: HeaderMap) -> Response {
    shared
        .answer(version, headers, |call| {
            let base = format!("/services/data/v{}", call.version);
            let names =
                ["jobs", "limits", "metadata", "parameterizedSearch", "query", "queryAll", "search", "sobjects", "tooling"];
            let mut map: serde_json::Map<String, Value> =
                names.iter().map(|n| ((*n).to_owned(), json!(format!("{base}/{n}")))).collect();
            let identity = format!("{}/id/{}/{}", call.org.base_url, call.org.id, call.user_id);
            map.insert("identity".to_owned(), json!(identity));
            Ok(json_response(200, Value::Object(map).to_string().into_bytes()))
        })
        .await
}

async fn describe_global(State(shared): State<Shared>, Path(version): Path<String>, headers: HeaderMap) -> Response {
    shared
        .answer(version, headers, |call| {
            let body = schema::describe_global(&call.org.schema, &call.version);
            Ok(json_response(200, body.to_string().into_bytes()))
        })
        .await
}

async fn describe(
    State(shared): State<Shared>,
    Path((version, object)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let wanted = headers.get("if-none-match").cloned();
    shared
        .answer(version, headers, move |call| {
            let object = call.org.object(&object)?;
            let body = schema::describe_object(&call.org.schema, object, &call.version).to_string();
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body.as_bytes());
            let etag = digest.as_ref()[..4].iter().map(|b| format!("{b:02x}")).collect::<String>();
            let etag = format!("\"{etag}\"");
            let mut response = if wanted.is_some_and(|w| w.as_bytes() == etag.as_bytes()) {
                StatusCode::NOT_MODIFIED.into_response()
            } else {
                json_response(200, body.into_bytes())
            };
            if let Ok(etag) = etag.parse() {
                response.headers_mut().insert("etag", etag);
            }
            Ok(response)
        })
        .await
}
