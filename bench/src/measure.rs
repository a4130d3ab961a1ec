//! Time and memory, and how a measurement is written.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

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

    /// Prints what `n` records or calls took since then: CPU time for each, wall time for all, and the most memory.
    pub(crate) fn told(&self, case: &str, who: &str, n: u64) {
        let (wall, cpu) = self.end();
        print(case, who, "cpu_us", cpu.as_secs_f64() * 1e6 / n as f64);
        print(case, who, "wall_s", wall.as_secs_f64());
        print(case, who, "peak_mb", peak());
    }
}

/// CPU time of this process, all its threads together.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// CPU time of this thread, in nanoseconds.
pub(crate) fn thread_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(stat.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0))
}

/// Most memory that this process has had, in MB.
pub(crate) fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1024.0
}

pub(crate) fn print(case: &str, who: &str, unit: &str, value: f64) {
    line(&json!({"case": case, "who": who, "unit": unit, "value": value}));
}

#[expect(clippy::print_stdout, reason = "measurements go to standard output")]
pub(crate) fn line(value: &Value) {
    println!("{value}");
}
