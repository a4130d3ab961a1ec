//! `query?columns=true`: what a query selects, as the Salesforce CLI asks for it. Undocumented; the keys are those
//! that the CLI reads, and values beyond its recorded ones are unverified.

use serde_json::{Value, json};

use super::ast::{Name, Operand, Query, Selection};
use super::expression::{expression, inner_name};
use super::plan::{Context, Planner};
use crate::api_error::ApiError;
use crate::schema::{Field, FieldKind, SObject};

pub(crate) fn metadata(context: &Context<'_>, query: &Query) -> Result<Value, ApiError> {
    let object = context.schema.object(&query.object.text);
    let object = object.ok_or_else(|| super::path::unknown_object(context.soql, &query.object))?;
    let columns = columns(context, query, object)?;
    let id_selected = columns.iter().any(|c| c["columnName"] == "Id" && c["aggregate"] == false);
    Ok(json!({
        "columnMetadata": columns, "entityName": object.name, "groupBy": !query.group_by.is_empty(),
        "idSelected": id_selected, "keyPrefix": object.key_prefix,
    }))
}

fn columns(context: &Context<'_>, query: &Query, object: &SObject) -> Result<Vec<Value>, ApiError> {
    let mut planner = Planner::new(*context, object, query, "t0");
    let mut columns = Vec::new();
    let mut unnamed = 0;
    for selection in &query.selections {
        match selection {
            Selection::Children(inner) => {
                let found = context.schema.children(object).find(|(.., name)| {
                    name.is_some_and(|n| {
                        inner.object.text.rsplit('.').next().is_some_and(|w| n.eq_ignore_ascii_case(w))
                    })
                });
                if let Some((child, link, Some(key))) = found {
                    let joined = self::columns(context, inner, child)?;
                    columns.push(joined_column(key, true, &link.name, joined));
                }
            }
            Selection::TypeOf(type_of) => {
                let steps = planner.steps(&type_of.field);
                planner.follow(&steps, type_of.field.at)?;
                let key = planner.join(&super::path::path_of(&steps)).map(|j| j.key.clone()).unwrap_or_default();
                let mut names: Vec<&Name> = Vec::new();
                for name in type_of.branches.iter().flat_map(|(_, names)| names).chain(&type_of.otherwise) {
                    if !names.iter().any(|n| n.text.eq_ignore_ascii_case(&name.text)) {
                        names.push(name);
                    }
                }
                let joined = names.iter().map(|n| column(&n.text, &n.text, false, None, &TEXT)).collect();
                columns.push(joined_column(&key, false, &format!("{key}Id"), joined));
            }
            Selection::Operand { operand: Operand::Call { function, arguments }, .. } if arguments.is_empty() => {
                columns.push(column(&function.text, &function.text, true, None, &INT));
            }
            Selection::Operand { operand: Operand::Call { function, arguments }, .. }
                if function.text.eq_ignore_ascii_case("fields") =>
            {
                let which = arguments.first().map_or("", |a| inner_name(a).text.as_str()).to_ascii_uppercase();
                let fits = |f: &&Field| match which.as_str() {
                    "STANDARD" => !f.name.ends_with("__c"),
                    "CUSTOM" => f.name.ends_with("__c"),
                    _ => true,
                };
                columns.extend(object.fields.iter().filter(fits).map(plain));
            }
            Selection::Operand { operand: Operand::Path(name), alias: None } => {
                let steps = planner.steps(name);
                let field = planner.resolve(name)?.field;
                let keys: Vec<(String, String)> = (1..steps.len())
                    .filter_map(|n| planner.join(&super::path::path_of(&steps[..n])))
                    .map(|j| (j.key.clone(), format!("{}Id", j.key)))
                    .collect();
                place(&mut columns, &keys, plain(&field));
            }
            Selection::Operand { operand, alias } => {
                let found = expression(&mut planner, operand)?;
                let label = written(operand);
                let aggregate = found.aggregate || found.date_function;
                let name = match (alias, &found.field) {
                    (Some(alias), _) => alias.text.clone(),
                    (None, Some(field)) if !aggregate => field.name.clone(),
                    _ => {
                        unnamed += 1;
                        format!("expr{}", unnamed - 1)
                    }
                };
                columns.push(column(&name, &label, aggregate, None, &found.kind));
            }
        }
    }
    Ok(columns)
}

/// Puts a parent's field below its relationships.
fn place(columns: &mut Vec<Value>, keys: &[(String, String)], leaf: Value) {
    let Some(((key, link), rest)) = keys.split_first() else { return columns.push(leaf) };
    let at = columns.iter().position(|c| c["columnName"] == key.as_str()).unwrap_or_else(|| {
        columns.push(joined_column(key, false, link, Vec::new()));
        columns.len() - 1
    });
    if let Some(Value::Array(joined)) = columns[at].get_mut("joinColumns") {
        place(joined, rest, leaf);
    }
}

fn written(operand: &Operand) -> String {
    match operand {
        Operand::Path(name) => name.text.clone(),
        Operand::Call { function, arguments } => {
            let inner: Vec<String> = arguments.iter().map(written).collect();
            format!("{}({})", function.text, inner.join(", "))
        }
    }
}

const TEXT: FieldKind = FieldKind::Text { type_name: "string", length: 255 };
const INT: FieldKind = FieldKind::Int { digits: 9 };

fn plain(field: &Field) -> Value {
    column(&field.name, &field.name, false, Some(field), &field.kind)
}

fn joined_column(key: &str, children: bool, link: &str, joined: Vec<Value>) -> Value {
    json!({
        "aggregate": children, "apexType": null, "booleanType": false, "columnName": key,
        "custom": key.ends_with("__r"), "displayName": key, "foreignKeyName": link, "insertable": false,
        "joinColumns": joined, "numberType": false, "textType": false, "updatable": false,
    })
}

fn column(name: &str, label: &str, aggregate: bool, field: Option<&Field>, kind: &FieldKind) -> Value {
    let apex_type = match kind {
        FieldKind::Id | FieldKind::Reference { .. } => "Id",
        FieldKind::Boolean => "Boolean",
        FieldKind::Int { .. } => "Integer",
        FieldKind::Number { .. } => "Double",
        FieldKind::Date => "Date",
        FieldKind::DateTime => "Datetime",
        FieldKind::Time => "Time",
        FieldKind::Base64 => "Blob",
        FieldKind::Address | FieldKind::Location => "complexvalue",
        FieldKind::Text { .. } | FieldKind::Picklist { .. } => "String",
    };
    json!({
        "aggregate": aggregate, "apexType": apex_type, "booleanType": *kind == FieldKind::Boolean,
        "columnName": name, "custom": name.ends_with("__c"), "displayName": label, "foreignKeyName": null,
        "insertable": field.is_some_and(|f| f.createable), "joinColumns": [],
        "numberType": matches!(kind, FieldKind::Int { .. } | FieldKind::Number { .. }),
        "textType": apex_type == "String", "updatable": field.is_some_and(|f| f.updateable),
    })
}
