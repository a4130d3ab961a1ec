//! Which paths of an org may be called, and what is sent for them.
//!
//! What the caller writes is taken apart, decoded once, checked, and written anew with everything encoded that could mean
//! something to a server on the way. So two readers of what is sent cannot disagree about it.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::problem::Problem;

/// What is encoded in a segment: all but the unreserved characters of RFC 3986, section 2.3.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Longest path with its query string. Salesforce refuses URIs of more than 16,384 bytes (REST API Developer Guide,
/// status 414).
const LONGEST: usize = 16_384;
/// Slashes of other alphabets, which some servers take for `/` or `\` once they have normalised a path (NFKC): U+2044,
/// U+2215, U+29F8, U+FE68, U+FF0F, U+FF3C.
const SLASHES: [char; 6] = ['\u{2044}', '\u{2215}', '\u{29f8}', '\u{fe68}', '\u{ff0f}', '\u{ff3c}'];
/// The same for dots: U+2024 to U+2026, U+3002, U+FE52, U+FF0E, U+FF61.
const DOTS: [char; 8] = ['.', '\u{2024}', '\u{2025}', '\u{2026}', '\u{3002}', '\u{fe52}', '\u{ff0e}', '\u{ff61}'];

/// How a path begins whose version is that of the connection.
const LATEST: &str = "/services/data/latest";

/// A path that may be sent to an org.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OrgPath {
    /// From the host's root, without a query string.
    pub(super) path: String,
    /// Its version is `latest`: that of the connection.
    latest: bool,
    /// What follows the question mark, as the caller wrote it.
    pub(super) query: Option<String>,
    /// It runs code, or names another method, whatever its own method says.
    pub(super) changes: bool,
}

impl OrgPath {
    /// Reads what follows `/proxy/`, as it came over the line.
    ///
    /// # Errors
    /// 400 for what is no path of an API on the org's host; 403 for one that hands out sessions.
    pub(super) fn read(rest: &str, query: Option<&str>) -> Result<Self, Problem> {
        if rest.len() + query.map_or(0, str::len) > LONGEST {
            return Err(refused("it is longer than the 16,384 bytes that Salesforce takes"));
        }
        let mut segments = Vec::new();
        let mut pieces = rest.split('/').peekable();
        while let Some(piece) = pieces.next() {
            if piece.is_empty() && pieces.peek().is_none() {
                // A slash at the end belongs to some resources: `tooling/executeAnonymous/`.
                segments.push(String::new());
                break;
            }
            segments.push(segment(piece)?);
        }
        let names: Vec<&str> = segments.iter().map(String::as_str).collect();
        let latest = is_callable(&names)?;
        let changes = runs_code(&segments) || query.is_some_and(names_a_method);
        if let Some(query) = query {
            check_query(query)?;
        }
        let encoded: Vec<String> =
            segments.iter().map(|segment| utf8_percent_encode(segment, SEGMENT).to_string()).collect();
        Ok(Self { path: format!("/{}", encoded.join("/")), latest, query: query.map(str::to_owned), changes })
    }

    /// Path and query string, for a connection that speaks this version.
    pub(super) fn target(&self, version: &str) -> String {
        let mut target = match self.path.strip_prefix(LATEST).filter(|_| self.latest) {
            Some(rest) => format!("/services/data/v{version}{rest}"),
            None => self.path.clone(),
        };
        if let Some(query) = &self.query {
            target.push('?');
            target.push_str(query);
        }
        target
    }

    /// Code of the org's own runs there: what a method of it means is for its author to say.
    pub(super) fn is_apex(&self) -> bool {
        self.path.starts_with("/services/apexrest/")
    }
}

fn refused(why: &str) -> Problem {
    Problem::invalid(
        format!("this path cannot be called through the proxy: {why}"),
        "write it like /proxy/services/data/v67.0/limits, each part encoded once; the host is the connection's",
    )
}

fn segment(piece: &str) -> Result<String, Problem> {
    if piece.is_empty() {
        return Err(refused("a part of it is empty"));
    }
    let bytes = piece.as_bytes();
    let is_hex = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    if bytes.iter().enumerate().any(|(at, byte)| *byte == b'%' && !(is_hex(at + 1) && is_hex(at + 2))) {
        return Err(refused("a per cent sign begins no encoded byte"));
    }
    if piece.contains(';') {
        return Err(refused("a bare semicolon begins a parameter that some servers cut off"));
    }
    let decoded = percent_decode_str(piece).decode_utf8().map_err(|_| refused("it is no UTF-8"))?;
    if decoded.chars().any(|c| c.is_control() || matches!(c, '/' | '\\') || SLASHES.contains(&c)) {
        return Err(refused("a part of it holds a slash, a backslash or a control character"));
    }
    let name = decoded.split(';').next().unwrap_or_default().trim();
    if name.chars().all(|c| DOTS.contains(&c)) {
        return Err(refused("a part of it is nothing but dots"));
    }
    let twice = decoded.as_bytes().windows(3);
    if twice.into_iter().any(|w| w[0] == b'%' && w[1].is_ascii_hexdigit() && w[2].is_ascii_hexdigit()) {
        return Err(refused("a part of it is encoded twice"));
    }
    Ok(decoded.into_owned())
}

/// Whether the path is of an API that takes the connection's token and gives none out. Answers whether its version is
/// the alias `latest`.
fn is_callable(segments: &[&str]) -> Result<bool, Problem> {
    let [first, api, rest @ ..] = segments else { return Err(refused("it does not begin with `services/`")) };
    if *first != "services" {
        return Err(refused("it does not begin with `services/`"));
    }
    let named = rest.first().copied().filter(|name| !name.is_empty());
    match (*api, named) {
        // The list of versions.
        ("data", None) => Ok(false),
        ("data", Some("latest")) => Ok(true),
        ("data", Some(version)) if version.strip_prefix('v').is_some_and(is_version) => Ok(false),
        ("async", Some(version)) if is_version(version) => Ok(false),
        ("apexrest", Some(_)) => Ok(false),
        ("scim", Some("v1" | "v2")) => Ok(false),
        ("data" | "async" | "scim", _) => Err(refused("its version is none: write v67.0, or `latest`")),
        ("apexrest", None) => Err(refused("it names no resource")),
        // `oauth2/singleaccess` and `a360/token` turn a token into another one, `Soap` carries sessions in its bodies.
        _ if ["oauth2", "soap", "auth", "a360", "authorization"].iter().any(|name| api.eq_ignore_ascii_case(name)) => {
            Err(Problem::forbidden(
                "path_refused",
                format!("`services/{api}` hands out sessions, and a session never leaves this service"),
                "call the data itself: services/data, services/apexrest, services/async or services/scim",
            ))
        }
        _ => Err(refused("only services/data, services/apexrest, services/async and services/scim are called")),
    }
}

/// `67.0`
fn is_version(text: &str) -> bool {
    let number = |text: &str| (1..=3).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    text.split_once('.').is_some_and(|(major, minor)| number(major) && minor == "0")
}

/// A GET that is none: `tooling/executeAnonymous` runs the code in its query string.
fn runs_code(segments: &[String]) -> bool {
    segments.iter().any(|segment| segment.eq_ignore_ascii_case("executeAnonymous"))
}

/// `_HttpMethod=PATCH`: Salesforce takes it for the method (REST API Developer Guide, "Using the PATCH Method").
fn names_a_method(query: &str) -> bool {
    url::form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name.eq_ignore_ascii_case("_HttpMethod"))
}

/// Line breaks and tabs may stand in a query encoded: SOQL has them.
fn check_query(query: &str) -> Result<(), Problem> {
    let allowed = |byte: &u8| matches!(byte, b'\t' | b'\n' | b'\r') || !byte.is_ascii_control();
    let is_sound = query.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'#'))
        && percent_decode_str(query).collect::<Vec<u8>>().iter().all(allowed);
    is_sound
        .then_some(())
        .ok_or_else(|| refused("its query string holds a character that must be encoded, or a control"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str) -> Result<OrgPath, Problem> {
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        OrgPath::read(path, query)
    }

    #[test]
    fn what_is_sent_is_written_anew() {
        for (asked, sent) in [
            ("services/data", "/services/data"),
            ("services/data/", "/services/data/"),
            ("services/data/v67.0/limits", "/services/data/v67.0/limits"),
            ("%73ervices/d%61ta/v67.0/limits", "/services/data/v67.0/limits"),
            (
                "services/data/latest/query?q=SELECT+Id%0AFROM+Contact",
                "/services/data/v66.0/query?q=SELECT+Id%0AFROM+Contact",
            ),
            (
                "services/data/v67.0/sobjects/Contact/Email__c/ada@example.com",
                "/services/data/v67.0/sobjects/Contact/Email__c/ada%40example.com",
            ),
            ("services/data/v67.0/sobjects/A/X__c/100%25", "/services/data/v67.0/sobjects/A/X__c/100%25"),
            ("services/data/v67.0/sobjects/A/X__c/a%3Bb%20c", "/services/data/v67.0/sobjects/A/X__c/a%3Bb%20c"),
            ("services/data/v67.0/sobjects/A/X__c/Zo%C3%AB", "/services/data/v67.0/sobjects/A/X__c/Zo%C3%AB"),
            ("services/data/v67.0/sobjects/A/X__c/a..b", "/services/data/v67.0/sobjects/A/X__c/a..b"),
            ("services/async/67.0/job", "/services/async/67.0/job"),
            ("services/apexrest/ns/Thing/1", "/services/apexrest/ns/Thing/1"),
            ("services/scim/v2/Users", "/services/scim/v2/Users"),
        ] {
            assert_eq!(read(asked).unwrap().target("66.0"), sent, "{asked}");
        }
    }

    #[test]
    fn what_leads_elsewhere_is_refused() {
        for asked in [
            "",
            "/",
            "services",
            "services/",
            "services//data",
            "/services/data",
            "//evil.example/services/data",
            "Services/data",
            "services/data/../oauth2/token",
            "services/data/..",
            "services/data/%2e%2e/oauth2/token",
            "services/data/.%2E/x",
            "services/data/v67.0/..%2foauth2",
            "services%2fdata",
            "services/data%2f..%2foauth2%2ftoken",
            "services/data/v67.0/%5c..",
            "services/data/v67.0/a\\b",
            "services/data/v67.0/..;/x",
            "services/data/v67.0/..%3b/x",
            "services/data/v67.0/;x",
            "services/data/v67.0/x;jsessionid=1",
            "services/data/v67.0/%00",
            "services/data/v67.0/a%0d%0aHost:%20evil",
            "services/data/v67.0/%252e%252e",
            "services/data/v67.0/%ff",
            "services/data/v67.0/%",
            "services/data/v67.0/%2",
            "services/data/v67.0/%EF%BC%8E%EF%BC%8E",
            "services/data/v67.0/%E3%80%82%E3%80%82",
            "services/data/v67.0/%E2%80%A5",
            "services/data/v67.0/..%EF%BC%8Fx",
            "services/data/v67.0//limits",
            "services/data/v67.0/./limits",
            "services/data/v67/limits",
            "services/data/67.0/limits",
            "services/data/vv67.0",
            "services/data/v67.0.0",
            "services/data/v1234.0",
            "services/data/LATEST/limits",
            "services/async/v67.0/job",
            "services/async",
            "services/apexrest",
            "services/apexrest/",
            "services/oauth2/token",
            "services/oauth2/userinfo",
            "services/oauth2/singleaccess",
            "services/OAuth2/token",
            "services/%6fauth2/token",
            "services/Soap/u/67.0",
            "services/soap/c/67.0",
            "services/a360/token",
            "services/auth/sso/x",
            "services/wsdl/class/X",
            "secur/frontdoor.jsp",
            "id/00D/005",
            "http://evil.example/services/data",
            "https:/evil.example",
            "@evil.example/services/data",
            "services@evil.example/data",
            "evil.example:443/services/data",
            ".well-known/openid-configuration",
            "%2f%2fevil.example/services",
            "services/data/v67.0/query?q=%00",
            "services/data/v67.0/query?q=a\\b",
            "services/data/v67.0/query?q=\u{7f}",
            "services/data/v67.0/query?q=%1b",
        ] {
            let refused = read(asked).expect_err(asked);
            assert!(matches!(refused.code(), "invalid_request" | "path_refused"), "{asked}");
        }
        assert!(OrgPath::read(&format!("services/apexrest/{}", "x".repeat(LONGEST)), None).is_err());
    }

    #[test]
    fn a_get_that_changes_something_is_known() {
        for (asked, changes) in [
            ("services/data/v67.0/tooling/executeAnonymous/?anonymousBody=x", true),
            ("services/data/v67.0/tooling/EXECUTEANONYMOUS?anonymousBody=x", true),
            ("services/data/v67.0/tooling/execute%41nonymous?anonymousBody=x", true),
            ("services/data/v67.0/sobjects/Contact/003?_HttpMethod=DELETE", true),
            ("services/data/v67.0/sobjects/Contact/003?a=b&%5fhttpmethod=DELETE", true),
            ("services/data/v67.0/sobjects/Contact/003?fields=Id", false),
        ] {
            assert_eq!(read(asked).unwrap().changes, changes, "{asked}");
        }
    }
}
