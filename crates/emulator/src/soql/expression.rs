//! Fields and function calls as SQL.

use super::ast::{Name, Operand, Subtotals};
use super::plan::{Planner, Render, render_of};
use crate::api_error::ApiError;
use crate::schema::{Field, FieldKind};

/// An operand as SQL.
pub(super) struct Expression {
    pub(super) sql: String,
    /// The field that is read, alone or through a function that leaves its type.
    pub(super) field: Option<Field>,
    pub(super) kind: FieldKind,
    pub(super) aggregate: bool,
    pub(super) date_function: bool,
}

impl Expression {
    pub(super) fn render(&self) -> Render {
        render_of(&self.kind)
    }
}

const INT: FieldKind = FieldKind::Int { digits: 9 };
const DOUBLE: FieldKind = FieldKind::Number { type_name: "double", precision: 18, scale: 2 };

pub(super) fn is_aggregate(operand: &Operand) -> bool {
    match operand {
        Operand::Path(_) => false,
        Operand::Call { function, arguments } => match function.text.to_ascii_lowercase().as_str() {
            "count" | "count_distinct" | "sum" | "avg" | "min" | "max" | "grouping" => true,
            "format" | "convertcurrency" | "tolabel" => arguments.iter().any(is_aggregate),
            _ => false,
        },
    }
}

/// The first field that an operand names.
pub(super) fn inner_name(operand: &Operand) -> &Name {
    match operand {
        Operand::Path(name) => name,
        Operand::Call { function, arguments } => arguments.first().map_or(function, inner_name),
    }
}

/// Where the parenthesis of a call stands.
pub(super) fn parenthesis(planner: &Planner<'_>, operand: &Operand) -> usize {
    match operand {
        Operand::Path(name) => name.at,
        Operand::Call { function, .. } => {
            let rest = planner.context.soql.get(function.at..).unwrap_or("");
            function.at + rest.find('(').unwrap_or(0)
        }
    }
}

pub(super) fn expression(planner: &mut Planner<'_>, operand: &Operand) -> Result<Expression, ApiError> {
    let (function, arguments) = match operand {
        Operand::Path(name) => {
            let found = planner.resolve(name)?;
            let kind = found.field.kind.clone();
            let field = Some(found.field);
            return Ok(Expression { sql: found.sql, field, kind, aggregate: false, date_function: false });
        }
        Operand::Call { function, arguments } => (function, arguments),
    };
    let lower = function.text.to_ascii_lowercase();
    match lower.as_str() {
        "count" | "count_distinct" | "sum" | "avg" | "min" | "max" => aggregate(planner, &lower, operand, arguments),
        "tolabel" | "format" | "convertcurrency" => expression(planner, only(planner, operand, arguments)?),
        "grouping" => grouping(planner, operand, arguments),
        "distance" => super::distance::distance(planner, operand, arguments),
        _ => date_function(planner, &lower, operand, arguments),
    }
}

fn only<'o>(planner: &Planner<'_>, call: &Operand, arguments: &'o [Operand]) -> Result<&'o Operand, ApiError> {
    match arguments {
        [one] => Ok(one),
        _ => Err(unexpected_call(planner, call)),
    }
}

pub(super) fn unexpected_call(planner: &Planner<'_>, call: &Operand) -> ApiError {
    planner.malformed(parenthesis(planner, call), "unexpected token: '('")
}

fn aggregate(
    planner: &mut Planner<'_>,
    function: &str,
    call: &Operand,
    arguments: &[Operand],
) -> Result<Expression, ApiError> {
    let Operand::Path(name) = only(planner, call, arguments)? else { return Err(unexpected_call(planner, call)) };
    let found = planner.resolve(name)?;
    let (sql, field) = (found.sql, found.field);
    let number = matches!(field.kind, FieldKind::Int { .. } | FieldKind::Number { .. });
    let fits = match function {
        "count" | "count_distinct" => field.filterable && field.kind.has_column(),
        "sum" | "avg" => number,
        _ => field.filterable && field.kind.has_column() && field.kind != FieldKind::Boolean,
    };
    if !fits {
        // From memory of real orgs.
        let text =
            format!("field {} does not support aggregate operator {}", field.name, function.to_ascii_uppercase());
        return Err(planner.error("INVALID_FIELD", name.at, &text));
    }
    let (sql, kind) = match function {
        "count" => (format!("count({sql})"), INT),
        "count_distinct" => (format!("count(DISTINCT {sql})"), INT),
        "sum" | "avg" => (format!("{function}({sql})"), DOUBLE),
        _ => (format!("{function}({sql})"), field.kind.clone()),
    };
    Ok(Expression { sql, field: Some(field), kind, aggregate: true, date_function: false })
}

fn grouping(planner: &mut Planner<'_>, call: &Operand, arguments: &[Operand]) -> Result<Expression, ApiError> {
    let inner = expression(planner, only(planner, call, arguments)?)?;
    let at = planner.groups.iter().position(|g| *g == inner.sql);
    let Some(n) = at.filter(|_| planner.subtotals != Subtotals::None) else {
        let name = inner_name(call);
        let text = format!("Field must be grouped or aggregated: {}", name.text);
        return Err(planner.malformed(name.at, &text));
    };
    let sql = format!("(subtotals.mask & {} != 0)", 1 << n);
    Ok(Expression { sql, field: None, kind: INT, aggregate: true, date_function: false })
}

/// Years, months and the like of a date, in the org's time zone (UTC).
fn date_function(
    planner: &mut Planner<'_>,
    function: &str,
    call: &Operand,
    arguments: &[Operand],
) -> Result<Expression, ApiError> {
    let argument = match only(planner, call, arguments)? {
        Operand::Call { function, arguments } if function.text.eq_ignore_ascii_case("converttimezone") => {
            only(planner, call, arguments)?
        }
        argument => argument,
    };
    let Operand::Path(name) = argument else { return Err(unexpected_call(planner, call)) };
    let whole_number = |sql: String| format!("CAST({sql} AS INTEGER)");
    let of = |of: &str| -> Option<String> {
        let part = |from: u8, length: u8| whole_number(format!("substr({of}, {from}, {length})"));
        let date = |format: &str| whole_number(format!("strftime('{format}', substr({of}, 1, 10))"));
        Some(match function {
            "calendar_year" | "fiscal_year" => part(1, 4),
            "calendar_month" | "fiscal_month" => part(6, 2),
            "calendar_quarter" | "fiscal_quarter" => format!("(({} + 2) / 3)", part(6, 2)),
            "day_in_month" => part(9, 2),
            // 1 is Sunday.
            "day_in_week" => format!("({} + 1)", date("%w")),
            "day_in_year" => date("%j"),
            "day_only" => format!("substr({of}, 1, 10)"),
            "hour_in_day" => part(12, 2),
            // Weeks are counted from the first day of the month or year, whatever its weekday.
            "week_in_month" => format!("(({} + 6) / 7)", part(9, 2)),
            "week_in_year" => format!("(({} + 6) / 7)", date("%j")),
            _ => return None,
        })
    };
    if of("").is_none() {
        return Err(unexpected_call(planner, call));
    }
    let found = planner.resolve(name)?;
    let fits = match found.field.kind {
        FieldKind::DateTime => true,
        FieldKind::Date => !matches!(function, "day_only" | "hour_in_day"),
        _ => false,
    };
    if !fits {
        // Unverified.
        let text =
            format!("field {} does not support date function {}", found.field.name, function.to_ascii_uppercase());
        return Err(planner.error("INVALID_FIELD", name.at, &text));
    }
    let kind = if function == "day_only" { FieldKind::Date } else { INT };
    let sql = of(&found.sql).unwrap_or_default();
    Ok(Expression { sql, field: Some(found.field), kind, aggregate: false, date_function: true })
}
