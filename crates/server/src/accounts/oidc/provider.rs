//! What is kept of the provider in this process: its configuration and its keys, each for an hour.

use std::sync::Arc;

use axum::http::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use tieline_auth::{ConfigError, Secret};
use tokio::sync::Mutex;

use super::claims::{Claims, Expected};
use super::discovery::Metadata;
use super::door::{Door, ProviderError};
use super::id_token::Unverified;
use super::keys::KeySet;
use super::refusal::Refusal;
use super::settings::{OpenIdProvider, issuer_url};

/// How long what the provider says is believed without asking again: a key that it has withdrawn is good for so long.
const BELIEVED: SignedDuration = SignedDuration::from_hours(1);
/// A token may name any key. For one that is not known the keys are asked for anew, at most once in so long.
const KEYS_AGAIN: SignedDuration = SignedDuration::from_mins(1);

/// The provider, as this process knows it.
#[derive(Debug)]
pub(crate) struct Provider {
    settings: OpenIdProvider,
    pub(super) door: Door,
    metadata: Mutex<Option<(Arc<Metadata>, Timestamp)>>,
    keys: Mutex<Option<(Arc<KeySet>, Timestamp)>>,
}

impl Provider {
    /// Nothing is asked yet.
    pub(crate) fn new(settings: OpenIdProvider) -> Result<Self, ConfigError> {
        let door = Door::to(&issuer_url(&settings.issuer)?)?;
        Ok(Self { settings, door, metadata: Mutex::default(), keys: Mutex::default() })
    }

    /// What the operator says of it.
    pub(crate) fn settings(&self) -> &OpenIdProvider {
        &self.settings
    }

    /// What it says of itself. Whoever asks meanwhile waits for the one answer.
    pub(super) async fn metadata(&self, now: Timestamp) -> Result<Arc<Metadata>, ProviderError> {
        let mut known = self.metadata.lock().await;
        if let Some((metadata, _)) = known.as_ref().filter(|(_, at)| now.duration_since(*at) < BELIEVED) {
            return Ok(Arc::clone(metadata));
        }
        let found = Arc::new(Metadata::discover(&self.door, &self.settings).await?);
        *known = Some((Arc::clone(&found), now));
        Ok(found)
    }

    /// Its keys; those that are older than `oldest` are asked for anew.
    async fn keys(
        &self,
        metadata: &Metadata,
        oldest: SignedDuration,
        now: Timestamp,
    ) -> Result<Arc<KeySet>, ProviderError> {
        let mut known = self.keys.lock().await;
        if let Some((keys, _)) = known.as_ref().filter(|(_, at)| now.duration_since(*at) < oldest) {
            return Ok(Arc::clone(keys));
        }
        let found: KeySet = self.door.get("key set", &metadata.jwks_uri, HeaderMap::new()).await?;
        let found = Arc::new(found);
        *known = Some((Arc::clone(&found), now));
        Ok(found)
    }

    /// What an ID token says, once all of it was checked.
    pub(super) async fn verify(
        &self,
        metadata: &Metadata,
        token: Secret,
        nonce: &str,
        now: Timestamp,
    ) -> Result<Claims, Refusal> {
        let refused = Refusal::id_token;
        let unverified = Unverified::read(token).map_err(refused)?;
        let mut keys = self.keys(metadata, BELIEVED, now).await?;
        if keys.find(unverified.kid.as_deref(), unverified.algorithm).is_none() {
            keys = self.keys(metadata, KEYS_AGAIN, now).await?;
        }
        let key = keys.find(unverified.kid.as_deref(), unverified.algorithm);
        let key = key.ok_or("its key is none of the provider's").map_err(refused)?;
        let claims = unverified.verified(key).map_err(refused)?;
        let expected = Expected { issuer: &self.settings.issuer, client_id: &self.settings.client_id, nonce, now };
        claims.check(&expected).map_err(refused)?;
        Ok(claims)
    }
}
