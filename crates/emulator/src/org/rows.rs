//! What the API does with rows beyond one plain write: external ids, unique fields, relationships by external id.

use std::borrow::Cow;

use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, OptionalExtension};
use serde_json::{Map, Value};

use super::Org;
use crate::api_error::ApiError;
use crate::clock::datetime;
use crate::records::{self, Write};
use crate::schema::{Field, FieldKind, SObject, Schema};

/// What an upsert did.
#[derive(Debug)]
pub(crate) enum Upserted {
    Created(String),
    Updated(String),
    /// Nothing: more than one record has the value.
    Several(Vec<String>),
}

/// A row that is gone for good, as `deleted` tells of it.
pub(crate) struct Purged {
    pub(crate) object: String,
    pub(crate) id: String,
    pub(crate) at: String,
}

impl Org {
    /// Refuses what nobody may write over the API.
    pub(crate) fn require_writable(&self, object: &str, verb: &str) -> Result<(), ApiError> {
        let object = self.object(object)?;
        if object.read_only {
            let message = format!("entity type cannot be {verb}: {}", object.label);
            return Err(ApiError::bad("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", message).on_fields(&[]));
        }
        Ok(())
    }

    /// The field that stands for a record in a path: an external id, or one with `idLookup`.
    pub(crate) fn external_field(&self, object: &str, name: &str) -> Result<Field, ApiError> {
        let field = self.object(object)?.field(name).filter(|f| f.external_id || f.id_lookup);
        field.cloned().ok_or_else(|| unknown_external_id(name))
    }

    /// The ids of the records whose external id field has this value.
    pub(crate) fn matching(&self, object: &str, field: &Field, value: &Value) -> Result<Vec<String>, ApiError> {
        matching(&self.db, &self.schema, self.object(object)?, field, value)
    }

    /// Updates the record that has the value, or makes one.
    pub(crate) fn upsert(
        &mut self,
        object: &str,
        field: &Field,
        value: &Value,
        mut body: Map<String, Value>,
        update_only: bool,
        user_id: &str,
    ) -> Result<Upserted, ApiError> {
        let mut found = self.matching(object, field, value)?;
        match (found.pop(), found.is_empty()) {
            (Some(id), true) => {
                self.update(object, &id, &body, user_id)?;
                Ok(Upserted::Updated(id))
            }
            (Some(id), false) => {
                found.push(id);
                Ok(Upserted::Several(found))
            }
            (None, _) if update_only || field.kind == FieldKind::Id => Err(ApiError::not_found()),
            (None, _) => {
                body.insert(field.name.clone(), value.clone());
                Ok(Upserted::Created(self.create(object, &body, user_id, false)?))
            }
        }
    }

    /// Refuses a value of a unique field that another record has, or will have when its transaction commits.
    pub(super) fn require_unique(&self, write: &Write) -> Result<(), ApiError> {
        let (Write::Insert { object, id, columns } | Write::Update { object, id, columns }) = write else {
            return Ok(());
        };
        let fields = self.object(object)?;
        for (name, value) in columns.iter().filter(|(_, value)| *value != SqlValue::Null) {
            let Some(field) = fields.field(name).filter(|f| f.unique) else { continue };
            let alive = alive(fields);
            let sql = format!("SELECT \"Id\" FROM \"{object}\" WHERE \"{name}\" = ?1 AND \"Id\" <> ?2{alive}");
            let other: Option<String> =
                self.db.prepare_cached(&sql)?.query_row(rusqlite::params![value, id], |row| row.get(0)).optional()?;
            let waiting = || {
                self.unseen_writes().find_map(|pending| match pending {
                    Write::Insert { object: o, id: other, columns: c }
                    | Write::Update { object: o, id: other, columns: c }
                        if o == object && other != id && c.iter().any(|(n, v)| n == name && same(v, value, field)) =>
                    {
                        Some(other.clone())
                    }
                    _ => None,
                })
            };
            if let Some(other) = other.or_else(waiting) {
                let other = other.get(..15).unwrap_or(&other);
                let message = format!("duplicate value found: {name} duplicates value on record with id: {other}");
                return Err(ApiError::bad("DUPLICATE_VALUE", message).on_fields(&[]));
            }
        }
        Ok(())
    }

    /// Makes a write visible, and remembers rows that have no recycle bin.
    pub(super) fn apply(&mut self, write: &Write) -> Result<(), ApiError> {
        records::apply(&self.db, write)?;
        if let Write::Remove { object, id, at } = write {
            self.purged.push(Purged { object: object.clone(), id: id.clone(), at: at.clone() });
        }
        Ok(())
    }

    /// Deletes for good, at once and past the API; nothing if one of the rows is not there. `deleted` still tells of them.
    pub(crate) fn purge(&mut self, object: &str, ids: &[String]) -> Result<(), ApiError> {
        let described = self.object(object)?;
        let name = described.name.clone();
        let stamp = if described.field("IsDeleted").is_some() {
            "CASE WHEN \"IsDeleted\" THEN \"SystemModstamp\" END"
        } else {
            "NULL"
        };
        let sql = format!("SELECT {stamp} FROM \"{name}\" WHERE \"Id\" = ?");
        let now = datetime(self.now());
        let mut gone = Vec::with_capacity(ids.len());
        for id in ids {
            let row: Option<Option<String>> = self.db.query_row(&sql, [id], |row| row.get(0)).optional()?;
            let at = row.ok_or_else(ApiError::not_found)?.unwrap_or_else(|| now.clone());
            gone.push(Purged { object: name.clone(), id: id.clone(), at });
        }
        for row in gone {
            self.pending.retain(|(_, pending)| pending.id() != row.id);
            for open in self.open.values_mut() {
                open.writes.retain(|write| write.id() != row.id);
            }
            // The same id twice is one row.
            if self.db.execute(&format!("DELETE FROM main.\"{name}\" WHERE \"Id\" = ?"), [&row.id])? > 0 {
                self.purged.push(row);
            }
        }
        Ok(())
    }

    /// The stamp of the oldest write to an object that is answered but not visible yet.
    pub(crate) fn oldest_waiting(&self, object: &str) -> Option<&str> {
        self.unseen_writes().filter(|write| write.object() == object).filter_map(Write::stamp).min()
    }
}

pub(crate) fn unknown_external_id(name: &str) -> ApiError {
    ApiError::new(404, "NOT_FOUND", format!("Provided external ID field does not exist or is not accessible: {name}"))
}

fn alive(object: &SObject) -> &'static str {
    if object.field("IsDeleted").is_some() { " AND \"IsDeleted\" = 0" } else { "" }
}

fn same(a: &SqlValue, b: &SqlValue, field: &Field) -> bool {
    match (a, b) {
        (SqlValue::Text(a), SqlValue::Text(b)) if !field.case_sensitive => a.to_lowercase() == b.to_lowercase(),
        _ => a == b,
    }
}

fn matching(
    db: &Connection,
    schema: &Schema,
    object: &SObject,
    field: &Field,
    value: &Value,
) -> Result<Vec<String>, ApiError> {
    let value = records::stored(db, schema, object, field, value)?;
    let sql =
        format!("SELECT \"Id\" FROM \"{}\" WHERE \"{}\" = ?{} ORDER BY \"Id\"", object.name, field.name, alive(object));
    let mut statement = db.prepare_cached(&sql)?;
    let ids = statement.query_map([value], |row| row.get(0))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

/// Replaces relationships by external id, `{"Account": {"Ext__c": "x"}}`, with the ids they lead to.
pub(super) fn with_ids<'a>(
    db: &Connection,
    schema: &Schema,
    object: &SObject,
    body: &'a Map<String, Value>,
) -> Result<Cow<'a, Map<String, Value>>, ApiError> {
    if !body.iter().any(|(key, value)| leads(object, key, value).is_some()) {
        return Ok(Cow::Borrowed(body));
    }
    let mut plain = Map::new();
    for (key, value) in body {
        match leads(object, key, value) {
            None => drop(plain.insert(key.clone(), value.clone())),
            Some((field, target, nested)) => {
                let id = parent_id(db, schema, field, target, nested)?;
                plain.insert(field.name.clone(), Value::String(id));
            }
        }
    }
    Ok(Cow::Owned(plain))
}

/// The field and the parent that a nested body is for.
fn leads<'a>(object: &'a SObject, key: &str, value: &'a Value) -> Option<(&'a Field, &'a str, &'a Map<String, Value>)> {
    let nested = value.as_object().filter(|_| object.field(key).is_none())?;
    object.relationship(key).map(|(field, target)| (field, target, nested))
}

fn parent_id(
    db: &Connection,
    schema: &Schema,
    field: &Field,
    target: &str,
    nested: &Map<String, Value>,
) -> Result<String, ApiError> {
    let refused = |message: String| ApiError::bad("INVALID_FIELD", message).on_fields(&[]);
    // Of several targets the body names its own.
    let named = nested.get("attributes").and_then(|a| a.get("type")).and_then(Value::as_str);
    let fits =
        |name: &&str| matches!(&field.kind, FieldKind::Reference { targets, .. } if targets.iter().any(|t| t == name));
    let target = named.filter(fits).unwrap_or(target);
    let parent = schema.object(target).ok_or_else(ApiError::not_found)?;
    let mut keys = nested.iter().filter(|(key, _)| *key != "attributes");
    let (Some((name, value)), None) = (keys.next(), keys.next()) else {
        // Unverified wording.
        return Err(refused(format!("A relationship to {target} takes exactly one external ID field")));
    };
    let Some(key) = parent.field(name).filter(|f| f.external_id || f.id_lookup) else {
        // Wording as the writer remembers it, unverified.
        return Err(refused(format!(
            "Field name provided, {name} does not match an External ID, Salesforce Id, or indexed field for {target}"
        )));
    };
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut found = matching(db, schema, parent, key, value)?;
    match (found.pop(), found.is_empty()) {
        (Some(id), true) => Ok(id),
        (Some(id), false) => {
            found.push(id);
            Err(several(&key.name, &found))
        }
        (None, _) => {
            Err(refused(format!("Foreign key external ID: {text} not found for field {} in entity {target}", key.name)))
        }
    }
}

/// Where a single record is meant and several have the value. Wording unverified.
pub(crate) fn several(field: &str, ids: &[String]) -> ApiError {
    let message = format!("{field}: more than one record found for external id field: [{}]", ids.join(", "));
    ApiError::bad("DUPLICATE_EXTERNAL_ID", message).on_fields(&[field])
}
