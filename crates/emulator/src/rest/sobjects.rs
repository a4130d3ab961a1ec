//! Rows: create, read, update, delete, upsert.

use std::collections::HashMap;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::body::{LARGEST, Payload};
use super::conditional::{self, Validators, Verdict};
use super::{Call, changes, describe, dispatch, json_response, paths};
use crate::Shared;
use crate::api_error::ApiError;
use crate::id;
use crate::org::{Upserted, unknown_external_id};
use crate::records;
use crate::schema::{self, FieldKind};
use crate::soql::plan::{Output, Plan, Shape, render_of};
use crate::soql::{field_sql, parse_datetime, run};

pub(super) fn router() -> Router<Shared> {
    let sobjects = "/services/data/{version}/sobjects";
    Router::new()
        .route(sobjects, get(describe::global))
        .route(&format!("{sobjects}/{{object}}"), get(describe::basic).post(create))
        .route(&format!("{sobjects}/{{object}}/describe"), get(describe::whole))
        .route(&format!("{sobjects}/{{object}}/updated"), get(changes::updated))
        .route(&format!("{sobjects}/{{object}}/deleted"), get(changes::deleted))
        .route(&format!("{sobjects}/{{object}}/{{id}}"), get(read).patch(update).delete(delete).post(create_below_id))
        .route(
            &format!("{sobjects}/{{object}}/{{first}}/{{*rest}}"),
            get(paths::read).patch(paths::change).delete(paths::delete),
        )
        .layer(DefaultBodyLimit::max(LARGEST))
}

/// The id in a path. Recorded: what is no id at all is taken for a field.
pub(super) fn record_id(text: &str) -> Result<String, ApiError> {
    id::normalise(text).ok_or_else(|| unknown_external_id(text))
}

async fn create(
    State(shared): State<Shared>,
    Path((version, object)): Path<(String, String)>,
    headers: HeaderMap,
    payload: Payload,
) -> Response {
    shared.answer(version, headers, move |call| insert(call, &object, payload)).await
}

fn insert(call: &mut Call<'_>, object: &str, payload: Payload) -> Result<Response, ApiError> {
    call.org.require_writable(object, "inserted")?;
    let id = call.org.create(object, &payload.record()?, &call.user_id, false)?;
    let mut response = json_response(201, json!({"id": id, "success": true, "errors": []}).to_string().into_bytes());
    locate(call, object, &id, &mut response);
    Ok(response)
}

fn locate(call: &Call<'_>, object: &str, id: &str, response: &mut Response) {
    if let Ok(location) = url(call, object, id).parse() {
        response.headers_mut().insert("location", location);
    }
}

pub(super) fn url(call: &Call<'_>, object: &str, id: &str) -> String {
    let name = call.org.schema.object(object).map_or(object, |o| o.name.as_str());
    format!("/services/data/v{}/sobjects/{name}/{id}", call.version)
}

/// `POST /sobjects/T/Id`: an insert on the path of upserts.
async fn create_below_id(
    State(shared): State<Shared>,
    Path((version, object, id)): Path<(String, String, String)>,
    headers: HeaderMap,
    payload: Payload,
) -> Response {
    shared
        .answer(version, headers, move |call| {
            if id.eq_ignore_ascii_case("id") {
                return insert(call, &object, payload);
            }
            Ok(dispatch::refuse_method(&Method::POST, &["DELETE", "GET", "HEAD", "PATCH"]))
        })
        .await
}

async fn read(
    State(shared): State<Shared>,
    Path((version, object, id)): Path<(String, String, String)>,
    Query(parameters): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let asked = headers.clone();
    shared.answer(version, headers, move |call| show(call, &object, &record_id(&id)?, &parameters, &asked)).await
}

/// Answers a record, or that the client has it already.
pub(super) fn show(
    call: &Call<'_>,
    object: &str,
    id: &str,
    parameters: &HashMap<String, String>,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let wanted: Option<Vec<&str>> = parameters.get("fields").map(|f| f.split(',').map(str::trim).collect());
    let body = record(call, object, id, wanted.as_deref())?.ok_or_else(ApiError::not_found)?;
    match validators(call, object, id)? {
        Some(validators) => conditional::answer(headers, &validators, body),
        None => Ok(json_response(200, body.into_bytes())),
    }
}

/// A record as JSON, with all fields or those that are named; `None`: there is none.
pub(super) fn record(
    call: &Call<'_>,
    object: &str,
    id: &str,
    wanted: Option<&[&str]>,
) -> Result<Option<String>, ApiError> {
    let object = call.org.object(object)?;
    let fields: Vec<&schema::Field> = match wanted {
        None => object.fields.iter().collect(),
        Some(names) => names
            .iter()
            .map(|n| {
                object.field(n).ok_or_else(|| {
                    ApiError::bad("INVALID_FIELD", format!("No such column '{n}' on sobject of type {}", object.name))
                })
            })
            .collect::<Result<_, _>>()?,
    };
    let Some(row) = records::row_of(&call.org.db, object, id)? else { return Ok(None) };
    let columns: Vec<String> =
        std::iter::once("t0.\"Id\"".to_owned()).chain(fields.iter().map(|f| field_sql("t0", object, f))).collect();
    let outputs = fields.iter().enumerate().map(|(i, f)| Output::Field {
        key: f.name.clone(),
        column: i + 1,
        render: render_of(&f.kind),
    });
    let plan = Plan {
        object: object.name.clone(),
        shape: Shape::Rows,
        columns,
        outputs: outputs.collect(),
        joins: String::new(),
        filter: String::new(),
        grouping: String::new(),
        order: String::new(),
        values: Vec::new(),
        limit: None,
        offset: 0,
    };
    let mut body = String::from_utf8_lossy(&run::records(&call.org.db, &plan, &[row], &call.version)?).into_owned();
    let files: Vec<&str> = fields.iter().filter(|f| f.kind == FieldKind::Base64).map(|f| f.name.as_str()).collect();
    if !files.is_empty()
        && let Ok(mut record) = serde_json::from_str::<Value>(&body)
    {
        // A file is told by where its bytes are.
        for name in files.into_iter().filter(|name| !record[*name].is_null()).collect::<Vec<_>>() {
            record[name] = json!(format!("{}/{name}", url(call, &object.name, id)));
        }
        body = record.to_string();
    }
    Ok(Some(body))
}

/// When a record was last changed; accounts have an entity tag too, as recorded.
pub(super) fn validators(call: &Call<'_>, object: &str, id: &str) -> Result<Option<Validators>, ApiError> {
    let object = call.org.object(object)?;
    if object.field("LastModifiedDate").is_none() {
        return Ok(None);
    }
    let sql = format!("SELECT \"LastModifiedDate\" FROM \"{}\" WHERE \"Id\" = ?", object.name);
    let at: Option<String> = call.org.db.prepare_cached(&sql)?.query_row([id], |row| row.get(0))?;
    let modified: Option<Timestamp> = at.as_deref().and_then(parse_datetime);
    let Some(modified) = modified else { return Ok(None) };
    let mut etag = None;
    if object.name == "Account"
        && let Some(body) = record(call, &object.name, id, None)?
    {
        use base64::Engine;
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body.as_bytes());
        etag = Some(format!("\"{}\"", base64::engine::general_purpose::STANDARD.encode(digest)));
    }
    Ok(Some(Validators { etag, modified }))
}

/// Refuses a write whose preconditions do not hold.
fn require(call: &Call<'_>, object: &str, id: &str, headers: &HeaderMap) -> Result<(), ApiError> {
    let described = call.org.object(object)?;
    if records::row_of(&call.org.db, described, id)?.is_none() {
        return Ok(());
    }
    match validators(call, object, id)? {
        Some(known) if known.verdict(headers, true)? != Verdict::Proceed => Err(conditional::failed()),
        _ => Ok(()),
    }
}

pub(super) fn change(
    call: &mut Call<'_>,
    object: &str,
    id: &str,
    body: &Map<String, Value>,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    call.org.require_writable(object, "updated")?;
    require(call, object, id, headers)?;
    call.org.update(object, id, body, &call.user_id)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn update(
    State(shared): State<Shared>,
    Path((version, object, id)): Path<(String, String, String)>,
    headers: HeaderMap,
    payload: Payload,
) -> Response {
    let asked = headers.clone();
    shared
        .answer(version, headers, move |call| change(call, &object, &record_id(&id)?, &payload.record()?, &asked))
        .await
}

/// `PATCH /sobjects/T/Ext__c/VALUE`.
pub(super) fn upsert(
    call: &mut Call<'_>,
    object: &str,
    field: &str,
    value: &str,
    body: Map<String, Value>,
    update_only: bool,
) -> Result<Response, ApiError> {
    call.org.require_writable(object, "upserted")?;
    let field = call.org.external_field(object, field)?;
    let named = |name: &str| body.keys().any(|key| key.eq_ignore_ascii_case(name));
    if let Some(name) = [field.name.as_str(), "Id"].into_iter().find(|name| named(name)) {
        let message = format!("The {name} field should not be specified in the sobject data.");
        return Err(ApiError::bad("INVALID_FIELD", message));
    }
    let done = call.org.upsert(object, &field, &json!(value), body, update_only, &call.user_id)?;
    // Before v46.0 an update has no body.
    let old = call.version.parse::<f64>().is_ok_and(|v| v < 46.0);
    let told = |id: &str, created: bool| json!({"id": id, "success": true, "errors": [], "created": created});
    match done {
        Upserted::Created(id) => {
            let mut response = json_response(201, told(&id, true).to_string().into_bytes());
            locate(call, object, &id, &mut response);
            Ok(response)
        }
        Upserted::Updated(_) if old => Ok(StatusCode::NO_CONTENT.into_response()),
        Upserted::Updated(id) => Ok(json_response(200, told(&id, false).to_string().into_bytes())),
        Upserted::Several(ids) => Ok(choices(call, object, &ids)),
    }
}

/// Several records have the value: where each of them is.
pub(super) fn choices(call: &Call<'_>, object: &str, ids: &[String]) -> Response {
    let urls: Vec<String> = ids.iter().map(|id| url(call, object, id)).collect();
    json_response(300, json!(urls).to_string().into_bytes())
}

async fn delete(
    State(shared): State<Shared>,
    Path((version, object, id)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Response {
    shared.answer(version, headers, move |call| remove(call, &object, &record_id(&id)?)).await
}

pub(super) fn remove(call: &mut Call<'_>, object: &str, id: &str) -> Result<Response, ApiError> {
    call.org.require_writable(object, "deleted")?;
    call.org.set_deleted(object, id, true, &call.user_id)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
