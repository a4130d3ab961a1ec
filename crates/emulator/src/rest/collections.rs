//! sObject collections: up to 200 records in one call, each with its own result.

use std::collections::{HashMap, HashSet};

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{get, patch};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::body::{LARGEST, Payload};
use super::{Call, json_response, retrieve};
use crate::Shared;
use crate::api_error::ApiError;
use crate::id;
use crate::org::{Org, Upserted, several};

/// Records in one call.
const MOST: usize = 200;
/// Runs of records of the same type in one call.
const MOST_CHUNKS: usize = 10;
/// How often one record may be in an update.
const MOST_UPDATES: usize = 12;

pub(super) fn router() -> Router<Shared> {
    let collections = "/services/data/{version}/composite/sobjects";
    Router::new()
        .route(collections, patch(update).post(create).delete(delete))
        .route(&format!("{collections}/{{object}}"), get(retrieve::by_parameters).post(retrieve::by_body))
        .route(&format!("{collections}/{{object}}/{{field}}"), patch(upsert))
        .layer(DefaultBodyLimit::max(LARGEST))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Collection {
    #[serde(default)]
    all_or_none: bool,
    records: Vec<Map<String, Value>>,
}

/// What came of one record.
type Outcome = Result<Done, ApiError>;

struct Done {
    id: String,
    created: Option<bool>,
}

pub(super) fn too_many(count: usize, most: usize) -> ApiError {
    // Unverified code and wording.
    ApiError::bad("INVALID_BATCH_SIZE", format!("record batch size of {count} exceeds maximum of {most}"))
}

fn read(payload: Payload) -> Result<Collection, ApiError> {
    let collection: Collection = payload.typed("sobjectcollection")?;
    if collection.records.len() > MOST {
        return Err(too_many(collection.records.len(), MOST));
    }
    Ok(collection)
}

/// The type of a record and its fields.
fn split(mut record: Map<String, Value>) -> (Option<String>, Map<String, Value>) {
    let attributes = record.remove("attributes");
    let named = attributes.as_ref().and_then(|a| a.get("type")).and_then(Value::as_str);
    (named.map(str::to_owned), record)
}

fn object_of(org: &Org, named: Option<&str>) -> Result<String, ApiError> {
    // Both unverified.
    let named = named.filter(|n| !n.is_empty()).ok_or_else(|| {
        ApiError::bad("INVALID_TYPE", "Must specify the type of the record in its attributes").on_fields(&[])
    })?;
    let object = org.schema.object(named).ok_or_else(|| {
        ApiError::bad("INVALID_TYPE", format!("sObject type '{named}' is not supported.")).on_fields(&[])
    })?;
    Ok(object.name.clone())
}

/// Records of one type that follow each other are handled together; there may not be many such runs. The text is that
/// of the SOAP API.
fn few_chunks<'a>(types: impl Iterator<Item = Option<&'a str>>) -> Result<(), ApiError> {
    let (mut chunks, mut last) = (0, None);
    for named in types {
        if last != Some(named) {
            chunks += 1;
            last = Some(named);
        }
    }
    if chunks <= MOST_CHUNKS {
        return Ok(());
    }
    Err(ApiError::bad(
        "LIMIT_EXCEEDED",
        "Cannot have more than 10 chunks in a single operation. Please rearrange the data to reduce chunking.",
    ))
}

fn take_id(record: &mut Map<String, Value>) -> Option<Value> {
    let key = record.keys().find(|key| key.eq_ignore_ascii_case("id")).cloned()?;
    record.remove(&key)
}

fn existing(text: &str) -> Result<String, ApiError> {
    id::normalise(text).ok_or_else(|| ApiError::bad("MALFORMED_ID", format!("malformed id {text}")).on_fields(&[]))
}

/// What a path calls not found, a record calls a reference that leads nowhere.
fn of_record(error: ApiError) -> ApiError {
    match error.code {
        "NOT_FOUND" => ApiError::bad("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id").on_fields(&[]),
        _ => error,
    }
}

/// Does one thing to each record, in one transaction: what fails was not written.
fn each<T>(
    call: &mut Call<'_>,
    all_or_none: bool,
    items: Vec<T>,
    mut one: impl FnMut(&mut Call<'_>, T) -> Outcome,
) -> Result<Response, ApiError> {
    call.org.begin()?;
    let mut outcomes: Vec<Outcome> = items.into_iter().map(|item| one(call, item).map_err(of_record)).collect();
    if all_or_none && outcomes.iter().any(Result::is_err) {
        call.org.roll_back()?;
        for outcome in outcomes.iter_mut().filter(|outcome| outcome.is_ok()) {
            let message =
                "Record rolled back because not all records were valid and the request was using AllOrNone header";
            *outcome = Err(ApiError::bad("ALL_OR_NONE_OPERATION_ROLLED_BACK", message).on_fields(&[]));
        }
    } else {
        call.org.commit()?;
    }
    let results: Vec<Value> = outcomes.iter().map(told).collect();
    Ok(json_response(200, Value::Array(results).to_string().into_bytes()))
}

fn told(outcome: &Outcome) -> Value {
    match outcome {
        Ok(Done { id, created: None }) => json!({"id": id, "success": true, "errors": []}),
        Ok(Done { id, created }) => json!({"id": id, "success": true, "errors": [], "created": created}),
        Err(error) => json!({"success": false, "errors": [error.of_record()]}),
    }
}

async fn create(
    State(shared): State<Shared>,
    Path(version): Path<String>,
    headers: HeaderMap,
    payload: Payload,
) -> Response {
    shared
        .answer(version, headers, move |call| {
            let Collection { all_or_none, records } = read(payload)?;
            let records: Vec<_> = records.into_iter().map(split).collect();
            few_chunks(records.iter().map(|(named, _)| named.as_deref()))?;
            each(call, all_or_none, records, |call, (named, record)| {
                let object = object_of(call.org, named.as_deref())?;
                call.org.require_writable(&object, "inserted")?;
                let id = call.org.create(&object, &record, &call.user_id, false)?;
                Ok(Done { id, created: None })
            })
        })
        .await
}

async fn update(
    State(shared): State<Shared>,
    Path(version): Path<String>,
    headers: HeaderMap,
    payload: Payload,
) -> Response {
    shared
        .answer(version, headers, move |call| {
            let Collection { all_or_none, records } = read(payload)?;
            let records: Vec<_> = records.into_iter().map(split).collect();
            few_chunks(records.iter().map(|(named, _)| named.as_deref()))?;
            let mut seen: HashMap<String, usize> = HashMap::new();
            each(call, all_or_none, records, |call, (named, mut record)| {
                let missing = || ApiError::bad("MISSING_ARGUMENT", "Id not specified in an update call").on_fields(&[]);
                let id = take_id(&mut record).ok_or_else(missing)?;
                let id = existing(id.as_str().ok_or_else(missing)?)?;
                let object = object_of(call.org, named.as_deref())?;
                call.org.require_writable(&object, "updated")?;
                let times = seen.entry(id.clone()).or_default();
                *times += 1;
                if *times > MOST_UPDATES {
                    let message = format!(
                        "Maximum number of duplicate updates in one batch ({MOST_UPDATES} allowed). Attempt to update Id more than once in this Api call: {id}"
                    );
                    return Err(ApiError::bad("DUPLICATE_VALUE", message).on_fields(&[]));
                }
                call.org.update(&object, &id, &record, &call.user_id)?;
                Ok(Done { id, created: None })
            })
        })
        .await
}

async fn upsert(
    State(shared): State<Shared>,
    Path((version, object, field)): Path<(String, String, String)>,
    headers: HeaderMap,
    payload: Payload,
) -> Response {
    shared
        .answer(version, headers, move |call| {
            let Collection { all_or_none, records } = read(payload)?;
            let object = call.org.object(&object)?.name.clone();
            let field = call.org.external_field(&object, &field)?;
            call.org.require_writable(&object, "upserted")?;
            let value_of = |record: &Map<String, Value>| -> Option<(String, Value)> {
                let (key, value) = record.iter().find(|(key, _)| key.eq_ignore_ascii_case(&field.name))?;
                let there = !value.is_null() && value.as_str() != Some("");
                there.then(|| (key.clone(), value.clone()))
            };
            let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_lowercase);
            let (mut seen, mut twice) = (HashSet::new(), HashSet::new());
            for (_, value) in records.iter().filter_map(&value_of) {
                if !seen.insert(plain(&value)) {
                    twice.insert(plain(&value));
                }
            }
            each(call, all_or_none, records, |call, record| {
                let (named, mut record) = split(record);
                if let Some(named) = named.filter(|named| !named.eq_ignore_ascii_case(&object)) {
                    // Unverified.
                    let message = format!("The record is a {named}, the request is for {object}");
                    return Err(ApiError::bad("INVALID_TYPE", message).on_fields(&[]));
                }
                let Some((key, value)) = value_of(&record) else {
                    if field.kind == crate::schema::FieldKind::Id {
                        take_id(&mut record);
                        let id = call.org.create(&object, &record, &call.user_id, false)?;
                        return Ok(Done { id, created: Some(true) });
                    }
                    let message = format!("{} not specified", field.name);
                    return Err(ApiError::bad("MISSING_ARGUMENT", message).on_fields(&[&field.name]));
                };
                if twice.contains(&plain(&value)) {
                    let message = format!("Duplicate external id specified: {}", value.as_str().unwrap_or_default());
                    return Err(ApiError::bad("DUPLICATE_VALUE", message).on_fields(&[&field.name]));
                }
                record.remove(&key);
                match call.org.upsert(&object, &field, &value, record, false, &call.user_id)? {
                    Upserted::Created(id) => Ok(Done { id, created: Some(true) }),
                    Upserted::Updated(id) => Ok(Done { id, created: Some(false) }),
                    Upserted::Several(ids) => Err(several(&field.name, &ids)),
                }
            })
        })
        .await
}

/// A list in the query string, or an empty one.
pub(super) fn list(parameters: &HashMap<String, String>, name: &str) -> Vec<String> {
    let text = parameters.get(name).map_or("", String::as_str);
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

pub(super) fn missing(name: &str) -> ApiError {
    // Unverified.
    ApiError::bad("MISSING_ARGUMENT", format!("The {name} parameter is required"))
}

async fn delete(
    State(shared): State<Shared>,
    Path(version): Path<String>,
    Query(parameters): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    shared
        .answer(version, headers, move |call| {
            let ids = list(&parameters, "ids");
            if ids.is_empty() {
                return Err(missing("ids"));
            }
            if ids.len() > MOST {
                return Err(too_many(ids.len(), MOST));
            }
            let prefix = |id: &String| id.get(..3).map(str::to_owned);
            few_chunks(ids.iter().map(prefix).collect::<Vec<_>>().iter().map(Option::as_deref))?;
            let all_or_none = parameters.get("allOrNone").is_some_and(|v| v.eq_ignore_ascii_case("true"));
            each(call, all_or_none, ids, |call, id| {
                let id = existing(&id)?;
                let object = call.org.schema.by_prefix(&id).ok_or_else(ApiError::not_found)?.name.clone();
                call.org.require_writable(&object, "deleted")?;
                call.org.set_deleted(&object, &id, true, &call.user_id)?;
                Ok(Done { id, created: None })
            })
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_runs_of_types_are_allowed() {
        let alternating = |n: usize| few_chunks((0..n).map(|i| Some(if i % 2 == 0 { "Account" } else { "Contact" })));
        assert!(alternating(10).is_ok());
        assert_eq!(alternating(11).unwrap_err().code, "LIMIT_EXCEEDED");
        assert!(few_chunks((0..200).map(|_| Some("Account"))).is_ok());
    }
}
