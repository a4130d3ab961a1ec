//! What was deleted, by the org's own account.
//!
//! A soft delete is seen by every scan: it moves the record's stamp. What was deleted and purged between two scans is in no
//! answer any more; only the org's log of deletes tells of it, for fifteen days.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};
use tieline_client::ClientError;
use tieline_store::object_tables::{Deletion, Rows};

use super::pages::{IDS, among};
use super::work::{Batch, Kind, Work};
use crate::error::SyncError;
use crate::scan::before;

/// How far back the log goes. Source: REST API Developer Guide, "Get Deleted".
const LOG: SignedDuration = SignedDuration::from_hours(15 * 24);
/// The log's windows are more than a minute long.
const SHORTEST: SignedDuration = SignedDuration::from_mins(2);
/// Ids of the log that are held in memory at most.
const MOST_IDS: usize = 1_000_000;

impl Work<'_> {
    /// Reads the log from where it was read to, and marks what has gone.
    pub(super) async fn gone(&mut self) -> Result<(), SyncError> {
        if !self.replicates {
            return Ok(());
        }
        let end = minute(self.org_time().await?);
        let from = self.standing.progress.deletes_through.unwrap_or(end - LOG);
        let earliest = end - LOG + SignedDuration::from_mins(2);
        if from < earliest {
            tracing::warn!(mapping = %self.mapping.name, since = %from, "the org's log of deletes does not go back so far: all ids are compared");
            self.standing.progress.compared_at = None;
        }
        let mut from = minute(from.max(earliest));
        let mut to = end;
        let mut covered = from;
        while to.duration_since(from) >= SHORTEST {
            match self.engine.connection.deleted(&self.plan.object, from, to).await {
                Ok(deleted) => {
                    if deleted.earliest_date_available > from {
                        tracing::warn!(mapping = %self.mapping.name, since = %deleted.earliest_date_available, "the org's log of deletes was cut short: all ids are compared");
                        self.standing.progress.compared_at = None;
                    }
                    let ids: Vec<String> = deleted.deleted_records.into_iter().map(|record| record.id).collect();
                    self.look_for(ids).await?;
                    covered = deleted.latest_date_covered.min(to);
                    if to == end {
                        break;
                    }
                    (from, to) = (to, end);
                }
                Err(error)
                    if error.salesforce_code() == Some("EXCEEDED_ID_LIMIT")
                        && to.duration_since(from) >= SHORTEST * 2 =>
                {
                    to = minute(from + to.duration_since(from) / 2);
                }
                Err(error) if is_beyond(&error) => {
                    self.standing.progress.compared_at = None;
                    (from, covered) = (to, to);
                    if to == end {
                        break;
                    }
                    to = end;
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.standing.progress.deletes_through =
            Some(self.standing.progress.deletes_through.map_or(covered, |known| known.max(covered)));
        self.note().await
    }

    /// Asks for records of the log that the table shows as there. Those that are not answered are gone for good.
    async fn look_for(&mut self, ids: Vec<String>) -> Result<(), SyncError> {
        self.settle().await?;
        for ids in ids.chunks(10_000) {
            let known = self.engine.store.versions(&self.mapping, ids.to_vec()).await?;
            let there: Vec<String> =
                known.into_iter().filter(|(_, version)| version.deleted.is_none()).map(|(id, _)| id).collect();
            self.fetch_or_mark(&there, Some(Deletion::Erased), 0).await?;
        }
        Ok(())
    }

    /// Reads these records and writes them; those that the org does not show are marked so.
    pub(super) async fn fetch_or_mark(
        &mut self,
        ids: &[String],
        gone: Option<Deletion>,
        drift: u64,
    ) -> Result<(), SyncError> {
        let mut drift = drift;
        for ids in ids.chunks(IDS) {
            let found = self.fetch(ids).await?;
            let shown: HashSet<&str> = (0..found.rows.len()).map(|row| found.rows.id(row)).collect();
            let mut marks = Rows::new(0);
            for id in ids.iter().filter(|id| !shown.contains(id.as_str())) {
                if let Some(kind) = gone {
                    marks.row().end(id, None, Some(kind), None);
                } else {
                    let kind = if self.is_in_log(id).await? { Deletion::Erased } else { Deletion::Hidden };
                    marks.row().end(id, None, Some(kind), None);
                }
            }
            drop(shown);
            if !found.rows.is_empty() {
                self.commit(Kind::Rows, found, std::mem::take(&mut drift)).await?;
            }
            if !marks.is_empty() {
                self.commit(Kind::Marks, Batch::of(marks), std::mem::take(&mut drift)).await?;
            }
        }
        Ok(())
    }

    /// These records, as far as the org shows them.
    pub(super) async fn fetch(&mut self, ids: &[String]) -> Result<Batch, SyncError> {
        let reading = self.reading.clone();
        let mut pages = self.pages(&reading, [Some(among(ids))], "Id");
        let mut found = Batch::of(Rows::new(self.plan.columns.len()));
        while let Some(page) = self.next(&mut pages).await? {
            found.append(page.batch);
        }
        Ok(found)
    }

    /// Whether the org's log of deletes names a record. It is read once in a run.
    async fn is_in_log(&mut self, id: &str) -> Result<bool, SyncError> {
        if self.log.is_none() {
            let log = if self.replicates { self.whole_log().await? } else { HashSet::new() };
            self.log = Some(log);
        }
        Ok(self.log.as_ref().is_some_and(|log| log.contains(id)))
    }

    async fn whole_log(&mut self) -> Result<HashSet<String>, SyncError> {
        let end = minute(self.org_time().await?);
        let (mut from, mut to) = (end - LOG + SignedDuration::from_mins(2), end);
        let mut ids = HashSet::new();
        while to.duration_since(from) >= SHORTEST && ids.len() < MOST_IDS {
            match self.engine.connection.deleted(&self.plan.object, from, to).await {
                Ok(deleted) => {
                    ids.extend(deleted.deleted_records.into_iter().map(|record| record.id));
                    (from, to) = (to, end);
                }
                Err(error)
                    if error.salesforce_code() == Some("EXCEEDED_ID_LIMIT")
                        && to.duration_since(from) >= SHORTEST * 2 =>
                {
                    to = minute(from + to.duration_since(from) / 2);
                }
                Err(error) if is_beyond(&error) => (from, to) = (to, end),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(ids)
    }
}

/// The log does not have this window, or not in an answer that the org is willing to give.
fn is_beyond(error: &ClientError) -> bool {
    matches!(error.salesforce_code(), Some("INVALID_REPLICATION_DATE" | "EXCEEDED_ID_LIMIT"))
}

/// Down to the whole minute: the log's windows have no seconds.
pub(super) fn minute(at: Timestamp) -> Timestamp {
    let second = before(at, std::time::Duration::ZERO).as_second();
    Timestamp::from_second(second.div_euclid(60) * 60).unwrap_or(at)
}
