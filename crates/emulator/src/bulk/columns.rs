//! What the columns of an upload mean, and what their texts become.

use std::sync::Arc;

use csv::StringRecord;
use serde_json::{Map, Value};

use super::job::Operation;
use super::rows::{Lookup, Row};
use crate::api_error::ApiError;
use crate::schema::{Field, FieldKind, SObject, Schema};
use crate::soql;

/// The text that empties a field.
const NULL: &str = "#N/A";

enum Column {
    Id,
    Field {
        name: String,
        kind: Kind,
    },
    /// A record found by another of its fields: `Account.Ext__c`.
    Reference(Arc<Lookup>),
}

/// The types whose texts are checked before a record is.
#[derive(Clone, Copy)]
enum Kind {
    Boolean,
    Int,
    Double,
    Date,
    DateTime,
    Other,
}

impl Kind {
    fn of(field: &Field) -> Self {
        match field.kind {
            FieldKind::Boolean => Kind::Boolean,
            FieldKind::Int { .. } => Kind::Int,
            FieldKind::Number { .. } => Kind::Double,
            FieldKind::Date => Kind::Date,
            FieldKind::DateTime => Kind::DateTime,
            _ => Kind::Other,
        }
    }

    /// The value, or the name of the type that it is not.
    fn value(self, text: &str) -> Result<Value, &'static str> {
        let fits = match self {
            Kind::Boolean => {
                return match text.to_ascii_lowercase().as_str() {
                    "true" | "1" | "yes" => Ok(Value::Bool(true)),
                    "false" | "0" | "no" => Ok(Value::Bool(false)),
                    _ => Err("xsd:boolean"),
                };
            }
            Kind::Int => text.parse::<f64>().is_ok_and(|n| n.fract() == 0.0).then_some(()).ok_or("xsd:int"),
            Kind::Double => text.parse::<f64>().is_ok_and(f64::is_finite).then_some(()).ok_or("xsd:double"),
            Kind::Date => {
                let day = text.get(..10).is_some_and(|day| day.parse::<jiff::civil::Date>().is_ok());
                let end = text.get(10..).is_some_and(|end| end.is_empty() || end.starts_with(['Z', '+', '-', 'T']));
                (day && end).then_some(()).ok_or("xsd:date")
            }
            // Seen: a day alone is not a valid xsd:dateTime, though the REST API takes it.
            Kind::DateTime => soql::parse_datetime(text).map(|_| ()).ok_or("xsd:dateTime"),
            Kind::Other => Ok(()),
        };
        fits.map(|()| Value::String(text.to_owned()))
    }
}

pub(super) struct Columns {
    columns: Vec<Column>,
    operation: Operation,
}

impl Columns {
    /// Finds the fields that a header names. An unknown one ends the job.
    pub(super) fn find(
        schema: &Schema,
        object: &SObject,
        header: &StringRecord,
        operation: Operation,
    ) -> Result<Self, String> {
        let mut columns = Vec::with_capacity(header.len());
        for name in header {
            columns.push(match (object.field(name), name.split_once('.')) {
                (Some(field), _) if field.kind == FieldKind::Id => Column::Id,
                (Some(field), _) if field.is_stored() => {
                    Column::Field { name: field.name.clone(), kind: Kind::of(field) }
                }
                (None, Some((relationship, key))) => Column::Reference(reference(schema, object, relationship, key)?),
                _ => return Err(format!("InvalidBatch : Field name not found : {name}")),
            });
        }
        if operation.is_delete() && !matches!(columns.as_slice(), [Column::Id]) {
            return Err(format!("InvalidBatch : The '{}' batch must contain only ids", operation.name()));
        }
        Ok(Columns { columns, operation })
    }

    /// Reads a row. Empty values are left out: they change nothing.
    pub(super) fn row(&self, record: &StringRecord) -> Result<Row, ApiError> {
        let mut row = Row { id: None, body: Map::new(), references: Vec::new() };
        for (at, (column, text)) in self.columns.iter().zip(record).enumerate() {
            if text.is_empty() {
                continue;
            }
            match column {
                Column::Id if self.operation == Operation::Insert => {
                    let message = "cannot specify Id in an insert call";
                    return Err(ApiError::bad("INVALID_FIELD_FOR_INSERT_UPDATE", message).on_fields(&["Id"]));
                }
                Column::Id => row.id = Some(text.to_owned()),
                Column::Field { name, .. } if text == NULL => {
                    row.body.insert(name.clone(), Value::Null);
                }
                Column::Field { name, kind } => {
                    let value = kind.value(text).map_err(|type_name| {
                        let message = format!(
                            "Failed to deserialize field at col {at}. Due to, '{text}' is not a valid value for the type {type_name}"
                        );
                        ApiError::bad("INVALID_FIELD", message).on_fields(&[name])
                    })?;
                    row.body.insert(name.clone(), value);
                }
                Column::Reference(lookup) if text == NULL => {
                    row.body.insert(lookup.field.clone(), Value::Null);
                }
                Column::Reference(lookup) => row.references.push((lookup.clone(), text.to_owned())),
            }
        }
        Ok(row)
    }
}

/// `Account` and `Ext__c`, or `Lead:Who` and `Email`: the type stands before a relationship that leads to several.
pub(super) fn reference(
    schema: &Schema,
    object: &SObject,
    relationship: &str,
    key: &str,
) -> Result<Arc<Lookup>, String> {
    let (type_name, relationship) =
        relationship.split_once(':').map_or((None, relationship), |(type_name, rest)| (Some(type_name), rest));
    let found = object.relationship(relationship).and_then(|(field, first)| match &field.kind {
        FieldKind::Reference { targets, .. } => Some((field, targets, first)),
        _ => None,
    });
    let Some((field, targets, first)) = found else {
        return Err(format!("InvalidBatch : Unable to find relationship: {relationship}"));
    };
    let target = match type_name {
        Some(_) if targets.len() == 1 => {
            return Err(format!(
                "InvalidBatch : type is not needed for non polymorphic foreign key references: {relationship}"
            ));
        }
        Some(name) => targets.iter().find(|t| t.eq_ignore_ascii_case(name)).map(String::as_str),
        // Owners are queues or people; without a type, people.
        None if targets.len() == 1 || first == "User" => Some(first),
        None => {
            // Wording unverified.
            return Err(format!(
                "InvalidBatch : type is needed for polymorphic foreign key references: {relationship}"
            ));
        }
    };
    let target = target.and_then(|name| schema.object(name));
    let key_field = target.and_then(|t| t.field(key)).filter(|f| f.external_id || f.id_lookup);
    match (target, key_field) {
        (Some(target), Some(key)) => {
            Ok(Arc::new(Lookup { field: field.name.clone(), target: target.name.clone(), key: key.name.clone() }))
        }
        _ => Err(format!("InvalidBatch : Field name not found : {relationship}.{key}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(object: &str, header: &[&str], operation: Operation) -> Result<Columns, String> {
        let schema = Schema::standard();
        Columns::find(&schema, schema.object(object).unwrap(), &StringRecord::from(header.to_vec()), operation)
    }

    #[test]
    fn headers_are_fields_in_any_case_or_paths_to_other_records() {
        let found = columns("Contact", &["LASTNAME", "Owner.Username", "Id"], Operation::Update).unwrap();
        let row = found.row(&StringRecord::from(vec![" x ", "a@b.c", "003"])).unwrap();
        assert_eq!((&row.body["LastName"], row.id.as_deref()), (&Value::from(" x "), Some("003")));
        let (lookup, value) = &row.references[0];
        assert_eq!((lookup.field.as_str(), lookup.target.as_str(), value.as_str()), ("OwnerId", "User", "a@b.c"));
        let who = columns("Task", &["Lead:Who.Email"], Operation::Insert).unwrap();
        assert_eq!(who.row(&StringRecord::from(vec!["l@x.y"])).unwrap().references[0].0.target, "Lead");
        for (object, header, wanted) in [
            ("Contact", "Nmae", "InvalidBatch : Field name not found : Nmae"),
            ("Contact", "MailingAddress", "InvalidBatch : Field name not found : MailingAddress"),
            ("Contact", "Nobody.Email", "InvalidBatch : Unable to find relationship: Nobody"),
            ("Contact", "Account.Phone", "InvalidBatch : Field name not found : Account.Phone"),
            (
                "Account",
                "Account:Parent.Id",
                "InvalidBatch : type is not needed for non polymorphic foreign key references: Parent",
            ),
            ("Task", "Who.Email", "InvalidBatch : type is needed for polymorphic foreign key references: Who"),
        ] {
            assert_eq!(columns(object, &[header], Operation::Insert).err().as_deref(), Some(wanted));
        }
        for header in [["Id", "LastName"].as_slice(), &["LastName"], &["Id", "Id"]] {
            assert_eq!(
                columns("Contact", header, Operation::HardDelete).err().as_deref(),
                Some("InvalidBatch : The 'hardDelete' batch must contain only ids")
            );
        }
    }

    #[test]
    fn values_are_checked_by_type_and_empty_ones_change_nothing() {
        let header = ["LastName", "DoNotCall", "Birthdate", "EmailBouncedDate", "Phone", "Fax"];
        let found = columns("Contact", &header, Operation::Update).unwrap();
        let read = |values: [&str; 6]| found.row(&StringRecord::from(values.to_vec()));
        let row = read(["", "YES", "2024-02-29", "2024-02-29T00:00:00.000Z", "#N/A", "#n/a"]).unwrap();
        let expected = serde_json::json!({"DoNotCall": true, "Birthdate": "2024-02-29",
            "EmailBouncedDate": "2024-02-29T00:00:00.000Z", "Phone": null, "Fax": "#n/a"});
        assert_eq!(Value::Object(row.body), expected);
        let error = read(["", "", "", "2018-09-28", "", ""]).err().unwrap();
        assert_eq!(
            (error.code, error.message.as_str()),
            (
                "INVALID_FIELD",
                "Failed to deserialize field at col 3. Due to, '2018-09-28' is not a valid value for the type xsd:dateTime"
            )
        );
        for wrong in [["", "maybe", "", "", "", ""], ["", "", "5/21/2015", "", "", ""]] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
