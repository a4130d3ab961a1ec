//! The door for all calls to Hyper: token, connection, what is tried again.
//!
//! A refused token is replaced once and the call repeated. What passes by itself (`UNAVAILABLE`, a broken connection) is
//! tried again after a pause: the service takes queries only, and reading twice does no harm.

use std::time::Duration;

use tieline_auth::Token;
use tieline_auth::http::innermost;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};
use url::Url;

use crate::cloud::DataCloud;
use crate::error::DataCloudError;
use crate::proto::hyper_service_client::HyperServiceClient;

mod refusal;

pub(crate) use refusal::refused;

/// Bytes of one stream that may be on their way: a result part, so that a stream never waits for the reader's answer.
const STREAM_WINDOW: u32 = 8 << 20;
/// No bound for the connection as a whole: results that nobody reads at the moment would use it up, and the one that
/// somebody reads would stand still.
const CONNECTION_WINDOW: u32 = i32::MAX as u32;
/// The largest that HTTP/2 knows, less one page: fewer frames, fewer turns of the reader.
const FRAME: u32 = (16 << 20) - 4_096;
/// Hyper aims at messages of 4 MB; one row may be larger.
const MESSAGE: usize = 512 << 20;
/// A connection is asked whether it lives when nothing has come for so long.
const PING_AFTER: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Times as many attempts for what only reads.
const READ_AGAIN: u32 = 4;
pub(crate) const SILENT: &str = "it did not answer in time";
/// How often a call is repeated with another token, where tokens come from other processes.
const REPLAYS: u32 = 3;

pub(crate) type Client = HyperServiceClient<Channel>;

/// What became of a call, in terms of what to do next.
pub(crate) enum Failed {
    /// Another token may be taken.
    TokenRefused,
    /// It may work the next time.
    Passing(String),
    /// It stays so.
    ForGood,
}

pub(crate) fn classify(status: &Status) -> Failed {
    match status.code() {
        Code::Unauthenticated => Failed::TokenRefused,
        // The server's own patience is over (100 s for a call); the query goes on without it.
        Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded => Failed::Passing(reason(status)),
        // A status with a cause was made here, of what happened to the connection; so were these two without details: a
        // stream that ends without a status, or in the middle of a message, as a proxy's time limit ends one.
        _ if std::error::Error::source(status).is_some() => Failed::Passing(reason(status)),
        Code::Unknown | Code::Internal if status.details().is_empty() => Failed::Passing(reason(status)),
        _ => Failed::ForGood,
    }
}

fn reason(status: &Status) -> String {
    match std::error::Error::source(status) {
        Some(cause) => innermost(cause),
        None if status.message().is_empty() => format!("{:?}", status.code()),
        None => status.message().to_owned(),
    }
}

/// A call, as messages and headers tell it.
#[derive(Clone, Copy)]
pub(crate) struct Ask<'a> {
    /// What is attempted.
    pub(crate) what: &'a str,
    /// The query that it belongs to.
    pub(crate) query: Option<&'a str>,
    pub(crate) sql: &'a str,
    /// It only reads what a query has produced: it may be asked for as often as one likes.
    pub(crate) reads: bool,
}

/// Counts what a call may still cost.
pub(crate) struct Patience {
    attempt: u32,
    replays: u32,
    at_most: u32,
}

impl Patience {
    /// Something has come of it: from here on it may fail as often again.
    pub(crate) fn restored(&mut self) {
        (self.attempt, self.replays) = (1, 0);
    }
}

impl DataCloud {
    pub(crate) fn patience(&self, ask: &Ask<'_>) -> Patience {
        // A gateway that restarts for half a minute must not end an export of an hour.
        let at_most =
            if ask.reads { self.0.options.attempts.saturating_mul(READ_AGAIN) } else { self.0.options.attempts };
        Patience { attempt: 1, replays: 0, at_most }
    }

    /// Calls Hyper with a token, as often as it takes.
    pub(crate) async fn call<T, F>(
        &self,
        ask: Ask<'_>,
        call: impl Fn(Client, Metadata) -> F,
    ) -> Result<T, DataCloudError>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let mut patience = self.patience(&ask);
        loop {
            let token = self.0.provider.token().await?;
            let (client, metadata) = (self.client(token.instance_url())?, self.metadata(&token, ask.query)?);
            let sent = std::time::Instant::now();
            let outcome = tokio::time::timeout(self.0.options.silence, call(client, metadata)).await;
            let code = outcome.as_ref().map(|outcome| outcome.as_ref().err().map(Status::code));
            tracing::debug!(
                org = self.org(),
                what = ask.what,
                query = ask.query,
                ?code,
                ms = sent.elapsed().as_millis(),
                "call"
            );
            let status = match outcome {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(status)) => status,
                Err(_) if ask.reads => Status::unavailable(SILENT),
                // It may be running there: once more would be paid for once more.
                Err(_) => return Err(self.unreachable(&ask, SILENT.to_owned(), patience.attempt)),
            };
            self.bear(&mut patience, &ask, &token, status).await?;
        }
    }

    /// Waits, or replaces the token, if trying once more makes sense.
    pub(crate) async fn bear(
        &self,
        patience: &mut Patience,
        ask: &Ask<'_>,
        token: &Token,
        status: Status,
    ) -> Result<(), DataCloudError> {
        let what = ask.what;
        match classify(&status) {
            Failed::ForGood => Err(refused(self.org(), ask, &status)),
            Failed::TokenRefused => {
                self.0.provider.refused_inner(token);
                // A token of another process's may be as old as ours was; one fresh from the org may not.
                if patience.replays > 0 && !(token.is_adopted() && patience.replays < REPLAYS) {
                    return Err(refused(self.org(), ask, &status));
                }
                tracing::info!(org = self.org(), what, "the token was refused; trying again with another one");
                patience.replays += 1;
                Ok(())
            }
            Failed::Passing(reason) => {
                if patience.attempt >= patience.at_most {
                    // It may belong to a runtime that has ended; the next call makes its own.
                    *self.held_channel() = None;
                    return Err(self.unreachable(ask, reason, patience.attempt));
                }
                let pause = self.pause(patience.attempt, None);
                tracing::info!(org = self.org(), what, attempt = patience.attempt, ?pause, "{reason}; trying again");
                tokio::time::sleep(pause).await;
                patience.attempt += 1;
                Ok(())
            }
        }
    }

    fn unreachable(&self, ask: &Ask<'_>, reason: String, attempts: u32) -> DataCloudError {
        let (org, what) = (self.org().to_owned(), ask.what.to_owned());
        DataCloudError::Unreachable { org, what, reason, attempts }
    }

    fn metadata(&self, token: &Token, query: Option<&str>) -> Result<Metadata, DataCloudError> {
        let unreadable = |reason: &str| DataCloudError::Unreadable {
            org: self.org().to_owned(),
            what: "the token exchange".to_owned(),
            reason: reason.to_owned(),
        };
        let text = |text: &str| MetadataValue::<Ascii>::try_from(text);
        let mut bearer = text(&format!("Bearer {}", token.access_token().expose()))
            .map_err(|_| unreadable("the token cannot be sent in a header"))?;
        bearer.set_sensitive(true);
        let audience = token.instance_url().as_str().trim_end_matches('/');
        let audience = text(audience).map_err(|_| unreadable("the tenant's URL cannot be sent in a header"))?;
        let workload = text(&self.0.options.workload).map_err(|_| DataCloudError::Local {
            what: "the query".to_owned(),
            reason: format!("the workload `{}` cannot be sent in a header", self.0.options.workload),
            hint: "use printable ASCII".to_owned(),
        })?;
        let query = query.map(text).transpose().map_err(|_| DataCloudError::Local {
            what: "the query".to_owned(),
            reason: "that is no query id".to_owned(),
            hint: "use the id that the query was given".to_owned(),
        })?;
        Ok(Metadata { bearer, audience, workload, query })
    }

    fn client(&self, tenant: &Url) -> Result<Client, DataCloudError> {
        let mut held = self.held_channel();
        let channel = match &*held {
            Some((url, channel)) if url == tenant => channel.clone(),
            _ => {
                let channel = self.connect(tenant).map_err(|e| DataCloudError::no_https(self.org(), &e))?;
                *held = Some((tenant.clone(), channel.clone()));
                channel
            }
        };
        Ok(Client::new(channel).max_decoding_message_size(MESSAGE).max_encoding_message_size(MESSAGE))
    }

    fn connect(&self, tenant: &Url) -> Result<Channel, tonic::transport::Error> {
        let mut endpoint = Endpoint::from_shared(tenant.as_str().to_owned())?
            .user_agent(concat!("tieline/", env!("CARGO_PKG_VERSION")))?
            .connect_timeout(self.0.options.connect_timeout)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME)
            .http2_keep_alive_interval(PING_AFTER)
            .keep_alive_timeout(PING_TIMEOUT);
        if tenant.scheme() == "https" {
            endpoint = endpoint.tls_config(ClientTlsConfig::new().with_native_roots())?;
        }
        Ok(endpoint.connect_lazy())
    }
}

/// What goes with each call. Source: the headers that Salesforce's JDBC driver sends.
pub(crate) struct Metadata {
    bearer: MetadataValue<Ascii>,
    audience: MetadataValue<Ascii>,
    workload: MetadataValue<Ascii>,
    query: Option<MetadataValue<Ascii>>,
}

impl Metadata {
    pub(crate) fn with<M>(self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert("authorization", self.bearer);
        metadata.insert("audience", self.audience);
        metadata.insert("x-hyperdb-workload", self.workload);
        if let Some(query) = self.query {
            // Required beside the field of the message: calls are routed by it.
            metadata.insert("x-hyperdb-query-id", query);
        }
        request
    }
}
