//! Values as texts and as JSON: what SQLite keeps, and what people are shown.

use std::fmt::Write;

use jiff::Timestamp;
use serde_json::Value;

use super::rows::{Cell, Rows};
use super::table::ColumnKind;

/// `2026-06-01T12:00:00.000Z` of milliseconds since 1970. Sorted as texts, moments are in order.
pub fn moment(milliseconds: i64) -> String {
    let mut text = String::with_capacity(24);
    write_moment(milliseconds, &mut text);
    text
}

/// Milliseconds of a day.
const DAY: i64 = 86_400_000;
/// Moments whose years have four digits: from year 0 up to the end of 9999.
const FOUR_DIGITS: std::ops::Range<i64> = -62_167_219_200_000..253_402_300_800_000;

/// The same behind a text. Each row has some, and a formatter for all calendars takes longer for one than SQLite takes for
/// the row.
pub(super) fn write_moment(milliseconds: i64, out: &mut String) {
    let mut text = *b"0000-00-00T00:00:00.000Z";
    if FOUR_DIGITS.contains(&milliseconds) {
        let (day, clock) = (milliseconds.div_euclid(DAY), milliseconds.rem_euclid(DAY));
        let (year, month, day) = civil(day);
        let seconds = clock / 1_000;
        let pairs = [(0, year / 100), (2, year % 100), (5, month), (8, day)];
        let clocks = [(11, seconds / 3_600), (14, seconds / 60 % 60), (17, seconds % 60), (20, clock % 1_000 / 10)];
        for (place, number) in pairs.into_iter().chain(clocks) {
            text[place] += (number / 10) as u8;
            text[place + 1] += (number % 10) as u8;
        }
        text[22] += (clock % 10) as u8;
        if let Ok(text) = std::str::from_utf8(&text) {
            out.push_str(text);
            return;
        }
    }
    let at = Timestamp::from_millisecond(milliseconds).unwrap_or_default();
    // Writing into a string cannot fail.
    let _ = write!(out, "{at:.3}");
}

/// Year, month and day of days since 1970.
fn civil(days: i64) -> (i64, i64, i64) {
    // Years that begin in March, so that the leap day is the last one: 146,097 days in 400 of them.
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
    (era * 400 + year, month, day)
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
    fn moments_are_the_calendars() {
        let jiffs = |at: i64| format!("{:.3}", Timestamp::from_millisecond(at).unwrap());
        let last = Timestamp::MAX.as_second() * 1_000;
        // A day and a bit at a time: every day of 800 years, and the ends.
        let mut at = FOUR_DIGITS.start;
        while at <= last {
            assert_eq!(moment(at), jiffs(at));
            at += if (-12_219_292_800_000..12_622_780_800_000).contains(&at) { DAY + 37_123 } else { 311 * DAY + 1 };
        }
        for at in [FOUR_DIGITS.start - 1, FOUR_DIGITS.start, -1, 0, 999, last] {
            assert_eq!(moment(at), jiffs(at));
        }
        // The last two days are beyond jiff's: it keeps room for time zones.
        assert_eq!(moment(FOUR_DIGITS.end - 1), "9999-12-31T23:59:59.999Z");
        assert_eq!(moment(i64::MAX), jiffs(0));
    }

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
