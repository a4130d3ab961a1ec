//! How often something is synced.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::cron::Cron;

/// Between the end of a run and the next, of what is synced without a pause. An org that has nothing new is still asked by one
/// call each time.
const CONTINUOUS: Duration = Duration::from_secs(1);
/// The longest interval: a year.
const LONGEST: u64 = 366 * 24 * 3600;

/// How often something is synced. As text: `every 900` (seconds), `cron 0 6 * * 1-5` (UTC), `continuous`, `on request`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pace {
    /// So long from tick to tick.
    Every(Duration),
    /// By the calendar.
    Cron(Cron),
    /// Again as soon as it has ended.
    Continuous,
    /// When somebody asks.
    OnRequest,
}

/// A pace that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` says not how often: {reason}")]
pub struct PaceError {
    /// What was given.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}

impl PaceError {
    /// The next act.
    pub fn hint(&self) -> &'static str {
        "write `every 900` (seconds), `cron 0 6 * * 1-5` (minute, hour, day, month, weekday; UTC), `continuous` or `on request`"
    }
}

impl Pace {
    /// The first tick after now, counted on from the one that was due: ticks that were missed are one, and a late one does
    /// not move those after it. None: there is no tick.
    pub fn next(&self, due: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let every = match self {
            Pace::Every(every) => *every,
            Pace::Continuous => CONTINUOUS,
            Pace::Cron(cron) => return cron.after(now),
            Pace::OnRequest => return None,
        };
        if due > now {
            return Some(due);
        }
        let step = i128::try_from(every.as_millis()).unwrap_or(i128::MAX).max(1);
        let late = i128::from(now.as_millisecond()) - i128::from(due.as_millisecond());
        let on = (late / step + 1).saturating_mul(step);
        let on = SignedDuration::from_millis(i64::try_from(on).unwrap_or(i64::MAX));
        Some(due.checked_add(on).unwrap_or(Timestamp::MAX))
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pace::Every(every) => write!(f, "every {}", every.as_secs()),
            Pace::Cron(cron) => write!(f, "cron {cron}"),
            Pace::Continuous => f.write_str("continuous"),
            Pace::OnRequest => f.write_str("on request"),
        }
    }
}

impl FromStr for Pace {
    type Err = PaceError;

    fn from_str(text: &str) -> Result<Self, PaceError> {
        let refused = |reason: String| PaceError { text: text.to_owned(), reason };
        match text.trim().split_once(' ').unwrap_or((text.trim(), "")) {
            ("every", seconds) => {
                let seconds = seconds.trim().parse().ok().filter(|n| (1..=LONGEST).contains(n));
                let seconds = seconds.ok_or_else(|| refused(format!("it needs seconds, from 1 to {LONGEST}")))?;
                Ok(Pace::Every(Duration::from_secs(seconds)))
            }
            ("cron", fields) => fields.parse().map(Pace::Cron).map_err(refused),
            ("continuous", "") => Ok(Pace::Continuous),
            ("on", "request") => Ok(Pace::OnRequest),
            _ => Err(refused("nobody knows that word".to_owned())),
        }
    }
}

impl serde::Serialize for Pace {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn missed_ticks_are_one_and_a_late_one_moves_none() {
        let every: Pace = "every 900".parse().unwrap();
        let next = |due: &str, now: &str| every.next(at(due), at(now)).unwrap().to_string();
        assert_eq!(next("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"), "2026-01-01T00:15:00Z");
        assert_eq!(next("2026-01-01T00:00:00Z", "2026-01-01T00:14:59.999Z"), "2026-01-01T00:15:00Z");
        assert_eq!(next("2026-01-01T00:00:00Z", "2026-01-01T00:15:00Z"), "2026-01-01T00:30:00Z");
        assert_eq!(next("2026-01-01T00:00:00Z", "2026-01-03T00:01:00Z"), "2026-01-03T00:15:00Z");
        // Asked for before it was due: the tick stays.
        assert_eq!(next("2026-01-01T00:10:00Z", "2026-01-01T00:01:00Z"), "2026-01-01T00:10:00Z");
        assert_eq!("on request".parse::<Pace>().unwrap().next(at("2026-01-01T00:00:00Z"), Timestamp::MAX), None);
        let daily: Pace = "cron 0 6 * * *".parse().unwrap();
        let next = daily.next(at("2026-01-01T06:00:00Z"), at("2026-01-04T06:00:01Z")).unwrap();
        assert_eq!(next, at("2026-01-05T06:00:00Z"));
    }

    #[test]
    fn what_is_written_is_read() {
        for text in ["every 60", "cron */5 0-6 * * 1-5", "continuous", "on request"] {
            assert_eq!(text.parse::<Pace>().unwrap().to_string(), text);
        }
        for text in
            ["", "every", "every 0", "every -1", "every 99999999999", "cron", "cron 1", "sometimes", "continuous x"]
        {
            assert!(text.parse::<Pace>().is_err(), "{text}");
        }
    }
}
