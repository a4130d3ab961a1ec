//! The OAuth endpoints' routes: forms in, JSON (or what real orgs answer instead) out.

use std::collections::HashMap;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use crate::Shared;
use crate::oauth::{token, userinfo};
use crate::rest::{bearer, json_response};

pub(crate) fn router() -> Router<Shared> {
    Router::new()
        .route("/services/oauth2/token", post(exchange))
        .route("/services/oauth2/revoke", post(revoke).get(revoke))
        .route("/services/oauth2/userinfo", get(identity).post(identity))
        .route("/id/{org}/{user}", get(identity_url))
}

/// Form fields and query parameters count alike; both are seen in the wild.
fn form(query: HashMap<String, String>, body: &Bytes) -> token::Form {
    query.into_iter().chain(url::form_urlencoded::parse(body).into_owned()).collect()
}

async fn exchange(
    State(shared): State<Shared>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut form = form(query, &body);
    token::add_basic(&mut form, headers.get("authorization").and_then(|h| h.to_str().ok()));
    let (status, body) = shared
        .with_org(move |org| match token::exchange(org, &form) {
            Ok(answer) => (200, answer),
            Err(error) => (400, error.body()),
        })
        .await;
    let mut response = json_response(status, body.to_string().into_bytes());
    response.headers_mut().insert("cache-control", axum::http::HeaderValue::from_static("no-cache, no-store"));
    response
}

async fn revoke(State(shared): State<Shared>, Query(query): Query<HashMap<String, String>>, body: Bytes) -> Response {
    let form = form(query, &body);
    let outcome = shared.with_org(move |org| userinfo::revoke(org, form.get("token").map_or("", String::as_str))).await;
    match outcome {
        Ok(()) => StatusCode::OK.into_response(),
        Err(error) => {
            let body: String = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("error", error.0)
                .append_pair("error_description", error.1)
                .finish();
            (StatusCode::BAD_REQUEST, [("content-type", "application/x-www-form-urlencoded;charset=UTF-8")], body)
                .into_response()
        }
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
