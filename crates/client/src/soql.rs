//! Values inside queries.

/// A string literal of SOQL, quoted and escaped.
///
/// ```
/// assert_eq!(tieline_client::soql::text("O'Brien\n"), r"'O\'Brien\n'");
/// ```
pub fn text(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 2);
    out.push('\'');
    for c in value.chars() {
        match c {
            '\'' => out.push_str("\\'"),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c => out.push(c),
        }
    }
    out.push('\'');
    out
}

/// A datetime literal: UTC, whole seconds, which is what SOQL compares by.
///
/// ```
/// let at = "2024-01-02T03:04:05.678Z".parse().unwrap();
/// assert_eq!(tieline_client::soql::datetime(at), "2024-01-02T03:04:05Z");
/// ```
pub fn datetime(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
