//! What credentials have done so far, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};

/// A counter for the path that takes nanoseconds: threads count in cells of their own, for a cell that two cores write
/// to costs more than all else on that path.
#[derive(Default)]
pub(crate) struct Striped([Cell; 16]);

/// 128 bytes: two cache lines, which some processors fetch together.
#[derive(Default)]
#[repr(align(128))]
struct Cell(AtomicU64);

thread_local! {
    static STRIPE: usize = {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed) as usize % 16
    };
}

impl Striped {
    pub(crate) fn add(&self) {
        STRIPE.with(|stripe| self.0[*stripe].0.fetch_add(1, Ordering::Relaxed));
    }

    fn sum(&self) -> u64 {
        self.0.iter().map(|cell| cell.0.load(Ordering::Relaxed)).sum()
    }
}

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) token_requests: AtomicU64,
    pub(crate) refreshes: AtomicU64,
    pub(crate) adopted: AtomicU64,
    pub(crate) refusals: AtomicU64,
    pub(crate) hits: Striped,
    pub(crate) misses: AtomicU64,
    pub(crate) waits: AtomicU64,
    pub(crate) uncertain: AtomicU64,
}

/// What these credentials have done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Stats {
    /// Requests to the token endpoint.
    pub token_requests: u64,
    /// Tokens that the org gave.
    pub refreshes: u64,
    /// Tokens that came from the token store: another process had them.
    pub adopted: u64,
    /// Tokens that the org refused while we held them.
    pub refusals: u64,
    /// Answers from memory.
    pub hits: u64,
    /// Askers that caused a look at the store or a request.
    pub misses: u64,
    /// Askers that waited for another one's.
    pub waits: u64,
    /// Refreshes whose answer was lost.
    pub uncertain: u64,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            token_requests: read(&self.token_requests),
            refreshes: read(&self.refreshes),
            adopted: read(&self.adopted),
            refusals: read(&self.refusals),
            hits: self.hits.sum(),
            misses: read(&self.misses),
            waits: read(&self.waits),
            uncertain: read(&self.uncertain),
        }
    }
}
