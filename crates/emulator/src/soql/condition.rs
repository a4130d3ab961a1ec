//! Conditions as SQL. Values travel as bound parameters, never inside the text.

use rusqlite::types::Value as SqlValue;

use super::ast::{Condition, Literal, Operand, Set, Value};
use super::expression::{self, Expression, expression, inner_name};
use super::plan::Planner;
use super::{dates, semi_join};
use crate::api_error::ApiError;
use crate::id;
use crate::schema::FieldKind;

type Sql = Result<String, ApiError>;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Place {
    Where,
    Having,
}

pub(super) fn condition(
    planner: &mut Planner<'_>,
    condition: &Condition,
    place: Place,
    values: &mut Vec<SqlValue>,
) -> Sql {
    match condition {
        Condition::All(parts) => joined(planner, parts, " AND ", place, values),
        Condition::Any(parts) => joined(planner, parts, " OR ", place, values),
        Condition::Not(inner) => Ok(format!("NOT coalesce({}, 0)", self::condition(planner, inner, place, values)?)),
        Condition::Compare { left, operator, value } => {
            let left = Left::new(planner, left, place)?;
            compare(planner, &left, operator, value, values)
        }
        Condition::In { left, negated, set } => {
            let written = left;
            let left = Left::new(planner, left, place)?;
            match set {
                Set::Query(query) => {
                    let list = semi_join::semi_join(planner, &left.expression, inner_name(written), query, values)?;
                    Ok(in_list(&left.expression.sql, &list, *negated, false))
                }
                Set::Values(list) => {
                    let (mut marks, mut null) = (Vec::new(), false);
                    for value in list {
                        match bound(planner, &left, value, "=")? {
                            Some(value) => {
                                values.push(value);
                                marks.push("?");
                            }
                            None => null = true,
                        }
                    }
                    Ok(in_list(&left.expression.sql, &format!("({})", marks.join(", ")), *negated, null))
                }
            }
        }
        Condition::Includes { left, negated, values: wanted } => {
            let left = Left::new(planner, left, place)?;
            includes(planner, &left, *negated, wanted, values)
        }
    }
}

/// Unlike SQL, a null is in a list that names it, and passes NOT IN with any other.
fn in_list(expression: &str, list: &str, negated: bool, null: bool) -> String {
    match (negated, null) {
        (false, false) => format!("{expression} IN {list}"),
        (false, true) => format!("({expression} IS NULL OR {expression} IN {list})"),
        (true, false) => format!("({expression} IS NULL OR {expression} NOT IN {list})"),
        (true, true) => format!("({expression} IS NOT NULL AND {expression} NOT IN {list})"),
    }
}

fn joined(planner: &mut Planner<'_>, parts: &[Condition], by: &str, place: Place, values: &mut Vec<SqlValue>) -> Sql {
    let parts: Vec<String> = parts.iter().map(|p| condition(planner, p, place, values)).collect::<Result<_, _>>()?;
    Ok(format!("({})", parts.join(by)))
}

/// The left side of a comparison.
struct Left {
    expression: Expression,
    /// The field that messages name.
    name: String,
    at: usize,
}

impl Left {
    fn new(planner: &mut Planner<'_>, operand: &Operand, place: Place) -> Result<Self, ApiError> {
        let expression = expression(planner, operand)?;
        let name = inner_name(operand);
        let field = expression.field.as_ref();
        match place {
            Place::Where => {
                if expression.aggregate {
                    return Err(expression::unexpected_call(planner, operand));
                }
                if let Some(field) = field.filter(|f| !(f.filterable && f.kind.has_column())) {
                    let text = format!("field '{}' can not be filtered in a query call", field.name);
                    return Err(planner.error("INVALID_FIELD", name.at, &text));
                }
            }
            Place::Having if !planner.is_grouped(&expression) => {
                let text = format!("Field must be grouped or aggregated: {}", name.text);
                return Err(planner.malformed(name.at, &text));
            }
            Place::Having => {}
        }
        let known = field.map_or_else(|| name.text.clone(), |f| f.name.clone());
        Ok(Left { name: known, at: name.at, expression })
    }
}

fn includes(planner: &Planner<'_>, left: &Left, negated: bool, wanted: &[Value], values: &mut Vec<SqlValue>) -> Sql {
    if !matches!(left.expression.kind, FieldKind::Picklist { type_name: "multipicklist", .. }) {
        // Code documented, words unverified.
        let text = "includes or excludes operator only valid on multipicklist field";
        return Err(planner.error("INVALID_QUERY_FILTER_OPERATOR", left.at, text));
    }
    let expression = &left.expression.sql;
    let mut any = Vec::new();
    for value in wanted {
        let Literal::Text(text) = &value.literal else { return Err(wrong(planner, left, value, STRING)) };
        let all: Vec<String> = text
            .split(';')
            .map(|part| {
                values.push(SqlValue::Text(format!(";{};", part.trim().to_lowercase())));
                format!("instr(';' || lower({expression}) || ';', ?) > 0")
            })
            .collect();
        any.push(format!("({})", all.join(" AND ")));
    }
    let any = format!("coalesce({}, 0)", any.join(" OR "));
    Ok(if negated { format!("NOT {any}") } else { any })
}

fn compare(planner: &Planner<'_>, left: &Left, operator: &str, value: &Value, values: &mut Vec<SqlValue>) -> Sql {
    let expression = &left.expression.sql;
    let kind = &left.expression.kind;
    if let Literal::Relative(name, count) = &value.literal {
        return relative(planner, left, operator, (name, *count), value, values);
    }
    let unfit = |what: &str| {
        let text = format!("invalid operator on {what} field");
        Err(planner.error("INVALID_QUERY_FILTER_OPERATOR", value.at, &text))
    };
    if operator == "like" {
        match kind {
            FieldKind::Id | FieldKind::Reference { .. } => return unfit("id"),
            FieldKind::Text { .. } | FieldKind::Picklist { .. } => {}
            other => return unfit(other.type_name()),
        }
        if !matches!(value.literal, Literal::Text(_)) {
            return Err(wrong(planner, left, value, STRING));
        }
        values.push(SqlValue::Text(value.pattern.clone()));
        return Ok(format!("soql_like(?, {expression})"));
    }
    if *kind == FieldKind::Boolean && !matches!(operator, "=" | "!=" | "<>") {
        return unfit("boolean");
    }
    let sql_operator = match operator {
        "=" => "IS",
        "!=" | "<>" => "IS NOT",
        other => other,
    };
    Ok(match bound(planner, left, value, operator)? {
        Some(value) => {
            values.push(value);
            // `IS` would keep SQLite from using an index with a bound value; `=` differs only for null.
            let sql_operator = if sql_operator == "IS" { "=" } else { sql_operator };
            format!("{expression} {sql_operator} ?")
        }
        None => format!("{expression} {sql_operator} NULL"),
    })
}

const STRING: &str = "string and should be enclosed in quotes";

fn wrong(planner: &Planner<'_>, left: &Left, value: &Value, expected: &str) -> ApiError {
    let text = format!("value of filter criterion for field '{}' must be of type {expected}", left.name);
    planner.error("INVALID_FIELD", value.at, &text)
}

fn expected(kind: &FieldKind) -> &'static str {
    match kind {
        FieldKind::Boolean => "boolean and should not be enclosed in quotes",
        FieldKind::Int { .. } => "int and should not be enclosed in quotes",
        FieldKind::Number { .. } => "double and should not be enclosed in quotes",
        FieldKind::DateTime => "dateTime and should not be enclosed in quotes",
        FieldKind::Date => "date and should not be enclosed in quotes",
        FieldKind::Time => "time and should not be enclosed in quotes",
        _ => STRING,
    }
}

/// The value in the form in which the column stores it; `None` is null.
fn bound(planner: &Planner<'_>, left: &Left, value: &Value, operator: &str) -> Result<Option<SqlValue>, ApiError> {
    let kind = &left.expression.kind;
    Ok(Some(match (kind, &value.literal) {
        (_, Literal::Null) => return Ok(None),
        (FieldKind::Boolean, Literal::Boolean(b)) => SqlValue::Integer(i64::from(*b)),
        (FieldKind::Int { .. } | FieldKind::Number { .. }, Literal::Number(n)) => SqlValue::Real(*n),
        (FieldKind::Number { type_name: "currency", .. }, Literal::Currency(n)) => SqlValue::Real(*n),
        (FieldKind::DateTime, Literal::DateTime(at)) => SqlValue::Text(at.clone()),
        (FieldKind::Date, Literal::Date(day)) if day.parse::<jiff::civil::Date>().is_ok() => {
            SqlValue::Text(day.clone())
        }
        (kind, Literal::Text(text)) if kind.is_id() => {
            if text.is_empty() {
                return Ok(None);
            }
            // The ids of standard objects are their names.
            if matches!(kind, FieldKind::Reference { targets, .. } if targets == &["EntityDefinition"]) {
                return Ok(Some(SqlValue::Text(text.clone())));
            }
            match id::normalise(text) {
                Some(id) => SqlValue::Text(id),
                // `Id > '003'` walks an object by key range; only equality needs a whole id.
                None if matches!(operator, "<" | ">" | "<=" | ">=") => SqlValue::Text(text.clone()),
                None => {
                    let text = format!("invalid ID field: {text}");
                    return Err(planner.error("INVALID_QUERY_FILTER_OPERATOR", value.at, &text));
                }
            }
        }
        (FieldKind::Text { .. } | FieldKind::Picklist { .. } | FieldKind::Base64, Literal::Text(text)) => {
            if text.is_empty() {
                return Ok(None);
            }
            SqlValue::Text(text.clone())
        }
        (kind, _) => return Err(wrong(planner, left, value, expected(kind))),
    }))
}

fn relative(
    planner: &Planner<'_>,
    left: &Left,
    operator: &str,
    (name, count): (&str, Option<i64>),
    value: &Value,
    values: &mut Vec<SqlValue>,
) -> Sql {
    let Some((from, to)) = dates::range(name, count, planner.context.now) else {
        let written = planner.context.soql.get(value.at..value.at + name.len()).unwrap_or(name);
        return Err(planner.malformed(value.at, &format!("unexpected token: '{written}'")));
    };
    let edge = |day: jiff::civil::Date| match left.expression.kind {
        FieldKind::DateTime => SqlValue::Text(format!("{day}T00:00:00.000+0000")),
        _ => SqlValue::Text(day.to_string()),
    };
    if !matches!(left.expression.kind, FieldKind::DateTime | FieldKind::Date) {
        return Err(wrong(planner, left, value, expected(&left.expression.kind)));
    }
    let expression = &left.expression.sql;
    let mut push = |day| {
        values.push(edge(day));
        "?"
    };
    Ok(match operator {
        "=" => format!("({expression} >= {} AND {expression} < {})", push(from), push(to)),
        "!=" | "<>" => {
            format!("({expression} IS NULL OR {expression} < {} OR {expression} >= {})", push(from), push(to))
        }
        "<" => format!("{expression} < {}", push(from)),
        ">" => format!("{expression} >= {}", push(to)),
        "<=" => format!("{expression} < {}", push(to)),
        ">=" => format!("{expression} >= {}", push(from)),
        // LIKE.
        _ => {
            let text = format!("invalid operator on {} field", left.expression.kind.type_name());
            return Err(planner.error("INVALID_QUERY_FILTER_OPERATOR", value.at, &text));
        }
    })
}
