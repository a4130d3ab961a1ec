//! What stands for code of the org's own: Apex REST classes, invocable Apex and flows. The control API says what they
//! answer; Apex itself does not run here.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Default)]
pub(crate) struct StandIns {
    pub(crate) apex_rest: Vec<ApexRest>,
    pub(crate) actions: Vec<Action>,
}

/// One method of an Apex REST class.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApexRest {
    pub(crate) method: String,
    /// After `/services/apexrest`; `/*` at the end stands for anything, as in `@RestResource(urlMapping='/x/*')`.
    pub(crate) path: String,
    #[serde(default = "ok")]
    pub(crate) status: u16,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) body: Value,
    /// Answers what was sent instead of `body`.
    #[serde(default)]
    pub(crate) echo: bool,
}

fn ok() -> u16 {
    200
}

impl ApexRest {
    pub(crate) fn serves(&self, path: &str) -> bool {
        match self.path.strip_suffix("/*") {
            Some(start) => path.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
            None => self.path == path,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Apex,
    Flow,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Apex => "apex",
            Kind::Flow => "flow",
        }
    }
}

/// An invocable Apex method or an autolaunched flow.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Action {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    /// Inputs that must be there.
    #[serde(default)]
    pub(crate) required: Vec<String>,
    #[serde(default)]
    pub(crate) outputs: Map<String, Value>,
    /// Puts each input among its own outputs.
    #[serde(default)]
    pub(crate) echo: bool,
    /// Every input fails with this.
    #[serde(default)]
    pub(crate) error: Option<Failure>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Failure {
    pub(crate) code: String,
    pub(crate) message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_with_a_star_serves_what_is_below_it() {
        let serves = |mapping: &str, path: &str| {
            let handler: ApexRest =
                serde_json::from_value(serde_json::json!({"method": "GET", "path": mapping})).unwrap();
            handler.serves(path)
        };
        assert!(serves("/echo/*", "/echo/a/b") && serves("/echo/*", "/echo") && serves("/x", "/x"));
        assert!(!serves("/echo/*", "/echoes") && !serves("/x", "/x/y"));
    }
}
