//! What can go wrong with a call to Data Cloud.

use std::ops::Range;

use tieline_auth::http::innermost;
use tieline_auth::{AuthError, ConfigError};

/// A call that failed, in terms of what the caller can do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataCloudError {
    /// No token could be had, at one of the two stages.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The configuration is at fault.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Hyper read the statement and refused it, or failed at it.
    #[error(transparent)]
    Query(Box<QueryRefused>),
    /// Data Cloud answered, and refused.
    #[error(transparent)]
    Refused(Box<Refusal>),
    /// Data Cloud could not be reached, or the connection broke, and trying again did not help.
    #[error("{what} failed: no answer from the Data Cloud of `{org}` after {attempts} attempts: {reason}")]
    Unreachable {
        /// The org's alias.
        org: String,
        /// What was attempted.
        what: String,
        /// The innermost cause.
        reason: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// The answer does not have the expected form.
    #[error("{what} failed: the answer of the Data Cloud of `{org}` cannot be read: {reason}")]
    Unreadable {
        /// The org's alias.
        org: String,
        /// What was attempted.
        what: String,
        /// What did not fit.
        reason: String,
    },
    /// What is to be sent, or where it is to be written, is at fault.
    #[error("{what} failed: {reason}")]
    Local {
        /// What was attempted.
        what: String,
        /// What is wrong.
        reason: String,
        /// The next act.
        hint: String,
    },
}

/// A statement that Hyper refused, in its own words.
#[derive(Debug, Clone)]
pub struct QueryRefused {
    /// The org's alias.
    pub org: String,
    /// What was attempted.
    pub what: String,
    /// What is wrong.
    pub message: String,
    /// Five characters of the SQL standard and PostgreSQL's tables, such as `42P01`; empty where there are none.
    pub sqlstate: String,
    /// What Hyper suggests, where it does.
    pub suggestion: Option<String>,
    /// More about it, for whoever wrote the statement.
    pub detail: Option<String>,
    /// The place in the statement, in characters from 0.
    pub position: Option<Range<usize>>,
    /// It was the statement's fault, not Data Cloud's.
    pub by_user: bool,
    /// The statement.
    pub sql: String,
}

impl std::error::Error for QueryRefused {}

impl std::fmt::Display for QueryRefused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} failed: the Data Cloud of `{}` answered: {}", self.what, self.org, self.message)?;
        if !self.sqlstate.is_empty() {
            write!(f, " ({})", self.sqlstate)?;
        }
        if let Some((line, column, text, width)) = self.place() {
            write!(f, "\n  line {line}, column {column}: {text}\n")?;
            let before = format!("  line {line}, column {column}: ").chars().count() + column - 1;
            write!(f, "{}{}", " ".repeat(before), "^".repeat(width.max(1)))?;
        }
        if let Some(detail) = &self.detail {
            write!(f, "\n  {detail}")?;
        }
        Ok(())
    }
}

impl QueryRefused {
    /// Line and column (from 1) of the fault, that line's text, and how many of its characters are at fault.
    pub fn place(&self) -> Option<(usize, usize, &str, usize)> {
        let Range { start, end } = self.position.clone()?;
        let mut before = 0;
        for (number, line) in self.sql.split('\n').enumerate() {
            let length = line.chars().count();
            if start <= before + length {
                let column = start - before;
                let width = end.saturating_sub(start).min(length - column);
                return Some((number + 1, column + 1, line, width));
            }
            before += length + 1;
        }
        None
    }
}

/// A refusal by one of the REST APIs, or by gRPC for another reason than the statement.
#[derive(Debug, thiserror::Error)]
#[error("{what} failed: the Data Cloud of `{org}` answered {code}: {message}")]
pub struct Refusal {
    /// The org's alias.
    pub org: String,
    /// What was attempted.
    pub what: String,
    /// HTTP status, or the name of the gRPC status.
    pub code: String,
    /// Data Cloud's message.
    pub message: String,
    /// The next act.
    pub hint: &'static str,
    /// Heals without anybody's help.
    pub passing: bool,
    /// Somebody has to change rights or settings.
    pub needs_person: bool,
}

impl DataCloudError {
    pub(crate) fn no_https(org: &str, error: &(dyn std::error::Error + 'static)) -> Self {
        let (org, what) = (org.to_owned(), "preparing HTTPS".to_owned());
        DataCloudError::Unreachable { org, what, reason: innermost(error), attempts: 0 }
    }

    /// Heals without anybody's help.
    pub fn is_transient(&self) -> bool {
        match self {
            DataCloudError::Auth(error) => error.is_transient(),
            DataCloudError::Query(refused) => !refused.by_user,
            DataCloudError::Refused(refusal) => refusal.passing,
            DataCloudError::Unreachable { .. } => true,
            DataCloudError::Config(_) | DataCloudError::Unreadable { .. } | DataCloudError::Local { .. } => false,
        }
    }

    /// Somebody has to log in again, or change rights or settings.
    pub fn needs_person(&self) -> bool {
        match self {
            DataCloudError::Auth(error) => error.needs_person(),
            DataCloudError::Refused(refusal) => refusal.needs_person,
            _ => false,
        }
    }

    /// The next act.
    pub fn hint(&self) -> String {
        match self {
            DataCloudError::Auth(error) => error.hint(),
            DataCloudError::Config(error) => error.hint().to_owned(),
            DataCloudError::Query(refused) => match (&refused.suggestion, refused.by_user) {
                (Some(suggestion), _) => suggestion.clone(),
                (None, false) => "try again; if it stays, ask Salesforce with the query's id".to_owned(),
                (None, true) if matches!(refused.sqlstate.as_str(), "42P01" | "42703") => {
                    "names are case-sensitive and stand in double quotes; `tieline datacloud objects` lists them"
                        .to_owned()
                }
                (None, true) if refused.sqlstate.starts_with("02") || refused.sqlstate == "57014" => {
                    "run the query again".to_owned()
                }
                (None, true) => "correct the statement or its parameters; docs/datacloud.md (SQL) says where the \
                                 language is described"
                    .to_owned(),
            },
            DataCloudError::Refused(refusal) => refusal.hint.to_owned(),
            DataCloudError::Unreachable { attempts: 1, .. } => {
                "it is not tried again by itself, for it may have been done; check the network, and run it again"
                    .to_owned()
            }
            DataCloudError::Unreachable { .. } => {
                "check the network; queries may get through by the REST API where gRPC is blocked (--rest)".to_owned()
            }
            DataCloudError::Unreadable { .. } => {
                "a proxy may have answered in Data Cloud's place; TIELINE_LOG=debug shows the calls".to_owned()
            }
            DataCloudError::Local { hint, .. } => hint.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(sql: &str, position: Range<usize>) -> QueryRefused {
        QueryRefused {
            org: "acme".to_owned(),
            what: "the query".to_owned(),
            message: "function \"fooo\" does not exist".to_owned(),
            sqlstate: "42883".to_owned(),
            suggestion: None,
            detail: None,
            position: Some(position),
            by_user: true,
            sql: sql.to_owned(),
        }
    }

    #[test]
    fn the_caret_stands_under_the_fault_whatever_is_before_it() {
        // What hyperd 0.0.26963 answers to this statement: characters, not bytes.
        let error = refused("select\n 'äöü€', 1 +\n fooo('x') from t", 21..25);
        assert_eq!(error.place(), Some((3, 2, " fooo('x') from t", 4)));
        let text = error.to_string();
        let lines: Vec<&str> = text.lines().collect();
        let caret = lines[2].find('^').unwrap();
        assert_eq!(&lines[1][caret..caret + 4], "fooo", "{text}");
        assert_eq!(lines[2].trim(), "^^^^");
    }

    #[test]
    fn a_place_beyond_the_statement_is_no_place() {
        assert_eq!(refused("select", 6..9).place(), Some((1, 7, "select", 0)));
        assert_eq!(refused("select", 7..9).place(), None);
        assert_eq!(refused("", 0..0).place(), Some((1, 1, "", 0)));
    }
}
