//! What the form of an object's fields says, and the definition that it comes to.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::mappings::objects::{FieldView, ObjectDetail};

/// What the form sends: `keep-`, `as-` and `clean-` with the API name of each field, and a few words beside.
pub(super) type Form = BTreeMap<String, String>;

/// What can be done to a value here; all else can be set later, in the mapping itself.
type Clean = (&'static str, &'static str);

const TEXT: &[Clean] = &[
    ("trim", "Trim"),
    ("collapse", "Trim, one space between words"),
    ("lower", "Lower case"),
    ("upper", "Upper case"),
    ("title", "Title Case"),
];
const EMAIL: &[Clean] = &[("lower", "Lower case"), ("trim", "Trim")];
const PHONE: &[Clean] = &[("phone", "As +4930901820 (E.164)"), ("digits", "Digits only"), ("trim", "Trim")];
const SEVERAL: &[Clean] = &[("split", "As a list")];

/// What makes sense for a type of field.
pub(super) fn cleans(type_name: &str) -> &'static [Clean] {
    match type_name {
        "string" | "textarea" | "combobox" | "url" | "picklist" => TEXT,
        "email" => EMAIL,
        "phone" => PHONE,
        "multipicklist" => SEVERAL,
        _ => &[],
    }
}

/// A field that can have a column.
pub(super) struct Field<'o> {
    pub(super) view: &'o FieldView,
    /// The column that it has unless told otherwise.
    pub(super) column: &'o str,
}

/// The fields that can have one, in the org's order.
pub(super) fn fields_of(object: &ObjectDetail) -> Vec<Field<'_>> {
    let columns: BTreeMap<&str, &str> = (object.columns.iter())
        .filter_map(|column| Some((column.sources.first()?.as_str(), column.name.as_str())))
        .collect();
    let field = |view: &'_ FieldView| columns.get(view.name.as_str()).copied();
    object.fields.iter().filter_map(|view| Some(Field { view, column: field(view)? })).collect()
}

/// The first form: everything is kept as it is.
pub(super) fn first(object: &ObjectDetail, table: String) -> Form {
    let kept = fields_of(object).into_iter().map(|field| (format!("keep-{}", field.view.name), "on".to_owned()));
    let beside = [("table", table), ("region", "US".to_owned()), ("new_fields", "on".to_owned())];
    kept.chain(beside.map(|(name, value)| (name.to_owned(), value))).collect()
}

/// The text of a form's field, without white space at its ends.
pub(super) fn text<'f>(form: &'f Form, name: &str) -> &'f str {
    form.get(name).map_or("", |value| value.trim())
}

pub(super) fn keeps(form: &Form, field: &str) -> bool {
    form.contains_key(&format!("keep-{field}"))
}

/// A definition, and the field that each of its columns is of: by these, flaws find their places in the form.
pub(super) struct Draft {
    pub(super) definition: Map<String, Value>,
    pub(super) fields: Vec<String>,
}

impl Draft {
    pub(super) fn of(form: &Form, object: &ObjectDetail) -> Self {
        let all = fields_of(object);
        let takes_new = form.contains_key("new_fields");
        let (mut columns, mut fields, mut ignore) = (Vec::new(), Vec::new(), Vec::new());
        for Field { view, .. } in &all {
            if !keeps(form, &view.name) {
                ignore.push(view.name.clone());
                continue;
            }
            let column = column_of(form, view);
            // Beside all fields, only what differs is written down.
            if !takes_new || column.len() > 1 {
                columns.push(Value::Object(column));
                fields.push(view.name.clone());
            }
        }
        let table = text(form, "table");
        let mut definition = Map::new();
        definition.insert("name".to_owned(), table.into());
        definition.insert("object".to_owned(), object.name.as_str().into());
        if takes_new {
            definition.insert("all_fields".to_owned(), true.into());
            if !ignore.is_empty() {
                definition.insert("ignore".to_owned(), ignore.into());
            }
        }
        if !columns.is_empty() {
            definition.insert("columns".to_owned(), columns.into());
        }
        Self { definition, fields }
    }
}

fn column_of(form: &Form, view: &FieldView) -> Map<String, Value> {
    let mut column = Map::new();
    column.insert("field".to_owned(), view.name.as_str().into());
    let given = text(form, &format!("as-{}", view.name));
    if !given.is_empty() {
        column.insert("column".to_owned(), given.into());
    }
    let clean = text(form, &format!("clean-{}", view.name));
    if cleans(&view.type_name).iter().any(|(name, _)| *name == clean) {
        let step = if clean == "phone" { json!({"phone": text(form, "region").to_uppercase()}) } else { clean.into() };
        column.insert("transforms".to_owned(), json!([step]));
    }
    column
}

/// A name for the table of an object that no other has: `Custom_Thing__c` in `custom_thing`.
pub(super) fn table_of(object: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let mut name = String::new();
    let plain = object.strip_suffix("__c").unwrap_or(object);
    for (n, letter) in plain.chars().enumerate() {
        let before = n.checked_sub(1).and_then(|n| plain.chars().nth(n));
        let begins_word = letter.is_ascii_uppercase() && before.is_some_and(|c| c.is_ascii_lowercase());
        if (begins_word || letter == '_') && !name.ends_with('_') {
            name.push('_');
        }
        if letter != '_' {
            name.push(letter.to_ascii_lowercase());
        }
    }
    let name = name.trim_matches('_').to_owned();
    let mut names = (1..).map(|n| if n == 1 { name.clone() } else { format!("{name}_{n}") });
    names.find(|name| !is_taken(name)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_named_after_their_objects() {
        let free = |_: &str| false;
        for (object, table) in [
            ("Account", "account"),
            ("OpportunityLineItem", "opportunity_line_item"),
            ("Custom_Thing__c", "custom_thing"),
            ("npsp__Batch__c", "npsp_batch"),
        ] {
            assert_eq!(table_of(object, free), table);
        }
        assert_eq!(table_of("Account", |name| name == "account" || name == "account_2"), "account_3");
    }
}
