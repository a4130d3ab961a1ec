//! The last net: text that is about to be written somewhere, without what looks like a credential.
//!
//! Secrets have a type that does not print ([`Secret`](crate::Secret)), so nothing should ever be caught here. Logs also
//! hold what other libraries write, and those do not know the type.

use std::borrow::Cow;
use std::io::Write;
use std::ops::Range;

/// What takes a secret's place.
const MASK: &str = "[secret]";

/// Names of form fields, query parameters and JSON keys whose values are secrets.
const FIELDS: [&str; 12] = [
    "access_token",
    "refresh_token",
    "client_secret",
    "password",
    "assertion",
    "client_assertion",
    "subject_token",
    "device_code",
    "code_verifier",
    "oauth_token",
    "id_token",
    "sid",
];

/// The text with every credential masked.
///
/// ```
/// use tieline_auth::redact::mask;
/// let line = "POST grant_type=refresh_token&refresh_token=5Aep861abc&client_id=3MVG9";
/// assert_eq!(mask(line), "POST grant_type=refresh_token&refresh_token=[secret]&client_id=3MVG9");
/// assert_eq!(mask("session 00D4S000000oz4e!ARcAQ0123456789abcdefXYZ ended"), "session [secret] ended");
/// ```
pub fn mask(text: &str) -> Cow<'_, str> {
    let Some(mut found) = find(text) else { return Cow::Borrowed(text) };
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    loop {
        out.push_str(&rest[..found.start]);
        out.push_str(MASK);
        rest = &rest[found.end..];
        match find(rest) {
            Some(next) => found = next,
            None => break,
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Where the first credential stands, if there is one.
pub fn find(text: &str) -> Option<Range<usize>> {
    // Every pattern begins at one of these bytes; most text has few of them.
    text.bytes().enumerate().find_map(|(at, byte)| {
        let rest = &text.as_bytes()[at..];
        let length = match byte {
            b'0' => access_token(rest),
            b'5' => prefixed(rest, b"5Aep", 20),
            b'e' => jwt(rest),
            b'-' => private_key(rest),
            b'=' | b':' => return field(text, at),
            _ => None,
        };
        Some(at..at + length?)
    })
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_')
}

fn run(bytes: &[u8], belongs: impl Fn(u8) -> bool) -> usize {
    bytes.iter().take_while(|byte| belongs(**byte)).count()
}

/// Org id (15 or 18 characters), `!`, opaque.
fn access_token(bytes: &[u8]) -> Option<usize> {
    if !bytes.starts_with(b"00D") {
        return None;
    }
    let id = run(bytes, |byte| byte.is_ascii_alphanumeric());
    if !(15..=18).contains(&id) || bytes.get(id) != Some(&b'!') {
        return None;
    }
    let secret = run(&bytes[id + 1..], is_token);
    (secret >= 20).then_some(id + 1 + secret)
}

fn prefixed(bytes: &[u8], prefix: &[u8], at_least: usize) -> Option<usize> {
    let length = bytes.starts_with(prefix).then(|| run(bytes, is_token))?;
    (length >= at_least).then_some(length)
}

/// Three parts of base64url, the first two of them JSON objects.
fn jwt(bytes: &[u8]) -> Option<usize> {
    let part = |bytes: &[u8]| run(bytes, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if !bytes.starts_with(b"eyJ") {
        return None;
    }
    let header = part(bytes);
    let claims = bytes.get(header + 1..).filter(|rest| bytes[header] == b'.' && rest.starts_with(b"eyJ"))?;
    let claims = header + 1 + part(claims);
    let signature = bytes.get(claims + 1..).filter(|_| bytes[claims] == b'.').map_or(0, part);
    Some(if signature > 0 { claims + 1 + signature } else { claims })
}

fn private_key(bytes: &[u8]) -> Option<usize> {
    const END: &[u8] = b"PRIVATE KEY-----";
    if !bytes.starts_with(b"-----BEGIN ") {
        return None;
    }
    let line = bytes.windows(END.len()).take(24).position(|window| window == END)? + END.len();
    // To the end of the block, or of the text where it is cut off.
    let rest = &bytes[line..];
    let end = rest.windows(END.len()).position(|window| window == END);
    Some(end.map_or(bytes.len(), |end| line + end + END.len()))
}

/// `name=value`, `name: value` or `"name":"value"`, for the names above.
fn field(text: &str, at: usize) -> Option<Range<usize>> {
    // JSON within JSON has its quotes escaped.
    let before = text[..at].trim_end_matches(['"', '\\']);
    let name = FIELDS.iter().find(|name| {
        before.ends_with(**name)
            && !before[..before.len() - name.len()].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
    });
    name?;
    let value = text[at + 1..].trim_start_matches([' ', '"', '\\']);
    let start = text.len() - value.len();
    let length =
        value.find(|c: char| matches!(c, '&' | '"' | '\'' | '\\' | ',' | ';' | '}' | ')') || c.is_whitespace());
    let length = length.unwrap_or(value.len());
    let harmless = [MASK, "None", "Some([secret])"].iter().any(|known| value.starts_with(known));
    (length > 0 && !harmless).then_some(start..start + length)
}

/// A writer for logs that masks what looks like a credential: other libraries write there too. It writes at its end, so
/// that a credential is not cut in two; make one for each event, as `tracing-subscriber` does.
///
/// ```
/// use std::io::Write;
/// let mut out = Vec::new();
/// write!(tieline_auth::redact::Masked::new(&mut out), "password={}", "hush").unwrap();
/// assert_eq!(out, b"password=[secret]");
/// ```
pub struct Masked<W: Write> {
    text: Vec<u8>,
    out: W,
}

impl<W: Write> Masked<W> {
    /// Before this writer.
    pub fn new(out: W) -> Self {
        Self { text: Vec::new(), out }
    }
}

impl<W: Write> std::fmt::Debug for Masked<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Masked")
    }
}

impl<W: Write> Write for Masked<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let text = String::from_utf8_lossy(&self.text).into_owned();
        self.text.clear();
        self.out.write_all(mask(&text).as_bytes())
    }
}

impl<W: Write> Drop for Masked<W> {
    fn drop(&mut self) {
        let _ = self.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_of_every_kind_are_masked() {
        for (text, masked) in [
            ("a 00D4S000000oz4eUAA!ARcAQ.0123456789abcdef_XYZ b", "a [secret] b"),
            ("5Aep861KIlZ1J1QzuxxTMj1Ck1u", "[secret]"),
            ("jwt=eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiIzTVZHIn0.c2ln-bmF0dXJl!", "jwt=[secret]!"),
            ("{\"access_token\":\"opaque\",\"id\":\"x\"}", "{\"access_token\":\"[secret]\",\"id\":\"x\"}"),
            ("?sid=abc&x=1", "?sid=[secret]&x=1"),
            ("password: hunter2 done", "password: [secret] done"),
            ("-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\nrest", "[secret]\nrest"),
            ("-----BEGIN RSA PRIVATE KEY-----\\nMIIE", "[secret]"),
            ("client_secret=a client_secret=b", "client_secret=[secret] client_secret=[secret]"),
        ] {
            assert_eq!(mask(text), masked);
            assert_eq!(mask(&mask(text)), masked, "masked text stays as it is");
        }
    }

    #[test]
    fn what_is_no_credential_stays() {
        for text in [
            "an org 00D4S000000oz4eUAA and its user 0054S000000JFmhQAG",
            "access_token: [secret]",
            "grant_type=refresh_token&scope=api",
            "-----BEGIN CERTIFICATE-----\nMIID\n-----END CERTIFICATE-----",
            "code=INVALID_SESSION_ID",
            "no password was given, and the refresh_token has run out",
            "client_secret: None, grant",
            "client_secret: Some([secret]), grant",
            "Zürich – 5Aep 00D!",
        ] {
            assert_eq!(mask(text), text);
        }
    }

    #[test]
    fn no_text_makes_it_panic() {
        use proptest::prelude::*;
        let pieces = prop_oneof![
            Just("00D4S000000oz4e!".to_owned()),
            Just("eyJ".to_owned()),
            Just("eyJhbGci.eyJ".to_owned()),
            Just("-----BEGIN ".to_owned()),
            Just("PRIVATE KEY-----".to_owned()),
            Just("sid=".to_owned()),
            Just("\"password\":\"".to_owned()),
            ".{0,8}",
        ];
        proptest!(|(parts in proptest::collection::vec(pieces, 0..12))| {
            let text = parts.concat();
            let masked = mask(&text);
            prop_assert!(find(&masked).is_none() || masked != text);
        });
    }
}
