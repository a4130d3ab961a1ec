//! The org's API budget, as each answer tells it, and the reserve that is not touched.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use reqwest::header::{DATE, HeaderMap};

use crate::error::ClientError;

/// Calls used and allowed within 24 hours, from `Sforce-Limit-Info: api-usage=18/5000`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct ApiUsage {
    /// Calls made by everybody in the org.
    pub used: u64,
    /// Calls allowed.
    pub allowed: u64,
}

/// Calls of the org's 24-hour budget that are left to others.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Reserve {
    /// None: calls are made until the org refuses them.
    #[default]
    None,
    /// So many.
    Calls(u64),
    /// So many per cent of what the org is allowed.
    Percent(f64),
}

impl Reserve {
    fn of(self, allowed: u64) -> u64 {
        match self {
            Reserve::None => 0,
            Reserve::Calls(calls) => calls,
            Reserve::Percent(percent) => (allowed as f64 * percent.clamp(0.0, 100.0) / 100.0).ceil() as u64,
        }
    }
}

impl std::str::FromStr for Reserve {
    type Err = &'static str;

    /// A number of calls, or per cent such as `20%`; nothing is none.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let read = match text.strip_suffix('%') {
            None if text.is_empty() => Some(Reserve::None),
            None => text.parse().ok().map(Reserve::Calls),
            Some(percent) => {
                percent.trim().parse().ok().filter(|percent| (0.0..=100.0).contains(percent)).map(Reserve::Percent)
            }
        };
        read.ok_or("give a number of calls, or per cent such as 20%")
    }
}

/// What the org has left, and what is on its way.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    reserve: Reserve,
    usage: Mutex<Told>,
    /// How often it was told.
    told: AtomicU64,
    under_way: AtomicU64,
    /// While nothing is known, one goes and the others wait for what it is told.
    first: tokio::sync::Mutex<()>,
}

/// What the org told last, and as the how-manieth.
#[derive(Debug, Default)]
struct Told {
    usage: Option<ApiUsage>,
    nth: u64,
    at: Option<Instant>,
}

/// A call that was allowed; it is under way until this is dropped.
pub(crate) struct Counted<'a> {
    budget: &'a Budget,
    /// How often it was told when this call began.
    began: u64,
    answered: bool,
    /// Held by the one who goes to see what is left.
    _first: Option<tokio::sync::MutexGuard<'a, ()>>,
}

impl Budget {
    pub(crate) fn new(reserve: Reserve) -> Self {
        Self { reserve, ..Self::default() }
    }

    pub(crate) fn usage(&self) -> Option<ApiUsage> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner).usage
    }

    pub(crate) fn age(&self) -> Option<Duration> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner).at.map(|at| at.elapsed())
    }

    /// Allows a call, or refuses it because the reserve begins here. Calls under way count as made: the last figure may
    /// or may not have them in it.
    pub(crate) async fn take(&self, org: &str, what: &str) -> Result<Counted<'_>, ClientError> {
        if self.reserve == Reserve::None {
            return Ok(self.counted().0);
        }
        let mut first = None;
        if self.usage().is_none() {
            first = Some(self.first.lock().await);
        }
        let (mut counted, under_way) = self.counted();
        let Some(usage) = self.usage() else {
            counted._first = first;
            return Ok(counted);
        };
        let reserve = self.reserve.of(usage.allowed);
        if usage.used + under_way + 1 > usage.allowed.saturating_sub(reserve) {
            counted.not_sent();
            let (org, what) = (org.to_owned(), what.to_owned());
            return Err(ClientError::Reserve { org, what, used: usage.used, allowed: usage.allowed, reserve });
        }
        Ok(counted)
    }

    /// Counts a call, and answers how many were under way before it.
    fn counted(&self) -> (Counted<'_>, u64) {
        let under_way = self.under_way.fetch_add(1, Ordering::AcqRel);
        (Counted { budget: self, began: self.told.load(Ordering::Acquire), answered: false, _first: None }, under_way)
    }

    /// What the org says counts, even if it is less than before: the window of 24 hours slides. But not if it comes from a
    /// call that was under way when more was told: answers overtake each other.
    fn learn(&self, headers: &HeaderMap, began: u64) {
        let Some(usage) = usage(headers) else { return };
        let mut told = self.usage.lock().unwrap_or_else(PoisonError::into_inner);
        if told.usage.is_none_or(|known| usage.used >= known.used || began >= told.nth) {
            *told = Told {
                usage: Some(usage),
                nth: self.told.fetch_add(1, Ordering::AcqRel) + 1,
                at: Some(Instant::now()),
            };
        }
    }

    /// Forgets the figure: the next call tells it anew.
    pub(crate) fn forget(&self) {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner).usage = None;
    }
}

impl Counted<'_> {
    /// The org knows nothing of it.
    pub(crate) fn not_sent(mut self) {
        self.answered = true;
    }

    pub(crate) fn answered(mut self, headers: &HeaderMap) {
        self.answered = true;
        self.budget.learn(headers, self.began);
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        if !self.answered
            && let Some(usage) = &mut self.budget.usage.lock().unwrap_or_else(PoisonError::into_inner).usage
        {
            // The org may have counted it, though its answer never came.
            usage.used += 1;
        }
        self.budget.under_way.fetch_sub(1, Ordering::AcqRel);
    }
}

fn usage(headers: &HeaderMap) -> Option<ApiUsage> {
    let value = headers.get("sforce-limit-info")?.to_str().ok()?;
    // With limits per app the header goes on: `api-usage=25/5000; per-app-api-usage=17/250(appName=x)`.
    let (used, allowed) = value.split(';').find_map(|part| part.trim().strip_prefix("api-usage="))?.split_once('/')?;
    Some(ApiUsage { used: used.trim().parse().ok()?, allowed: allowed.trim().parse().ok()? })
}

/// See [`Reply::server_time`](crate::Reply::server_time).
pub(crate) fn server_time(headers: &HeaderMap, sent: Instant) -> Option<Timestamp> {
    let date = headers.get(DATE)?.to_str().ok()?;
    let date = jiff::fmt::rfc2822::parse(date).ok()?.timestamp();
    Some(date - SignedDuration::try_from(sent.elapsed()).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(value: &str) -> HeaderMap {
        HeaderMap::from_iter([("sforce-limit-info".parse().unwrap(), value.parse().unwrap())])
    }

    #[test]
    fn the_header_is_read_with_and_without_app_limits() {
        for value in ["api-usage=25/5000", "api-usage=25/5000; per-app-api-usage=17/250(appName=sample-connected-app)"]
        {
            assert_eq!(usage(&told(value)), Some(ApiUsage { used: 25, allowed: 5000 }), "{value}");
        }
        assert_eq!(usage(&HeaderMap::new()), None);
    }

    #[tokio::test]
    async fn calls_under_way_count_against_the_reserve() {
        let budget = Budget::new(Reserve::Percent(10.0));
        // Nothing is known yet: somebody must go and see.
        budget.take("acme", "GET /").await.unwrap().answered(&told("api-usage=87/100"));
        let first = budget.take("acme", "GET /").await.unwrap();
        let second = budget.take("acme", "GET /").await.unwrap();
        let third = budget.take("acme", "GET /").await.unwrap();
        let refused = budget.take("acme", "GET /").await.err().unwrap();
        assert!(matches!(refused, ClientError::Reserve { used: 87, allowed: 100, reserve: 10, .. }), "{refused}");
        first.not_sent();
        second.answered(&told("api-usage=88/100"));
        // A call without an answer may have been counted.
        drop(third);
        assert_eq!(budget.usage(), Some(ApiUsage { used: 89, allowed: 100 }));
        budget.take("acme", "GET /").await.unwrap().answered(&told("api-usage=90/100"));
        assert!(budget.take("acme", "GET /").await.is_err());
        // An answer that was overtaken does not take back what a later one told.
        let budget = Budget::new(Reserve::Calls(10));
        budget.take("acme", "GET /").await.unwrap().answered(&told("api-usage=50/100"));
        let (slow, fast) = (budget.take("acme", "GET /").await.unwrap(), budget.take("acme", "GET /").await.unwrap());
        fast.answered(&told("api-usage=90/100"));
        slow.answered(&told("api-usage=51/100"));
        assert!(budget.take("acme", "GET /").await.is_err());
        // The window slides; whoever waited asks anew.
        budget.forget();
        budget.take("acme", "GET /").await.unwrap().answered(&told("api-usage=3/100"));
        assert!(budget.take("acme", "GET /").await.is_ok());
    }
}
