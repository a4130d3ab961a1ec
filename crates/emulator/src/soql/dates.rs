//! Datetimes in queries, and the relative date literals, as half-open ranges.
//!
//! The org's users live in UTC and their week begins on Sunday (the default of an `en_US` user).

use jiff::civil::{Date, Weekday};
use jiff::{Timestamp, ToSpan, tz::TimeZone};

use crate::clock::datetime;

/// A datetime literal in the stored form; `None` where the calendar has no such moment.
pub(super) fn utc(text: &str) -> Option<String> {
    parse_datetime(text).map(datetime)
}

/// Reads `2024-01-02T03:04:05[.fff](Z|+hh:mm|+hhmm)`; fractions of a second fall away, as in Salesforce's
/// comparisons.
pub(crate) fn parse_datetime(text: &str) -> Option<Timestamp> {
    let upper = text.to_ascii_uppercase();
    upper.parse().ok().or_else(|| Timestamp::strptime("%Y-%m-%dT%H:%M:%S%.f%z", &upper).ok())
}

/// `[from, to)` in days for a literal such as `TODAY` or `LAST_N_DAYS:30`; `None` for an unknown name.
pub(super) fn range(name: &str, count: Option<i64>, now: Timestamp) -> Option<(Date, Date)> {
    let today = now.to_zoned(TimeZone::UTC).date();
    let tomorrow = today + 1.day();
    // A count belongs to the names with N, and to no other.
    if count.is_some() != (name.starts_with("N_") || name.contains("_N_")) {
        return None;
    }
    let n = count.unwrap_or(1).clamp(0, 10_000);
    let (unit, from, to) = match name {
        "TODAY" => return Some((today, tomorrow)),
        "YESTERDAY" => return Some((today - 1.day(), today)),
        "TOMORROW" => return Some((tomorrow, today + 2.days())),
        "LAST_90_DAYS" => return Some((today - 90.days(), tomorrow)),
        "NEXT_90_DAYS" => return Some((tomorrow, today + 91.days())),
        "LAST_N_DAYS" => return Some((today - n.days(), tomorrow)),
        "NEXT_N_DAYS" => return Some((tomorrow, tomorrow + n.days())),
        "N_DAYS_AGO" => return Some((today - n.days(), today - (n - 1).days())),
        _ => match name.split_once('_')? {
            ("N", ago) => (ago.strip_suffix("S_AGO")?, -n, 1 - n),
            ("LAST", units) if units.starts_with("N_") => (units[2..].strip_suffix('S')?, -n, 0),
            ("NEXT", units) if units.starts_with("N_") => (units[2..].strip_suffix('S')?, 1, n + 1),
            ("LAST", unit) => (unit, -1, 0),
            ("THIS", unit) => (unit, 0, 1),
            ("NEXT", unit) => (unit, 1, 2),
            _ => return None,
        },
    };
    // Fiscal periods are calendar periods here: the org's fiscal year begins in January.
    let (start, step): (Date, fn(i64) -> jiff::Span) = match unit {
        "WEEK" => (start_of_week(today), |n| n.weeks()),
        "MONTH" => (today.first_of_month(), |n| n.months()),
        "QUARTER" | "FISCAL_QUARTER" => {
            let month = (today.month() - 1) / 3 * 3 + 1;
            (Date::new(today.year(), month, 1).ok()?, |n| (3 * n).months())
        }
        "YEAR" | "FISCAL_YEAR" => (today.first_of_year(), |n| n.years()),
        _ => return None,
    };
    Some((start.checked_add(step(from)).ok()?, start.checked_add(step(to)).ok()?))
}

fn start_of_week(day: Date) -> Date {
    day - i64::from(day.weekday().since(Weekday::Sunday)).days()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_dates_are_ranges_of_days() {
        let now: Timestamp = "2026-11-25T10:00:00Z".parse().expect("a timestamp"); // a Wednesday
        let day = |text: &str| text.parse::<Date>().expect("a date");
        for (name, count, from, to) in [
            ("TODAY", None, "2026-11-25", "2026-11-26"),
            ("LAST_N_DAYS", Some(7), "2026-11-18", "2026-11-26"),
            ("N_DAYS_AGO", Some(2), "2026-11-23", "2026-11-24"),
            ("THIS_WEEK", None, "2026-11-22", "2026-11-29"),
            ("LAST_MONTH", None, "2026-10-01", "2026-11-01"),
            ("NEXT_QUARTER", None, "2027-01-01", "2027-04-01"),
            ("LAST_N_YEARS", Some(2), "2024-01-01", "2026-01-01"),
            ("YESTERDAY", None, "2026-11-24", "2026-11-25"),
            ("TOMORROW", None, "2026-11-26", "2026-11-27"),
            ("LAST_90_DAYS", None, "2026-08-27", "2026-11-26"),
            ("NEXT_90_DAYS", None, "2026-11-26", "2027-02-24"),
            ("NEXT_N_DAYS", Some(3), "2026-11-26", "2026-11-29"),
            ("LAST_WEEK", None, "2026-11-15", "2026-11-22"),
            ("NEXT_WEEK", None, "2026-11-29", "2026-12-06"),
            ("THIS_MONTH", None, "2026-11-01", "2026-12-01"),
            ("NEXT_MONTH", None, "2026-12-01", "2027-01-01"),
            ("LAST_QUARTER", None, "2026-07-01", "2026-10-01"),
            ("THIS_QUARTER", None, "2026-10-01", "2027-01-01"),
            ("LAST_YEAR", None, "2025-01-01", "2026-01-01"),
            ("THIS_YEAR", None, "2026-01-01", "2027-01-01"),
            ("NEXT_YEAR", None, "2027-01-01", "2028-01-01"),
            ("THIS_FISCAL_QUARTER", None, "2026-10-01", "2027-01-01"),
            ("LAST_FISCAL_QUARTER", None, "2026-07-01", "2026-10-01"),
            ("NEXT_FISCAL_YEAR", None, "2027-01-01", "2028-01-01"),
            ("LAST_N_WEEKS", Some(2), "2026-11-08", "2026-11-22"),
            ("NEXT_N_WEEKS", Some(1), "2026-11-29", "2026-12-06"),
            ("N_WEEKS_AGO", Some(2), "2026-11-08", "2026-11-15"),
            ("LAST_N_MONTHS", Some(3), "2026-08-01", "2026-11-01"),
            ("NEXT_N_MONTHS", Some(2), "2026-12-01", "2027-02-01"),
            ("N_MONTHS_AGO", Some(3), "2026-08-01", "2026-09-01"),
            ("LAST_N_QUARTERS", Some(2), "2026-04-01", "2026-10-01"),
            ("NEXT_N_QUARTERS", Some(1), "2027-01-01", "2027-04-01"),
            ("N_QUARTERS_AGO", Some(1), "2026-07-01", "2026-10-01"),
            ("NEXT_N_YEARS", Some(2), "2027-01-01", "2029-01-01"),
            ("N_YEARS_AGO", Some(5), "2021-01-01", "2022-01-01"),
            ("LAST_N_FISCAL_QUARTERS", Some(1), "2026-07-01", "2026-10-01"),
            ("NEXT_N_FISCAL_QUARTERS", Some(1), "2027-01-01", "2027-04-01"),
            ("N_FISCAL_QUARTERS_AGO", Some(1), "2026-07-01", "2026-10-01"),
            ("LAST_N_FISCAL_YEARS", Some(1), "2025-01-01", "2026-01-01"),
            ("NEXT_N_FISCAL_YEARS", Some(1), "2027-01-01", "2028-01-01"),
            ("N_FISCAL_YEARS_AGO", Some(1), "2025-01-01", "2026-01-01"),
        ] {
            assert_eq!(range(name, count, now), Some((day(from), day(to))), "{name}");
        }
        for (name, count) in [("SOMEDAY", None), ("TODAY", Some(1)), ("LAST_N_DAYS", None), ("LAST_N_EONS", Some(1))] {
            assert_eq!(range(name, count, now), None, "{name}");
        }
    }

    #[test]
    fn offsets_are_brought_to_utc() {
        assert_eq!(utc("2024-01-01T01:00:00+01:00").as_deref(), Some("2024-01-01T00:00:00.000+0000"));
        assert_eq!(utc("2024-01-01T00:00:00.999Z").as_deref(), Some("2024-01-01T00:00:00.000+0000"));
        assert_eq!(utc("2024-01-01T00:00:00.000+0000").as_deref(), Some("2024-01-01T00:00:00.000+0000"));
        assert_eq!(utc("2024-13-01T00:00:00Z"), None);
    }
}
