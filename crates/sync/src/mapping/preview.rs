//! What a mapping would write, from a few records of the org.

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tieline_client::{ClientError, Connection, RecordReader};
use tieline_store::object_tables::Column;

use super::decoder::{CellError, Decoded, Decoder};
use super::plan::Plan;

/// Records of a preview at most.
pub const MOST_PREVIEWED: usize = 50;

/// Rows as they would be written.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Preview {
    /// The rows.
    pub rows: Vec<PreviewRow>,
    /// Values that have no place in their column.
    pub errors: Vec<CellError>,
    /// How many there were.
    pub failed: u64,
    /// What somebody should know of the mapping.
    pub warnings: Vec<String>,
}

/// A row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PreviewRow {
    /// Id of the record.
    pub id: String,
    /// Its cells, in the order of the columns.
    pub cells: Vec<PreviewCell>,
}

/// A cell.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PreviewCell {
    /// Name of the column.
    pub column: String,
    /// What would be written.
    pub value: Value,
    /// What the org has, by the paths of the column's fields.
    pub sources: serde_json::Map<String, Value>,
    /// Why that has no place in the column, where it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Reads a few records and says what would be written of them. Nothing is written. `limit`: how many, up to
/// [`MOST_PREVIEWED`].
///
/// # Errors
/// As [`Connection::query`]; [`ClientError::Unreadable`] for a record that the plan's [`Decoder`] refuses.
pub async fn preview(connection: &Connection, plan: &Plan, limit: usize) -> Result<Preview, ClientError> {
    let limit = limit.clamp(1, MOST_PREVIEWED);
    let soql = format!("SELECT {} FROM {} LIMIT {limit}", plan.select_list(), plan.object);
    let mut pages = connection.query_pages::<Box<RawValue>>(&soql);
    let decoder = Decoder::new(plan);
    let mut decoded = decoder.decoded();
    let mut records: Vec<Value> = Vec::new();
    while let Some(page) = pages.next().await? {
        for raw in page.records {
            let unreadable = |error: serde_json::Error| ClientError::Unreadable {
                org: connection.org().to_owned(),
                what: format!("a record of {}", plan.object),
                reason: error.to_string(),
                outcome_unknown: false,
            };
            decoder.record(&mut decoded, &mut serde_json::Deserializer::from_str(raw.get())).map_err(unreadable)?;
            records.push(serde_json::from_str(raw.get()).map_err(unreadable)?);
        }
    }
    let rows = records.iter().enumerate().map(|(row, record)| PreviewRow {
        id: decoded.rows.id(row).to_owned(),
        cells: (0..plan.columns.len()).map(|column| cell(plan, &decoded, row, column, record)).collect(),
    });
    let rows = rows.collect();
    Ok(Preview { rows, errors: decoded.errors, failed: decoded.failed, warnings: plan.warnings.clone() })
}

fn cell(plan: &Plan, decoded: &Decoded, row: usize, column: usize, record: &Value) -> PreviewCell {
    let sources = plan.sources(column).into_iter().map(|path| (path.to_owned(), at(record, path).clone()));
    let Column { name, kind } = &plan.columns[column];
    let id = decoded.rows.id(row);
    let error = decoded.errors.iter().find(|error| error.record == id && error.column == *name);
    PreviewCell {
        column: name.clone(),
        value: decoded.rows.json(row, column, *kind),
        sources: sources.collect(),
        error: error.map(|error| error.reason.clone()),
    }
}

/// What a record has at a path; null behind a parent that is not there.
fn at<'r>(record: &'r Value, path: &str) -> &'r Value {
    static NOTHING: Value = Value::Null;
    path.split('.').try_fold(record, |record, name| record.get(name)).unwrap_or(&NOTHING)
}
