//! The results of a query job, page by page.

use std::collections::HashMap;
use std::path::Path as FilePath;

use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::export::{ROWS, header, offset};
use super::job::{Job, Phase};
use super::outcome::not_finished;
use super::stream::Content;
use super::{io_error, job};
use crate::Shared;
use crate::api_error::ApiError;
use crate::cursors::Pages;
use crate::rest::{Call, json_response};

/// Parallel results name at most so many pages at a time.
const PARALLEL: u64 = 5;

/// Rows in one of several parallel pages. Salesforce chooses; how is not documented.
const PARALLEL_ROWS: u64 = 50_000;

/// Older versions have no parallel results.
const PARALLEL_SINCE: f64 = 58.0;

pub(super) async fn read(
    State(shared): State<Shared>,
    Path((version, id, part)): Path<(String, String, String)>,
    Query(asked): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let wants = headers.clone();
    shared
        .answer(version, headers, move |call| {
            let job = job(call.org, &id, true)?.clone();
            let parallel = match part.to_ascii_lowercase().as_str() {
                "results" => false,
                "resultpages" if call.version.parse::<f64>().is_ok_and(|v| v >= PARALLEL_SINCE) => true,
                _ => return Err(ApiError::not_found()),
            };
            if job.phase != Phase::JobComplete {
                return Err(not_finished(&job));
            }
            // How Salesforce answers after seven days is not documented; the job itself is then unknown.
            if job.expired {
                return Err(ApiError::not_found());
            }
            let from = first_row(&job, asked.get("locator"))?;
            let most = most_rows(&asked)?.or(call.org.bulk.behaviour.page_rows);
            if parallel { pages(call, &job, from, most) } else { page(call, &job, from, most, &wants) }
        })
        .await
}

/// Locators are opaque; these hold a row number. The guide's example is base64 of one too.
fn locator(row: u64) -> String {
    URL_SAFE_NO_PAD.encode(row.to_string())
}

fn first_row(job: &Job, locator: Option<&String>) -> Result<u64, ApiError> {
    let Some(locator) = locator else { return Ok(0) };
    let bytes = URL_SAFE_NO_PAD.decode(locator.trim_end_matches('=')).ok();
    let row = bytes.and_then(|bytes| String::from_utf8(bytes).ok()).and_then(|text| text.parse().ok());
    // Wording unverified. The first row has a locator even where there is none.
    row.filter(|row| *row < job.processed.max(1))
        .ok_or_else(|| ApiError::bad("INVALID_QUERY_LOCATOR", "invalid query locator"))
}

fn most_rows(asked: &HashMap<String, String>) -> Result<Option<u64>, ApiError> {
    let Some(text) = asked.get("maxRecords") else { return Ok(None) };
    match text.parse() {
        Ok(n) if n > 0 => Ok(Some(n)),
        _ => Err(super::job::invalid_value("maxRecords", text)),
    }
}

fn page(call: &mut Call<'_>, job: &Job, from: u64, most: Option<u64>, wants: &HeaderMap) -> Result<Response, ApiError> {
    let plan = job.plan.as_ref().ok_or_else(ApiError::not_found)?;
    let total = job.processed;
    let to = most.map_or(total, |most| from.saturating_add(most).min(total));
    let (rows, to) = match call.org.page_tricks.meet(Pages::Bulk) {
        None => (from..to, to),
        Some(trick) => {
            let place = |row: u64| usize::try_from(row).unwrap_or(usize::MAX);
            let (rows, next) = trick.window(place(from), place(to), place(total));
            (rows.start as u64..rows.end as u64, next as u64)
        }
    };
    let folder = call.org.bulk.folder(&job.id).map_err(|e| io_error(&e))?;
    let content = Content::text(header(&call.org.schema, plan, job.format));
    let content = if rows.is_empty() {
        content
    } else {
        part_of(&folder, content, rows.start, (rows.end < total).then_some(rows.end))?
    };
    let mut response = content.answer("text/csv", wants);
    // Clients look for this word; without it they ask for ever.
    let next = if to < total { locator(to) } else { "null".to_owned() };
    let count = (rows.end - rows.start).saturating_add_signed(call.org.bulk.behaviour.page_count_delta);
    for (name, value) in [("sforce-locator", next), ("sforce-numberofrecords", count.to_string())] {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}

fn part_of(folder: &FilePath, content: Content, from: u64, to: Option<u64>) -> Result<Content, ApiError> {
    let end = to.map(|row| offset(folder, row)).transpose()?;
    content.and_file(&folder.join(ROWS), offset(folder, from)?, end)
}

/// Where parts of the results are found, to be fetched at the same time.
fn pages(call: &Call<'_>, job: &Job, from: u64, most: Option<u64>) -> Result<Response, ApiError> {
    let base = format!("/services/data/v{}/jobs/query/{}", call.version, job.id);
    let rows = most.unwrap_or(PARALLEL_ROWS);
    let starts = (0..PARALLEL).map(|nth| from + nth * rows).filter(|start| *start == 0 || *start < job.processed);
    let pages: Vec<_> = starts
        .map(|start| json!({"resultUrl": format!("{base}/results?locator={}&maxRecords={rows}", locator(start))}))
        .collect();
    let next = from + PARALLEL * rows;
    let done = next >= job.processed;
    let mut body = json!({"resultPages": pages});
    if !done {
        let maximum = most.map(|n| format!("&maxRecords={n}")).unwrap_or_default();
        body["nextRecordsUrl"] = json!(format!("{base}/resultpages?locator={}{maximum}", locator(next)));
    }
    body["done"] = json!(done);
    Ok(json_response(200, body.to_string().into_bytes()))
}
