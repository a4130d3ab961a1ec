//! A parameter of a query as it is written on the command line.

use tieline_datacloud::Value;

/// JSON where it is JSON, else text.
pub(super) fn parameter(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(serde_json::Value::Null) => Value::Null,
        Ok(serde_json::Value::Bool(value)) => value.into(),
        Ok(serde_json::Value::Number(number)) => match number.as_i64() {
            Some(number) => number.into(),
            // Its digits, not the nearest binary number.
            None if text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'.')) => {
                Value::Decimal(text.to_owned())
            }
            None => number.as_f64().unwrap_or_default().into(),
        },
        Ok(serde_json::Value::String(quoted)) => quoted.into(),
        _ => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_as_json_where_they_are_json() {
        for (text, value) in [
            ("42", Value::Int(42)),
            ("-7", Value::Int(-7)),
            ("true", Value::Bool(true)),
            ("null", Value::Null),
            ("\"42\"", "42".into()),
            ("12.50", Value::Decimal("12.50".to_owned())),
            ("1e3", Value::Double(1000.0)),
            ("99999999999999999999", Value::Decimal("99999999999999999999".to_owned())),
            ("/pricing", "/pricing".into()),
            ("2026-01-01", "2026-01-01".into()),
            ("", "".into()),
            ("[1]", "[1]".into()),
        ] {
            assert_eq!(parameter(text), value, "{text}");
        }
    }
}
