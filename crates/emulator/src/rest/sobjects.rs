//! Single records: create, read, update, delete.

use std::collections::HashMap;

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::{Call, json_response};
use crate::Shared;
use crate::api_error::ApiError;
use crate::id;
use crate::records;
use crate::schema;
use crate::soql::plan::{Output, Plan, Shape, render_of};
use crate::soql::{field_sql, run};

/// `GET /sobjects/T`: a short describe and no recent items.
pub(super) async fn basic(
    State(shared): State<Shared>,
    Path((version, object)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    shared
        .answer(version, headers, move |call| {
            let mut describe = schema::describe_object(&call.org.schema, call.org.object(&object)?, &call.version);
            if let Some(map) = describe.as_object_mut() {
                map.retain(|key, _| !matches!(key.as_str(), "fields" | "childRelationships" | "recordTypeInfos"));
            }
            let body = json!({"objectDescribe": describe, "recentItems": []});
            Ok(json_response(200, body.to_string().into_bytes()))
        })
        .await
}

fn body_of(body: &Bytes) -> Result<Map<String, Value>, ApiError> {
    if body.is_empty() {
        return Err(ApiError::bad(
            "JSON_PARSER_ERROR",
            "The HTTP entity body is required, but this request has no entity body.",
        ));
    }
    serde_json::from_slice(body).map_err(|e| {
        ApiError::bad(
            "JSON_PARSER_ERROR",
            format!("Unexpected character: {e} at [line:{}, column:{}]", e.line(), e.column()),
        )
    })
}

fn record_id(text: &str) -> Result<String, ApiError> {
    id::normalise(text).ok_or_else(ApiError::not_found)
}

pub(super) async fn create(
    State(shared): State<Shared>,
    Path((version, object)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    shared
        .answer(version, headers, move |call| {
            if call.org.object(&object)?.read_only {
                return Err(ApiError::bad("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "entity type cannot be inserted")
                    .on_fields(&[]));
            }
            let id = call.org.create(&object, &body_of(&body)?, &call.user_id, false)?;
            let body = json!({"id": id, "success": true, "errors": []});
            let mut response = json_response(201, body.to_string().into_bytes());
            if let Ok(location) = format!("/services/data/v{}/sobjects/{object}/{id}", call.version).parse() {
                response.headers_mut().insert("location", location);
            }
            Ok(response)
        })
        .await
}

pub(super) async fn read(
    State(shared): State<Shared>,
    Path((version, object, id)): Path<(String, String, String)>,
    Query(parameters): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    shared
        .answer(version, headers, move |call| {
            let object = call.org.object(&object)?;
            let row = records::row_of(&call.org.db, object, &record_id(&id)?)?.ok_or_else(ApiError::not_found)?;
            let wanted: Option<Vec<&str>> = parameters.get("fields").map(|f| f.split(',').map(str::trim).collect());
            let fields: Vec<&schema::Field> = match &wanted {
                None => object.fields.iter().collect(),
                Some(names) => names
                    .iter()
                    .map(|n| {
                        object.field(n).ok_or_else(|| {
                            ApiError::bad(
                                "INVALID_FIELD",
                                format!("No such column '{n}' on sobject of type {}", object.name),
                            )
                        })
                    })
                    .collect::<Result<_, _>>()?,
            };
            let columns: Vec<String> = std::iter::once("t0.\"Id\"".to_owned())
                .chain(fields.iter().map(|f| field_sql("t0", object, f)))
                .collect();
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
            Ok(json_response(200, run::records(&call.org.db, &plan, &[row], &call.version)?))
        })
        .await
}

fn change(call: &mut Call<'_>, object: &str, id: &str, body: &Bytes) -> Result<Response, ApiError> {
    let (id, user_id) = (record_id(id)?, call.user_id.clone());
    call.org.update(object, &id, &body_of(body)?, &user_id)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn update(
    State(shared): State<Shared>,
    Path((version, object, id)): Path<(String, String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    shared.answer(version, headers, move |call| change(call, &object, &id, &body)).await
}

/// `POST …?_HttpMethod=PATCH`, for clients that cannot send PATCH.
pub(super) async fn post_as_patch(
    State(shared): State<Shared>,
    Path((version, object, id)): Path<(String, String, String)>,
    Query(parameters): Query<HashMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    shared
        .answer(version, headers, move |call| match parameters.get("_HttpMethod").map(String::as_str) {
            Some("PATCH") => change(call, &object, &id, &body),
            _ => Err(ApiError::new(
                405,
                "METHOD_NOT_ALLOWED",
                "HTTP Method 'POST' not allowed. Allowed are DELETE,GET,HEAD,PATCH",
            )),
        })
        .await
}

pub(super) async fn delete(
    State(shared): State<Shared>,
    Path((version, object, id)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Response {
    shared
        .answer(version, headers, move |call| {
            let user_id = call.user_id.clone();
            call.org.set_deleted(&object, &record_id(&id)?, true, &user_id)?;
            Ok(StatusCode::NO_CONTENT.into_response())
        })
        .await
}
