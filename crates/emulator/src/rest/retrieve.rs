//! Many records of one type by their ids.

use std::collections::HashMap;

use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;

use super::body::Payload;
use super::collections::{list, missing, too_many};
use super::{Call, json_response, sobjects};
use crate::Shared;
use crate::api_error::ApiError;
use crate::id;

/// Records in one call. By `GET` the length of the URL allows about 800.
const MOST: usize = 2_000;

#[derive(Deserialize)]
struct Wanted {
    ids: Vec<String>,
    fields: Vec<String>,
}

pub(super) async fn by_parameters(
    State(shared): State<Shared>,
    Path((version, object)): Path<(String, String)>,
    Query(parameters): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let wanted = Wanted { ids: list(&parameters, "ids"), fields: list(&parameters, "fields") };
    shared.answer(version, headers, move |call| records(call, &object, &wanted)).await
}

pub(super) async fn by_body(
    State(shared): State<Shared>,
    Path((version, object)): Path<(String, String)>,
    headers: HeaderMap,
    payload: Payload,
) -> Response {
    shared.answer(version, headers, move |call| records(call, &object, &payload.typed("sobjectretrieve")?)).await
}

/// In the order asked for, with `null` for what is not there.
fn records(call: &Call<'_>, object: &str, wanted: &Wanted) -> Result<Response, ApiError> {
    if wanted.ids.is_empty() || wanted.fields.is_empty() {
        return Err(missing(if wanted.ids.is_empty() { "ids" } else { "fields" }));
    }
    if wanted.ids.len() > MOST {
        return Err(too_many(wanted.ids.len(), MOST));
    }
    let fields: Vec<&str> = wanted.fields.iter().map(String::as_str).collect();
    let mut found = Vec::with_capacity(wanted.ids.len());
    for id in &wanted.ids {
        let record = match id::normalise(id) {
            Some(id) => sobjects::record(call, object, &id, Some(&fields))?,
            None => None,
        };
        found.push(record.unwrap_or_else(|| "null".to_owned()));
    }
    Ok(json_response(200, format!("[{}]", found.join(",")).into_bytes()))
}
