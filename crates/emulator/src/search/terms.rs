//! What is looked for: words with wildcards, phrases, AND, OR and AND NOT.

use super::malformed;
use crate::api_error::ApiError;

#[derive(Debug, PartialEq)]
pub(super) enum Terms {
    /// Words that follow each other in one field.
    Phrase(Vec<Word>),
    All(Vec<Terms>),
    Any(Vec<Terms>),
    Not(Box<Terms>),
}

type Word = Vec<Piece>;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Piece {
    Letter(char),
    /// `?`
    One,
    /// `*`
    Any,
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Open,
    Close,
    And,
    Or,
    Not,
    /// A word as written, or what stands in quotes; letters after a backslash are marked.
    Text(Vec<(char, bool)>),
}

/// Reads what stands in the braces of FIND.
pub(super) fn parse(text: &str) -> Result<Terms, ApiError> {
    let tokens = tokens(text)?;
    let letters = tokens.iter().map(|t| if let Token::Text(t) = t { letters(t) } else { 0 }).sum::<usize>();
    // One character of a script without an alphabet is a word. Wording from memory of real orgs.
    if letters < 2 && !text.chars().any(|c| c.is_alphabetic() && !c.is_ascii()) {
        return Err(malformed(format!("search term must be longer than one character: {}", text.trim())));
    }
    let mut parser = Parser { tokens, at: 0 };
    let terms = parser.any()?;
    match parser.tokens.get(parser.at) {
        None => Ok(terms),
        Some(_) => Err(malformed("unexpected token: ')'".to_owned())),
    }
}

fn letters(text: &[(char, bool)]) -> usize {
    text.iter().filter(|(c, _)| c.is_alphanumeric()).count()
}

fn tokens(text: &str) -> Result<Vec<Token>, ApiError> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => {}
            '(' => tokens.push(Token::Open),
            ')' => tokens.push(Token::Close),
            '&' => tokens.push(Token::And),
            '|' => tokens.push(Token::Or),
            '!' => tokens.push(Token::Not),
            '"' => {
                let mut quoted = Vec::new();
                loop {
                    match chars.next() {
                        None => return Err(malformed("unexpected token: '<EOF>'".to_owned())),
                        Some('"') => break,
                        Some('\\') => quoted.extend(chars.next().map(|c| (c, true))),
                        Some(c) => quoted.push((c, false)),
                    }
                }
                tokens.push(Token::Text(quoted));
            }
            c => {
                let mut word = Vec::new();
                if c == '\\' {
                    word.extend(chars.next().map(|c| (c, true)))
                } else {
                    word.push((c, false))
                }
                while let Some(c) =
                    chars.next_if(|c| !c.is_whitespace() && !matches!(c, '(' | ')' | '&' | '|' | '!' | '"'))
                {
                    if c == '\\' { word.extend(chars.next().map(|c| (c, true))) } else { word.push((c, false)) }
                }
                let plain: String = word.iter().map(|(c, _)| *c).collect();
                tokens.push(match plain.to_ascii_uppercase().as_str() {
                    "AND" => Token::And,
                    "OR" => Token::Or,
                    "NOT" => Token::Not,
                    _ => Token::Text(word),
                });
            }
        }
    }
    Ok(tokens)
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn take(&mut self, token: &Token) -> bool {
        let found = self.tokens.get(self.at) == Some(token);
        self.at += usize::from(found);
        found
    }

    /// OR binds least.
    fn any(&mut self) -> Result<Terms, ApiError> {
        let mut parts = vec![self.all()?];
        while self.take(&Token::Or) {
            parts.push(self.all()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Terms::Any(parts) })
    }

    /// Words beside each other must all be there.
    fn all(&mut self) -> Result<Terms, ApiError> {
        let mut parts = vec![self.one()?];
        loop {
            let and = self.take(&Token::And);
            if self.take(&Token::Not) {
                parts.push(Terms::Not(Box::new(self.one()?)));
            } else if and || matches!(self.tokens.get(self.at), Some(Token::Open | Token::Text(_))) {
                parts.push(self.one()?);
            } else {
                return Ok(if parts.len() == 1 { parts.remove(0) } else { Terms::All(parts) });
            }
        }
    }

    fn one(&mut self) -> Result<Terms, ApiError> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        match token {
            Some(Token::Text(text)) => Ok(Terms::Phrase(words(&text))),
            Some(Token::Open) => {
                let inner = self.any()?;
                if self.take(&Token::Close) {
                    Ok(inner)
                } else {
                    Err(malformed("unexpected token: '<EOF>'".to_owned()))
                }
            }
            Some(Token::Close) => Err(malformed("unexpected token: ')'".to_owned())),
            Some(_) => Err(malformed("unexpected token: an operator without a term".to_owned())),
            None => Err(malformed("unexpected token: '<EOF>'".to_owned())),
        }
    }
}

fn words(text: &[(char, bool)]) -> Vec<Word> {
    let mut words = vec![Word::new()];
    for (c, escaped) in text {
        let last = words.len() - 1;
        match c {
            // Wildcards stand in the middle or at the end of a word.
            '*' if !escaped && !words[last].is_empty() => words[last].push(Piece::Any),
            '?' if !escaped && !words[last].is_empty() => words[last].push(Piece::One),
            c if c.is_alphanumeric() => words[last].extend(c.to_lowercase().map(Piece::Letter)),
            _ => words.push(Word::new()),
        }
    }
    words.retain(|w| !w.is_empty());
    words
}

impl Terms {
    /// Whether a record with these fields, in words, is meant.
    pub(super) fn meets(&self, fields: &[Vec<String>]) -> bool {
        match self {
            Terms::Phrase(words) => {
                !words.is_empty()
                    && fields.iter().any(|field| {
                        field.windows(words.len()).any(|run| run.iter().zip(words).all(|(text, word)| fits(word, text)))
                    })
            }
            Terms::All(parts) => parts.iter().all(|p| p.meets(fields)),
            Terms::Any(parts) => parts.iter().any(|p| p.meets(fields)),
            Terms::Not(inner) => !inner.meets(fields),
        }
    }
}

/// The words of a field's text.
pub(super) fn split(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).map(str::to_lowercase).collect()
}

fn fits(word: &[Piece], text: &str) -> bool {
    fn rest(word: &[Piece], text: &[char]) -> bool {
        match (word.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((Piece::Any, after)), _) => {
                after.is_empty() || (0..=text.len()).any(|skipped| rest(after, &text[skipped..]))
            }
            (Some((Piece::One, after)), Some((_, text))) => rest(after, text),
            (Some((Piece::Letter(c), after)), Some((first, text))) => c == first && rest(after, text),
            _ => false,
        }
    }
    let text: Vec<char> = text.chars().collect();
    rest(word, &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_words_wildcards_phrases_and_operators() {
        let fields = [split("Acme Rocket-Labs 🚀"), split("Ada.Lovelace@example.com"), split("(415) 555-0100")];
        for (terms, expected) in [
            ("acme", true),
            ("acm", false),
            ("acm*", true),
            ("ac?e", true),
            ("ac?", false),
            ("a*e", true),
            ("*cme", false),
            ("acme labs", true),
            ("\"acme labs\"", false),
            ("\"rocket labs\"", true),
            ("rocket\\-labs", true),
            ("\"acme ada\"", false),
            ("acme AND ada", true),
            ("acme and nobody", false),
            ("nobody OR ada", true),
            ("acme AND NOT ada", false),
            ("acme AND NOT nobody", true),
            ("acme & !nobody", true),
            ("nobody OR (acme AND 415)", true),
            ("(nobody OR acme) AND nothing", false),
            ("ada.lovelace@example.com", true),
            ("415 555-0100", true),
            ("and", false),
        ] {
            match parse(terms) {
                Ok(found) => assert_eq!(found.meets(&fields), expected, "{terms}"),
                Err(_) => assert!(!expected, "{terms}"),
            }
        }
    }

    #[test]
    fn a_search_needs_two_characters_and_closed_brackets() {
        for terms in ["a", "*", "", "(acme", "acme)", "\"acme", "acme AND"] {
            assert_eq!(parse(terms).expect_err(terms).code, "MALFORMED_SEARCH");
        }
    }
}
