//! What is bound to a statement.

use jiff::Timestamp;
use sqlx::Arguments;
use sqlx::error::BoxDynError;
use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteArguments;
use sqlx::types::Json;
use uuid::Uuid;

use super::time::PgTime;

/// A value, or the absence of one, of a type that both databases keep.
///
/// | | SQLite | PostgreSQL |
/// | --- | --- | --- |
/// | `Time` | milliseconds since 1970 | `timestamptz`, in milliseconds |
/// | `Json` | text | `jsonb` |
/// | `Id` | text | `uuid` |
/// | `Texts`, `Ids` | a JSON array, read by `json_each` | an array, read by `ANY` |
///
/// It prints nothing: values may be secrets.
#[derive(Clone)]
pub(crate) enum Value {
    Text(Option<String>),
    Int(Option<i64>),
    Bool(Option<bool>),
    Bytes(Option<Vec<u8>>),
    Time(Option<Timestamp>),
    Json(Option<serde_json::Value>),
    Id(Option<Uuid>),
    Texts(Vec<String>),
    Ids(Vec<Uuid>),
}

impl Value {
    pub(super) fn add_to_sqlite(self, arguments: &mut SqliteArguments) -> Result<(), BoxDynError> {
        match self {
            Value::Text(text) => arguments.add(text),
            Value::Int(number) => arguments.add(number),
            Value::Bool(truth) => arguments.add(truth),
            Value::Bytes(bytes) => arguments.add(bytes),
            Value::Time(time) => arguments.add(time.map(Timestamp::as_millisecond)),
            Value::Json(json) => arguments.add(json.map(|json| json.to_string())),
            Value::Id(id) => arguments.add(id.map(|id| id.to_string())),
            Value::Texts(texts) => arguments.add(serde_json::Value::from(texts).to_string()),
            Value::Ids(ids) => {
                let ids: Vec<String> = ids.iter().map(Uuid::to_string).collect();
                arguments.add(serde_json::Value::from(ids).to_string())
            }
        }
    }

    pub(super) fn add_to_postgres(self, arguments: &mut PgArguments) -> Result<(), BoxDynError> {
        match self {
            // PostgreSQL keeps no NUL in texts.
            Value::Text(Some(text)) if text.contains('\0') => arguments.add(text.replace('\0', "\u{fffd}")),
            Value::Text(text) => arguments.add(text),
            Value::Int(number) => arguments.add(number),
            Value::Bool(truth) => arguments.add(truth),
            Value::Bytes(bytes) => arguments.add(bytes),
            Value::Time(time) => arguments.add(time.map(PgTime)),
            Value::Json(json) => arguments.add(json.map(Json)),
            Value::Id(id) => arguments.add(id),
            Value::Texts(texts) => arguments.add(texts),
            Value::Ids(ids) => arguments.add(ids),
        }
    }
}

/// From each type, and from an option of it.
macro_rules! values {
    ($($type:ty => $variant:ident),* $(,)?) => {$(
        impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Value::$variant(Some(value.into()))
            }
        }

        impl From<Option<$type>> for Value {
            fn from(value: Option<$type>) -> Self {
                Value::$variant(value.map(Into::into))
            }
        }
    )*};
}

values! {
    &str => Text,
    String => Text,
    i64 => Int,
    u32 => Int,
    bool => Bool,
    Vec<u8> => Bytes,
    Timestamp => Time,
    serde_json::Value => Json,
    Uuid => Id,
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Value::Text(Some(text.clone()))
    }
}

impl From<&Option<String>> for Value {
    fn from(text: &Option<String>) -> Self {
        Value::Text(text.clone())
    }
}

impl From<&serde_json::Value> for Value {
    fn from(json: &serde_json::Value) -> Self {
        Value::Json(Some(json.clone()))
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Value::Bytes(Some(bytes.to_vec()))
    }
}

impl From<Vec<String>> for Value {
    fn from(texts: Vec<String>) -> Self {
        Value::Texts(texts)
    }
}

impl From<Vec<Uuid>> for Value {
    fn from(ids: Vec<Uuid>) -> Self {
        Value::Ids(ids)
    }
}
