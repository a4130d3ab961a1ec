//! What can be told of, in words: the kinds of conditions, their thresholds, and quiet times.

use jiff::SignedDuration;

use super::super::words::Span;
use crate::alerts::KindName;
use crate::alerts::rules::RuleView;

/// Quiet times to choose from: five minutes to a week.
pub(super) const QUIET: [i64; 8] = [300, 900, 3_600, 21_600, 43_200, 86_400, 259_200, 604_800];

/// A threshold that a kind has.
pub(super) struct Threshold {
    pub(super) words: &'static str,
    pub(super) usual: u32,
    pub(super) most: u32,
}

/// What a kind of condition is called.
pub(super) struct Kind {
    pub(super) kind: KindName,
    pub(super) name: &'static str,
    pub(super) words: &'static str,
    pub(super) about: &'static str,
    pub(super) threshold: Option<Threshold>,
}

pub(super) static KINDS: [Kind; 6] = [
    Kind {
        kind: KindName::AuthFailure,
        name: "auth_failure",
        words: "Somebody must log in",
        about: "the org refuses the connection until somebody logs in or changes its settings",
        threshold: None,
    },
    Kind {
        kind: KindName::SyncFailure,
        name: "sync_failure",
        words: "Syncs fail",
        about: "runs of the contacts or of a mapping fail, one after the other",
        threshold: Some(Threshold { words: "Failed runs in a row, from", usual: 1, most: 1_000 }),
    },
    Kind {
        kind: KindName::ApiBudget,
        name: "api_budget",
        words: "API calls run out",
        about: "most of the org's API calls of 24 hours are used, by any program",
        threshold: Some(Threshold { words: "Share of the calls used, from (%)", usual: 80, most: 100 }),
    },
    Kind {
        kind: KindName::CertificateExpiry,
        name: "certificate_expiry",
        words: "A certificate ends",
        about: "the certificate of the app's key ends soon; told again at 7 days, at 1, and at the end",
        threshold: Some(Threshold { words: "How many days before", usual: 30, most: 365 }),
    },
    Kind {
        kind: KindName::WebhookFailure,
        name: "webhook_failure",
        words: "A webhook was switched off",
        about: "a receiver of changed records takes nothing any more",
        threshold: None,
    },
    Kind {
        kind: KindName::SyncHeld,
        name: "sync_held",
        words: "A mapping waits for a decision",
        about: "much of its table is not to be found in the org, and somebody is to say what is right",
        threshold: None,
    },
];

impl Kind {
    pub(super) fn of(name: &str) -> Option<&'static Kind> {
        KINDS.iter().find(|kind| kind.name == name)
    }

    /// The threshold of a rule of this kind.
    pub(super) fn number(&self, rule: &RuleView) -> Option<u32> {
        match self.kind {
            KindName::SyncFailure => rule.failures,
            KindName::ApiBudget => rule.percent,
            KindName::CertificateExpiry => rule.days,
            _ => None,
        }
    }
}

/// From when on a rule tells.
pub(super) fn from_when(kind: &Kind, number: Option<u32>) -> String {
    let Some(threshold) = &kind.threshold else { return "at once".to_owned() };
    let number = number.unwrap_or(threshold.usual);
    match kind.kind {
        KindName::ApiBudget => format!("from {number} % on"),
        KindName::CertificateExpiry => format!("{number} days before"),
        _ if number == 1 => "with the first failure".to_owned(),
        _ => format!("after {number} failures"),
    }
}

/// A quiet time in words.
pub(super) fn quiet_words(seconds: i64) -> String {
    match seconds {
        86_400 => "1 day".to_owned(),
        604_800 => "1 week".to_owned(),
        _ => Span(SignedDuration::from_secs(seconds)).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_told_in_words() {
        let words = |name: &str, number| from_when(Kind::of(name).unwrap(), number);
        assert_eq!(words("sync_failure", Some(3)), "after 3 failures");
        assert_eq!(words("sync_failure", None), "with the first failure");
        assert_eq!(words("api_budget", None), "from 80 % on");
        assert_eq!(words("auth_failure", None), "at once");
        let quiet: Vec<String> = QUIET.into_iter().map(quiet_words).collect();
        assert_eq!(quiet, ["5 min", "15 min", "1 h", "6 h", "12 h", "1 day", "3 days", "1 week"]);
    }

    #[test]
    fn each_kind_of_the_store_has_words() {
        for kind in &KINDS {
            assert_eq!(tieline_store::alerts::AlertKind::from(kind.kind).name(), kind.name);
        }
    }
}
