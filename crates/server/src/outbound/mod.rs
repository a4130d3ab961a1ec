//! How alerts leave: a signed webhook, a Slack-shaped webhook, a mail. Delivery only, one attempt at a time; what is sent,
//! where it is kept and when it is tried again is decided elsewhere (`alerts`).
//!
//! URLs come from tenants, so each is checked before a byte is sent, by what it says and by the addresses that its name
//! leads to. Reading order: [`address`] (where something may be sent), [`sender`] (the one place that connects),
//! [`webhook`], [`slack`], [`email`]; [`settings`] (what the operator says of it).

use std::borrow::Cow;
use std::time::Duration;

pub mod address;
pub mod email;
pub mod retry;
pub mod sender;
pub mod settings;
pub mod signature;
pub mod slack;
mod special;
pub mod webhook;

/// How one attempt ended. The reasons are for people: they name the host, and neither the path nor the query of a URL,
/// which may be secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The other side took it.
    Delivered {
        /// The HTTP status (200-299), or the code of the SMTP reply (250).
        status: u16,
    },
    /// It may be taken later.
    Retry {
        /// The other side asked to be left alone for so long, at most [`retry::LONGEST_WAIT`]. The schedule of
        /// [`retry::next_attempt`] still holds where it waits longer.
        after: Option<Duration>,
        /// What happened.
        reason: String,
    },
    /// The same attempt can never succeed: nothing is to be sent again until somebody has changed something.
    Failed {
        /// What happened.
        reason: String,
    },
    /// The other side wants nothing any more (410): the destination is to be switched off.
    Disable {
        /// What it said.
        reason: String,
    },
}

/// As much of a foreign text as a reason may quote, in characters.
const QUOTED: usize = 200;

/// A foreign text as part of a reason: one line, cut, without control characters and credentials.
fn quoted(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let masked = tieline_auth::redact::mask(line.trim());
    match masked.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{}…", &masked[..end]),
        None => Cow::into_owned(masked),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_one_masked_line() {
        assert_eq!(quoted("\r\nno_service\r\nX: y\u{1b}[31m\n"), "no_service  X: y [31m");
        assert_eq!(quoted("password=hunter2 wrong"), "password=[secret] wrong");
        assert_eq!(quoted(&"ü".repeat(500)).chars().count(), QUOTED + 1);
    }
}
