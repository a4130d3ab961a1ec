//! What came of a definition that was held against the org: flaws at their places, and records as they would be written.

use axum::Json;
use axum::extract::State;
use serde_json::{Map, Value};
use tieline_store::Uuid;

use crate::extract::Body;
use crate::mappings::check::{self, CellView, CheckedView, FlawView, ToCheck};
use crate::pages::visit::Visit;
use crate::problem::Problem;

/// Records of a preview.
const ROWS: u8 = 5;

/// Records as they would be written.
pub(crate) struct Tried {
    pub(crate) object: String,
    pub(crate) table: String,
    pub(crate) cursor: String,
    /// Names and kinds.
    pub(crate) columns: Vec<(String, &'static str)>,
    pub(crate) rows: Vec<(String, Vec<Cell>)>,
    pub(crate) failed: u64,
}

/// A cell.
pub(crate) struct Cell {
    pub(crate) written: String,
    /// What the org has, where that is something else.
    pub(crate) org: String,
    pub(crate) error: String,
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) flaws: Vec<FlawView>,
    pub(crate) warnings: Vec<String>,
    /// If nothing is wrong.
    pub(crate) tried: Option<Tried>,
}

/// Holds a definition against the org. `known`: what is wrong with it already, which the org need not say otherwise.
pub(super) async fn check(
    visit: &Visit,
    integration: Uuid,
    definition: Map<String, Value>,
    known: Vec<FlawView>,
) -> Result<Outcome, Problem> {
    let (service, caller) = (State(visit.service.clone()), visit.caller.clone());
    let tried = ToCheck { integration_id: integration, definition, rows: Some(ROWS) };
    let Json(checked) = check::check_mapping(service, caller, Body(tried)).await?;
    let CheckedView { flaws, warnings, object, table, cursor, columns, rows, failed_cells, .. } = checked;
    let is_new = |flaw: &FlawView| !known.iter().any(|known| follows(&flaw.at, &known.at));
    let mut flaws: Vec<FlawView> = flaws.into_iter().filter(is_new).collect();
    flaws.extend(known);
    flaws.sort_by_key(|flaw| place(&flaw.at));
    let tried = flaws.is_empty().then(|| Tried {
        object: object.unwrap_or_default(),
        table: table.unwrap_or_default(),
        cursor: cursor.unwrap_or_default(),
        columns: columns.into_iter().map(|column| (column.name, column.kind.name())).collect(),
        rows: rows.into_iter().map(|row| (row.id, row.cells.into_iter().map(Cell::of).collect())).collect(),
        failed: failed_cells,
    });
    Ok(Outcome { flaws, warnings, tried })
}

/// Whether something is wrong there only because something stands in the place of what was wrong: in the same place, or of the
/// same column's steps and what they come to.
fn follows(at: &str, known: &str) -> bool {
    let column = |at: &str| at.split_once('.').map(|(column, _)| column.to_owned());
    let of_values = |at: &str| [".transforms", ".kind", ".default", ".constant"].iter().any(|part| at.contains(part));
    at == known || (of_values(at) && of_values(known) && column(at) == column(known))
}

/// Settings before columns, and columns in their order.
fn place(at: &str) -> (usize, usize) {
    let number = |of: &str| {
        at.split_once(of).and_then(|(_, rest)| rest.split_once(']')).and_then(|(n, _)| n.parse::<usize>().ok())
    };
    (number("columns[").map_or(0, |n| n + 1), number("transforms[").map_or(0, |n| n + 1))
}

impl Cell {
    fn of(cell: CellView) -> Self {
        let written = words(&cell.value);
        let org = match cell.sources.len() {
            0 => written.clone(),
            1 => cell.sources.values().next().map(words).unwrap_or_default(),
            _ => cell
                .sources
                .iter()
                .map(|(path, value)| format!("{path}: {}", words(value)))
                .collect::<Vec<_>>()
                .join(", "),
        };
        Self { org: if org == written { String::new() } else { org }, written, error: cell.error.unwrap_or_default() }
    }
}

fn words(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_from_a_flaw_is_not_told_again() {
        assert!(follows("columns[1].field", "columns[1].field"));
        assert!(follows("columns[1].transforms[2]", "columns[1].transforms[0]"));
        assert!(follows("columns[1].kind", "columns[1].transforms[0]"));
        assert!(!follows("columns[2].kind", "columns[1].transforms[0]"));
        assert!(!follows("columns[1].field", "columns[1].transforms[0]"));
        assert!(!follows("every", "lag"));
        let mut places = ["columns[10].field", "columns[2].transforms[1]", "every", "columns[2].transforms[0]"];
        places.sort_by_key(|at| place(at));
        assert_eq!(places, ["every", "columns[2].transforms[0]", "columns[2].transforms[1]", "columns[10].field"]);
    }
}
