//! One tenant.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tieline_auth::http::{api_client, upload_client};
use tonic::transport::Channel;
use url::Url;

use crate::error::DataCloudError;
use crate::provider::DataCloudTokenProvider;

/// A Data Cloud tenant to call. Cheap to clone; clones share tokens and connections.
#[derive(Clone)]
pub struct DataCloud(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) provider: DataCloudTokenProvider,
    pub(crate) http: reqwest::Client,
    pub(crate) uploads: reqwest::Client,
    pub(crate) options: Options,
    /// To the tenant that the newest token named.
    pub(crate) channel: Mutex<Option<(Url, Channel)>>,
}

/// Patience and appetite.
#[derive(Debug, Clone)]
pub struct Options {
    /// How often a call is tried that fails for a passing reason, the first time included. Reading what a query has
    /// produced is tried four times as often, and again from the start whenever a row has come.
    pub attempts: u32,
    /// Upper bound of the first wait in between; it doubles with each one more.
    pub pause: Duration,
    /// How long a connection may take to come about.
    pub connect_timeout: Duration,
    /// How long the other side may stay silent within a call. Long: Hyper holds some calls open for 100 s.
    pub silence: Duration,
    /// Parts of a result that are fetched ahead of the reader.
    pub read_ahead: usize,
    /// Size of a part that is aimed at, in bytes. Hyper gives no more than 20 MiB in one call.
    pub part_bytes: u64,
    /// Name under which the tenant's monitoring shows the queries (`x-hyperdb-workload`).
    pub workload: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            attempts: 4,
            pause: Duration::from_millis(500),
            connect_timeout: Duration::from_secs(10),
            silence: Duration::from_secs(150),
            read_ahead: 2,
            part_bytes: 16 << 20,
            workload: "tieline".to_owned(),
        }
    }
}

impl std::fmt::Debug for DataCloud {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataCloud").field("org", &self.org()).field("options", &self.0.options).finish_non_exhaustive()
    }
}

impl DataCloud {
    /// A tenant with the usual options. Nothing is sent yet.
    ///
    /// # Errors
    /// When HTTPS cannot be prepared on this machine.
    pub fn new(provider: DataCloudTokenProvider) -> Result<Self, DataCloudError> {
        Self::with(provider, Options::default())
    }

    /// A tenant with other options.
    ///
    /// # Errors
    /// As [`DataCloud::new`].
    pub fn with(provider: DataCloudTokenProvider, options: Options) -> Result<Self, DataCloudError> {
        let http = api_client().map_err(|e| DataCloudError::no_https(provider.org(), &e))?;
        let uploads = upload_client().map_err(|e| DataCloudError::no_https(provider.org(), &e))?;
        Ok(Self(Arc::new(Inner { provider, http, uploads, options, channel: Mutex::default() })))
    }

    /// Its tokens.
    pub fn provider(&self) -> &DataCloudTokenProvider {
        &self.0.provider
    }

    pub(crate) fn org(&self) -> &str {
        self.0.provider.org()
    }

    /// How long to wait after the given attempt (counted from 1): random, so that those who failed together do not come
    /// back together. What the server asks for goes first.
    pub(crate) fn pause(&self, attempt: u32, asked: Option<Duration>) -> Duration {
        const LONGEST: Duration = Duration::from_secs(30);
        match asked {
            Some(asked) => asked.min(LONGEST),
            None => {
                let bound = self.0.options.pause.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(LONGEST);
                bound.mul_f64(fastrand::f64())
            }
        }
    }

    pub(crate) fn held_channel(&self) -> std::sync::MutexGuard<'_, Option<(Url, Channel)>> {
        self.0.channel.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
