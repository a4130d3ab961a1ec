//! From the org's answers straight into rows.

use std::sync::{Arc, Mutex, PoisonError};

use tieline_store::object_tables::Rows;

use super::layout::Layout;
use super::plan::Plan;
use super::reading::Scratch;

/// Errors of cells that are kept of a batch; the others are only counted.
pub const MOST_ERRORS: usize = 100;
/// Batches whose memory is kept: one is read while another is written.
const MOST_SPARE: usize = 2;
/// Characters of a value that an error keeps: it may be somebody's personal data.
pub const MOST_SHOWN: usize = 40;

/// Reads the records of a plan's query. Cheap to clone.
///
/// As a [`RecordReader`](tieline_client::RecordReader) it reads pages of a query's answer; by [`Decoder::csv`] it reads
/// the results of a Bulk job. Both give the same rows.
#[derive(Debug, Clone)]
pub struct Decoder {
    pub(super) layout: Arc<Layout>,
    /// Memory of batches that were written.
    spare: Arc<Mutex<Vec<Rows>>>,
}

/// What was read.
#[derive(Debug)]
pub struct Decoded {
    /// The rows.
    pub rows: Rows,
    /// The record that was read last.
    pub last: Option<Last>,
    /// Values that have no place in their column, the first [`MOST_ERRORS`] of them.
    pub errors: Vec<CellError>,
    /// How many there were.
    pub failed: u64,
    /// Records that are archived. They are as much there as the others.
    pub archived: u64,
    pub(super) scratch: Scratch,
}

/// Where a record stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Last {
    /// Its version, in milliseconds since 1970; none if the object has none.
    pub stamp: Option<i64>,
    /// Its id.
    pub id: String,
}

/// A value that has no place in its column. The row has the column's default there, or nothing.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct CellError {
    /// Id of the record.
    pub record: String,
    /// Name of the column.
    pub column: String,
    /// The value, [`MOST_SHOWN`] characters of it at most.
    pub value: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Decoder {
    /// For a plan's query.
    pub fn new(plan: &Plan) -> Self {
        Self { layout: Arc::new(Layout::new(plan)), spare: Arc::default() }
    }

    /// An empty batch.
    pub fn decoded(&self) -> Decoded {
        self.with_room(0, 0)
    }

    /// Takes back the rows of a batch that was written: the next one is read into their memory. New memory for each page
    /// costs a fifth of what reading it costs.
    pub fn reuse(&self, mut rows: Rows) {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if rows.width() == self.layout.columns.len() && spare.len() < MOST_SPARE {
            rows.clear();
            spare.push(rows);
        }
    }

    /// An empty batch with room for so many rows, and so many bytes of texts in all.
    pub(super) fn with_room(&self, rows: usize, text: usize) -> Decoded {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Decoded {
            rows: spare.unwrap_or_else(|| Rows::with_capacity(self.layout.columns.len(), rows, text)),
            last: None,
            errors: Vec::new(),
            failed: 0,
            archived: 0,
            scratch: Scratch::new(self.layout.leaves.len()),
        }
    }
}
