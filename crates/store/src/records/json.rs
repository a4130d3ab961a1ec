//! A row as JSON.

use serde_json::value::RawValue;

use crate::error::StoreError;
use crate::object_tables::{Column, ColumnKind, decimal};
use crate::sql::Row;

/// Whole numbers up to this are kept by a double, and by whoever reads JSON with doubles.
/// Source: RFC 8259, section 6, "Numbers".
const SAFE: u64 = (1 << 53) - 1;

/// Appends a value whose text came from [`super::RecordSource::told`].
///
/// A number is one where a double keeps all of its digits, and a text of its digits where it does not: nobody gets another
/// number than the org has.
fn value(text: &str, kind: ColumnKind, out: &mut String) {
    match kind {
        ColumnKind::Text | ColumnKind::Date | ColumnKind::DateTime | ColumnKind::Time => string(text, out),
        ColumnKind::Bool => out.push_str(if matches!(text, "1" | "true" | "t") { "true" } else { "false" }),
        ColumnKind::Integer => match text.parse::<i64>() {
            Ok(number) if number.unsigned_abs() <= SAFE => out.push_str(text),
            _ => string(text, out),
        },
        ColumnKind::Number => {
            let plain = decimal::plain(text);
            match &plain {
                Some(plain) if decimal::exact(plain).is_some() => out.push_str(plain),
                _ => string(plain.as_deref().unwrap_or(text), out),
            }
        }
        ColumnKind::Json => match serde_json::from_str::<&RawValue>(text) {
            Ok(json) => out.push_str(json.get()),
            Err(_) => string(text, out),
        },
    }
}

fn string(text: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

/// The row, whose columns are named `c0`, `c1`, … behind ours. Names of columns were checked and need no escapes.
pub(super) fn record(row: &Row, columns: &[&Column]) -> Result<Box<RawValue>, StoreError> {
    let mut out = String::with_capacity(160 + columns.len() * 40);
    for (n, name) in ["id", "deleted", "master_id", "stamp", "synced_at"].into_iter().enumerate() {
        out.push_str(if n == 0 { "{\"" } else { ",\"" });
        out.push_str(name);
        out.push_str("\":");
        match row.find::<String>(&format!("r_{name}"))? {
            Some(text) => string(&text, &mut out),
            None => out.push_str("null"),
        }
    }
    out.push_str(",\"fields\":{");
    for (n, column) in columns.iter().enumerate() {
        if n > 0 {
            out.push(',');
        }
        out.push('"');
        out.push_str(&column.name);
        out.push_str("\":");
        match row.find::<String>(&format!("c{n}"))? {
            Some(text) => value(&text, column.kind, &mut out),
            None => out.push_str("null"),
        }
    }
    out.push_str("}}");
    let unreadable = |e: serde_json::Error| {
        StoreError::doing("reading a record")(sqlx::Error::ColumnDecode {
            index: "record".to_owned(),
            source: e.into(),
        })
    };
    RawValue::from_string(out).map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str, kind: ColumnKind) -> String {
        let mut out = String::new();
        value(text, kind, &mut out);
        out
    }

    #[test]
    fn a_number_is_one_where_a_double_keeps_it() {
        use ColumnKind::{Integer, Number};
        for (text, kind, expected) in [
            ("0.10", Number, "0.1"),
            ("-5", Number, "-5"),
            ("5.0", Number, "5"),
            ("1.0e+21", Number, "1000000000000000000000"),
            ("-0.00", Number, "0"),
            ("1e-7", Number, "0.0000001"),
            ("123456789012345", Number, "123456789012345"),
            ("1234567890123456.780", Number, "\"1234567890123456.78\""),
            ("9007199254740991", Integer, "9007199254740991"),
            ("-9007199254740992", Integer, "\"-9007199254740992\""),
        ] {
            assert_eq!(told(text, kind), expected, "{text}");
        }
    }

    #[test]
    fn other_values_are_what_they_say() {
        assert_eq!(told("a\"\n\u{1}🦀", ColumnKind::Text), "\"a\\\"\\n\\u0001🦀\"");
        assert_eq!((told("1", ColumnKind::Bool), told("false", ColumnKind::Bool)), ("true".into(), "false".into()));
        assert_eq!(told(r#"{"a":[1.10,null]}"#, ColumnKind::Json), r#"{"a":[1.10,null]}"#);
        assert_eq!(told("{broken", ColumnKind::Json), "\"{broken\"");
    }
}
