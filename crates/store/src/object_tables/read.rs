//! Rows of a table as JSON, for exports and for whoever asks what is kept of them.

use serde_json::{Map, Value};

use super::table::{ColumnKind, ObjectTable, quoted};
use crate::error::StoreError;
use crate::sql::{Row, Tx};

/// Whether the table is there: whoever takes a mapping out drops its table first.
pub(crate) async fn is_there(tx: &mut Tx, table: &ObjectTable) -> Result<bool, StoreError> {
    let sql = match tx.is_postgres() {
        true => "SELECT tablename AS name FROM pg_tables WHERE schemaname = current_schema() AND tablename = $1",
        false => "SELECT name FROM sqlite_master WHERE type = 'table' AND name = $1",
    };
    Ok(tx.query(sql).bind(table.name()).optional().await?.is_some())
}

/// A statement that reads rows, each column as text, for [`as_json`]; a condition may be put behind it.
pub(crate) fn select(table: &ObjectTable, postgres: bool) -> String {
    let columns: Vec<String> = columns(table)
        .map(|(name, kind)| {
            let column = quoted(name);
            match (kind, postgres) {
                // As SQLite keeps them, whatever the session's settings.
                (ColumnKind::DateTime, true) => {
                    format!("to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') AS {column}")
                }
                (ColumnKind::Date, true) => format!("to_char({column}, 'YYYY-MM-DD') AS {column}"),
                (ColumnKind::Time, true) => format!("to_char({column}, 'HH24:MI:SS.MS') AS {column}"),
                _ => format!("CAST({column} AS text) AS {column}"),
            }
        })
        .collect();
    format!("SELECT {} FROM {}", columns.join(", "), quoted(table.name()))
}

/// All columns with their kinds, ours included.
fn columns(table: &ObjectTable) -> impl Iterator<Item = (&str, ColumnKind)> {
    let ours = [
        ("_stamp", ColumnKind::DateTime),
        ("_deleted", ColumnKind::Text),
        ("_master_id", ColumnKind::Text),
        ("_synced_at", ColumnKind::DateTime),
    ];
    let own = table.columns().iter().map(|column| (column.name.as_str(), column.kind));
    std::iter::once(("id", ColumnKind::Text)).chain(own).chain(ours)
}

/// A row that [`select`] has read. Decimal numbers are their digits as text: a number of JSON may be rounded by its reader.
pub(crate) fn as_json(table: &ObjectTable, row: &Row) -> Result<Value, StoreError> {
    let mut fields = Map::new();
    for (name, kind) in columns(table) {
        let value = match (row.find::<String>(name)?, kind) {
            (None, _) => Value::Null,
            (Some(text), ColumnKind::Integer) => text.parse::<i64>().map_or(Value::String(text), Value::from),
            (Some(text), ColumnKind::Bool) => (text == "1" || text == "true").into(),
            (Some(text), ColumnKind::Json) => serde_json::from_str(&text).unwrap_or(Value::String(text)),
            (Some(text), _) => text.into(),
        };
        fields.insert(name.to_owned(), value);
    }
    Ok(Value::Object(fields))
}
