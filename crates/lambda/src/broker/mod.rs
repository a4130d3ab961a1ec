//! The broker: `GET http://localhost:PORT/v1/token` answers with a valid token of an org.
//!
//! ```text
//! GET /v1/token?connection=NAME[&min_ttl=SECONDS][&seen=SHA-256 of the refused token]
//! X-Tieline-Token: the broker's secret
//!
//! {"access_token": …, "instance_url": …, "api_version": …, "issued_at": …, "expires_at": … or null, "from_cache": …}
//! ```
//!
//! The path of a request: [`listen`] (loopback only, so many connections) → `guard` (who may ask) → `request` (what is
//! asked) → [`crate::orgs`] (whose token) → `token` (one that lasts), or `refusal`.

mod guard;
pub mod listen;
pub(crate) mod refusal;
pub(crate) mod request;
pub(crate) mod token;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use hyper::{Request, Response, StatusCode};
use jiff::Timestamp;
use tieline_auth::Clock;
use tokio::sync::watch;

use self::guard::{Guard, Passed};
use self::refusal::Refusal;
use self::request::TokenRequest;
use self::token::Handed;
use crate::counters::Counters;
use crate::orgs::{NoToken, Orgs};

pub use self::listen::{BindError, Listeners, serve};
pub use self::request::DEFAULT_CONNECTION;

/// The port unless told otherwise: the one after AWS's agent for secrets (2773).
pub const PORT: u16 = 2774;
/// Connections that may be open at a time. AWS's agent for secrets allows as many.
pub const CONNECTION_LIMIT: usize = 800;
/// A secret that is shorter can be guessed.
pub const SHORTEST_SECRET: usize = 16;
/// Lambda tells function and extensions of an invocation at the same time, in any order.
const NEWS: Duration = Duration::from_millis(1_500);
/// The longest that a caller waits. AWS's agent gives up after 61 seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Hands out tokens to programs on this machine that know its secret. Cheap to clone; clones are one broker.
///
/// ```
/// # async fn example(credentials: tieline_auth::Credentials) -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
/// use tieline_auth::SystemClock;
/// use tieline_lambda::broker::{Broker, Listeners, serve};
/// use tieline_lambda::orgs::{Org, Orgs};
///
/// let clock = Arc::new(SystemClock::default());
/// let orgs = Orgs::new(clock.clone()).with("default", Org { credentials, api_version: "67.0".to_owned(), certificate_ends: None });
/// let broker = Broker::new("a secret of sixteen bytes or more", orgs, clock);
/// let listeners = Listeners::bind("127.0.0.1:0".parse()?).await?;
/// serve(listeners, broker, async { tokio::signal::ctrl_c().await.unwrap_or(()) }).await;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Broker(Arc<Inner>);

struct Inner {
    guard: Guard,
    orgs: Orgs,
    clock: Arc<dyn Clock>,
    limit: usize,
    keep_alive: bool,
    counters: Counters,
    /// The invocation that is running must be over by then.
    deadline: Mutex<Option<Timestamp>>,
    /// A snapshot of this process may be taken, and must hold no token.
    withheld: watch::Sender<bool>,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").field("orgs", &self.0.orgs).field("limit", &self.0.limit).finish_non_exhaustive()
    }
}

impl Broker {
    /// A broker for these orgs. `secret` is what callers must send; give one of [`SHORTEST_SECRET`] bytes or more.
    pub fn new(secret: &str, orgs: Orgs, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner {
            guard: Guard::new(secret),
            orgs,
            clock,
            limit: CONNECTION_LIMIT,
            keep_alive: true,
            counters: Counters::default(),
            deadline: Mutex::default(),
            withheld: watch::Sender::new(false),
        }))
    }

    /// Another bound on open connections than [`CONNECTION_LIMIT`]. Before the first clone is made.
    #[must_use]
    pub fn with_limit(self, limit: usize) -> Self {
        self.changed(|inner| inner.limit = limit)
    }

    /// Closes each connection after its answer. For a process that is frozen at times: a client that keeps a connection
    /// over such a pause may find it closed, and fail. Before the first clone is made.
    #[must_use]
    pub fn without_keep_alive(self) -> Self {
        self.changed(|inner| inner.keep_alive = false)
    }

    fn changed(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            change(inner);
        }
        self
    }

    /// The orgs.
    pub fn orgs(&self) -> &Orgs {
        &self.0.orgs
    }

    /// What was asked and answered so far.
    pub fn counters(&self) -> &Counters {
        &self.0.counters
    }

    /// Tokens handed out from now on should last until then.
    pub fn set_deadline(&self, deadline: Option<Timestamp>) {
        *self.0.deadline.lock().unwrap_or_else(PoisonError::into_inner) = deadline;
    }

    /// While true, no token is handed out and none is fetched. Answers what was the case before.
    pub fn withhold(&self, withhold: bool) -> bool {
        self.0.withheld.send_replace(withhold)
    }

    /// Fetches a token that is going to be asked for. What goes wrong is told when it is.
    pub async fn prefetch(&self, connection: &str) {
        let asked = TokenRequest::plain(connection);
        let _ = tokio::time::timeout(PATIENCE, self.token(&asked)).await;
    }

    pub(crate) fn limit(&self) -> usize {
        self.0.limit
    }

    pub(crate) fn keeps_alive(&self) -> bool {
        self.0.keep_alive
    }

    pub(crate) async fn respond(&self, request: &Request<Incoming>, seated: bool) -> Response<Full<Bytes>> {
        let started = self.0.clock.monotonic();
        match self.answer(request, seated).await {
            Ok(None) => response(StatusCode::OK, "text/plain", "healthy".to_owned()),
            Ok(Some(handed)) => {
                let took = self.0.clock.monotonic().saturating_sub(started);
                self.0.counters.served(handed.from_cache, took);
                response(StatusCode::OK, "application/json", handed.body().to_string())
            }
            Err(refusal) => {
                self.0.counters.refused(refusal.code);
                let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let mut response = response(status, "application/json", refusal.body());
                let headers = response.headers_mut();
                if let Some(seconds) = refusal.retry_after() {
                    headers.insert(RETRY_AFTER, seconds.into());
                }
                if status == StatusCode::METHOD_NOT_ALLOWED {
                    headers.insert(ALLOW, HeaderValue::from_static("GET"));
                }
                if !seated {
                    headers.insert(CONNECTION, HeaderValue::from_static("close"));
                }
                response
            }
        }
    }

    async fn answer(&self, request: &Request<Incoming>, seated: bool) -> Result<Option<Handed>, Refusal> {
        let passed = self.0.guard.check(request.method(), request.uri(), request.headers())?;
        if !seated {
            return Err(Refusal::too_many(self.0.limit));
        }
        match (passed, request.uri().path()) {
            (Passed::Ping, _) => Ok(None),
            (Passed::Trusted, "/v1/token") => {
                let asked = TokenRequest::read(request.uri().query().unwrap_or_default())?;
                // A handler may ask before the extension has heard of its invocation.
                let mut withheld = self.0.withheld.subscribe();
                let ready = tokio::time::timeout(NEWS, withheld.wait_for(|withheld| !withheld));
                if !matches!(ready.await, Ok(Ok(_))) {
                    return Err(Refusal::not_ready());
                }
                let handed = tokio::time::timeout(PATIENCE, self.token(&asked)).await;
                handed.unwrap_or_else(|_| Err(Refusal::too_slow(PATIENCE.as_secs()))).map(Some)
            }
            (Passed::Trusted, _) => Err(Refusal::path()),
        }
    }

    async fn token(&self, asked: &TokenRequest) -> Result<Handed, Refusal> {
        let Inner { orgs, clock, .. } = &*self.0;
        let deadline = *self.0.deadline.lock().unwrap_or_else(PoisonError::into_inner);
        let fetch = |org| async move { token::fetch(&org, asked, deadline, &**clock).await };
        let (_, handed) = orgs.ask(&asked.connection, fetch).await.map_err(|error| {
            let (refusal, hint) = match &error {
                NoToken::Org(error) => (Refusal::org(error), error.hint().to_owned()),
                NoToken::Login(error) => (Refusal::login(error, clock.now()), error.hint()),
            };
            tracing::warn!(connection = asked.connection, %error, hint, "no token");
            refusal
        })?;
        Ok(handed)
    }
}

fn response(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
