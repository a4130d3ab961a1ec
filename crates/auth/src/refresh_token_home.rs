//! Where a refresh token lives that the org replaces: the secret that it was read from, kept up to date.
//!
//! A token store is where a fleet agrees on the newest refresh token. It is a working memory: a table that is emptied, or
//! a master key that is lost, would take the grant along, and somebody would have to log in again. A home outlives it.
//! So that reader and store never disagree about which of two refresh tokens is the newer one, each has a
//! [`Generation`].

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::renewal::Renewal;
use crate::secret::Secret;
use crate::token_state::{Chain, TokenState};

/// Longer than this the token is not kept waiting for its home: the token store has it, and the next one is written too.
const PATIENCE: Duration = Duration::from_secs(5);

/// Which of several refresh tokens of one connection is the newest: the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Generation {
    /// When a person, or a login, put the first one there, by the clock of the home.
    pub since: Timestamp,
    /// How often the org has replaced it since.
    pub turn: u64,
}

/// The home of a configured refresh token.
#[derive(Debug, Clone)]
pub struct Home {
    /// Of the token that was read there.
    pub generation: Generation,
    /// The place.
    pub place: Arc<dyn RefreshTokenHome>,
}

/// A place that refresh tokens are read from and written to.
pub trait RefreshTokenHome: Send + Sync + std::fmt::Debug {
    /// What it is, for messages: `the secret arn:…`.
    fn describe(&self) -> String;

    /// Puts `token` in the place of one that is older. Another one that is there by now, of the same age or newer, stays.
    ///
    /// # Errors
    /// The reason, with the next act.
    fn replace<'a>(&'a self, generation: Generation, token: &'a Secret) -> BoxFuture<'a, Result<(), String>>;
}

impl Renewal {
    /// Brings a refresh token home that the org has just issued. Before the token store has it: who comes between the
    /// two reads the newer one in either.
    pub(crate) async fn bring_home(&self, state: &TokenState) -> bool {
        let (Some(home), Some(chain)) = (&self.config.home, &state.chain) else { return false };
        let Some(generation) = chain.generation else { return false };
        let token = Secret::new(&chain.current);
        let writing = tokio::time::timeout(PATIENCE, home.place.replace(generation, &token));
        let outcome = writing.await.unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs())));
        if let Err(reason) = &outcome {
            tracing::warn!(
                org = self.config.alias,
                home = home.place.describe(),
                reason,
                "the new refresh token could not be written to its home"
            );
        }
        outcome.is_ok()
    }

    /// The entry is about the refresh token that is configured here, one that came before it or after it, or none.
    pub(crate) fn is_own_chain(&self, state: &TokenState) -> bool {
        let (Some(configured), Some(chain)) = (self.config.grant.refresh_token(), &state.chain) else { return true };
        let is_as_new = |home: &Home| chain.generation.is_some_and(|known| known.since >= home.generation.since);
        chain.comes_from(configured) || self.config.home.as_ref().is_some_and(is_as_new)
    }

    /// Another refresh token in the configuration replaces the chain with all that came from it; at a home, only one
    /// that is newer does.
    pub(crate) fn follow_chain(&self, state: &mut TokenState) {
        let Some(configured) = self.config.grant.refresh_token() else { return };
        let generation = self.config.home.as_ref().map(|home| home.generation);
        let follows = state.chain.as_mut().is_some_and(|chain| {
            if !chain.comes_from(configured) {
                return generation.is_some() && chain.generation >= generation;
            }
            // The first of the chain is spent, whatever else was edited at its home since.
            if let Some(edited) = generation.filter(|_| chain.generation < generation) {
                let turn = chain.generation.map_or(0, |known| known.turn);
                chain.generation = Some(Generation { turn: turn.max(edited.turn), ..edited });
            }
            true
        });
        if !follows {
            let chain = Some(Chain::start(configured, generation));
            *state = TokenState { chain, ..TokenState::default() };
        }
    }
}
