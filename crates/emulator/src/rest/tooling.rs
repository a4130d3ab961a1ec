//! `tooling/…`: queries and describes over the views of the Tooling API, and anonymous Apex.

use std::collections::HashMap;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;

use super::json_response;
use super::query::{self, Parameters, Resource};
use crate::Shared;
use crate::api_error::ApiError;
use crate::schema;
use crate::tooling::{self, Api};

pub(super) fn router() -> Router<Shared> {
    let v = "/services/data/{version}/tooling";
    Router::new()
        .route(&format!("{v}/query"), get(first::<false>).fallback(query::get_only))
        .route(&format!("{v}/queryAll"), get(first::<true>).fallback(query::get_only))
        .route(&format!("{v}/query/{{locator}}"), get(more).fallback(query::get_only))
        .route(&format!("{v}/queryAll/{{locator}}"), get(more).fallback(query::get_only))
        .route(&format!("{v}/sobjects"), get(list))
        .route(&format!("{v}/sobjects/{{object}}/describe"), get(describe))
        .route(&format!("{v}/executeAnonymous"), get(execute_anonymous))
}

async fn first<const DELETED_TOO: bool>(
    shared: State<Shared>,
    version: Path<String>,
    parameters: Query<Parameters>,
    headers: HeaderMap,
) -> Response {
    let resource = Resource { api: Api::Tooling, deleted_too: DELETED_TOO };
    query::answer(shared, version, parameters, headers, resource).await
}

async fn more(shared: State<Shared>, path: Path<(String, String)>, headers: HeaderMap) -> Response {
    query::later_page(shared, path, headers, Api::Tooling).await
}

async fn list(State(shared): State<Shared>, Path(version): Path<String>, headers: HeaderMap) -> Response {
    shared
        .answer(version, headers, |call| {
            let body = schema::describe_global(&tooling::schema(call.org), &Api::Tooling.base(&call.version));
            Ok(json_response(200, body.to_string().into_bytes()))
        })
        .await
}

async fn describe(
    State(shared): State<Shared>,
    Path((version, object)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    shared
        .answer(version, headers, move |call| {
            let schema = tooling::schema(call.org);
            let object = schema.object(&object).ok_or_else(ApiError::not_found)?;
            let body = schema::describe_object(&schema, object, &Api::Tooling.base(&call.version));
            Ok(json_response(200, body.to_string().into_bytes()))
        })
        .await
}

async fn execute_anonymous(
    State(shared): State<Shared>,
    Path(version): Path<String>,
    Query(parameters): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    shared
        .answer(version, headers, move |_| {
            let body = tooling::execute(parameters.get("anonymousBody").map_or("", String::as_str));
            Ok(json_response(200, body.to_string().into_bytes()))
        })
        .await
}
