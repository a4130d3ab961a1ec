//! SOQL: [`parse`] reads the text, [`plan`] checks it against the schema and writes SQL for the embedded
//! SQLite, [`run`] turns rows into the JSON that the REST API answers.
//!
//! A plan is made of what is selected (`select`), of fields and functions (`path`, `expression`), conditions
//! (`condition`, `semi_join`) and groups (`grouping`).

pub(crate) mod ast;
pub(crate) mod columns;
mod condition;
mod dates;
mod distance;
pub(crate) mod explain;
mod expression;
mod grouping;
mod like;
pub(crate) mod parse;
mod path;
pub(crate) mod plan;
mod refusal;
pub(crate) mod run;
mod select;
mod semi_join;

use crate::api_error::ApiError;

/// How much of the line is shown to either side of the place.
const WINDOW: usize = 35;

/// An error that points into the query: the excerpt, a caret, the row and column, then the text.
/// Form seen in recorded answers; the rule by which Salesforce cuts long excerpts is not documented, so
/// this shows whole words of up to 35 characters to either side.
pub(crate) fn positioned(code: &'static str, soql: &str, at: usize, text: &str) -> ApiError {
    let before = &soql[..at.min(soql.len())];
    let row = before.matches('\n').count() + 1;
    let line_start = before.rfind('\n').map_or(0, |i| i + 1);
    let line = soql[line_start..].lines().next().unwrap_or("");
    let column = soql[line_start..at.min(soql.len())].chars().count();
    let line: Vec<char> = line.chars().collect();
    let (mut from, mut to) = (column.saturating_sub(WINDOW), (column + WINDOW).min(line.len()));
    let space = |c: &char| c.is_whitespace();
    if from > 0 && !space(&line[from - 1]) {
        from += line[from..column].iter().position(space).map_or(0, |n| n + 1);
    }
    if to < line.len() && !space(&line[to]) {
        to = line[column..to].iter().rposition(space).map_or(to, |n| column + n + 1);
    }
    let excerpt: String = line[from..to].iter().collect();
    let caret = " ".repeat(column - from);
    ApiError::bad(code, format!("\n{excerpt}\n{caret}^\nERROR at Row:{row}:Column:{}\n{text}", column + 1))
}

/// Functions that the SQL of a plan calls.
pub(crate) fn register(db: &rusqlite::Connection) -> rusqlite::Result<()> {
    use rusqlite::functions::FunctionFlags;
    let flags = FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_UTF8;
    db.create_scalar_function("soql_like", 2, flags, |context| {
        let pattern = context.get_raw(0).as_str().unwrap_or("").to_owned();
        Ok(context.get_raw(1).as_str().is_ok_and(|text| like::like(&pattern, text)))
    })?;
    db.create_scalar_function("soql_distance", 5, flags, |context| {
        let number = |n| context.get::<Option<f64>>(n);
        let parts = (number(0)?, number(1)?, number(2)?, number(3)?, number(4)?);
        let (Some(a), Some(b), Some(c), Some(d), Some(radius)) = parts else { return Ok(None) };
        Ok(Some(distance::haversine((a, b), (c, d), radius)))
    })
}

pub(crate) use dates::parse_datetime;
pub(crate) use path::field_sql;
