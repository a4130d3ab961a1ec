//! Values as SOQL writes them.

use std::fmt::Write;

use jiff::Timestamp;
use jiff::civil::Date;

use super::SoqlError;

/// A value to compare with.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// `null`.
    Null,
    /// Text, ids and picklist values; quoted and escaped.
    Text(String),
    /// True or false.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A number; it must be finite.
    Number(f64),
    /// A day.
    Date(Date),
    /// A moment; SOQL compares whole seconds.
    DateTime(Timestamp),
    /// A pattern for `LIKE`.
    Like(Like),
    /// Several values for `IN`.
    List(Vec<Value>),
}

/// A pattern for `LIKE`, in which only what was meant as a wildcard is one.
///
/// ```
/// use tieline_client::soql::{Like, field, select};
///
/// let query = select(["Id"]).from("Account").filter(field("Name").like(Like::starting_with("100%_"))).build()?;
/// assert_eq!(query, r"SELECT Id FROM Account WHERE Name LIKE '100\%\_%'");
/// # Ok::<(), tieline_client::soql::SoqlError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Like(String);

impl Like {
    /// Text that begins so.
    pub fn starting_with(text: &str) -> Self {
        Self(format!("{}%", escaped(text, true)))
    }

    /// Text that ends so.
    pub fn ending_with(text: &str) -> Self {
        Self(format!("%{}", escaped(text, true)))
    }

    /// Text that holds this.
    pub fn containing(text: &str) -> Self {
        Self(format!("%{}%", escaped(text, true)))
    }

    /// A pattern of the caller's: `%` and `_` are wildcards, everything else is itself.
    pub fn pattern(pattern: &str) -> Self {
        Self(escaped(pattern, false))
    }
}

/// The inside of a string literal. Source: "Quoted String Escape Sequences" of the SOQL and SOSL Reference; in a `LIKE`
/// pattern the same backslash also takes the wildcards their meaning.
fn escaped(value: &str, wildcards: bool) -> String {
    let mut out = String::with_capacity(value.len() + 2);
    for c in value.chars() {
        match c {
            '\'' => out.push_str("\\'"),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '%' if wildcards => out.push_str("\\%"),
            '_' if wildcards => out.push_str("\\_"),
            c if c.is_control() => drop(write!(out, "\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

/// A string literal of SOQL, quoted and escaped.
///
/// ```
/// assert_eq!(tieline_client::soql::text("O'Brien\n"), r"'O\'Brien\n'");
/// ```
pub fn text(value: &str) -> String {
    format!("'{}'", escaped(value, false))
}

/// A datetime literal: UTC, whole seconds, which is what SOQL compares by.
///
/// ```
/// let at = "2024-01-02T03:04:05.678Z".parse().unwrap();
/// assert_eq!(tieline_client::soql::datetime(at), "2024-01-02T03:04:05Z");
/// ```
pub fn datetime(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A name or a dotted path of names, if it is one.
///
/// # Errors
/// [`SoqlError::Name`] for anything else: letters, digits and underscores, the first a letter.
///
/// ```
/// use tieline_client::soql::identifier;
/// assert_eq!(identifier("Account.Owner.Name")?, "Account.Owner.Name");
/// assert!(identifier("Name FROM Contact").is_err());
/// # Ok::<(), tieline_client::soql::SoqlError>(())
/// ```
pub fn identifier(name: &str) -> Result<&str, SoqlError> {
    let is_one = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    if name.split('.').all(is_one) { Ok(name) } else { Err(SoqlError::Name(name.to_owned())) }
}

impl Value {
    /// As SOQL writes it.
    pub(super) fn literal(&self) -> Result<String, SoqlError> {
        Ok(match self {
            Value::Null => "null".to_owned(),
            Value::Text(value) => text(value),
            Value::Boolean(value) => value.to_string(),
            Value::Integer(value) => value.to_string(),
            Value::Number(value) if value.is_finite() => value.to_string(),
            Value::Number(value) => return Err(SoqlError::Number(value.to_string())),
            Value::Date(day) => day.to_string(),
            Value::DateTime(at) => datetime(*at),
            Value::Like(Like(pattern)) => format!("'{pattern}'"),
            Value::List(values) => {
                let values: Result<Vec<String>, SoqlError> = values.iter().map(Value::literal).collect();
                format!("({})", values?.join(", "))
            }
        })
    }
}

macro_rules! from {
    ($($of:ty => $made:expr),* $(,)?) => {$(
        impl From<$of> for Value {
            fn from(value: $of) -> Self {
                $made(value)
            }
        }
    )*};
}

from! {
    &str => |value: &str| Value::Text(value.to_owned()),
    &String => |value: &String| Value::Text(value.clone()),
    String => Value::Text,
    bool => Value::Boolean,
    i32 => |value: i32| Value::Integer(value.into()),
    u32 => |value: u32| Value::Integer(value.into()),
    i64 => Value::Integer,
    f64 => Value::Number,
    Date => Value::Date,
    Timestamp => Value::DateTime,
    Like => Value::Like,
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(values: Vec<T>) -> Self {
        Value::List(values.into_iter().map(Into::into).collect())
    }
}

impl<T: Clone + Into<Value>> From<&[T]> for Value {
    fn from(values: &[T]) -> Self {
        values.to_vec().into()
    }
}
