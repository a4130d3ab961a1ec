//! The OAuth endpoints' routes: forms in, JSON (or what real orgs answer instead) out.

use std::collections::HashMap;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use crate::Shared;
use crate::oauth::{discovery, id_token, introspect, token, userinfo};
use crate::rest::{bearer, json_response};

pub(crate) fn router() -> Router<Shared> {
    Router::new()
        .route("/services/oauth2/token", post(exchange))
        .route("/services/oauth2/revoke", post(revoke).get(revoke))
        .route("/services/oauth2/introspect", post(introspection))
        .route("/.well-known/openid-configuration", get(configuration))
        .route("/id/keys", get(keys))
        .route("/services/oauth2/userinfo", get(identity).post(identity))
        .route("/id/{org}/{user}", get(identity_url))
}

/// Form fields and query parameters count alike; both are seen in the wild.
pub(crate) fn form(query: HashMap<String, String>, body: &Bytes) -> token::Form {
    query.into_iter().chain(url::form_urlencoded::parse(body).into_owned()).collect()
}

async fn exchange(
    State(shared): State<Shared>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut form = form(query, &body);
    if let Some(fields) = multipart(&headers, &body) {
        form.extend(fields);
    }
    token::add_basic(&mut form, headers.get("authorization").and_then(|h| h.to_str().ok()));
    let (status, body, now) = shared
        .with_org(move |org| {
            let (status, body) = match token::exchange(org, &form) {
                Ok(answer) => (200, answer),
                Err(error) => (400, error.body()),
            };
            (status, body, org.now())
        })
        .await;
    let mut response = json_response(status, body.to_string().into_bytes());
    let own = response.headers_mut();
    own.insert("cache-control", axum::http::HeaderValue::from_static("no-cache, no-store"));
    // By the org's clock, which a test may have moved.
    if let Ok(date) = crate::clock::http_date(now).parse() {
        own.insert("date", date);
    }
    response
}

/// The fields of a multipart form, in which the Salesforce CLI's library starts the device flow.
fn multipart(headers: &HeaderMap, body: &Bytes) -> Option<token::Form> {
    let kind = headers.get("content-type")?.to_str().ok()?;
    let boundary = kind.strip_prefix("multipart/form-data")?.split_once("boundary=")?.1.trim_matches('"');
    let body = String::from_utf8_lossy(body);
    let field = |part: &str| -> Option<(String, String)> {
        let (head, value) = part.split_once("\r\n\r\n")?;
        let name = head.split_once("name=\"")?.1.split('"').next()?;
        Some((name.to_owned(), value.trim_end_matches("\r\n").to_owned()))
    };
    Some(body.split(&format!("--{boundary}")).filter_map(field).collect())
}

async fn revoke(State(shared): State<Shared>, Query(query): Query<HashMap<String, String>>, body: Bytes) -> Response {
    let callback = query.get("callback").cloned();
    let form = form(query, &body);
    let outcome = shared.with_org(move |org| userinfo::revoke(org, form.get("token").map_or("", String::as_str))).await;
    match (outcome, callback) {
        (Ok(()), None) => StatusCode::OK.into_response(),
        (Ok(()), Some(callback)) => {
            ([("content-type", "application/javascript")], format!("{callback}({{}});")).into_response()
        }
        (Err(error), _) => {
            let kind = [("content-type", "application/x-www-form-urlencoded;charset=UTF-8")];
            (StatusCode::BAD_REQUEST, kind, error.form()).into_response()
        }
    }
}

async fn introspection(
    State(shared): State<Shared>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut form = form(query, &body);
    token::add_basic(&mut form, headers.get("authorization").and_then(|h| h.to_str().ok()));
    let body = shared.with_org(move |org| introspect::introspect(org, &form)).await;
    json_response(200, body.to_string().into_bytes())
}

async fn configuration(State(shared): State<Shared>) -> Response {
    let body = shared.with_org(|org| discovery::configuration(&org.base_url)).await;
    json_response(200, body.to_string().into_bytes())
}

async fn keys(State(shared): State<Shared>) -> Response {
    match shared.with_org(id_token::keys).await {
        Ok(keys) => json_response(200, keys.to_string().into_bytes()),
        Err(error) => json_response(500, error.body().to_string().into_bytes()),
    }
}

async fn identity(State(shared): State<Shared>, query: Query<HashMap<String, String>>, headers: HeaderMap) -> Response {
    let token = bearer(&headers).map(str::to_owned).or_else(|| query.get("oauth_token").cloned());
    let Some(token) = token else {
        return (StatusCode::FORBIDDEN, "Missing_OAuth_Token").into_response();
    };
    let answer = shared
        .with_org(move |org| {
            let user_id = org.session(&token).map(|s| s.user_id.clone())?;
            userinfo::userinfo(org, &user_id).ok()
        })
        .await;
    match answer {
        Some(answer) => json_response(200, answer.to_string().into_bytes()),
        // Not JSON and not 401: one of the shapes in which an expired session shows itself.
        None => (StatusCode::FORBIDDEN, "Bad_OAuth_Token").into_response(),
    }
}

async fn identity_url(
    shared: State<Shared>,
    Path((org_id, _user)): Path<(String, String)>,
    query: Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let own = shared.0.clone().with_org(|org| org.id.clone()).await;
    if own != org_id {
        return (StatusCode::FORBIDDEN, "Wrong_Org").into_response();
    }
    identity(shared, query, headers).await
}
