//! When something is tried again.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::rfc2822;
use jiff::tz::TimeZone;

/// Nobody is left alone for longer, whatever they ask for.
pub const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// How long after the last attempt the next one is due, in seconds: three days in all. Source: the example schedule of
/// the Standard Webhooks specification, "Deliverability and reliability".
const SCHEDULE: [u32; 10] = [0, 5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600];

/// By how much a wait is shortened or lengthened at most, so that what failed together is not sent together again.
const JITTER: f64 = 0.2;

/// How long to wait for the attempt after so many that were made; `None` when it was the last. `random` lies between 0
/// and 1 and decides on up to a fifth more or less.
///
/// ```
/// use std::time::Duration;
/// use tieline_server::outbound::retry::next_attempt;
/// assert_eq!(next_attempt(0, 0.5), Some(Duration::ZERO));
/// assert_eq!(next_attempt(1, 0.5), Some(Duration::from_secs(5)));
/// assert_eq!(next_attempt(10, 0.5), None);
/// ```
pub fn next_attempt(attempt: u32, random: f64) -> Option<Duration> {
    let seconds = *SCHEDULE.get(usize::try_from(attempt).ok()?)?;
    let random = if random.is_finite() { random.clamp(0.0, 1.0) } else { 0.5 };
    Some(Duration::from_secs_f64(f64::from(seconds) * (1.0 + JITTER * (2.0 * random - 1.0))))
}

/// What a `Retry-After` header asks for: seconds, or a date in one of the three forms of HTTP (RFC 9110, 5.6.7). At most
/// [`LONGEST_WAIT`]; a date that has passed asks for nothing. `None` when it cannot be read.
pub(super) fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number holds ask for more than the longest wait.
        return Some(text.parse().map_or(LONGEST_WAIT, Duration::from_secs).min(LONGEST_WAIT));
    }
    let wait = http_date(text)?.duration_since(now);
    Some(Duration::try_from(wait).unwrap_or_default().min(LONGEST_WAIT))
}

fn http_date(text: &str) -> Option<Timestamp> {
    let obsolete = || {
        let forms = ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];
        let read = forms.into_iter().find_map(|form| DateTime::strptime(form, text).ok())?;
        TimeZone::UTC.to_timestamp(read).ok()
    };
    rfc2822::DateTimeParser::new().parse_timestamp(text).ok().or_else(obsolete)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_lasts_three_days_and_ends() {
        let plain: Vec<u64> = (0..).map_while(|n| next_attempt(n, 0.5)).map(|wait| wait.as_secs()).collect();
        assert_eq!(plain, SCHEDULE.map(u64::from));
        // "Time since start" of the last line of the specification's table: 75:35:05.
        assert_eq!(plain.iter().sum::<u64>(), 75 * 3600 + 35 * 60 + 5);
        assert_eq!(next_attempt(u32::MAX, 0.5), None);
    }

    #[test]
    fn jitter_stays_within_a_fifth() {
        for attempt in 0..10 {
            let plain = f64::from(SCHEDULE[attempt as usize]);
            for (random, factor) in [(0.0, 0.8), (0.25, 0.9), (1.0, 1.2), (-7.0, 0.8), (7.0, 1.2), (f64::NAN, 1.0)] {
                let wait = next_attempt(attempt, random).unwrap().as_secs_f64();
                assert!((wait - plain * factor).abs() < 1e-6, "{attempt} {random}: {wait}");
            }
        }
    }

    #[test]
    fn retry_after_in_each_form() {
        let now = "1994-11-06T08:49:37Z".parse().unwrap();
        for (text, seconds) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("86400", Some(86_400)),
            ("86401", Some(86_400)),
            ("99999999999999999999999999", Some(86_400)),
            ("Sun, 06 Nov 1994 08:50:07 GMT", Some(30)),
            ("Sunday, 06-Nov-94 08:50:07 GMT", Some(30)),
            ("Sun Nov  6 08:50:07 1994", Some(30)),
            ("Sun, 06 Nov 1994 08:49:07 GMT", Some(0)),
            ("Fri, 01 Jan 2100 00:00:00 GMT", Some(86_400)),
            ("", None),
            ("-5", None),
            ("1.5", None),
            ("soon", None),
            ("Sun, 99 Nov 1994 08:49:37 GMT", None),
        ] {
            assert_eq!(retry_after(text, now), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
