//! The rows: tables made from the schema, and the checks that a write passes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use serde_json::{Map, Value};

use crate::api_error::ApiError;
use crate::id;
use crate::org::sight;
use crate::schema::{Field, FieldKind, SObject, Schema};
use crate::search;
use crate::soql;

type Change = Vec<(String, SqlValue)>;

/// A write that has passed its checks: column and value.
#[derive(Debug, Clone)]
pub(crate) enum Write {
    Insert {
        object: String,
        id: String,
        columns: Change,
    },
    Update {
        object: String,
        id: String,
        columns: Change,
    },
    /// Of an object without a recycle bin.
    Remove {
        object: String,
        id: String,
        /// When.
        at: String,
    },
}

impl Write {
    pub(crate) fn id(&self) -> &str {
        match self {
            Write::Insert { id, .. } | Write::Update { id, .. } | Write::Remove { id, .. } => id,
        }
    }

    pub(crate) fn object(&self) -> &str {
        match self {
            Write::Insert { object, .. } | Write::Update { object, .. } | Write::Remove { object, .. } => object,
        }
    }

    /// The row's `SystemModstamp` when this is done.
    pub(crate) fn stamp(&self) -> Option<&str> {
        match self {
            Write::Insert { columns, .. } | Write::Update { columns, .. } => {
                columns.iter().find_map(|(name, value)| match value {
                    SqlValue::Text(at) if name == "SystemModstamp" => Some(at.as_str()),
                    _ => None,
                })
            }
            Write::Remove { at, .. } => Some(at),
        }
    }
}

pub(crate) fn open() -> Result<Connection, ApiError> {
    let db = Connection::open_in_memory()?;
    db.set_prepared_statement_cache_capacity(256);
    // Strings compare without case, as in an org whose language is English.
    db.create_collation("SOQL", |a, b| a.to_lowercase().cmp(&b.to_lowercase()))?;
    soql::register(&db)?;
    search::register(&db)?;
    sight::prepare(&db)?;
    Ok(db)
}

/// Makes the table of an object, with an index for readers that follow changes.
pub(crate) fn create_table(db: &Connection, object: &SObject) -> Result<(), ApiError> {
    let columns: Vec<String> = object.columns().map(column).collect();
    // Row numbers are never used twice: an open query remembers them.
    let number = "\"_row\" INTEGER PRIMARY KEY AUTOINCREMENT";
    let mut ddl = format!("CREATE TABLE main.\"{}\" ({number}, {});", object.name, columns.join(", "));
    for field in object.columns() {
        let indexed = matches!(field.kind, FieldKind::Reference { .. })
            && ["AccountId", "WhoId", "WhatId", "ParentId", "ContactId", "CampaignId", "LeadId", "OpportunityId"]
                .contains(&field.name.as_str());
        if indexed || looked_up(field) {
            ddl += &index_sql(&object.name, field);
        }
    }
    if object.field("SystemModstamp").is_some() {
        ddl += &format!("CREATE INDEX main.\"{0}_changes\" ON \"{0}\" (\"SystemModstamp\", \"Id\");", object.name);
    }
    Ok(db.execute_batch(&ddl)?)
}

fn looked_up(field: &Field) -> bool {
    field.external_id || field.unique || field.id_lookup && field.kind != FieldKind::Id
}

fn index_sql(object: &str, field: &Field) -> String {
    format!("CREATE INDEX IF NOT EXISTS main.\"{object}_{0}\" ON \"{object}\" (\"{0}\");", field.name)
}

/// Makes an index for a field that records are looked up by.
pub(crate) fn index(db: &Connection, object: &str, field: &Field) -> Result<(), ApiError> {
    if looked_up(field) && field.is_stored() { Ok(db.execute_batch(&index_sql(object, field))?) } else { Ok(()) }
}

pub(crate) fn add_column(db: &Connection, object: &str, field: &Field) -> Result<(), ApiError> {
    if !field.is_stored() {
        return Ok(());
    }
    db.execute_batch(&format!("ALTER TABLE main.\"{object}\" ADD COLUMN {}", column(field)))?;
    index(db, object, field)
}

pub(crate) fn drop_column(db: &Connection, object: &str, field: &str) -> Result<(), ApiError> {
    db.execute_batch(&format!(
        "DROP INDEX IF EXISTS main.\"{object}_{field}\"; ALTER TABLE main.\"{object}\" DROP COLUMN \"{field}\""
    ))?;
    Ok(())
}

pub(crate) fn column(field: &Field) -> String {
    let kind = match &field.kind {
        FieldKind::Id => "TEXT UNIQUE",
        FieldKind::Boolean => "INTEGER NOT NULL DEFAULT 0",
        FieldKind::Int { .. } => "INTEGER",
        FieldKind::Number { .. } => "REAL",
        FieldKind::Text { .. } | FieldKind::Picklist { .. } if !field.case_sensitive => "TEXT COLLATE SOQL",
        _ => "TEXT",
    };
    format!("\"{}\" {kind}", field.name)
}

/// Who writes, and when.
pub(crate) struct Author<'a> {
    pub(crate) user_id: &'a str,
    /// In the stored form.
    pub(crate) now: &'a str,
    /// Data loaded at the start may set audit fields and dates; API callers may not.
    pub(crate) seeding: bool,
}

/// Checks a new record and completes it: id, defaults, audit fields, the name made of its parts.
pub(crate) fn insert(
    db: &Connection,
    schema: &Schema,
    object: &SObject,
    body: &Map<String, Value>,
    new_id: String,
    author: &Author<'_>,
) -> Result<Write, ApiError> {
    let mut columns = checked(db, schema, object, body, author, true)?;
    let given = |columns: &Change, name: &str| columns.iter().any(|(c, v)| c == name && *v != SqlValue::Null);
    let missing: Vec<&str> = object
        .fields
        .iter()
        .filter(|f| f.required && f.default.is_none() && !given(&columns, &f.name))
        .map(|f| f.name.as_str())
        .collect();
    if !missing.is_empty() {
        let message = format!("Required fields are missing: [{}]", missing.join(", "));
        return Err(ApiError::bad("REQUIRED_FIELD_MISSING", message).on_fields(&missing));
    }
    let mut set = |name: &str, value: SqlValue| {
        if object.field(name).is_some() && !given(&columns, name) {
            columns.retain(|(c, _)| c != name);
            columns.push((name.to_owned(), value));
        }
    };
    let text = |value: &str| SqlValue::Text(value.to_owned());
    set("Id", text(&new_id));
    for name in ["CreatedDate", "LastModifiedDate", "SystemModstamp"] {
        set(name, text(author.now));
    }
    for name in ["CreatedById", "LastModifiedById", "OwnerId"] {
        set(name, text(author.user_id));
    }
    for field in object.columns() {
        if let Some(default) = &field.default
            && field.kind != FieldKind::Boolean
        {
            set(&field.name, text(default));
        }
    }
    complete_name(db, object, &mut columns, None)?;
    complete_length(object, &mut columns);
    Ok(Write::Insert { object: object.name.clone(), id: new_id, columns })
}

/// Checks a change to a record that exists.
pub(crate) fn update(
    db: &Connection,
    schema: &Schema,
    object: &SObject,
    id: &str,
    body: &Map<String, Value>,
    author: &Author<'_>,
) -> Result<Write, ApiError> {
    if body.keys().any(|k| k.eq_ignore_ascii_case("id")) {
        return Err(ApiError::bad("INVALID_FIELD", "The Id field should not be specified in the sobject data."));
    }
    require_alive(db, object, id)?;
    let mut columns = checked(db, schema, object, body, author, false)?;
    for field in object.fields.iter().filter(|f| f.required) {
        if columns.iter().any(|(c, v)| *c == field.name && *v == SqlValue::Null) {
            let message = format!("Required fields are missing: [{}]", field.name);
            return Err(ApiError::bad("REQUIRED_FIELD_MISSING", message).on_fields(&[&field.name]));
        }
    }
    complete_name(db, object, &mut columns, Some(id))?;
    complete_length(object, &mut columns);
    touch(object, &mut columns, author);
    Ok(Write::Update { object: object.name.clone(), id: id.to_owned(), columns })
}

/// Deleting and undeleting move the row's stamp, like any other change.
pub(crate) fn set_deleted(
    db: &Connection,
    object: &SObject,
    id: &str,
    deleted: bool,
    author: &Author<'_>,
) -> Result<Write, ApiError> {
    if deleted {
        require_alive(db, object, id)?;
    } else if deleted_flag(db, object, id)? != Some(true) {
        return Err(ApiError::bad("UNDELETE_FAILED", "Entity is not in the recycle bin").on_fields(&[]));
    }
    if object.field("IsDeleted").is_none() {
        let (object, id) = (object.name.clone(), id.to_owned());
        return Ok(Write::Remove { object, id, at: author.now.to_owned() });
    }
    let mut columns = vec![("IsDeleted".to_owned(), SqlValue::Integer(i64::from(deleted)))];
    touch(object, &mut columns, author);
    Ok(Write::Update { object: object.name.clone(), id: id.to_owned(), columns })
}

pub(crate) fn touch(object: &SObject, columns: &mut Change, author: &Author<'_>) {
    for (name, value) in
        [("LastModifiedDate", author.now), ("SystemModstamp", author.now), ("LastModifiedById", author.user_id)]
    {
        if object.field(name).is_some() {
            columns.retain(|(c, _)| c != name);
            columns.push((name.to_owned(), SqlValue::Text(value.to_owned())));
        }
    }
}

fn deleted_flag(db: &Connection, object: &SObject, id: &str) -> Result<Option<bool>, ApiError> {
    let flag = if object.field("IsDeleted").is_some() { "\"IsDeleted\"" } else { "0" };
    let sql = format!("SELECT {flag} FROM \"{}\" WHERE \"Id\" = ?", object.name);
    Ok(db.prepare_cached(&sql)?.query_row([id], |row| row.get(0)).optional()?)
}

fn require_alive(db: &Connection, object: &SObject, id: &str) -> Result<(), ApiError> {
    match deleted_flag(db, object, id)? {
        Some(false) => Ok(()),
        Some(true) => Err(ApiError::new(404, "ENTITY_IS_DELETED", "entity is deleted").on_fields(&[])),
        None => Err(ApiError::not_found()),
    }
}

/// The names of people are put together from their parts.
fn complete_name(db: &Connection, object: &SObject, columns: &mut Change, id: Option<&str>) -> Result<(), ApiError> {
    let Some(name) = object.field("Name").filter(|f| f.name_field && !f.createable) else { return Ok(()) };
    let parts: Vec<&str> =
        ["FirstName", "MiddleName", "LastName", "Suffix"].into_iter().filter(|p| object.field(p).is_some()).collect();
    if parts.is_empty()
        || columns.iter().any(|(c, _)| *c == name.name)
        || !columns.iter().any(|(c, _)| parts.contains(&c.as_str()))
    {
        return Ok(());
    }
    let mut words = Vec::new();
    for part in parts {
        let value = match (columns.iter().find(|(c, _)| c == part), id) {
            (Some((_, SqlValue::Text(text))), _) => Some(text.clone()),
            (Some(_), _) | (None, None) => None,
            (None, Some(id)) => db
                .query_row(&format!("SELECT \"{part}\" FROM \"{}\" WHERE \"Id\" = ?", object.name), [id], |row| {
                    row.get(0)
                })
                .optional()?
                .flatten(),
        };
        words.extend(value);
    }
    columns.push((name.name.clone(), SqlValue::Text(words.join(" "))));
    Ok(())
}

/// The size of a file is told beside it.
fn complete_length(object: &SObject, columns: &mut Change) {
    let Some(body) = object.fields.iter().find(|f| f.kind == FieldKind::Base64) else { return };
    let length = format!("{}Length", body.name);
    if object.field(&length).is_none() {
        return;
    }
    let bytes = columns.iter().find(|(name, _)| *name == body.name).map(|(_, value)| match value {
        SqlValue::Text(text) => STANDARD.decode(text).map_or(0, |bytes| bytes.len() as i64),
        _ => 0,
    });
    if let Some(bytes) = bytes {
        columns.push((length, SqlValue::Integer(bytes)));
    }
}

fn checked(
    db: &Connection,
    schema: &Schema,
    object: &SObject,
    body: &Map<String, Value>,
    author: &Author<'_>,
    creating: bool,
) -> Result<Change, ApiError> {
    let mut columns: Change = Vec::new();
    for (key, value) in body.iter().filter(|(key, _)| *key != "attributes") {
        let Some(field) = object.field(key) else {
            let message = format!("No such column '{key}' on sobject of type {}", object.name);
            return Err(ApiError::bad("INVALID_FIELD", message));
        };
        if creating && field.kind == FieldKind::Id && !author.seeding {
            let message = "cannot specify Id in an insert call";
            return Err(ApiError::bad("INVALID_FIELD_FOR_INSERT_UPDATE", message).on_fields(&["Id"]));
        }
        let writable = if creating { field.createable } else { field.updateable };
        if !(writable || author.seeding && field.is_stored()) {
            let message = format!(
                "Unable to create/update fields: {}. Please check the security settings of this field and verify that it is read/write for your profile or permission set.",
                field.name
            );
            return Err(ApiError::bad("INVALID_FIELD_FOR_INSERT_UPDATE", message).on_fields(&[&field.name]));
        }
        let value = stored(db, schema, object, field, value)?;
        // The same field twice, in another case or by its relationship too: the last one counts.
        columns.retain(|(name, _)| *name != field.name);
        columns.push((field.name.clone(), value));
    }
    Ok(columns)
}

/// A JSON value in the form in which the column keeps it, or the refusal the API gives.
pub(crate) fn stored(
    db: &Connection,
    schema: &Schema,
    object: &SObject,
    field: &Field,
    value: &Value,
) -> Result<SqlValue, ApiError> {
    let cannot = |kind: &str| {
        ApiError::bad(
            "JSON_PARSER_ERROR",
            format!(
                "Cannot deserialize instance of {kind} from VALUE_STRING value {} or request may be missing a required field at [line:1, column:1]",
                value.as_str().map_or_else(|| value.to_string(), str::to_owned)
            ),
        )
    };
    let text = match value {
        Value::Null => return Ok(if field.kind == FieldKind::Boolean { SqlValue::Integer(0) } else { SqlValue::Null }),
        // An empty string is stored as null.
        Value::String(text) if text.is_empty() => return Ok(SqlValue::Null),
        Value::String(text) => text.clone(),
        Value::Bool(flag) if field.kind == FieldKind::Boolean => return Ok(SqlValue::Integer(i64::from(*flag))),
        Value::Number(n) => n.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::Array(_) | Value::Object(_) => return Err(cannot("string")),
    };
    Ok(match &field.kind {
        FieldKind::Boolean => SqlValue::Integer(match text.to_ascii_lowercase().as_str() {
            "true" | "1" => 1,
            "false" | "0" => 0,
            _ => return Err(cannot("boolean")),
        }),
        FieldKind::Int { .. } => SqlValue::Integer(text.parse::<f64>().map_err(|_| cannot("int"))? as i64),
        FieldKind::Number { .. } => SqlValue::Real(text.parse().map_err(|_| cannot("double"))?),
        FieldKind::Date => {
            let day: Result<jiff::civil::Date, _> = text.get(..10).unwrap_or(&text).parse();
            SqlValue::Text(day.map_err(|_| cannot("date"))?.to_string())
        }
        FieldKind::DateTime => {
            let at = soql::parse_datetime(&text).or_else(|| soql::parse_datetime(&format!("{text}T00:00:00Z")));
            SqlValue::Text(crate::clock::datetime(at.ok_or_else(|| cannot("datetime"))?))
        }
        FieldKind::Id => SqlValue::Text(id::normalise(&text).ok_or_else(|| malformed_id("Record", "Id", &text))?),
        FieldKind::Reference { targets, .. } => {
            let label = field.label.strip_suffix(" ID").unwrap_or(&field.label);
            let id = id::normalise(&text).ok_or_else(|| malformed_id(label, &field.name, &text))?;
            let target = schema.by_prefix(&id);
            let fits = target.is_none_or(|t| targets.contains(&t.name));
            if !fits {
                return Err(ApiError::bad(
                    "FIELD_INTEGRITY_EXCEPTION",
                    format!("{label} ID: id value of incorrect type: {text}"),
                )
                .on_fields(&[&field.name]));
            }
            if let Some(target) = target {
                let sql = format!("SELECT 1 FROM \"{}\" WHERE \"Id\" = ?", target.name);
                if db.prepare_cached(&sql)?.query_row([&id], |_| Ok(())).optional()?.is_none() {
                    return Err(
                        ApiError::bad("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id").on_fields(&[])
                    );
                }
            }
            SqlValue::Text(id)
        }
        FieldKind::Text { type_name, length } => {
            check_length(object, field, &text, *length)?;
            if *type_name == "email" && !plausible_email(&text) {
                return Err(ApiError::bad(
                    "INVALID_EMAIL_ADDRESS",
                    format!("{}: invalid email address: {text}", field.label),
                )
                .on_fields(&[&field.name]));
            }
            SqlValue::Text(text)
        }
        FieldKind::Picklist { values, length, .. } => {
            if field.restricted && !values.iter().any(|v| v.eq_ignore_ascii_case(&text)) {
                let message = format!("{}: bad value for restricted picklist field: {text}", field.label);
                return Err(ApiError::bad("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", message).on_fields(&[&field.name]));
            }
            check_length(object, field, &text, *length)?;
            SqlValue::Text(text)
        }
        FieldKind::Base64 => {
            if STANDARD.decode(&text).is_err() {
                return Err(cannot("base64"));
            }
            SqlValue::Text(text)
        }
        FieldKind::Time => SqlValue::Text(text),
        FieldKind::Address | FieldKind::Location => return Err(cannot("string")),
    })
}

pub(crate) fn malformed_id(label: &str, field: &str, text: &str) -> ApiError {
    ApiError::bad("MALFORMED_ID", format!("{label} ID: id value of incorrect type: {text}")).on_fields(&[field])
}

fn check_length(object: &SObject, field: &Field, text: &str, length: u32) -> Result<(), ApiError> {
    // Salesforce counts UTF-16 units: an emoji outside the basic plane takes two.
    if length > 0 && text.encode_utf16().count() > length as usize {
        let label = if field.name_field { format!("{} Name", object.label) } else { field.label.clone() };
        let message = format!("{label}: data value too large: {text} (max length={length})");
        return Err(ApiError::bad("STRING_TOO_LONG", message).on_fields(&[&field.name]));
    }
    Ok(())
}

fn plausible_email(text: &str) -> bool {
    text.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty()
            && domain.contains('.')
            && !domain.starts_with('.')
            && !domain.ends_with('.')
            && !domain.contains('@')
    }) && !text.contains(char::is_whitespace)
}

/// Makes a checked write visible.
pub(crate) fn apply(db: &Connection, write: &Write) -> Result<(), ApiError> {
    match write {
        Write::Insert { object, columns, .. } => {
            let names: Vec<String> = columns.iter().map(|(c, _)| format!("\"{c}\"")).collect();
            let marks = vec!["?"; names.len()].join(", ");
            let sql = format!("INSERT INTO main.\"{object}\" ({}) VALUES ({marks})", names.join(", "));
            db.prepare_cached(&sql)?.execute(params_from_iter(columns.iter().map(|(_, v)| v)))?;
        }
        Write::Update { object, id, columns } => {
            let sets: Vec<String> = columns.iter().map(|(c, _)| format!("\"{c}\" = ?")).collect();
            let sql = format!("UPDATE main.\"{object}\" SET {} WHERE \"Id\" = ?", sets.join(", "));
            let values = columns.iter().map(|(_, v)| v.clone()).chain([SqlValue::Text(id.clone())]);
            db.prepare_cached(&sql)?.execute(params_from_iter(values))?;
        }
        Write::Remove { object, id, .. } => {
            db.prepare_cached(&format!("DELETE FROM main.\"{object}\" WHERE \"Id\" = ?"))?.execute([id])?;
        }
    }
    Ok(())
}

/// The row number of a record that is not deleted.
pub(crate) fn row_of(db: &Connection, object: &SObject, id: &str) -> Result<Option<i64>, ApiError> {
    let alive = if object.field("IsDeleted").is_some() { " AND \"IsDeleted\" = 0" } else { "" };
    let sql = format!("SELECT rowid FROM \"{}\" WHERE \"Id\" = ?{alive}", object.name);
    Ok(db.prepare_cached(&sql)?.query_row(params![id], |row| row.get(0)).optional()?)
}
