//! One org.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tieline_auth::Credentials;
use tieline_auth::http::api_client_within;

use crate::error::ClientError;
use crate::limits::{ApiUsage, Budget, Reserve};
use crate::retry::RetryPolicy;
use crate::version::{ApiVersion, Version};

/// How calls are made. The defaults suit most programs.
///
/// ```
/// use std::time::Duration;
/// use tieline_client::{Options, Reserve, Timeouts};
///
/// let options = Options {
///     api_version: "61.0".into(),
///     reserve: Reserve::Percent(20.0),
///     timeouts: Timeouts { total: Some(Duration::from_secs(60)), ..Timeouts::default() },
///     ..Options::default()
/// };
/// # assert_ne!(options, Options::default());
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Version of the API.
    pub api_version: ApiVersion,
    /// What is repeated, how often, and how long in between.
    pub retry: RetryPolicy,
    /// How long calls may take.
    pub timeouts: Timeouts,
    /// API calls that are left to others.
    pub reserve: Reserve,
    /// For how long describes are taken from memory, without asking the org whether they have changed. Zero: never.
    pub describes: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            api_version: ApiVersion::default(),
            retry: RetryPolicy::default(),
            timeouts: Timeouts::default(),
            reserve: Reserve::default(),
            describes: Duration::from_secs(60 * 60),
        }
    }
}

/// How long calls may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Until a connection has come about.
    pub connect: Duration,
    /// For how long the org may stay silent. A slow query is answered after up to two minutes, so less than that gives
    /// up on queries that would succeed.
    pub idle: Duration,
    /// For a whole call, its repetitions included. Without one a call ends when all its attempts have.
    pub total: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: tieline_auth::http::CONNECT_TIMEOUT, idle: tieline_auth::http::READ_TIMEOUT, total: None }
    }
}

/// An org to call. Cheap to clone; clones share credentials, connection pool and counters.
#[derive(Clone)]
pub struct Connection(pub(crate) Arc<Handle>);

/// Where clones are counted. A connection has one, and more for threads that clone it all the time (see
/// [`Connection::apart`]); 128 bytes, so that no two share a cache line.
#[repr(align(128))]
pub(crate) struct Handle(Arc<Inner>);

impl std::ops::Deref for Handle {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

pub(crate) struct Inner {
    pub(crate) credentials: Credentials,
    pub(crate) http: reqwest::Client,
    /// For what takes longer to send than an org may stay silent.
    pub(crate) uploads: OnceLock<reqwest::Client>,
    pub(crate) version: Version,
    pub(crate) options: Options,
    pub(crate) calls: AtomicU64,
    /// Bytes of bodies that were read.
    pub(crate) read: AtomicU64,
    /// The org's clock as it told it last, and when.
    pub(crate) told: Mutex<Option<(Timestamp, Instant)>>,
    pub(crate) budget: Budget,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("org", &self.org())
            .field("version", &self.api_version())
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// A connection with the usual settings. Nothing is sent yet.
    ///
    /// # Errors
    /// When HTTPS cannot be prepared on this machine.
    pub fn new(credentials: Credentials) -> Result<Self, ClientError> {
        Self::with(credentials, Options::default())
    }

    /// A connection with settings of the caller's.
    ///
    /// # Errors
    /// As [`Connection::new`].
    pub fn with(credentials: Credentials, options: Options) -> Result<Self, ClientError> {
        let Timeouts { connect, idle, .. } = options.timeouts;
        let http =
            api_client_within(connect, idle).map_err(|e| ClientError::no_https(&credentials.config().alias, &e))?;
        Ok(Self::sending_by(http, credentials, options))
    }

    /// The same over an HTTP client of the caller's: one that follows no redirects and has timeouts, such as
    /// [`tieline_auth::http::thawing_client`]. Its own times to connect and for silence hold, not those of the options.
    pub fn sending_by(http: reqwest::Client, credentials: Credentials, options: Options) -> Self {
        let (version, budget) = (Version::new(&options.api_version), Budget::new(options.reserve));
        let uploads = OnceLock::new();
        let (calls, read, told) = (AtomicU64::new(0), AtomicU64::new(0), Mutex::default());
        let inner = Inner { credentials, http, uploads, version, options, calls, read, told, budget };
        Self(Arc::new(Handle(Arc::new(inner))))
    }

    /// The same connection whose clones are counted apart: two cores that count in one place wait for each other
    /// for longer than a lookup takes.
    pub(crate) fn apart(&self) -> Self {
        Self(Arc::new(Handle(self.0.0.clone())))
    }

    /// What people call the org.
    pub fn org(&self) -> &str {
        &self.0.credentials.config().alias
    }

    /// Its credentials.
    pub fn credentials(&self) -> &Credentials {
        &self.0.credentials
    }

    /// How calls are made.
    pub fn options(&self) -> &Options {
        &self.0.options
    }

    /// Requests to the org's API so far, repeated ones included.
    pub fn api_calls(&self) -> u64 {
        self.0.calls.load(Ordering::Relaxed)
    }

    /// Bytes of the org's answers so far, as they came over the line.
    pub fn bytes_read(&self) -> u64 {
        self.0.read.load(Ordering::Relaxed)
    }

    /// What the org's clock shows now, by its last answer: none before the first. It is exact to a second and to the time
    /// that the answer was on its way.
    pub fn org_time(&self) -> Option<Timestamp> {
        let (told, at) = (*self.0.told.lock().unwrap_or_else(PoisonError::into_inner))?;
        told.checked_add(jiff::SignedDuration::try_from(at.elapsed()).ok()?).ok()
    }

    /// The org's API budget as the last answer told it.
    pub fn api_usage(&self) -> Option<ApiUsage> {
        self.0.budget.usage()
    }

    /// How long ago the org told its API budget last.
    pub fn api_usage_age(&self) -> Option<Duration> {
        self.0.budget.age()
    }

    /// Asks the org how much of its API budget is used, by the one call that a [`Reserve`] does not stop: after a pause
    /// this tells whether work can go on.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub async fn refresh_api_usage(&self) -> Result<Option<ApiUsage>, ClientError> {
        self.0.budget.forget();
        self.limits().await?;
        Ok(self.api_usage())
    }
}
