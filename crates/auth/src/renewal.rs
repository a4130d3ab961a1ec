//! From "no usable token here" to a token, in a fleet: look, lease, look again, log in, write down, publish.
//!
//! 1. **Look** at the store: another process may have a token already.
//! 2. **Lease** the right to log in. Whoever does not get it looks again until the holder is done.
//! 3. **Look again**: the token may have come between 1 and 2.
//! 4. **Log in** (`login`), with the intent written down first where the refresh token may be spent by it.
//! 5. **Write down** what came, by compare-and-swap under the lease's fencing number.
//! 6. **Publish**: only now does anybody use the token.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::SignedDuration;

use crate::config::{OrgConfig, Reuse, default_reuse};
use crate::cooldown::Cooldown;
use crate::error::{AuthError, AuthErrorKind, hint_for};
use crate::event::EventKind;
use crate::fleet::{self, Renewable};
use crate::grant::Grant;
use crate::settings::Settings;
use crate::stats::Counters;
use crate::token::{Lifetime, Token};
use crate::token_state::{Failure, Fingerprint, SavedToken, TokenState};
use crate::token_store::TokenStoreError;
use crate::vault::Vault;

/// No failure is remembered for longer than this; what says so was written by a wrong clock.
pub(crate) const REMEMBER_AT_MOST: SignedDuration = SignedDuration::from_mins(15);

pub(crate) struct Renewal {
    pub(crate) config: OrgConfig,
    pub(crate) settings: Settings,
    pub(crate) http: reqwest::Client,
    pub(crate) vault: Vault,
    pub(crate) counters: Counters,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) local: Mutex<Local>,
    pub(crate) given_refused: AtomicBool,
}

/// An asker, and the token that does not serve him any more.
struct Asking<'a> {
    renewal: &'a Renewal,
    held: Option<&'a Token>,
}

impl Renewable for Asking<'_> {
    fn vault(&self) -> &Vault {
        &self.renewal.vault
    }

    fn settings(&self) -> &Settings {
        &self.renewal.settings
    }

    fn look(&self, state: &TokenState) -> Result<Option<Arc<Token>>, AuthError> {
        match self.renewal.adopt(state, self.held) {
            Some(token) => Ok(Some(token)),
            None => self.renewal.is_allowed(state).map(|()| None),
        }
    }

    async fn under_lease(&self, owner: &str, fence: u64) -> Result<Option<Arc<Token>>, AuthError> {
        self.renewal.under_lease(owner, fence, self.held).await
    }

    async fn without_store(&self, owner: String, error: TokenStoreError) -> Result<Arc<Token>, AuthError> {
        self.renewal.without_store(owner, error).await
    }

    fn error(&self, kind: AuthErrorKind) -> AuthError {
        self.renewal.error(kind)
    }
}

/// What only this process knows.
#[derive(Default)]
pub(crate) struct Local {
    pub(crate) cooldown: Cooldown,
    /// The org's clock less ours, once it has proved to matter.
    pub(crate) skew: SignedDuration,
    /// A rotated refresh token that could not be written down yet, and the one it came from.
    pub(crate) unsaved: Option<(String, TokenState)>,
    had_token: bool,
    /// Tokens in a row that were refused before they had been taken once.
    pub(crate) stillborn: u32,
}

/// The state as it was read, and the right to change it.
pub(crate) struct Work {
    pub(crate) owner: String,
    /// `None`: without a store, which could not be reached.
    pub(crate) fence: Option<u64>,
    pub(crate) version: u64,
    pub(crate) state: TokenState,
}

impl Renewal {
    /// A token other than the one held, if there is a way; else the one held, while it may work.
    pub(crate) async fn renew(&self, held: Option<Arc<Token>>) -> Result<Arc<Token>, AuthError> {
        let error = match self.blocked_here() {
            Some(error) => error,
            None => match self.find(held.as_deref()).await {
                Ok(token) => {
                    let mut local = self.local();
                    local.cooldown.forget();
                    local.had_token = true;
                    return Ok(token);
                }
                Err(error) => self.remember_here(error),
            },
        };
        let passing = error.is_transient() || matches!(error.kind(), AuthErrorKind::Uncertain);
        match held {
            Some(token) if passing && token.may_work(&*self.settings.clock) => {
                tracing::warn!(org = self.config.alias, "{error}; the token at hand stays in use");
                Ok(token)
            }
            _ => Err(error),
        }
    }

    async fn find(&self, held: Option<&Token>) -> Result<Arc<Token>, AuthError> {
        if let Grant::AccessToken { .. } = &self.config.grant {
            return self.given().map_err(|kind| self.error(kind));
        }
        fleet::agree(&Asking { renewal: self, held }).await
    }

    /// `None`: the world has changed meanwhile, look again.
    async fn under_lease(
        &self,
        owner: &str,
        fence: u64,
        held: Option<&Token>,
    ) -> Result<Option<Arc<Token>>, AuthError> {
        let (version, state) = self.vault.load().await.map_err(|kind| self.error(kind))?;
        if let Some(token) = self.adopt(&state, held) {
            return Ok(Some(token));
        }
        self.is_allowed(&state)?;
        let mut work = Work { owner: owner.to_owned(), fence: Some(fence), version, state };
        self.reconcile(&mut work.state).await.map_err(|kind| self.error(kind))?;
        self.is_allowed(&work.state)?;
        let unsaved = self.local().unsaved.take();
        if let Some((spent, mine)) = unsaved
            && work.state.chain.as_ref().is_some_and(|chain| chain.current == spent)
        {
            work.state = mine;
            return self.write_down(work, Some(spent)).await;
        }
        self.log_in(work).await
    }

    /// The token of the store, if it is of this login and its time is not over. It is not taken up.
    pub(crate) async fn kept(&self) -> Result<Option<Arc<Token>>, AuthError> {
        let (_, state) = self.vault.load().await.map_err(|kind| self.error(kind))?;
        Ok(self.revived(&state, None))
    }

    /// The token of the store, if it is another one than ours and its time is not over.
    fn adopt(&self, state: &TokenState, held: Option<&Token>) -> Option<Arc<Token>> {
        let token = self.revived(state, held)?;
        Counters::add(&self.counters.adopted);
        self.emit(EventKind::Adopted);
        Some(token)
    }

    fn revived(&self, state: &TokenState, held: Option<&Token>) -> Option<Arc<Token>> {
        let saved = state.token.as_ref()?;
        if !self.is_own_chain(state) || held.is_some_and(|held| held.fingerprint == saved.fingerprint()) {
            return None;
        }
        // What the store holds passed the allow-list of the process that wrote it, which may be another list.
        self.config.hosts.check(&saved.instance_url).ok()?;
        Token::revive(saved, self.lifetime(), &*self.settings.clock).map(Arc::new)
    }

    fn lifetime(&self) -> Lifetime {
        let default = match default_reuse(&self.config.grant) {
            Reuse::For(life) => life,
            _ => Duration::MAX,
        };
        Lifetime::new(self.config.reuse, default)
    }

    pub(crate) fn issued(&self, saved: &SavedToken) -> Token {
        Token::issued(saved, self.lifetime(), &*self.settings.clock)
    }

    /// When this login was revoked, if it was.
    pub(crate) fn revoked_at(&self, state: &TokenState) -> Option<jiff::Timestamp> {
        state.revoked_at.filter(|_| self.is_own_chain(state))
    }

    /// Nothing that is written down speaks against a login.
    fn is_allowed(&self, state: &TokenState) -> Result<(), AuthError> {
        if !self.is_own_chain(state) {
            return Ok(());
        }
        if let Some(at) = self.revoked_at(state) {
            return Err(self.error(AuthErrorKind::Revoked { at }));
        }
        let now = self.settings.clock.now();
        match &state.failure {
            Some(failure)
                if failure.config == self.fingerprint
                    && failure.until > now
                    && failure.until.duration_since(now) <= REMEMBER_AT_MOST =>
            {
                Err(self.told(failure).remembered())
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn told(&self, failure: &Failure) -> AuthError {
        let Failure { error, description, until, .. } = failure;
        let kind = if error.is_empty() {
            AuthErrorKind::Uncertain
        } else {
            let hint = hint_for(error, description, Some(&self.config.audience()), &self.config.login_url);
            AuthErrorKind::Refused { error: error.clone(), description: description.clone(), hint }
        };
        self.error(kind).until(*until)
    }

    /// The store is out of reach. A login that spends nothing can do without; a refresh token that may rotate cannot:
    /// its successor would be lost with this process.
    async fn without_store(&self, owner: String, error: TokenStoreError) -> Result<Arc<Token>, AuthError> {
        if let Grant::RefreshToken { .. } = &self.config.grant {
            return Err(self.error(AuthErrorKind::Store(error)));
        }
        tracing::warn!(org = self.config.alias, %error, "logging in without the token store");
        let work = Work { owner, fence: None, version: 0, state: TokenState::default() };
        match self.log_in(work).await? {
            Some(token) => Ok(token),
            None => Err(self.error(AuthErrorKind::Store(error))),
        }
    }

    /// A given token is used until it is refused; then there is nothing to renew it with.
    fn given(&self) -> Result<Arc<Token>, AuthErrorKind> {
        let Grant::AccessToken { access_token, instance_url } = &self.config.grant else {
            return Err(AuthErrorKind::NotRenewable);
        };
        if self.given_refused.load(Ordering::Acquire) {
            return Err(AuthErrorKind::NotRenewable);
        }
        self.config.hosts.check(instance_url).map_err(AuthErrorKind::Host)?;
        let now = self.settings.clock.now();
        let saved = SavedToken {
            access_token: access_token.expose().to_owned(),
            instance_url: instance_url.clone(),
            id: None,
            scope: None,
            issued_at: now,
            obtained_at: now,
            ends_at: None,
        };
        Ok(Arc::new(self.issued(&saved)))
    }

    /// Token requests so far.
    pub(crate) fn requests(&self) -> u64 {
        self.counters.token_requests.load(Ordering::Relaxed)
    }

    pub(crate) fn is_first_token(&self) -> bool {
        !self.local().had_token
    }

    pub(crate) fn emit(&self, kind: EventKind) {
        self.settings.events.emit(&self.config.alias, self.settings.clock.now(), kind);
    }

    pub(crate) fn error(&self, kind: AuthErrorKind) -> AuthError {
        AuthError::new(&self.config.alias, kind)
    }

    pub(crate) fn local(&self) -> MutexGuard<'_, Local> {
        self.local.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
