//! The org's clock: the machine's, moved by an offset, or standing still.

use jiff::{SignedDuration, Timestamp};

#[derive(Debug, Clone, Copy)]
pub(crate) enum Clock {
    Running { ahead: SignedDuration },
    Frozen(Timestamp),
}

impl Default for Clock {
    fn default() -> Self {
        Clock::Running { ahead: SignedDuration::ZERO }
    }
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "the one place where the org reads the machine's clock")]
    pub(crate) fn now(&self) -> Timestamp {
        match self {
            Clock::Running { ahead } => Timestamp::now() + *ahead,
            Clock::Frozen(at) => *at,
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the one place where the org reads the machine's clock")]
    pub(crate) fn set(&mut self, at: Timestamp, frozen: bool) {
        *self = if frozen { Clock::Frozen(at) } else { Clock::Running { ahead: at.duration_since(Timestamp::now()) } };
    }

    pub(crate) fn advance(&mut self, by: SignedDuration) {
        match self {
            Clock::Running { ahead } => *ahead += by,
            Clock::Frozen(at) => *at += by,
        }
    }
}

/// `2024-01-02T03:04:05.000+0000`: how the REST API writes a datetime. Text of this form sorts by time,
/// which is why the database keeps it.
pub(crate) fn datetime(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.000+0000").to_string()
}

/// The `Date` header (RFC 9110 IMF-fixdate).
pub(crate) fn http_date(at: Timestamp) -> String {
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
