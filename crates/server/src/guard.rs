//! What holds for every request and every answer.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::problem::Problem;
use crate::service::Service;

/// What a page may load: its own files and nothing else.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; \
    form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Headers that tell browsers what our pages never do.
pub(crate) async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (header::HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=(), payment=()"),
    ] {
        // What passes through the proxy has a stricter policy of its own.
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    // Files of pages say how long they are kept ([`crate::assets`]).
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Without sign-in the service is for whoever sits at this machine. Two ways remain to reach it from a web page that
/// somebody has open: a form or script of another site (told by `Sec-Fetch-Site` and `Origin`), and a name that has been
/// made to point at loopback (told by `Host`).
pub(crate) async fn local_only(State(service): State<Service>, request: Request, next: Next) -> Response {
    if service.settings().sign_in {
        return next.run(request).await;
    }
    let refuse = |why: &str| {
        Problem::forbidden("local_only", why, "without sign-in the service is for this machine alone").into_response()
    };
    if !is_local(request.headers()) {
        return refuse("this service answers to localhost and loopback addresses only");
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) && is_foreign(request.headers()) {
        return refuse("this request comes from another site");
    }
    next.run(request).await
}

fn text(headers: &HeaderMap, name: impl header::AsHeaderName) -> Option<&str> {
    headers.get(name).and_then(|v| v.to_str().ok())
}

pub(crate) fn is_local(headers: &HeaderMap) -> bool {
    let host = text(headers, header::HOST).unwrap_or("");
    url::Url::parse(&format!("http://{host}")).is_ok_and(|url| tieline_auth::host::is_loopback(&url))
}

fn is_foreign(headers: &HeaderMap) -> bool {
    match text(headers, "sec-fetch-site") {
        Some(site) => !matches!(site, "same-origin" | "none"),
        // Programs send neither header; old browsers send Origin.
        None => text(headers, header::ORIGIN)
            .is_some_and(|origin| origin.split_once("://").map(|(_, host)| host) != text(headers, header::HOST)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn other_sites_and_other_names_are_told_apart() {
        for host in ["localhost:1", "127.0.0.1:8080", "[::1]:8080"] {
            assert!(is_local(&headers(&[("host", host)])), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example:80", "192.0.2.1", ""] {
            assert!(!is_local(&headers(&[("host", host)])), "{host}");
        }
        assert!(is_foreign(&headers(&[("sec-fetch-site", "cross-site")])));
        assert!(is_foreign(&headers(&[("host", "localhost:1"), ("origin", "https://evil.example")])));
        assert!(is_foreign(&headers(&[("host", "localhost:1"), ("origin", "null")])));
        assert!(!is_foreign(&headers(&[("host", "localhost:1"), ("origin", "http://localhost:1")])));
        assert!(!is_foreign(&headers(&[("sec-fetch-site", "same-origin")])));
        assert!(!is_foreign(&headers(&[("host", "localhost:1")])));
    }
}
