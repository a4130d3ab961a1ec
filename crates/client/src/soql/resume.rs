//! A query asked again from behind its last record, for when the org has forgotten how far it was.

use serde_json::{Map, Value};

/// Where the clauses of a query begin, at its top level.
#[derive(Debug, Default)]
struct Clauses {
    filter: Option<usize>,
    order: Option<usize>,
    limit: Option<usize>,
    /// `GROUP BY`, `OFFSET`, `FOR …`: what a query may have that is not continued here.
    other: bool,
}

/// The words outside of quotes and parentheses, upper-cased, with their places.
fn words(soql: &str) -> Vec<(usize, String)> {
    let (mut words, mut depth, mut quoted, mut start) = (Vec::new(), 0usize, false, None);
    let mut escaped = false;
    for (at, c) in soql.char_indices().chain([(soql.len(), ' ')]) {
        let inside = c.is_alphanumeric() || matches!(c, '_' | '.');
        if quoted {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '\'' => quoted = false,
                _ => {}
            }
            continue;
        }
        match (start, inside) {
            (None, true) if depth == 0 => start = Some(at),
            (Some(from), false) => {
                words.push((from, soql[from..at].to_ascii_uppercase()));
                start = None;
            }
            _ => {}
        }
        match c {
            '\'' => quoted = true,
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    words
}

fn clauses(words: &[(usize, String)]) -> Clauses {
    let mut found = Clauses::default();
    for (n, (at, word)) in words.iter().enumerate() {
        let next = words.get(n + 1).map_or("", |(_, word)| word.as_str());
        match (word.as_str(), next) {
            ("WHERE", _) => found.filter = Some(*at),
            ("ORDER", "BY") => found.order = Some(*at),
            ("LIMIT", _) => found.limit = Some(*at),
            ("GROUP" | "HAVING" | "OFFSET" | "FOR" | "UPDATE" | "WITH" | "USING" | "ALL", _) => found.other = true,
            _ => {}
        }
    }
    found
}

/// Whether a query has an `ORDER BY` of its own, without which [`resume`] has no answer.
pub(crate) fn is_ordered(soql: &str) -> bool {
    clauses(&words(soql)).order.is_some()
}

/// The query for what follows `last`, its last record so far, of which `seen` have come. `None` where the query has no
/// key to go on from: it must be ordered by `Id` alone, or by one of the stamps and then `Id`, both ascending and both
/// selected.
pub(crate) fn resume(soql: &str, last: &Map<String, Value>, seen: u64) -> Option<String> {
    let words = words(soql);
    let found = clauses(&words);
    let order = found.order?;
    if found.other {
        return None;
    }
    let end = found.limit.unwrap_or(soql.len());
    let by: Vec<String> = soql
        .get(order..end)?
        .split_whitespace()
        .skip(2)
        .collect::<Vec<_>>()
        .join(" ")
        .split(',')
        .map(|key| key.trim().to_ascii_uppercase())
        .collect();
    let text =
        |name: &str| last.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).and_then(|(_, value)| value.as_str());
    let plain = |key: &str| key.strip_suffix(" ASC").unwrap_or(key).trim().to_owned();
    let keys: Vec<String> = by.iter().map(|key| plain(key)).collect();
    let id = text("Id")?;
    // An id has letters and digits only; anything else would be no key.
    if !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let condition = match keys.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["ID"] => format!("Id > '{id}'"),
        [stamp @ ("SYSTEMMODSTAMP" | "CREATEDDATE" | "LASTMODIFIEDDATE"), "ID"] => {
            let at = text(stamp)?.replace("+0000", "Z");
            let at: jiff::Timestamp = at.parse().ok()?;
            let name = match stamp {
                "SYSTEMMODSTAMP" => "SystemModstamp",
                "CREATEDDATE" => "CreatedDate",
                _ => "LastModifiedDate",
            };
            let at = super::datetime(at);
            format!("({name} > {at} OR ({name} = {at} AND Id > '{id}'))")
        }
        _ => return None,
    };
    let head = soql.get(..found.filter.unwrap_or(order))?.trim_end();
    let filter = match found.filter {
        Some(at) => format!("({}) AND {condition}", soql.get(at + "WHERE".len()..order)?.trim()),
        None => condition,
    };
    let limit = match found.limit {
        None => String::new(),
        Some(at) => {
            let limit: u64 = soql[at + "LIMIT".len()..].trim().parse().ok()?;
            format!(" LIMIT {}", limit.checked_sub(seen).filter(|left| *left > 0)?)
        }
    };
    Some(format!("{head} WHERE {filter} {}{limit}", soql[order..end].trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resumed(soql: &str) -> Option<String> {
        let last = serde_json::json!({"Id": "003000000000009AAA", "SystemModstamp": "2024-01-02T03:04:05.000+0000"});
        resume(soql, last.as_object().unwrap(), 2_000)
    }

    #[test]
    fn a_query_with_a_key_goes_on_behind_it() {
        assert_eq!(
            resumed("SELECT Id FROM Contact ORDER BY Id").unwrap(),
            "SELECT Id FROM Contact WHERE Id > '003000000000009AAA' ORDER BY Id"
        );
        assert_eq!(
            resumed("select Id, (SELECT Id FROM Tasks WHERE x = 1 ORDER BY Subject LIMIT 1) from Contact where Name = ' order by ''\\' limit 1' or A IN (SELECT B FROM C WHERE D = 1)\norder by id asc limit 5000").unwrap(),
            "select Id, (SELECT Id FROM Tasks WHERE x = 1 ORDER BY Subject LIMIT 1) from Contact WHERE (Name = ' order by ''\\' limit 1' or A IN (SELECT B FROM C WHERE D = 1)) AND Id > '003000000000009AAA' order by id asc LIMIT 3000"
        );
        assert_eq!(
            resumed("SELECT Id, SystemModstamp FROM Contact ORDER BY SystemModstamp, Id").unwrap(),
            "SELECT Id, SystemModstamp FROM Contact WHERE (SystemModstamp > 2024-01-02T03:04:05Z OR (SystemModstamp = 2024-01-02T03:04:05Z AND Id > '003000000000009AAA')) ORDER BY SystemModstamp, Id"
        );
    }

    #[test]
    fn a_query_without_one_does_not() {
        for soql in [
            "SELECT Id FROM Contact",
            "SELECT Id FROM Contact ORDER BY Name",
            "SELECT Id FROM Contact ORDER BY Name, Id",
            "SELECT Id FROM Contact ORDER BY Id DESC",
            "SELECT Id FROM Contact ORDER BY Id NULLS LAST",
            "SELECT Id FROM Contact ORDER BY Id LIMIT 2000",
            "SELECT Id FROM Contact ORDER BY Id OFFSET 5",
            "SELECT Id, COUNT(Name) FROM Contact GROUP BY Id ORDER BY Id",
            "SELECT Id FROM Contact ORDER BY CreatedDate, Id",
        ] {
            assert_eq!(resumed(soql), None, "{soql}");
        }
    }
}
