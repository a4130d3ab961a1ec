//! CSV as the Bulk API writes and reads it: RFC 4180 with one of six delimiters, UTF-8, a header line; an empty value is
//! null on the way out and "leave as it is" on the way in, where `#N/A` empties a field.

mod parser;
mod scan;

pub use parser::Row;
pub(crate) use parser::{Found, Parser, RowBuffer};
pub(crate) use scan::Scanner;

use serde::{Deserialize, Serialize};

/// What empties a field of a record when it is sent.
pub const NULL: &str = "#N/A";

/// What stands between two values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Delimiter {
    /// `,`
    #[default]
    Comma,
    /// `;`
    Semicolon,
    /// A tabulator.
    Tab,
    /// `|`
    Pipe,
    /// `^`
    Caret,
    /// A backquote.
    Backquote,
}

impl Delimiter {
    /// As a byte.
    pub fn byte(self) -> u8 {
        match self {
            Delimiter::Comma => b',',
            Delimiter::Semicolon => b';',
            Delimiter::Tab => b'\t',
            Delimiter::Pipe => b'|',
            Delimiter::Caret => b'^',
            Delimiter::Backquote => b'`',
        }
    }
}

impl std::str::FromStr for Delimiter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text.to_ascii_lowercase().as_str() {
            "comma" | "," => Delimiter::Comma,
            "semicolon" | ";" => Delimiter::Semicolon,
            "tab" | "\t" | "\\t" => Delimiter::Tab,
            "pipe" | "|" => Delimiter::Pipe,
            "caret" | "^" => Delimiter::Caret,
            "backquote" | "`" => Delimiter::Backquote,
            _ => return Err(format!("`{text}` is not one of comma, semicolon, tab, pipe, caret, backquote")),
        })
    }
}
