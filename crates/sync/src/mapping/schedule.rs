//! When a mapping is read, and how far back: as people write it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// When a mapping is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    /// So long after the last time: `15m`.
    Every(Duration),
    /// All the time: `continuous`.
    Continuous,
    /// A cron expression, as it was written. Whether it is one, the scheduler says.
    Cron(String),
}

impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text == "continuous" {
            return Ok(Schedule::Continuous);
        }
        if let Some(every) = read_duration(text).filter(|every| !every.is_zero()) {
            return Ok(Schedule::Every(every));
        }
        if text.starts_with('@') || matches!(text.split_ascii_whitespace().count(), 5 | 6) {
            return Ok(Schedule::Cron(text.to_owned()));
        }
        Err(format!(
            "`{text}` is neither a time such as `15m` nor `continuous` nor a cron expression such as `0 3 * * *`"
        ))
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Schedule::Every(every) => f.write_str(&write_duration(*every)),
            Schedule::Continuous => f.write_str("continuous"),
            Schedule::Cron(text) => f.write_str(text),
        }
    }
}

impl Serialize for Schedule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// `90s`, `15m`, `1h30m`, `2d`.
fn read_duration(text: &str) -> Option<Duration> {
    let (mut seconds, mut rest) = (0_u64, text);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..end].parse().ok()?;
        let unit = rest[end..].chars().next()?;
        let (_, worth) = UNITS.iter().find(|(name, _)| *name == unit)?;
        seconds = seconds.checked_add(number.checked_mul(*worth)?)?;
        rest = &rest[end + 1..];
    }
    // A hundred years: nothing that anybody waits for.
    (!text.is_empty() && seconds <= 3_155_760_000).then(|| Duration::from_secs(seconds))
}

fn write_duration(duration: Duration) -> String {
    let mut seconds = duration.as_secs();
    let mut text = String::new();
    for (unit, worth) in UNITS {
        if seconds >= worth {
            text += &format!("{}{unit}", seconds / worth);
            seconds %= worth;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// A length of time as `10m`.
pub(super) mod duration {
    use super::{Deserialize, Deserializer, Duration, Serializer, read_duration, write_duration};

    pub(in crate::mapping) fn serialize<S: Serializer>(value: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(duration) => to.serialize_str(&write_duration(*duration)),
            None => to.serialize_none(),
        }
    }

    pub(in crate::mapping) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        let Some(text) = Option::<String>::deserialize(from)? else { return Ok(None) };
        let wrong =
            || serde::de::Error::custom(format!("`{text}` is no length of time such as `90s`, `10m` or `1h30m`"));
        read_duration(&text).map(Some).ok_or_else(wrong)
    }
}

/// A day or a moment as text.
pub(super) mod moment {
    use super::{Deserialize, Deserializer, Serializer, Timestamp};

    pub(in crate::mapping) fn serialize<S: Serializer>(value: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(at) => to.collect_str(at),
            None => to.serialize_none(),
        }
    }

    pub(in crate::mapping) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
        let Some(text) = Option::<String>::deserialize(from)? else { return Ok(None) };
        let at = tieline_client::parse_datetime(&text);
        let at = at.or_else(|| tieline_client::parse_datetime(&format!("{text}T00:00:00Z")));
        let wrong = || format!("`{text}` is no date such as `2020-01-01` or `2020-01-01T00:00:00Z`");
        at.map(Some).ok_or_else(|| serde::de::Error::custom(wrong()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_read_as_people_write_them() {
        let every = |seconds| Schedule::Every(Duration::from_secs(seconds));
        for (text, schedule, written) in [
            ("15m", every(900), "15m"),
            ("1h30m", every(5_400), "1h30m"),
            ("90s", every(90), "1m30s"),
            ("2d", every(172_800), "2d"),
            ("continuous", Schedule::Continuous, "continuous"),
            ("0 3 * * *", Schedule::Cron("0 3 * * *".to_owned()), "0 3 * * *"),
            ("@daily", Schedule::Cron("@daily".to_owned()), "@daily"),
        ] {
            assert_eq!(text.parse(), Ok(schedule.clone()), "{text}");
            assert_eq!(schedule.to_string(), written);
        }
        for text in ["", "0s", "15", "m", "15x", "1h 30m", "soon", "99999999999999999999s", "999999999999d", "1é"] {
            assert!(text.parse::<Schedule>().is_err(), "{text}");
        }
    }
}
