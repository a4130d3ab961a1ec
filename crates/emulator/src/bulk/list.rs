//! Lists of jobs, a thousand to a page.

use std::collections::HashMap;

use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::jobs;
use crate::Shared;
use crate::api_error::ApiError;
use crate::rest::json_response;

const PAGE: usize = 1_000;

type Asked = Query<HashMap<String, String>>;

pub(super) async fn ingest(shared: State<Shared>, version: Path<String>, asked: Asked, headers: HeaderMap) -> Response {
    list(shared, version, asked, headers, "ingest").await
}

pub(super) async fn query(shared: State<Shared>, version: Path<String>, asked: Asked, headers: HeaderMap) -> Response {
    list(shared, version, asked, headers, "query").await
}

/// Each list has its own jobs and those of the first Bulk API; `jobType` asks for others. The order, oldest first, is
/// not documented.
async fn list(
    State(shared): State<Shared>,
    Path(version): Path<String>,
    Query(asked): Asked,
    headers: HeaderMap,
    own: &'static str,
) -> Response {
    shared
        .answer(version, headers, move |call| {
            let wanted = asked.get("jobType").map(String::as_str);
            if let Some(other) = wanted.filter(|w| !["Classic", "V2Ingest", "V2Query", "BigObjectIngest"].contains(w)) {
                return Err(super::job::invalid_value("jobType", other));
            }
            let own_type = if own == "ingest" { "V2Ingest" } else { "V2Query" };
            let fits = |kind: &str| wanted.map_or(kind == own_type || kind == "Classic", |wanted| wanted == kind);
            let chunked = asked.get("isPkChunkingEnabled").is_some_and(|v| v.eq_ignore_ascii_case("true"));
            let after = match asked.get("queryLocator") {
                Some(locator) => Some(
                    decoded(locator).ok_or_else(|| ApiError::bad("INVALID_QUERY_LOCATOR", "invalid query locator"))?,
                ),
                None => None,
            };
            // No job of this org is chunked.
            let ours = jobs(call.org).values().filter(|job| fits(job.job_type())).map(|job| (&job.id, job.listed()));
            let mut found: Vec<(String, Map<String, Value>)> =
                ours.filter(|_| !chunked).map(|(id, told)| (id.clone(), told)).collect();
            let classic = call.org.bulk.classic.values().filter(|_| fits("Classic") && !chunked);
            found.extend(classic.map(|job| (job.id.clone(), job.listed())));
            found.sort_by(|a, b| a.0.cmp(&b.0));
            found.retain(|(id, _)| after.as_ref().is_none_or(|after| id > after));
            let done = found.len() <= PAGE;
            found.truncate(PAGE);
            let next = found.last().filter(|_| !done).map(|(last, _)| {
                let filter = wanted.map(|w| format!("&jobType={w}")).unwrap_or_default();
                let locator = URL_SAFE_NO_PAD.encode(last);
                format!("/services/data/v{}/jobs/{own}?queryLocator={locator}{filter}", call.version)
            });
            let records: Vec<Map<String, Value>> = found.into_iter().map(|(_, told)| told).collect();
            let body = json!({"done": done, "records": records, "nextRecordsUrl": next});
            Ok(json_response(200, body.to_string().into_bytes()))
        })
        .await
}

fn decoded(locator: &str) -> Option<String> {
    String::from_utf8(URL_SAFE_NO_PAD.decode(locator).ok()?).ok()
}
