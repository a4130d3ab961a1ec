//! One login under the lease: the request, what may be repeated, what is written down.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::catalogue::{self, Remedy};
use crate::config::{Reuse, origin};
use crate::error::{AuthError, AuthErrorKind};
use crate::event::EventKind;
use crate::grant::Grant;
use crate::introspection::{self, Introspection};
use crate::renewal::{Renewal, Work};
use crate::stats::Counters;
use crate::token::Token;
use crate::token_endpoint::{self, Failed, Form, Issued, Outcome};
use crate::token_state::{Chain, SavedToken, TokenState};
use crate::token_store::{Lease, Swap, Take};

/// First and longest time for which a refusal that needs a person is remembered.
const NEEDS_PERSON: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));
/// The same for the login-rate limit, which is counted by the hour, and for locked users.
const CIRCUIT: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(900));
/// A lease of next to no time must not make a busy loop.
const EXTEND_AT_MOST_EVERY: Duration = Duration::from_millis(50);
/// Clocks further apart than this explain a refused assertion.
const SKEW_THAT_MATTERS: SignedDuration = SignedDuration::from_secs(60);

impl Renewal {
    /// Logs in and writes down. `None`: the right to write was lost, and what is there now is newer.
    pub(crate) async fn log_in(&self, mut work: Work) -> Result<Option<Arc<Token>>, AuthError> {
        let mut attempt = 1;
        let (mut clock_corrected, mut audience_changed) = (false, false);
        loop {
            if !self.announce(&mut work).await? {
                return Ok(None);
            }
            let audience = work.state.audience.clone().unwrap_or_else(|| self.config.audience());
            let current = work.state.chain.as_ref().map(|chain| chain.current.clone());
            let org_time = self.settings.clock.now() + self.local().skew;
            let form = self.config.grant.form(&self.config, &audience, current.as_deref(), org_time).await;
            let form = form.map_err(|kind| self.error(kind))?;
            let named = matches!(self.config.grant, Grant::JwtBearer { .. }).then_some(audience.as_str());
            let failed = match self.exchange(&work, &form, named).await {
                Ok(issued) => {
                    let unusable = self.accept(&mut work.state, issued).await.err();
                    let token = self.write_down(work, current).await?;
                    return match unusable {
                        None => Ok(token),
                        Some(kind) => Err(self.unusable(kind)),
                    };
                }
                Err(failed) => failed,
            };
            if let Some(chain) = &mut work.state.chain {
                chain.sent = failed.outcome == Outcome::Unknown;
            }
            if failed.outcome == Outcome::Unknown && work.state.chain.as_ref().is_some_and(Chain::is_uncertain) {
                Counters::add(&self.counters.uncertain);
                self.emit(EventKind::Uncertain);
            }
            if let (AuthErrorKind::Refused { error, description, .. }, Some(audience)) = (&failed.kind, named) {
                if !clock_corrected && remedy(&failed.kind) == Remedy::Person && self.correct_clock(failed.date) {
                    clock_corrected = true;
                    continue;
                }
                let own = origin(&self.config.login_url);
                let other_fits = !audience_changed && self.config.audience.is_none() && own != audience;
                if other_fits && catalogue::explain(error, description).is_some_and(|row| row.description == "audience")
                {
                    audience_changed = true;
                    work.state.audience = Some(own);
                    continue;
                }
            }
            let remedy = remedy(&failed.kind);
            if remedy == Remedy::Wait && attempt < self.settings.retry.attempts {
                let pause = self.settings.retry.pause(attempt, failed.retry_after);
                tracing::info!(org = self.config.alias, attempt, ?pause, "{}; trying again", failed.kind);
                tokio::time::sleep(pause).await;
                attempt += 1;
                continue;
            }
            if audience_changed {
                // It did not help: the next attempt begins with the usual one again.
                work.state.audience = None;
            }
            return Err(self.give_up(work, failed, remedy).await);
        }
    }

    /// Before a refresh token is sent that may be spent by it, that is written down. False: the right to write is lost.
    async fn announce(&self, work: &mut Work) -> Result<bool, AuthError> {
        let Some(chain) = &mut work.state.chain else { return Ok(true) };
        if chain.is_uncertain() {
            // Not the replay that the org takes for theft: it is only asked whether the token still lives.
            match introspection::ask(&self.http, self.config.app(), &chain.current, "refresh_token").await {
                Ok(Introspection { active: true, .. }) => chain.sent = false,
                Ok(_) => return Err(self.remember(work, String::new(), String::new(), NEEDS_PERSON).await),
                Err(failed) => return Err(self.error(failed.kind)),
            }
        }
        if chain.rotates == Some(false) {
            return Ok(true);
        }
        chain.sent = true;
        Ok(matches!(self.save(work).await.map_err(|kind| self.error(kind))?, Swap::Done(_)))
    }

    /// Sends the request, and keeps the lease alive while the org thinks.
    async fn exchange(&self, work: &Work, form: &Form, audience: Option<&str>) -> Result<Issued, Failed> {
        Counters::add(&self.counters.token_requests);
        let now = self.settings.clock.now();
        let request = token_endpoint::exchange(&self.http, self.config.app(), form, audience, now);
        let mut request = std::pin::pin!(request);
        let mut holds = work.fence.is_some();
        loop {
            tokio::select! {
                answer = &mut request => return answer,
                () = tokio::time::sleep((self.settings.lease / 3).max(EXTEND_AT_MOST_EVERY)), if holds => {
                    holds = self.extend(work).await;
                }
            }
        }
    }

    /// False when the lease has gone to somebody else; whether that matters, the fencing number tells.
    async fn extend(&self, work: &Work) -> bool {
        match self.vault.lease(&work.owner, self.settings.lease, Take::IfFree).await {
            Ok(Lease::Held { fence }) if Some(fence) != work.fence => {
                // It was taken and given back meanwhile. A new one under another number helps nobody.
                self.vault.release(&work.owner).await;
                false
            }
            Ok(Lease::Busy { .. }) => false,
            Ok(Lease::Held { .. }) | Err(_) => true,
        }
    }

    /// Takes the answer into the state, the refresh token before all else: whatever follows, the old one may be dead.
    async fn accept(&self, state: &mut TokenState, issued: Issued) -> Result<(), AuthErrorKind> {
        let now = self.settings.clock.now();
        if let Some(chain) = &mut state.chain {
            chain.sent = false;
            chain.rotates = Some(issued.refresh_token.is_some());
            if let Some(new) = issued.refresh_token {
                chain.goes_on(&new);
            }
        }
        state.token = None;
        let access = issued.access?;
        let mut saved = SavedToken {
            access_token: access.access_token.expose().to_owned(),
            instance_url: access.instance_url,
            id: access.id,
            scope: access.scope,
            issued_at: access.issued_at,
            obtained_at: now,
            ends_at: access.ends_at,
        };
        if self.config.reuse == Reuse::Introspected && saved.ends_at.is_none() {
            saved.ends_at = self.end_of(&saved.access_token).await;
        }
        state.token = Some(saved);
        state.failure = None;
        Ok(())
    }

    fn unusable(&self, kind: AuthErrorKind) -> AuthError {
        self.emit(EventKind::Failed { error: "unusable_token".to_owned() });
        self.error(kind)
    }

    async fn end_of(&self, access_token: &str) -> Option<Timestamp> {
        match introspection::ask(&self.http, self.config.app(), access_token, "access_token").await {
            Ok(Introspection { active: true, ends_at, .. }) => ends_at,
            Ok(_) => {
                tracing::warn!(org = self.config.alias, "the org tells this app nothing about tokens");
                None
            }
            Err(failed) => {
                tracing::warn!(org = self.config.alias, "could not ask for the token's end: {}", failed.kind);
                None
            }
        }
    }

    /// The org's clock says that ours is wrong: from now on assertions go by the org's.
    fn correct_clock(&self, date: Option<Timestamp>) -> bool {
        let Some(date) = date else { return false };
        let skew = date.duration_since(self.settings.clock.now());
        let mut local = self.local();
        if (skew - local.skew).abs() < SKEW_THAT_MATTERS {
            return false;
        }
        tracing::warn!(
            org = self.config.alias,
            "this machine's clock is {} the org's: assertions are dated by the org's",
            apart(skew)
        );
        local.skew = skew;
        true
    }

    async fn give_up(&self, mut work: Work, failed: Failed, remedy: Remedy) -> AuthError {
        let times = match remedy {
            Remedy::Wait => None,
            Remedy::WaitLong => Some(CIRCUIT),
            Remedy::Person => Some(NEEDS_PERSON),
        };
        if let (Some(times), AuthErrorKind::Refused { error, description, .. }) = (times, &failed.kind) {
            let description = match failed.date.map(|date| date.duration_since(self.settings.clock.now())) {
                Some(skew) if skew.abs() >= SKEW_THAT_MATTERS => {
                    format!("{description}; this machine's clock is {} the org's", apart(skew))
                }
                _ => description.clone(),
            };
            return self.remember(&mut work, error.clone(), description, times).await;
        }
        // That nothing was sent, or that nobody knows, must be known to whoever comes next.
        if work.state.chain.is_some()
            && let Err(kind) = self.save(&mut work).await
        {
            tracing::warn!(org = self.config.alias, "{kind}");
        }
        self.error(failed.kind)
    }
}

fn remedy(kind: &AuthErrorKind) -> Remedy {
    match kind {
        AuthErrorKind::Refused { error, description, .. } => {
            catalogue::explain(error, description).map_or(Remedy::Person, |row| row.remedy)
        }
        AuthErrorKind::Unreachable { .. } => Remedy::Wait,
        AuthErrorKind::Unintelligible { status, .. } if *status >= 500 || *status == 429 => Remedy::Wait,
        _ => Remedy::Person,
    }
}

fn apart(skew: SignedDuration) -> String {
    let seconds = skew.as_secs().unsigned_abs();
    let way = if skew.is_positive() { "behind" } else { "ahead of" };
    format!("{} min {} s {way}", seconds / 60, seconds % 60)
}
