//! Conditional requests: `If-Match`, `If-None-Match`, `If-Modified-Since`, `If-Unmodified-Since`.

use axum::http::HeaderMap;
use axum::http::header::{ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE, LAST_MODIFIED};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use jiff::fmt::rfc2822;

use super::json_response;
use crate::api_error::ApiError;
use crate::clock::http_date;

/// What a resource is known by.
pub(super) struct Validators {
    pub(super) etag: Option<String>,
    pub(super) modified: Timestamp,
}

#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    Proceed,
    NotModified,
    Failed,
}

impl Validators {
    pub(super) fn set(&self, response: &mut Response) {
        if let Some(etag) = self.etag.as_ref().and_then(|e| e.parse().ok()) {
            response.headers_mut().insert(ETAG, etag);
        }
        if let Ok(date) = http_date(self.modified).parse() {
            response.headers_mut().insert(LAST_MODIFIED, date);
        }
    }

    /// In the order of RFC 9110, section 13.2.2. A header that cannot be read is ignored by a reader and refused to a
    /// writer.
    pub(super) fn verdict(&self, headers: &HeaderMap, writing: bool) -> Result<Verdict, ApiError> {
        let text = |name| headers.get(&name).and_then(|v: &axum::http::HeaderValue| v.to_str().ok());
        let date = |name| match text(name).map(|text| (text, parse_date(text))) {
            Some((_, Some(at))) => Ok(Some(at)),
            // Unverified code and wording.
            Some((text, None)) if writing => Err(ApiError::bad("BAD_REQUEST", format!("Invalid header value: {text}"))),
            _ => Ok(None),
        };
        let (modified_since, unmodified_since) = (date(IF_MODIFIED_SINCE)?, date(IF_UNMODIFIED_SINCE)?);
        // Dates in headers have whole seconds.
        let modified = self.modified.as_second();
        if let (Some(wanted), Some(etag)) = (text(IF_MATCH), &self.etag) {
            if !names(wanted, etag) {
                return Ok(Verdict::Failed);
            }
        } else if unmodified_since.is_some_and(|since| modified > since.as_second()) {
            return Ok(Verdict::Failed);
        }
        if let (Some(known), Some(etag)) = (text(IF_NONE_MATCH), &self.etag) {
            if names(known, etag) {
                return Ok(if writing { Verdict::Failed } else { Verdict::NotModified });
            }
        } else if modified_since.is_some_and(|since| modified <= since.as_second()) {
            return Ok(if writing { Verdict::Failed } else { Verdict::NotModified });
        }
        Ok(Verdict::Proceed)
    }
}

/// Whether a list of tags has this one. A tag of a compressed answer, `"…-gzip"`, is the same.
fn names(list: &str, etag: &str) -> bool {
    let plain = |tag: &str| tag.trim().trim_start_matches("W/").trim_matches('"').trim_end_matches("-gzip").to_owned();
    list.split(',').any(|tag| tag.trim() == "*" || plain(tag) == plain(etag))
}

fn parse_date(text: &str) -> Option<Timestamp> {
    rfc2822::parse(text).ok().map(|at| at.timestamp())
}

/// Unverified: the documents give only the status.
pub(super) fn failed() -> ApiError {
    ApiError::new(412, "PRECONDITION_FAILED", "The precondition of the request was not met")
}

/// Answers `body`, or that the client has it already.
pub(super) fn answer(headers: &HeaderMap, validators: &Validators, body: String) -> Result<Response, ApiError> {
    let mut response = match validators.verdict(headers, false)? {
        Verdict::Proceed => json_response(200, body.into_bytes()),
        Verdict::NotModified => axum::http::StatusCode::NOT_MODIFIED.into_response(),
        Verdict::Failed => return Err(failed()),
    };
    validators.set(&mut response);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(header: (&'static str, &str), writing: bool) -> Result<Verdict, u16> {
        let known = Validators { etag: Some("\"a=\"".to_owned()), modified: "2024-01-02T03:04:05.7Z".parse().unwrap() };
        let mut headers = HeaderMap::new();
        headers.insert(header.0, header.1.parse().unwrap());
        known.verdict(&headers, writing).map_err(|e| e.status)
    }

    #[test]
    fn each_header_decides_as_the_standard_says() {
        use Verdict::{Failed, NotModified, Proceed};
        let at = "Tue, 02 Jan 2024 03:04:05 GMT";
        let before = "Tue, 02 Jan 2024 03:04:04 GMT";
        for (header, reading, writing) in [
            (("if-match", "\"a=\""), Proceed, Proceed),
            (("if-match", "\"b\", \"a=-gzip\""), Proceed, Proceed),
            (("if-match", "\"b\""), Failed, Failed),
            (("if-none-match", "\"a=\""), NotModified, Failed),
            (("if-none-match", "*"), NotModified, Failed),
            (("if-none-match", "\"b\""), Proceed, Proceed),
            (("if-modified-since", at), NotModified, Failed),
            (("if-modified-since", before), Proceed, Proceed),
            (("if-unmodified-since", at), Proceed, Proceed),
            (("if-unmodified-since", before), Failed, Failed),
        ] {
            assert_eq!(verdict(header, false), Ok(reading), "{header:?}");
            assert_eq!(verdict(header, true), Ok(writing), "{header:?}");
        }
        assert_eq!(verdict(("if-modified-since", "yesterday"), false), Ok(Proceed));
        assert_eq!(verdict(("if-modified-since", "yesterday"), true), Err(400));
    }
}
