//! One org.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tieline_auth::Credentials;
use tieline_auth::http::api_client;

use crate::error::ClientError;
use crate::limits::ApiUsage;
use crate::retry::RetryPolicy;

/// Version of the API that calls use unless told otherwise: Summer '26, in every org by the time of writing.
pub const DEFAULT_API_VERSION: &str = "67.0";

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
    pub(crate) version: String,
    pub(crate) retry: RetryPolicy,
    pub(crate) calls: AtomicU64,
    pub(crate) usage: Mutex<Option<ApiUsage>>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("org", &self.org()).field("version", &self.0.version).finish_non_exhaustive()
    }
}

impl Connection {
    /// A connection with the usual settings. Nothing is sent yet.
    ///
    /// # Errors
    /// When HTTPS cannot be prepared on this machine.
    pub fn new(credentials: Credentials) -> Result<Self, ClientError> {
        Self::with(credentials, DEFAULT_API_VERSION, RetryPolicy::default())
    }

    /// A connection with another API version (such as `61.0`) or retry policy.
    ///
    /// # Errors
    /// As [`Connection::new`].
    pub fn with(credentials: Credentials, version: &str, retry: RetryPolicy) -> Result<Self, ClientError> {
        let http = api_client().map_err(|e| ClientError::no_https(&credentials.config().alias, &e))?;
        Ok(Self::sending_by(http, credentials, version, retry))
    }

    /// The same over an HTTP client of the caller's: one that follows no redirects and has timeouts, such as
    /// [`tieline_auth::http::thawing_client`].
    pub fn sending_by(http: reqwest::Client, credentials: Credentials, version: &str, retry: RetryPolicy) -> Self {
        let (calls, usage) = (AtomicU64::new(0), Mutex::new(None));
        let inner = Inner { credentials, http, version: version.to_owned(), retry, calls, usage };
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

    /// Version of the API that calls use, such as `67.0`.
    pub fn api_version(&self) -> &str {
        &self.0.version
    }

    /// Path of a resource under this connection's version: `/services/data/v67.0/…`.
    pub fn data_path(&self, rest: &str) -> String {
        format!("/services/data/v{}/{rest}", self.0.version)
    }

    /// Requests to the org's API so far, repeated ones included.
    pub fn api_calls(&self) -> u64 {
        self.0.calls.load(Ordering::Relaxed)
    }

    /// The org's API budget as the last answer told it.
    pub fn api_usage(&self) -> Option<ApiUsage> {
        *self.0.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
