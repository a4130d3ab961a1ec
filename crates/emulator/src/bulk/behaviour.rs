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
        if let Some(message) = change.bulk_fail_message {
            self.fail_message = message;
        }
    }
}
