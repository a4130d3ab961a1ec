//! `composite`: up to 25 requests, one after another, each of which may use the answers before it.

use std::collections::HashSet;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::body::Payload;
use super::super::json_response;
use super::references::{self, Answers};
use super::{ROLLED_BACK, Series, body_of, halted, inner_headers};
use crate::Shared;
use crate::api_error::ApiError;

const MOST: usize = 25;
/// Of those, queries and collections.
const MOST_LARGE: usize = 5;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Composite {
    #[serde(default)]
    all_or_none: bool,
    /// Unrelated requests may be carried out together, which nobody can tell from the answers.
    #[serde(default, rename = "collateSubrequests")]
    _collate: bool,
    composite_request: Vec<Subrequest>,
}

#[derive(Deserialize, Clone)]
#[serde(rename_all = "camelCase")]
pub(super) struct Subrequest {
    pub(super) method: String,
    pub(super) url: String,
    pub(super) reference_id: String,
    pub(super) body: Option<Value>,
    pub(super) http_headers: Option<Map<String, Value>>,
}

/// One answer of the series.
pub(super) struct Part {
    pub(super) body: Value,
    headers: Map<String, Value>,
    pub(super) status: u16,
    reference_id: String,
}

impl Part {
    pub(super) fn of_error(reference_id: &str, error: &ApiError) -> Part {
        let (reference_id, status) = (reference_id.to_owned(), error.status);
        Part { body: error.body(), headers: Map::new(), status, reference_id }
    }

    pub(super) fn failed(&self) -> bool {
        self.status >= 400
    }

    pub(super) fn told(self) -> Value {
        json!({
            "body": self.body, "httpHeaders": self.headers, "httpStatusCode": self.status,
            "referenceId": self.reference_id,
        })
    }
}

/// `GET /composite`: what there is. Keys as documented.
pub(super) async fn resources(
    State(shared): State<Shared>,
    Path(version): Path<String>,
    headers: HeaderMap,
) -> Response {
    shared
        .answer(version, headers, |call| {
            let base = format!("/services/data/v{}/composite", call.version);
            let body = json!({
                "tree": format!("{base}/tree"), "batch": format!("{base}/batch"),
                "sobjects": format!("{base}/sobjects"), "graph": format!("{base}/graph"),
            });
            Ok(json_response(200, body.to_string().into_bytes()))
        })
        .await
}

pub(super) async fn composite(
    State(shared): State<Shared>,
    Path(version): Path<String>,
    headers: HeaderMap,
    payload: Payload,
) -> Response {
    let outer = headers.clone();
    shared
        .series(version, headers, move |series| async move {
            let composite: Composite = payload.typed("composite request")?;
            check(&composite.composite_request)?;
            let parts = run(&series, &outer, &composite.composite_request, composite.all_or_none).await?;
            let parts: Vec<Value> = parts.into_iter().map(Part::told).collect();
            Ok(json_response(200, json!({"compositeResponse": parts}).to_string().into_bytes()))
        })
        .await
}

/// Codes and wording of these refusals are unverified.
fn check(requests: &[Subrequest]) -> Result<(), ApiError> {
    if requests.is_empty() {
        return Err(ApiError::bad("INVALID_REQUEST", "The composite request has no subrequests"));
    }
    if requests.len() > MOST {
        let message = format!("Limit of {MOST} subrequests exceeded: {}", requests.len());
        return Err(ApiError::bad("LIMIT_EXCEEDED", message));
    }
    if requests.iter().filter(|r| is_large(&r.url)).count() > MOST_LARGE {
        let message = format!("At most {MOST_LARGE} subrequests can be queries or sObject collections");
        return Err(ApiError::bad("LIMIT_EXCEEDED", message));
    }
    reference_ids(requests)
}

/// Reference ids are unique, begin with a letter and have letters, digits and underscores.
pub(super) fn reference_ids(requests: &[Subrequest]) -> Result<(), ApiError> {
    let mut seen = HashSet::new();
    for Subrequest { reference_id, method, .. } in requests {
        let mut letters = reference_id.chars();
        let starts = letters.next().is_some_and(|c| c.is_ascii_alphabetic());
        if !starts || !letters.all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(ApiError::bad("INVALID_REFERENCE_ID", format!("Invalid reference ID: {reference_id}")));
        }
        if !seen.insert(reference_id) {
            return Err(ApiError::bad("INVALID_REFERENCE_ID", format!("Duplicate reference ID: {reference_id}")));
        }
        if !["GET", "POST", "PUT", "PATCH", "DELETE"].contains(&method.as_str()) {
            return Err(ApiError::bad("INVALID_REQUEST", format!("Invalid HTTP method: {method}")));
        }
    }
    Ok(())
}

/// A path below the version, without the query string.
fn resource(url: &str) -> &str {
    let path = url.split('?').next().unwrap_or("");
    path.splitn(5, '/').nth(4).unwrap_or("")
}

fn is_large(url: &str) -> bool {
    let resource = resource(url);
    ["query", "queryAll", "composite/sobjects"]
        .iter()
        .any(|large| resource.strip_prefix(large).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// Carries out the requests in their order. All or none: in one transaction, which the first failure ends.
pub(super) async fn run(
    series: &Series,
    outer: &HeaderMap,
    requests: &[Subrequest],
    all_or_none: bool,
) -> Result<Vec<Part>, ApiError> {
    if all_or_none {
        series.begin().await?;
    }
    let mut answers = Answers::new();
    let mut parts = Vec::with_capacity(requests.len());
    for request in requests {
        let part = one(series, outer, request, &answers).await;
        let failed = part.failed();
        answers.insert(request.reference_id.clone(), (!failed).then(|| part.body.clone()));
        parts.push(part);
        if failed && all_or_none {
            break;
        }
    }
    if all_or_none {
        let failed = parts.iter().position(Part::failed);
        series.end(failed.is_none()).await?;
        if let Some(failed) = failed {
            let halted = |request: &Subrequest| Part::of_error(&request.reference_id, &halted(ROLLED_BACK));
            let cause = parts.swap_remove(failed);
            parts = requests.iter().map(halted).collect();
            parts[failed] = cause;
        }
    }
    Ok(parts)
}

async fn one(series: &Series, outer: &HeaderMap, request: &Subrequest, answers: &Answers) -> Part {
    let part = async || -> Result<Part, ApiError> {
        let url = references::in_url(&request.url, answers).map_err(halted)?;
        if !url.starts_with("/services/data/v") {
            return Err(ApiError::not_found());
        }
        let body = request.body.as_ref().map(|body| references::in_body(body, answers)).transpose().map_err(halted)?;
        let method = request.method.parse().unwrap_or(Method::GET);
        let headers = inner_headers(outer, request.http_headers.as_ref(), body.is_some());
        let answer = series.send(method, url, headers, body.as_ref()).await;
        // Recorded: nothing else is told.
        let mut told = Map::new();
        for (name, as_told) in [("etag", "ETag"), ("last-modified", "Last-Modified"), ("location", "Location")] {
            if let Some(value) = answer.headers.get(name).and_then(|v| v.to_str().ok()) {
                told.insert(as_told.to_owned(), json!(value));
            }
        }
        let (body, status) = (body_of(&answer), answer.status);
        Ok(Part { body, headers: told, status, reference_id: request.reference_id.clone() })
    };
    part().await.unwrap_or_else(|error| Part::of_error(&request.reference_id, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_and_collections_are_the_large_ones() {
        for large in ["/services/data/v60.0/query?q=x", "/services/data/v60.0/composite/sobjects/Account/Ext__c"] {
            assert!(is_large(large), "{large}");
        }
        for small in ["/services/data/v60.0/sobjects/query", "/services/data/v60.0/queryable", "query"] {
            assert!(!is_large(small), "{small}");
        }
    }
}
