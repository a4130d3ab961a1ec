//! The orgs that the broker knows by name, and what it does when their settings change.
//!
//! Settings are read when a token is first asked for, and again when they may be out of date: after five minutes, if
//! no fresh token is at hand, and at once when the org has refused a login. A secret that was rotated is noticed
//! without a restart, and without asking for it at each request.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tieline_auth::error::AuthErrorKind;
use tieline_auth::refresh_token_home::Home;
use tieline_auth::{AuthError, Clock, ConfigError, Credentials};
use tokio::task::JoinHandle;
use zeroize::Zeroize;

use crate::digest::Digest;
use crate::sources::REFRESH_TOKEN;

/// Settings older than this are read again before the next login. As long as AWS's agent for secrets keeps a secret.
const KEPT_FOR: Duration = Duration::from_secs(300);
/// They are not read more often than this, whatever fails.
const PAUSE: Duration = Duration::from_secs(10);
/// A reading that takes longer has failed.
const LONGEST_READ: Duration = Duration::from_secs(30);
/// How long a reading is waited for where settings of before are at hand.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Who waited for a reading that failed gets the same failure.
const FAILURE_KEPT_FOR: Duration = Duration::from_secs(1);

/// An org to hand out tokens for.
#[derive(Debug, Clone)]
pub struct Org {
    /// Whose tokens.
    pub credentials: Credentials,
    /// The version of the API that callers should use, such as `67.0`.
    pub api_version: String,
    /// When the certificate ends that the app has, where it is known (`SF_CERTIFICATE`).
    pub certificate_ends: Option<Timestamp>,
}

/// A login's settings. The values are overwritten when they are dropped.
#[derive(Default)]
pub struct Variables {
    /// Values by name (`SF_CLIENT_ID`, …).
    pub values: BTreeMap<String, String>,
    /// Where the refresh token among them is kept up to date.
    pub home: Option<Home>,
}

impl std::fmt::Debug for Variables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

impl Drop for Variables {
    fn drop(&mut self) {
        self.values.values_mut().for_each(Zeroize::zeroize);
    }
}

impl Variables {
    fn digest(&self) -> Digest {
        // A refresh token that comes home is no other setting: only one that a person has put there is.
        let own = |name: &str| self.home.is_none() || name != REFRESH_TOKEN;
        let values: BTreeMap<_, _> = self.values.iter().filter(|(name, _)| own(name)).collect();
        let home = self.home.as_ref().map(|home| (home.place.name(), home.generation.since));
        let mut text = serde_json::to_string(&(values, home)).unwrap_or_default();
        let digest = Digest::of(text.as_bytes());
        text.zeroize();
        digest
    }
}

/// A place where settings are, and the way from them to an org.
pub trait Source: Send + Sync + std::fmt::Debug {
    /// The settings as they are now. `name` is what callers call the org.
    fn read<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Variables, OrgError>>;

    /// The org that they lead to.
    fn org<'a>(&'a self, name: &'a str, settings: &'a Variables) -> BoxFuture<'a, Result<Org, OrgError>>;
}

/// There is no org to ask.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OrgError {
    /// No connection has that name.
    #[error("there is no connection `{wanted}`")]
    Unknown {
        /// The name.
        wanted: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// Its settings are somewhere, and cannot be read now.
    #[error("the settings in {place} cannot be read: {reason}")]
    Unavailable {
        /// Where they are.
        place: String,
        /// What is wrong.
        reason: String,
        /// The next act.
        hint: String,
    },
    /// Its settings do not lead to a login.
    #[error("the connection `{connection}` cannot be used: {error}")]
    Setting {
        /// The name.
        connection: String,
        /// What is wrong.
        error: ConfigError,
    },
}

impl OrgError {
    /// The next act.
    pub fn hint(&self) -> &str {
        match self {
            OrgError::Unknown { .. } => "name one of the connections that there are",
            OrgError::Unavailable { hint, .. } => hint,
            OrgError::Setting { error, .. } => error.hint(),
        }
    }
}

/// There is no token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoToken {
    #[error(transparent)]
    Org(#[from] OrgError),
    #[error(transparent)]
    Login(#[from] AuthError),
}

/// Orgs by name. Cheap to clone; clones share all.
#[derive(Clone)]
pub struct Orgs {
    slots: Arc<BTreeMap<String, Arc<Slot>>>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Orgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.slots.keys()).finish()
    }
}

#[derive(Default)]
struct Slot {
    source: Option<Arc<dyn Source>>,
    /// Never held while anything is waited for: a place that is slow must not keep back a token that is at hand.
    state: Mutex<State>,
    /// Held while settings are read.
    reading: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    loaded: Option<(Org, Option<Digest>)>,
    /// Grows with every change of `loaded`.
    generation: u64,
    /// When the settings were read for the last time, by both clocks.
    read_at: Option<(Timestamp, Duration)>,
    failure: Option<OrgError>,
}

/// An org as it was at one moment.
#[derive(Clone)]
pub(crate) struct Loaded {
    pub(crate) org: Org,
    /// Another one has other settings.
    pub(crate) generation: u64,
}

impl Orgs {
    /// No org yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { slots: Arc::default(), clock }
    }

    /// With an org that stays as it is. Before the first clone is made.
    #[must_use]
    pub fn with(self, name: impl Into<String>, org: Org) -> Self {
        let state = State { loaded: Some((org, None)), ..State::default() };
        self.and(name.into(), Slot { state: Mutex::new(state), ..Slot::default() })
    }

    /// With an org whose settings are read when they are needed. Before the first clone is made.
    #[must_use]
    pub fn with_source(self, name: impl Into<String>, source: Arc<dyn Source>) -> Self {
        self.and(name.into(), Slot { source: Some(source), ..Slot::default() })
    }

    fn and(mut self, name: String, slot: Slot) -> Self {
        if let Some(slots) = Arc::get_mut(&mut self.slots) {
            slots.insert(name, Arc::new(slot));
        }
        self
    }

    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.slots.keys().map(String::as_str)
    }

    /// The orgs that have been asked for so far.
    pub fn loaded(&self) -> Vec<Org> {
        self.slots.values().filter_map(|slot| Some(slot.state().loaded()?.org)).collect()
    }

    /// Reads an org's settings, as the first request for a token would.
    ///
    /// # Errors
    /// There is no such org, or its settings do not lead to a login.
    pub async fn check(&self, name: &str) -> Result<(), OrgError> {
        self.get(name).await.map(drop)
    }

    /// What `ask` gets of the org of that name. If the login is refused and the settings have changed where they are kept,
    /// it is asked of the org that those lead to: what failed was the old ones.
    pub(crate) async fn ask<T, F: Future<Output = Result<T, AuthError>>>(
        &self,
        name: &str,
        ask: impl Fn(Org) -> F,
    ) -> Result<(Loaded, T), NoToken> {
        let mut loaded = self.get(name).await?;
        let mut outcome = ask(loaded.org.clone()).await;
        if let Err(error) = &outcome
            && let Some(pause) = worth_reading_again(error)
            && let Some(newer) = self.newer(name, &loaded, pause).await
        {
            outcome = ask(newer.org.clone()).await;
            loaded = newer;
        }
        Ok((loaded, outcome?))
    }

    /// The org of that name, with settings that are not out of date.
    pub(crate) async fn get(&self, name: &str) -> Result<Loaded, OrgError> {
        let unknown =
            || OrgError::Unknown { wanted: name.to_owned(), known: self.names().map(str::to_owned).collect() };
        let slot = self.slots.get(name).ok_or_else(unknown)?;
        if let Some(answer) = slot.at_hand(&*self.clock) {
            return answer;
        }
        let before = slot.state().loaded();
        let reading = self.read(name, slot, |slot, clock| slot.at_hand(clock).is_none());
        match before {
            // What was read before works, or the org will say that it does not.
            Some(before) => {
                let _ = tokio::time::timeout(LONGEST_WAIT, reading).await;
                Ok(slot.state().loaded().unwrap_or(before))
            }
            None => {
                let _ = reading.await;
                let state = slot.state();
                state.loaded().ok_or_else(|| state.failure.clone().unwrap_or_else(unknown))
            }
        }
    }

    /// The same org with newer settings than `used` has, if there are any: the org has refused those.
    async fn newer(&self, name: &str, used: &Loaded, pause: Duration) -> Option<Loaded> {
        let slot = self.slots.get(name)?;
        let generation = used.generation;
        let is_due = move |slot: &Slot, clock: &dyn Clock| {
            let state = slot.state();
            state.generation == generation && state.age(clock) >= pause
        };
        if is_due(slot, &*self.clock) {
            let _ = tokio::time::timeout(LONGEST_WAIT, self.read(name, slot, is_due)).await;
        }
        slot.state().loaded().filter(|loaded| loaded.generation > generation)
    }

    /// Reads the settings, if it is still needed when it is this one's turn. In a task of its own: a caller that goes
    /// away takes nothing along from those who wait for the same.
    fn read(
        &self,
        name: &str,
        slot: &Arc<Slot>,
        is_needed: impl Fn(&Slot, &dyn Clock) -> bool + Send + 'static,
    ) -> JoinHandle<()> {
        let (slot, clock, name) = (slot.clone(), self.clock.clone(), name.to_owned());
        tokio::spawn(async move {
            let Some(source) = slot.source.clone() else { return };
            let _turn = slot.reading.lock().await;
            if !is_needed(&slot, &*clock) {
                return;
            }
            let outcome = tokio::time::timeout(LONGEST_READ, slot.load(&name, &*source)).await;
            let outcome = outcome.unwrap_or_else(|_| Err(too_slow()));
            let mut state = slot.state();
            state.read_at = Some((clock.now(), clock.monotonic()));
            state.failure = outcome.err();
            if let (Some(error), true) = (&state.failure, state.loaded.is_some()) {
                // What worked before is better than nothing, and the org decides whether it still does.
                tracing::warn!(connection = name, %error, hint = error.hint(), "the settings of before are used");
            }
        })
    }
}

impl Slot {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What can be answered without reading anything.
    fn at_hand(&self, clock: &dyn Clock) -> Option<Result<Loaded, OrgError>> {
        let state = self.state();
        let age = state.age(clock);
        match (state.loaded(), &state.failure) {
            (Some(loaded), failure) => {
                let kept_for = if failure.is_some() { PAUSE } else { KEPT_FOR };
                let good = self.source.is_none() || age < kept_for || loaded.org.credentials.has_token();
                good.then_some(Ok(loaded))
            }
            (None, Some(failure)) if age < FAILURE_KEPT_FOR => Some(Err(failure.clone())),
            (None, _) => None,
        }
    }

    async fn load(&self, name: &str, source: &dyn Source) -> Result<(), OrgError> {
        let settings = source.read(name).await?;
        let digest = settings.digest();
        if matches!(&self.state().loaded, Some((_, Some(before))) if before.is(&digest)) {
            return Ok(());
        }
        let org = source.org(name, &settings).await?;
        let mut state = self.state();
        if state.loaded.replace((org, Some(digest))).is_some() {
            tracing::info!(connection = name, "the settings have changed, and are used from now on");
        }
        state.generation += 1;
        Ok(())
    }
}

impl State {
    fn loaded(&self) -> Option<Loaded> {
        let (org, _) = self.loaded.as_ref()?;
        Some(Loaded { org: org.clone(), generation: self.generation })
    }

    /// By the clock that says more: a frozen process may miss time on one of them.
    fn age(&self, clock: &dyn Clock) -> Duration {
        let Some((wall, monotonic)) = self.read_at else { return Duration::MAX };
        let by_wall = clock.now().duration_since(wall);
        let by_monotonic = clock.monotonic().saturating_sub(monotonic);
        // A wall clock that was set back says nothing.
        Duration::try_from(by_wall).unwrap_or_default().max(by_monotonic)
    }
}

/// After how long settings that a login has failed with are read again; `None`: they are not the reason.
fn worth_reading_again(error: &AuthError) -> Option<Duration> {
    match error.kind() {
        AuthErrorKind::HomeChanged { .. } => Some(Duration::ZERO),
        _ if error.needs_person() => Some(PAUSE),
        _ => None,
    }
}

fn too_slow() -> OrgError {
    OrgError::Unavailable {
        place: "the place of the settings".to_owned(),
        reason: format!("no answer within {} s", LONGEST_READ.as_secs()),
        hint: "try again; in a private subnet, see that there is a VPC endpoint for it".to_owned(),
    }
}
