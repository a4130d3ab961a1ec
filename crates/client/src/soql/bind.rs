//! Bind variables.

use std::collections::BTreeMap;

use super::{SoqlError, Value};

/// Puts values in the place of `:variables`, as Apex does it. What stands in quotes is left alone.
///
/// ```
/// use tieline_client::soql::{Value, bind};
///
/// let ids = vec!["003000000000001AAA", "003000000000002AAA"];
/// let query = bind(
///     "SELECT Id FROM Contact WHERE Id IN :ids AND Birthdate > :born AND Title != ':ids'",
///     [("ids", Value::from(ids)), ("born", "1815-12-10".parse::<jiff::civil::Date>().unwrap().into())],
/// )?;
/// assert!(query.ends_with("IN ('003000000000001AAA', '003000000000002AAA') AND Birthdate > 1815-12-10 AND Title != ':ids'"));
/// # Ok::<(), tieline_client::soql::SoqlError>(())
/// ```
///
/// # Errors
/// [`SoqlError::Variable`] for a variable without a value and for a value without a variable.
pub fn bind<'a, V: Into<Value>>(
    soql: &str,
    variables: impl IntoIterator<Item = (&'a str, V)>,
) -> Result<String, SoqlError> {
    let mut values: BTreeMap<&str, (String, bool)> = BTreeMap::new();
    for (name, value) in variables {
        values.insert(name, (value.into().literal()?, false));
    }
    let mut out = String::with_capacity(soql.len() + 64);
    let mut rest = soql;
    let mut quoted = false;
    while let Some(c) = rest.chars().next() {
        let name_length = rest.bytes().skip(1).take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
        match c {
            '\\' if quoted => {
                let two = rest.char_indices().nth(2).map_or(rest.len(), |(at, _)| at);
                out.push_str(&rest[..two]);
                rest = &rest[two..];
                continue;
            }
            '\'' => quoted = !quoted,
            // `LAST_N_DAYS:30` is no variable: names do not begin with a digit.
            ':' if !quoted && name_length > 0 && !rest.as_bytes()[1].is_ascii_digit() => {
                let name = &rest[1..=name_length];
                let found = values.get_mut(name);
                let (literal, used) = found.ok_or_else(|| SoqlError::Variable(name.to_owned(), "has no value"))?;
                *used = true;
                out.push_str(literal);
                rest = &rest[1 + name_length..];
                continue;
            }
            _ => {}
        }
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    match values.into_iter().find(|(_, (_, used))| !used) {
        Some((name, _)) => Err(SoqlError::Variable(name.to_owned(), "is not in the query")),
        None => Ok(out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_found_only_where_they_are_some() {
        let bound = |soql| bind(soql, [("a", 1)]);
        assert_eq!(bound("x = :a").unwrap(), "x = 1");
        assert_eq!(bound("x = ': a\\':a' AND y=:a").unwrap(), "x = ': a\\':a' AND y=1");
        assert_eq!(
            bound("d = LAST_N_DAYS:30 AND x = :a AND é = 'ü'").unwrap(),
            "d = LAST_N_DAYS:30 AND x = 1 AND é = 'ü'"
        );
        assert_eq!(bound("x = :b"), Err(SoqlError::Variable("b".to_owned(), "has no value")));
        assert_eq!(bound("x = 1"), Err(SoqlError::Variable("a".to_owned(), "is not in the query")));
        // A value is not looked at again.
        assert_eq!(bind("x = :a", [("a", ":a")]).unwrap(), "x = ':a'");
        assert_eq!(bound("x = :"), Err(SoqlError::Variable("a".to_owned(), "is not in the query")));
    }
}
