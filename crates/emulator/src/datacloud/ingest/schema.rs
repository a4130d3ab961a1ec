//! What may be ingested, and whether a record fits.

use jiff::Timestamp;
use serde_json::Value;

use crate::datacloud::tables::{Column, Kind, TABLES, Table};

/// An object of a connector. Its fields are the columns of its table, which the lake writes with `__c`.
pub(super) struct Object {
    pub(super) table: &'static Table,
}

/// Connector, object, and the table that its data stream fills.
const OBJECTS: [(&str, &str, &str); 1] = [("tieline_events", "page_view", "page_view_tieline_events__dll")];

pub(super) fn find(connector: &str, object: &str) -> Option<Object> {
    const ALL: &[Table] = &TABLES;
    let (_, _, name) = OBJECTS.into_iter().find(|(c, o, _)| (*c, *o) == (connector, object))?;
    ALL.iter().find(|table| table.name == name).map(|table| Object { table })
}

/// The field of a column.
pub(super) fn field(column: &Column) -> &'static str {
    column.name.trim_end_matches("__c")
}

impl Object {
    /// The values of a record in the order of the columns; or what is wrong with it, in the words of the documents'
    /// example ("Synchronous Record Validation"), which are those of a JSON Schema validator for Java.
    pub(super) fn read(&self, record: &Value) -> Result<Vec<String>, Vec<String>> {
        let Some(record) = record.as_object() else {
            return Err(vec![format!("#: expected type: JSONObject, found: {}", kind_of(record))]);
        };
        let (mut values, mut wrong) = (Vec::new(), Vec::new());
        for (at, column) in self.table.columns.iter().enumerate() {
            let name = field(column);
            let read = match record.get(name) {
                // All fields must be there, whether or not they need a value.
                None => Err(format!("#: required key [{name}] not found")),
                Some(value) => json_value(column.kind, value).map_err(|why| format!("#/{name}: {why}")),
            };
            match read {
                Ok(value) if at == 0 && value.is_empty() => {
                    wrong.push(format!("#/{name}: expected minLength: 1, actual: 0"))
                }
                Ok(value) => values.push(value),
                Err(why) => wrong.push(why),
            }
        }
        if wrong.is_empty() { Ok(values) } else { Err(wrong) }
    }
}

/// A value as it is written into a CSV file for Hyper; empty for a blank one.
fn json_value(kind: Kind, value: &Value) -> Result<String, String> {
    match (kind, value) {
        (_, Value::Null) => Ok(String::new()),
        (_, Value::String(text)) if text.is_empty() => Ok(String::new()),
        (Kind::Text | Kind::Time | Kind::Date, Value::String(value)) => text(kind, value),
        (Kind::Whole | Kind::Double | Kind::Decimal, Value::Number(number)) => text(kind, &number.to_string()),
        (Kind::Boolean, Value::Bool(value)) => Ok(value.to_string()),
        (Kind::Text | Kind::Time | Kind::Date, other) => {
            Err(format!("expected type: String, found: {}", kind_of(other)))
        }
        (Kind::Boolean, other) => Err(format!("expected type: Boolean, found: {}", kind_of(other))),
        (_, other) => Err(format!("expected type: Number, found: {}", kind_of(other))),
    }
}

/// The same for a field of a CSV file.
pub(super) fn text(kind: Kind, value: &str) -> Result<String, String> {
    let is_one = match kind {
        _ if value.is_empty() => true,
        Kind::Text => true,
        Kind::Whole => value.parse::<i64>().is_ok(),
        Kind::Double | Kind::Decimal => value.parse::<f64>().is_ok(),
        Kind::Date => value.parse::<jiff::civil::Date>().is_ok(),
        Kind::Boolean => ["true", "false"].contains(&value),
        // ISO 8601 in UTC, ending in Z.
        Kind::Time => {
            return match value.parse::<Timestamp>() {
                Ok(time) => Ok(time.to_string()),
                Err(_) => Err(format!("[{value}] is not a valid date-time")),
            };
        }
    };
    if is_one { Ok(value.to_owned()) } else { Err(format!("[{value}] is not valid")) }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "Null",
        Value::Bool(_) => "Boolean",
        Value::Number(number) if number.is_f64() => "BigDecimal",
        Value::Number(_) => "Integer",
        Value::String(_) => "String",
        Value::Array(_) => "JSONArray",
        Value::Object(_) => "JSONObject",
    }
}
