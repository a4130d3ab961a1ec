//! How the processes of a fleet come to one token: look, lease, look again, ask.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{AuthError, AuthErrorKind};
use crate::settings::Settings;
use crate::token::Token;
use crate::token_state::TokenState;
use crate::token_store::{Lease, Take, TokenStoreError, new_owner};
use crate::vault::Vault;

/// Bounds of the waits between looks at the store while another process asks.
const POLL: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(250));
/// Who has waited for another process for so long is told, and may ask again: a broker's callers are answered within a
/// minute. A process that dies in the middle is overtaken after its lease, which is shorter.
const BUSY_TOO_LONG: Duration = Duration::from_secs(50);

/// A token that one process at a time may ask for.
pub(crate) trait Renewable: Sync {
    /// Where it is shared.
    fn vault(&self) -> &Vault;

    /// Lease and patience.
    fn settings(&self) -> &Settings;

    /// A token of the store that serves; none; or the reason not to ask for one.
    fn look(&self, state: &TokenState) -> Result<Option<Arc<Token>>, AuthError>;

    /// Looks again and asks. `None`: the world has changed meanwhile, look again.
    fn under_lease(
        &self,
        owner: &str,
        fence: u64,
    ) -> impl Future<Output = Result<Option<Arc<Token>>, AuthError>> + Send;

    /// Asks although the store is out of reach, or says why not.
    fn without_store(
        &self,
        owner: String,
        error: TokenStoreError,
    ) -> impl Future<Output = Result<Arc<Token>, AuthError>> + Send;

    fn error(&self, kind: AuthErrorKind) -> AuthError;
}

/// A token that all processes agree on.
pub(crate) async fn agree(wanted: &impl Renewable) -> Result<Arc<Token>, AuthError> {
    let owner = new_owner();
    let started = tokio::time::Instant::now();
    let mut pause = POLL.0;
    let vault = wanted.vault();
    loop {
        let state = match vault.load().await {
            Ok((_, state)) => state,
            Err(AuthErrorKind::Store(error)) => return wanted.without_store(owner, error).await,
            Err(kind) => return Err(wanted.error(kind)),
        };
        if let Some(token) = wanted.look(&state)? {
            return Ok(token);
        }
        match vault.lease(&owner, wanted.settings().lease, Take::IfFree).await {
            Ok(Lease::Held { fence }) => {
                let outcome = wanted.under_lease(&owner, fence).await;
                vault.release(&owner).await;
                if let Some(token) = outcome? {
                    return Ok(token);
                }
                // Overtaken: the next look finds what the other one wrote.
                tokio::time::sleep(POLL.0).await;
            }
            Ok(Lease::Busy { remaining }) => {
                if started.elapsed() > BUSY_TOO_LONG {
                    return Err(wanted.error(AuthErrorKind::Busy { seconds: started.elapsed().as_secs() }));
                }
                tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0).min(remaining.max(POLL.0))).await;
                pause = (pause * 2).min(POLL.1);
            }
            Err(AuthErrorKind::Store(error)) => return wanted.without_store(owner, error).await,
            Err(kind) => return Err(wanted.error(kind)),
        }
    }
}
