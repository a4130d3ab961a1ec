//! The words of a formula.

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Text(String),
    Number(String),
    /// A function, a field or a path of fields.
    Name(String),
    Sign(&'static str),
}

/// Longest first.
const SIGNS: [&str; 19] =
    ["&&", "||", "<>", "!=", "<=", ">=", "==", "&", "=", "<", ">", "+", "-", "*", "/", "^", "(", ")", ","];

pub(super) fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' | '\'' => {
                let (value, length) = quoted(rest, first).ok_or("Syntax error. A text has no end")?;
                tokens.push(Token::Text(value));
                length
            }
            '0'..='9' | '.' => {
                let length = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
                let number = &rest[..length];
                number.parse::<f64>().map_err(|_| format!("Syntax error. {number} is no number"))?;
                tokens.push(Token::Number(number.to_owned()));
                length
            }
            c if c.is_ascii_alphabetic() || c == '_' || c == '$' => {
                let length =
                    rest.find(|c: char| !c.is_ascii_alphanumeric() && !"_.$".contains(c)).unwrap_or(rest.len());
                tokens.push(Token::Name(rest[..length].to_owned()));
                length
            }
            _ => {
                let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
                let sign = sign.ok_or_else(|| format!("Syntax error. Found '{first}'"))?;
                tokens.push(Token::Sign(sign));
                sign.len()
            }
        };
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

/// A text in quotes, and how long it is written.
fn quoted(text: &str, quote: char) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                't' => '\t',
                other => other,
            }),
            c if c == quote => return Some((value, at + c.len_utf8())),
            c => value.push(c),
        }
    }
    None
}
