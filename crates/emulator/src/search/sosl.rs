//! Reads `FIND {…} IN … FIELDS RETURNING …`.

use super::{Group, Returning, Search, malformed, terms};
use crate::api_error::ApiError;

/// The highest number of records, and what is answered without a LIMIT.
pub(super) const MAX_RECORDS: usize = 2_000;
const MAX_CHARACTERS: usize = 100_000;
const NO_TERM: &str = "No search term found. The search term must be enclosed in braces.";

pub(crate) fn parse(sosl: &str) -> Result<Search, ApiError> {
    if sosl.chars().count() > MAX_CHARACTERS {
        return Err(malformed("SOSL statement is too long".to_owned()));
    }
    let mut text = Text(sosl.trim());
    if !text.word("FIND") {
        return Err(malformed(NO_TERM.to_owned()));
    }
    let found = text.braces().ok_or_else(|| malformed(NO_TERM.to_owned()))?;
    terms::parse(found)?;
    let mut search = Search { terms: found.to_owned(), group: Group::All, returning: Vec::new(), limit: MAX_RECORDS };
    if text.word("IN") {
        let group = text.ident();
        search.group = Group::named(group).ok_or_else(|| unexpected(group))?;
        if !text.word("FIELDS") {
            return Err(unexpected(text.ident()));
        }
    }
    if text.word("RETURNING") {
        loop {
            search.returning.push(returning(&mut text)?);
            if !text.character(',') {
                break;
            }
        }
    }
    while text.word("WITH") {
        // Divisions, networks, snippets, highlights: none of them is here, and none changes what is found.
        while !matches!(text.peek().to_ascii_uppercase().as_str(), "" | "LIMIT" | "UPDATE" | "WITH") {
            text.skip();
        }
    }
    if text.word("LIMIT") {
        let number = text.ident();
        search.limit = number.parse::<usize>().map_err(|_| unexpected(number))?.min(MAX_RECORDS);
    }
    if text.word("UPDATE") {
        while !text.0.is_empty() {
            text.skip();
        }
    }
    if !text.0.is_empty() {
        return Err(unexpected(text.peek()));
    }
    Ok(search)
}

fn unexpected(token: &str) -> ApiError {
    malformed(format!("unexpected token: '{}'", if token.is_empty() { "<EOF>" } else { token }))
}

/// `Contact(Id, Name WHERE … ORDER BY … LIMIT n OFFSET n)`.
fn returning(text: &mut Text<'_>) -> Result<Returning, ApiError> {
    let object = text.ident().to_owned();
    if object.is_empty() {
        return Err(unexpected(text.peek()));
    }
    let inner = if text.0.starts_with('(') { text.parenthesis().ok_or_else(|| unexpected(""))? } else { "" };
    let clauses = clauses_at(inner);
    let fields = inner[..clauses].trim();
    let fields = if fields.is_empty() { "Id" } else { fields };
    Ok(Returning { object, fields: fields.to_owned(), clauses: inner[clauses..].trim().to_owned() })
}

/// Where the fields end.
fn clauses_at(inner: &str) -> usize {
    let (mut depth, mut start) = (0usize, None);
    for (at, c) in inner.char_indices().chain([(inner.len(), ' ')]) {
        if c.is_alphanumeric() || c == '_' || c == '.' {
            start.get_or_insert(at);
            continue;
        }
        if let Some(from) = start.take()
            && depth == 0
            && ["WHERE", "USING", "ORDER", "LIMIT", "OFFSET"].iter().any(|k| inner[from..at].eq_ignore_ascii_case(k))
        {
            return from;
        }
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    inner.len()
}

/// What is left to be read.
struct Text<'a>(&'a str);

impl<'a> Text<'a> {
    fn advance(&mut self, by: usize) {
        self.0 = self.0[by..].trim_start();
    }

    fn peek(&self) -> &'a str {
        let end = self.0.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.0.len());
        match self.0.chars().next() {
            Some(first) => &self.0[..end.max(first.len_utf8())],
            None => "",
        }
    }

    fn skip(&mut self) {
        self.advance(self.peek().len());
    }

    fn word(&mut self, keyword: &str) -> bool {
        let found = self.peek().eq_ignore_ascii_case(keyword);
        if found {
            self.skip();
        }
        found
    }

    fn ident(&mut self) -> &'a str {
        let found = self.peek();
        if !found.starts_with(|c: char| c.is_alphanumeric() || c == '_') {
            return "";
        }
        self.skip();
        found
    }

    fn character(&mut self, wanted: char) -> bool {
        let found = self.0.starts_with(wanted);
        if found {
            self.advance(wanted.len_utf8());
        }
        found
    }

    /// `{…}`, in which a backslash takes the next character out of its role.
    fn braces(&mut self) -> Option<&'a str> {
        let rest = self.0.strip_prefix('{')?;
        let mut escaped = false;
        for (at, c) in rest.char_indices() {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '}' => {
                    self.advance(at + 2);
                    return Some(&rest[..at]);
                }
                _ => {}
            }
        }
        None
    }

    /// `(…)`, with strings and other parentheses inside.
    fn parenthesis(&mut self) -> Option<&'a str> {
        let (mut depth, mut quoted, mut escaped) = (0, false, false);
        for (at, c) in self.0.char_indices() {
            match c {
                _ if escaped => escaped = false,
                '\\' if quoted => escaped = true,
                '\'' => quoted = !quoted,
                '(' if !quoted => depth += 1,
                ')' if !quoted && depth == 1 => {
                    let inner = &self.0[1..at];
                    self.advance(at + 1);
                    return Some(inner);
                }
                ')' if !quoted => depth -= 1,
                _ => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_clauses_are_read() {
        let sosl = "find {a\\} b} in name fields returning Contact(Id, toLabel(LeadSource) where Name = 'x)' order by Name limit 3), Account, Lead(LIMIT 1) with snippet limit 7";
        let search = parse(sosl).expect("it is well formed");
        assert_eq!((search.terms.as_str(), search.group, search.limit), ("a\\} b", Group::Name, 7));
        let returning: Vec<(&str, &str, &str)> =
            search.returning.iter().map(|r| (r.object.as_str(), r.fields.as_str(), r.clauses.as_str())).collect();
        assert_eq!(
            returning,
            [
                ("Contact", "Id, toLabel(LeadSource)", "where Name = 'x)' order by Name limit 3"),
                ("Account", "Id", ""),
                ("Lead", "Id", "LIMIT 1"),
            ]
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (sosl, text) in [
            ("FIND Acme", NO_TERM),
            ("Acme", NO_TERM),
            ("", NO_TERM),
            ("FIND {Acme", NO_TERM),
            ("FIND {Acme} IN SOME FIELDS", "unexpected token: 'SOME'"),
            ("FIND {Acme} IN ALL", "unexpected token: '<EOF>'"),
            ("FIND {Acme} RETURNING", "unexpected token: '<EOF>'"),
            ("FIND {Acme} LIMIT x", "unexpected token: 'x'"),
            ("FIND {Acme} AND MORE", "unexpected token: 'AND'"),
        ] {
            assert_eq!(parse(sosl).expect_err(sosl).message, text, "{sosl}");
        }
    }
}
