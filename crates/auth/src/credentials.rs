//! The handle that callers hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::SignedDuration;

use crate::clock::{Clock, SystemClock};
use crate::config::{OrgConfig, Reuse};
use crate::error::{AuthError, AuthErrorKind, ConfigError};
use crate::grant::Grant;
use crate::http;
use crate::token::Token;
use crate::token_cache::TokenCache;
use crate::token_endpoint::{self, Issued};

/// One org's credentials: hands out a valid token, and hears when the org refuses one. Cheap to clone; all
/// clones share one token.
#[derive(Clone)]
pub struct Credentials(Arc<Inner>);

struct Inner {
    config: OrgConfig,
    http: reqwest::Client,
    clock: Arc<dyn Clock>,
    cache: Arc<TokenCache>,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct Counters {
    token_requests: AtomicU64,
    refusals: AtomicU64,
    hits: AtomicU64,
    generation: AtomicU64,
}

/// What these credentials have done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Stats {
    /// Requests to the token endpoint.
    pub token_requests: u64,
    /// Tokens that the org refused while we held them.
    pub refusals: u64,
    /// Answers from memory.
    pub hits: u64,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("config", &self.0.config)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl Credentials {
    /// Credentials by the machine's clock. Nothing is sent yet.
    ///
    /// # Errors
    /// When the HTTP client cannot be made, which means that the machine has no certificate store.
    pub fn new(config: OrgConfig) -> Result<Self, ConfigError> {
        Self::with_clock(config, Arc::new(SystemClock::default()))
    }

    /// The same with a clock of the caller's.
    ///
    /// # Errors
    /// As [`Credentials::new`].
    pub fn with_clock(config: OrgConfig, clock: Arc<dyn Clock>) -> Result<Self, ConfigError> {
        let http = http::token_client().map_err(|e| {
            ConfigError::new(
                format!("could not prepare HTTPS: {}", http::innermost(&e)),
                "install the system's CA certificates (Debian: apt-get install ca-certificates)",
            )
        })?;
        Ok(Self(Arc::new(Inner { config, http, clock, cache: Arc::default(), counters: Arc::default() })))
    }

    /// The configuration.
    pub fn config(&self) -> &OrgConfig {
        &self.0.config
    }

    /// A token to call with: the one at hand, or a new one. Ask again for every attempt; asking is cheap.
    ///
    /// # Errors
    /// The login's failure, the same for all who waited for it.
    pub async fn token(&self) -> Result<Arc<Token>, AuthError> {
        Ok(self.token_and_source().await?.0)
    }

    /// The token, and whether it was at hand.
    ///
    /// # Errors
    /// As [`Credentials::token`].
    pub async fn token_and_source(&self) -> Result<(Arc<Token>, bool), AuthError> {
        let inner = &self.0;
        let fetch = || {
            let inner = inner.clone();
            async move { inner.fetch().await }
        };
        let found = inner.cache.get(&*inner.clock, fetch).await?;
        if found.from_cache {
            inner.counters.hits.fetch_add(1, Ordering::Relaxed);
        }
        Ok((found.token, found.from_cache))
    }

    /// The org has refused this token. It is dropped if it is still the one at hand; whoever comes late with an
    /// older one changes nothing.
    pub fn refused(&self, token: &Token) {
        if self.0.cache.refuse(token.generation) {
            self.0.counters.refusals.fetch_add(1, Ordering::Relaxed);
            tracing::info!(org = %self.0.config.alias, "the org refused the access token; the next call gets a new one");
        }
    }

    /// What happened so far.
    pub fn stats(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.0.counters;
        Stats {
            token_requests: read(&counters.token_requests),
            refusals: read(&counters.refusals),
            hits: read(&counters.hits),
        }
    }
}

impl Inner {
    async fn fetch(&self) -> Result<Token, AuthError> {
        let config = &self.config;
        let failed = |kind| AuthError::new(&config.alias, kind);
        let generation = self.counters.generation.fetch_add(1, Ordering::Relaxed);
        let monotonic = self.clock.monotonic();
        let now = self.clock.now();
        let issued = match &config.grant {
            // A given token is used once; when it was refused there is nothing to renew it with.
            Grant::AccessToken { access_token, instance_url } if generation == 0 => {
                config.hosts.check(instance_url).map_err(AuthErrorKind::Host).map_err(failed)?;
                Issued {
                    access_token: access_token.clone(),
                    instance_url: instance_url.clone(),
                    id: None,
                    issued_at: now,
                }
            }
            Grant::AccessToken { .. } => return Err(failed(AuthErrorKind::NotRenewable)),
            _ => {
                self.counters.token_requests.fetch_add(1, Ordering::Relaxed);
                token_endpoint::exchange(&self.http, config, now).await.map_err(failed)?
            }
        };
        tracing::debug!(org = %config.alias, grant = config.grant.name(), "token issued");
        let (reuse_until, monotonic_until) = match config.reuse {
            Reuse::UntilRefused => (None, None),
            Reuse::For(life) => (SignedDuration::try_from(life).ok().map(|life| now + life), Some(monotonic + life)),
        };
        let Issued { access_token, instance_url, id, issued_at } = issued;
        Ok(Token { access_token, instance_url, id, issued_at, reuse_until, monotonic_until, generation })
    }
}
