//! The handle that callers hold.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;

use crate::clock::Clock;
use crate::config::{OrgConfig, Reuse};
use crate::error::{AuthError, ConfigError};
use crate::event::{Event, EventKind};
use crate::grant::Grant;
use crate::http;
use crate::introspection::{self, Introspection};
use crate::renewal::Renewal;
use crate::sealing::MasterKey;
use crate::secret::Secret;
use crate::settings::{Settings, SharedStore};
use crate::single_flight::{SingleFlight, Source};
use crate::stats::{Counters, Stats};
use crate::token::Token;
use crate::token_state::Fingerprint;
use crate::token_store::memory::MemoryStore;
use crate::vault::Vault;

/// One org's credentials: hands out a valid token, and hears when the org refuses one. Cheap to clone; all
/// clones share one token.
#[derive(Clone)]
pub struct Credentials(Arc<Inner>);

struct Inner {
    cache: Arc<SingleFlight<Token, AuthError>>,
    clock: Arc<dyn Clock>,
    renewal: Arc<Renewal>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("config", self.config())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl Credentials {
    /// Credentials of this process alone, by the machine's clock. Nothing is sent yet.
    ///
    /// # Errors
    /// When the HTTP client cannot be made, which means that the machine has no certificate store.
    pub fn new(config: OrgConfig) -> Result<Self, ConfigError> {
        Self::with(config, Settings::default())
    }

    /// The same with a clock of the caller's.
    ///
    /// # Errors
    /// As [`Credentials::new`].
    pub fn with_clock(config: OrgConfig, clock: Arc<dyn Clock>) -> Result<Self, ConfigError> {
        Self::with(config, Settings { clock, ..Settings::default() })
    }

    /// Credentials with a token store, a clock, or other patience.
    ///
    /// # Errors
    /// As [`Credentials::new`].
    ///
    /// ```
    /// use std::sync::Arc;
    /// use tieline_auth::sealing::MasterKey;
    /// use tieline_auth::token_store::file::FileStore;
    /// use tieline_auth::{Credentials, Grant, OrgConfig, Secret, Settings, SharedStore};
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// let store = Arc::new(FileStore::new(folder.path().join("tokens.json")));
    /// let key = MasterKey::load_or_create(&folder.path().join("tokens.key")).unwrap();
    /// let grant = Grant::RefreshToken { refresh_token: Secret::new("5Aep861…") };
    /// let config = OrgConfig::new("login.salesforce.com", "3MVG9…", grant).unwrap();
    /// let settings = Settings { store: Some(SharedStore { store, key }), ..Settings::default() };
    /// let credentials = Credentials::with(config, settings).unwrap();
    /// ```
    pub fn with(config: OrgConfig, settings: Settings) -> Result<Self, ConfigError> {
        let http = match &settings.http {
            Some(http) => http.clone(),
            None => http::token_client().map_err(|e| {
                ConfigError::new(
                    format!("could not prepare HTTPS: {}", http::innermost(&e)),
                    "install the system's CA certificates (Debian: apt-get install ca-certificates)",
                )
            })?,
        };
        let name = config.digest();
        let vault = match &settings.store {
            Some(SharedStore { store, key }) => Vault { store: store.clone(), key: key.clone(), name },
            None => {
                let key = MasterKey::ephemeral().ok_or_else(|| {
                    ConfigError::new("the system gives no randomness", "see that /dev/urandom can be read")
                })?;
                Vault { store: Arc::new(MemoryStore::with_clock(settings.clock.clone())), key, name }
            }
        };
        let clock = settings.clock.clone();
        let fingerprint = config.fingerprint();
        let renewal = Renewal {
            config,
            settings,
            http,
            vault,
            counters: Counters::default(),
            fingerprint,
            local: std::sync::Mutex::default(),
            given_refused: false.into(),
        };
        Ok(Self(Arc::new(Inner { cache: Arc::new(SingleFlight::new()), clock, renewal: Arc::new(renewal) })))
    }

    /// The same login with another policy of how long a token is used. The two share no token but through a token store.
    ///
    /// # Errors
    /// As [`Credentials::new`].
    pub fn reusing(&self, reuse: Reuse) -> Result<Self, ConfigError> {
        Self::with(OrgConfig { reuse, ..self.config().clone() }, self.0.renewal.settings.clone())
    }

    /// The configuration.
    pub fn config(&self) -> &OrgConfig {
        &self.0.renewal.config
    }

    /// The token at hand, if there is a fresh one: no waiting, no request.
    pub fn cached_token(&self) -> Option<Arc<Token>> {
        let token = self.0.cache.at_hand(|token| token.is_fresh(&*self.0.clock))?;
        self.0.renewal.counters.hits.add();
        Some(token)
    }

    /// A fresh token is at hand.
    pub fn has_token(&self) -> bool {
        self.0.cache.at_hand(|token| token.is_fresh(&*self.0.clock)).is_some()
    }

    /// The token that this process or the token store has, if it is still in use: the org is not asked, and no renewal is waited
    /// for. It is to be looked at; to call the org, ask for [`Credentials::token`].
    ///
    /// # Errors
    /// When the token store cannot be read.
    pub async fn known_token(&self) -> Result<Option<Arc<Token>>, AuthError> {
        let Inner { cache, clock, renewal } = &*self.0;
        match cache.at_hand(|token| token.is_fresh(&**clock)) {
            Some(token) => Ok(Some(token)),
            None => renewal.kept().await,
        }
    }

    /// A token to call with: the one at hand, or a new one. Ask again for every attempt; asking is cheap.
    ///
    /// # Errors
    /// The login's failure, the same for all who waited for it.
    pub async fn token(&self) -> Result<Arc<Token>, AuthError> {
        Ok(self.token_and_source().await?.0)
    }

    /// The token, and whether nobody had to be asked for it but this process or the token store.
    ///
    /// # Errors
    /// As [`Credentials::token`].
    pub async fn token_and_source(&self) -> Result<(Arc<Token>, bool), AuthError> {
        let Inner { cache, clock, renewal } = &*self.0;
        if let Some(token) = self.cached_token() {
            return Ok((token, true));
        }
        let before = renewal.requests();
        let fetch = || {
            let (renewal, held) = (renewal.clone(), cache.at_hand(|_| true));
            async move { renewal.renew(held).await }
        };
        let (token, source) = cache.get(|token| token.is_fresh(&**clock), fetch).await?;
        match source {
            Source::Hand => renewal.counters.hits.add(),
            Source::Own => Counters::add(&renewal.counters.misses),
            Source::Waited => Counters::add(&renewal.counters.waits),
        }
        Ok((token, renewal.requests() == before))
    }

    /// A token that will be used for at least so long: the one at hand, or else a new one. Where the policy gives tokens
    /// less time than that, a new one all the same, which is the best there is; [`Token::expires_at`] tells.
    ///
    /// # Errors
    /// As [`Credentials::token`].
    pub async fn token_for(&self, at_least: Duration) -> Result<(Arc<Token>, bool), AuthError> {
        let (token, from_cache) = self.token_and_source().await?;
        let left = |token: &Token| token.expires_at().map(|end| end.duration_since(self.0.clock.now()));
        let lasts =
            |token: &Token| left(token).is_none_or(|left| left.unsigned_abs() >= at_least && left.is_positive());
        if lasts(&token) || !from_cache || !self.is_renewable() {
            return Ok((token, from_cache));
        }
        self.other_than(&token).await
    }

    /// A token that is not this one, which the org has refused: to a caller that has the text alone, such as another
    /// program. If another token has taken its place already, that one is answered and nothing is asked of the org.
    ///
    /// # Errors
    /// As [`Credentials::token`].
    pub async fn token_instead_of(&self, refused: &Secret) -> Result<(Arc<Token>, bool), AuthError> {
        let (token, from_cache) = self.token_and_source().await?;
        if token.fingerprint != Fingerprint::of(&[refused.expose()]) {
            return Ok((token, from_cache));
        }
        self.refused_elsewhere(&token);
        self.token_and_source().await
    }

    /// A token other than this one, which may still live: for when a call shows that it does not serve. However many ask
    /// at once, one request is made. The same one comes back where no other can be had for the moment.
    ///
    /// # Errors
    /// As [`Credentials::token`].
    pub async fn other_than(&self, old: &Arc<Token>) -> Result<(Arc<Token>, bool), AuthError> {
        let Inner { cache, clock, renewal } = &*self.0;
        let before = renewal.requests();
        let usable = |token: &Token| token.fingerprint != old.fingerprint && token.is_fresh(&**clock);
        let fetch = || {
            let (renewal, held) = (renewal.clone(), Some(old.clone()));
            async move { renewal.renew(held).await }
        };
        let (token, _) = cache.get(usable, fetch).await?;
        Ok((token, renewal.requests() == before))
    }

    /// The org has refused this token: nobody here uses it any more. Whoever comes late with an older one changes
    /// nothing.
    ///
    /// When tokens are refused that the org has just issued and never taken, another login would not help either (an
    /// expired password, a session policy): after the second in a row the credentials pause, for longer each time.
    pub fn refused(&self, token: &Token) {
        let renewal = &self.0.renewal;
        if token.mark_refused() && self.0.cache.at_hand(|held| std::ptr::eq(held, token)).is_some() {
            Counters::add(&renewal.counters.refusals);
            renewal.emit(EventKind::Refused);
            renewal.given_refused.store(!self.is_renewable(), std::sync::atomic::Ordering::Release);
            match token.is_stillborn(&*self.0.clock) {
                true => renewal.stillborn(),
                // It has lived, so the org takes tokens that it issues. How one began that another process had, nobody
                // here knows.
                false if !token.is_adopted() => renewal.reset_stillborn(),
                false => {}
            }
        }
    }

    /// The same, as another program has reported it that was given the token. Such programs tell of refusals alone, never
    /// that the org has taken a token: one that they have had for some seconds counts as taken.
    pub fn refused_elsewhere(&self, token: &Token) {
        if token.has_served(&*self.0.clock) {
            self.accepted(token);
        }
        self.refused(token);
    }

    /// The org has taken this token.
    pub fn accepted(&self, token: &Token) {
        if token.mark_accepted() {
            self.0.renewal.reset_stillborn();
        }
    }

    /// What happened so far.
    pub fn stats(&self) -> Stats {
        self.0.renewal.counters.read()
    }

    /// Events from now on; of all orgs that share these [`Settings`].
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.0.renewal.settings.events.subscribe()
    }

    /// Asks the org about the token at hand: whether it lives, and until when.
    ///
    /// # Errors
    /// As [`Credentials::token`]; and when the org does not answer the question.
    pub async fn introspect(&self) -> Result<Introspection, AuthError> {
        let token = self.token().await?;
        let renewal = self.renewal();
        introspection::ask(&renewal.http, renewal.config.app(), token.access_token().expose(), "access_token")
            .await
            .map_err(|failed| renewal.error(failed.kind))
    }

    /// The `aud` of assertions: what the configuration says, or what has worked where the org took that for wrong.
    ///
    /// # Errors
    /// When the token store cannot be read.
    pub async fn audience(&self) -> Result<String, AuthError> {
        let renewal = self.renewal();
        let (_, state) = renewal.vault.load().await.map_err(|kind| renewal.error(kind))?;
        Ok(state.audience.clone().unwrap_or_else(|| self.config().audience()))
    }

    /// Drops the token at hand: the next asker looks at the store, and then asks the org.
    pub fn forget(&self) {
        self.0.cache.clear();
    }

    /// True if a lost token can be had again: not for a token that was given as it is.
    pub fn is_renewable(&self) -> bool {
        !matches!(self.config().grant, Grant::AccessToken { .. })
    }

    pub(crate) fn renewal(&self) -> &Arc<Renewal> {
        &self.0.renewal
    }
}
