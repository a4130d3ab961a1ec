//! Faults on demand: the n-th request that fits is delayed, refused, cut short or dropped.

use std::sync::Mutex;

use serde::Deserialize;
use serde_json::Value;

/// What shall go wrong, and where. All fields may be left out: `{}` answers 503 once, at once.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Fault {
    /// Only requests whose path begins with this.
    path: String,
    method: Option<String>,
    /// Only requests whose query string, with its escapes read, contains this.
    query: Option<String>,
    /// The first request that fails, counted from 1 among those that fit.
    nth: u64,
    /// How many fail from there on; 0 means all.
    times: u64,
    /// Status of the answer; without it the request is served and only delayed or cut.
    pub(crate) status: Option<u16>,
    pub(crate) body: Option<Value>,
    pub(crate) headers: std::collections::BTreeMap<String, String>,
    pub(crate) delay_ms: u64,
    /// The real answer's body ends after so many bytes, as if it were complete.
    pub(crate) truncate: Option<usize>,
    /// The connection breaks: before the answer, or after so many bytes of its body.
    pub(crate) cut: Option<usize>,
    #[serde(skip)]
    seen: u64,
}

impl Default for Fault {
    fn default() -> Self {
        Fault {
            path: "/services/".to_owned(),
            method: None,
            query: None,
            nth: 1,
            times: 1,
            status: None,
            body: None,
            headers: std::collections::BTreeMap::new(),
            delay_ms: 0,
            truncate: None,
            cut: None,
            seen: 0,
        }
    }
}

#[derive(Default)]
pub(crate) struct Faults(Mutex<Vec<Fault>>);

impl Faults {
    pub(crate) fn add(&self, mut fault: Fault) {
        if fault.status.is_none() && fault.delay_ms == 0 && fault.truncate.is_none() && fault.cut.is_none() {
            fault.status = Some(503);
        }
        self.lock().push(fault);
    }

    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    /// The fault that this request meets, if any.
    pub(crate) fn meet(&self, method: &str, path: &str, query: &str) -> Option<Fault> {
        let query = percent_encoding::percent_decode_str(&query.replace('+', " ")).decode_utf8_lossy().into_owned();
        let mut met = None;
        for fault in self.lock().iter_mut() {
            if !path.starts_with(&fault.path)
                || fault.method.as_deref().is_some_and(|m| !m.eq_ignore_ascii_case(method))
                || fault.query.as_deref().is_some_and(|wanted| !query.contains(wanted))
            {
                continue;
            }
            fault.seen += 1;
            let last = if fault.times == 0 { u64::MAX } else { fault.nth.saturating_add(fault.times - 1) };
            if met.is_none() && (fault.nth..=last).contains(&fault.seen) {
                met = Some(fault.clone());
            }
        }
        met
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Fault>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
