//! Telephone numbers in one form, by Google's rules (libphonenumber).

use std::borrow::Cow;

use rlibphonenumber::enums::Region;
use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumberFormat};

use super::chain::Reason;

/// The region of a code such as `DE`.
pub(super) fn region(code: &str) -> Result<Region, String> {
    let wrong = || format!("`{code}` is no region: it is a country's two letters, such as `DE`");
    // Any two letters can be parsed; regions are those that have a country code.
    let region: Result<Region, _> = code.to_ascii_uppercase().parse();
    region.ok().filter(|region| PHONE_NUMBER_UTIL.get_country_code_for_region(*region).is_some()).ok_or_else(wrong)
}

/// Appends the number in the form E.164: `+4930123456`. `code`: where a number without a country is from.
pub(super) fn e164(text: &str, code: &str, out: &mut String) -> Result<(), Reason> {
    let region = region(code).map_err(Cow::Owned)?;
    let number = PHONE_NUMBER_UTIL.parse(text, Some(region));
    let number = number.ok().filter(|number| number.is_valid());
    let number = number.ok_or_else(|| Cow::Owned(format!("it is no telephone number, seen from {code}")))?;
    out.push_str(&number.format_as(PhoneNumberFormat::E164));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_one_form() {
        let e164 = |text: &str, code: &str| {
            let mut out = String::new();
            e164(text, code, &mut out).map(|()| out)
        };
        for (text, code, number) in [
            ("030 901820", "DE", "+4930901820"),
            ("(0049) 30-901820", "de", "+4930901820"),
            ("+1 (415) 901-7000", "DE", "+14159017000"),
            ("(415) 901-7000", "US", "+14159017000"),
        ] {
            assert_eq!(e164(text, code).as_deref(), Ok(number), "{text}");
        }
        for text in ["", "none", "12", "call me"] {
            assert!(e164(text, "DE").is_err(), "{text}");
        }
        for code in ["", "Germany", "XX", "ZZ", "D"] {
            assert!(region(code).is_err(), "{code}");
        }
    }
}
