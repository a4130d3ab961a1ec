//! Troubleshooting: every error of Salesforce's that the catalogues know, with what happened and what to do. Nothing is
//! written here a second time.

use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use serde::Deserialize;
use tieline_auth::catalogue::{self as logins, OAUTH};
use tieline_client::catalogue::{self as calls, API};

use super::Failed;
use super::frame::{Frame, Place};
use super::visit::Visit;
use crate::extract::Query;

/// An error.
struct Entry {
    /// Where the page has it.
    anchor: String,
    /// The code; without one, part of what the org says.
    code: &'static str,
    /// Part of what the org says with it.
    description: &'static str,
    meaning: String,
    next: String,
    remedy: &'static str,
    tone: &'static str,
}

impl Entry {
    fn of_login(row: &logins::Explanation) -> Self {
        use logins::Remedy;
        let (remedy, tone) = match row.remedy {
            Remedy::Wait => ("passes by itself", "good"),
            Remedy::WaitLong => ("takes a while", "busy"),
            Remedy::Person => ("needs somebody", "bad"),
        };
        Self {
            anchor: anchor(row),
            code: Some(row.error).filter(|code| *code != "*").unwrap_or_default(),
            description: row.description,
            meaning: sentence(row.meaning),
            next: sentence(row.next),
            remedy,
            tone,
        }
    }

    fn of_call(row: &calls::Explanation) -> Self {
        use calls::Remedy;
        let (remedy, tone) = match row.remedy {
            Remedy::Wait => ("passes by itself", "good"),
            Remedy::WaitLong => ("takes hours", "busy"),
            Remedy::Person => ("needs somebody", "bad"),
            Remedy::Request => ("needs another request", "idle"),
        };
        Self {
            anchor: row.code.to_owned(),
            code: row.code,
            description: "",
            meaning: sentence(row.meaning),
            next: sentence(row.next),
            remedy,
            tone,
        }
    }

    /// Whether each of the words is in it.
    fn has(&self, words: &[String]) -> bool {
        let text = format!("{} {} {} {}", self.code, self.description, self.meaning, self.next).to_lowercase();
        words.iter().all(|word| text.contains(word))
    }
}

/// The catalogues' words as a sentence.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    let rest = letters.as_str();
    let end = if rest.ends_with(['.', '?']) { "" } else { "." };
    format!("{}{rest}{end}", first.map(String::from).unwrap_or_default())
}

/// The code; of a row that goes by what the org says, that with hyphens.
fn anchor(row: &logins::Explanation) -> String {
    let words = match (row.error, row.description) {
        ("*", description) => description.to_owned(),
        (code, "") => code.to_owned(),
        (code, description) => format!("{code} {description}"),
    };
    let plain = words.replace(|c: char| !c.is_ascii_alphanumeric() && c != '_', "-");
    plain.trim_matches('-').to_owned()
}

/// The place on this page that explains an error, if its words hold a code that is known.
pub(super) fn place_of(text: &str) -> Option<String> {
    let codes = || text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| word.contains('_'));
    if let Some(row) = codes().find_map(calls::explain) {
        return Some(format!("/help#{}", row.code));
    }
    let known = |code: &&str| OAUTH.iter().any(|row| row.error == *code);
    let code = codes().find(known)?;
    logins::explain(code, text).map(|row| format!("/help#{}", anchor(row)))
}

/// What is looked for.
#[derive(Deserialize)]
pub(crate) struct Which {
    #[serde(default)]
    q: String,
}

#[derive(Template)]
#[template(path = "help.html")]
struct Page {
    frame: Frame,
    q: String,
    /// Those in which something was found.
    parts: Vec<Part>,
}

/// A catalogue.
struct Part {
    id: &'static str,
    words: &'static str,
    about: &'static str,
    entries: Vec<Entry>,
}

/// The page.
pub(crate) async fn help(visit: Visit, Query(which): Query<Which>) -> Result<Response, Failed> {
    let words: Vec<String> = which.q.split_whitespace().take(10).map(str::to_lowercase).collect();
    let wanted = |entry: &Entry| entry.has(&words);
    let logins = Part {
        id: "logins",
        words: "Logging in",
        about: "Of the org's login page and token endpoint. The same code comes with different descriptions.",
        entries: OAUTH.iter().map(Entry::of_login).filter(wanted).collect(),
    };
    let calls = Part {
        id: "calls",
        words: "Calls of the API",
        about: "What the org says when records are read or written.",
        entries: API.iter().map(Entry::of_call).filter(wanted).collect(),
    };
    let parts = [logins, calls].into_iter().filter(|part| !part.entries.is_empty()).collect();
    let page = Page { frame: visit.frame(Place::Help, "Help").await?, q: which.q, parts };
    Ok(Html(page.render()?).into_response())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_error_has_a_place_of_its_own() {
        let all: Vec<String> = OAUTH.iter().map(anchor).chain(API.iter().map(|row| row.code.to_owned())).collect();
        let apart: BTreeSet<&String> = all.iter().collect();
        assert_eq!(all.len(), apart.len(), "an anchor stands twice");
        for anchor in all {
            let plain = anchor.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
            assert!(plain && !anchor.is_empty(), "{anchor}");
        }
    }

    #[test]
    fn errors_lead_to_what_explains_them() {
        for (text, place) in [
            (
                "the org refused the login: invalid_grant: expired access/refresh token",
                Some("expired-access-refresh-token"),
            ),
            ("invalid_client_id: client identifier invalid", Some("invalid_client_id")),
            ("REQUEST_LIMIT_EXCEEDED: TotalRequests Limit exceeded.", Some("REQUEST_LIMIT_EXCEEDED")),
            ("the org says invalid_grant: something nobody has seen", Some("invalid_grant")),
            ("the network is away", None),
            ("", None),
        ] {
            assert_eq!(place_of(text), place.map(|place| format!("/help#{place}")), "{text}");
        }
        assert_eq!(sentence("add `api`"), "Add `api`.");
        assert_eq!(sentence("see https://a.example"), "See https://a.example.");
    }
}
