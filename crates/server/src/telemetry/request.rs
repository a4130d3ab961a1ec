//! What is noted of each request: an id, one line in the log, a span, and its part in the metrics.
//!
//! Query strings are noted nowhere: they hold codes and states. Nor are headers, bodies, or paths as they were sent; a
//! route is named as the router has it.

use std::net::SocketAddr;
use std::time::Instant;

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tieline_store::Uuid;
use tracing::field::{Empty, display};
use tracing::{Instrument, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::measures::{self, Counted};
use crate::service::Service;

/// The header that carries the id, both ways.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id that is taken over from a client, in bytes: a UUID has 36.
const LONGEST_ID: usize = 64;
/// The route of a request that no route takes.
const UNMATCHED: &str = "unmatched";
/// Targets of the one line a request, so that filters can name them.
pub(super) const ACCESS: &str = "tieline_server::access";

tokio::task_local! {
    static CURRENT: String;
}

/// The id of the request that is being answered; none outside of one.
pub(crate) fn current_id() -> Option<String> {
    CURRENT.try_with(Clone::clone).ok()
}

/// Notes who asks: a user's or a key's id, never a name or an address of theirs.
pub(crate) fn caller_is(kind: &'static str, id: Uuid) {
    Span::current().record(kind, display(id));
}

/// Around everything else.
pub(crate) async fn follow(State(service): State<Service>, request: Request, next: Next) -> Response {
    let id = given_id(request.headers()).map_or_else(|| Uuid::now_v7().to_string(), str::to_owned);
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or_else(|| UNMATCHED.to_owned(), |path| path.as_str().to_owned());
    let method = method(request.method());
    // At the level of errors, so that whatever is logged within it names its request.
    let span = tracing::error_span!(
        "request", request_id = %id, method, route, client = Empty, user = Empty, api_key = Empty
    );
    if let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>() {
        let client = service.limits_of_node().trusted().client(peer.ip(), request.headers());
        span.record("client", display(client.to_canonical()));
    }
    if service.settings().trust_traceparent {
        let context = TraceContextPropagator::new().extract(&HeaderExtractor(request.headers()));
        // It fails where nobody traces.
        let _ = span.set_parent(context);
    }
    let open = Open {
        route,
        method,
        span: span.clone(),
        begun: Instant::now(),
        answered: false,
        _in_flight: Counted::request(),
    };
    let mut response = CURRENT.scope(id.clone(), next.run(request)).instrument(span).await;
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    if service.is_draining() {
        // The client's next request goes to a node that stays.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    open.answered(response.status().as_u16());
    response
}

/// An id that the client or a proxy gave, if it is short, plain, and nothing that looks like a secret.
fn given_id(headers: &HeaderMap) -> Option<&str> {
    let id = headers.get(REQUEST_ID)?.to_str().ok()?;
    let is_plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    (is_plain && (1..=LONGEST_ID).contains(&id.len()) && tieline_auth::redact::find(id).is_none()).then_some(id)
}

/// Anybody can send any word as a method.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}

/// A request without an answer. If it is dropped as such, its client has left.
struct Open {
    route: String,
    method: &'static str,
    span: Span,
    begun: Instant,
    answered: bool,
    _in_flight: Counted,
}

impl Open {
    fn answered(mut self, status: u16) {
        self.answered = true;
        let class = match status / 100 {
            1 => "1xx",
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            _ => "5xx",
        };
        self.span.set_attribute("http.response.status_code", i64::from(status));
        let duration_ms = self.end(class);
        let _in = self.span.enter();
        // What machines ask for every few seconds.
        if self.route.starts_with("/assets/") || self.route.starts_with("/health/") || self.route == "/metrics" {
            tracing::debug!(target: ACCESS, status, duration_ms, "answered");
        } else {
            tracing::info!(target: ACCESS, status, duration_ms, "answered");
        }
    }

    fn end(&self, class: &'static str) -> f64 {
        let took = self.begun.elapsed();
        measures::request(&self.route, self.method, class, took);
        (took.as_secs_f64() * 1e6).round() / 1e3
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if !self.answered {
            let duration_ms = self.end("gone");
            let _in = self.span.enter();
            tracing::info!(target: ACCESS, duration_ms, "the client left before it was answered");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_short_and_plain_ids_are_taken_over() {
        let taken = |id: &str| {
            let headers = [(REQUEST_ID, HeaderValue::from_str(id).unwrap())].into_iter().collect();
            given_id(&headers).is_some()
        };
        for id in ["a", "0197a0c4-5a3e-7cc1-8d5e-3f1f6d0f3b11", "Root_1.67891233-abcdef01", &"x".repeat(64)] {
            assert!(taken(id), "{id}");
        }
        for id in ["", "a b", "a\"b", "a=b", "<script>", "ä", &"x".repeat(65), "5Aep861KIlZ1J1QzuxxTMj1Ck1u"] {
            assert!(!taken(id), "{id}");
        }
        assert!(given_id(&HeaderMap::new()).is_none());
    }

    #[test]
    fn a_method_that_nobody_knows_is_no_new_label() {
        assert_eq!(method(&Method::DELETE), "DELETE");
        assert_eq!(method(&Method::from_bytes(b"X-PLANTED").unwrap()), "OTHER");
    }
}
