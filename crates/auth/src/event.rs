//! What happens to tokens, as it happens: a stream for programs, tracing events for logs, counters for metrics.
//!
//! Metrics go through the `metrics` facade: `tieline_token_events_total`, by `event`. The org is not a label: a
//! service with thousands of orgs would make thousands of series.

use jiff::Timestamp;
use tokio::sync::broadcast;

/// Events that a slow listener may lag behind before it misses some.
const BACKLOG: usize = 256;

/// Something happened to an org's token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The org's alias.
    pub org: String,
    /// When, by our clock.
    pub at: Timestamp,
    /// What.
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// The first token of these credentials in this process came from the org.
    Issued,
    /// A later one came from the org.
    Refreshed,
    /// Another process had it: it came from the token store.
    Adopted,
    /// The org replaced the refresh token; the new one is stored.
    Rotated,
    /// The org refused the access token that we held.
    Refused,
    /// The org refused to issue a token, for a reason that does not pass by itself. Told once, however often it is
    /// tried again.
    Failed {
        /// OAuth error code, or a word of ours.
        error: String,
    },
    /// The answer to a refresh was lost: nobody knows whether the refresh token is spent.
    Uncertain,
    /// The grant was revoked by us.
    Revoked,
    /// A connection left the cache.
    Evicted,
}

impl EventKind {
    /// One word for it, as metrics and logs use it.
    pub fn name(&self) -> &'static str {
        match self {
            EventKind::Issued => "issued",
            EventKind::Refreshed => "refreshed",
            EventKind::Adopted => "adopted",
            EventKind::Rotated => "rotated",
            EventKind::Refused => "refused",
            EventKind::Failed { .. } => "failed",
            EventKind::Uncertain => "uncertain",
            EventKind::Revoked => "revoked",
            EventKind::Evicted => "evicted",
        }
    }
}

/// Where events go. Clones are the same bus.
#[derive(Debug, Clone)]
pub struct Events(broadcast::Sender<Event>);

impl Default for Events {
    fn default() -> Self {
        Self(broadcast::channel(BACKLOG).0)
    }
}

impl Events {
    /// Everything from now on. A listener that lags behind 256 events is told how many it has missed.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.0.subscribe()
    }

    /// Tells it to all who listen, to the log and to the metrics.
    pub fn emit(&self, org: &str, at: Timestamp, kind: EventKind) {
        metrics::counter!("tieline_token_events_total", "event" => kind.name()).increment(1);
        match &kind {
            EventKind::Failed { error } => tracing::warn!(org, error, "the org issues no token"),
            EventKind::Uncertain => tracing::warn!(org, "the answer to a token refresh was lost"),
            EventKind::Rotated => tracing::info!(org, "refresh token rotated"),
            kind => tracing::info!(org, event = kind.name(), "token"),
        }
        // Nobody listening is no failure.
        let _ = self.0.send(Event { org: org.to_owned(), at, kind });
    }
}
