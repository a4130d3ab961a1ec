//! `POST /services/oauth2/revoke`, and the tombstone that keeps a revoked grant from coming back.
//!
//! The order is what makes it final: first the lease is taken by force and the revocation written down, so that a
//! login under way anywhere in the fleet cannot write its token any more; then the org is told.

use crate::config::AppRef;
use crate::credentials::Credentials;
use crate::error::{AuthError, AuthErrorKind};
use crate::event::EventKind;
use crate::renewal::{Renewal, Work};
use crate::token_endpoint::{Failed, Form, post, refused};
use crate::token_state::{SavedToken, TokenState};
use crate::token_store::{Lease, Swap, Take, new_owner};

/// What became of one org's grant.
#[derive(Debug, Clone)]
pub struct Revocation {
    /// The org's alias.
    pub org: String,
    /// The refresh token, if there was one: revoking it ends its access tokens too.
    pub refresh_token: Option<Result<(), AuthError>>,
    /// The access token, if there was one.
    pub access_token: Option<Result<(), AuthError>>,
}

impl Revocation {
    /// Nothing of the grant is left at the org.
    pub fn is_complete(&self) -> bool {
        [&self.refresh_token, &self.access_token].into_iter().flatten().all(Result::is_ok)
    }
}

/// Ends one token at the org. A token that the org does not know (any more) has ended.
pub(crate) async fn revoke(http: &reqwest::Client, app: AppRef<'_>, token: &str) -> Result<(), Failed> {
    let answer = post(http, app, "revoke", &Form::bare().with("token", token)).await?;
    if answer.status == 200 {
        return Ok(());
    }
    match refused(app, None, answer) {
        Failed { kind: AuthErrorKind::Refused { error, .. }, .. } if error == "invalid_token" => Ok(()),
        failed => Err(failed),
    }
}

impl Credentials {
    /// Ends the grant for the whole fleet: no process gets a token with it any more, not even one that is asking the
    /// org for one right now. What the org answered is in the report; what it could not be told can be told again.
    ///
    /// A grant that can log in by itself (JWT bearer, client credentials) stays shut until
    /// [`Credentials::reinstate`], a refresh token until another one is configured.
    ///
    /// # Errors
    /// When the revocation could not be written down: nothing is revoked then.
    pub async fn revoke(&self) -> Result<Revocation, AuthError> {
        let renewal = self.renewal();
        let at = renewal.settings.clock.now();
        let before = renewal.overwrite(|state| state.revoked_at = Some(at)).await?;
        self.forget();
        renewal.emit(EventKind::Revoked);
        let end = async |token: &str| {
            revoke(&renewal.http, renewal.config.app(), token).await.map_err(|failed| renewal.error(failed.kind))
        };
        let mut refresh_token = None;
        for token in renewal.tokens_to_end(&before).await {
            let ended = end(&token).await;
            // One that lives on is worth telling, whatever became of the others.
            if !matches!(refresh_token, Some(Err(_))) {
                refresh_token = Some(ended);
            }
        }
        let access_token = match &before.token {
            Some(token) => Some(end(&token.access_token).await),
            None => None,
        };
        Ok(Revocation { org: renewal.config.alias.clone(), refresh_token, access_token })
    }

    /// Lets the grant log in again after [`Credentials::revoke`].
    ///
    /// # Errors
    /// When that could not be written down.
    pub async fn reinstate(&self) -> Result<(), AuthError> {
        let renewal = self.renewal();
        let (_, state) = renewal.vault.load().await.map_err(|kind| renewal.error(kind))?;
        // A token that is good is kept.
        if state.revoked_at.is_some() {
            renewal.overwrite(|state| state.revoked_at = None).await?;
        }
        renewal.forget_failures();
        Ok(())
    }
}

impl Renewal {
    /// Writes down what a person's login has brought, in place of whatever was there.
    pub(crate) async fn begin_chain(&self, token: SavedToken) -> Result<(), AuthError> {
        self.overwrite(|state| {
            *state = TokenState::default();
            self.follow_configured(state);
            state.token = Some(token.clone());
        })
        .await?;
        Ok(())
    }

    /// Takes the lease by force, drops the token and changes the state. Answers what was there before.
    async fn overwrite(&self, change: impl Fn(&mut TokenState)) -> Result<TokenState, AuthError> {
        let failed = |kind| self.error(kind);
        let owner = new_owner();
        loop {
            let lease = self.vault.lease(&owner, self.settings.lease, Take::ByForce).await.map_err(failed)?;
            let Lease::Held { fence } = lease else { continue };
            let (version, before) = self.vault.load().await.map_err(failed)?;
            let mut state =
                TokenState { chain: before.chain.clone(), audience: before.audience.clone(), ..TokenState::default() };
            self.follow_configured(&mut state);
            state.revoked_at = before.revoked_at;
            change(&mut state);
            let mut work = Work { owner: owner.clone(), fence: Some(fence), version, state };
            let swap = self.save(&mut work).await.map_err(failed);
            self.vault.release(&owner).await;
            // Refused: somebody else used force in between.
            if let Swap::Done(_) = swap? {
                return Ok(before);
            }
        }
    }
}
