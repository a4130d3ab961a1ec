//! Conditions and function calls as SQL. Values travel as bound parameters, never inside the text.

use rusqlite::types::Value as SqlValue;

use super::ast::{Condition, Literal, Operand, Set, Value};
use super::plan::{Planner, Render, render_of};
use super::{dates, positioned};
use crate::api_error::ApiError;
use crate::id;
use crate::schema::{Field, FieldKind};

type Sql = Result<String, ApiError>;

pub(super) fn condition(planner: &mut Planner<'_>, condition: &Condition, values: &mut Vec<SqlValue>) -> Sql {
    match condition {
        Condition::All(parts) => joined(planner, parts, " AND ", values),
        Condition::Any(parts) => joined(planner, parts, " OR ", values),
        Condition::Not(inner) => Ok(format!("NOT coalesce({}, 0)", self::condition(planner, inner, values)?)),
        Condition::Compare { left, operator, value } => {
            let (expression, field) = filterable(planner, left)?;
            compare(planner, &expression, field.as_ref(), operator, value, values)
        }
        Condition::In { left, negated, set } => {
            let (expression, field) = filterable(planner, left)?;
            let list = match set {
                Set::Query(query) => semi_join(planner, query, values)?,
                Set::Values(list) => {
                    let mut marks = Vec::new();
                    for value in list {
                        if let Some(value) = bound(planner, field.as_ref(), value, "=")? {
                            values.push(value);
                            marks.push("?");
                        }
                    }
                    format!("({})", marks.join(", "))
                }
            };
            // Unlike SQL, a null is not in the list and therefore passes NOT IN.
            Ok(if *negated {
                format!("({expression} IS NULL OR {expression} NOT IN {list})")
            } else {
                format!("{expression} IN {list}")
            })
        }
        Condition::Includes { left, negated, values: wanted } => {
            let (expression, _) = filterable(planner, left)?;
            let mut any = Vec::new();
            for value in wanted {
                let Literal::Text(text) = &value.literal else { continue };
                let all: Vec<String> = text
                    .split(';')
                    .map(|part| {
                        values.push(SqlValue::Text(format!(";{};", part.trim())));
                        format!("instr(';' || {expression} || ';', ?) > 0")
                    })
                    .collect();
                any.push(format!("({})", all.join(" AND ")));
            }
            let any = format!("coalesce({}, 0)", any.join(" OR "));
            Ok(if *negated { format!("NOT {any}") } else { any })
        }
    }
}

fn joined(planner: &mut Planner<'_>, parts: &[Condition], by: &str, values: &mut Vec<SqlValue>) -> Sql {
    let parts: Vec<String> = parts.iter().map(|p| condition(planner, p, values)).collect::<Result<_, _>>()?;
    Ok(format!("({})", parts.join(by)))
}

fn semi_join(planner: &mut Planner<'_>, query: &super::ast::Query, values: &mut Vec<SqlValue>) -> Sql {
    let schema = planner.schema;
    let Some(object) = schema.object(&query.object.text) else {
        return Err(positioned(
            "INVALID_TYPE",
            planner.soql,
            query.object.at,
            &format!("sObject type '{}' is not supported.", query.object.text),
        ));
    };
    let [super::ast::Selection::Operand { operand: Operand::Path(name), .. }] = query.selections.as_slice() else {
        return Err(positioned(
            "MALFORMED_QUERY",
            planner.soql,
            query.object.at,
            "a semi-join selects exactly one field",
        ));
    };
    let mut inner = Planner::new(planner.soql, schema, planner.now, object, query.alias.clone(), "s0");
    let field = inner.resolve(name)?.sql;
    let mut filters = vec![format!("{field} IS NOT NULL")];
    if object.field("IsDeleted").is_some() {
        filters.push("s0.\"IsDeleted\" = 0".to_owned());
    }
    if let Some(filter) = &query.filter {
        filters.push(condition(&mut inner, filter, values)?);
    }
    Ok(format!("(SELECT {field} FROM \"{}\" s0{} WHERE {})", object.name, inner.joins_sql(), filters.join(" AND ")))
}

fn filterable(planner: &mut Planner<'_>, left: &Operand) -> Result<(String, Option<Field>), ApiError> {
    let (expression, field) = operand(planner, left)?;
    if let (Some(field), Operand::Path(name)) = (&field, left)
        && !field.filterable
    {
        let text = format!("field '{}' can not be filtered in a query call", field.name);
        return Err(positioned("INVALID_FIELD", planner.soql, name.at, &text));
    }
    Ok((expression, field))
}

/// An operand as SQL, with the field it reads where there is one.
pub(super) fn operand(planner: &mut Planner<'_>, operand: &Operand) -> Result<(String, Option<Field>), ApiError> {
    let (function, arguments) = match operand {
        Operand::Path(name) => {
            let resolved = planner.resolve(name)?;
            return Ok((resolved.sql, Some(resolved.field)));
        }
        Operand::Call { function, arguments } => (function, arguments),
    };
    let inner = match arguments.first() {
        Some(argument) => Some(self::operand(planner, argument)?),
        None => None,
    };
    let name = function.text.to_ascii_lowercase();
    let (of, field) = inner.unwrap_or_else(|| ("*".to_owned(), None));
    let part = |from: u8, length: u8| format!("CAST(substr({of}, {from}, {length}) AS INTEGER)");
    Ok(match name.as_str() {
        "count" => (format!("count({of})"), None),
        "count_distinct" => (format!("count(DISTINCT {of})"), None),
        "sum" | "avg" => (format!("{name}({of})"), field),
        "min" | "max" => (format!("{name}({of})"), field),
        "tolabel" | "format" | "convertcurrency" | "converttimezone" => (of, field),
        "calendar_year" | "fiscal_year" => (part(1, 4), None),
        "calendar_month" | "fiscal_month" => (part(6, 2), None),
        "calendar_quarter" | "fiscal_quarter" => (format!("(({} + 2) / 3)", part(6, 2)), None),
        "day_in_month" => (part(9, 2), None),
        "hour_in_day" => (part(12, 2), None),
        "day_only" => (format!("substr({of}, 1, 10)"), None),
        _ => {
            let text = format!("the local org does not know the function '{}'", function.text);
            return Err(positioned("MALFORMED_QUERY", planner.soql, function.at, &text));
        }
    })
}

/// How the value of a selected expression is written.
pub(super) fn render(operand: &Operand, field: Option<&Field>) -> Render {
    match operand {
        Operand::Call { function, .. } => match function.text.to_ascii_lowercase().as_str() {
            "sum" | "avg" => Render::Double,
            "day_only" => Render::Text,
            _ => field.map_or(Render::Int, |f| render_of(&f.kind)),
        },
        Operand::Path(_) => field.map_or(Render::Text, |f| render_of(&f.kind)),
    }
}

fn compare(
    planner: &Planner<'_>,
    expression: &str,
    field: Option<&Field>,
    operator: &str,
    value: &Value,
    values: &mut Vec<SqlValue>,
) -> Sql {
    if let Literal::Relative(name, count) = &value.literal {
        return relative(planner, expression, field, operator, (name, *count), value.at, values);
    }
    if operator == "like" {
        let Literal::Text(pattern) = &value.literal else {
            return Err(positioned("INVALID_FIELD", planner.soql, value.at, "LIKE compares with a string in quotes"));
        };
        if field.is_some_and(|f| f.kind.is_id()) {
            return Err(positioned(
                "INVALID_QUERY_FILTER_OPERATOR",
                planner.soql,
                value.at,
                "invalid operator on id field",
            ));
        }
        values.push(SqlValue::Text(pattern.clone()));
        return Ok(format!("soql_like(?, {expression})"));
    }
    let sql_operator = match operator {
        "=" => "IS",
        "!=" | "<>" => "IS NOT",
        other => other,
    };
    Ok(match bound(planner, field, value, operator)? {
        Some(value) => {
            values.push(value);
            // `IS` would keep SQLite from using an index with a bound value; `=` differs only for null.
            let sql_operator = if sql_operator == "IS" { "=" } else { sql_operator };
            format!("{expression} {sql_operator} ?")
        }
        None => format!("{expression} {sql_operator} NULL"),
    })
}

/// The value in the form in which the column stores it; `None` is null.
fn bound(
    planner: &Planner<'_>,
    field: Option<&Field>,
    value: &Value,
    operator: &str,
) -> Result<Option<SqlValue>, ApiError> {
    let wrong = |expected: &str| {
        let name = field.map_or("", |f| f.name.as_str());
        let text = format!("value of filter criterion for field '{name}' must be of type {expected}");
        positioned("INVALID_FIELD", planner.soql, value.at, &text)
    };
    let literal = &value.literal;
    let Some(field) = field else {
        return Ok(Some(match literal {
            Literal::Text(t) | Literal::Date(t) | Literal::DateTime(t) => SqlValue::Text(t.clone()),
            Literal::Number(n) => SqlValue::Real(*n),
            Literal::Boolean(b) => SqlValue::Integer(i64::from(*b)),
            Literal::Null | Literal::Relative(..) => return Ok(None),
        }));
    };
    Ok(Some(match (&field.kind, literal) {
        (_, Literal::Null) => return Ok(None),
        (FieldKind::Boolean, Literal::Boolean(b)) => SqlValue::Integer(i64::from(*b)),
        (FieldKind::Boolean, _) => return Err(wrong("boolean and should not be enclosed in quotes")),
        (FieldKind::Int { .. } | FieldKind::Number { .. }, Literal::Number(n)) => SqlValue::Real(*n),
        (FieldKind::Int { .. } | FieldKind::Number { .. }, _) => {
            return Err(wrong("double and should not be enclosed in quotes"));
        }
        (FieldKind::DateTime, Literal::DateTime(at)) => SqlValue::Text(at.clone()),
        (FieldKind::DateTime, _) => return Err(wrong("dateTime and should not be enclosed in quotes")),
        (FieldKind::Date, Literal::Date(day)) => SqlValue::Text(day.clone()),
        (FieldKind::Date, _) => return Err(wrong("date and should not be enclosed in quotes")),
        (kind, Literal::Text(text)) if kind.is_id() => {
            if text.is_empty() {
                return Ok(None);
            }
            match id::normalise(text) {
                Some(id) => SqlValue::Text(id),
                // `Id > '003'` walks an object by key range; only equality needs a whole id.
                None if matches!(operator, "<" | ">" | "<=" | ">=") => SqlValue::Text(text.clone()),
                None => {
                    let text = format!("invalid ID field: {text}");
                    return Err(positioned("INVALID_QUERY_FILTER_OPERATOR", planner.soql, value.at, &text));
                }
            }
        }
        (_, Literal::Text(text)) if text.is_empty() => return Ok(None),
        (_, Literal::Text(text)) => SqlValue::Text(text.clone()),
        _ => return Err(wrong("string and should be enclosed in quotes")),
    }))
}

fn relative(
    planner: &Planner<'_>,
    expression: &str,
    field: Option<&Field>,
    operator: &str,
    (name, count): (&str, Option<i64>),
    at: usize,
    values: &mut Vec<SqlValue>,
) -> Sql {
    let Some((from, to)) = dates::range(name, count, planner.now) else {
        return Err(positioned("MALFORMED_QUERY", planner.soql, at, &format!("unexpected token: '{name}'")));
    };
    let edge = |day: jiff::civil::Date| match field.map(|f| &f.kind) {
        Some(FieldKind::DateTime) => SqlValue::Text(format!("{day}T00:00:00.000+0000")),
        _ => SqlValue::Text(day.to_string()),
    };
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
        _ => format!("{expression} >= {}", push(from)),
    })
}

/// SOQL's LIKE: `%` and `_` are wildcards, `\%` and `\_` are not, letters match in any case.
pub(crate) fn like(pattern: &str, text: &str) -> bool {
    let mut wanted: Vec<Option<char>> = Vec::new(); // None is `%`; `_` is kept as U+FFFF, which no text holds
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '%' => wanted.push(None),
            '_' => wanted.push(Some('\u{ffff}')),
            '\\' => wanted.extend(chars.next().map(Some)),
            c => wanted.extend(c.to_lowercase().map(Some)),
        }
    }
    let text: Vec<char> = text.to_lowercase().chars().collect();
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match wanted.get(p) {
            Some(None) => {
                star = Some((p, t));
                p += 1;
            }
            Some(Some(c)) if *c == '\u{ffff}' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((sp, st)) => {
                    star = Some((sp, st + 1));
                    p = sp + 1;
                    t = st + 1;
                }
                None => return false,
            },
        }
    }
    wanted[p..].iter().all(Option::is_none)
}

#[cfg(test)]
mod tests {
    use super::like;

    #[test]
    fn like_knows_wildcards_escapes_and_case() {
        for (pattern, text, expected) in [
            ("O'Br%", "o'brien", true),
            ("%ÖZ%", "gözde", true),
            ("a_c", "abc", true),
            ("a_c", "ac", false),
            ("100\\%", "100%", true),
            ("100\\%", "1000", false),
            ("%", "", true),
            ("%a%b%", "xxaxxbxx", true),
            ("a", "ab", false),
        ] {
            assert_eq!(like(pattern, text), expected, "{pattern} ~ {text}");
        }
    }
}
