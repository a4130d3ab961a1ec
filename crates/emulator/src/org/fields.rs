//! The schema while the org lives: objects and fields that are made, changed and removed, with what becomes of the values.

use rusqlite::Connection;
use rusqlite::types::Value as SqlValue;

use super::Org;
use crate::api_error::ApiError;
use crate::formula;
use crate::records;
use crate::schema::{Field, FieldKind, SObject, location_parts, typed_field};

/// What becomes of a custom field.
#[derive(Debug, Default)]
pub(crate) struct FieldChange {
    pub(crate) name: Option<String>,
    pub(crate) label: Option<String>,
    /// As `schema/standard.txt` writes it.
    pub(crate) kind: Option<String>,
    pub(crate) required: Option<bool>,
    /// Of a picklist.
    pub(crate) restricted: Option<bool>,
    pub(crate) formula: Option<String>,
}

fn bad(message: impl Into<String>) -> ApiError {
    ApiError::bad("INVALID_FIELD", message)
}

impl Org {
    /// To be called after each change of the schema.
    fn schema_edited(&mut self) {
        self.schema_changed = self.now();
        self.schema_edits += 1;
    }

    /// Adds a custom field.
    pub(crate) fn add_field(&mut self, object: &str, field: Field) -> Result<(), ApiError> {
        self.as_system(|org| {
            let name = org.object(object)?.name.clone();
            let mut fields = if field.kind == FieldKind::Location { location_parts(&field) } else { Vec::new() };
            fields.push(field);
            for field in fields {
                records::add_column(&org.db, &name, &field)?;
                if let Some(object) = org.schema.object_mut(&name) {
                    object.add_field(field);
                }
            }
            org.schema_edited();
            Ok(())
        })
    }

    /// Adds a custom field whose value is worked out.
    pub(crate) fn add_formula(
        &mut self,
        object: &str,
        mut field: Field,
        text: &str,
        blank_as_zero: bool,
    ) -> Result<(), ApiError> {
        self.as_system(|org| {
            let described = org.object(object)?;
            field.formula = Some(formula::compile(&org.schema, described, &field, text, blank_as_zero).map_err(bad)?);
            (field.createable, field.updateable, field.calculated) = (false, false, true);
            (field.required, field.nillable, field.default) = (false, field.kind != FieldKind::Boolean, None);
            match described.field(&field.name).map(Field::is_stored) {
                None => org.add_field(object, field),
                Some(true) => Err(bad(format!("there is a field {} already", field.name))),
                Some(false) => {
                    org.schema_edited();
                    let object = org.schema.object_mut(object).ok_or_else(ApiError::not_found)?;
                    object.replace_field(field);
                    Ok(())
                }
            }
        })
    }

    /// Adds a custom field, or changes one of the same kind.
    pub(crate) fn put_field(&mut self, object: &str, field: Field) -> Result<(), ApiError> {
        self.as_system(|org| {
            let name = org.object(object)?.name.clone();
            if org.object(&name)?.field(&field.name).is_none() {
                return org.add_field(&name, field);
            }
            records::index(&org.db, &name, &field)?;
            if let Some(object) = org.schema.object_mut(&name) {
                object.replace_field(field);
            }
            org.schema_edited();
            Ok(())
        })
    }

    pub(crate) fn remove_field(&mut self, object: &str, field: &str) -> Result<(), ApiError> {
        self.as_system(|org| {
            let described = org.object(object)?;
            let Some(field) = described.field(field).cloned() else { return Ok(()) };
            let name = described.name.clone();
            let mut gone = vec![field.clone()];
            gone.extend(described.fields.iter().filter(|part| part.compound.as_deref() == Some(&field.name)).cloned());
            if let Some(user) = org.formula_that_reads(&field.name) {
                // Salesforce refuses it too, in other words.
                return Err(ApiError::bad(
                    "DEPENDENCY_EXISTS",
                    format!("the formula {user} reads the field {}", field.name),
                ));
            }
            for field in gone {
                if field.is_stored() {
                    records::drop_column(&org.db, &name, &field.name)?;
                }
                if let Some(object) = org.schema.object_mut(&name) {
                    object.remove_field(&field.name);
                }
                org.end_queries_of(&name, &field.name);
            }
            org.schema_edited();
            Ok(())
        })
    }

    /// A formula field that names a field, whatever its object.
    fn formula_that_reads(&self, field: &str) -> Option<String> {
        let word = |text: &str| {
            text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word.eq_ignore_ascii_case(field))
        };
        self.schema.objects().find_map(|object| {
            let reads = object.fields.iter().find(|f| f.formula.as_ref().is_some_and(|formula| word(&formula.text)))?;
            Some(format!("{}.{}", object.name, reads.name))
        })
    }

    /// Renames or retypes a custom field. Values go with it, as far as the new type can hold them; no record counts as
    /// modified, which is a guess.
    pub(crate) fn change_field(&mut self, object: &str, name: &str, change: &FieldChange) -> Result<(), ApiError> {
        self.as_system(|org| org.change_field_of_all(object, name, change))
    }

    fn change_field_of_all(&mut self, object: &str, name: &str, change: &FieldChange) -> Result<(), ApiError> {
        let described = self.object(object)?;
        let old = described
            .field(name)
            .filter(|f| f.is_custom())
            .cloned()
            .ok_or_else(|| bad(format!("No such column '{name}' on sobject of type {}", described.name)))?;
        let table = described.name.clone();
        if let Some(text) = &change.formula {
            let blank_as_zero = old.formula.as_ref().is_some_and(|formula| formula.blank_as_zero);
            return self.add_formula(&table, old, text, blank_as_zero);
        }
        let new_name = change.name.clone().unwrap_or_else(|| old.name.clone());
        if new_name != old.name {
            check_name(&new_name)?;
            if !new_name.eq_ignore_ascii_case(&old.name) && described.field(&new_name).is_some() {
                return Err(bad(format!("there is a field {new_name} already")));
            }
            if let Some(user) = self.formula_that_reads(&old.name) {
                return Err(ApiError::bad(
                    "DEPENDENCY_EXISTS",
                    format!("the formula {user} reads the field {}", old.name),
                ));
            }
            if old.kind == FieldKind::Location {
                return Err(bad("a location cannot be renamed here: its parts are fields of their own"));
            }
        }
        let mut new = old.clone();
        new.name = new_name;
        if let Some(kind) = &change.kind {
            if !old.is_stored() {
                return Err(bad(format!("the field {} has no values of its own", old.name)));
            }
            let typed = typed_field(&new.name, kind, "create update").map_err(bad)?;
            if !typed.is_stored() {
                return Err(bad(format!("a field cannot become a {}", typed.kind.type_name())));
            }
            (new.kind, new.filterable, new.sortable, new.groupable) =
                (typed.kind, typed.filterable, typed.sortable, typed.groupable);
        } else if let FieldKind::Reference { relationship: Some(relationship), .. } = &mut new.kind
            && new.name != old.name
        {
            *relationship = format!("{}__r", new.name.trim_end_matches("__c"));
        }
        new.label = change.label.clone().unwrap_or(new.label);
        new.required = change.required.unwrap_or(new.required);
        new.restricted = change.restricted.unwrap_or(new.restricted);
        new.nillable = !new.required && new.kind != FieldKind::Boolean;
        if old.is_stored() && (new.name != old.name || new.kind != old.kind) {
            move_values(&self.db, &table, &old, &new)?;
            self.end_queries_of(&table, &old.name);
        }
        if let Some(object) = self.schema.object_mut(&table) {
            object.rename_field(&old.name, new);
        }
        self.schema_edited();
        Ok(())
    }

    /// Queries that are open, and jobs that run, read a column that is not there any more. A guess: pages of the former
    /// are `INVALID_QUERY_LOCATOR`, the latter fail.
    fn end_queries_of(&mut self, object: &str, field: &str) {
        self.cursors.end_those_of(object, field);
        self.bulk.fail_those_of(object, field);
    }

    /// Adds a custom object.
    pub(crate) fn add_object(&mut self, object: SObject) -> Result<(), ApiError> {
        self.as_system(|org| {
            records::create_table(&org.db, &object)?;
            org.schema.add(object);
            org.schema_edited();
            Ok(())
        })
    }

    /// A key prefix that no object has.
    pub(crate) fn free_prefix(&self) -> String {
        const DIGITS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
        let digit = |n: usize| char::from(DIGITS[n % DIGITS.len()]);
        let mut prefixes =
            (0..DIGITS.len() * DIGITS.len()).map(|n| format!("a{}{}", digit(n / DIGITS.len()), digit(n)));
        let taken = |prefix: &String| self.schema.objects().any(|object| object.key_prefix == *prefix);
        prefixes.find(|prefix| !taken(prefix)).unwrap_or_else(|| "aZZ".to_owned())
    }

    /// Removes a custom object with its records.
    pub(crate) fn remove_object(&mut self, name: &str) -> Result<(), ApiError> {
        self.as_system(|org| {
            let name = org.object(name)?.name.clone();
            if !name.ends_with("__c") {
                return Err(ApiError::bad("INVALID_TYPE", format!("{name} is no custom object")));
            }
            org.show_all_of(&name)?;
            org.db.execute_batch(&format!("DROP TABLE main.\"{name}\""))?;
            org.schema.remove(&name);
            org.purged.retain(|purged| purged.object != name);
            org.end_queries_of(&name, "Id");
            org.schema_edited();
            Ok(())
        })
    }
}

/// Custom fields end in `__c`.
pub(crate) fn check_name(name: &str) -> Result<(), ApiError> {
    let word = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if word && name.ends_with("__c") && name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Ok(());
    }
    Err(bad(format!("a custom name ends in __c: {name}")))
}

/// Makes the column anew, with the values in the form that the new type keeps.
fn move_values(db: &Connection, table: &str, old: &Field, new: &Field) -> Result<(), ApiError> {
    let rows: Vec<(i64, SqlValue)> = {
        let sql = format!("SELECT \"_row\", \"{}\" FROM main.\"{table}\"", old.name);
        let mut statement = db.prepare(&sql)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect::<Result<_, _>>()?
    };
    records::drop_column(db, table, &old.name)?;
    records::add_column(db, table, new)?;
    let sql = format!("UPDATE main.\"{table}\" SET \"{}\" = ?1 WHERE \"_row\" = ?2", new.name);
    let mut statement = db.prepare(&sql)?;
    for (row, value) in rows {
        let value = converted(value, &old.kind, &new.kind);
        if value != SqlValue::Null {
            statement.execute(rusqlite::params![value, row])?;
        }
    }
    Ok(())
}

/// The value in another type; null where that cannot hold it.
fn converted(value: SqlValue, old: &FieldKind, new: &FieldKind) -> SqlValue {
    let text = |value: &SqlValue| match (value, old) {
        (SqlValue::Text(text), _) => Some(text.clone()),
        (SqlValue::Integer(flag), FieldKind::Boolean) => Some(if *flag == 0 { "false" } else { "true" }.to_owned()),
        (SqlValue::Integer(number), _) => Some(number.to_string()),
        (SqlValue::Real(number), _) => Some(number.to_string()),
        (SqlValue::Null | SqlValue::Blob(_), _) => None,
    };
    let Some(text) = text(&value) else { return SqlValue::Null };
    match new {
        FieldKind::Boolean => SqlValue::Integer(i64::from(matches!(text.to_ascii_lowercase().as_str(), "true" | "1"))),
        FieldKind::Int { .. } => text.parse::<f64>().map_or(SqlValue::Null, |n| SqlValue::Integer(n.round() as i64)),
        FieldKind::Number { scale, .. } => match text.parse::<f64>() {
            Ok(number) => {
                let factor = 10f64.powi(i32::try_from(*scale).unwrap_or(0));
                SqlValue::Real((number * factor).round() / factor)
            }
            Err(_) => SqlValue::Null,
        },
        FieldKind::Text { length, .. } | FieldKind::Picklist { length, .. } => {
            let units: Vec<u16> = text.encode_utf16().take(*length as usize).collect();
            SqlValue::Text(String::from_utf16_lossy(&units))
        }
        FieldKind::Date => match text.get(..10).and_then(|day| day.parse::<jiff::civil::Date>().ok()) {
            Some(day) => SqlValue::Text(day.to_string()),
            None => SqlValue::Null,
        },
        FieldKind::DateTime => {
            let at = crate::soql::parse_datetime(&text)
                .or_else(|| crate::soql::parse_datetime(&format!("{text}T00:00:00Z")));
            at.map_or(SqlValue::Null, |at| SqlValue::Text(crate::clock::datetime(at)))
        }
        FieldKind::Id | FieldKind::Reference { .. } => {
            crate::id::normalise(&text).map_or(SqlValue::Null, SqlValue::Text)
        }
        FieldKind::Time | FieldKind::Base64 => SqlValue::Text(text),
        FieldKind::Address | FieldKind::Location => SqlValue::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_go_into_another_type_as_far_as_it_holds_them() {
        let kind = |text: &str| typed_field("X__c", text, "-").expect("a type").kind;
        let text = |text: &str| SqlValue::Text(text.to_owned());
        for (value, old, new, expected) in [
            (text("12.345"), "string 20", "double 18,2", SqlValue::Real(12.35)),
            (text("twelve"), "string 20", "double 18,2", SqlValue::Null),
            (SqlValue::Real(12.345), "double 18,3", "double 18,1", SqlValue::Real(12.3)),
            (SqlValue::Real(12.5), "double 18,3", "string 20", text("12.5")),
            (text("ab👩c"), "string 20", "string 4", text("ab👩")),
            (text("Red"), "string 20", "picklist 255 : Red; Blue", text("Red")),
            (SqlValue::Integer(1), "boolean", "string 10", text("true")),
            (text("2027-01-02"), "date", "datetime", text("2027-01-02T00:00:00.000+0000")),
            (text("2027-01-02T03:04:05.000+0000"), "datetime", "date", text("2027-01-02")),
            (SqlValue::Null, "string 20", "int 9", SqlValue::Null),
        ] {
            assert_eq!(converted(value.clone(), &kind(old), &kind(new)), expected, "{value:?} {old} {new}");
        }
    }
}
