//! Values in SOQL: what goes in comes out, and nothing of it becomes syntax. The judge is a reader of literals written here,
//! from "Quoted String Escape Sequences" and "LIKE" of the SOQL and SOSL Reference.

use tieline_client::fuzzing::resume;
use tieline_client::soql::{self, Like, SoqlError, Value, field, select};

use super::run;

/// A character of a `LIKE` pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    Is(char),
    Any,
    One,
}

/// Reads a string literal at the beginning of `text`; answers its signs and what follows it.
fn literal(text: &str) -> Option<(Vec<Sign>, &str)> {
    let mut rest = text.strip_prefix('\'')?;
    let mut signs = Vec::new();
    loop {
        let c = rest.chars().next()?;
        rest = &rest[c.len_utf8()..];
        signs.push(match c {
            '\'' => return Some((signs, rest)),
            // Neither may stand in a literal as it is.
            c if c.is_control() => return None,
            '%' => Sign::Any,
            '_' => Sign::One,
            '\\' => {
                let escaped = rest.chars().next()?;
                rest = &rest[escaped.len_utf8()..];
                Sign::Is(match escaped {
                    'n' | 'N' => '\n',
                    'r' | 'R' => '\r',
                    't' | 'T' => '\t',
                    'b' | 'B' => '\u{8}',
                    'f' | 'F' => '\u{c}',
                    'u' => {
                        let code = rest.get(..4)?;
                        rest = &rest[4..];
                        char::from_u32(u32::from_str_radix(code, 16).ok()?)?
                    }
                    '"' | '\'' | '\\' | '%' | '_' => escaped,
                    _ => return None,
                })
            }
            c => Sign::Is(c),
        });
    }
}

/// Outside of `LIKE` there are no wildcards.
fn plain(signs: &[Sign]) -> String {
    let of = |sign: &Sign| match sign {
        Sign::Is(c) => *c,
        Sign::Any => '%',
        Sign::One => '_',
    };
    signs.iter().map(of).collect()
}

fn is(text: &str) -> Vec<Sign> {
    text.chars().map(Sign::Is).collect()
}

const SEEDS: [&[u8]; 7] = [
    b"O'Brien",
    b"100%_\\",
    b"' OR Name != '",
    b"\\' OR Id != ''\n\r\t\x08\x0c\x00\x7f",
    "\u{85}\u{2028}\u{202e}😀é".as_bytes(),
    b":a :b ':c' --",
    b"",
];

#[test]
fn a_value_comes_out_as_it_went_in() {
    run("literals", &SEEDS, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let read = |literal_text: &str| {
            let (signs, rest) = literal(literal_text).unwrap_or_else(|| panic!("{literal_text:?} is no literal"));
            assert_eq!(rest, "", "{literal_text:?}");
            signs
        };
        assert_eq!(plain(&read(&soql::text(&text))), text);
        let like = |pattern: Like| {
            let query = select(["Id"]).from("Contact").filter(field("Name").like(pattern)).build().unwrap();
            read(query.strip_prefix("SELECT Id FROM Contact WHERE Name LIKE ").unwrap())
        };
        let any = || vec![Sign::Any];
        assert_eq!(like(Like::starting_with(&text)), [is(&text), any()].concat());
        assert_eq!(like(Like::ending_with(&text)), [any(), is(&text)].concat());
        assert_eq!(like(Like::containing(&text)), [any(), is(&text), any()].concat());
        let pattern: Vec<Sign> = text
            .chars()
            .map(|c| match c {
                '%' => Sign::Any,
                '_' => Sign::One,
                c => Sign::Is(c),
            })
            .collect();
        assert_eq!(like(Like::pattern(&text)), pattern);
    });
}

#[test]
fn a_value_stays_in_its_place_in_a_query() {
    run("places", &SEEDS, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let bound = soql::bind(
            "SELECT Id FROM T WHERE A = :a AND B IN :list AND C = ':a'",
            [("a", Value::from(&*text)), ("list", vec![&*text, "x"].into())],
        )
        .unwrap();
        let built = select(["Id"])
            .from("T")
            .filter(field("A").eq(&*text).and(field("B").is_in(vec![&*text, "x"])).and(field("C").eq(":a")))
            .build()
            .unwrap();
        assert_eq!(bound, built);
        let rest = built.strip_prefix("SELECT Id FROM T WHERE A = ").unwrap();
        let (a, rest) = literal(rest).unwrap();
        let (one, rest) = literal(rest.strip_prefix(" AND B IN (").unwrap()).unwrap();
        let (two, rest) = literal(rest.strip_prefix(", ").unwrap()).unwrap();
        assert_eq!((plain(&a), plain(&one), plain(&two)), (text.to_string(), text.to_string(), "x".to_owned()));
        assert_eq!(rest, ") AND C = ':a'");
        // A name that is none is refused.
        let named = select([&*text]).from("T").build();
        let is_name = text.split('.').all(|part| {
            part.starts_with(|c: char| c.is_ascii_alphabetic())
                && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        });
        assert_eq!(named.is_ok(), is_name, "{named:?}");
    });
}

#[test]
fn any_text_may_be_a_template_and_any_query_may_be_gone_on_with() {
    let seeds: [&[u8]; 5] = [
        b"x = :a AND y = ':a' AND d = LAST_N_DAYS:30",
        b"SELECT Id FROM C WHERE A = ' order by ''\\' limit 1' ORDER BY Id LIMIT 5000",
        b"ORDER BY Id WHERE x LIMIT 3 ORDER BY Id",
        b"SELECT Id, (SELECT Id FROM D) FROM C ORDER BY SystemModstamp ASC, Id",
        "é' :a\\".as_bytes(),
    ];
    let last = serde_json::json!({"Id": "003000000000009AAA", "SystemModstamp": "2024-01-02T03:04:05.000+0000"});
    run("templates", &seeds, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        match soql::bind(&text, [("a", "it's")]) {
            Ok(bound) => assert!(bound.len() > text.len() && bound.contains("'it\\'s'"), "{bound}"),
            Err(SoqlError::Variable(name, _)) => assert!(name == "a" || text.contains(&format!(":{name}"))),
            Err(error) => panic!("{error}"),
        }
        if let Some(more) = resume(&text, last.as_object().unwrap(), 2_000) {
            assert!(more.contains("Id > '003000000000009AAA'"), "{more}");
        }
    });
}

#[test]
fn the_judge_knows_what_is_no_literal() {
    for text in ["'a", "'a\\'", "'\n'", "'\\x'", "'\\u00G0'", "a", ""] {
        assert_eq!(literal(text), None, "{text:?}");
    }
    assert_eq!(literal("'a%\\_' b"), Some((vec![Sign::Is('a'), Sign::Any, Sign::Is('_')], " b")));
}
