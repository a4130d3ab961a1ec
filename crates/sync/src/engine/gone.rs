//! What was deleted, by the org's own account.
//!
//! A soft delete is seen by every scan: it moves the record's stamp. What was deleted and purged between two scans is in no
//! answer any more; only the org's log of deletes tells of it, for fifteen days. Where the log has a hole, all ids are
//! compared.

use std::collections::HashSet;

use jiff::Timestamp;
use tieline_store::object_tables::{Deletion, Rows};

use super::bisect::number;
use super::log::Log;
use super::pages::{IDS, Lists, among};
use super::poll::is_too_slow;
use super::work::{Batch, Kind, Work};
use crate::error::SyncError;
use crate::scan::before;

/// Ids of the log that are held in memory at most, at sixteen bytes each.
const MOST_IDS: usize = 1_000_000;

impl Work<'_> {
    /// Reads the log from where it was read to, and marks what has gone.
    pub(super) async fn gone(&mut self) -> Result<(), SyncError> {
        if !self.replicates {
            return Ok(());
        }
        let now = self.org_time().await?;
        let through = self.standing.progress.deletes_through;
        let mut log = Log::since(through.unwrap_or(Timestamp::MIN), now);
        let from = through.unwrap_or(log.known_from);
        while let Some(ids) = log.next(self).await? {
            self.look_for(ids).await?;
        }
        if log.known_from > from {
            self.hole(from, log.known_from);
        }
        // Where the log says nothing though it was asked, the comparison tells what is gone as far as all changes are visible.
        let compared = self.proof.filter(|_| log.asked);
        let covered = log.covered.or(compared).unwrap_or(from);
        let deletes_through = &mut self.standing.progress.deletes_through;
        if !self.unproven {
            *deletes_through = Some(deletes_through.map_or(covered, |known| known.max(covered)));
        }
        self.note().await
    }

    /// The log does not tell all: ids are compared instead, once a day at most. Until then nothing is proven.
    fn hole(&mut self, from: Timestamp, to: Timestamp) {
        let care = &self.engine.care;
        if self.is_due(self.standing.progress.compared_out_of_turn_at, care.refresh_every) {
            tracing::warn!(mapping = %self.mapping.name, %from, %to, "the org's log of deletes has a hole: all ids are compared");
            self.standing.progress.compared_out_of_turn_at = Some(self.engine.clock.now());
            self.compare_anew();
        } else if self.standing.progress.compared_at.is_some() {
            tracing::warn!(mapping = %self.mapping.name, %from, %to, "the org's log of deletes has a hole: nothing is proven before the next comparison");
            self.unproven = true;
        }
    }

    /// Asks for records of the log that the table shows as there, or as out of sight. Those that are not answered are gone for good.
    async fn look_for(&mut self, ids: Vec<String>) -> Result<(), SyncError> {
        self.settle().await?;
        for ids in ids.chunks(10_000) {
            let known = self.engine.store.versions(&self.mapping, ids.to_vec()).await?;
            // Of those that were out of sight it is known now.
            let unknown = |deleted: Option<&str>| deleted.is_none_or(|how| how == Deletion::Hidden.name());
            let known = known.into_iter().filter(|(_, version)| unknown(version.deleted.as_deref()));
            let there: Vec<String> = known.map(|(id, _)| id).collect();
            for ids in there.chunks(IDS) {
                let found = self.fetch(ids).await?;
                let mut marks = Rows::new(0);
                for id in missing(ids, &found) {
                    marks.row().end(id, None, Some(Deletion::Erased), None);
                }
                self.write_found(found, 0, marks, 0).await?;
            }
        }
        Ok(())
    }

    /// Reads these records again and writes them, as far as the org shows them.
    pub(super) async fn read_again(&mut self, ids: &[String], drift: u64) -> Result<(), SyncError> {
        let mut drift = drift;
        for ids in ids.chunks(IDS) {
            let found = self.fetch(ids).await?;
            self.write_found(found, std::mem::take(&mut drift), Rows::new(0), 0).await?;
        }
        Ok(())
    }

    /// How these records went, which the org does not show: erased, if its log says so; else nobody can tell.
    pub(super) async fn marks(&mut self, ids: &[&str]) -> Result<Rows, SyncError> {
        if self.log.is_none() {
            let log = if self.replicates { self.whole_log().await? } else { Vec::new() };
            self.log = Some(log);
        }
        let log = self.log.as_deref().unwrap_or_default();
        let mut marks = Rows::new(0);
        for id in ids {
            let is_in_log = log.binary_search(&number(id)).is_ok();
            marks.row().end(id, None, Some(if is_in_log { Deletion::Erased } else { Deletion::Hidden }), None);
        }
        Ok(marks)
    }

    pub(super) async fn write_found(
        &mut self,
        found: Batch,
        drift: u64,
        marks: Rows,
        gone: u64,
    ) -> Result<(), SyncError> {
        if !found.rows.is_empty() {
            self.commit(Kind::Rows, found, drift).await?;
        }
        if !marks.is_empty() {
            self.commit(Kind::Marks, Batch::of(marks), gone).await?;
        }
        Ok(())
    }

    /// These records, as far as the org shows them: of lists that take it too long, the halves, and shorter lists from then
    /// on.
    pub(super) async fn fetch(&mut self, ids: &[String]) -> Result<Batch, SyncError> {
        let mut found = Batch::of(Rows::new(self.plan.columns.len()));
        let mut lists = Lists::of(ids, self.ids_at_once);
        while let Some(list) = lists.next() {
            match self.fetch_list(list).await {
                Ok(batch) => drop(found.append(batch)),
                Err(SyncError::Client(error)) if is_too_slow(&error) && lists.halve(list) => {
                    self.ids_at_once = lists.longest;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    async fn fetch_list(&mut self, ids: &[String]) -> Result<Batch, SyncError> {
        let reading = self.reading.clone();
        let mut pages = self.pages(&reading, [Some(among(ids))], "Id");
        let mut found = Batch::of(Rows::new(self.plan.columns.len()));
        while let Some(page) = self.next(&mut pages).await? {
            found.append(page.batch);
        }
        Ok(found)
    }

    /// The records of the org's log of deletes, as numbers in order. It is read once in a run.
    async fn whole_log(&mut self) -> Result<Vec<u128>, SyncError> {
        let mut log = Log::whole(self.org_time().await?);
        let mut numbers = Vec::new();
        while let Some(ids) = log.next(self).await? {
            numbers.extend(ids.iter().map(|id| number(id)));
            if numbers.len() >= MOST_IDS {
                break;
            }
        }
        numbers.sort_unstable();
        Ok(numbers)
    }
}

/// Those of the ids that were not found.
pub(super) fn missing<'i>(ids: &'i [String], found: &Batch) -> Vec<&'i str> {
    let shown: HashSet<&str> = (0..found.rows.len()).map(|row| found.rows.id(row)).collect();
    ids.iter().map(String::as_str).filter(|id| !shown.contains(id)).collect()
}

/// Down to the whole minute: the log's windows have no seconds.
pub(super) fn minute(at: Timestamp) -> Timestamp {
    let second = before(at, std::time::Duration::ZERO).as_second();
    Timestamp::from_second(second.div_euclid(60) * 60).unwrap_or(at)
}
