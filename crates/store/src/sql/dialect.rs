//! From the SQL that our statements are written in, which PostgreSQL takes as it is, to SQLite's.

use std::borrow::Cow;

use super::transaction::Scope;
use super::value::Value;
use crate::tenancy;

const WORDS: [(&str, &str); 6] = [
    (" FOR UPDATE SKIP LOCKED", ""),
    (" FOR UPDATE", ""),
    (" FOR NO KEY UPDATE", ""),
    (" FOR SHARE", ""),
    (" FOR KEY SHARE", ""),
    ("clock_ms()", "CAST(unixepoch('subsec') * 1000 AS INTEGER)"),
];

/// The statement as SQLite takes it:
/// - `= ANY($1)` becomes `IN (SELECT value FROM json_each($1))`;
/// - `clock_ms()`, the database's clock, is this machine's;
/// - `FOR UPDATE`, `FOR SHARE` and the like go: a writing transaction is the only one anyway;
/// - a table that is written is named as `main.…`, for its plain name is the view of one business (see [`tenancy`]);
///   in a transaction of the system so is every other.
pub(crate) fn for_sqlite<'s>(sql: &'s str, scope: &Scope) -> Cow<'s, str> {
    let mut out = named(sql, scope);
    for (theirs, ours) in WORDS {
        if out.contains(theirs) {
            out = Cow::Owned(out.replace(theirs, ours));
        }
    }
    while let Some(at) = out.find("= ANY(") {
        let argument = at + "= ANY(".len();
        let Some(end) = out[argument..].find(')').map(|n| argument + n) else { break };
        out = Cow::Owned(format!(
            "{}IN (SELECT value FROM json_each({})){}",
            &out[..at],
            &out[argument..end],
            &out[end + 1..]
        ));
    }
    out
}

/// The statement with `?` for each `$n`, and the values in the order of their places.
pub(super) fn by_place(sql: &str, mut values: Vec<Value>) -> (Cow<'static, str>, Vec<Value>) {
    let mut out = String::with_capacity(sql.len());
    let mut places = Vec::with_capacity(values.len());
    let mut pieces = sql.split('$');
    out.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let digits = piece.bytes().take_while(u8::is_ascii_digit).count();
        match piece[..digits].parse::<usize>() {
            Ok(n) if (1..=values.len()).contains(&n) => {
                places.push(n - 1);
                out.push('?');
                out.push_str(&piece[digits..]);
            }
            // Not one of ours: left as it is.
            _ => {
                out.push('$');
                out.push_str(piece);
            }
        }
    }
    let in_order = places.iter().copied().eq(0..values.len());
    if !in_order {
        values = places.into_iter().map(|place| values[place].clone()).collect();
    }
    (Cow::Owned(out), values)
}

fn named<'s>(sql: &'s str, scope: &Scope) -> Cow<'s, str> {
    let all = matches!(scope, Scope::System);
    let writes = ["INSERT", "UPDATE", "DELETE"].iter().any(|verb| sql.trim_start().starts_with(verb));
    if !all && !writes {
        return Cow::Borrowed(sql);
    }
    let mut out = String::with_capacity(sql.len() + 16);
    let mut before = "";
    let mut written = false;
    for piece in sql.split_inclusive(|c: char| c.is_whitespace() || c == '(') {
        let word = piece.trim_end_matches(|c: char| c.is_whitespace() || "(),;".contains(c));
        if matches!(before, "FROM" | "JOIN" | "INTO" | "UPDATE") && (all || !written) && tenancy::is_table(word) {
            out.push_str("main.");
            written = true;
        }
        out.push_str(piece);
        if !word.is_empty() {
            before = word;
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_stands_twice_is_bound_twice() {
        let values = ["a", "b", "c"].map(Value::from).to_vec();
        let text = |value: &Value| match value {
            Value::Text(text) => text.clone().unwrap(),
            _ => unreachable!(),
        };
        let (sql, bound) = by_place("VALUES ($1, $2), ($1, $3), ('$', '$.x')", values.clone());
        assert_eq!(sql, "VALUES (?, ?), (?, ?), ('$', '$.x')");
        assert_eq!(bound.iter().map(text).collect::<String>(), "abac");
        let (sql, bound) = by_place("$3 $2 $1", values.clone());
        assert_eq!((sql.as_ref(), bound.iter().map(text).collect::<String>().as_str()), ("? ? ?", "cba"));
        let (_, bound) = by_place("$1 $2 $3", values);
        assert_eq!(bound.iter().map(text).collect::<String>(), "abc");
    }

    #[test]
    fn sqlite_writes_to_the_tables_and_reads_a_business_from_its_views() {
        let tenant = Scope::Tenant { business: uuid::Uuid::nil(), user: None };
        for (sql, tenants, systems) in [
            ("SELECT 1 FROM contacts", "SELECT 1 FROM contacts", "SELECT 1 FROM main.contacts"),
            (
                "DELETE FROM leads WHERE id IN (SELECT id FROM contacts)",
                "DELETE FROM main.leads WHERE id IN (SELECT id FROM contacts)",
                "DELETE FROM main.leads WHERE id IN (SELECT id FROM main.contacts)",
            ),
            (
                "UPDATE runs SET state = 'x' WHERE id = ANY($1) RETURNING id",
                "UPDATE main.runs SET state = 'x' WHERE id IN (SELECT value FROM json_each($1)) RETURNING id",
                "UPDATE main.runs SET state = 'x' WHERE id IN (SELECT value FROM json_each($1)) RETURNING id",
            ),
            (
                "INSERT INTO contacts (id) VALUES ($1) ON CONFLICT (id) DO UPDATE SET id = contacts.id",
                "INSERT INTO main.contacts (id) VALUES ($1) ON CONFLICT (id) DO UPDATE SET id = contacts.id",
                "INSERT INTO main.contacts (id) VALUES ($1) ON CONFLICT (id) DO UPDATE SET id = contacts.id",
            ),
            (
                "SELECT id FROM leads JOIN runs ON true FOR UPDATE SKIP LOCKED",
                "SELECT id FROM leads JOIN runs ON true",
                "SELECT id FROM main.leads JOIN main.runs ON true",
            ),
        ] {
            assert_eq!(for_sqlite(sql, &tenant), tenants);
            assert_eq!(for_sqlite(sql, &Scope::System), systems);
        }
    }
}
