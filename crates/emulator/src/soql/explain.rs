//! `query?explain=`: a plan like those that Salesforce tells. Keys and notes are those of the REST API Developer
//! Guide; costs are estimates over this org's own counts.

use rusqlite::Connection;
use serde_json::{Value, json};

use super::ast::{Condition, Query, Set};
use super::expression::inner_name;
use super::plan::Plan;
use super::run::{self, Found};
use crate::api_error::ApiError;
use crate::schema::{FieldKind, SObject};

pub(crate) fn explain(
    db: &Connection,
    soql: &str,
    query: &Query,
    plan: &Plan,
    object: &SObject,
) -> Result<Value, ApiError> {
    let alive = if object.field("IsDeleted").is_some() { " WHERE \"IsDeleted\" = 0" } else { "" };
    let sql = format!("SELECT count(*) FROM \"{}\"{alive}", object.name);
    let all: i64 = db.query_row(&sql, [], |row| row.get(0))?;
    let found = match run::find(db, plan)? {
        Found::Rows(rows) => rows.len() as i64,
        Found::Count(n) => n as i64,
        Found::Aggregates(_) => all,
    };
    let (mut indexed, mut others) = (Vec::new(), Vec::new());
    if let Some(filter) = &query.filter {
        collect(filter, object, &mut indexed, &mut others);
    }
    if !alive.is_empty() {
        others.push("IsDeleted".to_owned());
    }
    let notes: Vec<Value> = others
        .iter()
        .map(|field| {
            json!({
                "description": "Not considering filter for optimization because unindexed", "fields": [field],
                "tableEnumOrId": object.name,
            })
        })
        .collect();
    let scan = json!({
        "cardinality": if indexed.is_empty() { found } else { all }, "fields": [], "leadingOperationType": "TableScan",
        "notes": notes, "relativeCost": 1.3, "sobjectCardinality": all, "sobjectType": object.name,
    });
    let mut plans = Vec::new();
    if !indexed.is_empty() {
        let share = if all == 0 { 0.0 } else { found as f64 / all as f64 };
        plans.push(json!({
            "cardinality": found, "fields": indexed, "leadingOperationType": "Index", "notes": notes,
            "relativeCost": (share * 10.0 * 1_000.0).round() / 1_000.0, "sobjectCardinality": all,
            "sobjectType": object.name,
        }));
    }
    plans.push(scan);
    // The cheapest is the one that is used, and stands first.
    plans.sort_by(|a, b| {
        a["relativeCost"].as_f64().partial_cmp(&b["relativeCost"].as_f64()).unwrap_or(std::cmp::Ordering::Equal)
    });
    Ok(json!({"plans": plans, "sourceQuery": soql}))
}

/// The filtered fields, those with an index apart. OR and NOT use none.
fn collect(condition: &Condition, object: &SObject, indexed: &mut Vec<String>, others: &mut Vec<String>) {
    let (left, selective) = match condition {
        Condition::All(parts) => return parts.iter().for_each(|p| collect(p, object, indexed, others)),
        Condition::Any(parts) => {
            let mut any = Vec::new();
            parts.iter().for_each(|p| collect(p, object, &mut any, others));
            return others.append(&mut any);
        }
        Condition::Not(inner) => {
            let mut any = Vec::new();
            collect(inner, object, &mut any, others);
            return others.append(&mut any);
        }
        Condition::Compare { left, operator, .. } => (left, !matches!(operator.as_str(), "!=" | "<>" | "like")),
        Condition::In { left, negated, set } => (left, !negated && matches!(set, Set::Values(_))),
        Condition::Includes { left, .. } => (left, false),
    };
    let name = inner_name(left);
    let Some(field) = object.field(name.text.rsplit('.').next().unwrap_or("")) else { return };
    // Salesforce's own indexes: ids, references, names, audit dates, external ids.
    let has_index = field.name_field
        || field.external_id
        || field.id_lookup
        || matches!(field.kind, FieldKind::Reference { .. })
        || matches!(field.name.as_str(), "CreatedDate" | "SystemModstamp");
    let of = if selective && has_index { indexed } else { others };
    if !of.contains(&field.name) {
        of.push(field.name.clone());
    }
}
