//! Semi-joins and anti-joins: `Id IN (SELECT AccountId FROM Contact)`. The restrictions are those of the SOQL
//! and SOSL Reference; wordings, where `wire.md` has none, are from memory of real orgs.

use rusqlite::types::Value as SqlValue;

use super::ast::{Condition, Name, Operand, Query, Selection, Set};
use super::condition::{Place, condition};
use super::expression::Expression;
use super::path::unknown_object;
use super::plan::Planner;
use crate::api_error::ApiError;
use crate::schema::{Field, FieldKind, SObject};

const MAX_SEMI_JOINS: usize = 2;

/// At most two in a query, and not beside or below OR or NOT.
pub(super) fn check_places(planner: &Planner<'_>, filter: &Condition) -> Result<(), ApiError> {
    let mut found = Vec::new();
    collect(filter, None, &mut found);
    for (n, (name, below)) in found.iter().enumerate() {
        if let Some(text) = below {
            return Err(planner.malformed(name.at, text));
        }
        if n >= MAX_SEMI_JOINS {
            let text = format!("Cannot have more than {MAX_SEMI_JOINS} semi join sub-selects");
            return Err(planner.malformed(name.at, &text));
        }
    }
    Ok(())
}

fn collect<'c>(
    condition: &'c Condition,
    below: Option<&'static str>,
    found: &mut Vec<(&'c Name, Option<&'static str>)>,
) {
    match condition {
        Condition::All(parts) => parts.iter().for_each(|p| collect(p, below, found)),
        Condition::Any(parts) => {
            let below = below.or(Some("Semi join sub-selects are not allowed with the 'OR' operator"));
            parts.iter().for_each(|p| collect(p, below, found));
        }
        Condition::Not(inner) => {
            const NESTED: &str = "Semi join sub-selects are only allowed at the top level WHERE expressions and not in nested WHERE expressions.";
            collect(inner, below.or(Some(NESTED)), found);
        }
        Condition::In { left, set: Set::Query(_), .. } => found.push((super::expression::inner_name(left), below)),
        _ => {}
    }
}

pub(super) fn semi_join(
    planner: &Planner<'_>,
    left: &Expression,
    left_name: &Name,
    query: &Query,
    values: &mut Vec<SqlValue>,
) -> Result<String, ApiError> {
    if planner.table != "t0" {
        return Err(planner.malformed(left_name.at, "Nesting of semi join sub-selects is not supported"));
    }
    let context = planner.context;
    let object = context.schema.object(&query.object.text);
    let object = object.ok_or_else(|| unknown_object(context.soql, &query.object))?;
    if let Some(clause) = &query.first_clause {
        return Err(planner.malformed(clause.at, &format!("unexpected token: '{}'", clause.text)));
    }
    let [Selection::Operand { operand: Operand::Path(name), .. }] = query.selections.as_slice() else {
        let text = "The inner select of a semi join must have exactly one field";
        return Err(planner.malformed(query.object.at, text));
    };
    let outer = left.field.as_ref().filter(|f| f.kind.is_id()).ok_or_else(|| {
        let text = format!(
            "The left operand field in the where expression for outer query should be an id field, cannot use: '{}'",
            left_name.text
        );
        planner.malformed(left_name.at, &text)
    })?;
    let mut inner = Planner::new(context, object, query, "s0");
    let selected = inner.resolve(name)?;
    if !selected.field.kind.is_id() {
        let text = format!("The inner select field '{}' should be an id field", name.text);
        return Err(planner.malformed(name.at, &text));
    }
    if object.name == planner.object.name {
        let text = "The inner and outer selects should not be on the same object type";
        return Err(planner.malformed(query.object.at, text));
    }
    let (wanted, found) = (targets(outer, planner.object), targets(&selected.field, object));
    if !wanted.iter().any(|t| found.contains(t)) {
        let text = format!(
            "The selected field '{}' in the subquery and the left operand field in the where expression in the outer query '{}' should point to the same object type",
            name.text, left_name.text
        );
        return Err(planner.malformed(name.at, &text));
    }
    let field = selected.sql;
    let mut filters = vec![format!("{field} IS NOT NULL")];
    if object.field("IsDeleted").is_some() {
        filters.push("s0.\"IsDeleted\" = 0".to_owned());
    }
    if let Some(filter) = &query.filter {
        filters.push(condition(&mut inner, filter, Place::Where, values)?);
    }
    Ok(format!("(SELECT {field} FROM \"{}\" s0{} WHERE {})", object.name, inner.joins_sql(), filters.join(" AND ")))
}

/// The objects that an id in this field can be of. A path's own Id is taken for the object's.
fn targets<'f>(field: &'f Field, object: &'f SObject) -> Vec<&'f str> {
    match &field.kind {
        FieldKind::Reference { targets, .. } => targets.iter().map(String::as_str).collect(),
        _ => vec![&object.name],
    }
}
