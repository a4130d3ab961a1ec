//! Where a refresh token lives that the org replaces: the secret that it was read from, kept up to date.
//!
//! A token store is where a fleet agrees on the newest refresh token. It is a working memory: a table that is emptied, or
//! a master key that is lost, would take the grant along, and somebody would have to log in again. A home outlives it.
//!
//! Two places have a copy now, and a person may write to one of them. So before a refresh token is sent, under the lease,
//! the home is read, and what is there is compared with the store (`reconcile`):
//!
//! | at home is | then |
//! | --- | --- |
//! | the store's newest token | it is sent |
//! | one that the store knows to be spent | the home is behind: the store's is sent, and written home with the next one |
//! | one of the same chain, of a later turn | the store is behind: the home's is sent |
//! | any other | a person has put it there: a new chain begins with it |
//!
//! What a process has read earlier is never sent: it may have been spent since.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::OrgConfig;
use crate::error::AuthErrorKind;
use crate::grant::Grant;
use crate::renewal::Renewal;
use crate::secret::Secret;
use crate::token_state::{Chain, Fingerprint, TokenState};

/// How long reading may take.
const READING: Duration = Duration::from_secs(5);
/// How long writing may take, and how long those are kept waiting for it who want the token: the store has it too.
const WRITING: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(1);

/// Which of the refresh tokens of a chain: those that the org has issued one for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// When a person, or a login, put the first one there, by the clock of the home. Names the chain.
    pub since: Timestamp,
    /// How often the org has replaced it since.
    pub turn: u64,
}

/// The home of a configured refresh token.
#[derive(Debug, Clone)]
pub struct Home {
    /// Of the token when the configuration was read. If another chain is there later, the configuration is out of date as a
    /// whole ([`AuthErrorKind::HomeChanged`]): host and app may have been changed with the token.
    pub generation: Generation,
    /// The place.
    pub place: Arc<dyn RefreshTokenHome>,
}

/// What is at home.
#[derive(Debug)]
pub struct AtHome {
    /// The token.
    pub token: Secret,
    /// Its place in its chain.
    pub generation: Generation,
    /// [`Successor::first`] of the one that was written there; `None` for a token that a person has put there.
    pub first: Option<String>,
}

/// A refresh token that the org has issued in place of another.
#[derive(Debug)]
pub struct Successor {
    /// The token.
    pub token: Secret,
    /// Its place in its chain.
    pub generation: Generation,
    /// Names the first token of the chain; to be kept beside the token, and given back in [`AtHome`].
    pub first: String,
    spent: Fingerprint,
}

impl Successor {
    /// Whether it may take the place of what is there: of its predecessors only. Anything else was put there by a person.
    pub fn may_replace(&self, there: &AtHome) -> bool {
        let Generation { since, turn } = there.generation;
        let fingerprint = Fingerprint::of(&[there.token.expose()]);
        since == self.generation.since && turn < self.generation.turn
            || fingerprint == self.spent
            || fingerprint.as_str() == self.first
    }
}

/// What became of a [`Successor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replaced {
    /// It is there.
    Done,
    /// Another one is there that it may not replace.
    Kept,
}

/// A place that refresh tokens are read from and written to.
pub trait RefreshTokenHome: Send + Sync + std::fmt::Debug {
    /// What it is, for messages: `the secret arn:…`.
    fn describe(&self) -> String;

    /// Names it, the same for all who share it and for ever: token stores keep its entry under this.
    fn name(&self) -> String;

    /// What is there now.
    ///
    /// # Errors
    /// The reason, with the next act.
    fn read(&self) -> BoxFuture<'_, Result<AtHome, String>>;

    /// Puts the successor there, if [`Successor::may_replace`] what is there, in one step.
    ///
    /// # Errors
    /// The reason, with the next act.
    fn replace<'a>(&'a self, successor: &'a Successor) -> BoxFuture<'a, Result<Replaced, String>>;
}

impl Renewal {
    /// Decides which refresh token is the newest, before one is sent.
    pub(crate) async fn reconcile(&self, state: &mut TokenState) -> Result<(), AuthErrorKind> {
        let Some(home) = &self.config.home else {
            self.follow_configured(state);
            return Ok(());
        };
        let found = match self.at_home(home).await {
            Ok(found) => found,
            // The store knows the newest one, as long as it knows any of this chain.
            Err(reason) if state.chain.is_some() && self.is_own_chain(state) => {
                tracing::warn!(
                    org = self.config.alias,
                    home = home.place.describe(),
                    reason,
                    "going by the token store"
                );
                return Ok(());
            }
            Err(reason) => return Err(AuthErrorKind::Home { home: home.place.describe(), reason }),
        };
        if found.generation.since != home.generation.since {
            return Err(AuthErrorKind::HomeChanged { home: home.place.describe() });
        }
        if state.chain.is_none() && state.revoked_at.is_none() {
            self.inherit(state, &found).await?;
        }
        match &mut state.chain {
            Some(chain) if chain.current == found.token.expose() || chain.has_spent(&found) => chain.belongs_to(&found),
            _ => *state = TokenState { chain: Some(Chain::at_home(&found)), ..TokenState::default() },
        }
        Ok(())
    }

    async fn at_home(&self, home: &Home) -> Result<AtHome, String> {
        let reading = tokio::time::timeout(READING, home.place.read());
        reading.await.unwrap_or_else(|_| Err(format!("no answer within {} s", READING.as_secs())))
    }

    /// Before the token had a home, its chain was kept under the token itself.
    async fn inherit(&self, state: &mut TokenState, found: &AtHome) -> Result<(), AuthErrorKind> {
        let refresh_token = Secret::new(found.token.expose());
        let grant = Grant::RefreshToken { refresh_token };
        let before = OrgConfig { grant, home: None, store_as: None, ..self.config.clone() };
        let (_, old) = self.vault.load_from(&before.digest()).await?;
        if old.chain.as_ref().is_some_and(|chain| chain.comes_from(&found.token)) {
            *state = old;
        }
        Ok(())
    }

    /// Brings a refresh token home that the org has just issued. Goes on by itself if it takes long.
    pub(crate) fn send_home(&self, state: &TokenState, spent: &str) -> Option<tokio::task::JoinHandle<bool>> {
        let (home, chain) = (self.config.home.clone()?, state.chain.as_ref()?);
        let successor = Successor {
            token: Secret::new(&chain.current),
            generation: chain.generation?,
            first: chain.origin().to_owned(),
            spent: Fingerprint::of(&[spent]),
        };
        let org = self.config.alias.clone();
        Some(tokio::spawn(async move {
            let writing = tokio::time::timeout(WRITING, home.place.replace(&successor)).await;
            let outcome = writing.unwrap_or_else(|_| Err(format!("no answer within {} s", WRITING.as_secs())));
            let home = home.place.describe();
            match outcome {
                Ok(Replaced::Done) => return true,
                Ok(Replaced::Kept) => {
                    tracing::warn!(org, home, "somebody has put another refresh token there; it stays")
                }
                Err(reason) => {
                    tracing::warn!(org, home, reason, "the new refresh token could not be written to its home")
                }
            }
            false
        }))
    }

    /// Whether it has come home already.
    pub(crate) async fn came_home(&self, sent: Option<tokio::task::JoinHandle<bool>>) -> bool {
        let Some(sent) = sent else { return false };
        matches!(tokio::time::timeout(PATIENCE, sent).await, Ok(Ok(true)))
    }

    /// The refresh tokens that a revocation has to end: the store's, and the home's if it is another one of the chain.
    pub(crate) async fn tokens_to_end(&self, before: &TokenState) -> Vec<String> {
        let configured = self.config.grant.refresh_token().map(|token| token.expose().to_owned());
        let stored = before.chain.as_ref().map(|chain| chain.current.clone());
        let mut tokens = Vec::from_iter(stored.or(configured));
        if let Some(home) = &self.config.home
            && let Ok(found) = self.at_home(home).await
            && found.generation.since == home.generation.since
            && !before.chain.as_ref().is_some_and(|chain| chain.has_spent(&found))
            && !tokens.iter().any(|token| token == found.token.expose())
        {
            tokens.push(found.token.expose().to_owned());
        }
        tokens
    }

    /// The entry is about the refresh token that is configured here, one of its chain or of a later one, or about none.
    pub(crate) fn is_own_chain(&self, state: &TokenState) -> bool {
        let (Some(configured), Some(chain)) = (self.config.grant.refresh_token(), &state.chain) else { return true };
        let is_as_new = |home: &Home| {
            chain.current == configured.expose()
                || chain.generation.is_some_and(|known| known.since >= home.generation.since)
        };
        chain.comes_from(configured) || self.config.home.as_ref().is_some_and(is_as_new)
    }

    /// Another refresh token in the configuration replaces the chain with all that came from it.
    pub(crate) fn follow_configured(&self, state: &mut TokenState) {
        if let Some(configured) = self.config.grant.refresh_token()
            && (state.chain.is_none() || !self.is_own_chain(state))
        {
            let generation = self.config.home.as_ref().map(|home| home.generation);
            let chain = Some(Chain::start(configured, generation));
            *state = TokenState { chain, ..TokenState::default() };
        }
    }
}
