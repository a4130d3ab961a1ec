//! Ids of records: 15 characters in which case counts, or 18 in which it does not.
//!
//! The last three of 18 characters are a checksum of case: one for each five characters before them, bit `n` of which says
//! that the n-th is a capital. So an id that a spreadsheet or a database has spelled otherwise is repaired by them.

/// A digit of the checksum, by its value.
const DIGITS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";

/// The 18 characters of an id, with the case that the org knows it by; `None` for what is no id.
///
/// ```
/// use tieline_client::id::to_18;
///
/// assert_eq!(to_18("0014S000007NxgW").as_deref(), Some("0014S000007NxgWQAS"));
/// // Wrong case is repaired by the checksum …
/// assert_eq!(to_18("0014s000007nxgwqas").as_deref(), Some("0014S000007NxgWQAS"));
/// // … and 15 characters have none.
/// assert_eq!(to_18("0014s000007nxgw").as_deref(), Some("0014s000007nxgwAAA"));
/// assert_eq!(to_18("0014S000007NxgWQA"), None);
/// ```
pub fn to_18(id: &str) -> Option<String> {
    if !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let mut whole = match id.len() {
        15 => id.to_owned(),
        18 => cased(&id[..15], &id[15..])?,
        _ => return None,
    };
    for five in 0..3 {
        let capitals = whole.as_bytes()[five * 5..five * 5 + 5].iter().enumerate();
        let value = capitals.fold(0, |value, (n, byte)| value | usize::from(byte.is_ascii_uppercase()) << n);
        whole.push(char::from(DIGITS[value]));
    }
    Some(whole)
}

/// The id in the case that its checksum tells; `None` where they do not fit.
fn cased(id: &str, checksum: &str) -> Option<String> {
    let mut cased = String::with_capacity(18);
    for (five, digit) in id.as_bytes().chunks(5).zip(checksum.bytes()) {
        let value = DIGITS.iter().position(|of| *of == digit.to_ascii_uppercase())?;
        for (n, byte) in five.iter().enumerate() {
            let capital = value >> n & 1 == 1;
            if capital && !byte.is_ascii_alphabetic() {
                return None;
            }
            cased.push(char::from(if capital { byte.to_ascii_uppercase() } else { byte.to_ascii_lowercase() }));
        }
    }
    Some(cased)
}

/// True for 15 letters and digits, and for 18 of which the last three fit the others. The org knows whether there is such a
/// record.
///
/// ```
/// use tieline_client::id::is_id;
///
/// assert!(is_id("0054S000000JFmh") && is_id("0054S000000JFmhQAG") && is_id("0054s000000jfmhqag"));
/// assert!(!is_id("0054S000000JFmhQA6") && !is_id("0054S000000JFm-"));
/// ```
pub fn is_id(text: &str) -> bool {
    to_18(text).is_some()
}

/// True if both are the id of one record, whether with 15 characters or with 18.
///
/// ```
/// use tieline_client::id::same;
///
/// assert!(same("0018c00002FInbo", "0018C00002FINBOAAD"));
/// // Case tells two records apart.
/// assert!(!same("0018c00002FInbo", "0018c00002FInbO"));
/// ```
pub fn same(a: &str, b: &str) -> bool {
    to_18(a).is_some_and(|a| to_18(b) == Some(a))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ids that orgs have given.
    const REAL: [(&str, &str); 6] = [
        ("0014S000007NxgW", "QAS"),
        ("0054S000000JFmh", "QAG"),
        ("00D4S000000oz4e", "UAA"),
        ("0015f00002J9YYE", "AA3"),
        ("001ZM000001n4n5", "YAA"),
        ("0018c00002FInbo", "AAD"),
    ];

    #[test]
    fn real_ids_have_the_checksum_that_the_org_gave_them() {
        for (id, checksum) in REAL {
            let whole = format!("{id}{checksum}");
            for spelled in [id.to_owned(), whole.clone(), whole.to_lowercase(), whole.to_uppercase()] {
                assert_eq!(to_18(&spelled), Some(whole.clone()), "{spelled}");
                assert!(is_id(&spelled) && same(&spelled, id) && same(id, &spelled));
            }
        }
        assert_eq!(to_18("000000000000000").as_deref(), Some("000000000000000AAA"));
    }

    #[test]
    fn a_checksum_that_does_not_fit_is_no_id() {
        for (id, checksum) in REAL {
            // A digit cannot be a capital.
            let five = format!("{id}555");
            assert_eq!(to_18(&five), None, "{five}");
            assert_eq!(to_18(&format!("{id}{}6", &checksum[..2])), None);
            for length in 0..15 {
                assert!(!is_id(&id[..length]));
            }
            assert!(!is_id(&format!("{id}{}", &checksum[..2])) && !is_id(&format!("{id}{checksum}A")));
        }
        for text in ["", "0014S000007Nxg ", "0014S000007Nxgé", "日本日本日", "0014S000007NxgW\u{0}\u{0}\u{0}"] {
            assert!(!is_id(text) && !same(text, text), "{text}");
        }
    }
}
