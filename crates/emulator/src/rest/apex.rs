//! Apex REST under `/services/apexrest`: answers that the control API has set.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, OriginalUri, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use serde_json::{Map, Value, json};

use super::body::LARGEST;
use super::{dispatch, json_response};
use crate::Shared;
use crate::api_error::ApiError;
use crate::stand_ins::ApexRest;

const PATH: &str = "/services/apexrest";

pub(super) fn router() -> Router<Shared> {
    Router::new().route(&format!("{PATH}/{{*path}}"), any(serve)).layer(DefaultBodyLimit::max(LARGEST))
}

async fn serve(
    State(shared): State<Shared>,
    method: Method,
    uri: OriginalUri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let asked = headers.clone();
    shared
        .answer(None, headers, move |call| {
            let path = uri.path().strip_prefix(PATH).unwrap_or("");
            let fitting: Vec<&ApexRest> = call.org.stand_ins.apex_rest.iter().filter(|h| h.serves(path)).collect();
            let handler = fitting.iter().find(|h| h.method.eq_ignore_ascii_case(method.as_str()));
            match handler {
                Some(handler) if handler.echo => Ok(echo(handler, &method, path, &uri, &asked, &body)),
                Some(handler) => Ok(respond(handler, &handler.body)),
                None if fitting.is_empty() => Err(ApiError::new(404, "NOT_FOUND", "Could not find a match for URL")),
                None => {
                    let methods: Vec<String> = fitting.iter().map(|h| h.method.to_ascii_uppercase()).collect();
                    Ok(dispatch::refuse_method(&method, &methods.iter().map(String::as_str).collect::<Vec<_>>()))
                }
            }
        })
        .await
}

/// Tells what was sent, without the session.
fn echo(
    handler: &ApexRest,
    method: &Method,
    path: &str,
    uri: &OriginalUri,
    headers: &HeaderMap,
    body: &Bytes,
) -> Response {
    let query: Map<String, Value> = url::form_urlencoded::parse(uri.query().unwrap_or("").as_bytes())
        .map(|(key, value)| (key.into_owned(), Value::String(value.into_owned())))
        .collect();
    let headers: Map<String, Value> = headers
        .iter()
        .filter(|(name, _)| *name != "authorization" && *name != "cookie")
        .map(|(name, value)| (name.to_string(), Value::String(String::from_utf8_lossy(value.as_bytes()).into_owned())))
        .collect();
    let body = match serde_json::from_slice(body) {
        _ if body.is_empty() => Value::Null,
        Ok(json) => json,
        Err(_) => Value::String(String::from_utf8_lossy(body).into_owned()),
    };
    let told = json!({"method": method.as_str(), "path": path, "query": query, "headers": headers, "body": body});
    respond(handler, &told)
}

/// Text stays as it is, anything else is JSON, and nothing is an empty body.
fn respond(handler: &ApexRest, body: &Value) -> Response {
    let mut response = match body {
        Value::Null => StatusCode::OK.into_response(),
        Value::String(text) => text.clone().into_response(),
        json => json_response(200, json.to_string().into_bytes()),
    };
    *response.status_mut() = StatusCode::from_u16(handler.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in &handler.headers {
        if let (Ok(name), Ok(value)) = (name.parse::<axum::http::HeaderName>(), value.parse()) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
