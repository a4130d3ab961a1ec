//! A token and where it may be used.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use url::Url;

use crate::clock::Clock;
use crate::config::Reuse;
use crate::secret::Secret;
use crate::token_state::{Fingerprint, SavedToken};

/// An access token with all that a call needs. Printing it shows everything but the token.
#[derive(Debug)]
pub struct Token {
    access_token: Secret,
    instance_url: Url,
    id: Option<String>,
    scope: Option<String>,
    issued_at: Timestamp,
    /// When we stop using it, by the wall clock.
    reuse_until: Option<Timestamp>,
    /// The same moment by the monotonic clock.
    monotonic_until: Option<Duration>,
    /// Its true end, where that is known.
    ends_at: Option<Timestamp>,
    lifetime: Option<Duration>,
    pub(crate) fingerprint: Fingerprint,
    refused: AtomicBool,
    /// The org has taken it at least once.
    accepted: AtomicBool,
    /// When this process got it, by the monotonic clock.
    born: Duration,
    /// Another process got it from the org.
    pub(crate) adopted: bool,
}

/// A token that was written down by a clock this far ahead of ours is not judged by its age.
const CLOCKS_APART: SignedDuration = SignedDuration::from_mins(1);
/// A token whose end is known is replaced so much earlier, for a call takes time to arrive.
const MARGIN: SignedDuration = SignedDuration::from_secs(30);

/// How long tokens of one kind are used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lifetime {
    pub(crate) reuse: Reuse,
    /// Where the policy asks the org, and it does not tell.
    pub(crate) default: Duration,
    /// How long before its known end a token is replaced; one of a short life is at its half.
    pub(crate) margin: SignedDuration,
}

impl Lifetime {
    pub(crate) fn new(reuse: Reuse, default: Duration) -> Self {
        Self { reuse, default, margin: MARGIN }
    }

    fn before_the_end(&self, life: SignedDuration) -> SignedDuration {
        self.margin.min(life.max(SignedDuration::ZERO) / 2)
    }
}

/// A token that lives longer than this was not dead from the start.
const STILLBORN: Duration = Duration::from_secs(60);
/// Who asks for a token uses it at once. One that other programs have had for longer, without a word, has worked.
const SERVED: Duration = Duration::from_secs(5);

impl Token {
    /// The token of a store as this process will use it. `None`: its time is over already, or nobody knows its age.
    pub(crate) fn revive(saved: &SavedToken, lifetime: Lifetime, clock: &dyn Clock) -> Option<Self> {
        let age = clock.now().duration_since(saved.obtained_at);
        if lifetime.reuse != Reuse::UntilRefused && age < -CLOCKS_APART {
            return None;
        }
        let token = Self { adopted: true, ..Self::issued(saved, lifetime, clock) };
        token.is_fresh(clock).then_some(token)
    }

    /// A token that has just come: good for one call at least, whatever its time.
    pub(crate) fn issued(saved: &SavedToken, lifetime: Lifetime, clock: &dyn Clock) -> Self {
        let (now, monotonic) = (clock.now(), clock.monotonic());
        let life = match lifetime.reuse {
            Reuse::For(life) => Some(life),
            Reuse::Introspected if saved.ends_at.is_none() => Some(lifetime.default),
            Reuse::UntilRefused | Reuse::Introspected => None,
        };
        let by_policy = life.and_then(|life| saved.obtained_at.checked_add(life).ok());
        let by_end = saved.ends_at.map(|end| end - lifetime.before_the_end(end.duration_since(saved.obtained_at)));
        let reuse_until = [by_policy, by_end].into_iter().flatten().min();
        let left = reuse_until.map(|until| Duration::try_from(until.duration_since(now)).unwrap_or_default());
        // A clock that lags behind the writer's must not lengthen the token's life.
        let left = left.map(|left| life.map_or(left, |life| left.min(life)));
        Self {
            access_token: Secret::new(saved.access_token.as_str()),
            instance_url: saved.instance_url.clone(),
            id: saved.id.clone(),
            scope: saved.scope.clone(),
            issued_at: saved.issued_at,
            reuse_until,
            monotonic_until: left.map(|left| monotonic + left),
            ends_at: saved.ends_at,
            lifetime: reuse_until
                .map(|until| Duration::try_from(until.duration_since(saved.obtained_at)).unwrap_or_default()),
            fingerprint: saved.fingerprint(),
            refused: AtomicBool::new(false),
            accepted: AtomicBool::new(false),
            born: monotonic,
            adopted: false,
        }
    }

    /// Time has not run out, by either clock, and the org has not refused it.
    pub(crate) fn is_fresh(&self, clock: &dyn Clock) -> bool {
        if self.is_refused() {
            return false;
        }
        if self.monotonic_until.is_none() && self.reuse_until.is_none() {
            return true;
        }
        let (now, monotonic) = clock.glance();
        self.monotonic_until.is_none_or(|until| monotonic < until) && self.reuse_until.is_none_or(|until| now < until)
    }

    /// Not known to be dead: good enough while no other one can be had.
    pub(crate) fn may_work(&self, clock: &dyn Clock) -> bool {
        !self.is_refused() && self.ends_at.is_none_or(|end| clock.now() < end)
    }

    /// True for the first who says so.
    pub(crate) fn mark_refused(&self) -> bool {
        !self.refused.swap(true, Ordering::AcqRel)
    }

    /// True for the first who says so.
    pub(crate) fn mark_accepted(&self) -> bool {
        // Read first: almost every call finds it so, and a write would take the line from the other cores.
        !self.accepted.load(Ordering::Relaxed) && !self.accepted.swap(true, Ordering::AcqRel)
    }

    /// Somebody else has it, and has not complained for so long that the org must have taken it.
    pub(crate) fn has_served(&self, clock: &dyn Clock) -> bool {
        clock.monotonic().saturating_sub(self.born) >= SERVED
    }

    /// Refused within a minute of its issue, before it was taken once.
    pub(crate) fn is_stillborn(&self, clock: &dyn Clock) -> bool {
        let age = clock.monotonic().saturating_sub(self.born);
        !self.adopted && age < STILLBORN && !self.accepted.load(Ordering::Acquire)
    }

    pub(crate) fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Acquire)
    }

    /// It came from the token store: another process had it, and it may be as dead as the one before.
    pub fn is_adopted(&self) -> bool {
        self.adopted
    }

    /// The bearer token.
    pub fn access_token(&self) -> &Secret {
        &self.access_token
    }

    /// Scheme and host of the org's APIs, such as `https://acme.my.salesforce.com`.
    pub fn instance_url(&self) -> &Url {
        &self.instance_url
    }

    /// When the org issued it, by the org's clock.
    pub fn issued_at(&self) -> Timestamp {
        self.issued_at
    }

    /// When it will be replaced by another one; `None`: when the org refuses it.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.reuse_until
    }

    /// When it really ends, where the response or the token itself has told.
    pub fn ends_at(&self) -> Option<Timestamp> {
        self.ends_at
    }

    /// How long it is used in all, from when some process got it from the org; `None`: until the org refuses it.
    pub fn lifetime(&self) -> Option<Duration> {
        self.lifetime
    }

    /// The identity URL that came with it: `https://login.salesforce.com/id/ORG/USER`.
    pub fn identity_url(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// What it may do, separated by spaces (`api refresh_token`), where the response told.
    pub fn scope(&self) -> Option<&str> {
        self.scope.as_deref()
    }

    /// The org's id (18 characters, `00D…`), from the identity URL.
    pub fn organization_id(&self) -> Option<&str> {
        self.identity_part(1)
    }

    /// The user's id (18 characters, `005…`), from the identity URL.
    pub fn user_id(&self) -> Option<&str> {
        self.identity_part(0)
    }

    fn identity_part(&self, from_end: usize) -> Option<&str> {
        self.id.as_deref()?.rsplit('/').nth(from_end)
    }
}
