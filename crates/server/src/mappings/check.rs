//! A definition held against the org, before anything is made.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tieline_store::object_tables::ColumnKind;
use tieline_store::{Role, Uuid};
use tieline_sync::mapping::{Checked, Flaw, Plan, Preview, check};
use utoipa::ToSchema;

use super::Org;
use super::view::KindName;
use crate::caller::Caller;
use crate::extract::Body;
use crate::problem::Problem;
use crate::service::Service;

/// Rows of a preview, unless told otherwise, and at most.
const ROWS: u8 = 10;
const MOST_ROWS: u8 = 50;

/// One thing that cannot be so.
#[derive(Serialize, ToSchema)]
#[schema(as = Flaw)]
pub(crate) struct FlawView {
    /// Where in the definition: `object`, `columns[2].field`.
    pub(crate) at: String,
    /// What is wrong there.
    pub(crate) reason: String,
    /// What to write instead, or what may have been meant.
    pub(crate) hint: Option<String>,
}

pub(super) fn flaws(flaws: Vec<Flaw>) -> Vec<FlawView> {
    flaws.into_iter().map(|Flaw { at, reason, hint }| FlawView { at, reason, hint }).collect()
}

/// A column as it would be.
#[derive(Serialize, ToSchema)]
pub(crate) struct PlannedColumn {
    /// Its name.
    pub(crate) name: String,
    /// What it keeps.
    #[schema(value_type = KindName)]
    pub(crate) kind: ColumnKind,
    /// The fields that it is made of, as paths; none: it is constant.
    pub(crate) sources: Vec<String>,
}

pub(super) fn planned(plan: &Plan) -> Vec<PlannedColumn> {
    let column = |(n, column): (usize, &tieline_store::object_tables::Column)| PlannedColumn {
        name: column.name.clone(),
        kind: column.kind,
        sources: plan.sources(n).into_iter().map(str::to_owned).collect(),
    };
    plan.columns.iter().enumerate().map(column).collect()
}

/// A cell as it would be written.
#[derive(Serialize, ToSchema)]
#[schema(as = PreviewCell)]
pub(crate) struct CellView {
    /// Name of the column.
    pub(crate) column: String,
    /// What would be written.
    pub(crate) value: Value,
    /// What the org has, by the paths of the column's fields.
    #[schema(value_type = Object)]
    pub(crate) sources: Map<String, Value>,
    /// Why that has no place in the column, where it has none.
    pub(crate) error: Option<String>,
}

/// A record as it would be written.
#[derive(Serialize, ToSchema)]
#[schema(as = PreviewRow)]
pub(crate) struct RowView {
    /// The org's id.
    pub(crate) id: String,
    /// In the order of the columns.
    pub(crate) cells: Vec<CellView>,
}

/// What came of a definition.
#[derive(Serialize, ToSchema)]
#[schema(as = CheckedMapping)]
pub(crate) struct CheckedView {
    /// Whether a mapping can be made of it.
    pub(crate) valid: bool,
    /// Everything that is wrong, in the order of the definition.
    pub(crate) flaws: Vec<FlawView>,
    /// What somebody should know, though nothing is wrong.
    pub(crate) warnings: Vec<String>,
    /// The object, as the org writes it.
    pub(crate) object: Option<String>,
    /// The table.
    pub(crate) table: Option<String>,
    /// The field by which changes are found; none: the object is read whole each time.
    pub(crate) cursor: Option<String>,
    /// The table's columns.
    pub(crate) columns: Vec<PlannedColumn>,
    /// Records of the org, as they would be written.
    pub(crate) rows: Vec<RowView>,
    /// Values among them that have no place in their columns.
    pub(crate) failed_cells: u64,
}

impl CheckedView {
    fn new(checked: Checked, warnings: Vec<String>) -> Self {
        let Checked { flaws: found, plan, preview } = checked;
        let (rows, failed_cells) = preview.map(|Preview { rows, failed, .. }| (rows, failed)).unwrap_or_default();
        let rows = rows.into_iter().map(|row| RowView {
            id: row.id,
            cells: (row.cells.into_iter())
                .map(|cell| CellView {
                    column: cell.column,
                    value: cell.value,
                    sources: cell.sources,
                    error: cell.error,
                })
                .collect(),
        });
        let rows = rows.collect();
        let columns = plan.as_ref().map(planned).unwrap_or_default();
        let (object, table, cursor) = match plan {
            Some(plan) => (Some(plan.object), Some(plan.table), plan.cursor),
            None => (None, None, None),
        };
        Self {
            valid: found.is_empty(),
            flaws: flaws(found),
            warnings,
            object,
            table,
            cursor,
            columns,
            rows,
            failed_cells,
        }
    }
}

/// A definition to be tried.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ToCheck {
    /// The org.
    pub(crate) integration_id: Uuid,
    /// The mapping, in the form of docs/mappings.md.
    #[schema(value_type = Object)]
    pub(crate) definition: Map<String, Value>,
    /// How many records are shown as they would be written.
    #[schema(minimum = 1, maximum = 50, default = 10)]
    pub(crate) rows: Option<u8>,
}

/// Try a definition
///
/// Nothing is written, here or there. Everything that is wrong with it is told at once, with what may have been meant; what
/// can be used comes with real records as they would be written.
#[utoipa::path(post, path = "/api/mappings/check", tag = "mappings", request_body = ToCheck, responses(
    (status = 200, description = "What came of it: `valid`, or with `flaws`", body = CheckedView),
    (status = "4XX", description = "It was not tried", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service or the org failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn check_mapping(
    State(service): State<Service>,
    caller: Caller,
    Body(tried): Body<ToCheck>,
) -> Result<Json<CheckedView>, Problem> {
    caller.at_least(Role::Member)?;
    let rows = tried.rows.unwrap_or(ROWS);
    if !(1..=MOST_ROWS).contains(&rows) {
        return Err(Problem::invalid(
            format!("rows is {rows}, and a preview has from 1 to {MOST_ROWS}"),
            "ask for fewer",
        ));
    }
    let org = Org::of(&service, &caller, tried.integration_id).await?;
    let checked = match check(&org.connection, Value::Object(tried.definition), rows.into()).await {
        Ok(checked) => checked,
        Err(error) => return Err(org.problem(&service, &caller, error).await),
    };
    let mut warnings = checked.plan.as_ref().map(|plan| plan.warnings.clone()).unwrap_or_default();
    if let Some(plan) = &checked.plan {
        let (all, table) = (caller.tenant.every_mapping().await?, caller.tenant.table_name(&plan.table));
        let same = |mapping: &tieline_store::mappings::Mapping| {
            mapping.table.name() == table
                || mapping.integration_id == Some(org.integration.id) && mapping.name == plan.name
        };
        if let Some(there) = all.iter().find(|mapping| same(mapping)) {
            warnings.push(format!(
                "there is a mapping `{}` already: this can change it, but not be made beside it",
                there.name
            ));
        }
    }
    Ok(Json(CheckedView::new(checked, warnings)))
}
