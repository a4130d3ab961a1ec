//! Values of records that did not fit their columns.

use axum::Json;
use jiff::Timestamp;
use serde::Serialize;
use tieline_store::Uuid;
use tieline_store::mappings::{KeptError, RowError};
use utoipa::ToSchema;

use super::no_mapping;
use crate::caller::Caller;
use crate::extract::{Path, Query};
use crate::lists::Place;
use crate::problem::Problem;

/// A value that did not fit. The row is there, with nothing or the column's default in its place.
#[derive(Serialize, ToSchema)]
#[schema(as = CellError)]
pub(crate) struct ErrorView {
    /// The org's id of the record.
    pub(crate) record_id: String,
    /// The column.
    pub(crate) column: String,
    /// What is wrong.
    pub(crate) reason: String,
    /// The value, 40 characters of it at most.
    pub(crate) value: Option<String>,
    /// The run that met it last.
    pub(crate) run_id: Uuid,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) at: Timestamp,
}

impl From<KeptError> for ErrorView {
    fn from(kept: KeptError) -> Self {
        let KeptError { error: RowError { record, column, reason, value }, run, at } = kept;
        Self { record_id: record, column, reason, value, run_id: run, at }
    }
}

/// A page of errors.
#[derive(Serialize, ToSchema)]
#[schema(as = CellErrorPage)]
pub(crate) struct ErrorPage {
    /// By record and column.
    pub(crate) items: Vec<ErrorView>,
    /// Where the next page begins; none: this was the last.
    pub(crate) next: Option<String>,
}

/// Values that did not fit their columns
///
/// An error goes when the value fits.
#[utoipa::path(get, path = "/api/mappings/{id}/errors", tag = "mappings", params(("id" = Uuid, Path, description = "The mapping"), Place), responses(
    (status = 200, description = "A page", body = ErrorPage),
    (status = "4XX", description = "There is none", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn errors(
    caller: Caller,
    Path(id): Path<Uuid>,
    Query(place): Query<Place>,
) -> Result<Json<ErrorPage>, Problem> {
    let (cursor, limit) = (place.cursor()?, place.limit()?);
    caller.tenant.mapping(id).await?.ok_or_else(no_mapping)?;
    let page = caller.tenant.row_errors_from(id, cursor, limit).await?;
    let items = page.items.into_iter().map(ErrorView::from).collect();
    Ok(Json(ErrorPage { items, next: page.next.map(|cursor| cursor.to_string()) }))
}
