//! What a run has done.

use jiff::Timestamp;
use serde_json::{Value, json};
use tieline_store::Run;
use tieline_store::mappings::{Mapping, Standing};

/// How far a run is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress {
    /// Records read.
    pub read: u64,
    /// Records that it will read, as far as is known.
    pub total: u64,
}

/// What a run of a mapping has done.
#[derive(Debug, Clone)]
pub struct MappingReport {
    /// The run, as the history shows it.
    pub run: Run,
    /// Name of the mapping.
    pub mapping: String,
    /// Table that its rows are in.
    pub table: String,
    /// Everything stamped before this has been read.
    pub checkpoint: Option<Timestamp>,
    /// Up to when it is proven that nothing is missing.
    pub verified_through: Option<Timestamp>,
}

impl MappingReport {
    pub(super) fn new(run: Run, mapping: &Mapping, standing: &Standing) -> Self {
        Self {
            run,
            mapping: mapping.name.clone(),
            table: mapping.table.name().to_owned(),
            checkpoint: standing.checkpoint.through,
            verified_through: standing.verified_through,
        }
    }
}

impl From<&MappingReport> for Value {
    /// The stable form of `tieline sync run --json`.
    fn from(report: &MappingReport) -> Self {
        let MappingReport { run, mapping, table, checkpoint, verified_through } = report;
        json!({
            "run": run.id, "state": run.state, "mapping": mapping, "object": run.object, "table": table,
            "rows": {
                "read": run.rows_read, "inserted": run.inserted, "updated": run.updated, "deleted": run.deleted,
                "drift_found": run.drift_found, "failed_cells": run.failed_cells,
            },
            "bytes": run.bytes, "api_calls": run.api_calls,
            "checkpoint": checkpoint, "verified_through": verified_through,
        })
    }
}
