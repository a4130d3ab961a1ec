//! Alerts: what is wrong with an integration, who is told of it, and what of that is still to be sent.
//!
//! A condition that is found to hold is one open [`Notification`], however often and by however many it is found: the
//! database keeps to that by an index. Channels are told when it opens and when it ends, and again after the rule's quiet
//! time while it stays and nobody has acknowledged it. What is to be sent is written down in the transaction that changes
//! the notification; whichever node claims it sends it.
//!
//! Reading order: [`RuleSettings`] (when a condition holds), `raise` (what becomes of it), `tell` (who is told),
//! [`Failure`] (where conditions come from), `failing` (what of an integration fails, and what is held); [`Notification`], [`AlertChannel`],
//! [`AlertRule`], [`AlertDelivery`].

mod channels;
mod conditions;
mod deliveries;
mod failing;
mod notifications;
mod raise;
mod rules;
mod steps;
mod tell;

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

pub use channels::{AlertChannel, ChannelKind, NewChannel};
pub use conditions::{ApiCalls, Failure};
pub use deliveries::{AlertDelivery, Attempt, ClaimedDelivery};
pub(crate) use failing::told;
pub use notifications::{Acknowledgement, Notification, NotificationFilter, NotificationState};
pub(crate) use raise::Changes;
pub use rules::{AlertRule, NewRule, RuleChange, SavedRule};
pub use steps::RuleSettings;
pub use tell::MESSAGES_PER_HOUR;

/// How long a channel that was told of a condition is told nothing more of it, in seconds, where no rule says otherwise.
pub const QUIET_SECONDS: u32 = 6 * 60 * 60;

/// What kind of condition. The names never change; new ones may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum AlertKind {
    /// Somebody must log in to the org, or change its settings.
    AuthFailure,
    /// Sync runs fail.
    SyncFailure,
    /// The org's API calls of 24 hours are nearly used up.
    ApiBudget,
    /// The certificate of the app's key ends soon.
    CertificateExpiry,
    /// A webhook of changed records was switched off, for its receiver takes nothing.
    WebhookFailure,
    /// A mapping is paused until somebody decides: much of its table is not to be found in the org.
    SyncHeld,
}

impl AlertKind {
    /// All of them.
    pub const ALL: [AlertKind; 6] = [
        AlertKind::AuthFailure,
        AlertKind::SyncFailure,
        AlertKind::ApiBudget,
        AlertKind::CertificateExpiry,
        AlertKind::WebhookFailure,
        AlertKind::SyncHeld,
    ];

    /// Its name in the database and in the API.
    pub fn name(self) -> &'static str {
        match self {
            AlertKind::AuthFailure => "auth_failure",
            AlertKind::SyncFailure => "sync_failure",
            AlertKind::ApiBudget => "api_budget",
            AlertKind::CertificateExpiry => "certificate_expiry",
            AlertKind::WebhookFailure => "webhook_failure",
            AlertKind::SyncHeld => "sync_held",
        }
    }

    /// From its name.
    pub fn from_name(name: &str) -> Option<Self> {
        AlertKind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// How much a condition matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// It may become an error.
    Warning,
    /// Something does not work, or will not in a few days.
    Error,
}

impl Severity {
    /// Its name in the database and in the API.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

/// What this process has changed since it started, and a bell for whoever sends: it rings once something is to be sent.
#[derive(Debug, Default)]
pub struct AlertSignals {
    bell: Notify,
    raised: [AtomicU64; AlertKind::ALL.len()],
    resolved: [AtomicU64; AlertKind::ALL.len()],
}

impl AlertSignals {
    /// Resolves when something is to be sent; at once, if that was so since the last time.
    pub async fn rung(&self) {
        self.bell.notified().await;
    }

    /// Rings it.
    pub fn ring(&self) {
        self.bell.notify_one();
    }

    /// How many notifications were raised and resolved, by kind.
    pub fn counts(&self) -> impl Iterator<Item = (AlertKind, u64, u64)> {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        AlertKind::ALL.into_iter().map(move |kind| {
            let at = kind as usize;
            (kind, read(&self.raised[at]), read(&self.resolved[at]))
        })
    }

    /// Notes what a transaction has changed, once that is committed.
    pub(crate) fn note(&self, changes: &Changes) {
        for kind in &changes.opened {
            self.raised[*kind as usize].fetch_add(1, Ordering::Relaxed);
        }
        for kind in &changes.resolved {
            self.resolved[*kind as usize].fetch_add(1, Ordering::Relaxed);
        }
        if changes.queued > 0 {
            self.ring();
        }
    }
}
