//! Whether a statement only reads. The query service of Data Cloud takes queries; Hyper itself would write, and its
//! own switch for that (`restrict_statement_types`) cannot be told apart by caller.
//!
//! Hyper takes one statement a call, and no writing one inside of parentheses (both seen with 0.0.26963), so that the
//! verb at the top decides.

/// The statement's verb begins a query.
pub(super) fn only_reads(sql: &str) -> bool {
    let words = top_level(sql);
    let mut words = words.iter().map(String::as_str).peekable();
    let mut first = words.next();
    if first == Some("explain") {
        words.next_if(|word| *word == ")");
        first = words.next();
    }
    match first {
        Some("select" | "values" | "table" | ")") => true,
        Some("with") => after_common_tables(words),
        _ => false,
    }
}

/// `WITH a (x) AS (…), b AS (…) verb`: the verb follows a closing parenthesis, which otherwise only `AS` does.
fn after_common_tables<'a>(words: impl Iterator<Item = &'a str>) -> bool {
    let mut closed = false;
    for word in words {
        match word {
            // Two in a row: the query itself is in parentheses.
            ")" if closed => return true,
            ")" => closed = true,
            "as" | "," => closed = false,
            verb if closed => return matches!(verb, "select" | "values" | "table"),
            _ => {}
        }
    }
    false
}

/// Words and commas outside of parentheses, comments and quotes, in lower case; a whole parenthesis is one `)`.
fn top_level(sql: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut depth = 0usize;
    let mut rest = sql;
    while let Some(next) = rest.chars().next() {
        let length = match next {
            '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            // Not nested, as Hyper reads them.
            '/' if rest.starts_with("/*") => end(rest, 2, "*/"),
            '\'' | '"' => end(rest, 1, if next == '"' { "\"" } else { "'" }),
            'e' | 'E' if rest[1..].starts_with('\'') => escaped(rest),
            '$' => dollar_quoted(rest).unwrap_or(1),
            '(' => {
                depth += 1;
                1
            }
            ')' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    words.push(")".to_owned());
                }
                1
            }
            ',' => {
                if depth == 0 {
                    words.push(",".to_owned());
                }
                1
            }
            letter if is_word(letter) => {
                let length = rest.find(|c| !is_word(c) && c != '$').unwrap_or(rest.len());
                if depth == 0 {
                    words.push(rest[..length].to_lowercase());
                }
                length
            }
            other => other.len_utf8(),
        };
        rest = &rest[length..];
    }
    words
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// Where the part ends that began `from` bytes before its text. A doubled quote ends it and begins the next one.
fn end(rest: &str, from: usize, mark: &str) -> usize {
    rest[from..].find(mark).map_or(rest.len(), |at| from + at + mark.len())
}

/// `e'…'`, in which a backslash protects what follows.
fn escaped(rest: &str) -> usize {
    let mut bytes = rest.bytes().enumerate().skip(2);
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'\'' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// `$tag$ … $tag$`; nothing for a parameter such as `$1`.
fn dollar_quoted(rest: &str) -> Option<usize> {
    let tag = &rest[..=1 + rest[1..].find('$')?];
    let name = &tag[1..tag.len() - 1];
    let is_tag = name.chars().all(is_word) && !name.starts_with(|c: char| c.is_ascii_digit());
    is_tag.then(|| end(rest, tag.len(), tag))
}

#[cfg(test)]
mod tests {
    use super::only_reads;

    #[test]
    fn queries_are_told_from_all_else() {
        for sql in [
            "select 1",
            "-- insert\n/* delete */ SELECT 1",
            "(select 1) union (select 2)",
            "values (1)",
            "table t",
            "with a as (select 1), b (x) as materialized (select 'x)' as \"(\") select * from a",
            "with recursive a(n) as (values (1)) (select n from a)",
            "with insert_ as (select 1) select * from insert_",
            "explain select 1",
            "explain (verbose, analyze) with a as (select 1) select * from a",
            "select $$; delete from t$$, e'\\'', 'it''s', $1",
        ] {
            assert!(only_reads(sql), "{sql}");
        }
        for sql in [
            "",
            "insert into t values (1)",
            "/* a */ drop table t -- select",
            "with a as (select 1) insert into t select * from a",
            "with a as (select ')') delete from t",
            "with a as (select 1), b as (select 2) update t set x = 1",
            "explain (analyze) insert into t values (1)",
            "explain (analyze) with a as (select 1) insert into t select * from a",
            "copy (select 1) to '/tmp/x'",
            "create table t as select 1",
            "attach database 'x'",
            "set x = 1",
            "/* a /* b */ insert into t values (1)",
            "call f()",
        ] {
            assert!(!only_reads(sql), "{sql}");
        }
    }
}
