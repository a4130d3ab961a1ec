//! `query`, `queryAll` and their pages.

use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::{Call, json_response};
use crate::Shared;
use crate::api_error::ApiError;
use crate::cursors::Pages;
use crate::org::PAGE;
use crate::schema::Schema;
use crate::soql::plan::Context;
use crate::soql::{ast, columns, explain, parse, plan, run};
use crate::tooling::{self, Api};

#[derive(Debug, Default, Deserialize)]
pub(super) struct Parameters {
    q: Option<String>,
    /// Undocumented: what is selected instead of the records.
    columns: Option<String>,
    explain: Option<String>,
}

/// The resource that is asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Resource {
    pub(super) api: Api,
    /// Deleted and archived rows too.
    pub(super) deleted_too: bool,
}

pub(super) async fn query(
    shared: State<Shared>,
    version: Path<String>,
    parameters: Query<Parameters>,
    headers: HeaderMap,
) -> Response {
    answer(shared, version, parameters, headers, Resource { api: Api::Data, deleted_too: false }).await
}

pub(super) async fn query_all(
    shared: State<Shared>,
    version: Path<String>,
    parameters: Query<Parameters>,
    headers: HeaderMap,
) -> Response {
    answer(shared, version, parameters, headers, Resource { api: Api::Data, deleted_too: true }).await
}

pub(super) async fn answer(
    State(shared): State<Shared>,
    Path(version): Path<String>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
    resource: Resource,
) -> Response {
    let page = page_size(&headers);
    shared
        .answer(version, headers, move |call| {
            let given = |text: Option<String>| text.filter(|t| !t.trim().is_empty());
            if let Some(soql) = given(parameters.explain) {
                return explained(call, &soql, resource);
            }
            let soql = given(parameters.q);
            let soql = soql.ok_or_else(|| ApiError::bad("MALFORMED_QUERY", "A query string has to be specified"))?;
            if parameters.columns.is_some_and(|c| c.eq_ignore_ascii_case("true")) {
                return described(call, &soql, resource);
            }
            first_page(call, &soql, resource, page)
        })
        .await
}

/// The query, and the schema that it is read by where that is not the org's own.
fn read(call: &mut Call<'_>, soql: &str, resource: Resource) -> Result<(ast::Query, Option<Schema>), ApiError> {
    let query = parse::parse(soql)?;
    let view = tooling::view_for(call.org, resource.api, soql, &query)?;
    Ok((query, view))
}

fn context<'a>(call: &'a Call<'_>, soql: &'a str, view: &'a Option<Schema>, resource: Resource) -> Context<'a> {
    Context {
        soql,
        schema: view.as_ref().unwrap_or(&call.org.schema),
        now: call.org.now(),
        user_id: &call.user_id,
        version: call.version.split('.').next().and_then(|v| v.parse().ok()).unwrap_or(0),
        deleted_too: resource.deleted_too,
    }
}

fn first_page(call: &mut Call<'_>, soql: &str, resource: Resource, page: usize) -> Result<Response, ApiError> {
    let (query, view) = read(call, soql, resource)?;
    let plan = plan::plan_in(&context(call, soql, &view, resource), &query)?;
    call.org.in_time(&plan)?;
    let page = call.org.keeping.page_of(page);
    match run::find(&call.org.db, &plan)? {
        run::Found::Count(n) => Ok(envelope(n as usize, None, b"")),
        run::Found::Aggregates(records) if records.len() > PAGE => Err(ApiError::bad(
            "EXCEEDED_ID_LIMIT",
            "Aggregate query does not support queryMore(), use LIMIT to restrict the results to a single batch",
        )),
        run::Found::Aggregates(records) => Ok(envelope(records.len(), None, &records.join(&b','))),
        run::Found::Rows(rows) => {
            let first = rows.len().min(page);
            let version = resource.api.base(&call.version);
            let records = run::records(&call.org.db, &plan, &rows[..first], &version)?;
            let total = rows.len();
            let locator = (total > page).then(|| call.org.open_cursor(plan, rows, &call.user_id));
            Ok(envelope(total, next(&version, locator.as_deref(), first), &records))
        }
    }
}

fn described(call: &mut Call<'_>, soql: &str, resource: Resource) -> Result<Response, ApiError> {
    let (query, view) = read(call, soql, resource)?;
    let context = context(call, soql, &view, resource);
    // Errors are those of the query itself.
    plan::plan_in(&context, &query)?;
    let body = columns::metadata(&context, &query)?;
    Ok(json_response(200, body.to_string().into_bytes()))
}

fn explained(call: &mut Call<'_>, soql: &str, resource: Resource) -> Result<Response, ApiError> {
    let (query, view) = read(call, soql, resource)?;
    let context = context(call, soql, &view, resource);
    let plan = plan::plan_in(&context, &query)?;
    let object = context.schema.object(&plan.object).ok_or_else(ApiError::not_found)?;
    let body = explain::explain(&call.org.db, soql, &query, &plan, object)?;
    Ok(json_response(200, body.to_string().into_bytes()))
}

/// `Sforce-Query-Options: batchSize=N`, from 200 to 2,000.
fn page_size(headers: &HeaderMap) -> usize {
    let asked = headers.get("sforce-query-options").and_then(|v| v.to_str().ok()).and_then(|v| {
        v.split([',', ';']).find_map(|option| {
            let (name, value) = option.split_once('=')?;
            name.trim().eq_ignore_ascii_case("batchSize").then(|| value.trim().parse::<usize>().ok())?
        })
    });
    asked.map_or(PAGE, |n| n.clamp(200, PAGE))
}

/// A later page: the locator is the cursor's id, a dash and the offset of its first record. Pages of
/// `queryAll` live under `query` too.
pub(super) async fn more(state: State<Shared>, path: Path<(String, String)>, headers: HeaderMap) -> Response {
    later_page(state, path, headers, Api::Data).await
}

pub(super) async fn later_page(
    State(shared): State<Shared>,
    Path((version, locator)): Path<(String, String)>,
    headers: HeaderMap,
    api: Api,
) -> Response {
    let page = page_size(&headers);
    shared
        .answer(version, headers, move |call| {
            let trick = call.org.page_tricks.meet(Pages::Query);
            let (id, offset) = locator.rsplit_once('-').ok_or_else(invalid_locator)?;
            let offset: usize = offset.parse().map_err(|_| invalid_locator())?;
            let cursor = call.org.cursor(id, &call.user_id).filter(|c| offset < c.rows.len());
            let cursor = cursor.ok_or_else(invalid_locator)?;
            let end = (offset + call.org.keeping.page_of(page)).min(cursor.rows.len());
            let total = cursor.rows.len();
            let (rows, end) = match trick {
                None => (offset..end, end),
                Some(trick) => trick.window(offset, end, total),
            };
            let version = api.base(&call.version);
            let records = run::records(&call.org.db, &cursor.plan, &cursor.rows[rows], &version)?;
            let id = (end < total).then_some(id);
            Ok(envelope(total, next(&version, id, end), &records))
        })
        .await
}

/// The wording is unverified.
fn invalid_locator() -> ApiError {
    ApiError::bad("INVALID_QUERY_LOCATOR", "invalid query locator")
}

/// Queries are read by GET; a body is not looked at.
pub(super) async fn get_only(method: axum::http::Method) -> Response {
    let text = format!("HTTP Method '{method}' not allowed. Allowed are GET,HEAD");
    let mut response = ApiError::new(405, "METHOD_NOT_ALLOWED", text).into_response();
    response.headers_mut().insert("allow", axum::http::HeaderValue::from_static("GET,HEAD"));
    response
}

fn next(version: &str, locator: Option<&str>, offset: usize) -> Option<String> {
    locator.map(|l| format!("/services/data/v{version}/query/{l}-{offset}"))
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
