//! Time, and how a measurement is written.

use std::time::{Duration, Instant};

use serde_json::json;

/// Wall time and this process's CPU time from one moment to another.
pub(crate) struct Span {
    wall: Instant,
    cpu: Duration,
}

impl Span {
    pub(crate) fn begin() -> Self {
        Self { wall: Instant::now(), cpu: cpu() }
    }

    pub(crate) fn end(&self) -> (Duration, Duration) {
        (self.wall.elapsed(), cpu().saturating_sub(self.cpu))
    }
}

/// CPU time of this process, from `/proc/self/stat`: hundredths of a second, so a span should last for some.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Fields are counted after the program's name, which is in parentheses and may hold anything.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

/// CPU time of this thread, in nanoseconds.
pub(crate) fn thread_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(stat.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0))
}

pub(crate) fn print(case: &str, who: &str, unit: &str, value: f64) {
    println!("{}", json!({"case": case, "who": who, "unit": unit, "value": value}));
}
