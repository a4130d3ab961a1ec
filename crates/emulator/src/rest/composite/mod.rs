//! Requests that are made of requests: composite, graph, batch and tree.

mod batch;
mod graph;
mod references;
mod series;
mod tree;

use std::future::Future;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::Value;

use super::body::LARGEST;
use super::dispatch::{Answer, Inner, Inside};
use crate::Shared;
use crate::api_error::ApiError;
use crate::turn;

pub(super) fn router() -> Router<Shared> {
    let composite = "/services/data/{version}/composite";
    Router::new()
        .route(composite, post(series::composite).get(series::resources))
        .route(&format!("{composite}/graph"), post(graph::graph))
        .route(&format!("{composite}/batch"), post(batch::batch))
        .route(&format!("{composite}/tree/{{object}}"), post(tree::tree))
        .layer(DefaultBodyLimit::max(LARGEST))
}

const ROLLED_BACK: &str = "The transaction was rolled back since another operation in the same transaction failed.";

fn halted(message: impl Into<String>) -> ApiError {
    ApiError::bad("PROCESSING_HALTED", message)
}

impl Shared {
    /// Answers a call that is made of other calls. They have the org to themselves, and count as this one call.
    async fn series<F>(
        self,
        version: String,
        headers: HeaderMap,
        work: impl FnOnce(Series) -> F + Send + 'static,
    ) -> Response
    where
        F: Future<Output = Result<Response, ApiError>> + Send + 'static,
    {
        if turn::kept() {
            // Unverified wording: such a request cannot be part of another one.
            let refused = ApiError::bad("INVALID_REQUEST", "This resource can't be a subrequest");
            return self.answer(version, headers, |_| Err(refused)).await;
        }
        // Session and limits first: only who may call gets the turn.
        let admitted = self.clone().answer(version, headers, |_| Ok(().into_response())).await;
        if !admitted.status().is_success() {
            return admitted;
        }
        let series = Series { inside: Inside::of(&self), shared: self.clone() };
        let mut response =
            self.turn.keep(async move { work(series).await.unwrap_or_else(IntoResponse::into_response) }).await;
        // A batch has used more by now.
        if let Ok(usage) = self.with_org(|org| super::usage(org)).await.parse() {
            response.headers_mut().insert("sforce-limit-info", usage);
        }
        for (name, value) in admitted.headers() {
            if name != "content-length" && !response.headers().contains_key(name) {
                response.headers_mut().insert(name.clone(), value.clone());
            }
        }
        response
    }
}

/// What carries out the requests inside.
struct Series {
    inside: Inside,
    shared: Shared,
}

impl Series {
    /// Begins a transaction that spans several requests.
    async fn begin(&self) -> Result<(), ApiError> {
        self.shared.with_org(|org| org.begin()).await
    }

    async fn end(&self, keep: bool) -> Result<(), ApiError> {
        self.shared.with_org(move |org| if keep { org.commit() } else { org.roll_back() }).await
    }

    async fn send(&self, method: Method, url: String, headers: HeaderMap, body: Option<&Value>) -> Answer {
        self.inside.send(Inner { method, url, headers, body: body.map(|b| b.to_string().into_bytes()) }).await
    }
}

/// The headers of a request inside: who calls, what the outer request says about Salesforce's own switches, and what
/// the subrequest says itself.
fn inner_headers(outer: &HeaderMap, own: Option<&serde_json::Map<String, Value>>, has_body: bool) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in outer {
        if *name == AUTHORIZATION || name.as_str().starts_with("sforce-") {
            headers.insert(name.clone(), value.clone());
        }
    }
    if has_body {
        headers.insert("content-type", HeaderValue::from_static("application/json"));
    }
    for (name, value) in own.into_iter().flatten() {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        if let (Ok(name), Ok(value)) = (name.parse::<axum::http::HeaderName>(), text.parse())
            && name != AUTHORIZATION
        {
            headers.insert(name, value);
        }
    }
    headers
}

/// The body of an answer inside: JSON, or `null` where there is none.
fn body_of(answer: &Answer) -> Value {
    if answer.body.is_empty() {
        return Value::Null;
    }
    serde_json::from_slice(&answer.body)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&answer.body).into_owned()))
}
