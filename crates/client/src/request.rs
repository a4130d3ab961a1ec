//! A call as data, so that it can be sent again, and the org's answer to it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::once::Once;

/// A call as data, so that it can be sent again.
///
/// ```
/// use tieline_client::Request;
///
/// let request = Request::get("/services/data/v67.0/limits");
/// assert!(request.idempotent);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Request {
    /// HTTP method.
    pub method: Method,
    /// Path from the host's root, with its query string: `/services/data/v67.0/limits`.
    pub path: String,
    /// Headers besides those that every call has, such as `Sforce-Query-Options`.
    pub headers: HeaderMap,
    /// What is sent with it.
    pub body: Option<Body>,
    /// Sending it twice has the effect of sending it once.
    pub idempotent: bool,
    /// It changes nothing that anybody would look for.
    pub(crate) reads: bool,
    /// Its body names paths as well: another version is not put into its own alone.
    pub(crate) names_paths: bool,
    /// How long the whole call may take, its repetitions included; overrules
    /// [`Timeouts::total`](crate::Timeouts::total).
    pub timeout: Option<Duration>,
}

/// What a request carries. Cheap to clone.
#[derive(Clone)]
#[non_exhaustive]
pub enum Body {
    /// JSON.
    Json(Bytes),
    /// Anything else, with its content type.
    Raw {
        /// Such as `text/csv`.
        content_type: String,
        /// The body.
        bytes: Bytes,
    },
    /// A stream that can be opened again for another attempt.
    Stream {
        /// Such as `text/csv`.
        content_type: String,
        /// Opens it at its beginning.
        open: Arc<dyn Fn() -> reqwest::Body + Send + Sync>,
    },
    /// A stream that comes once. The call is repeated only if nothing of it has been sent.
    Once {
        /// Such as `text/csv`.
        content_type: String,
        /// The body.
        once: Once,
    },
    /// An operation of the Metadata API as XML. The SOAP envelope round it holds the token of each attempt, for SOAP has
    /// its session in the body and not in a header.
    MetadataSoap(String),
}

impl std::fmt::Debug for Body {
    /// What kind and how long; the content may be records of people.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Body::Json(bytes) => write!(f, "Json({} bytes)", bytes.len()),
            Body::Raw { content_type, bytes } => write!(f, "Raw({content_type}, {} bytes)", bytes.len()),
            Body::Stream { content_type, .. } => write!(f, "Stream({content_type})"),
            Body::Once { content_type, .. } => write!(f, "Once({content_type})"),
            Body::MetadataSoap(operation) => write!(f, "MetadataSoap({} bytes)", operation.len()),
        }
    }
}

impl Body {
    /// Something of it was sent that cannot be sent again.
    pub(crate) fn is_spent(&self) -> bool {
        matches!(self, Body::Once { once, .. } if once.has_begun())
    }
}

impl Request {
    /// A call without a body. All methods but `POST` count as idempotent.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        let idempotent = method != Method::POST;
        let reads = method == Method::GET || method == Method::HEAD;
        Self {
            method,
            path: path.into(),
            headers: HeaderMap::new(),
            body: None,
            idempotent,
            reads,
            names_paths: false,
            timeout: None,
        }
    }

    /// A GET.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// A call with a JSON body.
    ///
    /// # Errors
    /// When the value cannot be written as JSON.
    pub fn json(
        method: Method,
        path: impl Into<String>,
        body: &impl serde::Serialize,
    ) -> Result<Self, serde_json::Error> {
        Ok(Self { body: Some(Body::Json(serde_json::to_vec(body)?.into())), ..Self::new(method, path) })
    }

    /// The same with a body.
    pub fn with_body(self, body: Body) -> Self {
        Self { body: Some(body), ..self }
    }

    /// The same with a header more.
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// The same, and it says of itself whether sending it twice has the effect of sending it once.
    pub fn repeatable(self, idempotent: bool) -> Self {
        Self { idempotent, ..self }
    }

    /// The same, and though it is a `POST` it only reads.
    pub fn reading(self) -> Self {
        Self { idempotent: true, reads: true, ..self }
    }

    /// The same, within so long.
    pub fn within(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// Method and path for messages to people.
    pub(crate) fn what(&self) -> String {
        format!("{} {}", self.method, self.path.split('?').next().unwrap_or_default())
    }

    /// The path without what may be somebody's data: ids, external ids and the query string.
    pub(crate) fn resource(&self) -> &str {
        let path = self.path.split('?').next().unwrap_or_default();
        if path.starts_with("/services/apexrest/") {
            // What follows the name of the resource is for its author to say.
            return path.match_indices('/').nth(4).map_or(path, |(at, _)| &path[..at]);
        }
        match path.match_indices('/').nth(5) {
            // `/services/data/v67.0/sobjects/Contact/…`
            Some((at, _)) if path.contains("/sobjects/") && !path.ends_with("/describe") => &path[..at],
            _ => path,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_into_a_trace_holds_nobodys_data() {
        for (path, resource) in [
            ("/services/data/v67.0/query?q=SELECT", "/services/data/v67.0/query"),
            ("/services/data/v67.0/sobjects/Contact", "/services/data/v67.0/sobjects/Contact"),
            ("/services/data/v67.0/sobjects/Contact/Email__c/ada@example.com", "/services/data/v67.0/sobjects/Contact"),
            ("/services/data/v67.0/sobjects/Contact/describe", "/services/data/v67.0/sobjects/Contact/describe"),
        ] {
            assert_eq!(Request::get(path).resource(), resource);
        }
        let body = Body::Json(Bytes::from_static(b"{\"LastName\":\"Lovelace\"}"));
        assert!(!format!("{body:?}").contains("Lovelace"));
    }
}
