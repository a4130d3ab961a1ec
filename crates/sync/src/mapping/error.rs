//! What is wrong with a mapping, all of it at once.

use std::fmt;

use serde::Serialize;

/// One thing that cannot be so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Flaw {
    /// Where in the definition: `object`, `columns[2].field`.
    pub at: String,
    /// What is wrong there.
    pub reason: String,
    /// What to write instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Flaw {
    pub(crate) fn new(at: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { at: at.into(), reason: reason.into(), hint: None }
    }

    /// The place of the column that it is about, if it is about one.
    pub fn column(&self) -> Option<usize> {
        self.at.strip_prefix("columns[")?.split_once(']')?.0.parse().ok()
    }

    /// The place of the refreshed field that it is about, if it is about one.
    pub(crate) fn refresh(&self) -> Option<usize> {
        self.at.strip_prefix("refresh[")?.strip_suffix(']')?.parse().ok()
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// `did you mean …?`, if one of the names is near.
    pub(super) fn near<'n>(self, name: &str, names: impl IntoIterator<Item = &'n str>) -> Self {
        match super::nearest::nearest(name, names) {
            Some(near) => self.hint(format!("did you mean `{near}`?")),
            None => self,
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.reason)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// A mapping that cannot be: every flaw of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingError {
    /// Name of the mapping; empty where it has none.
    pub mapping: String,
    /// What is wrong, in the order of the definition.
    pub flaws: Vec<Flaw>,
}

impl MappingError {
    pub(super) fn one(mapping: &str, flaw: Flaw) -> Self {
        Self { mapping: mapping.to_owned(), flaws: vec![flaw] }
    }

    /// The next act.
    pub fn hint(&self) -> String {
        let hint = self.flaws.iter().find_map(|flaw| flaw.hint.clone());
        hint.unwrap_or_else(|| "correct the definition; docs/mappings.md has an example with every setting".to_owned())
    }
}

impl fmt::Display for MappingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mapping.as_str() {
            "" => f.write_str("the mapping cannot be read")?,
            name => write!(f, "the mapping `{name}` cannot be used")?,
        }
        for (n, flaw) in self.flaws.iter().enumerate() {
            write!(f, "{} {flaw}", if n == 0 { ":" } else { ";" })?;
        }
        Ok(())
    }
}

impl std::error::Error for MappingError {}
