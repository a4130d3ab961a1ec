//! The door for calls to the tenant's REST APIs: token, connection, what is tried again.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tieline_auth::Token;
use tieline_auth::http::innermost;

use crate::cloud::DataCloud;
use crate::error::{DataCloudError, Refusal};

/// How often a call is repeated with another token, where tokens come from other processes.
const REPLAYS: u32 = 3;

/// A call as data, so that it can be sent again.
pub(crate) struct Call<'a> {
    /// What is attempted, for messages.
    pub(crate) what: String,
    pub(crate) method: Method,
    /// Path from the host's root, with its query string.
    pub(crate) path: String,
    pub(crate) body: Content<'a>,
    /// Sending it twice has the effect of sending it once.
    pub(crate) idempotent: bool,
}

pub(crate) enum Content<'a> {
    Nothing,
    Json(Bytes),
    /// A file of so many bytes.
    Csv(&'a tempfile::NamedTempFile, u64),
}

impl Call<'_> {
    pub(crate) fn get(what: impl Into<String>, path: impl Into<String>) -> Self {
        let (what, path) = (what.into(), path.into());
        Self { what, method: Method::GET, path, body: Content::Nothing, idempotent: true }
    }

    pub(crate) fn json(
        what: impl Into<String>,
        method: Method,
        path: impl Into<String>,
        body: &serde_json::Value,
    ) -> Self {
        let (what, path, body) = (what.into(), path.into(), Content::Json(body.to_string().into()));
        Self { what, method, path, body, idempotent: false }
    }

    pub(crate) fn idempotent(self) -> Self {
        Self { idempotent: true, ..self }
    }
}

enum Attempt {
    Done(Bytes),
    TokenRefused(DataCloudError),
    /// Failed, and might pass.
    Passing {
        error: DataCloudError,
        certainly_not_done: bool,
        asked: Option<Duration>,
    },
    Failed(DataCloudError),
}

impl DataCloud {
    pub(crate) async fn rest_json<T: DeserializeOwned>(&self, call: &Call<'_>) -> Result<T, DataCloudError> {
        let body = self.rest(call).await?;
        serde_json::from_slice(&body).map_err(|e| self.unreadable(&call.what, e.to_string()))
    }

    /// Sends a call with a token, as often as it takes.
    pub(crate) async fn rest(&self, call: &Call<'_>) -> Result<Bytes, DataCloudError> {
        let (mut attempt, mut replays) = (1, 0);
        loop {
            let token = self.0.provider.token().await?;
            match self.attempt(call, &token, attempt).await {
                Attempt::Done(body) => return Ok(body),
                Attempt::Failed(error) => return Err(error),
                Attempt::TokenRefused(error) => {
                    self.0.provider.refused_inner(&token);
                    if replays > 0 && !(token.is_adopted() && replays < REPLAYS) {
                        return Err(error);
                    }
                    replays += 1;
                }
                Attempt::Passing { error, certainly_not_done, asked } => {
                    if attempt >= self.0.options.attempts || !(call.idempotent || certainly_not_done) {
                        return Err(error);
                    }
                    let pause = self.pause(attempt, asked);
                    tracing::info!(org = self.org(), attempt, ?pause, "{error}; trying again");
                    tokio::time::sleep(pause).await;
                    attempt += 1;
                }
            }
        }
    }

    async fn attempt(&self, call: &Call<'_>, token: &Token, attempts: u32) -> Attempt {
        let broken = |error: reqwest::Error, certainly_not_done: bool| {
            let error = error.without_url();
            let reason = if error.is_timeout() { "it did not answer in time".to_owned() } else { innermost(&error) };
            let (org, what) = (self.org().to_owned(), call.what.clone());
            let error = DataCloudError::Unreachable { org, what, reason, attempts };
            Attempt::Passing { error, certainly_not_done, asked: None }
        };
        let url = match token.instance_url().join(&call.path) {
            Ok(url) if url.origin() == token.instance_url().origin() => url,
            _ => return Attempt::Failed(self.unreadable(&call.what, format!("`{}` is no path", call.path))),
        };
        let Ok(mut bearer) = HeaderValue::try_from(format!("Bearer {}", token.access_token().expose())) else {
            let reason = "the token cannot be sent in a header".to_owned();
            return Attempt::Failed(self.unreadable(&call.what, reason));
        };
        bearer.set_sensitive(true);
        let client = if let Content::Csv(..) = call.body { &self.0.uploads } else { &self.0.http };
        let mut request = client.request(call.method.clone(), url).header(AUTHORIZATION, bearer);
        request = match &call.body {
            Content::Nothing => request,
            Content::Json(bytes) => request.header(CONTENT_TYPE, "application/json").body(bytes.clone()),
            // Opened anew for each attempt: what is left of the one before may still be reading.
            Content::Csv(file, length) => match file.reopen().map(tokio::fs::File::from_std) {
                Ok(file) => request
                    .header(CONTENT_TYPE, "text/csv")
                    .header(reqwest::header::CONTENT_LENGTH, *length)
                    .body(reqwest::Body::from(file)),
                Err(error) => return Attempt::Failed(local(&call.what, &error)),
            },
        };
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => {
                let not_done = error.is_connect();
                return broken(error, not_done);
            }
        };
        let status = response.status().as_u16();
        let asked = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let body = match response.bytes().await {
            Ok(body) => body,
            Err(error) => return broken(error, false),
        };
        tracing::debug!(org = self.org(), what = call.what, status, "call");
        if (200..300).contains(&status) {
            return Attempt::Done(body);
        }
        let error = self.refused(&call.what, status, &body);
        match status {
            401 => Attempt::TokenRefused(error),
            429 | 502..=504 => {
                Attempt::Passing { error, certainly_not_done: status == 429, asked: asked.map(Duration::from_secs) }
            }
            _ => Attempt::Failed(error),
        }
    }

    pub(crate) fn unreadable(&self, what: &str, reason: String) -> DataCloudError {
        DataCloudError::Unreadable { org: self.org().to_owned(), what: what.to_owned(), reason }
    }

    fn refused(&self, what: &str, status: u16, body: &[u8]) -> DataCloudError {
        /// `{"timestamp","error","message","internalErrorCode","details"}`, by the Query API's documentation.
        #[derive(Deserialize)]
        struct Body {
            #[serde(default)]
            error: String,
            #[serde(default)]
            message: String,
        }
        let message = match serde_json::from_slice::<Body>(body) {
            Ok(Body { error, message }) if !message.is_empty() => match error.is_empty() {
                true => message,
                false => format!("{error}: {message}"),
            },
            _ => String::from_utf8_lossy(&body[..body.len().min(200)]).trim().to_owned(),
        };
        let (hint, needs_person) = match status {
            401 => ("Data Cloud refuses even a fresh token: check that the user may use this data space", true),
            403 => {
                ("see that the app has the scope for it (cdp_query_api, cdp_ingest_api), and the user the right", true)
            }
            404 if what == "the query" => ("a query's pages are each given once, and for an hour: run it again", false),
            404 => ("check the names and ids", false),
            400 if message.contains("does not exist") => {
                ("names are case-sensitive and stand in double quotes; `tieline datacloud objects` lists them", false)
            }
            413 => ("send less at once", false),
            429 | 500..=599 => ("try again later; see https://status.salesforce.com", false),
            _ => ("the message says what is wrong; see docs/datacloud.md", false),
        };
        DataCloudError::Refused(Box::new(Refusal {
            org: self.org().to_owned(),
            what: what.to_owned(),
            code: status.to_string(),
            message: if message.is_empty() { "no reason".to_owned() } else { message },
            hint,
            passing: status == 429 || status >= 500,
            needs_person,
        }))
    }
}

pub(crate) fn local(what: &str, error: &std::io::Error) -> DataCloudError {
    DataCloudError::Local {
        what: what.to_owned(),
        reason: error.to_string(),
        hint: "see that there is room for temporary files, and that they can be read".to_owned(),
    }
}

/// One segment of a path.
pub(crate) fn segment(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
