//! What the engine remembers of a mapping between two steps, beside the checkpoint.
//!
//! All of it is written in the transaction of the rows that it speaks of, by the one run that holds the mapping.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::checkpoints::Checkpoint;
use crate::object_tables::Column;
use crate::sync_work::Asked;

/// Where a mapping stands: moved with its rows, or not at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// How far it has been read.
    pub checkpoint: Checkpoint,
    /// Up to when it is proven that nothing is missing.
    pub verified_through: Option<Timestamp>,
    /// The rest.
    pub progress: Progress,
}

/// What is under way, and when what was done last. All times are the org's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// The field by which changes are found, as the object has one: SystemModstamp, or what takes its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// When the object was described last.
    pub described_at: Option<Timestamp>,
    /// Deletes before this are known.
    pub deletes_through: Option<Timestamp>,
    /// Changes of parents before this have reached their children.
    pub parents_through: Option<Timestamp>,
    /// When the columns that change without a stamp were read last.
    pub refreshed_at: Option<Timestamp>,
    /// When all ids were compared last.
    pub compared_at: Option<Timestamp>,
    /// When they were compared out of turn last, because the org could not say what was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compared_out_of_turn_at: Option<Timestamp>,
    /// What somebody has asked for beside what is due, and is not done yet.
    #[serde(skip_serializing_if = "Asked::is_nothing")]
    pub asked: Asked,
    /// Somebody has said that what the next comparison finds gone is gone, however much it is.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub allow_gone: bool,
    /// All of it is being read anew; what is gone is looked for behind that.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub reloading: bool,
    /// Records in the table, by the last comparison of all.
    pub rows: Option<u64>,
    /// A Bulk job whose results are to be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<Job>,
    /// A walk over all records by id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub walk: Option<Walk>,
    /// Columns that have yet to be filled, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unfilled: Vec<String>,
    /// Columns whose fields the org no longer shows: they keep their values.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<Column>,
    /// Columns that the definition had once and has no more: they keep their values.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<Column>,
    /// What `verified_through` becomes when the load under way has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proof: Option<Timestamp>,
    /// When a proof was tried last.
    pub verified_at: Option<Timestamp>,
    /// Some values did not fit their columns.
    pub failing: bool,
    /// Up to when the organization's API calls are spent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
}

/// A Bulk job in the org.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Under which the org knows it.
    pub id: String,
    /// What `through` becomes once its results are written.
    pub until: Timestamp,
    /// When it was begun.
    pub begun: Timestamp,
}

/// Why all records are walked over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WalkKind {
    /// Ids and stamps are compared.
    Compare,
    /// New columns are filled.
    Fill,
    /// Columns that change without a stamp are read again.
    Refresh,
    /// Everything is read, for an object without a cursor or anew.
    Reload,
}

/// A walk over all records in the order of their ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Walk {
    /// Why.
    pub kind: WalkKind,
    /// When it began.
    pub began: Timestamp,
    /// The last id that was dealt with.
    pub after: String,
    /// Records that the org has shown.
    pub seen: u64,
    /// Rows of ours that the org did not show.
    #[serde(default)]
    pub missing: u64,
}
