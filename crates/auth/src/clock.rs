//! What time it is, as a parameter.
//!
//! A token ends when the wall clock *or* the monotonic clock says so: the first stands still or jumps when
//! somebody sets it, the second may lose the time that a frozen process slept.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

/// A source of time.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The wall clock.
    fn now(&self) -> Timestamp;
    /// Time since some fixed moment; never goes back.
    fn monotonic(&self) -> Duration;
    /// Both at a glance: up to a few milliseconds late, and cheap enough to be asked before every call.
    fn glance(&self) -> (Timestamp, Duration) {
        (self.now(), self.monotonic())
    }
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
    /// The coarse monotonic clock at the same moment.
    #[cfg(target_os = "linux")]
    coarse_start: Duration,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self {
            #[cfg(target_os = "linux")]
            coarse_start: coarse(rustix::time::ClockId::MonotonicCoarse).1,
            start: Instant::now(),
        }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else is given")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    /// The kernel's coarse clocks: five nanoseconds each instead of thirty.
    #[cfg(target_os = "linux")]
    fn glance(&self) -> (Timestamp, Duration) {
        use rustix::time::ClockId;
        let (seconds, time) = coarse(ClockId::RealtimeCoarse);
        let wall = Timestamp::new(seconds, time.subsec_nanos().cast_signed()).unwrap_or_else(|_| self.now());
        (wall, coarse(ClockId::MonotonicCoarse).1.saturating_sub(self.coarse_start))
    }
}

/// A clock of the kernel's: its seconds, and all of it as a duration where it is not before its epoch.
#[cfg(target_os = "linux")]
fn coarse(clock: rustix::time::ClockId) -> (i64, Duration) {
    let time = rustix::time::clock_gettime(clock);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    (time.tv_sec, Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), nanos))
}

/// A clock for tests: it moves only when told to.
///
/// ```
/// use tieline_auth::{Clock, ManualClock};
/// let clock = ManualClock::at("2026-01-01T00:00:00Z".parse().unwrap());
/// clock.advance(std::time::Duration::from_secs(60));
/// assert_eq!(clock.now().to_string(), "2026-01-01T00:01:00Z");
/// ```
#[derive(Debug)]
pub struct ManualClock(Mutex<(Timestamp, Duration)>);

impl ManualClock {
    /// A clock that stands at this moment.
    pub fn at(now: Timestamp) -> Self {
        Self(Mutex::new((now, Duration::ZERO)))
    }

    /// Time passes.
    pub fn advance(&self, by: Duration) {
        let mut time = self.lock();
        time.0 += SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
        time.1 += by;
    }

    /// Somebody sets the wall clock; the monotonic one does not notice.
    pub fn set_wall(&self, now: Timestamp) {
        self.lock().0 = now;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (Timestamp, Duration)> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.lock().0
    }

    fn monotonic(&self) -> Duration {
        self.lock().1
    }
}
