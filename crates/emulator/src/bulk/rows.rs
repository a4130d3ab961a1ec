//! Writes one row of a job.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::job::Operation;
use crate::api_error::ApiError;
use crate::id;
use crate::org::{Org, Upserted, several};

/// A reference that is found by a field of its target.
pub(super) struct Lookup {
    pub(super) field: String,
    pub(super) target: String,
    pub(super) key: String,
}

/// What a row of an upload says.
pub(super) struct Row {
    pub(super) id: Option<String>,
    pub(super) body: Map<String, Value>,
    pub(super) references: Vec<(Arc<Lookup>, String)>,
}

/// What is done with each row.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) operation: Operation,
    pub(super) object: String,
    pub(super) prefix: String,
    pub(super) external_id: Option<String>,
    pub(super) user: String,
}

pub(super) struct Done {
    pub(super) id: String,
    pub(super) created: bool,
}

/// Salesforce saves up to so many records at once, and refuses all that name the same record among them.
pub(super) const CHUNK: usize = 200;

/// Writes rows that are saved together.
pub(super) fn write_chunk(org: &mut Org, task: &Task, rows: Vec<Result<Row, ApiError>>) -> Vec<Result<Done, ApiError>> {
    let mut times: HashMap<String, usize> = HashMap::new();
    let names: Vec<Option<String>> = rows.iter().map(|row| row.as_ref().ok().and_then(|row| task.name(row))).collect();
    for name in names.iter().flatten() {
        *times.entry(name.clone()).or_default() += 1;
    }
    let written = rows.into_iter().zip(names).map(|(row, name)| {
        let row = row?;
        if let Some(name) = name.filter(|name| times.get(name).is_some_and(|n| *n > 1)) {
            return Err(task.named_twice(&name));
        }
        write(org, task, row)
    });
    written.collect()
}

impl Task {
    fn external_id(&self) -> Option<&str> {
        self.external_id.as_deref().filter(|field| !field.eq_ignore_ascii_case("Id"))
    }

    /// What tells the records of a chunk apart.
    fn name(&self, row: &Row) -> Option<String> {
        match (self.operation, self.external_id()) {
            (Operation::Insert, _) => None,
            (Operation::Upsert, Some(field)) => key(row, field).map(|key| key.to_lowercase()),
            _ => row.id.as_deref().map(|text| id::normalise(text).unwrap_or_else(|| text.to_owned())),
        }
    }

    fn named_twice(&self, name: &str) -> ApiError {
        match (self.operation, self.external_id()) {
            (Operation::Upsert, Some(field)) => {
                let message = format!("Duplicate external id specified: {name}");
                ApiError::bad("DUPLICATE_VALUE", message).on_fields(&[field])
            }
            _ => ApiError::bad("DUPLICATE_VALUE", format!("Duplicate id specified: {name}")).on_fields(&[]),
        }
    }

    /// The record that a row names.
    fn record(&self, text: Option<&str>, call: &str) -> Result<String, ApiError> {
        let Some(text) = text else {
            return Err(
                ApiError::bad("MISSING_ARGUMENT", format!("Id not specified in {call} call")).on_fields(&["Id"])
            );
        };
        id::normalise(text).filter(|id| id.starts_with(&self.prefix)).ok_or_else(|| {
            let message = format!("Record ID: id value of incorrect type: {text}");
            ApiError::bad("MALFORMED_ID", message).on_fields(&["Id"])
        })
    }
}

/// The external id of a row, in the text in which it came.
fn key(row: &Row, field: &str) -> Option<String> {
    let (_, value) = row.body.iter().find(|(name, _)| name.eq_ignore_ascii_case(field))?;
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

fn write(org: &mut Org, task: &Task, mut row: Row) -> Result<Done, ApiError> {
    if org.bulk.behaviour.lock_rows > 0 {
        org.bulk.behaviour.lock_rows -= 1;
        let records = row.id.as_deref().map(|id| format!(" or 1 records: {id}")).unwrap_or_default();
        let message = format!("unable to obtain exclusive access to this record{records}");
        return Err(ApiError::bad("UNABLE_TO_LOCK_ROW", message).on_fields(&[]));
    }
    for (lookup, value) in std::mem::take(&mut row.references) {
        let id = referenced(org, &lookup, &value)?;
        row.body.insert(lookup.field.clone(), Value::String(id));
    }
    let (object, user) = (task.object.as_str(), task.user.as_str());
    match task.operation {
        Operation::Insert => Ok(Done { id: org.create(object, &row.body, user, false)?, created: true }),
        Operation::Upsert => {
            let done = match task.external_id() {
                Some(field) => {
                    let key = key(&row, field).ok_or_else(|| {
                        ApiError::bad("MISSING_ARGUMENT", format!("{field} not specified")).on_fields(&[field])
                    })?;
                    let field = org.external_field(object, field)?;
                    let mut body = row.body.clone();
                    body.retain(|name, _| !name.eq_ignore_ascii_case(&field.name));
                    match org.upsert(object, &field, &key.into(), body, false, user)? {
                        Upserted::Created(id) => Done { id, created: true },
                        Upserted::Updated(id) => Done { id, created: false },
                        Upserted::Several(ids) => return Err(several(&field.name, &ids)),
                    }
                }
                None if row.id.is_none() => Done { id: org.create(object, &row.body, user, false)?, created: true },
                None => {
                    let id = task.record(row.id.as_deref(), "an upsert")?;
                    org.update(object, &id, &row.body, user).map_err(unknown_record)?;
                    Done { id, created: false }
                }
            };
            Ok(done)
        }
        Operation::Update => {
            let id = task.record(row.id.as_deref(), "an update")?;
            org.update(object, &id, &row.body, user).map_err(unknown_record)?;
            Ok(Done { id, created: false })
        }
        Operation::Delete | Operation::HardDelete => {
            let id = task.record(row.id.as_deref(), "a delete")?;
            let deleted = match task.operation {
                Operation::Delete => org.set_deleted(object, &id, true, user),
                _ => org.hard_delete(object, &id),
            };
            deleted.map_err(unknown_record)?;
            Ok(Done { id, created: false })
        }
        Operation::Query | Operation::QueryAll => Err(ApiError::bad("INVALIDJOB", "a query writes nothing")),
    }
}

/// In a row, an id that leads nowhere is not a missing page.
fn unknown_record(error: ApiError) -> ApiError {
    if error.code == "NOT_FOUND" {
        return ApiError::bad("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id").on_fields(&[]);
    }
    error
}

fn referenced(org: &Org, lookup: &Lookup, value: &str) -> Result<String, ApiError> {
    let target = org.object(&lookup.target)?;
    let alive = if target.field("IsDeleted").is_some() { " AND \"IsDeleted\" = 0" } else { "" };
    let sql = format!("SELECT \"Id\" FROM \"{}\" WHERE \"{}\" = ?{alive} LIMIT 2", target.name, lookup.key);
    let value = match lookup.key.as_str() {
        "Id" => id::normalise(value).unwrap_or_default(),
        _ => value.to_owned(),
    };
    let mut statement = org.db.prepare_cached(&sql)?;
    let found = statement.query_map([&value], |row| row.get::<_, String>(0))?;
    let mut found: Vec<String> = found.collect::<Result<_, _>>()?;
    match (found.pop(), found.is_empty()) {
        (Some(id), true) => Ok(id),
        (None, _) => {
            let (key, entity) = (&lookup.key, &target.name);
            let message = format!("Foreign key external ID: {value} not found for field {key} in entity {entity}");
            Err(ApiError::bad("INVALID_FIELD", message).on_fields(&[]))
        }
        // Wording unverified.
        (Some(_), false) => {
            let message = format!("More than one record found for external id field: {}", lookup.key);
            Err(ApiError::bad("INVALID_FIELD", message).on_fields(&[]))
        }
    }
}

/// How a result file and a batch result write a refusal: `CODE:message:field,field --`.
pub(super) fn error_text(error: &ApiError) -> String {
    let fields = error.fields.as_deref().unwrap_or_default();
    let space = if fields.is_empty() { "" } else { " " };
    format!("{}:{}:{}{space}--", error.code, error.message, fields.join(","))
}
