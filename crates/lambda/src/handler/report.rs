//! A function's metrics: what the extension tells of tokens, and the calls that the orgs have left.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tieline_auth::Clock;
use tieline_auth::aws::Variable;
use tieline_client::Connection;

use super::HandlerError;
use crate::counters::Counters;
use crate::metrics::{ApiCalls, Metrics};
use crate::orgs::Orgs;

pub(super) struct Report {
    counters: Counters,
    metrics: Mutex<Metrics>,
}

impl Report {
    pub(super) fn new(variable: &Variable, clock: Arc<dyn Clock>) -> Self {
        Self { counters: Counters::default(), metrics: Mutex::new(Metrics::new(variable, clock)) }
    }

    pub(super) fn served(&self, from_cache: bool, wait: Duration) {
        self.counters.served(from_cache, wait);
    }

    pub(super) fn refused(&self, error: &HandlerError) {
        self.counters.refused(error.code());
    }

    /// Writes a line if it is time for one. Standard output is the function's log.
    pub(super) fn tell(&self, orgs: &Orgs, connections: &[Connection]) {
        let usage = connections.iter().filter_map(Connection::api_usage);
        let api_calls = usage
            .map(|usage| ApiCalls { left: usage.allowed.saturating_sub(usage.used), allowed: usage.allowed })
            .min_by(|a, b| (a.left * b.allowed.max(1)).cmp(&(b.left * a.allowed.max(1))));
        let mut metrics = self.metrics.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = metrics.line(&self.counters, orgs, api_calls, false) {
            // A log that is gone is no reason to fail an invocation.
            let _ = writeln!(std::io::stdout(), "{line}");
        }
    }
}
