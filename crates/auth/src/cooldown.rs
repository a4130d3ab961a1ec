//! What this process does not try again yet: the memory of failures that keeps askers from the org.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::error::{AuthError, AuthErrorKind};
use crate::event::EventKind;
use crate::renewal::Renewal;
use crate::settings::doubled;

/// First and longest wait after a failure that may pass by itself.
const PASSING: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// First and longest pause when tokens are refused that have just been issued.
const STILLBORN: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));
/// After a remembered failure the store is looked at again no later than this: somebody may have mended it.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Nothing is sent before one of the clocks has come so far.
pub(crate) struct Blocked {
    error: AuthError,
    wall: Timestamp,
    monotonic: Duration,
}

impl Renewal {
    pub(crate) fn blocked_here(&self) -> Option<AuthError> {
        let local = self.local();
        let blocked = local.blocked.as_ref()?;
        let clock = &self.settings.clock;
        (clock.now() < blocked.wall && clock.monotonic() < blocked.monotonic)
            .then(|| blocked.error.clone().remembered())
    }

    /// Keeps askers from trying again at once. How long depends on who can help.
    pub(crate) fn remember_here(&self, error: AuthError) -> AuthError {
        if let AuthErrorKind::HomeChanged { .. } = error.kind() {
            // The org has not been asked. Whoever reads the settings again has credentials of his own.
            return error;
        }
        let failures = {
            let mut local = self.local();
            local.failures += 1;
            local.failures
        };
        let wait = match error.next_attempt() {
            Some(at) => {
                let left = at.duration_since(self.settings.clock.now());
                Duration::try_from(left).unwrap_or_default().min(LOOK_AGAIN)
            }
            // Random, so that a fleet does not come back as one when the org does.
            None => doubled(PASSING.0, failures, PASSING.1).mul_f64(0.5 + fastrand::f64() / 2.0),
        };
        self.block(error, wait)
    }

    pub(crate) fn stillborn(&self) {
        let count = {
            let mut local = self.local();
            local.stillborn += 1;
            local.stillborn
        };
        // One may be bad luck: somebody ended the session before it was used.
        if count < 2 {
            return;
        }
        if count == 2 {
            self.emit(EventKind::Failed { error: "fresh_token_refused".to_owned() });
        }
        let wait = doubled(STILLBORN.0, count - 1, STILLBORN.1);
        self.block(self.error(AuthErrorKind::FreshTokenRefused), wait);
    }

    pub(crate) fn reset_stillborn(&self) {
        self.local().stillborn = 0;
    }

    /// Nothing is sent for so long.
    fn block(&self, error: AuthError, wait: Duration) -> AuthError {
        let clock = &self.settings.clock;
        let wall = clock.now() + SignedDuration::try_from(wait).unwrap_or_default();
        let error = if error.next_attempt().is_some() { error } else { error.until(wall) };
        let monotonic = clock.monotonic() + wait;
        self.local().blocked = Some(Blocked { error: error.clone(), wall, monotonic });
        error
    }

    pub(crate) fn forget_failures(&self) {
        let mut local = self.local();
        (local.failures, local.blocked) = (0, None);
    }
}
