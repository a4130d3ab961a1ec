//! Refusals of the tenant host, in the form that the caller understands.

use axum::body::Body;
use axum::http::{HeaderValue, Request};
use axum::response::Response;
use jiff::Timestamp;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Value, json};

use super::engine::Refused;
use crate::Shared;
use crate::rest::json_response;

/// Where the query service lives.
pub(super) const SERVICE: &str = "/salesforce.hyperdb.grpc.v1.HyperService/";

pub(super) fn is_grpc(request: &Request<Body>) -> bool {
    request.uri().path().starts_with(SERVICE)
}

/// The status codes of gRPC that are used here.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Code {
    InvalidArgument = 3,
    PermissionDenied = 7,
    Unimplemented = 12,
    Unavailable = 14,
    Unauthenticated = 16,
}

/// A gRPC answer without a message: all in the first headers.
pub(super) fn grpc(code: Code, message: &str) -> Response {
    // "gRPC over HTTP2": percent-encoded outside of printable ASCII, and `%` itself.
    const SET: &AsciiSet = &CONTROLS.add(b'%');
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from(code as u16));
    if let Ok(message) = utf8_percent_encode(message, SET).to_string().parse() {
        headers.insert("grpc-message", message);
    }
    response
}

/// What the REST APIs of the tenant host answer instead of data.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RestError {
    pub(super) status: u16,
    pub(super) message: String,
}

/// Hyper does not answer.
impl From<anyhow::Error> for RestError {
    fn from(error: anyhow::Error) -> Self {
        tracing::warn!(?error, "hyperd could not be asked");
        RestError::new(503, "the query engine is not available")
    }
}

impl From<Refused> for RestError {
    fn from(refused: Refused) -> Self {
        let status = match refused.code {
            // INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS, PERMISSION_DENIED, FAILED_PRECONDITION, OUT_OF_RANGE,
            // UNIMPLEMENTED: the query's fault.
            3 | 5 | 6 | 7 | 9 | 11 | 12 => 400,
            14 => 503,
            _ => 500,
        };
        RestError::new(status, refused.message)
    }
}

impl RestError {
    /// For an org without Hyper.
    pub(super) fn no_engine() -> Self {
        RestError::new(503, "this local org was started without hyperd")
    }

    pub(super) fn new(status: u16, message: impl Into<String>) -> Self {
        RestError { status, message: message.into() }
    }

    /// The body, at the org's time.
    pub(super) fn body(&self, now: Timestamp) -> Value {
        let reason = axum::http::StatusCode::from_u16(self.status).ok().and_then(|status| status.canonical_reason());
        json!({
            "timestamp": moment(now), "error": reason.unwrap_or("Error"), "message": self.message,
            "internalErrorCode": "COMMON_ERROR_GENERIC", "details": {},
        })
    }

    pub(super) fn at(&self, now: Timestamp) -> Response {
        json_response(self.status, self.body(now).to_string().into_bytes())
    }
}

/// A moment as the tenant host writes it: with microseconds.
pub(super) fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// The answer, or the refusal at the org's time.
pub(super) async fn settled(shared: &Shared, answer: Result<Response, RestError>) -> Response {
    match answer {
        Ok(response) => response,
        Err(error) => error.at(shared.with_org(|org| org.now()).await),
    }
}
