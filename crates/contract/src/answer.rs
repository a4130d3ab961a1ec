//! An answer of the org as it came, and what can be said of it.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::expectation::{Checked, Unmet, that};

/// As much of an answer as is kept. Much more than a report shows: what is hidden there must be whole to be found.
const KEPT: usize = 8_000;

/// Codes by which an org says that this user or edition may not, whatever else would be true.
const MAY_NOT: [&str; 9] = [
    "API_DISABLED_FOR_ORG",
    "API_CURRENTLY_DISABLED",
    "FUNCTIONALITY_NOT_ENABLED",
    "FEATURENOTENABLED",
    "INSUFFICIENT_ACCESS",
    "INSUFFICIENT_ACCESS_OR_READONLY",
    "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY",
    "REQUEST_LIMIT_EXCEEDED",
    "STORAGE_LIMIT_EXCEEDED",
];

/// Words that were expected, and those that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// What was expected.
    pub expected: String,
    /// What came.
    pub seen: String,
}

/// Where a check leaves differences of wording.
pub(crate) type Notes = Arc<Mutex<Vec<Words>>>;

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) notes: Notes,
}

impl Answer {
    /// It has this status.
    pub(crate) fn is(self, status: u16) -> Result<Self, Unmet> {
        self.may()?;
        that(self.status == status, format_args!("status {status}"), self.shown())?;
        Ok(self)
    }

    /// It is a refusal with this status and this code in the data API's array.
    pub(crate) fn refused(self, status: u16, code: &str) -> Result<Self, Unmet> {
        let good = self.status == status && self.code().as_deref() == Some(code);
        if !good {
            self.may()?;
        }
        that(good, format_args!("{status} {code}"), self.shown())?;
        Ok(self)
    }

    /// It is a refusal of the token endpoint.
    pub(crate) fn refused_login(self, errors: &[&str]) -> Result<Self, Unmet> {
        let body = self.json()?;
        let good = self.status == 400 && body["error"].as_str().is_some_and(|error| errors.contains(&error));
        that(good, format_args!("400 with the error {}", errors.join(" or ")), self.shown())?;
        Ok(self)
    }

    /// Its message has these words. Others are reported, and do not fail the expectation.
    pub(crate) fn says(self, words: &str) -> Self {
        let seen = self.message().trim().to_owned();
        if seen != words.trim() {
            self.note(words, &seen);
        }
        self
    }

    /// Its message has these words in it.
    pub(crate) fn mentions(self, words: &str) -> Self {
        let seen = self.message().trim().to_owned();
        if !seen.contains(words) {
            self.note(&format!("… {words} …"), &seen);
        }
        self
    }

    fn note(&self, expected: &str, seen: &str) {
        let words = Words { expected: expected.to_owned(), seen: cut(seen, KEPT) };
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).push(words);
    }

    /// Its first error names these fields.
    pub(crate) fn naming(self, fields: &[&str]) -> Result<Self, Unmet> {
        let body = self.json()?;
        let seen: Vec<&str> = body[0]["fields"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        that(seen == fields, format_args!("an error that names the fields {fields:?}"), self.shown())?;
        Ok(self)
    }

    /// It has no body.
    pub(crate) fn without_body(self) -> Result<Self, Unmet> {
        that(self.body.is_empty(), "an empty body", self.shown())?;
        Ok(self)
    }

    /// The detail of a check that ends here.
    pub(crate) fn done(&self) -> Checked {
        Ok(match self.code() {
            Some(code) => format!("{} {code}", self.status),
            None => self.status.to_string(),
        })
    }

    /// Its body as JSON.
    pub(crate) fn json(&self) -> Result<Value, Unmet> {
        serde_json::from_slice(&self.body)
            .map_err(|_| Unmet::Different { expected: "a body of JSON".to_owned(), seen: self.shown() })
    }

    /// Its body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Its header has this form.
    pub(crate) fn with_header(self, name: &str, expected: &str, good: impl Fn(&str) -> bool) -> Result<Self, Unmet> {
        let seen = self.header(name).unwrap_or("none");
        that(good(seen), format_args!("the header {name}: {expected}"), seen)?;
        Ok(self)
    }

    /// Code of the first error.
    pub(crate) fn code(&self) -> Option<String> {
        let body: Value = serde_json::from_slice(&self.body).ok()?;
        body[0]["errorCode"].as_str().map(str::to_owned)
    }

    /// The words of the first error, in whatever form it came.
    fn message(&self) -> String {
        match serde_json::from_slice::<Value>(&self.body) {
            Ok(body) => [&body[0]["message"], &body["error_description"], &body["message"]]
                .into_iter()
                .find_map(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            Err(_) => self.text(),
        }
    }

    /// Fails if the org says that this user may not.
    fn may(&self) -> Result<(), Unmet> {
        match self.code().filter(|code| MAY_NOT.contains(&code.as_str())) {
            Some(code) => Err(Unmet::NotApplicable(format!("the org answers {} {code} to this user", self.status))),
            None => Ok(()),
        }
    }

    /// As a report shows it.
    pub(crate) fn shown(&self) -> String {
        let body = self.text();
        if body.trim().is_empty() {
            self.status.to_string()
        } else {
            format!("{}: {}", self.status, cut(body.trim(), KEPT))
        }
    }
}

/// The beginning of a text.
pub(crate) fn cut(text: &str, length: usize) -> String {
    match text.char_indices().nth(length) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// An object has these keys.
pub(crate) fn has_keys(value: &Value, keys: &[&str]) -> Result<(), Unmet> {
    let missing: Vec<&str> = keys.iter().copied().filter(|key| value.get(key).is_none()).collect();
    let there: Vec<&str> = value.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
    that(missing.is_empty(), format_args!("the keys {}", missing.join(", ")), format_args!("{}", there.join(", ")))
}
