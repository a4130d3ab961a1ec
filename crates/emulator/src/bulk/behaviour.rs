//! What the control API changes about jobs.

use serde::Deserialize;

use super::job::Phase;

/// An upload has at most 150 MB.
const LARGEST_UPLOAD: u64 = 150 * 1_000_000;

/// Rows that are written while other requests wait.
const SLICE: usize = 2_000;

#[derive(Debug, Clone)]
pub(crate) struct Behaviour {
    pub(crate) upload_bytes: u64,
    /// Rows in a page of results where the client names no number; without it all rows are one page.
    pub(crate) page_rows: Option<u64>,
    /// The permission "Bulk API Hard Delete".
    pub(crate) hard_delete: bool,
    /// Jobs stay in this state.
    pub(crate) hold: Option<Phase>,
    pub(crate) slice_rows: usize,
    pub(crate) slice_pause_ms: u64,
    /// The next job that gets so far fails there, with this message.
    pub(crate) fail_after_rows: Option<u64>,
    pub(crate) fail_message: String,
    /// How many of the next rows cannot be locked.
    pub(crate) lock_rows: u64,
    /// Results of queries without ORDER BY come in an order that this number chooses; without it by row.
    pub(crate) shuffle_seed: Option<u64>,
    /// Added to the `numberRecordsProcessed` that is told of query jobs.
    pub(crate) processed_delta: i64,
    /// Added to the `Sforce-NumberOfRecords` of each page.
    pub(crate) page_count_delta: i64,
    /// `errorMessage` of a query job that timed out.
    pub(crate) timeout_message: String,
}

impl Default for Behaviour {
    fn default() -> Self {
        Behaviour {
            upload_bytes: LARGEST_UPLOAD,
            page_rows: None,
            hard_delete: true,
            hold: None,
            slice_rows: SLICE,
            slice_pause_ms: 0,
            fail_after_rows: None,
            fail_message: "InternalServerError : the job was made to fail".to_owned(),
            lock_rows: 0,
            shuffle_seed: None,
            processed_delta: 0,
            page_count_delta: 0,
            // A guess, put together from the code that queries have and the form of other job messages.
            timeout_message: "InternalServerError : QUERY_TIMEOUT : Your query request was running for too long."
                .to_owned(),
        }
    }
}

/// Keys that are left out stay.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    bulk_upload_bytes: Option<u64>,
    #[serde(default, deserialize_with = "crate::oauth::app::null_counts")]
    bulk_page_rows: Option<Option<u64>>,
    bulk_hard_delete: Option<bool>,
    #[serde(default, deserialize_with = "crate::oauth::app::null_counts")]
    bulk_hold: Option<Option<Phase>>,
    bulk_slice_rows: Option<usize>,
    bulk_slice_pause_ms: Option<u64>,
    #[serde(default, deserialize_with = "crate::oauth::app::null_counts")]
    bulk_fail_after_rows: Option<Option<u64>>,
    bulk_fail_message: Option<String>,
    bulk_lock_rows: Option<u64>,
    #[serde(default, deserialize_with = "crate::oauth::app::null_counts")]
    bulk_shuffle_seed: Option<Option<u64>>,
    bulk_processed_delta: Option<i64>,
    bulk_page_count_delta: Option<i64>,
    bulk_timeout_message: Option<String>,
}

impl Behaviour {
    pub(super) fn change(&mut self, change: Change) {
        self.upload_bytes = change.bulk_upload_bytes.unwrap_or(self.upload_bytes);
        self.page_rows = change.bulk_page_rows.unwrap_or(self.page_rows).map(|n| n.max(1));
        self.hard_delete = change.bulk_hard_delete.unwrap_or(self.hard_delete);
        self.hold = change.bulk_hold.unwrap_or(self.hold);
        self.slice_rows = change.bulk_slice_rows.unwrap_or(self.slice_rows).max(1);
        self.slice_pause_ms = change.bulk_slice_pause_ms.unwrap_or(self.slice_pause_ms);
        self.fail_after_rows = change.bulk_fail_after_rows.unwrap_or(self.fail_after_rows);
        self.lock_rows = change.bulk_lock_rows.unwrap_or(self.lock_rows);
        self.shuffle_seed = change.bulk_shuffle_seed.unwrap_or(self.shuffle_seed);
        self.processed_delta = change.bulk_processed_delta.unwrap_or(self.processed_delta);
        self.page_count_delta = change.bulk_page_count_delta.unwrap_or(self.page_count_delta);
        if let Some(message) = change.bulk_timeout_message {
            self.timeout_message = message;
        }
        if let Some(message) = change.bulk_fail_message {
            self.fail_message = message;
        }
    }
}
