//! Errors as clients of the API get them: problem details (RFC 9457) with a code of ours that never changes.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tieline_store::StoreError;
use utoipa::ToSchema;

use crate::telemetry::request::current_id;

/// `application/problem+json`
pub const PROBLEM_JSON: &str = "application/problem+json";

/// What went wrong, and what to do.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Problem {
    /// Names the kind of problem: `urn:tieline:problem:` and the code.
    #[serde(rename = "type")]
    #[schema(example = "urn:tieline:problem:not_found")]
    kind: String,
    /// The HTTP status in words.
    title: &'static str,
    /// The HTTP status.
    #[schema(value_type = u16, minimum = 400, maximum = 599)]
    #[serde(serialize_with = "number")]
    status: StatusCode,
    /// Names the kind of problem; programs may rely on it.
    #[schema(value_type = String, example = "not_found")]
    code: &'static str,
    /// What happened.
    detail: String,
    /// What to do next.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    hint: String,
    /// Names the request: `urn:tieline:request:` and its id, which the log has too.
    #[serde(skip_serializing_if = "Instance::is_unknown")]
    #[schema(value_type = String, required = false, example = "urn:tieline:request:0197a0c4-5a3e-7cc1-8d5e-3f1f6d0f3b11")]
    instance: Instance,
    /// Seconds after which it may be tried again; also the header `Retry-After`.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u32>,
}

/// The request that is being answered when the problem is written: it is known by then, and takes no room before.
#[derive(Debug, Clone, Copy)]
struct Instance;

impl Instance {
    fn is_unknown(&self) -> bool {
        current_id().is_none()
    }
}

impl Serialize for Instance {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("urn:tieline:request:{}", current_id().unwrap_or_default()))
    }
}

fn number<S: serde::Serializer>(status: &StatusCode, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u16(status.as_u16())
}

impl Problem {
    /// A problem.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:tieline:problem:{code}"),
            title: status.canonical_reason().unwrap_or("error"),
            status,
            code,
            detail: detail.into(),
            hint: hint.into(),
            instance: Instance,
            retry_after: None,
        }
    }

    /// 400: the request cannot be read, or a value in it is not allowed.
    pub fn invalid(detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", detail, hint)
    }

    /// 401: nobody is signed in, and no valid key was given.
    pub fn unauthenticated() -> Self {
        let hint = "sign in, or send an API key: Authorization: Bearer tl_…";
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", "this needs a signed-in user or an API key", hint)
    }

    /// 403: it is known who asks, and they may not.
    pub fn forbidden(code: &'static str, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, detail, hint)
    }

    /// 404: there is none, or it is another business's, which is the same.
    pub fn not_found(what: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            format!("there is no such {what}"),
            "check the id, and that you act for the right business",
        )
    }

    /// 409: what is there does not allow it.
    pub fn conflict(code: &'static str, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail, hint)
    }

    /// 503: it may work a little later.
    pub fn unavailable(code: &'static str, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { retry_after: Some(5), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail, hint) }
    }

    /// The same, to be tried again after so many seconds.
    #[must_use]
    pub fn after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// 500: ours. What happened stands in the log.
    pub(crate) fn internal(what: &str, error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "{what}");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the service could not do this",
            "the service's log says why",
        )
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The code.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// What happened.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// What to do next.
    pub fn hint(&self) -> &str {
        &self.hint
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (self.status, [(header::CONTENT_TYPE, PROBLEM_JSON)], body).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let hint = error.hint();
        match &error {
            StoreError::Taken(what) => Problem::conflict("taken", what.clone(), hint),
            StoreError::BuiltIn { .. } => Problem::conflict("built_in", error.to_string(), hint),
            StoreError::Revoked { .. } => Problem::conflict("revoked", error.to_string(), hint),
            StoreError::Keyring(key) if key.passing() => {
                tracing::error!(%error, "the key service is out of reach");
                Problem::unavailable(
                    "key_service_unavailable",
                    "the service that holds the keys cannot be reached",
                    "try again in a moment; nothing was changed",
                )
            }
            _ if error.is_passing() => {
                tracing::error!(%error, "the database is out of reach");
                Problem::unavailable(
                    "database_unavailable",
                    "the database does not answer",
                    "try again in a moment; nothing was changed",
                )
            }
            _ => Problem::internal("the database failed", &error),
        }
    }
}
