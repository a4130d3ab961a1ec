//! `/api/mappings`: which objects are kept in step, and how far.

use axum::Json;
use jiff::Timestamp;
use serde::Serialize;
use tieline_store::mappings::{Mapping, MappingState};
use tieline_store::object_tables::{Column, ColumnKind};
use tieline_store::records::RecordSource;
use tieline_store::{Checkpoint, Uuid};
use utoipa::ToSchema;

use crate::caller::Caller;
use crate::problem::Problem;

/// A mapping, with its columns.
#[derive(Serialize, ToSchema)]
#[schema(as = Mapping)]
pub(crate) struct MappingView {
    /// UUID.
    id: Uuid,
    /// Its integration; none if that was deleted: the rows stay as they were.
    integration_id: Option<Uuid>,
    /// What people call it.
    name: String,
    /// API name of the object.
    object: String,
    /// Its table in the database.
    table: String,
    /// How it stands.
    #[schema(value_type = StateName)]
    state: MappingState,
    /// Why, where that is not clear by itself.
    state_reason: Option<String>,
    /// The columns of its rows, in their order.
    columns: Vec<ColumnView>,
    /// Up to when it is proven that nothing is missing; none: nothing is proven yet.
    #[schema(value_type = Option<String>, format = DateTime)]
    verified_through: Option<Timestamp>,
    /// How far the object has been read.
    checkpoint: CheckpointView,
}

/// How a mapping stands.
#[derive(ToSchema)]
#[schema(as = MappingState, rename_all = "snake_case")]
#[expect(dead_code, reason = "it describes what the store's own type is written as")]
pub(crate) enum StateName {
    /// Its first scan has not ended yet.
    Initial,
    /// It is kept in step.
    Synced,
    /// New columns are being filled.
    Resync,
    /// All of it is being read anew.
    Reload,
    /// The org's object has changed so that somebody must look.
    SchemaChanged,
    /// Somebody has paused it.
    Paused,
    /// It waits for the org's API calls of the day.
    PausedQuota,
    /// Somebody must log in.
    NeedsReauth,
}

/// A column.
#[derive(Serialize, ToSchema)]
#[schema(as = Column)]
pub(crate) struct ColumnView {
    /// Its name.
    name: String,
    /// What it keeps.
    #[schema(value_type = KindName)]
    kind: ColumnKind,
}

/// What a column keeps.
#[derive(ToSchema)]
#[schema(as = ColumnKind, rename_all = "snake_case")]
#[expect(dead_code, reason = "it describes what the store's own type is written as")]
pub(crate) enum KindName {
    /// Characters.
    Text,
    /// Whole numbers of 64 bits.
    Integer,
    /// Decimal numbers, exact.
    Number,
    /// True or false.
    Bool,
    /// A day.
    Date,
    /// A moment, to a millisecond.
    DateTime,
    /// A time of day, to a millisecond.
    Time,
    /// Anything, as JSON.
    Json,
}

/// How far an object has been read.
#[derive(Serialize, ToSchema)]
#[schema(as = Checkpoint)]
pub(crate) struct CheckpointView {
    /// Everything that the org stamped before this has been seen; none: the first scan has not ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    through: Option<Timestamp>,
    /// Where the scan under way stands.
    #[schema(value_type = Option<String>, format = DateTime)]
    scanning: Option<Timestamp>,
}

impl From<Checkpoint> for CheckpointView {
    fn from(checkpoint: Checkpoint) -> Self {
        Self { through: checkpoint.through, scanning: checkpoint.scan.map(|(position, _)| position.stamp) }
    }
}

impl From<&Column> for ColumnView {
    fn from(column: &Column) -> Self {
        Self { name: column.name.clone(), kind: column.kind }
    }
}

impl From<Mapping> for MappingView {
    fn from(mapping: Mapping) -> Self {
        Self {
            id: mapping.id,
            integration_id: mapping.integration_id,
            columns: RecordSource::mapping(&mapping).columns().iter().map(ColumnView::from).collect(),
            table: mapping.table.name().to_owned(),
            name: mapping.name,
            object: mapping.object,
            state: mapping.state,
            state_reason: mapping.state_reason,
            verified_through: mapping.standing.verified_through,
            checkpoint: mapping.standing.checkpoint.into(),
        }
    }
}

/// All mappings.
#[derive(Serialize, ToSchema)]
pub(crate) struct Mappings {
    /// Oldest first.
    mappings: Vec<MappingView>,
}

/// The mappings of the business
#[utoipa::path(get, path = "/api/mappings", tag = "records", responses(
    (status = 200, description = "All", body = Mappings),
    (status = "4XX", description = "Not for this caller", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn mappings(caller: Caller) -> Result<Json<Mappings>, Problem> {
    let all = caller.tenant.every_mapping().await?;
    Ok(Json(Mappings { mappings: all.into_iter().map(MappingView::from).collect() }))
}
