//! Text that is no SOQL, and what the grammar reads only to refuse it in the words of Salesforce.

use super::parse::{Node, Rule};
use super::positioned;
use crate::api_error::ApiError;

/// Of one string in a condition.
const MAX_STRING: usize = 4_000;

/// What the grammar reads, so that it is refused in the words of Salesforce.
pub(super) fn refused(soql: &str, node: &Node<'_>) -> Result<(), ApiError> {
    let malformed = |text: &str| Err(positioned("MALFORMED_QUERY", soql, node.as_span().start(), text));
    match node.as_rule() {
        Rule::bind => malformed("Bind variables only allowed in Apex code"),
        // From memory of real orgs.
        Rule::all_rows => malformed("ALL ROWS not allowed in this context"),
        // The bound is documented; code and words are unverified.
        Rule::string if node.as_str().chars().count() > MAX_STRING + 2 => {
            malformed(&format!("a string in a condition has at most {MAX_STRING} characters"))
        }
        Rule::integer if node.as_str().parse::<i32>().is_err() => {
            malformed(&format!("unexpected token: '{}'", node.as_str()))
        }
        _ => Ok(()),
    }
}

/// The first backslash in a string that begins no escape.
fn bad_escape(soql: &str) -> Option<usize> {
    let (mut quoted, mut chars) = (false, soql.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' => quoted = !quoted,
            '\\' if quoted => match chars.next().map(|(_, c)| c.to_ascii_lowercase()) {
                Some('n' | 'r' | 't' | 'b' | 'f' | '"' | '\'' | '\\' | '_' | '%') => {}
                Some('u')
                    if soql[at + 2..].len() >= 4
                        && soql.as_bytes()[at + 2..at + 6].iter().all(u8::is_ascii_hexdigit) => {}
                _ => return Some(at),
            },
            _ => {}
        }
    }
    None
}

/// How deep parentheses go.
pub(super) fn nesting(soql: &str) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    for b in soql.bytes() {
        match b {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            _ => continue,
        }
        deepest = deepest.max(depth);
    }
    deepest
}

pub(super) fn unexpected(soql: &str, error: &pest::error::Error<Rule>) -> ApiError {
    if let Some(at) = bad_escape(soql) {
        // Salesforce documents that it is an error; the words are those of Apex, unverified here.
        let sequence: String = soql[at..].chars().take(2).collect();
        let text = format!("Illegal character sequence '{sequence}' in string literal");
        return positioned("MALFORMED_QUERY", soql, at, &text);
    }
    let mut at = match error.location {
        pest::error::InputLocation::Pos(at) | pest::error::InputLocation::Span((at, _)) => at,
    };
    at += soql[at..].len() - soql[at..].trim_start().len();
    let rest = &soql[at..];
    let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    let token = match rest.chars().next() {
        None => "<EOF>",
        Some(first) => &rest[..word.max(first.len_utf8())],
    };
    if at == soql.len() - soql.trim_start().len() {
        // A first word that is no statement is answered without a position.
        return ApiError::bad("MALFORMED_QUERY", format!("unexpected token: {token}"));
    }
    positioned("MALFORMED_QUERY", soql, at, &format!("unexpected token: '{token}'"))
}
