//! Figures by day, counted again no more often than is worth it.
//!
//! A page that shows them is fetched anew at each change, up to four times a second, and they cost the database a look at each
//! run of those days. So they are kept for fifty times as long as counting took: at once where there is little, and never
//! more than a fiftieth of a reader's time where there is much.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tieline_store::{DayUsage, StoreError, Tenant, Uuid};

use crate::service::Service;

/// For how many times as long as they took to count.
const HOLDS: u32 = 50;
/// The longest.
const LONGEST: Duration = Duration::from_secs(60);

/// Whose, of which integration, how many days.
type Key = (Uuid, Option<Uuid>, u32);

/// Until when it holds, by the monotonic clock, and what was counted.
type Counted = (Duration, Arc<[DayUsage]>);

/// What was counted lately.
#[derive(Debug, Default)]
pub(crate) struct Figures(Mutex<HashMap<Key, Counted>>);

impl Figures {
    fn find(&self, key: &Key, now: Duration) -> Option<Arc<[DayUsage]>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(key).filter(|(until, _)| now < *until).map(|(_, usage)| usage.clone())
    }

    fn keep(&self, key: Key, usage: &Arc<[DayUsage]>, now: Duration, took: Duration) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, (until, _)| now < *until);
        kept.insert(key, (now + took.saturating_mul(HOLDS).min(LONGEST), usage.clone()));
    }
}

impl Service {
    /// The last days of an integration of a business, or of all of them, oldest first.
    pub(crate) async fn usage(
        &self,
        tenant: &Tenant,
        integration: Option<Uuid>,
        days: u32,
    ) -> Result<Arc<[DayUsage]>, StoreError> {
        let (key, began) = ((tenant.business(), integration, days), self.clock().monotonic());
        if let Some(usage) = self.figures().find(&key, began) {
            return Ok(usage);
        }
        let usage: Arc<[DayUsage]> = tenant.usage(integration, days, self.now()).await?.into();
        let now = self.clock().monotonic();
        self.figures().keep(key, &usage, now, now.saturating_sub(began));
        Ok(usage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_took_long_to_count_holds_longer() {
        let (figures, seconds) = (Figures::default(), Duration::from_secs);
        let (key, other) = ((Uuid::nil(), None, 7), (Uuid::max(), None, 7));
        figures.keep(key, &Arc::default(), seconds(100), Duration::from_millis(100));
        assert!(figures.find(&key, seconds(104)).is_some() && figures.find(&key, seconds(105)).is_none());
        assert!(figures.find(&other, seconds(100)).is_none(), "another business's");
        figures.keep(key, &Arc::default(), seconds(200), seconds(10));
        assert!(figures.find(&key, seconds(259)).is_some() && figures.find(&key, seconds(260)).is_none());
        // Nothing that holds no more is kept.
        figures.keep(other, &Arc::default(), seconds(300), seconds(1));
        assert_eq!(figures.0.lock().unwrap().len(), 1);
    }
}
