//! A mapping as lists show it.

use jiff::Timestamp;
use serde::Serialize;
use tieline_store::mappings::{Held, Mapping, MappingState};
use tieline_store::object_tables::{Column, ColumnKind};
use tieline_store::records::RecordSource;
use tieline_store::{Checkpoint, Uuid};
use utoipa::ToSchema;

/// A mapping, with its columns.
#[derive(Serialize, ToSchema)]
#[schema(as = Mapping)]
pub(crate) struct MappingView {
    /// UUID.
    pub(crate) id: Uuid,
    /// Its integration; none if that was deleted: the rows stay as they were.
    pub(crate) integration_id: Option<Uuid>,
    /// What people call it.
    pub(crate) name: String,
    /// API name of the object.
    pub(crate) object: String,
    /// Its table in the database.
    pub(crate) table: String,
    /// How it stands.
    #[schema(value_type = StateName)]
    pub(crate) state: MappingState,
    /// Why, where that is not clear by itself.
    pub(crate) state_reason: Option<String>,
    /// The columns of its rows, in their order.
    pub(crate) columns: Vec<ColumnView>,
    /// Up to when it is proven that nothing is missing; none: nothing is proven yet.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) verified_through: Option<Timestamp>,
    /// How far the object has been read.
    pub(crate) checkpoint: CheckpointView,
    /// Seconds since the time up to which the object has been read; none: the first scan has not ended.
    pub(crate) lag_seconds: Option<i64>,
    /// Until when it waits for the org's API calls, if it does.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) retry_at: Option<Timestamp>,
    /// Why it is paused by itself: records that are not to be found in the org. It rests until somebody decides.
    pub(crate) held: Option<HeldView>,
}

/// Records that a comparison did not find, too many to be marked as gone.
#[derive(Serialize, ToSchema)]
#[schema(as = HeldDeletes)]
pub(crate) struct HeldView {
    /// How many.
    pub(crate) records: u64,
    /// Of how many that the table shows as there.
    pub(crate) of: u64,
    /// When that was found.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) at: Timestamp,
}

impl From<Held> for HeldView {
    fn from(held: Held) -> Self {
        Self { records: held.records, of: held.of, at: held.at }
    }
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
    pub(crate) name: String,
    /// What it keeps.
    #[schema(value_type = KindName)]
    pub(crate) kind: ColumnKind,
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
    pub(crate) through: Option<Timestamp>,
    /// Where the scan under way stands.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) scanning: Option<Timestamp>,
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

impl MappingView {
    pub(super) fn new(mapping: Mapping, now: Timestamp) -> Self {
        let through = mapping.standing.checkpoint.through;
        Self {
            lag_seconds: through.map(|through| now.duration_since(through).as_secs().max(0)),
            retry_at: mapping.standing.progress.retry_at,
            held: mapping.held.map(HeldView::from),
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
