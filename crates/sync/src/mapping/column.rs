//! A column as somebody writes it.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use tieline_store::object_tables::ColumnKind;

use super::template;
use super::transform::Transform;

/// Where a column's values come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// A field, or a parent's: `Email`, `Account.Owner.Name`.
    Field(String),
    /// The same value in every row.
    Constant(Value),
    /// Fields within a text: `{FirstName} {LastName}`.
    Template(String),
}

impl Source {
    /// The paths of its fields. A template that cannot be read has none; [`Plan`](super::Plan) says what is wrong with it.
    pub(super) fn paths(&self) -> Vec<String> {
        match self {
            Source::Field(path) => vec![path.clone()],
            Source::Constant(_) => Vec::new(),
            Source::Template(text) => template::read(text).map(|pieces| template::paths(&pieces)).unwrap_or_default(),
        }
    }
}

/// One column. Written as a table of its settings, or as the path of a field alone.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(into = "Written")]
pub struct ColumnDefinition {
    /// Where its values come from.
    pub source: Source,
    /// Its name; made of the field's unless told otherwise.
    pub column: Option<String>,
    /// What it keeps; as the org has it unless told otherwise.
    pub kind: Option<ColumnKind>,
    /// What is done to a value, in this order.
    pub transforms: Vec<Transform>,
    /// What stands where there is no value after that.
    pub default: Option<Value>,
}

/// Its keys.
pub(super) const KEYS: [&str; 7] = ["field", "constant", "template", "column", "kind", "transforms", "default"];

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    constant: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    template: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    column: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kind: Option<ColumnKind>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    transforms: Vec<Transform>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    default: Option<Value>,
}

impl ColumnDefinition {
    /// The column of a field, as the org has it.
    pub fn of(path: &str) -> Self {
        let source = Source::Field(path.to_owned());
        Self { source, column: None, kind: None, transforms: Vec::new(), default: None }
    }
}

impl From<ColumnDefinition> for Written {
    fn from(column: ColumnDefinition) -> Self {
        let ColumnDefinition { source, column, kind, transforms, default } = column;
        let rest = Written { column, kind, transforms, default, ..Written::default() };
        match source {
            Source::Field(path) => Written { field: Some(path), ..rest },
            Source::Constant(value) => Written { constant: Some(value), ..rest },
            Source::Template(text) => Written { template: Some(text), ..rest },
        }
    }
}

impl TryFrom<Written> for ColumnDefinition {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, &'static str> {
        let source = match (written.field, written.constant, written.template) {
            (Some(path), None, None) => Source::Field(path),
            (None, Some(value), None) => Source::Constant(value),
            (None, None, Some(text)) => Source::Template(text),
            (None, None, None) => return Err("a column needs one of `field`, `constant` and `template`"),
            _ => return Err("a column has only one of `field`, `constant` and `template`"),
        };
        let Written { column, kind, transforms, default, .. } = written;
        Ok(Self { source, column, kind, transforms, default })
    }
}

impl<'de> Deserialize<'de> for ColumnDefinition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PathOrTable;

        impl<'de> Visitor<'de> for PathOrTable {
            type Value = ColumnDefinition;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the path of a field, or a table with `field`, `constant` or `template`")
            }

            fn visit_str<E: serde::de::Error>(self, path: &str) -> Result<ColumnDefinition, E> {
                Ok(ColumnDefinition::of(path))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ColumnDefinition, A::Error> {
                let written = Written::deserialize(MapAccessDeserializer::new(map))?;
                ColumnDefinition::try_from(written).map_err(A::Error::custom)
            }
        }

        deserializer.deserialize_any(PathOrTable)
    }
}
