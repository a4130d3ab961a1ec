//! SOQL: [`parse`] reads the text, [`plan`] checks it against the schema and writes SQL for the embedded
//! SQLite, [`run`] turns rows into the JSON that the REST API answers.

pub(crate) mod ast;
mod dates;
pub(crate) mod parse;
pub(crate) mod plan;
pub(crate) mod run;
mod sql;

use crate::api_error::ApiError;

/// An error that points into the query: the excerpt, a caret, the row and column, then the text.
/// Form seen in recorded answers; the rule by which Salesforce cuts long excerpts is not documented, so
/// this shows about 35 characters to either side.
pub(crate) fn positioned(code: &'static str, soql: &str, at: usize, text: &str) -> ApiError {
    let before = &soql[..at.min(soql.len())];
    let row = before.matches('\n').count() + 1;
    let line_start = before.rfind('\n').map_or(0, |i| i + 1);
    let line = soql[line_start..].lines().next().unwrap_or("");
    let column = soql[line_start..at.min(soql.len())].chars().count();
    let from = column.saturating_sub(35);
    let excerpt: String = line.chars().skip(from).take(column - from + 35).collect();
    let caret = " ".repeat(column - from);
    ApiError::bad(code, format!("\n{excerpt}\n{caret}^\nERROR at Row:{row}:Column:{}\n{text}", column + 1))
}

pub(crate) use dates::parse_datetime;
pub(crate) use sql::like;
