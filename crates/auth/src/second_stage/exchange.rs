//! The exchange itself: under the lease, with one more login where the org refuses.

use std::sync::Arc;

use jiff::SignedDuration;

use super::{Exchanged, Stage};
use crate::error::{AuthError, AuthErrorKind};
use crate::fleet::Renewable;
use crate::renewal::REMEMBER_AT_MOST;
use crate::settings::{Settings, doubled};
use crate::stats::Counters;
use crate::token::Token;
use crate::token_endpoint::{self, Answer};
use crate::token_state::{Failure, SavedToken, TokenState};
use crate::token_store::{Swap, TokenStoreError};
use crate::vault::Vault;

/// Logins that came from other processes may all be as dead as ours was; so many are tried.
const ADOPTED: u32 = 3;
/// First and longest time for which a refusal is remembered.
const REFUSAL: (std::time::Duration, std::time::Duration) =
    (std::time::Duration::from_secs(5), std::time::Duration::from_secs(300));

/// An asker, and the token that does not serve him any more.
pub(super) struct Asking<'a> {
    pub(super) stage: &'a Stage,
    pub(super) held: Option<&'a Token>,
}

impl Renewable for Asking<'_> {
    fn vault(&self) -> &Vault {
        &self.stage.vault
    }

    fn settings(&self) -> &Settings {
        &self.stage.credentials.renewal().settings
    }

    fn look(&self, state: &TokenState) -> Result<Option<Arc<Token>>, AuthError> {
        match self.adopt(state) {
            Some(token) => Ok(Some(token)),
            None => self.is_allowed(state).map(|()| None),
        }
    }

    async fn under_lease(&self, owner: &str, fence: u64) -> Result<Option<Arc<Token>>, AuthError> {
        let stage = self.stage;
        let (version, mut state) = stage.vault.load().await.map_err(|kind| stage.error(kind))?;
        if let Some(token) = self.look(&state)? {
            return Ok(Some(token));
        }
        let outcome = self.holding_the_lease(owner, stage.obtain()).await;
        let outcome = match outcome {
            Ok(saved) => {
                let token = Token::issued(&saved, stage.lifetime(), &*self.settings().clock);
                (state.token, state.failure) = (Some(saved), None);
                Ok(Arc::new(token))
            }
            Err(error) => Err(self.remember(&mut state, error)),
        };
        match stage.vault.save(version, fence, &state).await {
            Ok(Swap::Done(_)) => {}
            // Nothing is spent by an exchange: what another process wrote meanwhile is as good as ours.
            Ok(Swap::Refused) => tracing::debug!(org = stage.org(), "another process has written down its token first"),
            Err(kind) => tracing::warn!(org = stage.org(), "{kind}; the token is used by this process alone"),
        }
        outcome.map(Some)
    }

    async fn without_store(&self, _owner: String, error: TokenStoreError) -> Result<Arc<Token>, AuthError> {
        tracing::warn!(org = self.stage.org(), %error, "exchanging without the token store");
        let saved = self.stage.obtain().await?;
        Ok(Arc::new(Token::issued(&saved, self.stage.lifetime(), &*self.settings().clock)))
    }

    fn error(&self, kind: AuthErrorKind) -> AuthError {
        self.stage.error(kind)
    }
}

impl Asking<'_> {
    /// The token of the store, if it is another one than ours and its time is not over.
    fn adopt(&self, state: &TokenState) -> Option<Arc<Token>> {
        let saved = state.token.as_ref()?;
        if self.held.is_some_and(|held| held.fingerprint == saved.fingerprint()) {
            return None;
        }
        self.stage.credentials.config().hosts.check(&saved.instance_url).ok()?;
        let token = Token::revive(saved, self.stage.lifetime(), &*self.settings().clock)?;
        Counters::add(&self.stage.counters.adopted);
        Some(Arc::new(token))
    }

    /// No refusal is remembered.
    fn is_allowed(&self, state: &TokenState) -> Result<(), AuthError> {
        let now = self.settings().clock.now();
        let remembered = state.failure.as_ref().filter(|failure| {
            failure.config == self.stage.fingerprint
                && failure.until > now
                && failure.until.duration_since(now) <= REMEMBER_AT_MOST
        });
        match remembered {
            Some(Failure { error, description, until, .. }) => {
                let kind = self.stage.refusal(error.clone(), description.clone());
                Err(self.stage.error(kind).until(*until).remembered())
            }
            None => Ok(()),
        }
    }

    /// Writes a refusal down for the whole fleet; each one in a row keeps it away for longer. Without this, an org
    /// without Data Cloud would cost a login for every call.
    fn remember(&self, state: &mut TokenState, error: AuthError) -> AuthError {
        let AuthErrorKind::Refused { error: code, description, .. } = error.kind() else { return error };
        if error.next_attempt().is_some() {
            // The login's own failure, which is remembered where it belongs.
            return error;
        }
        let before = state.failure.as_ref().filter(|f| f.config == self.stage.fingerprint && f.error == *code);
        let count = before.map_or(0, |failure| failure.count).saturating_add(1);
        let time = SignedDuration::try_from(doubled(REFUSAL.0, count, REFUSAL.1)).unwrap_or(REMEMBER_AT_MOST);
        let until = self.settings().clock.now() + time;
        let config = self.stage.fingerprint.clone();
        state.failure = Some(Failure { config, error: code.clone(), description: description.clone(), until, count });
        error.until(until)
    }

    /// Keeps the lease alive while the org thinks.
    async fn holding_the_lease<T>(&self, owner: &str, work: impl Future<Output = T>) -> T {
        let time = self.settings().lease;
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                outcome = &mut work => return outcome,
                () = tokio::time::sleep((time / 3).max(std::time::Duration::from_millis(50))) => {
                    // One that is lost costs a second exchange, no more.
                    let _ = self.stage.vault.lease(owner, time, crate::token_store::Take::IfFree).await;
                }
            }
        }
    }
}

/// Why there is no token.
pub(super) enum Refused {
    /// By the answer of the org: another login may help.
    ByOrg(AuthErrorKind),
    /// A login does not change it.
    Otherwise(AuthErrorKind),
}

impl Stage {
    /// A second token for the login at hand; if the org refuses, for another login, once.
    async fn obtain(&self) -> Result<SavedToken, AuthError> {
        let mut login = self.credentials.token().await?;
        let mut replaced = 0;
        loop {
            let kind = match self.exchange_patiently(&login).await {
                Ok(Exchanged { access_token, instance_url, ends_at }) => {
                    self.credentials.accepted(&login);
                    Counters::add(&self.counters.refreshes);
                    let now = self.credentials.renewal().settings.clock.now();
                    return Ok(SavedToken {
                        access_token: access_token.expose().to_owned(),
                        instance_url,
                        id: None,
                        scope: None,
                        issued_at: now,
                        obtained_at: now,
                        ends_at: Some(ends_at),
                    });
                }
                Err(Refused::Otherwise(kind)) => return Err(self.error(kind)),
                Err(Refused::ByOrg(kind)) => kind,
            };
            if replaced > 0 && !(login.is_adopted() && replaced < ADOPTED) {
                return Err(self.error(kind));
            }
            tracing::info!(org = self.org(), "{kind}; trying once more with another login");
            // Not `refused`: the session may live and lack a right, and others may be using it.
            let (next, _) = self.credentials.other_than(&login).await?;
            if next.fingerprint == login.fingerprint {
                // There is no other. If that is because no login can be had now, that is the reason, and it passes.
                let login_failed = self.credentials.renewal().blocked_here();
                return Err(login_failed.unwrap_or_else(|| self.error(kind)));
            }
            login = next;
            replaced += 1;
        }
    }

    /// What passes by itself is waited for.
    async fn exchange_patiently(&self, login: &Token) -> Result<Exchanged, Refused> {
        let renewal = self.credentials.renewal();
        let mut attempt = 1;
        loop {
            Counters::add(&self.counters.token_requests);
            let hosts = &self.credentials.config().hosts;
            let sent = token_endpoint::post_to(&renewal.http, hosts, self.endpoint(login), &self.form(login)).await;
            let (kind, asked) = match sent {
                Ok(answer) if answer.status < 500 && answer.status != 429 => return self.read(login, answer),
                Ok(Answer { url, status, retry_after, .. }) => {
                    (AuthErrorKind::Unintelligible { url: url.to_string(), status }, retry_after)
                }
                Err(failed) => (failed.kind, failed.retry_after),
            };
            let passing = matches!(kind, AuthErrorKind::Unreachable { .. } | AuthErrorKind::Unintelligible { .. });
            if !passing || attempt >= renewal.settings.retry.attempts {
                return Err(Refused::Otherwise(kind));
            }
            let pause = renewal.settings.retry.pause(attempt, asked);
            tracing::info!(org = self.org(), attempt, ?pause, "{kind}; trying again");
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }
}
