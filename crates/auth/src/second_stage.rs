//! A token that the org's own token is exchanged for, at the org's own host: Data Cloud's.
//!
//! Both tokens are kept apart. Each is asked for by one asker at a time, in one process and in a fleet (through the same
//! token store), and each is kept while it serves: renewing the second one costs the first one nothing, so that nobody's
//! refresh token rotates for it.
//!
//! What the org does to the first token cannot be seen from outside: it may have ended the session. So when it refuses
//! the exchange, the first token is replaced once and the exchange is tried once more.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::SignedDuration;
use url::Url;

use crate::config::Reuse;
use crate::cooldown::Cooldown;
use crate::credentials::Credentials;
use crate::error::{AuthError, AuthErrorKind};
use crate::fleet;
use crate::secret::Secret;
use crate::single_flight::SingleFlight;
use crate::stats::{Counters, Stats};
use crate::token::{Lifetime, Token};
use crate::token_state::Fingerprint;
use crate::vault::Vault;

mod answer;
mod exchange;

/// What is exchanged, where, and how long the outcome is used.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// Short name, `[0-9a-z-]`. In a token store the second token is kept under the login's name and this one.
    pub name: &'static str,
    /// What a failure says that was attempted, such as `get a Data Cloud token for`.
    pub task: &'static str,
    /// The endpoint's path at the org's instance URL.
    pub path: &'static str,
    /// OAuth name of the grant.
    pub grant_type: &'static str,
    /// Further fields. They are part of the token's name in a store, as a digest.
    pub fields: Vec<(&'static str, String)>,
    /// No token is used for longer.
    pub reuse: Duration,
    /// A token with less time left is replaced; one of a shorter life than twice this, at its half.
    pub margin: Duration,
    /// Life of a token whose response tells none.
    pub default_life: Duration,
    /// The next act when the org refuses the exchange for good.
    pub hint: &'static str,
}

/// Credentials of the second stage. Cheap to clone; clones share both tokens.
///
/// ```no_run
/// # async fn example(org: tieline_auth::Credentials, exchange: tieline_auth::second_stage::Exchange)
/// # -> Result<(), tieline_auth::AuthError> {
/// use tieline_auth::second_stage::SecondStage;
///
/// let stage = SecondStage::new(org, exchange);
/// let token = stage.token().await?; // two requests at the first call, none for the next minutes
/// println!("calls go to {}", token.instance_url());
/// // Refused there? Say so; the next `token()` exchanges anew, and logs in only if it must.
/// stage.refused(&token);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct SecondStage(Arc<Inner>);

struct Inner {
    cache: Arc<SingleFlight<Token, AuthError>>,
    /// Renewals of both tokens, so that those who want one at the same time get one.
    forced: Arc<SingleFlight<Token, AuthError>>,
    stage: Arc<Stage>,
}

struct Stage {
    credentials: Credentials,
    exchange: Exchange,
    vault: Vault,
    fingerprint: Fingerprint,
    cooldown: Mutex<Cooldown>,
    counters: Counters,
}

impl std::fmt::Debug for SecondStage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecondStage")
            .field("exchange", &self.0.stage.exchange)
            .field("credentials", &self.0.stage.credentials)
            .finish_non_exhaustive()
    }
}

impl SecondStage {
    /// A second stage on top of a login. It uses the login's clock, store and patience. Nothing is sent yet.
    pub fn new(credentials: Credentials, exchange: Exchange) -> Self {
        let renewal = credentials.renewal();
        // Of all that the login depends on: the entry of a login outlives another user's refresh token, a token that was
        // got with the old one must not. A refusal is remembered for this configuration too; a better one is worth an
        // attempt.
        let mut parts = vec![renewal.fingerprint.as_str(), exchange.name, exchange.grant_type];
        parts.extend(exchange.fields.iter().flat_map(|(name, value)| [*name, value.as_str()]));
        let fingerprint = Fingerprint::of(&parts);
        let vault = Vault {
            store: renewal.vault.store.clone(),
            key: renewal.vault.key.clone(),
            name: format!("{}-{}-{}", renewal.vault.name, exchange.name, &fingerprint.hex()[..24]),
        };
        let (cooldown, counters) = (Mutex::default(), Counters::default());
        let stage = Arc::new(Stage { credentials, exchange, vault, fingerprint, cooldown, counters });
        Self(Arc::new(Inner { cache: Arc::new(SingleFlight::new()), forced: Arc::new(SingleFlight::new()), stage }))
    }

    /// The login below.
    pub fn credentials(&self) -> &Credentials {
        &self.0.stage.credentials
    }

    /// The token at hand, if there is a fresh one: no waiting, no request.
    pub fn cached_token(&self) -> Option<Arc<Token>> {
        self.0.cache.at_hand(|token| self.0.stage.is_fresh(token))
    }

    /// A token to call with: the one at hand, or a new one. Ask again for every attempt; asking is cheap.
    ///
    /// # Errors
    /// The login's failure or the exchange's, the same for all who waited for it.
    pub async fn token(&self) -> Result<Arc<Token>, AuthError> {
        if let Some(token) = self.cached_token() {
            return Ok(token);
        }
        let Inner { cache, stage, .. } = &*self.0;
        let fetch = || {
            let (stage, held) = (stage.clone(), cache.at_hand(|_| true));
            async move { stage.renew(held).await }
        };
        Ok(cache.get(|token| stage.is_fresh(token), fetch).await?.0)
    }

    /// A second token other than the one at hand; the login is asked for nothing that it has. However many ask at once,
    /// one request is made.
    ///
    /// # Errors
    /// As [`SecondStage::token`].
    pub async fn renewed(&self) -> Result<Arc<Token>, AuthError> {
        match self.0.cache.at_hand(|_| true) {
            Some(held) => self.0.other_than(held).await,
            None => self.token().await,
        }
    }

    /// The same with another login: both tokens are new, or as new as what another process has just got. However many ask
    /// at once, one request of each kind is made.
    ///
    /// # Errors
    /// As [`SecondStage::token`].
    pub async fn renewed_with_login(&self) -> Result<Arc<Token>, AuthError> {
        let fetch = || {
            let this = self.0.clone();
            let (held, login) = (this.cache.at_hand(|_| true), this.stage.credentials.cached_token());
            async move {
                // What is refused for good is not worth a login each time.
                let clock = &*this.stage.credentials.renewal().settings.clock;
                let blocked = this.stage.cooldown().blocked(clock);
                if let Some(error) = blocked {
                    return Err(error);
                }
                if let Some(login) = login {
                    this.stage.credentials.other_than(&login).await?;
                }
                match held {
                    Some(held) => this.other_than(held).await,
                    None => SecondStage(this).token().await,
                }
            }
        };
        Ok(self.0.forced.get(|_| false, fetch).await?.0)
    }

    /// This token has been refused where it belongs. Whoever comes late with an older one changes nothing.
    pub fn refused(&self, token: &Token) {
        if token.mark_refused() {
            Counters::add(&self.0.stage.counters.refusals);
        }
    }

    /// Drops the token at hand: the next asker looks at the store, and then asks the org.
    pub fn forget(&self) {
        self.0.cache.clear();
    }

    /// What happened so far, at this stage alone.
    pub fn stats(&self) -> Stats {
        self.0.stage.counters.read()
    }
}

impl Inner {
    async fn other_than(&self, held: Arc<Token>) -> Result<Arc<Token>, AuthError> {
        let usable = |token: &Token| token.fingerprint != held.fingerprint && self.stage.is_fresh(token);
        let fetch = || {
            let (stage, held) = (self.stage.clone(), Some(held.clone()));
            async move { stage.renew(held).await }
        };
        Ok(self.cache.get(usable, fetch).await?.0)
    }
}

impl Stage {
    fn is_fresh(&self, token: &Token) -> bool {
        token.is_fresh(&*self.credentials.renewal().settings.clock)
    }

    fn lifetime(&self) -> Lifetime {
        let margin = SignedDuration::try_from(self.exchange.margin).unwrap_or(SignedDuration::MAX);
        Lifetime { reuse: Reuse::For(self.exchange.reuse), default: self.exchange.reuse, margin }
    }

    /// A token other than the one held, if there is a way; else the one held, while it may work.
    async fn renew(&self, held: Option<Arc<Token>>) -> Result<Arc<Token>, AuthError> {
        let clock = &*self.credentials.renewal().settings.clock;
        // Whoever revokes a login means what came of it too. What another process holds already ends with its time.
        if let Ok((_, state)) = self.credentials.renewal().vault.load().await
            && let Some(at) = self.credentials.renewal().revoked_at(&state)
        {
            return Err(self.error(AuthErrorKind::Revoked { at }));
        }
        let blocked = self.cooldown().blocked(clock);
        let error = match blocked {
            Some(error) => error,
            None => match fleet::agree(&exchange::Asking { stage: self, held: held.as_deref() }).await {
                Ok(token) => {
                    self.cooldown().forget();
                    return Ok(token);
                }
                Err(error) => self.cooldown().remember(error, clock),
            },
        };
        match held {
            Some(token) if error.is_transient() && token.may_work(clock) => {
                tracing::warn!(org = self.org(), "{error}; the token at hand stays in use");
                Ok(token)
            }
            _ => Err(error),
        }
    }

    fn cooldown(&self) -> std::sync::MutexGuard<'_, Cooldown> {
        self.cooldown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn org(&self) -> &str {
        &self.credentials.config().alias
    }

    fn error(&self, kind: AuthErrorKind) -> AuthError {
        AuthError::new(self.org(), kind).while_trying(self.exchange.task)
    }

    fn endpoint(&self, login: &Token) -> Url {
        let mut url = login.instance_url().clone();
        url.set_path(self.exchange.path);
        url.set_query(None);
        url
    }

    fn form(&self, login: &Token) -> crate::token_endpoint::Form {
        let form = crate::token_endpoint::Form::new(self.exchange.grant_type)
            .with("subject_token", login.access_token().expose())
            .with("subject_token_type", "urn:ietf:params:oauth:token-type:access_token");
        self.exchange.fields.iter().fold(form, |form, (name, value)| form.with(name, value.as_str()))
    }
}

/// What an exchange brought.
struct Exchanged {
    access_token: Secret,
    instance_url: Url,
    ends_at: jiff::Timestamp,
}
