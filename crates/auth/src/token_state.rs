//! What a fleet knows of one org's credentials: the value behind a token store's key, in the clear.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use crate::refresh_token_home::{AtHome, Generation};
use crate::secret::Secret;

/// The first half of a secret's SHA-256: enough to tell secrets apart, useless to get one back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fingerprint(String);

impl Fingerprint {
    pub(crate) fn of(parts: &[&str]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in parts {
            // With their lengths, so that `ab`+`c` is not `a`+`bc`.
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part.as_bytes());
        }
        Self(URL_SAFE_NO_PAD.encode(&context.finish().as_ref()[..16]))
    }

    /// In lower case, as keys are in every store.
    pub(crate) fn hex(&self) -> String {
        self.0.bytes().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

#[derive(Default, Serialize, Deserialize)]
pub(crate) struct TokenState {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<SavedToken>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) chain: Option<Chain>,
    /// The last login failed, and when the next one may be tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<Failure>,
    /// The `aud` that worked where the usual one did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) audience: Option<String>,
    /// Somebody revoked the grant: no token until it is reinstated or replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) revoked_at: Option<Timestamp>,
}

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct SavedToken {
    pub(crate) access_token: String,
    pub(crate) instance_url: url::Url,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) scope: Option<String>,
    pub(crate) issued_at: Timestamp,
    /// When it arrived, by the clock of the process that got it.
    pub(crate) obtained_at: Timestamp,
    /// Its true end, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ends_at: Option<Timestamp>,
}

/// A refresh token and what it came from.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Chain {
    /// Of the refresh token that was configured: the same one in the configuration means that `current` is newer.
    origin: Fingerprint,
    pub(crate) current: String,
    /// Of the one that `current` was issued for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<Fingerprint>,
    /// Of `current`, where the refresh token has a home.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) generation: Option<Generation>,
    /// Whether the org replaces refresh tokens; unknown before the first answer.
    pub(crate) rotates: Option<bool>,
    /// `current` has been sent, and no answer has been written down.
    pub(crate) sent: bool,
}

/// A refusal that is remembered, so that a broken credential does not eat the login limit.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// Of the configuration that failed: another key or password is worth an attempt.
    pub(crate) config: Fingerprint,
    /// OAuth error; empty for a refresh whose outcome is unknown.
    pub(crate) error: String,
    pub(crate) description: String,
    pub(crate) until: Timestamp,
    /// How often in a row.
    pub(crate) count: u32,
}

impl Drop for SavedToken {
    fn drop(&mut self) {
        self.access_token.zeroize();
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        self.current.zeroize();
    }
}

impl Chain {
    pub(crate) fn start(configured: &Secret, generation: Option<Generation>) -> Self {
        let origin = Fingerprint::of(&[configured.expose()]);
        Self { origin, current: configured.expose().to_owned(), previous: None, generation, rotates: None, sent: false }
    }

    /// A chain that goes on with what is at home.
    pub(crate) fn at_home(found: &AtHome) -> Self {
        let mut chain = Self::start(&found.token, Some(found.generation));
        if let Some(first) = &found.first {
            chain.origin = Fingerprint(first.clone());
        }
        chain
    }

    /// The token at home came before `current`, as far as is known here.
    pub(crate) fn has_spent(&self, found: &AtHome) -> bool {
        let fingerprint = Fingerprint::of(&[found.token.expose()]);
        let Generation { since, turn } = found.generation;
        fingerprint == self.origin
            || self.previous.as_ref() == Some(&fingerprint)
            || self.generation.is_some_and(|known| known.since == since && turn < known.turn)
    }

    /// The chain is the one that is at home, whatever else was edited there since.
    pub(crate) fn belongs_to(&mut self, found: &AtHome) {
        let turn = self.generation.map_or(0, |known| known.turn);
        self.generation = Some(Generation { since: found.generation.since, turn: turn.max(found.generation.turn) });
    }

    pub(crate) fn origin(&self) -> &str {
        self.origin.as_str()
    }

    pub(crate) fn comes_from(&self, configured: &Secret) -> bool {
        self.origin == Fingerprint::of(&[configured.expose()])
    }

    /// The org has replaced `current`.
    pub(crate) fn goes_on(&mut self, new: &Secret) {
        self.previous = Some(Fingerprint::of(&[&self.current]));
        new.expose().clone_into(&mut self.current);
        if let Some(generation) = &mut self.generation {
            generation.turn += 1;
        }
    }

    /// Sending `current` once more could be the replay of a spent token, which kills the whole family.
    pub(crate) fn is_uncertain(&self) -> bool {
        self.sent && self.rotates != Some(false)
    }
}

impl SavedToken {
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&[&self.access_token])
    }
}
