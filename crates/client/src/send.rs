//! The loop that every call goes through: authorise, send, classify; then again, or answer.
//!
//! 1. Ask the credentials for a token (from memory, as a rule).
//! 2. Send to the instance URL that came with *this* token.
//! 3. A refused token is dropped by comparison, and the call is repeated once with the next one.
//! 4. What passes by itself (429, 502–504, a broken connection) is repeated after a pause, if repeating can
//!    do no harm: a request that may have been carried out already is repeated only when it is idempotent.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, HeaderValue};
use serde::de::DeserializeOwned;
use tieline_auth::Token;
use tieline_auth::http::innermost;

use crate::connection::Connection;
use crate::error::{ClientError, refused};
use crate::metadata::soap;
use crate::{limits, retry, session};

/// A call as data, so that it can be sent again.
#[derive(Debug, Clone)]
pub struct Request {
    /// HTTP method.
    pub method: Method,
    /// Path from the host's root, with its query string: `/services/data/v67.0/limits`.
    pub path: String,
    /// What is sent with it.
    pub body: Option<Body>,
    /// Sending it twice has the effect of sending it once.
    pub idempotent: bool,
}

/// What a request carries. Cheap to clone.
#[derive(Debug, Clone)]
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
    /// An operation of the Metadata API as XML. The SOAP envelope round it holds the token of each attempt, for SOAP has
    /// its session in the body and not in a header.
    MetadataSoap(String),
}

impl Request {
    /// A GET.
    pub fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), body: None, idempotent: true }
    }

    /// A request with a JSON body. `PATCH` and `DELETE` of a record count as idempotent, `POST` does not.
    pub fn json(
        method: Method,
        path: impl Into<String>,
        body: &impl serde::Serialize,
    ) -> Result<Self, serde_json::Error> {
        let idempotent = method != Method::POST;
        Ok(Self { method, path: path.into(), body: Some(Body::Json(serde_json::to_vec(body)?.into())), idempotent })
    }
}

/// The org's answer to a call that it carried out.
#[derive(Debug)]
pub struct Reply {
    /// 2xx or 304.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// The org's clock when the request was on its way: its `Date` less the time the call took, so never
    /// later than the moment at which the org began to look at its data.
    pub server_time: Option<Timestamp>,
}

/// How often a call is repeated with another token, where tokens come from other processes.
const REPLAYS: u32 = 3;

enum Attempt<T> {
    Done(T),
    TokenRefused(ClientError),
    /// Failed, and might pass.
    Passing {
        error: ClientError,
        certainly_not_done: bool,
        retry_after: Option<std::time::Duration>,
    },
    Failed(ClientError),
}

impl Connection {
    /// Sends any request, with token, retry and accounting.
    ///
    /// # Errors
    /// [`ClientError`], after what could be retried was retried.
    pub async fn send(&self, request: &Request) -> Result<Reply, ClientError> {
        self.send_and(request, Ok).await
    }

    /// Sends a request and reads the answer as JSON. An answer that ends too early is asked for again.
    ///
    /// # Errors
    /// As [`Connection::send`], and [`ClientError::Unreadable`].
    pub async fn send_json<T: DeserializeOwned>(&self, request: &Request) -> Result<T, ClientError> {
        self.send_and(request, |reply| serde_json::from_slice(&reply.body)).await
    }

    pub(crate) async fn send_and<T>(
        &self,
        request: &Request,
        read: impl Fn(Reply) -> Result<T, serde_json::Error>,
    ) -> Result<T, ClientError> {
        let what = format!("{} {}", request.method, request.path.split('?').next().unwrap_or_default());
        let mut replays = 0;
        let mut attempt = 1;
        loop {
            let token = self.0.credentials.token().await?;
            match self.attempt(request, &what, &token, attempt, &read).await {
                Attempt::Done(value) => return Ok(value),
                Attempt::Failed(error) => return Err(error),
                Attempt::TokenRefused(error) => {
                    self.0.credentials.refused(&token);
                    // A token of another process's may be as old as ours was; one fresh from the org may not.
                    if replays > 0 && !(token.is_adopted() && replays < REPLAYS) {
                        return Err(error);
                    }
                    replays += 1;
                }
                Attempt::Passing { error, certainly_not_done, retry_after } => {
                    if attempt >= self.0.retry.attempts || !(request.idempotent || certainly_not_done) {
                        return Err(error);
                    }
                    let pause = self.0.retry.pause(attempt, retry_after);
                    tracing::info!(org = self.org(), attempt, ?pause, "{error}; trying again");
                    tokio::time::sleep(pause).await;
                    attempt += 1;
                }
            }
        }
    }

    async fn attempt<T>(
        &self,
        request: &Request,
        what: &str,
        token: &Token,
        attempts: u32,
        read: &impl Fn(Reply) -> Result<T, serde_json::Error>,
    ) -> Attempt<T> {
        let broken = |error: &reqwest::Error, certainly_not_done: bool| {
            let reason = if error.is_timeout() { "it did not answer in time".to_owned() } else { innermost(error) };
            let outcome_unknown = !certainly_not_done && !request.idempotent;
            let (org, what) = (self.org().to_owned(), what.to_owned());
            let error = ClientError::Unreachable { org, what, reason, attempts, outcome_unknown };
            Attempt::Passing { error, certainly_not_done, retry_after: None }
        };
        let unreadable =
            |reason: String| ClientError::Unreadable { org: self.org().to_owned(), what: what.to_owned(), reason };
        let url = match token.instance_url().join(&request.path) {
            // A path such as `//other.host/` would lead the token elsewhere.
            Ok(url) if url.origin() == token.instance_url().origin() => url,
            _ => return Attempt::Failed(unreadable(format!("`{}` is not a path on the org's host", request.path))),
        };
        let Ok(mut bearer) = HeaderValue::try_from(format!("Bearer {}", token.access_token().expose())) else {
            return Attempt::Failed(unreadable("the token cannot be sent in a header".to_owned()));
        };
        bearer.set_sensitive(true);
        let mut builder = self.0.http.request(request.method.clone(), url).header(AUTHORIZATION, bearer);
        builder = match &request.body {
            None => builder,
            Some(Body::Json(bytes)) => builder.header(CONTENT_TYPE, "application/json").body(bytes.clone()),
            Some(Body::Raw { content_type, bytes }) => builder.header(CONTENT_TYPE, content_type).body(bytes.clone()),
            Some(Body::MetadataSoap(operation)) => builder
                .header(CONTENT_TYPE, "text/xml; charset=UTF-8")
                // Required, and its value ignored.
                .header("SOAPAction", "\"\"")
                .body(soap::envelope(token.access_token().expose(), operation)),
        };
        self.0.calls.fetch_add(1, Ordering::Relaxed);
        let sent = Instant::now();
        let response = match builder.send().await {
            Ok(response) => response,
            Err(error) => return broken(&error, error.is_connect()),
        };
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = match response.bytes().await {
            Ok(body) => body,
            Err(error) => return broken(&error, false),
        };
        if let Some(usage) = limits::usage(&headers) {
            *self.0.usage.lock().unwrap_or_else(PoisonError::into_inner) = Some(usage);
        }
        tracing::debug!(org = self.org(), what, status, ms = sent.elapsed().as_millis(), "call");
        if (200..300).contains(&status) || status == 304 {
            self.0.credentials.accepted(token);
            let server_time = server_time(&headers, sent);
            return match read(Reply { status, headers, body, server_time }) {
                Ok(value) => Attempt::Done(value),
                Err(error) if error.is_eof() => Attempt::Passing {
                    error: unreadable(format!("it ends too early ({error})")),
                    certainly_not_done: false,
                    retry_after: None,
                },
                Err(error) => Attempt::Failed(unreadable(error.to_string())),
            };
        }
        let error = refused(self.org(), what, status, &body);
        if session::is_expired(status, &body) {
            return Attempt::TokenRefused(error);
        }
        if retry::is_transient_status(status) {
            return Attempt::Passing {
                error,
                certainly_not_done: status == 429,
                retry_after: retry::retry_after(&headers),
            };
        }
        Attempt::Failed(error)
    }
}

fn server_time(headers: &HeaderMap, sent: Instant) -> Option<Timestamp> {
    let date = headers.get(DATE)?.to_str().ok()?;
    let date = jiff::fmt::rfc2822::parse(date).ok()?.timestamp();
    Some(date - SignedDuration::try_from(sent.elapsed()).ok()?)
}
