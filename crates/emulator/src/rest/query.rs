//! `query`, `queryAll` and their pages.

use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;

use super::{Call, json_response};
use crate::Shared;
use crate::api_error::ApiError;
use crate::org::{Cursor, PAGE};
use crate::soql::{parse, plan, run};

#[derive(Deserialize)]
pub(super) struct Parameters {
    q: Option<String>,
}

pub(super) async fn query(
    shared: State<Shared>,
    version: Path<String>,
    parameters: Query<Parameters>,
    headers: HeaderMap,
) -> Response {
    first_page(shared, version, parameters, headers, false).await
}

/// `queryAll`: deleted and archived rows too.
pub(super) async fn query_all(
    shared: State<Shared>,
    version: Path<String>,
    parameters: Query<Parameters>,
    headers: HeaderMap,
) -> Response {
    first_page(shared, version, parameters, headers, true).await
}

async fn first_page(
    State(shared): State<Shared>,
    Path(version): Path<String>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
    deleted_too: bool,
) -> Response {
    let page = page_size(&headers);
    shared
        .answer(version, headers, move |call| {
            let soql = parameters.q.filter(|q| !q.trim().is_empty());
            let soql = soql.ok_or_else(|| ApiError::bad("MALFORMED_QUERY", "A query string has to be specified"))?;
            let query = parse::parse(&soql)?;
            let plan = plan::plan(&soql, &query, &call.org.schema, call.org.now(), deleted_too)?;
            match run::find(&call.org.db, &plan)? {
                run::Found::Count(n) => Ok(envelope(n as usize, None, b"")),
                run::Found::Aggregates(records) if records.len() > PAGE => Err(ApiError::bad(
                    "EXCEEDED_ID_LIMIT",
                    "Aggregate query does not support queryMore(), use LIMIT to restrict the results to a single batch",
                )),
                run::Found::Aggregates(records) => Ok(envelope(records.len(), None, &records.join(&b','))),
                run::Found::Rows(rows) => {
                    let locator = (rows.len() > page).then(|| call.org.new_id("01g"));
                    let first = rows.len().min(page);
                    let records = run::records(&call.org.db, &plan, &rows[..first], &call.version)?;
                    let answer = envelope(rows.len(), next(call, locator.as_deref(), first), &records);
                    if let Some(locator) = locator {
                        call.org.cursors.insert(locator, Cursor { plan, rows });
                    }
                    Ok(answer)
                }
            }
        })
        .await
}

/// `Sforce-Query-Options: batchSize=N`, from 200 to 2,000.
fn page_size(headers: &HeaderMap) -> usize {
    let asked = headers
        .get("sforce-query-options")
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.split(',').find_map(|o| o.trim().strip_prefix("batchSize=")))
        .and_then(|n| n.parse::<usize>().ok());
    asked.map_or(PAGE, |n| n.clamp(200, PAGE))
}

/// A later page: the locator is the cursor's id, a dash and the offset of its first record. Pages of
/// `queryAll` live under `query` too.
pub(super) async fn more(
    State(shared): State<Shared>,
    Path((version, locator)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let page = page_size(&headers);
    shared
        .answer(version, headers, move |call| {
            let invalid = || ApiError::bad("INVALID_QUERY_LOCATOR", "invalid query locator");
            let (id, offset) = locator.rsplit_once('-').ok_or_else(invalid)?;
            let offset: usize = offset.parse().map_err(|_| invalid())?;
            let cursor = call.org.cursors.get(id).filter(|c| offset < c.rows.len()).ok_or_else(invalid)?;
            let end = (offset + page).min(cursor.rows.len());
            let total = cursor.rows.len();
            let records = run::records(&call.org.db, &cursor.plan, &cursor.rows[offset..end], &call.version)?;
            let id = (end < total).then(|| id.to_owned());
            Ok(envelope(total, next(call, id.as_deref(), end), &records))
        })
        .await
}

fn next(call: &Call<'_>, locator: Option<&str>, offset: usize) -> Option<String> {
    locator.map(|l| format!("/services/data/v{}/query/{l}-{offset}", call.version))
}

fn envelope(total: usize, next: Option<String>, records: &[u8]) -> Response {
    let mut body = format!(r#"{{"totalSize":{total},"done":{},"#, next.is_none()).into_bytes();
    if let Some(next) = next {
        body.extend_from_slice(format!(r#""nextRecordsUrl":"{next}","#).as_bytes());
    }
    body.extend_from_slice(b"\"records\":[");
    body.extend_from_slice(records);
    body.extend_from_slice(b"]}");
    json_response(200, body)
}
