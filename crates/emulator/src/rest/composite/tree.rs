//! `composite/tree/T`: records with their children, all or none.

use std::collections::HashSet;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::super::body::Payload;
use super::super::{Call, json_response};
use crate::Shared;
use crate::api_error::ApiError;

const MOST_RECORDS: usize = 200;
const MOST_TYPES: usize = 5;
const MOST_LEVELS: usize = 5;

/// A record on its way into the org.
struct Node {
    object: String,
    reference_id: String,
    fields: Map<String, Value>,
    /// The place of the parent, and the field that points there.
    parent: Option<(usize, String)>,
}

pub(super) async fn tree(
    State(shared): State<Shared>,
    Path((version, object)): Path<(String, String)>,
    headers: HeaderMap,
    payload: Payload,
) -> Response {
    shared.answer(version, headers, move |call| plant(call, &object, payload)).await
}

fn plant(call: &mut Call<'_>, object: &str, payload: Payload) -> Result<Response, ApiError> {
    let object = call.org.object(object)?.name.clone();
    let body: Map<String, Value> = payload.typed("sobject tree")?;
    let nodes = match nodes(call, &object, &body) {
        Ok(nodes) => nodes,
        Err((reference_id, error)) => return Ok(refused(&[(reference_id, error)])),
    };
    call.org.begin()?;
    let mut ids: Vec<Option<String>> = Vec::with_capacity(nodes.len());
    let mut errors = Vec::new();
    for node in &nodes {
        let mut fields = node.fields.clone();
        let parent = node.parent.as_ref().map(|(parent, field)| (&ids[*parent], field));
        if let Some((Some(id), field)) = parent {
            fields.insert(field.clone(), json!(id));
        }
        if let Some((None, _)) = parent {
            // The parent's error is told; nothing can be said about the child.
            ids.push(None);
            continue;
        }
        let made = call
            .org
            .require_writable(&node.object, "inserted")
            .and_then(|()| call.org.create(&node.object, &fields, &call.user_id, false));
        ids.push(made.map_err(|error| errors.push((node.reference_id.clone(), error))).ok());
    }
    if !errors.is_empty() {
        call.org.roll_back()?;
        return Ok(refused(&errors));
    }
    call.org.commit()?;
    let told = |(node, id): (&Node, &Option<String>)| json!({"referenceId": node.reference_id, "id": id});
    let results: Vec<Value> = nodes.iter().zip(&ids).map(told).collect();
    Ok(json_response(201, json!({"hasErrors": false, "results": results}).to_string().into_bytes()))
}

fn refused(errors: &[(String, ApiError)]) -> Response {
    let told = |(id, error): &(String, ApiError)| json!({"referenceId": id, "errors": [error.of_record()]});
    let results: Vec<Value> = errors.iter().map(told).collect();
    json_response(400, json!({"hasErrors": true, "results": results}).to_string().into_bytes())
}

type Refusal = (String, ApiError);

/// Code seen in the documents, wording as remembered.
fn invalid(reference_id: &str, message: impl Into<String>) -> Refusal {
    (reference_id.to_owned(), ApiError::bad("INVALID_INPUT", message).on_fields(&[]))
}

/// The records of the tree, level by level, as the answer lists them.
fn nodes(call: &Call<'_>, object: &str, body: &Map<String, Value>) -> Result<Vec<Node>, Refusal> {
    let top = body.get("records").and_then(Value::as_array);
    let top = top.ok_or_else(|| invalid("", "The records of the tree are missing"))?;
    let mut nodes: Vec<Node> = Vec::new();
    let mut types = HashSet::new();
    let mut seen = HashSet::new();
    // Record, type that it must have, parent with the field that points there.
    type Waiting<'a> = (&'a Value, String, Option<(usize, String)>);
    let mut level: Vec<Waiting<'_>> = top.iter().map(|record| (record, object.to_owned(), None)).collect();
    let mut depth = 0;
    while !level.is_empty() {
        depth += 1;
        let mut next: Vec<Waiting<'_>> = Vec::new();
        for (record, expected, parent) in level {
            let attributes = &record["attributes"];
            let reference_id = attributes["referenceId"].as_str().unwrap_or("");
            if reference_id.is_empty() {
                return Err(invalid("", "Include a reference ID for each record in the request."));
            }
            if !seen.insert(reference_id.to_owned()) {
                return Err(invalid(reference_id, "Duplicate ReferenceId provided in the request."));
            }
            if depth > MOST_LEVELS {
                return Err(invalid(reference_id, format!("The tree can be at most {MOST_LEVELS} levels deep.")));
            }
            let named = attributes["type"].as_str().unwrap_or("");
            if !named.eq_ignore_ascii_case(&expected) {
                return Err(invalid(
                    reference_id,
                    format!("The type of the record must be {expected}, not '{named}'."),
                ));
            }
            let Some(described) = call.org.schema.object(&expected) else {
                return Err(invalid(reference_id, format!("sObject type '{expected}' is not supported.")));
            };
            types.insert(expected.clone());
            let place = nodes.len();
            let mut fields = Map::new();
            for (key, value) in record.as_object().into_iter().flatten().filter(|(key, _)| *key != "attributes") {
                let Some(children) = value.get("records").and_then(Value::as_array) else {
                    fields.insert(key.clone(), value.clone());
                    continue;
                };
                let found = call
                    .org
                    .schema
                    .children(described)
                    .find(|(_, _, name)| name.is_some_and(|name| name.eq_ignore_ascii_case(key)));
                let Some((child, field, _)) = found else {
                    return Err(invalid(reference_id, format!("No such relationship '{key}' on {expected}.")));
                };
                next.extend(children.iter().map(|c| (c, child.name.clone(), Some((place, field.name.clone())))));
            }
            nodes.push(Node { object: expected, reference_id: reference_id.to_owned(), fields, parent });
        }
        level = next;
    }
    if nodes.len() > MOST_RECORDS {
        return Err(invalid("", format!("The request can have at most {MOST_RECORDS} records.")));
    }
    if types.len() > MOST_TYPES {
        return Err(invalid("", format!("The request can have at most {MOST_TYPES} different types.")));
    }
    Ok(nodes)
}
