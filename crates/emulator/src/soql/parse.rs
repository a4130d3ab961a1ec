//! From text to [`ast`](super::ast), by the grammar in `soql.pest`.

use pest::Parser;
use pest::iterators::Pair;
use pest_derive::Parser;

use super::ast::{Condition, Literal, Name, Operand, Ordering, Query, Selection, Set, Subtotals, TypeOf, Value};
use super::refusal::{nesting, refused, unexpected};
use crate::api_error::ApiError;

#[derive(Parser)]
#[grammar = "soql/soql.pest"]
struct Grammar;

pub(super) type Node<'a> = Pair<'a, Rule>;

/// Deep nesting is refused rather than followed: the parser recurses.
const MAX_NESTING: usize = 60;
const MAX_CHARACTERS: usize = 100_000;

pub(crate) fn parse(soql: &str) -> Result<Query, ApiError> {
    if soql.trim().is_empty() {
        return Err(ApiError::bad("MALFORMED_QUERY", "SOQL statements cannot be empty or null"));
    }
    // Salesforce documents the bound and the code; the words are unverified.
    if soql.chars().count() > MAX_CHARACTERS || nesting(soql) > MAX_NESTING {
        return Err(ApiError::bad("MALFORMED_QUERY", "SOQL statement is too long or too deeply nested"));
    }
    let mut pairs = Grammar::parse(Rule::soql, soql).map_err(|error| unexpected(soql, &error))?;
    for node in pairs.clone().flatten() {
        refused(soql, &node)?;
    }
    let query = inner(pairs.next().expect("the rule `soql` matched")).next().expect("`soql` holds a query");
    Ok(query_of(query))
}

fn inner(node: Node<'_>) -> impl Iterator<Item = Node<'_>> {
    // Keywords must be tokens to be told from names (`fromage`); those that carry no choice are left out here.
    node.into_inner().filter(|n| {
        !matches!(
            n.as_rule(),
            Rule::EOI
                | Rule::kw_select
                | Rule::kw_from
                | Rule::kw_using
                | Rule::kw_where
                | Rule::kw_group
                | Rule::kw_having
                | Rule::kw_order
                | Rule::kw_by
                | Rule::kw_limit
                | Rule::kw_offset
                | Rule::kw_for
                | Rule::kw_not
                | Rule::kw_nulls
                | Rule::kw_scope
                | Rule::kw_with
                | Rule::kw_as
                | Rule::kw_count
                | Rule::kw_typeof
                | Rule::kw_when
                | Rule::kw_then
                | Rule::kw_else
                | Rule::kw_end
                | Rule::kw_rollup
                | Rule::kw_cube
                | Rule::kw_update
        )
    })
}

fn only(node: Node<'_>) -> Node<'_> {
    inner(node).next().expect("the grammar gives this rule one child")
}

fn name(node: &Node<'_>) -> Name {
    Name { text: node.as_str().to_owned(), at: node.as_span().start() }
}

fn query_of(node: Node<'_>) -> Query {
    let mut query = Query {
        selections: Vec::new(),
        object: Name { text: String::new(), at: 0 },
        alias: None,
        parents: Vec::new(),
        scope: None,
        filter: None,
        group_by: Vec::new(),
        subtotals: Subtotals::None,
        having: None,
        order_by: Vec::new(),
        limit: None,
        offset: None,
        first_clause: None,
    };
    for part in inner(node) {
        if query.first_clause.is_none()
            && matches!(part.as_rule(), Rule::group_by | Rule::order_by | Rule::limit | Rule::offset)
        {
            let text = part.as_str().split_whitespace().next().unwrap_or("").to_owned();
            query.first_clause = Some(Name { text, at: part.as_span().start() });
        }
        match part.as_rule() {
            Rule::selections => query.selections = inner(part).map(selection).collect(),
            Rule::parent => {
                let mut parts = inner(part);
                if let (Some(path), Some(alias)) = (parts.next(), parts.next()) {
                    query.parents.push((name(&path), alias.as_str().to_owned()));
                }
            }
            Rule::using_scope => query.scope = Some(name(&only(part))),
            Rule::object => query.object = name(&part),
            Rule::alias => query.alias = Some(part.as_str().to_owned()),
            Rule::where_clause => query.filter = Some(condition(only(part))),
            Rule::having => query.having = Some(condition(only(part))),
            Rule::group_by => {
                let mut fields: Vec<Node<'_>> = inner(part).collect();
                query.subtotals = match fields[0].as_rule() {
                    Rule::rollup => Subtotals::Rollup,
                    Rule::cube => Subtotals::Cube,
                    _ => Subtotals::None,
                };
                if query.subtotals != Subtotals::None {
                    fields = inner(fields.remove(0)).collect();
                }
                query.group_by = fields.into_iter().map(operand).collect();
            }
            Rule::order_by => query.order_by = inner(part).map(ordering).collect(),
            Rule::limit => query.limit = only(part).as_str().parse().ok(),
            Rule::offset => query.offset = only(part).as_str().parse().ok(),
            // FOR, UPDATE and WITH SECURITY_ENFORCED change nothing that a reader over REST can see here.
            _ => {}
        }
    }
    query
}

fn selection(node: Node<'_>) -> Selection {
    if node.as_rule() == Rule::count_all {
        let function = Name { text: "count".to_owned(), at: node.as_span().start() };
        return Selection::Operand { operand: Operand::Call { function, arguments: Vec::new() }, alias: None };
    }
    let mut parts = inner(node);
    let first = parts.next().expect("a selection is not empty");
    match first.as_rule() {
        Rule::query => Selection::Children(Box::new(query_of(first))),
        Rule::type_of => Selection::TypeOf(type_of(first)),
        _ => Selection::Operand { operand: plain_operand(first), alias: parts.next().as_ref().map(name) },
    }
}

fn type_of(node: Node<'_>) -> TypeOf {
    let mut parts = inner(node);
    let field = name(&parts.next().expect("TYPEOF names a relationship"));
    let mut type_of = TypeOf { field, branches: Vec::new(), otherwise: Vec::new() };
    for part in parts {
        let rule = part.as_rule();
        let mut names = inner(part).map(|n| name(&n));
        match rule {
            Rule::when_type => {
                let of = names.next().expect("WHEN names a type");
                type_of.branches.push((of, names.collect()));
            }
            _ => type_of.otherwise = names.collect(),
        }
    }
    type_of
}

fn operand(node: Node<'_>) -> Operand {
    plain_operand(only(node))
}

fn plain_operand(node: Node<'_>) -> Operand {
    match node.as_rule() {
        Rule::call => {
            let mut parts = inner(node);
            let function = name(&parts.next().expect("a call has a name"));
            Operand::Call { function, arguments: parts.map(operand).collect() }
        }
        _ => Operand::Path(name(&node)),
    }
}

fn ordering(node: Node<'_>) -> Ordering {
    let mut parts = inner(node);
    let by = operand(parts.next().expect("an ordering names a field"));
    let mut ordering = Ordering { by, descending: false, nulls_last: false };
    for part in parts {
        match part.as_rule() {
            Rule::direction => ordering.descending = part.as_str().to_ascii_lowercase().starts_with("desc"),
            _ => ordering.nulls_last = part.as_str().to_ascii_lowercase().trim_end().ends_with("last"),
        }
    }
    ordering
}

fn condition(node: Node<'_>) -> Condition {
    let mut parts = inner(node);
    let first = unary(parts.next().expect("a condition is not empty"));
    let mut any = false;
    let mut all = vec![first];
    for part in parts {
        match part.as_rule() {
            Rule::kw_and => {}
            Rule::kw_or => any = true,
            _ => all.push(unary(part)),
        }
    }
    match all.len() {
        1 => all.remove(0),
        _ if any => Condition::Any(all),
        _ => Condition::All(all),
    }
}

fn unary(node: Node<'_>) -> Condition {
    let node = only(node);
    match node.as_rule() {
        Rule::negation => Condition::Not(Box::new(unary(only(node)))),
        Rule::group => condition(only(node)),
        _ => comparison(node),
    }
}

fn comparison(node: Node<'_>) -> Condition {
    let mut parts = inner(node);
    let mut next = || parts.next().expect("a comparison has three parts");
    let (left, operator, right) = (operand(next()), next(), next());
    if operator.as_rule() == Rule::operator {
        return Condition::Compare { left, operator: operator.as_str().to_ascii_lowercase(), value: value(right) };
    }
    let set = match right.clone().into_inner().next().map(|n| n.as_rule()) {
        Some(Rule::query) => Set::Query(Box::new(query_of(only(right)))),
        _ => Set::Values(inner(right).map(value).collect()),
    };
    match (only(operator).as_rule(), set) {
        (Rule::kw_includes, Set::Values(values)) => Condition::Includes { left, negated: false, values },
        (Rule::kw_excludes, Set::Values(values)) => Condition::Includes { left, negated: true, values },
        (rule, set) => Condition::In { left, negated: rule == Rule::not_in, set },
    }
}

fn value(node: Node<'_>) -> Value {
    let node = only(node);
    let (at, text) = (node.as_span().start(), node.as_str());
    let mut pattern = String::new();
    let literal = match node.as_rule() {
        Rule::string => {
            pattern = unescape(&text[1..text.len() - 1], true);
            Literal::Text(unescape(&text[1..text.len() - 1], false))
        }
        Rule::currency => text[3..].parse().map_or(Literal::Null, Literal::Currency),
        Rule::datetime => super::dates::utc(text).map_or(Literal::Null, Literal::DateTime),
        Rule::date => Literal::Date(text.to_owned()),
        Rule::number => text.parse().map_or(Literal::Null, Literal::Number),
        Rule::boolean => Literal::Boolean(text.eq_ignore_ascii_case("true")),
        Rule::null => Literal::Null,
        _ => {
            let (word, count) = text.split_once(':').map_or((text, None), |(w, n)| (w, n.parse().ok()));
            Literal::Relative(word.to_ascii_uppercase(), count)
        }
    };
    Value { literal, pattern, at }
}

/// `pattern`: what LIKE must tell from a wildcard keeps its backslash.
fn unescape(text: &str, pattern: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n' | 'N') => out.push('\n'),
            Some('r' | 'R') => out.push('\r'),
            Some('t' | 'T') => out.push('\t'),
            Some('b' | 'B') => out.push('\u{8}'),
            Some('f' | 'F') => out.push('\u{c}'),
            Some('u') => {
                let hex: String = chars.by_ref().take(4).collect();
                out.extend(u32::from_str_radix(&hex, 16).ok().and_then(char::from_u32));
            }
            Some(c @ ('_' | '%' | '\\')) if pattern => out.extend(['\\', c]),
            Some(c) => out.push(c),
            None => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_send_is_read() {
        for soql in [
            "SELECT Id FROM Account",
            "select id, Account.Owner.Name from Contact c where c.LastName like 'O\\'Br%' and (Email = null or Email != '') order by LastName desc nulls last, Id limit 10 offset 5",
            "SELECT COUNT() FROM Contact WHERE CreatedDate = LAST_N_DAYS:30",
            "SELECT Name, (SELECT Id FROM Contacts WHERE IsDeleted = false) FROM Account WHERE Id IN (SELECT AccountId FROM Contact)",
            "SELECT LeadSource, COUNT(Id) total, MAX(CreatedDate) FROM Lead GROUP BY LeadSource HAVING COUNT(Id) > 1",
            "SELECT FIELDS(ALL) FROM Contact WHERE SystemModstamp >= 2024-01-01T00:00:00Z AND NOT LastName IN ('a','b') LIMIT 200",
            "SELECT Id, SystemModstamp FROM Contact WHERE (SystemModstamp > 2024-01-01T00:00:00.000+02:00 OR (SystemModstamp = 2024-01-01T00:00:00.000+0000 AND Id > '003')) FOR VIEW",
            "SELECT Id FROM Order ",
        ] {
            parse(soql).unwrap_or_else(|e| panic!("{soql}: {}", e.message));
        }
    }

    #[test]
    fn a_mistake_is_named_where_it_stands() {
        let error = parse("SELECT Id Name, FROM Contact").expect_err("a comma too many");
        assert_eq!(error.code, "MALFORMED_QUERY");
        assert!(error.message.ends_with("ERROR at Row:1:Column:17\nunexpected token: 'FROM'"), "{}", error.message);
        assert_eq!(parse("SELEKT Id FROM x").expect_err("no statement").message, "unexpected token: SELEKT");
        let mixed = parse("SELECT Id FROM A WHERE a = 1 AND b = 2 OR c = 3").expect_err("and with or");
        assert!(mixed.message.contains("unexpected token: 'OR'"), "{}", mixed.message);
        let end = parse("SELECT Id FROM").expect_err("no object");
        assert!(end.message.contains("'<EOF>'"), "{}", end.message);
    }
}
