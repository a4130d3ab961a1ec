//! When a condition holds: what a rule makes of a measure.

use serde::{Deserialize, Serialize};

use super::AlertKind;

/// Per cent of the org's calls.
const PERCENT: u32 = 80;
/// Days before a certificate's end at which it is told first; then come the nearer ones.
const DAYS: u32 = 30;
/// Told again at these. `0`: it is over.
const NEARER_DAYS: [i64; 3] = [7, 1, 0];
/// Runs that failed one after the other.
const FAILURES: u32 = 1;

/// What a rule says beyond its kind. What is left out is as usual; what does not belong to the kind is not looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleSettings {
    /// Of `api_budget`: per cent of the org's calls of 24 hours that are used; 80.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<u32>,
    /// Of `certificate_expiry`: days before the end at which it is told first; 30. It is told again at 7 and 1, and when it
    /// is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub days: Option<u32>,
    /// Of `sync_failure`: runs that failed one after the other; 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failures: Option<u32>,
}

/// A step of a condition that has several: each is a notification of its own. `None`, where there is but one.
pub(super) type Step = Option<i64>;

/// What a measure has reached.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reached {
    /// The step that is told now.
    pub(super) now: Step,
    /// All that hold, this one among them.
    pub(super) all: Vec<Step>,
}

impl RuleSettings {
    /// What a measure has reached, by this rule: failures, per cent, or days that are left. None: nothing.
    pub(super) fn reached(self, kind: AlertKind, measure: i64) -> Option<Reached> {
        let from = |threshold: u32| {
            let step = Some(i64::from(threshold));
            (Some(measure) >= step).then(|| Reached { now: step, all: vec![step] })
        };
        match kind {
            AlertKind::AuthFailure | AlertKind::WebhookFailure | AlertKind::SyncHeld => {
                Some(Reached { now: None, all: vec![None] })
            }
            AlertKind::SyncFailure => from(self.failures.unwrap_or(FAILURES)),
            AlertKind::ApiBudget => from(self.percent.unwrap_or(PERCENT)),
            AlertKind::CertificateExpiry => {
                let first = i64::from(self.days.unwrap_or(DAYS));
                let nearer = NEARER_DAYS.into_iter().filter(|days| *days < first);
                let all: Vec<Step> =
                    [first].into_iter().chain(nearer).filter(|days| measure <= *days).map(Some).collect();
                all.last().copied().map(|now| Reached { now, all })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_told_at_thirty_seven_and_one_and_when_it_is_over() {
        let usual = RuleSettings::default();
        for (left, now, all) in [
            (31, None, vec![]),
            (30, Some(30), vec![30]),
            (8, Some(30), vec![30]),
            (7, Some(7), vec![30, 7]),
            (1, Some(1), vec![30, 7, 1]),
            (-40, Some(0), vec![30, 7, 1, 0]),
        ] {
            let reached = usual.reached(AlertKind::CertificateExpiry, left);
            let expected = now.map(|_| Reached { now, all: all.into_iter().map(Some).collect() });
            assert_eq!(reached, expected, "{left} days");
        }
        let early = RuleSettings { days: Some(5), ..usual };
        assert_eq!(early.reached(AlertKind::CertificateExpiry, 5).unwrap().now, Some(5));
        assert_eq!(early.reached(AlertKind::CertificateExpiry, 7), None, "nothing before what the rule says");
    }

    #[test]
    fn other_kinds_have_one_step() {
        let usual = RuleSettings::default();
        assert_eq!(usual.reached(AlertKind::AuthFailure, 0).unwrap().now, None);
        assert_eq!(usual.reached(AlertKind::SyncFailure, 1).unwrap().now, Some(1));
        assert_eq!(
            (usual.reached(AlertKind::ApiBudget, 79), usual.reached(AlertKind::ApiBudget, 80).is_some()),
            (None, true)
        );
        let later = RuleSettings { percent: Some(95), failures: Some(3), days: None };
        assert_eq!(later.reached(AlertKind::SyncFailure, 2), None);
        assert_eq!(later.reached(AlertKind::SyncFailure, 9).unwrap().now, Some(3));
        assert_eq!(later.reached(AlertKind::ApiBudget, 94), None);
    }
}
