//! What the caller gets: the org's answer as it is, or a problem of ours.

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, LOCATION};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, stream};
use tieline_client::{ClientError, Connection, Download};
use url::Url;

use super::headers;
use crate::problem::Problem;

/// When a caller who met the reserve may ask again: the window of 24 hours slides.
const RESERVE_AGAIN: u32 = 60;

/// What is known of a call while its answer is made.
pub(super) struct Answering<'a> {
    pub(super) connection: &'a Connection,
    /// The path before the org's own: `/api/connections/…/proxy`.
    pub(super) proxy: String,
    pub(super) method: &'a Method,
    /// The call changes something.
    pub(super) changes: bool,
}

impl Answering<'_> {
    /// The org carried it out: its body is passed on as it comes.
    pub(super) async fn passed(&self, download: Download) -> Response {
        let (status, headers) = (download.status, download.headers.clone());
        self.of_org(status, &headers, Body::from_stream(pieces(download))).await
    }

    /// The org has given no answer that says that it carried it out.
    ///
    /// # Errors
    /// What is not the org's answer.
    pub(super) async fn failed(&self, error: ClientError) -> Result<Response, Problem> {
        match error {
            ClientError::Refused(refusal) if refusal.status >= 200 => {
                let mut headers = refusal.headers().clone();
                if self.method != Method::HEAD {
                    // It may have come compressed, and is not so any more.
                    headers.remove(CONTENT_LENGTH);
                }
                let body = Body::from(Bytes::copy_from_slice(refusal.body()));
                Ok(self.of_org(refusal.status, &headers, body).await)
            }
            ClientError::Reserve { used, allowed, reserve, .. } => Err(Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "api_reserve_reached",
                format!("the org has used {used} of {allowed} API calls, and {reserve} are kept in reserve"),
                "wait until older calls are a day old, or set a smaller `api_reserve` for the integration",
            )
            .after(RESERVE_AGAIN)),
            ClientError::Auth(error) => Err(unreachable(StatusCode::BAD_GATEWAY, error.to_string(), error.hint())),
            ClientError::Config(error) => Err(Problem::conflict("not_connected", error.to_string(), error.hint())),
            ClientError::Unsendable { reason, .. } => {
                Err(Problem::invalid(reason, "correct the request; the org knows nothing of it"))
            }
            other => {
                let hint = if self.changes && other.outcome_unknown() { MAYBE_DONE.to_owned() } else { other.hint() };
                Err(unreachable(StatusCode::BAD_GATEWAY, other.to_string(), hint))
            }
        }
    }

    async fn of_org(&self, status: u16, from: &HeaderMap, body: Body) -> Response {
        let instance = match from.contains_key(LOCATION) {
            true => self.instance().await,
            false => None,
        };
        let mut answer = Response::new(body);
        *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
        *answer.headers_mut() = headers::to_caller(from, instance.as_ref(), &self.proxy);
        let usage = self.connection.api_usage().map(|usage| format!("{}/{}", usage.used, usage.allowed));
        if let Some(usage) = usage.and_then(|usage| HeaderValue::try_from(usage).ok()) {
            answer.headers_mut().insert(headers::USAGE, usage);
        }
        answer
    }

    /// The org's host; the token is at hand, for it was just used.
    async fn instance(&self) -> Option<Url> {
        Some(self.connection.credentials().token().await.ok()?.instance_url().clone())
    }
}

const MAYBE_DONE: &str = "it may have been carried out: look before repeating it";

/// The org does not begin to answer.
pub(super) fn overdue(changes: bool, patience: std::time::Duration) -> Problem {
    let hint = if changes { MAYBE_DONE } else { "ask for less at once, or try again later" };
    unreachable(StatusCode::GATEWAY_TIMEOUT, format!("the org did not answer within {patience:?}"), hint)
}

/// The org refused the token when part of the body was gone.
pub(super) fn not_repeatable() -> Problem {
    Problem::unavailable(
        "send_again",
        "the org asked for another token in the middle of the body, which cannot be sent twice from here",
        "send it again: the next call has another token; nothing was carried out",
    )
    .after(1)
}

fn unreachable(status: StatusCode, detail: impl Into<String>, hint: impl Into<String>) -> Problem {
    Problem::new(status, "upstream_unreachable", detail, hint)
}

/// The body, as fast as it is taken. Where it breaks off, so does ours: a caller must not take a part for the whole.
fn pieces(download: Download) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send {
    stream::try_unfold(download, async |mut download| match download.chunk().await {
        Ok(None) => Ok(None),
        Ok(Some(piece)) => {
            metrics::counter!("tieline_proxy_received_bytes_total").increment(piece.len() as u64);
            Ok(Some((piece, download)))
        }
        Err(error) => {
            tracing::info!(%error, "an answer of an org broke off");
            Err(std::io::Error::other("the org's answer broke off"))
        }
    })
}
