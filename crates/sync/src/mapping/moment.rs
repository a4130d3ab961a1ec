//! Moments, days and times of day as numbers.
//!
//! The forms that the org writes are read byte by byte: a record has several of them, and a parser for all of ISO 8601
//! takes longer for one than a whole record of texts takes.

/// Milliseconds of a day.
const DAY: i64 = 86_400_000;

/// Milliseconds since 1970 of `2024-01-02T03:04:05.000+0000` or `…Z`, and of every other form that
/// [`tieline_client::parse_datetime`] knows.
pub(super) fn datetime(text: &str) -> Option<i64> {
    fast(text.as_bytes()).or_else(|| tieline_client::parse_datetime(text).map(|at| at.as_millisecond()))
}

fn fast(text: &[u8]) -> Option<i64> {
    let (day, rest) = text.split_at_checked(10)?;
    let (b'T', clock) = rest.split_first().map(|(t, clock)| (*t, clock))? else { return None };
    let (clock, zone) = match clock.split_at_checked(12) {
        Some((clock, zone)) if clock[8] == b'.' => (clock, zone),
        _ => clock.split_at_checked(8)?,
    };
    if !matches!(zone, b"+0000" | b"Z" | b"+00:00") {
        return None;
    }
    Some(days(day)? * DAY + milliseconds(clock)?)
}

/// Days since 1970 of `2024-01-02`.
pub(super) fn date(text: &str) -> Option<i64> {
    days(text.as_bytes())
}

/// Milliseconds since midnight of `03:04:05.000Z`.
pub(super) fn time(text: &str) -> Option<i64> {
    milliseconds(text.strip_suffix('Z').unwrap_or(text).as_bytes())
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0')))
}

fn days(text: &[u8]) -> Option<i64> {
    if text.len() != 10 || text[4] != b'-' || text[7] != b'-' {
        return None;
    }
    let (year, month, day) = (number(&text[..4])?, number(&text[5..7])?, number(&text[8..])?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => return None,
    };
    if day < 1 || day > last {
        return None;
    }
    // Years that begin in March, so that the leap day is the last one: 146,097 days in 400 of them.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + (153 * month + 2) / 5 + day - 719_469)
}

fn milliseconds(text: &[u8]) -> Option<i64> {
    if text.len() < 8 || text[2] != b':' || text[5] != b':' {
        return None;
    }
    let (hour, minute, second) = (number(&text[..2])?, number(&text[3..5])?, number(&text[6..8])?);
    let fraction = match &text[8..] {
        [] => 0,
        [b'.', digits @ ..] if digits.len() == 3 => number(digits)?,
        _ => return None,
    };
    (hour < 24 && minute < 60 && second < 60).then_some(((hour * 60 + minute) * 60 + second) * 1_000 + fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_four_centuries_is_the_calendars() {
        let mut day = jiff::civil::date(1896, 1, 1);
        let epoch = jiff::civil::date(1970, 1, 1);
        while day.year() < 2301 {
            let expected = day.since(epoch).unwrap().get_days();
            assert_eq!(date(&day.to_string()), Some(i64::from(expected)), "{day}");
            day = day.tomorrow().unwrap();
        }
        assert_eq!((date("0001-01-01"), date("9999-12-31")), (Some(-719_162), Some(2_932_896)));
    }

    #[test]
    fn moments_are_the_same_on_both_ways() {
        for text in [
            "2024-01-02T03:04:05.678+0000",
            "2024-01-02T03:04:05.678Z",
            "2024-01-02T03:04:05Z",
            "2024-02-29T23:59:59.999+00:00",
            "1969-12-31T23:59:59.999Z",
        ] {
            let at = tieline_client::parse_datetime(text).unwrap().as_millisecond();
            assert_eq!((fast(text.as_bytes()), datetime(text)), (Some(at), Some(at)), "{text}");
        }
        let other = datetime("2024-01-02T05:04:05.678+0200");
        assert_eq!(other, datetime("2024-01-02T03:04:05.678Z"), "another zone");
    }

    #[test]
    fn what_is_none_is_none() {
        for text in ["", "2023-02-29", "2024-00-01", "2024-13-01", "2024-1-1", "2024/01/02", "2024-01-0x", "٢٠٢٤-01"]
        {
            assert_eq!(date(text), None, "{text}");
        }
        for text in ["2024-01-02", "2024-01-02T24:00:00.000Z", "2024-01-02T03:04", "x", "2024-01-02T03:04:05.0é"] {
            assert_eq!(datetime(text), None, "{text}");
        }
        assert_eq!((time("03:04:05.000Z"), time("23:59:59")), (Some(11_045_000), Some(86_399_000)));
        assert_eq!((time("24:00:00"), time("3:04:05"), time("03:04:05.1")), (None, None, None));
    }
}
