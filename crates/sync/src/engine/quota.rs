//! How much of the org's API calls a run may make.

use super::work::Work;
use crate::error::SyncError;

/// A part of the org's API calls of a day, in per cent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    /// What one run may make of them.
    pub run: f64,
    /// Where all runs stop, because the rest is others': by what everybody in the org has used.
    pub total: f64,
}

impl Default for Share {
    /// A quarter for a run, and a fifth left to others: what careful connectors use.
    fn default() -> Self {
        Self { run: 25.0, total: 80.0 }
    }
}

impl Work<'_> {
    /// Stops the run before its next calls, if they are not ours any more.
    pub(super) fn check_share(&self) -> Result<(), SyncError> {
        let connection = &self.engine.connection;
        let Some(usage) = connection.api_usage() else { return Ok(()) };
        let part = |percent: f64| (usage.allowed as f64 * percent / 100.0) as u64;
        let (ours, share) = (connection.api_calls() - self.calls_at_start, self.engine.care.share);
        if ours > part(share.run).max(1) || usage.used > part(share.total) {
            let (org, used, allowed) = (connection.org().to_owned(), usage.used, usage.allowed);
            return Err(SyncError::Share { org, ours, used, allowed });
        }
        Ok(())
    }
}
