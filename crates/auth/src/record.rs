//! What a login writes down, and what it does when it may not write any more.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;

use crate::error::{AuthError, AuthErrorKind};
use crate::event::EventKind;
use crate::renewal::{REMEMBER_AT_MOST, Renewal, Work};
use crate::revocation;
use crate::settings::doubled;
use crate::stats::Counters;
use crate::token::Token;
use crate::token_state::{Failure, TokenState};
use crate::token_store::{Lease, Swap, Take};

/// How often a rotated refresh token is offered to the store before it is kept in memory alone.
const WRITE_ATTEMPTS: u32 = 5;

impl Renewal {
    /// Writes what came. `spent` is the refresh token that was sent for it.
    pub(crate) async fn write_down(
        &self,
        mut work: Work,
        spent: Option<String>,
    ) -> Result<Option<Arc<Token>>, AuthError> {
        let rotated = matches!((&work.state.chain, &spent), (Some(chain), Some(spent)) if chain.current != *spent);
        // Both at once: whichever is written when this process dies, the next one finds the newest.
        let sent_home = spent.as_deref().filter(|_| rotated).and_then(|spent| self.send_home(&work.state, spent));
        let mut attempt = 1;
        loop {
            match self.save(&mut work).await {
                Ok(Swap::Done(_)) => break,
                Ok(Swap::Refused) => match self.after_the_fact(&mut work, spent.as_deref()).await? {
                    true => {}
                    false => return Ok(None),
                },
                Err(kind) if attempt < WRITE_ATTEMPTS => {
                    tracing::warn!(org = self.config.alias, "{kind}; writing the token down once more");
                    tokio::time::sleep(self.settings.retry.pause(attempt, None)).await;
                    attempt += 1;
                }
                Err(kind) if rotated => {
                    // Not used before it is written down; kept, so that the next asker can write it.
                    self.local().unsaved = spent.map(|spent| (spent, work.state));
                    return Err(self.error(kind));
                }
                Err(kind) => {
                    tracing::warn!(org = self.config.alias, "{kind}; the token is used by this process alone");
                    break;
                }
            }
        }
        if rotated {
            self.emit(EventKind::Rotated);
            let is_home = self.came_home(sent_home).await;
            if is_home && !self.vault.store.is_durable() {
                tracing::info!(
                    org = self.config.alias,
                    "the new refresh token is at home; processes that run at the same time need TIELINE_TOKEN_STORE besides"
                );
            } else if !self.vault.store.is_durable() {
                tracing::warn!(
                    org = self.config.alias,
                    "the app rotates refresh tokens, and the new one lives in this process alone: set TIELINE_TOKEN_STORE"
                );
            }
        }
        let Some(token) = work.state.token.as_ref().map(|saved| self.issued(saved)) else {
            return Ok(None);
        };
        Counters::add(&self.counters.refreshes);
        self.emit(if self.is_first_token() { EventKind::Issued } else { EventKind::Refreshed });
        Ok(Some(Arc::new(token)))
    }

    /// The lease had gone to another process before the answer was written down. True: write again, under a new lease.
    async fn after_the_fact(&self, work: &mut Work, spent: Option<&str>) -> Result<bool, AuthError> {
        let failed = |kind| self.error(kind);
        loop {
            let (_, state) = self.vault.load().await.map_err(failed)?;
            if let Some(at) = state.revoked_at {
                // Somebody pulled the plug while the request was under way: what came of it must not live.
                let ours = work.state.chain.as_ref().map(|chain| &*chain.current);
                let ours = ours.or(work.state.token.as_ref().map(|token| &*token.access_token));
                if let Some(token) = ours
                    && let Err(failed) = revocation::revoke(&self.http, self.config.app(), token).await
                {
                    tracing::error!(
                        org = self.config.alias,
                        "a token that came after the revocation lives on: {}",
                        failed.kind
                    );
                }
                return Err(self.error(AuthErrorKind::Revoked { at }));
            }
            // The successor does not know what became of our refresh token; we are the only ones who do.
            let waits_for_us = matches!((&state.chain, spent), (Some(chain), Some(spent)) if chain.current == spent);
            if !waits_for_us {
                return Ok(false);
            }
            match self.vault.lease(&work.owner, self.settings.lease, Take::IfFree).await.map_err(failed)? {
                Lease::Busy { remaining } => tokio::time::sleep(remaining.min(Duration::from_millis(200))).await,
                Lease::Held { fence } => {
                    let (version, state) = self.vault.load().await.map_err(failed)?;
                    let still = state.revoked_at.is_none()
                        && matches!((&state.chain, spent), (Some(chain), Some(spent)) if chain.current == spent);
                    (work.fence, work.version) = (Some(fence), version);
                    return Ok(still);
                }
            }
        }
    }

    pub(crate) async fn save(&self, work: &mut Work) -> Result<Swap, AuthErrorKind> {
        let Some(fence) = work.fence else { return Ok(Swap::Done(0)) };
        let swap = self.vault.save(work.version, fence, &work.state).await?;
        if let Swap::Done(version) = swap {
            work.version = version;
        }
        Ok(swap)
    }

    /// Writes a refusal down for the whole fleet. The event comes with the first of a row only.
    pub(crate) async fn remember(
        &self,
        work: &mut Work,
        error: String,
        description: String,
        (first, longest): (Duration, Duration),
    ) -> AuthError {
        let before = work.state.failure.as_ref().filter(|f| f.config == self.fingerprint && f.error == error);
        let count = before.map_or(0, |failure| failure.count).saturating_add(1);
        let time = SignedDuration::try_from(doubled(first, count, longest)).unwrap_or(REMEMBER_AT_MOST);
        let until = self.settings.clock.now() + time;
        if count == 1 {
            let word = if error.is_empty() { "uncertain".to_owned() } else { error.clone() };
            self.emit(EventKind::Failed { error: word });
        }
        let failure = Failure { config: self.fingerprint.clone(), error, description, until, count };
        let told = self.told(&failure);
        work.state.failure = Some(failure);
        match self.save(work).await {
            Ok(Swap::Done(_)) => {}
            // The lease is gone. If it went to a revocation, that is the reason for the refusal.
            Ok(Swap::Refused) => {
                if let Ok((_, TokenState { revoked_at: Some(at), .. })) = self.vault.load().await {
                    return self.error(AuthErrorKind::Revoked { at });
                }
            }
            Err(kind) => tracing::warn!(org = self.config.alias, "{kind}; the refusal is remembered here alone"),
        }
        told
    }
}
