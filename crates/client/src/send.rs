//! The loop that every call goes through: authorise, send, classify; then again, or answer.
//!
//! 1. Ask the credentials for a token (from memory, as a rule).
//! 2. Send to the instance URL that came with *this* token, if the org's API budget allows it.
//! 3. A refused token is dropped by comparison, and the call is repeated once with the next one.
//! 4. What passes by itself (429, 502–504, a locked row, a broken connection) is repeated after a pause, if repeating
//!    can do no harm: a request that may have been carried out already is repeated only when it is idempotent.
//! 5. A path of an API version that the org does not have is sent again under the one that it has, unless the version is
//!    pinned.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde::de::DeserializeOwned;
use tieline_auth::Token;
use tieline_auth::http::upload_client;
use tracing::Instrument;

use crate::connection::Connection;
use crate::error::{ClientError, broken, spoiled};
use crate::gzip::{self, Inflater};
use crate::metadata::soap;
use crate::refusal::refused;
use crate::reply::{Download, Raw, Reply, Unread};
use crate::request::{Body, Request};
use crate::{limits, retry, session};

/// How often a call is repeated with another token, where tokens come from other processes.
const REPLAYS: u32 = 3;

/// Where the older Bulk API looks for the session. Source: the Bulk API Developer Guide, "Set a Session Header".
const BULK_SESSION: HeaderName = HeaderName::from_static("x-sfdc-session");

/// Why an attempt did not end the call.
enum Setback {
    TokenRefused(ClientError),
    /// Failed, and might pass.
    Passing {
        error: ClientError,
        certainly_not_done: bool,
        retry_after: Option<Duration>,
    },
    Failed(ClientError),
}

/// What was tried so far.
struct Tries {
    attempt: u32,
    replays: u32,
    /// The version of the API was agreed upon when it was sent last.
    agreed: bool,
}

impl Connection {
    /// Sends any request, with token, retry, API budget and accounting.
    ///
    /// ```no_run
    /// # async fn example(org: tieline_client::Connection) -> Result<(), tieline_client::ClientError> {
    /// use tieline_client::Request;
    ///
    /// let reply = org.send(&Request::get(org.data_path("chatter/users/me"))).await?;
    /// println!("{}", String::from_utf8_lossy(&reply.body));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`ClientError`], after what could be retried was retried.
    pub async fn send(&self, request: &Request) -> Result<Reply, ClientError> {
        self.send_raw(request, Raw::opened).await
    }

    /// Sends a request and reads the answer as JSON. An answer that ends too early is asked for again.
    ///
    /// # Errors
    /// As [`Connection::send`], and [`ClientError::Unreadable`].
    pub async fn send_json<T: DeserializeOwned>(&self, request: &Request) -> Result<T, ClientError> {
        self.send_and(request, |reply| serde_json::from_slice(&reply.body)).await
    }

    /// Sends a request and hands out the body piece by piece. Repeated only until the body begins.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub async fn download(&self, request: &Request) -> Result<Download, ClientError> {
        let what = request.what();
        let mut tries = Tries { attempt: 1, replays: 0, agreed: false };
        self.within(request, async {
            loop {
                let token = self.0.credentials.token().await?;
                tries.agreed = self.0.version.is_agreed();
                match self.open(request, &what, &token, tries.attempt).await {
                    Ok((response, _)) => {
                        let (status, mut headers) = (response.status().as_u16(), response.headers().clone());
                        let inflater = gzip::take(&mut headers).then(Inflater::new);
                        return Ok(Download { status, headers, response, inflater, org: self.org().to_owned(), what });
                    }
                    Err(setback) => self.after(request, &token, setback, &mut tries).await?,
                }
            }
        })
        .await
    }

    pub(crate) async fn send_and<T>(
        &self,
        request: &Request,
        read: impl Fn(Reply) -> Result<T, serde_json::Error>,
    ) -> Result<T, ClientError> {
        self.send_raw(request, |raw| Ok(read(raw.opened()?)?)).await
    }

    /// The same for who inflates the answer himself.
    pub(crate) async fn send_raw<T>(
        &self,
        request: &Request,
        read: impl Fn(Raw) -> Result<T, Unread>,
    ) -> Result<T, ClientError> {
        let what = request.what();
        let mut tries = Tries { attempt: 1, replays: 0, agreed: false };
        self.within(request, async {
            loop {
                let token = self.0.credentials.token().await?;
                tries.agreed = self.0.version.is_agreed();
                let setback = match self.whole(request, &what, &token, tries.attempt).await {
                    Err(setback) => setback,
                    Ok(raw) => match read(raw) {
                        Ok(value) => return Ok(value),
                        Err(Unread::Json(error)) => self.unreadable(request, &what, &error),
                        Err(Unread::Gzip(error)) => {
                            let error = spoiled(self.org(), &what, &error, tries.attempt, !request.reads);
                            Setback::Passing { error, certainly_not_done: false, retry_after: None }
                        }
                    },
                };
                self.after(request, &token, setback, &mut tries).await?;
            }
        })
        .await
    }

    /// Ends a call that takes too long.
    async fn within<T>(
        &self,
        request: &Request,
        call: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        let span = tracing::debug_span!(
            "salesforce",
            org = self.org(),
            method = request.method.as_str(),
            resource = request.resource()
        );
        let call = call.instrument(span);
        let Some(limit) = request.timeout.or(self.0.options.timeouts.total) else { return call.await };
        tokio::time::timeout(limit, call).await.unwrap_or_else(|_| {
            Err(ClientError::Unreachable {
                org: self.org().to_owned(),
                what: request.what(),
                reason: format!("it took longer than {limit:?}"),
                attempts: 1,
                outcome_unknown: !request.reads,
            })
        })
    }

    fn unreadable(&self, request: &Request, what: &str, error: &serde_json::Error) -> Setback {
        let early = error.is_eof();
        let reason = if early { format!("it ends too early ({error})") } else { error.to_string() };
        let (org, what, outcome_unknown) = (self.org().to_owned(), what.to_owned(), !request.reads);
        let error = ClientError::Unreadable { org, what, reason, outcome_unknown };
        if early {
            Setback::Passing { error, certainly_not_done: false, retry_after: None }
        } else {
            Setback::Failed(error)
        }
    }

    /// Decides whether the call is sent again, and waits until then.
    async fn after(
        &self,
        request: &Request,
        token: &Token,
        setback: Setback,
        tries: &mut Tries,
    ) -> Result<(), ClientError> {
        let spent = request.body.as_ref().is_some_and(Body::is_spent);
        match setback {
            Setback::Failed(error) => match self.another_version(request, tries.agreed, &error).await {
                true if !request.names_paths && !spent => Ok(()),
                _ => Err(error),
            },
            Setback::TokenRefused(error) => {
                self.0.credentials.refused(token);
                // A token of another process's may be as old as ours was; one fresh from the org may not.
                if spent || tries.replays > 0 && !(token.is_adopted() && tries.replays < REPLAYS) {
                    return Err(error);
                }
                tries.replays += 1;
                Ok(())
            }
            Setback::Passing { error, certainly_not_done, retry_after } => {
                let may = (certainly_not_done || request.idempotent) && !spent;
                if !may || tries.attempt >= self.0.options.retry.attempts {
                    return Err(if certainly_not_done { error } else { error.with_outcome_unknown(!request.reads) });
                }
                let pause = self.0.options.retry.pause(tries.attempt, retry_after);
                let resource = request.resource();
                tracing::info!(attempt = tries.attempt, ?pause, resource, "{}; trying again", error.without_data());
                tokio::time::sleep(pause).await;
                tries.attempt += 1;
                Ok(())
            }
        }
    }

    /// One attempt, to the end of its answer.
    async fn whole(&self, request: &Request, what: &str, token: &Token, attempts: u32) -> Result<Raw, Setback> {
        let (response, sent) = self.open(request, what, token, attempts).await?;
        let (status, mut headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.map_err(|error| self.broken(request, what, &error, attempts, false))?;
        let server_time = limits::server_time(&headers, sent);
        self.count_bytes(body.len());
        let compressed = gzip::take(&mut headers);
        Ok(Raw { reply: Reply { status, headers, body, server_time }, compressed })
    }

    pub(crate) fn count_bytes(&self, bytes: usize) {
        self.0.read.fetch_add(bytes as u64, std::sync::atomic::Ordering::Relaxed);
    }

    fn broken(&self, request: &Request, what: &str, error: &reqwest::Error, attempts: u32, unsent: bool) -> Setback {
        let error = broken(self.org(), what, error, attempts, !unsent && !request.reads);
        Setback::Passing { error, certainly_not_done: unsent, retry_after: None }
    }

    /// One attempt, until the org has said that it carried the request out.
    async fn open(
        &self,
        request: &Request,
        what: &str,
        token: &Token,
        attempts: u32,
    ) -> Result<(reqwest::Response, Instant), Setback> {
        let builder = self.prepared(request, what, token).map_err(Setback::Failed)?;
        let counted = self.0.budget.take(self.org(), what).await.map_err(Setback::Failed)?;
        self.0.calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let sent = Instant::now();
        let response = match builder.send().await {
            Ok(response) => response,
            Err(error) => {
                if error.is_connect() {
                    counted.not_sent();
                }
                return Err(self.broken(request, what, &error, attempts, error.is_connect()));
            }
        };
        let status = response.status().as_u16();
        counted.answered(response.headers());
        if let Some(time) = limits::server_time(response.headers(), Instant::now()) {
            *self.0.told.lock().unwrap_or_else(PoisonError::into_inner) = Some((time, Instant::now()));
        }
        tracing::debug!(status, ms = sent.elapsed().as_millis(), "answered");
        if (200..300).contains(&status) || status == 304 {
            self.0.credentials.accepted(token);
            return Ok((response, sent));
        }
        let mut headers = response.headers().clone();
        let mut body = response.bytes().await.map_err(|error| self.broken(request, what, &error, attempts, false))?;
        // The answer to a HEAD has the headers of a body, and none.
        if gzip::take(&mut headers) && !body.is_empty() {
            body = gzip::inflate(&body).map_err(|error| {
                let error = spoiled(self.org(), what, &error, attempts, !request.reads);
                Setback::Passing { error, certainly_not_done: false, retry_after: None }
            })?;
        }
        Err(self.refused(request, what, status, &headers, &body))
    }

    /// What an answer that is none means for the call.
    fn refused(&self, request: &Request, what: &str, status: u16, headers: &HeaderMap, body: &Bytes) -> Setback {
        let error = refused(self.org(), what, status, body).with_headers(headers);
        if session::is_expired(status, body) {
            return Setback::TokenRefused(error);
        }
        if retry::is_transient_status(status) {
            let certainly_not_done = status == 429;
            let error = error.with_outcome_unknown(!certainly_not_done && !request.reads);
            return Setback::Passing { error, certainly_not_done, retry_after: retry::retry_after(headers) };
        }
        if retry::is_rolled_back(&error) {
            return Setback::Passing { error, certainly_not_done: true, retry_after: None };
        }
        // 101: nobody asked for another protocol, and who offers one may have done anything.
        let unknown = !(200..500).contains(&status) && !request.reads;
        Setback::Failed(error.with_outcome_unknown(unknown))
    }

    fn uploads(&self) -> Result<&reqwest::Client, ClientError> {
        if let Some(http) = self.0.uploads.get() {
            return Ok(http);
        }
        let made = upload_client().map_err(|error| ClientError::no_https(self.org(), &error))?;
        Ok(self.0.uploads.get_or_init(|| made))
    }

    fn prepared(&self, request: &Request, what: &str, token: &Token) -> Result<reqwest::RequestBuilder, ClientError> {
        let unsendable =
            |reason: String| ClientError::Unsendable { org: self.org().to_owned(), what: what.to_owned(), reason };
        let path = self.0.version.path(&request.path);
        let url = match token.instance_url().join(&path) {
            // A path such as `//other.host/` would lead the token elsewhere.
            // And a segment `..` would lead it to another resource.
            Ok(url) if url.origin() == token.instance_url().origin() && segments(url.path()) == segments(&path) => url,
            _ => return Err(unsendable(format!("`{path}` is not a path on the org's host"))),
        };
        let Ok(mut bearer) = HeaderValue::try_from(format!("Bearer {}", token.access_token().expose())) else {
            return Err(unsendable("the token cannot be sent in a header".to_owned()));
        };
        bearer.set_sensitive(true);
        let mut headers = request.headers.clone();
        if path.starts_with("/services/async/") {
            let mut session = HeaderValue::try_from(token.access_token().expose())
                .map_err(|_| unsendable("the token cannot be sent in a header".to_owned()))?;
            session.set_sensitive(true);
            headers.insert(BULK_SESSION, session);
        }
        headers.insert(AUTHORIZATION, bearer);
        let http = match &request.body {
            // The time for which the org may stay silent begins with the request, and an upload may take longer.
            Some(Body::Stream { .. } | Body::Once { .. }) => self.uploads()?,
            _ => &self.0.http,
        };
        let builder = http.request(request.method.clone(), url).headers(headers);
        Ok(match &request.body {
            None => builder,
            Some(Body::Json(bytes)) => builder.header(CONTENT_TYPE, "application/json").body(bytes.clone()),
            Some(Body::Raw { content_type, bytes }) => builder.header(CONTENT_TYPE, content_type).body(bytes.clone()),
            Some(Body::Stream { content_type, open }) => builder.header(CONTENT_TYPE, content_type).body(open()),
            Some(Body::Once { content_type, once }) => {
                let builder = builder.header(CONTENT_TYPE, content_type).body(once.body());
                match once.length() {
                    Some(length) => builder.header(CONTENT_LENGTH, length),
                    None => builder,
                }
            }
            Some(Body::MetadataSoap(operation)) => builder
                .header(CONTENT_TYPE, "text/xml; charset=UTF-8")
                // Required, and its value ignored.
                .header("SOAPAction", "\"\"")
                .body(soap::envelope(token.access_token().expose(), operation)),
        })
    }
}

/// How many segments a path has, without its query string.
fn segments(path: &str) -> usize {
    path.split('?').next().unwrap_or_default().matches('/').count()
}
