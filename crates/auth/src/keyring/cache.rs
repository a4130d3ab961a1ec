//! Unwrapped data keys, kept at hand for a while.
//!
//! A key that is fresh is used as it is. One that is not is unwrapped again at its next use, so a right that was taken
//! away ends within minutes. While the key service is out of reach the key at hand serves a while longer; when the service
//! *refuses*, the key is dropped at once. Without a key there is an error, and never plain text.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{DataKey, Keyring, KeyringError, Wrapped};
use crate::clock::Clock;
use crate::single_flight::SingleFlight;

/// For how long, and how many. Counted by the monotonic clock: a process that sleeps does not age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheRules {
    /// A key is used without asking for so long after it was unwrapped. Five minutes by default.
    pub fresh: Duration,
    /// While its service is out of reach it serves until so long after it was unwrapped. An hour by default.
    pub stale: Duration,
    /// Whoever has a key at hand that is not fresh waits at most so long for the service. Two seconds by default: a key
    /// service answers within tens of milliseconds.
    pub patience: Duration,
    /// A service that was out of reach is not asked for so long about keys that are at hand. Ten seconds by default.
    pub rest: Duration,
    /// At most so many keys; the one that was not used for the longest time goes first. 10,000 by default.
    pub most: usize,
}

impl Default for CacheRules {
    fn default() -> Self {
        Self {
            fresh: Duration::from_secs(5 * 60),
            stale: Duration::from_secs(60 * 60),
            patience: Duration::from_secs(2),
            rest: Duration::from_secs(10),
            most: 10_000,
        }
    }
}

/// A key and when it was asked for.
struct Held {
    key: Arc<DataKey>,
    asked: Duration,
}

type Flight = Arc<SingleFlight<Held, KeyringError>>;

/// A data key's id and its owner: the same id under another owner is another key, and its service will refuse it.
type Name = ([u8; 16], String);

struct Slot {
    flight: Flight,
    /// Number of its last use.
    used: u64,
}

struct Slots {
    slots: HashMap<Name, Slot>,
    uses: u64,
    /// When what has run out is looked for next.
    sweep: Duration,
}

/// Data keys at hand. Share one in a process; it prints how many it holds.
pub struct DataKeys {
    ring: Arc<Keyring>,
    clock: Arc<dyn Clock>,
    rules: CacheRules,
    slots: Mutex<Slots>,
    outages: Arc<Outages>,
    unwraps: Arc<AtomicU64>,
}

impl std::fmt::Debug for DataKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{} data keys of {:?}]", self.len(), self.ring.names())
    }
}

impl DataKeys {
    /// Nothing at hand yet.
    pub fn new(ring: Arc<Keyring>, clock: Arc<dyn Clock>, rules: CacheRules) -> Self {
        let slots = Slots { slots: HashMap::new(), uses: 0, sweep: clock.monotonic() + rules.fresh };
        let (slots, outages, unwraps) = (Mutex::new(slots), Arc::default(), Arc::default());
        Self { ring, clock, rules, slots, outages, unwraps }
    }

    /// The ring that unwraps them.
    pub fn ring(&self) -> &Arc<Keyring> {
        &self.ring
    }

    /// How many keys are known, those included that are being unwrapped.
    pub fn len(&self) -> usize {
        self.lock().slots.len()
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How often a key service was asked to unwrap.
    pub fn unwraps(&self) -> u64 {
        self.unwraps.load(Ordering::Relaxed)
    }

    /// The data key of this id, which lies wrapped and belongs to `context` ([`Keyring::wrap_new`]): the one at hand, or
    /// unwrapped. However many ask at once, the service is asked once. Call it within a Tokio runtime.
    ///
    /// # Errors
    /// As [`Keyring::unwrap`]; while the service is out of reach only once the key at hand has gone stale.
    pub async fn get(&self, id: [u8; 16], wrapped: &Wrapped, context: &str) -> Result<Arc<DataKey>, KeyringError> {
        let now = self.clock.monotonic();
        let flight = self.flight(&(id, context.to_owned()), now);
        let fresh = |held: &Held| now.saturating_sub(held.asked) < self.rules.fresh;
        if let Some(held) = flight.at_hand(fresh) {
            return Ok(held.key.clone());
        }
        let usable = || {
            let now = self.clock.monotonic();
            flight.at_hand(|held| now.saturating_sub(held.asked) < self.rules.stale.max(self.rules.fresh))
        };
        let service = &wrapped.service;
        let asked = flight.get(fresh, || self.unwrap(id, wrapped, context, &flight));
        let outcome = match usable() {
            None => asked.await,
            Some(held) if self.outages.rests(service, now) => return Ok(held.key.clone()),
            // The request goes on when patience has ended, and tells what it has found to those who come later.
            Some(held) => match tokio::time::timeout(self.rules.patience, asked).await {
                Ok(outcome) => outcome,
                Err(_) => {
                    self.outages.begin(service, self.clock.monotonic() + self.rules.rest, "it does not answer");
                    // Unless it was dropped meanwhile: then the next asker hears why.
                    return match usable() {
                        Some(_) => Ok(held.key.clone()),
                        None => flight.get(fresh, || self.unwrap(id, wrapped, context, &flight)).await.map(own),
                    };
                }
            },
        };
        match outcome {
            Err(error) if error.passing() => usable().map(|held| held.key.clone()).ok_or(error),
            outcome => outcome.map(own),
        }
    }

    /// Takes in a key that was just made ([`Keyring::wrap_new`]): its first use asks nobody.
    pub async fn keep(&self, key: Arc<DataKey>, context: &str) {
        let now = self.clock.monotonic();
        let flight = self.flight(&(key.id(), context.to_owned()), now);
        let held = Arc::new(Held { key, asked: now });
        let _: Result<_, KeyringError> = flight.get(|_| false, || std::future::ready(Ok(held.clone()))).await;
    }

    /// Drops a key, such as that of an integration which was deleted.
    pub fn forget(&self, id: [u8; 16]) {
        self.lock().slots.retain(|(held, _), _| *held != id);
    }

    /// What asks the service. It runs to its end whoever waits for it.
    fn unwrap(
        &self,
        id: [u8; 16],
        wrapped: &Wrapped,
        context: &str,
        flight: &Flight,
    ) -> impl Future<Output = Result<Arc<Held>, KeyringError>> + Send + 'static {
        let (ring, clock, outages, flight) =
            (self.ring.clone(), self.clock.clone(), self.outages.clone(), flight.clone());
        let (wrapped, context, rest, unwraps) =
            (wrapped.clone(), context.to_owned(), self.rules.rest, self.unwraps.clone());
        async move {
            let asked = clock.monotonic();
            unwraps.fetch_add(1, Ordering::Relaxed);
            match ring.unwrap(&wrapped.service, &wrapped.bytes, id, &context).await {
                Ok(key) => {
                    outages.end(&wrapped.service);
                    Ok(Arc::new(Held { key: Arc::new(key), asked }))
                }
                Err(error) if error.passing() => {
                    outages.begin(&wrapped.service, clock.monotonic() + rest, &error.to_string());
                    Err(error)
                }
                Err(error) => {
                    // Here, and not where it is waited for: nobody may use it once its service has refused it.
                    flight.clear();
                    Err(error)
                }
            }
        }
    }

    fn flight(&self, name: &Name, now: Duration) -> Flight {
        let mut all = self.lock();
        let Slots { slots, uses, sweep } = &mut *all;
        *uses += 1;
        if now >= *sweep {
            *sweep = now + self.rules.fresh;
            let kept = self.rules.stale.max(self.rules.fresh);
            // A flight that somebody holds is under way.
            slots.retain(|_, slot| {
                let held = slot.flight.at_hand(|held| now.saturating_sub(held.asked) < kept);
                held.is_some() || Arc::strong_count(&slot.flight) > 1
            });
        }
        if let Some(slot) = slots.get_mut(name) {
            slot.used = *uses;
            return slot.flight.clone();
        }
        if slots.len() >= self.rules.most.max(1)
            && let Some(oldest) = slots.iter().min_by_key(|(_, slot)| slot.used).map(|(name, _)| name.clone())
        {
            slots.remove(&oldest);
        }
        let flight = Arc::new(SingleFlight::new());
        slots.insert(name.clone(), Slot { flight: flight.clone(), used: *uses });
        flight
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn own((held, _): (Arc<Held>, crate::single_flight::Source)) -> Arc<DataKey> {
    held.key.clone()
}

/// The services that were out of reach when they were asked last, and when they are asked again.
#[derive(Default)]
struct Outages(Mutex<HashMap<String, Duration>>);

impl Outages {
    fn rests(&self, service: &str, now: Duration) -> bool {
        self.lock().get(service).is_some_and(|next| now < *next)
    }

    fn begin(&self, service: &str, next: Duration, reason: &str) {
        if self.lock().insert(service.to_owned(), next).is_none() {
            tracing::warn!(service, reason, "the key service is out of reach; data keys at hand serve meanwhile");
        }
    }

    fn end(&self, service: &str) {
        if self.lock().remove(service).is_some() {
            tracing::info!(service, "the key service answers again");
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Duration>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
