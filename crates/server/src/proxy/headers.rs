//! Which headers pass, in either direction. All others stay here.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use url::Url;

use super::path::OrgPath;
use crate::problem::Problem;

/// What a caller may tell the org. `sforce-` headers go along with them. `Content-Type` goes with the body.
const TO_ORG: [HeaderName; 9] = [
    header::ACCEPT,
    header::ACCEPT_LANGUAGE,
    header::CONTENT_ENCODING,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    // What simple-salesforce sends with every call.
    HeaderName::from_static("x-prettyprint"),
    HeaderName::from_static("x-chatter-entity-encoding"),
];

/// What an org may tell the caller. `Location` goes too, led back to here.
const TO_CALLER: [HeaderName; 10] = [
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::ETAG,
    header::LAST_MODIFIED,
    header::RETRY_AFTER,
    header::WARNING,
    header::ALLOW,
    HeaderName::from_static("sforce-limit-info"),
    HeaderName::from_static("sforce-locator"),
    HeaderName::from_static("sforce-numberofrecords"),
];

/// Types that a browser shows without running anything; all others it saves.
const INERT: [&str; 3] = ["application/json", "text/csv", "text/plain"];

/// Nothing of an org's runs on our origin, whatever it says it is.
const SANDBOX: HeaderValue = HeaderValue::from_static("sandbox; default-src 'none'; frame-ancestors 'none'");

/// Says that the answer is the org's and not this service's.
pub(super) const UPSTREAM: HeaderName = HeaderName::from_static("x-tieline-upstream");
/// How much of the org's API budget is used.
pub(super) const USAGE: HeaderName = HeaderName::from_static("x-tieline-api-usage");

/// The headers of a call.
pub(super) fn to_org(from: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in from {
        if TO_ORG.contains(name) || name.as_str().starts_with("sforce-") {
            headers.append(name, value.clone());
        }
    }
    headers
}

/// What the body is said to be; JSON unless told otherwise.
///
/// # Errors
/// 400 for two of them, or one that is no text.
pub(super) fn content_type(from: &HeaderMap) -> Result<String, Problem> {
    let mut all = from.get_all(header::CONTENT_TYPE).iter();
    let wrong = || Problem::invalid("the header Content-Type cannot be read", "send it once, in ASCII");
    match (all.next(), all.next()) {
        (None, _) => Ok("application/json".to_owned()),
        (Some(one), None) => one.to_str().map(str::to_owned).map_err(|_| wrong()),
        _ => Err(wrong()),
    }
}

/// The headers of an answer. `proxy` is the path before the org's own: `/api/connections/…/proxy`.
pub(super) fn to_caller(from: &HeaderMap, instance: Option<&Url>, proxy: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for name in TO_CALLER {
        for value in from.get_all(&name) {
            headers.append(&name, value.clone());
        }
    }
    if let Some(location) = from.get(header::LOCATION).and_then(|value| led_back(value, instance?, proxy)) {
        headers.insert(header::LOCATION, location);
    }
    let kind = from.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let disposition = from.get(header::CONTENT_DISPOSITION);
    let is_attachment = |value: &HeaderValue| {
        let value = value.as_bytes();
        value.get(..10).is_some_and(|start| start.eq_ignore_ascii_case(b"attachment"))
    };
    match disposition {
        Some(value) if is_attachment(value) || INERT.contains(&kind.as_str()) => {
            headers.insert(header::CONTENT_DISPOSITION, value.clone());
        }
        _ if INERT.contains(&kind.as_str()) => {}
        _ => {
            headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
        }
    }
    headers.insert(header::CONTENT_SECURITY_POLICY, SANDBOX);
    headers.insert(UPSTREAM, HeaderValue::from_static("salesforce"));
    headers
}

/// A place on the org's host, as it is reached through here. What points elsewhere is left out: it may hold a session,
/// and would make of this service one that sends browsers anywhere.
fn led_back(location: &HeaderValue, instance: &Url, proxy: &str) -> Option<HeaderValue> {
    let url = instance.join(location.to_str().ok()?).ok()?;
    if url.origin() != instance.origin() {
        return None;
    }
    let path = OrgPath::read(url.path().strip_prefix('/')?, url.query()).ok()?;
    HeaderValue::try_from(format!("{proxy}{}", path.target(""))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn what_is_not_named_stays_here() {
        let sent = to_org(&map(&[
            ("authorization", "Bearer tl_x"),
            ("proxy-authorization", "Basic x"),
            ("cookie", "a=b"),
            ("host", "evil.example"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-host", "evil.example"),
            ("forwarded", "host=evil.example"),
            ("x-sfdc-session", "tl_x"),
            ("x-http-method-override", "DELETE"),
            ("x-csrf-token", "x"),
            ("connection", "keep-alive, sforce-query-options"),
            ("transfer-encoding", "chunked"),
            ("accept-encoding", "br"),
            ("accept", "text/csv"),
            ("if-match", "\"a\""),
            ("sforce-query-options", "batchSize=200"),
        ]));
        let mut names: Vec<&str> = sent.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "if-match", "sforce-query-options"]);
    }

    #[test]
    fn an_orgs_page_is_saved_and_not_shown() {
        for (kind, disposition, shown) in [
            ("text/html; charset=UTF-8", None, Some("attachment")),
            ("TEXT/HTML", Some("inline"), Some("attachment")),
            ("image/svg+xml", None, Some("attachment")),
            ("application/xml", None, Some("attachment")),
            (
                "application/octet-stream",
                Some("attachment; filename=\"a.bin\""),
                Some("attachment; filename=\"a.bin\""),
            ),
            ("application/json;charset=UTF-8", None, None),
            ("text/csv", None, None),
        ] {
            let mut from = map(&[("content-type", kind), ("set-cookie", "sid=x"), ("x-frame-options", "ALLOWALL")]);
            if let Some(disposition) = disposition {
                from.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static(disposition));
            }
            let answer = to_caller(&from, None, "/p");
            assert_eq!(answer.get(header::CONTENT_DISPOSITION).map(|v| v.to_str().unwrap()), shown, "{kind}");
            assert!(answer[header::CONTENT_SECURITY_POLICY].to_str().unwrap().starts_with("sandbox"));
            assert!(!answer.contains_key(header::SET_COOKIE) && !answer.contains_key(header::X_FRAME_OPTIONS));
        }
    }

    #[test]
    fn a_location_leads_back_or_nowhere() {
        let instance = Url::parse("https://acme.my.salesforce.com").unwrap();
        for (location, led) in [
            ("/services/data/v67.0/jobs/1", Some("/p/services/data/v67.0/jobs/1")),
            ("https://acme.my.salesforce.com/services/data/v67.0/x?a=b", Some("/p/services/data/v67.0/x?a=b")),
            ("https://ACME.my.salesforce.com:443/services/data/v67.0/x", Some("/p/services/data/v67.0/x")),
            ("https://evil.example/services/data/v67.0/x", None),
            ("//evil.example/services/data/v67.0/x", None),
            ("http://acme.my.salesforce.com/services/data/v67.0/x", None),
            ("/secur/frontdoor.jsp?sid=00D!x", None),
            ("https://acme.my.salesforce.com@evil.example/services/data", None),
            ("javascript:alert(1)", None),
        ] {
            let found = led_back(&HeaderValue::from_static(location), &instance, "/p");
            assert_eq!(found.as_ref().map(|v| v.to_str().unwrap()), led, "{location}");
        }
    }
}
