//! One org's entry in a token store: sealed on the way in, opened on the way out.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use zeroize::Zeroizing;

use crate::error::AuthErrorKind;
use crate::sealing::MasterKey;
use crate::token_state::TokenState;
use crate::token_store::{Lease, Swap, Take, TokenStore, TokenStoreError};

/// Times that the store is asked, and the longest pause in between. A store that is out of reach for a moment must
/// not send a whole fleet to the org.
const ATTEMPTS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(800);

pub(crate) struct Vault {
    pub(crate) store: Arc<dyn TokenStore>,
    pub(crate) key: MasterKey,
    /// Name of the entry.
    pub(crate) name: String,
}

impl Vault {
    /// The state and its version; an empty one of version 0 where there is none.
    pub(crate) async fn load(&self) -> Result<(u64, TokenState), AuthErrorKind> {
        self.load_from(&self.name).await
    }

    /// The same of another entry.
    pub(crate) async fn load_from(&self, name: &str) -> Result<(u64, TokenState), AuthErrorKind> {
        let Some(entry) = self.patiently(|| self.store.load(name)).await? else {
            return Ok((0, TokenState::default()));
        };
        let sealed = |reason: &str| AuthErrorKind::Sealed { store: self.store.describe(), reason: reason.to_owned() };
        let text = self.key.open(&entry.sealed, &place(name)).map_err(sealed)?;
        let state = serde_json::from_slice(&text).map_err(|_| sealed("it was written by another version"))?;
        Ok((entry.version, state))
    }

    pub(crate) async fn lease(&self, owner: &str, time: Duration, take: Take) -> Result<Lease, AuthErrorKind> {
        let lease = self.patiently(|| self.store.lease(&self.name, owner, time, take)).await;
        if !matches!(lease, Ok(Lease::Held { .. }))
            && let Ok(Some(at)) = self.store.revoked_at().await
        {
            return Err(AuthErrorKind::Revoked { at });
        }
        lease
    }

    /// Asks again. Only for what may be asked twice: a compare-and-swap whose answer got lost would refuse itself.
    async fn patiently<'a, T>(
        &self,
        ask: impl Fn() -> BoxFuture<'a, Result<T, TokenStoreError>>,
    ) -> Result<T, AuthErrorKind> {
        let mut attempt = 1;
        loop {
            match ask().await {
                Ok(value) => return Ok(value),
                Err(error) if attempt == ATTEMPTS => return Err(AuthErrorKind::Store(error)),
                Err(error) => {
                    tracing::info!(%error, "asking the token store once more");
                    tokio::time::sleep(PAUSE.mul_f64(fastrand::f64())).await;
                    attempt += 1;
                }
            }
        }
    }

    pub(crate) async fn save(&self, expected: u64, fence: u64, state: &TokenState) -> Result<Swap, AuthErrorKind> {
        let sealed = || {
            let text = Zeroizing::new(serde_json::to_vec(state).ok()?);
            self.key.seal(&text, &place(&self.name))
        };
        let sealed = sealed().ok_or_else(|| AuthErrorKind::Sealed {
            store: self.store.describe(),
            reason: "it could not be sealed".to_owned(),
        })?;
        self.store.compare_and_swap(&self.name, expected, fence, &sealed).await.map_err(AuthErrorKind::Store)
    }

    /// A lease that cannot be given back ends by itself.
    pub(crate) async fn release(&self, owner: &str) {
        if let Err(error) = self.store.release(&self.name, owner).await {
            tracing::warn!(%error, "a lease could not be given back");
        }
    }
}

/// What an entry is sealed for.
fn place(name: &str) -> String {
    format!("tokens:{name}")
}
