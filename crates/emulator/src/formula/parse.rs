//! Reads a formula from the weakest operator to the strongest, and writes SQL on the way.

use std::sync::atomic::{AtomicU64, Ordering};

use super::lexer::{Token, tokens};
use super::{Kind, Part, TABLE, function};
use crate::schema::{SObject, Schema};

/// How deep parentheses and functions go; Salesforce's own bound is on the size of what it compiles to.
const MAX_DEPTH: usize = 50;

pub(super) fn read(
    schema: &Schema,
    object: &SObject,
    own: &str,
    text: &str,
    blank_as_zero: bool,
) -> Result<Part, String> {
    let tokens = tokens(text)?;
    let mut reader = Reader { schema, object, own, blank_as_zero, tokens, at: 0, depth: 0 };
    let part = reader.any()?;
    match reader.tokens.get(reader.at) {
        None => Ok(part),
        Some(token) => Err(format!("Syntax error. Extra {token:?}")),
    }
}

pub(super) struct Reader<'a> {
    schema: &'a Schema,
    object: &'a SObject,
    /// The field whose formula this is.
    own: &'a str,
    blank_as_zero: bool,
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

impl Reader<'_> {
    fn sign(&mut self, of: &[&str]) -> Option<&'static str> {
        match self.tokens.get(self.at) {
            Some(Token::Sign(sign)) if of.contains(sign) => {
                self.at += 1;
                Some(sign)
            }
            _ => None,
        }
    }

    fn expect(&mut self, sign: &str) -> Result<(), String> {
        self.sign(&[sign]).map(|_| ()).ok_or_else(|| format!("Syntax error. Missing '{sign}'"))
    }

    pub(super) fn any(&mut self) -> Result<Part, String> {
        if self.depth >= MAX_DEPTH {
            return Err("Syntax error. The formula is nested too deeply".to_owned());
        }
        self.depth += 1;
        let part = self.boolean("||");
        self.depth -= 1;
        part
    }

    fn boolean(&mut self, operator: &'static str) -> Result<Part, String> {
        let strong = operator == "&&";
        let mut left = if strong { self.comparison()? } else { self.boolean("&&")? };
        while self.sign(&[operator]).is_some() {
            let right = if strong { self.comparison()? } else { self.boolean("&&")? };
            all_are(Kind::Boolean, &[&left, &right], operator)?;
            let word = if strong { "AND" } else { "OR" };
            left = Part { sql: format!("({} {word} {})", left.sql, right.sql), kind: Kind::Boolean };
        }
        Ok(left)
    }

    fn comparison(&mut self) -> Result<Part, String> {
        let left = self.joined()?;
        let Some(sign) = self.sign(&["=", "==", "<>", "!=", "<=", ">=", "<", ">"]) else { return Ok(left) };
        let right = self.joined()?;
        compare(&left, sign, &right)
    }

    fn joined(&mut self) -> Result<Part, String> {
        let mut left = self.sum()?;
        while self.sign(&["&"]).is_some() {
            let right = self.sum()?;
            all_are(Kind::Text, &[&left, &right], "&")?;
            left = concat(&left, &right);
        }
        Ok(left)
    }

    fn sum(&mut self) -> Result<Part, String> {
        let mut left = self.product()?;
        while let Some(sign) = self.sign(&["+", "-"]) {
            let right = self.product()?;
            left = add(&left, sign, &right)?;
        }
        Ok(left)
    }

    fn product(&mut self) -> Result<Part, String> {
        let mut left = self.power()?;
        while let Some(sign) = self.sign(&["*", "/"]) {
            let right = self.power()?;
            all_are(Kind::Number, &[&left, &right], sign)?;
            let divisor = if sign == "/" { format!("nullif({}, 0)", right.sql) } else { right.sql };
            left = Part { sql: format!("(CAST({} AS REAL) {sign} {divisor})", left.sql), kind: Kind::Number };
        }
        Ok(left)
    }

    fn power(&mut self) -> Result<Part, String> {
        let mut left = self.signed()?;
        while self.sign(&["^"]).is_some() {
            let right = self.signed()?;
            all_are(Kind::Number, &[&left, &right], "^")?;
            left = Part { sql: format!("formula_power({}, {})", left.sql, right.sql), kind: Kind::Number };
        }
        Ok(left)
    }

    fn signed(&mut self) -> Result<Part, String> {
        if self.sign(&["-"]).is_none() {
            return self.operand();
        }
        let of = self.operand()?;
        all_are(Kind::Number, &[&of], "-")?;
        Ok(Part { sql: format!("(- {})", of.sql), kind: Kind::Number })
    }

    fn operand(&mut self) -> Result<Part, String> {
        let token = self.tokens.get(self.at).cloned().ok_or("Syntax error. The formula ends too early")?;
        self.at += 1;
        match token {
            Token::Text(text) => Ok(Part { sql: format!("'{}'", text.replace('\'', "''")), kind: Kind::Text }),
            Token::Number(number) => Ok(Part { sql: number, kind: Kind::Number }),
            Token::Sign("(") => {
                let inner = self.any()?;
                self.expect(")")?;
                Ok(inner)
            }
            Token::Sign(sign) => Err(format!("Syntax error. Found '{sign}'")),
            Token::Name(name) if self.sign(&["("]).is_some() => {
                let mut arguments = Vec::new();
                while self.sign(&[")"]).is_none() {
                    if !arguments.is_empty() {
                        self.expect(",")?;
                    }
                    arguments.push(self.any()?);
                }
                function::call(&name.to_ascii_uppercase(), &arguments)
            }
            Token::Name(name) => match name.to_ascii_uppercase().as_str() {
                "TRUE" => Ok(Part { sql: "1".to_owned(), kind: Kind::Boolean }),
                "FALSE" => Ok(Part { sql: "0".to_owned(), kind: Kind::Boolean }),
                "NULL" => Ok(Part { sql: "NULL".to_owned(), kind: Kind::Text }),
                _ => {
                    let steps: Vec<&str> = name.split('.').collect();
                    self.path(self.object, &TABLE.to_string(), &steps)
                }
            },
        }
    }

    /// A field of the table, or of a parent: read past what the user may see, as real formulas do.
    fn path(&self, object: &SObject, table: &str, steps: &[&str]) -> Result<Part, String> {
        /// Aliases are never the same twice, for formulas stand inside of each other.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let missing = |name: &str| format!("Field {name} does not exist. Check spelling.");
        let Some((first, rest)) = steps.split_first() else { return Err(missing("")) };
        if !rest.is_empty() {
            let (link, target) = object.relationship(first).ok_or_else(|| missing(first))?;
            let parent = self.schema.object(target).ok_or_else(|| missing(first))?;
            let alias = format!("f{}", NEXT.fetch_add(1, Ordering::Relaxed));
            let inner = self.path(parent, &alias, rest)?;
            let sql = format!(
                "(SELECT {} FROM main.\"{}\" {alias} WHERE {alias}.\"Id\" = {table}.\"{}\")",
                inner.sql, parent.name, link.name
            );
            return Ok(Part { sql: self.blank(sql, inner.kind), kind: inner.kind });
        }
        if object.name == self.object.name && first.eq_ignore_ascii_case(self.own) {
            return Err(format!("The formula refers to itself: {first}"));
        }
        let field = object.field(first).ok_or_else(|| missing(first))?;
        let kind =
            Kind::of(&field.kind).ok_or_else(|| format!("Field {first} may not be used in this type of formula"))?;
        let sql = match &field.formula {
            Some(formula) => formula.sql(table),
            None => format!("{table}.\"{}\"", field.name),
        };
        Ok(Part { sql: self.blank(sql, kind), kind })
    }

    fn blank(&self, sql: String, kind: Kind) -> String {
        if self.blank_as_zero && kind == Kind::Number { format!("coalesce({sql}, 0)") } else { sql }
    }
}

fn all_are(kind: Kind, parts: &[&Part], operator: &str) -> Result<(), String> {
    match parts.iter().find(|part| part.kind != kind) {
        None => Ok(()),
        Some(part) => Err(format!(
            "Incorrect parameter type for operator '{operator}'. Expected {kind:?}, received {:?}",
            part.kind
        )),
    }
}

fn concat(left: &Part, right: &Part) -> Part {
    Part { sql: format!("(coalesce({}, '') || coalesce({}, ''))", left.sql, right.sql), kind: Kind::Text }
}

fn add(left: &Part, sign: &str, right: &Part) -> Result<Part, String> {
    let (a, b) = (&left.sql, &right.sql);
    let (sql, kind) = match (left.kind, sign, right.kind) {
        (Kind::Number, _, Kind::Number) => (format!("({a} {sign} {b})"), Kind::Number),
        (Kind::Text, "+", Kind::Text) => return Ok(concat(left, right)),
        (Kind::Date, _, Kind::Number) => (format!("date({a}, ({sign} CAST({b} AS INTEGER)) || ' days')"), Kind::Date),
        (Kind::DateTime, _, Kind::Number) => (
            format!(
                "strftime('%Y-%m-%dT%H:%M:%S.000+0000', substr({a}, 1, 19), printf('%+d seconds', round(({sign} {b}) * 86400)))"
            ),
            Kind::DateTime,
        ),
        (Kind::Date, "-", Kind::Date) | (Kind::DateTime, "-", Kind::DateTime) => {
            (format!("(julianday(substr({a}, 1, 19)) - julianday(substr({b}, 1, 19)))"), Kind::Number)
        }
        (of, _, and) => return Err(format!("Incorrect parameter type for operator '{sign}': {of:?} and {and:?}")),
    };
    Ok(Part { sql, kind })
}

/// Blank text is like empty text; any other comparison with a blank is false. Letters count in both cases.
pub(super) fn compare(left: &Part, sign: &str, right: &Part) -> Result<Part, String> {
    if left.kind != right.kind {
        return Err(format!(
            "Incorrect parameter type for operator '{sign}'. Expected {:?}, received {:?}",
            left.kind, right.kind
        ));
    }
    let operator = match sign {
        "==" => "=",
        "!=" => "<>",
        other => other,
    };
    let sql = match left.kind {
        Kind::Text => {
            format!("(coalesce({}, '') COLLATE BINARY {operator} coalesce({}, ''))", left.sql, right.sql)
        }
        _ => format!("coalesce({} {operator} {}, 0)", left.sql, right.sql),
    };
    Ok(Part { sql, kind: Kind::Boolean })
}
