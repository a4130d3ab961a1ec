//! Records for whoever is outside: read by filter and page, followed by change, and told of by webhooks.
//!
//! A change has a number, taken by the step that wrote it ([`crate::object_tables`]); a reader's place is (number, id of the
//! record). Rows never come to a number that was committed, so a reader that goes on from its place misses nothing: a row
//! that changes again leaves its number for a greater one, and is read there.
//!
//! Reading order: [`RecordSource`] (what is read), [`RecordCursor`] (places), [`Filter`] (which rows), `json` (what a row
//! looks like), `page` (reading); [`RecordWebhook`] (who is told), [`ClaimedWebhook`] (what is sent).

mod cursor;
mod deliveries;
mod filter;
mod json;
mod page;
mod source;
mod webhooks;

use tokio::sync::Notify;

pub use cursor::{Place, RecordCursor};
pub use deliveries::{ClaimedWebhook, RecordBatch, WebhookAttempt};
pub use filter::{Filter, FilterError, Operator, chosen, nearest};
pub use page::{Deleted, RecordPage, RecordQuery, Start};
pub use source::RecordSource;
pub use webhooks::{NewRecordWebhook, RecordWebhook, Rewind, WebhookChange};

/// A bell for whoever sends webhooks: it rings once rows have changed.
#[derive(Debug, Default)]
pub struct RecordSignals(Notify);

impl RecordSignals {
    /// Resolves when rows have changed; at once, if they have since the last time.
    pub async fn rung(&self) {
        self.0.notified().await;
    }

    /// Rings it.
    pub fn ring(&self) {
        self.0.notify_one();
    }
}
