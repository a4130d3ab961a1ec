//! Values as texts and as JSON: what SQLite keeps, and what people are shown.

use jiff::Timestamp;
use serde_json::Value;

use super::rows::{Cell, Rows};
use super::table::ColumnKind;

/// `2026-06-01T12:00:00.000Z` of milliseconds since 1970. Sorted as texts, moments are in order.
pub fn moment(milliseconds: i64) -> String {
    let at = Timestamp::from_millisecond(milliseconds).unwrap_or_default();
    format!("{at:.3}")
}

/// `2026-06-01` of days since 1970.
pub fn date(days: i64) -> String {
    let day = jiff::civil::Date::constant(1970, 1, 1).checked_add(jiff::Span::new().try_days(days).unwrap_or_default());
    day.unwrap_or_default().to_string()
}

/// `12:00:00.000` of milliseconds since midnight.
pub fn time(milliseconds: i64) -> String {
    let (seconds, rest) = (milliseconds / 1_000, milliseconds % 1_000);
    format!("{:02}:{:02}:{:02}.{rest:03}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

impl Rows {
    /// A cell as JSON, by its column's kind: for previews. A number is its digits as a text where a double would round
    /// it.
    pub fn json(&self, row: usize, column: usize, kind: ColumnKind) -> Value {
        match (self.cell(row, column), kind) {
            (Cell::Null, _) => Value::Null,
            (Cell::Text(start, end), ColumnKind::Json) => {
                let text = self.slice(start, end);
                serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
            }
            (Cell::Text(start, end), ColumnKind::Number) => {
                let digits = self.slice(start, end);
                match (digits.parse::<i64>(), super::decimal::exact(digits)) {
                    (Ok(number), _) => Value::from(number),
                    (_, Some(number)) => Value::from(number),
                    _ => Value::from(digits),
                }
            }
            (Cell::Text(start, end), _) => Value::from(self.slice(start, end)),
            (Cell::Int(days), ColumnKind::Date) => Value::from(date(days)),
            (Cell::Int(at), ColumnKind::DateTime) => Value::from(moment(at)),
            (Cell::Int(at), ColumnKind::Time) => Value::from(time(at)),
            (Cell::Int(number), _) => Value::from(number),
            (Cell::Bool(truth), _) => Value::from(truth),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_shown_as_their_kind_says() {
        let mut rows = Rows::new(9);
        let mut row = rows.row();
        row.text(0, "7");
        row.text(1, "1234567890123456.78");
        row.text(2, "0.1");
        row.text(3, "[1]");
        row.int(4, 20_605);
        row.int(5, 1_780_315_200_000);
        row.int(6, 43_200_000);
        row.bool(7, true);
        row.end("a", None, None, None);
        let kinds = [
            (ColumnKind::Text, serde_json::json!("7")),
            (ColumnKind::Number, serde_json::json!("1234567890123456.78")),
            (ColumnKind::Number, serde_json::json!(0.1)),
            (ColumnKind::Json, serde_json::json!([1])),
            (ColumnKind::Date, serde_json::json!("2026-06-01")),
            (ColumnKind::DateTime, serde_json::json!("2026-06-01T12:00:00.000Z")),
            (ColumnKind::Time, serde_json::json!("12:00:00.000")),
            (ColumnKind::Bool, serde_json::json!(true)),
            (ColumnKind::Text, Value::Null),
        ];
        for (column, (kind, shown)) in kinds.into_iter().enumerate() {
            assert_eq!(rows.json(0, column, kind), shown, "{kind:?}");
        }
    }
}
