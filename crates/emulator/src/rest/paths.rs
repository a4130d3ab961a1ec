//! Longer paths below `sobjects/T`: by external id, along a relationship, or to the bytes of a file.

use std::collections::HashMap;

use axum::extract::{OriginalUri, Path, Query, State};
use axum::http::{HeaderMap, Method};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use rusqlite::OptionalExtension;

use super::body::Payload;
use super::dispatch::{Inner, Inside};
use super::{Call, sobjects};
use crate::Shared;
use crate::api_error::ApiError;
use crate::records;
use crate::schema::FieldKind;

type Parts = Path<(String, String, String, String)>;

/// Where a path leads.
enum Place {
    /// A record, by its object and id.
    Record(String, String),
    /// Several records with the same external id.
    Several(Vec<String>),
    /// No record has the external id.
    Nothing,
    /// Bytes of a file.
    File(Vec<u8>),
    /// Children of a record, as the query that finds them.
    Children(String),
}

/// What follows the field, as the client wrote it: slashes belong to the value, and `+` is a space.
fn value(uri: &OriginalUri, rest: &str) -> String {
    let raw = uri.path().splitn(8, '/').nth(7).unwrap_or(rest);
    percent_decode_str(&raw.replace('+', " ")).decode_utf8_lossy().into_owned()
}

/// `first` is a field, unless it is none and looks like an id.
fn is_field(call: &Call<'_>, object: &str, first: &str) -> Result<bool, ApiError> {
    Ok(call.org.object(object)?.field(first).is_some() || crate::id::normalise(first).is_none())
}

fn find(
    call: &Call<'_>,
    object: &str,
    first: &str,
    rest: &str,
    value: &str,
    fields: Option<&str>,
) -> Result<Place, ApiError> {
    if is_field(call, object, first)? {
        let field = call.org.external_field(object, first)?;
        let mut ids = call.org.matching(object, &field, &serde_json::json!(value))?;
        return Ok(match (ids.pop(), ids.is_empty()) {
            (None, _) => Place::Nothing,
            (Some(id), true) => Place::Record(object.to_owned(), id),
            (Some(id), false) => {
                ids.push(id);
                Place::Several(ids)
            }
        });
    }
    let mut place = (object.to_owned(), sobjects::record_id(first)?);
    let mut steps = rest.split('/').peekable();
    while let Some(step) = steps.next() {
        let described = call.org.object(&place.0)?;
        let row = records::row_of(&call.org.db, described, &place.1)?.ok_or_else(ApiError::not_found)?;
        if let Some((field, target)) = described.relationship(step) {
            let sql = format!("SELECT \"{}\" FROM \"{}\" WHERE rowid = ?", field.name, described.name);
            let parent: Option<String> = call.org.db.query_row(&sql, [row], |row| row.get(0))?;
            let parent = parent.ok_or_else(ApiError::not_found)?;
            let target = call.org.schema.by_prefix(&parent).map_or(target, |o| o.name.as_str());
            place = (target.to_owned(), parent);
            continue;
        }
        if steps.peek().is_some() {
            return Err(ApiError::not_found());
        }
        if let Some(file) = described.field(step).filter(|f| f.kind == FieldKind::Base64) {
            let sql = format!("SELECT \"{}\" FROM \"{}\" WHERE rowid = ?", file.name, described.name);
            let bytes: Option<String> = call.org.db.query_row(&sql, [row], |row| row.get(0)).optional()?.flatten();
            return Ok(Place::File(STANDARD.decode(bytes.unwrap_or_default()).unwrap_or_default()));
        }
        let mut children = call.org.schema.children(described);
        let child = children.find(|(_, _, name)| name.is_some_and(|name| name.eq_ignore_ascii_case(step)));
        let (child, field, _) = child.ok_or_else(ApiError::not_found)?;
        let all = || {
            let told = child.fields.iter().filter(|f| f.kind != FieldKind::Base64);
            told.map(|f| f.name.as_str()).collect::<Vec<_>>().join(",")
        };
        let fields = fields.map_or_else(all, str::to_owned);
        return Ok(Place::Children(format!(
            "SELECT {fields} FROM {} WHERE {} = '{}'",
            child.name, field.name, place.1
        )));
    }
    Ok(Place::Record(place.0, place.1))
}

pub(super) async fn read(
    State(shared): State<Shared>,
    Path((version, object, first, rest)): Parts,
    uri: OriginalUri,
    Query(parameters): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let (asked, value) = (headers.clone(), value(&uri, &rest));
    let (query, found) = tokio::sync::oneshot::channel();
    let response = shared
        .clone()
        .answer(version.clone(), headers.clone(), move |call| {
            let fields = parameters.get("fields").map(String::as_str);
            match find(call, &object, &first, &rest, &value, fields)? {
                Place::Nothing => Err(ApiError::not_found()),
                Place::Record(object, id) => sobjects::show(call, &object, &id, &parameters, &asked),
                Place::Several(ids) => Ok(sobjects::choices(call, &object, &ids)),
                Place::File(bytes) => Ok(([("content-type", "application/octet-stream")], bytes).into_response()),
                Place::Children(soql) => {
                    // Nobody but this function receives it.
                    let _ = query.send(soql);
                    Ok(().into_response())
                }
            }
        })
        .await;
    // A query answers for the children, with its pages.
    match found.await {
        Ok(soql) => children(shared, &version, &soql, headers, response).await,
        Err(_) => response,
    }
}

async fn children(
    shared: Shared,
    version: &str,
    soql: &str,
    mut headers: HeaderMap,
    mut response: Response,
) -> Response {
    headers.remove("content-length");
    let soql: String = url::form_urlencoded::byte_serialize(soql.as_bytes()).collect();
    let url = format!("/services/data/{version}/query?q={soql}");
    let turn = shared.turn.clone();
    let inside = Inside::of(&shared);
    let ask = async move { inside.send(Inner { method: Method::GET, url, headers, body: None }).await };
    let answer = if crate::turn::kept() { ask.await } else { turn.keep(ask).await };
    *response.status_mut() = axum::http::StatusCode::from_u16(answer.status).unwrap_or_default();
    response
        .headers_mut()
        .insert("content-type", axum::http::HeaderValue::from_static("application/json;charset=UTF-8"));
    response.headers_mut().remove("content-length");
    *response.body_mut() = answer.body.into();
    response
}

pub(super) async fn change(
    State(shared): State<Shared>,
    Path((version, object, first, rest)): Parts,
    uri: OriginalUri,
    Query(parameters): Query<HashMap<String, String>>,
    headers: HeaderMap,
    payload: Payload,
) -> Response {
    let (asked, value) = (headers.clone(), value(&uri, &rest));
    shared
        .answer(version, headers, move |call| {
            let body = payload.record()?;
            if is_field(call, &object, &first)? {
                let update_only = parameters.get("updateOnly").is_some_and(|v| v.eq_ignore_ascii_case("true"));
                return sobjects::upsert(call, &object, &first, &value, body, update_only);
            }
            match find(call, &object, &first, &rest, &value, None)? {
                Place::Record(object, id) => sobjects::change(call, &object, &id, &body, &asked),
                _ => Err(ApiError::not_found()),
            }
        })
        .await
}

pub(super) async fn delete(
    State(shared): State<Shared>,
    Path((version, object, first, rest)): Parts,
    uri: OriginalUri,
    headers: HeaderMap,
) -> Response {
    let value = value(&uri, &rest);
    shared
        .answer(version, headers, move |call| match find(call, &object, &first, &rest, &value, None)? {
            Place::Record(object, id) => sobjects::remove(call, &object, &id),
            Place::Several(ids) => Ok(sobjects::choices(call, &object, &ids)),
            _ => Err(ApiError::not_found()),
        })
        .await
}
