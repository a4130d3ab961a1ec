//! CloudWatch metrics in the embedded metric format: one JSON line in the log, no request.
//!
//! Source: CloudWatch User Guide, "Specification: Embedded metric format". A line is the whole log event; names in
//! `_aws` are members of the root. The only dimension is the function: orgs are many, and each value of a dimension is
//! a metric that is paid for.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tieline_auth::aws::Variable;
use tieline_auth::{Clock, Stats};

use crate::counters::{Counted, Counters};
use crate::orgs::Orgs;

/// Lines are this far apart, unless there is a failure to tell of: a function that is invoked a thousand times a
/// second would pay for its log.
pub(crate) const EVERY: Duration = Duration::from_secs(10);

/// Calls that an org has left today, and how many it has a day; of the one that has the smallest share left.
#[derive(Debug, Clone, Copy)]
pub struct ApiCalls {
    /// Left until the end of the 24 hours.
    pub left: u64,
    /// Allowed within 24 hours.
    pub allowed: u64,
}

/// Codes of answers that mean: the org does not let us in.
const AUTH: [&str; 2] = ["reauth_required", "login_limit"];
/// Codes of requests that were not ours to answer: they say nothing about tokens.
const STRANGERS: [&str; 8] = [
    "foreign_host",
    "forwarded",
    "from_a_browser",
    "method_not_allowed",
    "forbidden",
    "unknown_path",
    "bad_parameter",
    "unknown_connection",
];

/// Makes the lines.
#[derive(Debug)]
pub struct Metrics {
    /// `None`: switched off.
    namespace: Option<String>,
    function: String,
    version: String,
    clock: Arc<dyn Clock>,
    before: Stats,
    pending: Counted,
    told_at: Option<Timestamp>,
}

impl Metrics {
    /// `TIELINE_METRICS_NAMESPACE` names the namespace [default: `tieline`]; `TIELINE_METRICS=off` switches them off.
    pub fn new(variable: &Variable, clock: Arc<dyn Clock>) -> Self {
        let get = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let off = get("TIELINE_METRICS").is_some_and(|text| text.trim() == "off");
        let namespace = get("TIELINE_METRICS_NAMESPACE").unwrap_or_else(|| "tieline".to_owned());
        Self {
            namespace: (!off).then_some(namespace),
            function: get("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_else(|| "local".to_owned()),
            version: get("AWS_LAMBDA_FUNCTION_VERSION").unwrap_or_default(),
            clock,
            before: Stats::default(),
            pending: Counted::default(),
            told_at: None,
        }
    }

    /// The line for what has happened since the last one, if it is time for it and there is anything to tell.
    pub fn line(
        &mut self,
        counters: &Counters,
        orgs: &Orgs,
        api_calls: Option<ApiCalls>,
        at_any_rate: bool,
    ) -> Option<String> {
        let namespace = self.namespace.clone()?;
        self.pending.add(counters.take());
        let failed = self.pending.refused.keys().any(|code| !STRANGERS.contains(code));
        let now = self.clock.now();
        let waited = self.told_at.is_none_or(|at| now.duration_since(at).unsigned_abs() >= EVERY);
        if self.pending == Counted::default() || !(at_any_rate || failed || waited) {
            return None;
        }
        let mut total = Stats::default();
        let mut certificate_ends: Option<Timestamp> = None;
        for org in orgs.loaded() {
            let stats = org.credentials.stats();
            total.token_requests += stats.token_requests;
            total.refusals += stats.refusals;
            certificate_ends = certificate_ends.into_iter().chain(org.certificate_ends).min();
        }
        let counted = std::mem::take(&mut self.pending);
        let of = |wanted: &[&str], them: bool| -> u64 {
            counted.refused.iter().filter(|(code, _)| wanted.contains(code) == them).map(|(_, count)| count).sum()
        };
        let waits: Vec<f64> = counted.waits.iter().map(|wait| (wait.as_secs_f64() * 1e5).round() / 1e2).collect();
        let mut metrics = vec![
            ("TokensServed", "Count", json!(counted.served)),
            ("TokenCacheHits", "Count", json!(counted.from_cache)),
            // Credentials that were replaced take their counts along.
            ("TokenRequests", "Count", json!(total.token_requests.saturating_sub(self.before.token_requests))),
            ("TokenRefusals", "Count", json!(total.refusals.saturating_sub(self.before.refusals))),
            ("AuthFailures", "Count", json!(of(&AUTH, true))),
            ("TokenErrors", "Count", json!(of(&STRANGERS, false))),
        ];
        if !waits.is_empty() {
            metrics.push(("TokenWait", "Milliseconds", json!(waits)));
        }
        if let Some(end) = certificate_ends {
            metrics.push(("CertificateDaysLeft", "Count", json!(end.duration_since(now).as_hours().div_euclid(24))));
        }
        if let Some(ApiCalls { left, allowed }) = api_calls {
            let percent = (left as f64 * 1e3 / allowed.max(1) as f64).round() / 10.0;
            metrics.push(("ApiCallsLeft", "Count", json!(left)));
            metrics.push(("ApiCallsLeftPercent", "Percent", json!(percent)));
        }
        (self.before, self.told_at) = (total, Some(now));
        let definitions: Vec<Value> =
            metrics.iter().map(|(name, unit, _)| json!({ "Name": name, "Unit": unit })).collect();
        let mut line = json!({
            "_aws": {
                "Timestamp": now.as_millisecond(),
                "CloudWatchMetrics": [{ "Namespace": namespace, "Dimensions": [["FunctionName"]], "Metrics": definitions }],
            },
            "FunctionName": self.function,
            "FunctionVersion": self.version,
            "Refused": counted.refused,
        });
        for (name, _, value) in metrics {
            line[name] = value;
        }
        Some(line.to_string())
    }
}

impl Counted {
    fn add(&mut self, more: Self) {
        self.served += more.served;
        self.from_cache += more.from_cache;
        for (code, count) in more.refused {
            *self.refused.entry(code).or_default() += count;
        }
        let room = crate::counters::SAMPLES - self.waits.len();
        self.waits.extend(more.waits.into_iter().take(room));
    }
}
