//! SOSL: text in any field of several objects.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::sobject::segment;
use crate::connection::Connection;
use crate::error::ClientError;
use crate::request::Request;

#[derive(Deserialize)]
#[serde(bound = "T: DeserializeOwned", untagged)]
enum Found<T> {
    Named {
        #[serde(rename = "searchRecords")]
        records: Vec<T>,
    },
    /// Before v37.
    Bare(Vec<T>),
}

/// A record that a search found, with its object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hit {
    /// Which object it is of, and where.
    pub attributes: Attributes,
    /// Its fields: the id, and what `RETURNING` names.
    #[serde(flatten)]
    pub fields: crate::Record,
}

/// What every record says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// Its object, such as `Contact`.
    #[serde(rename = "type")]
    pub object: String,
    /// Its path.
    #[serde(default)]
    pub url: Option<String>,
}

impl Connection {
    /// Runs a search in SOSL, such as `FIND {Lovelace} IN NAME FIELDS RETURNING Contact(Id, Name)`. Use
    /// [`search_term`] for what a person typed.
    ///
    /// # Errors
    /// As [`Connection::send`]; `MALFORMED_SEARCH` says what is wrong with it.
    pub async fn search<T: DeserializeOwned>(&self, sosl: &str) -> Result<Vec<T>, ClientError> {
        let request = Request::get(self.data_path(&format!("search?q={}", segment(sosl))));
        self.send_and(&request, |reply| {
            Ok(match serde_json::from_slice(&reply.body)? {
                Found::Named { records } | Found::Bare(records) => records,
            })
        })
        .await
    }
}

/// A term for `FIND`, in braces, in which nothing has a meaning of its own.
///
/// Source: "Reserved Characters" of the SOQL and SOSL Reference.
///
/// ```
/// assert_eq!(tieline_client::search_term("C&A (Berlin)"), r"{C\&A \(Berlin\)}");
/// ```
pub fn search_term(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    out.push('{');
    for c in text.chars() {
        if matches!(
            c,
            '?' | '&'
                | '|'
                | '!'
                | '{'
                | '}'
                | '['
                | ']'
                | '('
                | ')'
                | '^'
                | '~'
                | '*'
                | ':'
                | '\\'
                | '"'
                | '\''
                | '+'
                | '-'
        ) {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('}');
    out
}
