//! What a row of an ingest is recognised by in the files of its results.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::csv::NULL;

/// A row's values, as they are written and as what they mean: the org writes `9.12260031E8` for `912260031` in a field of
/// numbers, ends lines within values as those of the file, and nothing for `#N/A`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    written: u64,
    pub(super) meaning: u64,
}

impl Mark {
    pub(super) fn new<'a>(values: impl Iterator<Item = &'a str>) -> Self {
        let (mut written, mut meaning) = (DefaultHasher::new(), DefaultHasher::new());
        for value in values {
            value.hash(&mut written);
            match value {
                NULL | "" => 0u8.hash(&mut meaning),
                _ => match Decimal::read(value) {
                    Some(number) => (1u8, number).hash(&mut meaning),
                    None if value.contains('\r') => (2u8, value.replace("\r\n", "\n").as_str()).hash(&mut meaning),
                    None => (2u8, value).hash(&mut meaning),
                },
            }
        }
        Self { written: written.finish(), meaning: meaning.finish() }
    }

    pub(super) fn is_same(&self, other: Mark) -> bool {
        *self == other
    }

    pub(super) fn means_the_same(&self, other: Mark) -> bool {
        self.meaning == other.meaning
    }
}

/// A number without loss: what a `f64` makes of long ones is the same for several.
#[derive(Hash)]
struct Decimal {
    negative: bool,
    /// Without zeros at either end.
    digits: String,
    /// Of the last digit.
    exponent: i64,
}

impl Decimal {
    /// `None` for what is no number, and for what nobody writes as one: with leading zeros, as postal codes and ids have them,
    /// or a plus, as telephone numbers do.
    fn read(text: &str) -> Option<Self> {
        let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (rest, 0),
        };
        let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits_only = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || (whole.len() > 1 && whole.starts_with('0')) || !digits_only(whole) || !digits_only(part)
        {
            return None;
        }
        let all = [whole, part].concat();
        let digits = all.trim_end_matches('0');
        let dropped = i64::try_from(all.len() - digits.len()).ok()?;
        let exponent = i64::from(exponent) - i64::try_from(part.len()).ok()? + dropped;
        match digits.trim_start_matches('0') {
            "" => Some(Self { negative: false, digits: String::new(), exponent: 0 }),
            digits => Some(Self { negative, digits: digits.to_owned(), exponent }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_mean_the_same_when_only_their_writing_differs() {
        let same = |a: &[&str], b: &[&str]| Mark::new(a.iter().copied()).means_the_same(Mark::new(b.iter().copied()));
        assert!(same(&["912260031", "#N/A", "a"], &["9.12260031E8", "", "a"]));
        assert!(same(&["0.5", "-0", "5"], &["0.50", "0.0", "5.0"]) && same(&["0.00012"], &["1.2E-4"]));
        assert!(!same(&["a", "b"], &["ab", ""]) && !same(&["", "a"], &["a", ""]) && !same(&["A"], &["a"]));
        assert!(!same(&["inf"], &["Infinity"]) && !same(&["-1"], &["1"]));
        assert!(same(&["a\r\nb"], &["a\nb"]) && !same(&["a\rb"], &["a\nb"]));
    }

    #[test]
    fn what_only_looks_like_the_same_number_is_not() {
        for (a, b) in [
            ("1234567890123456788", "1234567890123456789"),
            ("007", "7"),
            ("00E000000012345", "00E000000054321"),
            ("001E23456789012", "001E23456789013"),
            ("+15551234", "15551234"),
            (".5", "0.5"),
        ] {
            let of = |value| Mark::new([value].into_iter());
            assert!(!of(a).means_the_same(of(b)), "{a} {b}");
        }
        let (one, ten) = (Mark::new(["1.1"].into_iter()), Mark::new(["1.10"].into_iter()));
        assert!(one.means_the_same(ten) && !one.is_same(ten));
    }
}
