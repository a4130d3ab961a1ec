//! What this process does not try again yet: the memory of failures that keeps askers from the org.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::clock::Clock;
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

/// What has failed of late, in this process.
#[derive(Default)]
pub(crate) struct Cooldown {
    blocked: Option<Blocked>,
    failures: u32,
}

/// Nothing is sent before one of the clocks has come so far.
struct Blocked {
    error: AuthError,
    wall: Timestamp,
    monotonic: Duration,
}

impl Cooldown {
    /// The failure that is still remembered.
    pub(crate) fn blocked(&self, clock: &dyn Clock) -> Option<AuthError> {
        let blocked = self.blocked.as_ref()?;
        (clock.now() < blocked.wall && clock.monotonic() < blocked.monotonic)
            .then(|| blocked.error.clone().remembered())
    }

    /// Keeps askers from trying again at once. How long depends on who can help.
    pub(crate) fn remember(&mut self, error: AuthError, clock: &dyn Clock) -> AuthError {
        if let AuthErrorKind::HomeChanged { .. } = error.kind() {
            // The org has not been asked. Whoever reads the settings again has credentials of his own.
            return error;
        }
        self.failures += 1;
        let wait = match error.next_attempt() {
            Some(at) => {
                let left = at.duration_since(clock.now());
                Duration::try_from(left).unwrap_or_default().min(LOOK_AGAIN)
            }
            // Random, so that a fleet does not come back as one when the org does.
            None => doubled(PASSING.0, self.failures, PASSING.1).mul_f64(0.5 + fastrand::f64() / 2.0),
        };
        self.block(error, wait, clock)
    }

    /// Nothing is sent for so long.
    fn block(&mut self, error: AuthError, wait: Duration, clock: &dyn Clock) -> AuthError {
        let wall = clock.now() + SignedDuration::try_from(wait).unwrap_or_default();
        let error = if error.next_attempt().is_some() { error } else { error.until(wall) };
        let monotonic = clock.monotonic() + wait;
        self.blocked = Some(Blocked { error: error.clone(), wall, monotonic });
        error
    }

    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }
}

impl Renewal {
    pub(crate) fn blocked_here(&self) -> Option<AuthError> {
        self.local().cooldown.blocked(&*self.settings.clock)
    }

    pub(crate) fn remember_here(&self, error: AuthError) -> AuthError {
        self.local().cooldown.remember(error, &*self.settings.clock)
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
        let error = self.error(AuthErrorKind::FreshTokenRefused);
        self.local().cooldown.block(error, wait, &*self.settings.clock);
    }

    pub(crate) fn reset_stillborn(&self) {
        self.local().stillborn = 0;
    }

    pub(crate) fn forget_failures(&self) {
        self.local().cooldown.forget();
    }
}
