//! A statement and what goes with it.

use std::collections::HashMap;

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::{Value as Json, json};

use crate::cloud::DataCloud;
use crate::error::DataCloudError;
use crate::proto::query_param::Parameters;
use crate::proto::{
    AttachedDatabase, OutputFormat, ParameterStyle as StyleNumber, QueryParam, StringPart, TransferMode,
};
use crate::results::Results;

/// How the result comes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Transfer {
    /// The first part with the answer, the rest when it is asked for. Best for most queries.
    #[default]
    Adaptive,
    /// Nothing but the schema with the answer: for queries that run long, or are read by another process.
    Async,
    /// All with the answer, within 100 s. Salesforce discourages it.
    Sync,
}

/// How parameters stand in the statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParameterStyle {
    /// `?`, in order.
    QuestionMark,
    /// `$1`, `$2`.
    Numbered,
    /// `:name`.
    Named,
}

/// The value of a parameter. Made from Rust's own types by [`From`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Nothing.
    Null,
    /// `boolean`
    Bool(bool),
    /// `bigint`
    Int(i64),
    /// `double precision`
    Double(f64),
    /// `numeric`, by its digits: `-12.50`. At most 38 of them.
    Decimal(String),
    /// `varchar`
    Text(String),
    /// `date`
    Date(Date),
    /// `timestamp with time zone`
    Timestamp(Timestamp),
}

/// A query that has not been sent yet.
///
/// ```no_run
/// # async fn example(cloud: tieline_datacloud::DataCloud) -> Result<(), tieline_datacloud::DataCloudError> {
/// let mut rows = cloud
///     .query(r#"SELECT "page", "revenue" FROM "WebEngagement__dll" WHERE "page" = ? AND "revenue" > ?"#)
///     .bind("/pricing")
///     .bind(12.5)
///     .row_limit(1_000)
///     .run()
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is sent before `run`"]
pub struct Query {
    cloud: DataCloud,
    sql: String,
    parameters: Vec<(Option<String>, Value)>,
    style: Option<ParameterStyle>,
    transfer: Transfer,
    row_limit: Option<u64>,
    settings: HashMap<String, String>,
    databases: Vec<(String, String)>,
}

impl DataCloud {
    /// A query. Names of objects and fields are case-sensitive and stand in double quotes; values belong into
    /// parameters.
    pub fn query(&self, sql: impl Into<String>) -> Query {
        Query {
            cloud: self.clone(),
            sql: sql.into(),
            parameters: Vec::new(),
            style: None,
            transfer: Transfer::default(),
            row_limit: None,
            settings: HashMap::new(),
            databases: Vec::new(),
        }
    }
}

impl Query {
    /// The value of the next `?` (or of the next number, with [`ParameterStyle::Numbered`]).
    pub fn bind(mut self, value: impl Into<Value>) -> Self {
        self.parameters.push((None, value.into()));
        self
    }

    /// The value of `:name`.
    pub fn bind_named(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.parameters.push((Some(name.into()), value.into()));
        self
    }

    /// How parameters stand in the statement. Without it: `:name` if names were bound, else `?`.
    pub fn style(self, style: ParameterStyle) -> Self {
        Self { style: Some(style), ..self }
    }

    /// How the result comes.
    pub fn transfer(self, transfer: Transfer) -> Self {
        Self { transfer, ..self }
    }

    /// Stops after so many rows. Nought asks for the schema alone.
    pub fn row_limit(self, rows: u64) -> Self {
        Self { row_limit: Some(rows), ..self }
    }

    /// One of Hyper's settings for this query, such as `time_zone`.
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.insert(name.into(), value.into());
        self
    }

    /// Attaches a database by its path. Data Cloud attaches the token's data space by itself; Salesforce's Rust client
    /// names it all the same, by [`DataCloudToken::lakehouse_name`](crate::DataCloudToken::lakehouse_name).
    pub fn database(mut self, path: impl Into<String>, alias: impl Into<String>) -> Self {
        self.databases.push((path.into(), alias.into()));
        self
    }

    /// Sends it. Answers when the result's schema is known; rows come as they are read.
    ///
    /// # Errors
    /// [`DataCloudError::Query`] when the statement is wrong, at the place in the statement; else the failure of token or
    /// call, after what could be retried was retried.
    pub async fn run(self) -> Result<Results, DataCloudError> {
        let parameters = self.parameters()?;
        let style = match self.style {
            _ if parameters.is_none() => StyleNumber::Unspecified,
            Some(ParameterStyle::QuestionMark) => StyleNumber::QuestionMark,
            Some(ParameterStyle::Numbered) => StyleNumber::DollarNumbered,
            Some(ParameterStyle::Named) => StyleNumber::Named,
            None if self.parameters.iter().any(|(name, _)| name.is_some()) => StyleNumber::Named,
            None => StyleNumber::QuestionMark,
        };
        let transfer = match self.transfer {
            Transfer::Adaptive => TransferMode::Adaptive,
            Transfer::Async => TransferMode::Async,
            Transfer::Sync => TransferMode::Sync,
        };
        let databases = self.databases.into_iter().map(|(path, alias)| AttachedDatabase { path, alias }).collect();
        let message = QueryParam {
            query: self.sql,
            databases,
            output_format: OutputFormat::ArrowIpc.into(),
            settings: self.settings,
            transfer_mode: transfer.into(),
            param_style: style.into(),
            result_range: None,
            query_row_limit: self.row_limit,
            parameters,
        };
        Results::begin(self.cloud, message).await
    }

    /// A list of types and texts: what Hyper takes as JSON. Bare values, as the comments of its proto file have it, it
    /// refuses (seen with hyperd 0.0.26963).
    fn parameters(&self) -> Result<Option<Parameters>, DataCloudError> {
        if self.parameters.is_empty() {
            return Ok(None);
        }
        let named = self.parameters.iter().filter(|(name, _)| name.is_some()).count();
        if named > 0 && named < self.parameters.len() {
            return Err(DataCloudError::Local {
                what: "the query".to_owned(),
                reason: "some of its parameters have names and some have none".to_owned(),
                hint: "use bind_named for all of them, or bind for all".to_owned(),
            });
        }
        let entries = self.parameters.iter().map(|(name, value)| {
            let mut entry = value.entry();
            if let Some(name) = name {
                entry["name"] = json!(name);
            }
            entry
        });
        let data = Json::Array(entries.collect()).to_string();
        Ok(Some(Parameters::JsonParameters(StringPart { data })))
    }
}

impl Value {
    fn entry(&self) -> Json {
        match self {
            Value::Null => json!({"type": "varchar", "value": null}),
            Value::Bool(value) => json!({"type": "bool", "value": value.to_string()}),
            Value::Int(value) => json!({"type": "bigint", "value": value.to_string()}),
            // The shortest text that is this number; in full, the largest ones have 309 digits.
            Value::Double(value) => json!({"type": "float8", "value": format!("{value:e}")}),
            Value::Text(value) => json!({"type": "varchar", "value": value}),
            Value::Date(value) => json!({"type": "date", "value": value.to_string()}),
            Value::Timestamp(value) => json!({"type": "timestamptz", "value": value.to_string()}),
            Value::Decimal(digits) => {
                let scale = digits.split_once('.').map_or(0, |(_, fraction)| fraction.len());
                let precision = digits.bytes().filter(u8::is_ascii_digit).count().max(scale).max(1);
                json!({"type": "numeric", "precision": precision, "scale": scale, "value": digits})
            }
        }
    }
}

macro_rules! from {
    ($($type:ty => $value:ident => $made:expr),* $(,)?) => {
        $(impl From<$type> for Value {
            fn from($value: $type) -> Self {
                $made
            }
        })*
    };
}

from! {
    bool => value => Value::Bool(value),
    i64 => value => Value::Int(value),
    u64 => value => i64::try_from(value).map_or_else(|_| Value::Decimal(value.to_string()), Value::Int),
    i16 => value => Value::Int(value.into()),
    i32 => value => Value::Int(value.into()),
    u32 => value => Value::Int(value.into()),
    f64 => value => Value::Double(value),
    f32 => value => Value::Double(value.into()),
    String => value => Value::Text(value),
    &str => value => Value::Text(value.to_owned()),
    Date => value => Value::Date(value),
    Timestamp => value => Value::Timestamp(value),
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_tells_its_digits() {
        for (digits, precision, scale) in [("12.50", 4, 2), ("-0.001", 4, 3), ("7", 1, 0), ("-123", 3, 0)] {
            let entry = Value::Decimal(digits.to_owned()).entry();
            assert_eq!((&entry["precision"], &entry["scale"]), (&json!(precision), &json!(scale)), "{digits}");
        }
    }
}
