//! Times by the calendar, in the five fields of crontab(5): minute, hour, day of the month, month, day of the week; UTC.

use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// Days that are looked through for the next time: the 29th of February is eight years away at most (2096 to 2104).
const DAYS: u32 = 8 * 366;

/// A time by the calendar. Lists (`1,2`), ranges (`1-5`) and steps (`*/15`, `0-30/10`); names of days and months are not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    text: String,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Both days are given: either is enough, as crontab(5) has it.
    either: bool,
}

impl FromStr for Cron {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            return Err(format!("it has {} fields, and needs 5", fields.len()));
        };
        let mut weekdays = bits(weekday, "day of the week", 0, 7)?;
        // Sunday is 0 and 7.
        weekdays = (weekdays | weekdays >> 7) & 0x7f;
        let cron = Self {
            text: fields.join(" "),
            minutes: bits(minute, "minute", 0, 59)?,
            hours: bits(hour, "hour", 0, 23)?,
            days: bits(day, "day of the month", 1, 31)?,
            months: bits(month, "month", 1, 12)?,
            weekdays,
            either: !day.starts_with('*') && !weekday.starts_with('*'),
        };
        // The 31st of February, and the like.
        match cron.after(Timestamp::UNIX_EPOCH) {
            Some(_) => Ok(cron),
            None => Err("there is no such day".to_owned()),
        }
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Cron {
    /// The first such minute after a time.
    pub fn after(&self, time: Timestamp) -> Option<Timestamp> {
        let from = TimeZone::UTC.to_datetime(time);
        let mut date = from.date();
        for day in 0..DAYS {
            if self.is_day(date) {
                let found = (0..24 * 60).map(|n| (n / 60, n % 60)).find(|&(hour, minute)| {
                    has(self.hours, hour)
                        && has(self.minutes, minute)
                        && (day > 0 || (hour, minute) > (from.hour().into(), from.minute().into()))
                });
                if let Some((hour, minute)) = found {
                    let at = date.to_datetime(Time::constant(hour as i8, minute as i8, 0, 0));
                    return TimeZone::UTC.to_timestamp(at).ok();
                }
            }
            date = date.checked_add(1.day()).ok()?;
        }
        None
    }

    fn is_day(&self, date: Date) -> bool {
        let day = has(self.days, date.day().into());
        let weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset().into());
        has(self.months, date.month().into()) && if self.either { day || weekday } else { day && weekday }
    }
}

fn has(bits: u64, n: i32) -> bool {
    bits >> n & 1 == 1
}

/// The values of a field, each a bit.
fn bits(field: &str, what: &str, least: u32, most: u32) -> Result<u64, String> {
    let refused = || format!("`{field}` is no {what}: those are {least} to {most}, as in `*`, `*/5`, `1-5` or `1,2`");
    let mut bits = 0;
    for part in field.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step.parse::<u32>().ok().filter(|n| *n > 0).ok_or_else(refused)?)),
            None => (part, None),
        };
        let number = |text: &str| text.parse::<u32>().ok().filter(|n| (least..=most).contains(n)).ok_or_else(refused);
        let (first, last) = match range.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None if range == "*" => (least, most),
            // `5/10` means from 5 on.
            None => (number(range)?, if step.is_some() { most } else { number(range)? }),
        };
        if first > last {
            return Err(refused());
        }
        bits |= (first..=last).step_by(step.unwrap_or(1) as usize).fold(0, |bits, n| bits | 1u64 << n);
    }
    Ok(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_time_is_the_calendars() {
        for (cron, from, next) in [
            ("* * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"),
            ("*/15 * * * *", "2026-01-01T00:44:59Z", "2026-01-01T00:45:00Z"),
            ("*/15 * * * *", "2026-01-01T00:45:00Z", "2026-01-01T01:00:00Z"),
            ("0 6 * * *", "2026-12-31T06:00:00Z", "2027-01-01T06:00:00Z"),
            ("0 6 * * 1-5", "2026-05-29T06:00:00Z", "2026-06-01T06:00:00Z"),
            ("0 0 * * 7", "2026-06-01T00:00:00Z", "2026-06-07T00:00:00Z"),
            ("0 0 * * 0", "2026-06-01T00:00:00Z", "2026-06-07T00:00:00Z"),
            ("30 2 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T02:30:00Z"),
            ("0 0 31 * *", "2026-01-31T00:00:00Z", "2026-03-31T00:00:00Z"),
            // Either day.
            ("0 0 13 * 5", "2026-06-01T00:00:00Z", "2026-06-05T00:00:00Z"),
            ("5/20 1,3 * * *", "2026-06-01T01:46:00Z", "2026-06-01T03:05:00Z"),
        ] {
            let found = cron.parse::<Cron>().unwrap().after(from.parse().unwrap()).unwrap();
            assert_eq!(found.to_string(), next, "{cron} after {from}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for cron in [
            "",
            "* * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 8",
            "5-1 * * * *",
            "*/0 * * * *",
            "a * * * *",
            "0 0 31 2 *",
        ] {
            assert!(cron.parse::<Cron>().is_err(), "{cron}");
        }
    }
}
