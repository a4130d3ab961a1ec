//! `composite/batch`: up to 25 requests that know nothing of each other.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::body::Payload;
use super::super::json_response;
use super::{body_of, inner_headers};
use crate::Shared;
use crate::api_error::ApiError;

const MOST: usize = 25;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Batch {
    #[serde(default)]
    halt_on_error: bool,
    batch_requests: Vec<Subrequest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Subrequest {
    method: String,
    /// Begins with the version, or at the root.
    url: String,
    rich_input: Option<Value>,
}

pub(super) async fn batch(
    State(shared): State<Shared>,
    Path(version): Path<String>,
    headers: HeaderMap,
    payload: Payload,
) -> Response {
    let outer = headers.clone();
    shared
        .series(version, headers, move |series| async move {
            let batch: Batch = payload.typed("batch request")?;
            let count = batch.batch_requests.len();
            if count > MOST {
                // Unverified code and wording.
                return Err(ApiError::bad("LIMIT_EXCEEDED", format!("Limit of {MOST} subrequests exceeded: {count}")));
            }
            // Documented: each subrequest counts against the limits. The call itself has been counted as the first.
            series.shared.with_org(move |org| org.count_calls(count.saturating_sub(1) as u64)).await;
            let mut results: Vec<Value> = Vec::with_capacity(count);
            let mut failed = false;
            for request in batch.batch_requests {
                if failed && batch.halt_on_error {
                    const HALTED: (&str, &str) = ("BATCH_PROCESSING_HALTED", "Batch processing halted per request");
                    results.push(json!({
                        "statusCode": 412, "result": [{"errorCode": HALTED.0, "message": HALTED.1}],
                    }));
                    continue;
                }
                let path = request.url.trim_start_matches("/services/data/").trim_start_matches('/');
                let headers = inner_headers(&outer, None, request.rich_input.is_some());
                let method = request.method.parse().unwrap_or(Method::GET);
                let url = format!("/services/data/{path}");
                let answer = series.send(method, url, headers, request.rich_input.as_ref()).await;
                failed |= answer.status >= 400;
                results.push(json!({"statusCode": answer.status, "result": body_of(&answer)}));
            }
            let body = json!({"hasErrors": failed, "results": results});
            Ok(json_response(200, body.to_string().into_bytes()))
        })
        .await
}
