//! How spans travel: by our own HTTP client, on the program's runtime.
//!
//! The exporter runs on a thread of its own, where no runtime is. It follows no redirect, for its headers hold the
//! receiver's key; and of the answer it reads as much as an answer needs.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::{Request, Response};
use bytes::{Bytes, BytesMut};
use opentelemetry_http::{HttpClient, HttpError};
use tieline_auth::ConfigError;
use tokio::runtime::Handle;

use super::measures;

/// As much of an answer as is read: it says how many spans were refused, and why.
const LONGEST_ANSWER: usize = 64 * 1024;

/// Sends what the exporter has made.
#[derive(Debug)]
pub(super) struct Courier {
    http: reqwest::Client,
    runtime: Handle,
    /// Whether the last one failed: what goes on failing is told once.
    failing: AtomicBool,
}

impl Courier {
    /// `patience` is how long one batch may take.
    pub(super) fn new(runtime: Handle, patience: Duration) -> Result<Self, ConfigError> {
        let http = tieline_auth::http::token_client_within(patience).map_err(|e| {
            ConfigError::new(format!("HTTPS cannot be prepared: {e}"), "check this machine's certificates")
        })?;
        Ok(Self { http, runtime, failing: AtomicBool::new(false) })
    }

    async fn send(http: reqwest::Client, request: Request<Bytes>) -> Result<Response<Bytes>, reqwest::Error> {
        let request = reqwest::Request::try_from(request).map_err(reqwest::Error::without_url)?;
        let mut answer = http.execute(request).await.map_err(reqwest::Error::without_url)?;
        let mut body = BytesMut::new();
        while let Some(piece) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
            if body.len() + piece.len() > LONGEST_ANSWER {
                break;
            }
            body.extend_from_slice(&piece);
        }
        let mut response = Response::new(body.freeze());
        *response.status_mut() = answer.status();
        std::mem::swap(response.headers_mut(), answer.headers_mut());
        Ok(response)
    }

    fn note(&self, outcome: &'static str, reason: Option<String>) {
        measures::trace_export(outcome);
        let was_failing = self.failing.swap(reason.is_some(), Ordering::Relaxed);
        match reason {
            Some(reason) if !was_failing => tracing::warn!(%reason, "spans could not be sent to the OTLP receiver"),
            None if was_failing => tracing::info!("the OTLP receiver takes spans again"),
            _ => {}
        }
    }
}

impl HttpClient for Courier {
    fn send_bytes<'this, 'future>(
        &'this self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'future>>
    where
        'this: 'future,
        Self: 'future,
    {
        Box::pin(async move {
            let sent = self.runtime.spawn(Self::send(self.http.clone(), request)).await;
            match sent {
                Ok(Ok(answer)) => {
                    let status = answer.status();
                    if status.is_success() {
                        self.note("sent", None);
                    } else {
                        self.note("refused", Some(format!("it answered {status}")));
                    }
                    Ok(answer)
                }
                Ok(Err(error)) => {
                    self.note("failed", Some(tieline_auth::http::innermost(&error)));
                    Err(error.into())
                }
                // The runtime is gone: the program has ended.
                Err(error) => Err(error.into()),
            }
        })
    }
}
