//! Telephone numbers, as they are compared: the digits of E.164.

/// Digits of a number, with its country's: most by ITU-T E.164, 6.2.1; fewer are extensions and short numbers, which
/// many people share.
const DIGITS: std::ops::RangeInclusive<usize> = 7..=15;

/// A region's country code, and the digits before numbers within it that are none of the number's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Region {
    code: &'static str,
    trunk: &'static str,
}

/// ISO 3166 code, country code (ITU-T E.164, annex: list of assigned country codes) and national prefix (ITU Operational
/// Bulletin 994, "Dialling procedures"). Italy's zero belongs to the number.
const REGIONS: [(&str, &str, &str); 46] = [
    ("AE", "971", "0"),
    ("AR", "54", "0"),
    ("AT", "43", "0"),
    ("AU", "61", "0"),
    ("BE", "32", "0"),
    ("BG", "359", "0"),
    ("BR", "55", "0"),
    ("CA", "1", "1"),
    ("CH", "41", "0"),
    ("CL", "56", ""),
    ("CN", "86", "0"),
    ("CO", "57", ""),
    ("CZ", "420", ""),
    ("DE", "49", "0"),
    ("DK", "45", ""),
    ("EE", "372", ""),
    ("ES", "34", ""),
    ("FI", "358", "0"),
    ("FR", "33", "0"),
    ("GB", "44", "0"),
    ("GR", "30", ""),
    ("HR", "385", "0"),
    ("HU", "36", "06"),
    ("IE", "353", "0"),
    ("IL", "972", "0"),
    ("IN", "91", "0"),
    ("IT", "39", ""),
    ("JP", "81", "0"),
    ("KR", "82", "0"),
    ("LI", "423", ""),
    ("LU", "352", ""),
    ("LV", "371", ""),
    ("MX", "52", ""),
    ("NL", "31", "0"),
    ("NO", "47", ""),
    ("NZ", "64", "0"),
    ("PL", "48", ""),
    ("PT", "351", ""),
    ("RO", "40", "0"),
    ("SE", "46", "0"),
    ("SG", "65", ""),
    ("SI", "386", "0"),
    ("SK", "421", "0"),
    ("TR", "90", "0"),
    ("US", "1", "1"),
    ("ZA", "27", "0"),
];

pub(crate) fn regions() -> impl Iterator<Item = &'static str> {
    REGIONS.iter().map(|(name, ..)| *name)
}

pub(crate) fn region(name: &str) -> Option<Region> {
    let (_, code, trunk) = REGIONS.iter().find(|(known, ..)| *known == name)?;
    Some(Region { code, trunk })
}

impl Region {
    /// What is dialled before a number of another country (ITU Operational Bulletin 994).
    fn abroad(self) -> &'static str {
        match self.code {
            "1" => "011",
            "61" => "0011",
            "81" => "010",
            _ => "00",
        }
    }
}

/// The number as it is compared. A number without a country, where no region says which, is like its own kind alone.
pub(crate) fn compared(text: &str, region: Option<Region>) -> Option<String> {
    let text = text.trim();
    // Extensions: as RFC 3966 has them, and as people write them.
    let lower = text.to_lowercase();
    let end = ["ext", ";", "x", "#"].iter().filter_map(|mark| lower.find(mark)).min().unwrap_or(lower.len());
    let number = &lower[..end];
    let digits: String = number.chars().filter(char::is_ascii_digit).collect();
    let abroad = region.map_or("00", Region::abroad);
    let full = if number.trim_start().starts_with('+') || number.trim_start().starts_with("(+") {
        // The zero that is dialled within the country alone.
        number.replace("(0)", "").chars().filter(char::is_ascii_digit).collect()
    } else if let Some(rest) = digits.strip_prefix(abroad).filter(|_| digits.len() > abroad.len() + 7) {
        rest.to_owned()
    } else {
        match region {
            Some(Region { code, trunk }) => format!("{code}{}", digits.strip_prefix(trunk).unwrap_or(&digits)),
            None => {
                return Some(digits).filter(|digits| DIGITS.contains(&digits.len())).map(|digits| format!("n{digits}"));
            }
        }
    };
    Some(full).filter(|full| DIGITS.contains(&full.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_in_its_many_forms_is_one() {
        let of = |text: &str, name: &str| compared(text, region(name));
        for (name, texts, expected) in [
            (
                "DE",
                &["+49 30 123456-7", "0049 (30) 1234567", "030/1234567", "+49 (0)30 1234567 ext. 12"][..],
                "49301234567",
            ),
            (
                "US",
                &["+1 (415) 555-0100", "415.555.0100", "1-415-555-0100", "011 1 415 555 0100", "4155550100x7"],
                "14155550100",
            ),
            ("IT", &["+39 06 1234567", "06 1234567"], "39061234567"),
            ("HU", &["+36 1 234 5678", "06 1 234 5678"], "3612345678"),
        ] {
            for text in texts {
                assert_eq!(of(text, name).as_deref(), Some(expected), "{text}");
            }
        }
        assert_ne!(compared("030 1234567", None), compared("+30 1234567", None), "who knows which country");
        assert_eq!(compared("030 1234567", None), compared("(030) 123-4567", None));
        for text in ["", "12", "call me", "+49 1234567890123456789"] {
            assert_eq!(compared(text, region("DE")), None, "{text}");
        }
    }

    #[test]
    fn regions_are_named_once_and_in_order() {
        assert!(REGIONS.is_sorted_by(|one, other| one.0 < other.0));
        assert_eq!(region("de"), None);
    }
}
