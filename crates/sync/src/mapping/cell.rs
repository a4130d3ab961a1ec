//! A value between the org and a row.

use tieline_store::object_tables::{ColumnKind, rows::Row};

use super::moment;

/// A value of a kind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Cell<'a> {
    Text(&'a str),
    /// A decimal number, with every digit that it came with.
    Digits(&'a str),
    Int(i64),
    Bool(bool),
    /// Days since 1970.
    Date(i64),
    /// Milliseconds since 1970.
    DateTime(i64),
    /// Milliseconds since midnight.
    Time(i64),
    Json(&'a str),
}

/// The value of a kind that a text says, as the org writes texts in JSON and CSV.
pub(super) fn read(kind: ColumnKind, text: &str) -> Result<Cell<'_>, &'static str> {
    match kind {
        ColumnKind::Text => Ok(Cell::Text(text)),
        ColumnKind::Integer => integer(text).map(Cell::Int).ok_or("it is no whole number"),
        ColumnKind::Number => is_decimal(text).then_some(Cell::Digits(text)).ok_or("it is no number"),
        ColumnKind::Bool => match text {
            "true" | "TRUE" | "True" => Ok(Cell::Bool(true)),
            "false" | "FALSE" | "False" => Ok(Cell::Bool(false)),
            _ => Err("it is neither true nor false"),
        },
        ColumnKind::Date => moment::date(text).map(Cell::Date).ok_or("it is no date"),
        ColumnKind::DateTime => moment::datetime(text).map(Cell::DateTime).ok_or("it is no date and time"),
        ColumnKind::Time => moment::time(text).map(Cell::Time).ok_or("it is no time of day"),
        ColumnKind::Json => {
            let is = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
            is.then_some(Cell::Json(text)).ok_or("it is no JSON")
        }
    }
}

/// A whole number, also as `5.0` or `1E2`.
fn integer(text: &str) -> Option<i64> {
    text.parse().ok().or_else(|| is_decimal(text).then(|| whole(text.parse().ok()?)).flatten())
}

/// A double that is a whole number, and small enough to be known exactly.
pub(super) fn whole(number: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i64)
}

/// Digits, of which one database or the other has room for.
pub(super) fn is_decimal(text: &str) -> bool {
    // Salesforce has 18 digits, and doubles of computed fields go to 308 places.
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let mantissa = mantissa.strip_prefix(['-', '+']).unwrap_or(mantissa);
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (before, behind) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let in_reach = exponent.parse::<i32>().is_ok_and(|exponent| exponent.abs() <= 400);
    let length = before.len() + behind.len();
    (1..=400).contains(&length) && digits(before) && digits(behind) && in_reach
}

impl Cell<'_> {
    /// Writes it into a column of its own kind.
    pub(super) fn write(self, row: &mut Row<'_>, column: usize) {
        match self {
            Cell::Text(text) | Cell::Digits(text) | Cell::Json(text) => row.text(column, text),
            Cell::Int(number) | Cell::Date(number) | Cell::DateTime(number) | Cell::Time(number) => {
                row.int(column, number);
            }
            Cell::Bool(truth) => row.bool(column, truth),
        }
    }

    pub(super) fn kind(self) -> ColumnKind {
        match self {
            Cell::Text(_) => ColumnKind::Text,
            Cell::Digits(_) => ColumnKind::Number,
            Cell::Int(_) => ColumnKind::Integer,
            Cell::Bool(_) => ColumnKind::Bool,
            Cell::Date(_) => ColumnKind::Date,
            Cell::DateTime(_) => ColumnKind::DateTime,
            Cell::Time(_) => ColumnKind::Time,
            Cell::Json(_) => ColumnKind::Json,
        }
    }

    /// Appends it as a text: what the database would show of it.
    pub(super) fn append(self, out: &mut String) {
        use std::fmt::Write;
        // Writing into a string cannot fail.
        let _ = match self {
            Cell::Text(text) | Cell::Digits(text) | Cell::Json(text) => out.write_str(text),
            Cell::Int(number) => write!(out, "{number}"),
            Cell::Bool(truth) => write!(out, "{truth}"),
            Cell::Date(days) => out.write_str(&tieline_store::object_tables::date(days)),
            Cell::DateTime(at) => out.write_str(&tieline_store::object_tables::moment(at)),
            Cell::Time(at) => out.write_str(&tieline_store::object_tables::time(at)),
        };
    }
}

/// A value that does not change from row to row.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fixed {
    Text(String),
    Digits(String),
    Int(i64),
    Bool(bool),
    Date(i64),
    DateTime(i64),
    Time(i64),
    Json(String),
}

impl Fixed {
    /// The value of a kind that a definition says.
    pub(super) fn read(kind: ColumnKind, value: &serde_json::Value) -> Result<Self, &'static str> {
        if kind == ColumnKind::Json {
            return Ok(Self::Json(value.to_string()));
        }
        let text = match value {
            serde_json::Value::String(text) => text.clone(),
            serde_json::Value::Number(_) | serde_json::Value::Bool(_) => value.to_string(),
            _ => return Err("it is neither a text nor a number nor true or false"),
        };
        read(kind, &text).map(Self::from)
    }

    pub(super) fn cell(&self) -> Cell<'_> {
        match self {
            Self::Text(text) => Cell::Text(text),
            Self::Digits(text) => Cell::Digits(text),
            Self::Int(number) => Cell::Int(*number),
            Self::Bool(truth) => Cell::Bool(*truth),
            Self::Date(days) => Cell::Date(*days),
            Self::DateTime(at) => Cell::DateTime(*at),
            Self::Time(at) => Cell::Time(*at),
            Self::Json(text) => Cell::Json(text),
        }
    }
}

impl From<Cell<'_>> for Fixed {
    fn from(cell: Cell<'_>) -> Self {
        match cell {
            Cell::Text(text) => Self::Text(text.to_owned()),
            Cell::Digits(text) => Self::Digits(text.to_owned()),
            Cell::Int(number) => Self::Int(number),
            Cell::Bool(truth) => Self::Bool(truth),
            Cell::Date(days) => Self::Date(days),
            Cell::DateTime(at) => Self::DateTime(at),
            Cell::Time(at) => Self::Time(at),
            Cell::Json(text) => Self::Json(text.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_that_both_databases_take() {
        for text in ["0", "-1", "0.1", "123456789012345.67", "1E+2", "1.5e-3", ".5", "5.", "+3"] {
            assert_eq!(read(ColumnKind::Number, text), Ok(Cell::Digits(text)), "{text}");
        }
        for text in ["", "-", ".", "1,5", "NaN", "Infinity", "1e", "1e9999", "0x10", " 1", "1 ", &"9".repeat(500)] {
            assert!(read(ColumnKind::Number, text).is_err(), "{text}");
        }
    }

    #[test]
    fn whole_numbers_may_be_written_with_a_point() {
        for (text, number) in [("5", 5), ("5.0", 5), ("1E2", 100), ("-9223372036854775808", i64::MIN)] {
            assert_eq!(read(ColumnKind::Integer, text), Ok(Cell::Int(number)), "{text}");
        }
        for text in ["5.5", "9223372036854775808", "1e300", "five", "", "inf", "nan"] {
            assert!(read(ColumnKind::Integer, text).is_err(), "{text}");
        }
    }
}
