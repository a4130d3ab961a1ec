//! A mapping as somebody writes it.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::column::ColumnDefinition;
use super::schedule::{Schedule, duration, moment};

/// Which object goes into which table, with which columns, when and how. One form for a TOML file and for JSON; unknown
/// keys are refused ([`Definition::from_toml`], [`Definition::from_json`] say what was meant).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// What people call it.
    pub name: String,
    /// API name of the object.
    pub object: String,
    /// Table; the name unless told otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// The columns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<ColumnDefinition>,
    /// Whether every other field that can be read becomes a column: unless told otherwise, if no columns are named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all_fields: Option<bool>,
    /// Fields that are left out of all fields; `*` stands for any characters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<String>,
    /// When it is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Schedule>,
    /// How much is read again, for records that became visible late.
    #[serde(default, with = "duration", skip_serializing_if = "Option::is_none")]
    pub lookback: Option<Duration>,
    /// How far the checkpoint stays behind the org's clock.
    #[serde(default, with = "duration", skip_serializing_if = "Option::is_none")]
    pub lag: Option<Duration>,
    /// By which API records are read.
    #[serde(default, skip_serializing_if = "Method::is_auto")]
    pub method: Method,
    /// Records that changed before are left out; all history unless told otherwise.
    #[serde(default, with = "moment", skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The field by which changes are found, where it is not to be the object's usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Fields that change without the record's stamp though the org does not call them formulas: they are read anew
    /// together with the formulas.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refresh: Vec<String>,
    /// How much of the table may vanish at once before somebody is asked.
    #[serde(default = "ten", skip_serializing_if = "is_ten")]
    pub mass_delete_percent: u8,
    /// It is the mapping of contacts, which nobody writes: see [`Definition::of`].
    #[serde(skip)]
    pub built_in: bool,
}

/// Its keys, for the hint about one that is none of them.
pub(super) const KEYS: [&str; 14] = [
    "name",
    "object",
    "table",
    "columns",
    "all_fields",
    "ignore",
    "every",
    "lookback",
    "lag",
    "method",
    "since",
    "cursor",
    "refresh",
    "mass_delete_percent",
];

fn ten() -> u8 {
    10
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_ten(percent: &u8) -> bool {
    *percent == ten()
}

/// By which API records are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// By how much there is to read.
    #[default]
    Auto,
    /// REST queries.
    Rest,
    /// Bulk API 2.0.
    Bulk,
}

impl Method {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
    fn is_auto(&self) -> bool {
        matches!(self, Method::Auto)
    }
}

impl Definition {
    /// All readable fields of an object, in a table of this name.
    pub fn all_of(name: &str, object: &str) -> Self {
        Self {
            name: name.to_owned(),
            object: object.to_owned(),
            table: None,
            columns: Vec::new(),
            all_fields: None,
            ignore: Vec::new(),
            every: None,
            lookback: None,
            lag: None,
            method: Method::Auto,
            since: None,
            cursor: None,
            refresh: Vec::new(),
            mass_delete_percent: ten(),
            built_in: false,
        }
    }

    /// Name of its table.
    pub fn table(&self) -> &str {
        self.table.as_deref().unwrap_or(&self.name)
    }

    /// Whether fields that no column names become columns too.
    pub fn takes_all_fields(&self) -> bool {
        self.all_fields.unwrap_or(self.columns.is_empty())
    }

    /// Whether a field is left out of all fields. Of contacts, those are the org's own.
    pub(super) fn ignores(&self, field: &str) -> bool {
        let is_custom = field.ends_with("__c") || field.ends_with("__s");
        (self.built_in && !is_custom) || self.ignore.iter().any(|pattern| matches(pattern, field))
    }

    /// All paths that it names.
    pub(super) fn paths(&self) -> impl Iterator<Item = String> {
        self.columns.iter().flat_map(|column| column.source.paths())
    }
}

/// Whether a name is one of a pattern's, in any case.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.to_ascii_lowercase(), name.to_ascii_lowercase());
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut left) = name.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(found) = left.find(part) else { return false };
        left = &left[found + part.len()..];
    }
    left.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, name, is) in [
            ("*__c", "Score__c", true),
            ("*__c", "Name", false),
            ("Email", "email", true),
            ("Email", "EmailBouncedDate", false),
            ("Email*", "EmailBouncedDate", true),
            ("*Bounced*", "EmailBouncedDate", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "acb", false),
            ("ab*ba", "aba", false),
            ("*", "anything", true),
        ] {
            assert_eq!(matches(pattern, name), is, "{pattern} {name}");
        }
    }
}
