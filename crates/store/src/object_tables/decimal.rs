//! Decimal numbers as PostgreSQL keeps them, from their text.

/// Digits before and behind the point that are taken. Salesforce has 18 in all; what is longer is no number of its.
const MOST_DIGITS: usize = 1_000;

/// `numeric` in its binary form, appended; false if the text is no decimal number.
///
/// Four decimal digits make one of the base 10,000. Source: PostgreSQL, `src/backend/utils/adt/numeric.c`
/// (`numeric_recv`): number of digits, weight of the first, sign (0x4000: negative), digits behind the point, digits.
pub(super) fn encode(text: &str, out: &mut Vec<u8>) -> bool {
    let Some((negative, digits, point)) = parts(text) else { return false };
    // Digits behind the point, as they were written.
    let scale = (digits.len() as i64 - point).max(0);
    // Where the groups of four begin: aligned to the point.
    let lead = point.rem_euclid(4);
    let mut groups: Vec<i16> = Vec::with_capacity(digits.len() / 4 + 2);
    let mut rest = digits.as_slice();
    let mut first = if lead == 0 { 4 } else { lead as usize };
    while !rest.is_empty() {
        let taken = first.min(rest.len());
        let mut group = rest[..taken].iter().fold(0_i16, |n, digit| n * 10 + i16::from(*digit));
        // The last group may end before its fourth digit.
        for _ in taken..first {
            group *= 10;
        }
        groups.push(group);
        rest = &rest[taken..];
        first = 4;
    }
    let mut weight = (point - 1).div_euclid(4);
    let zeros = groups.iter().take_while(|group| **group == 0).count();
    groups.drain(..zeros);
    weight -= zeros as i64;
    while groups.last() == Some(&0) {
        groups.pop();
    }
    if groups.is_empty() {
        weight = 0;
    }
    let sign: u16 = if negative && !groups.is_empty() { 0x4000 } else { 0 };
    for number in [groups.len() as i64, weight] {
        let Ok(number) = i16::try_from(number) else { return false };
        out.extend(number.to_be_bytes());
    }
    out.extend(sign.to_be_bytes());
    out.extend(u16::try_from(scale).unwrap_or(u16::MAX).to_be_bytes());
    for group in groups {
        out.extend(group.to_be_bytes());
    }
    true
}

/// Sign, digits and where the point stands among them (it may stand before or behind all): `1.5E3` is 15 with the
/// point behind the fourth digit.
fn parts(text: &str) -> Option<(bool, Vec<u8>, i64)> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut digits = Vec::with_capacity(whole.len() + fraction.len());
    for byte in whole.bytes().chain(fraction.bytes()) {
        digits.push(byte.is_ascii_digit().then(|| byte - b'0')?);
    }
    let point = whole.len() as i64 + exponent;
    let too_far = point.unsigned_abs() as usize > MOST_DIGITS;
    if digits.is_empty() || digits.len() > MOST_DIGITS || too_far {
        return None;
    }
    // A point behind all digits: they go on with zeros.
    while (digits.len() as i64) < point {
        digits.push(0);
    }
    Some((negative, digits, point))
}

/// The number as a double, if that keeps every digit of it. A double keeps fifteen.
pub(crate) fn exact(text: &str) -> Option<f64> {
    let (_, digits, _) = parts(text)?;
    let significant = digits.iter().skip_while(|digit| **digit == 0).count();
    let trailing = digits.iter().rev().take_while(|digit| **digit == 0).count();
    if significant.saturating_sub(trailing) > 15 {
        return None;
    }
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// The number in plain digits: no exponent, no sign of plus, no zeros that say nothing.
pub(crate) fn plain(text: &str) -> Option<String> {
    let (negative, digits, point) = parts(text)?;
    // Digits before the point; all of them are behind it where it is not positive.
    let whole = usize::try_from(point).unwrap_or(0).min(digits.len());
    let zeros = usize::try_from(-point).unwrap_or(0);
    let text = |digits: &[u8]| digits.iter().map(|digit| char::from(b'0' + digit)).collect::<String>();
    let (before, behind) = (text(&digits[..whole]), "0".repeat(zeros) + &text(&digits[whole..]));
    let (before, behind) = (before.trim_start_matches('0'), behind.trim_end_matches('0'));
    let before = if before.is_empty() { "0" } else { before };
    let sign = if negative && !(before == "0" && behind.is_empty()) { "-" } else { "" };
    let dot = if behind.is_empty() { "" } else { "." };
    Some(format!("{sign}{before}{dot}{behind}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(text: &str) -> (i16, i16, u16, u16, Vec<i16>) {
        let mut out = Vec::new();
        assert!(encode(text, &mut out), "{text}");
        let at = |n: usize| i16::from_be_bytes([out[n], out[n + 1]]);
        let groups = (8..out.len()).step_by(2).map(at).collect();
        (at(0), at(2), at(4) as u16, at(6) as u16, groups)
    }

    #[test]
    fn groups_are_aligned_to_the_point() {
        assert_eq!(encoded("0"), (0, 0, 0, 0, vec![]));
        assert_eq!(encoded("-0.00"), (0, 0, 0, 2, vec![]));
        assert_eq!(encoded("1"), (1, 0, 0, 0, vec![1]));
        assert_eq!(encoded("-12345.678"), (3, 1, 0x4000, 3, vec![1, 2345, 6780]));
        assert_eq!(encoded("10000"), (1, 1, 0, 0, vec![1]));
        assert_eq!(encoded("0.00012"), (2, -1, 0, 5, vec![1, 2000]));
        assert_eq!(encoded("1.5E3"), (1, 0, 0, 0, vec![1500]));
        assert_eq!(encoded("1E-5"), (1, -2, 0, 5, vec![1000]));
        assert_eq!(encoded("1.0E10"), (1, 2, 0, 0, vec![100]));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", "-", ".", "1,5", "NaN", "1e", "1e999999999", "0x10", "1 "] {
            assert!(!encode(text, &mut Vec::new()), "{text}");
        }
    }

    #[test]
    fn plain_digits_say_the_same_number() {
        for (text, expected) in [
            ("007.50", "7.5"),
            ("-.5", "-0.5"),
            ("1.5E3", "1500"),
            ("12e-4", "0.0012"),
            ("+10", "10"),
            ("0e5", "0"),
            ("-0.0", "0"),
        ] {
            assert_eq!(plain(text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(plain("x"), None);
    }

    #[test]
    fn a_double_is_taken_where_it_keeps_every_digit() {
        assert_eq!(exact("0.1"), Some(0.1));
        assert_eq!(exact("123456789012345"), Some(123_456_789_012_345.0));
        assert_eq!(exact("1000000000000000000000"), Some(1e21));
        assert_eq!(exact("1234567890123456.78"), None);
        assert_eq!(exact("x"), None);
    }
}
