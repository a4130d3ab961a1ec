//! All records in the order of their ids: compared, or read again in part or in whole.
//!
//! Where a walk stands is kept with its rows, so one that is cut off goes on there. It needs no memory beyond a page: of
//! each page the table's rows between its first and last id are what the org should have shown.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use tieline_client::soql;
use tieline_store::mappings::{Version, Walk, WalkKind};
use tieline_store::object_tables::Rows;

use super::bisect::{id_of, number};
use super::pages::{Pages, Reading};
use super::poll::is_too_slow;
use super::work::{Kind, Work};
use crate::error::SyncError;

/// Ids of the table that are looked at in one go.
const AT_ONCE: u32 = 10_000;

impl Work<'_> {
    /// Fills columns that are new.
    pub(super) async fn fill(&mut self) -> Result<(), SyncError> {
        if self.standing.progress.unfilled.is_empty() {
            return Ok(());
        }
        self.walk(WalkKind::Fill).await?;
        self.standing.progress.unfilled.clear();
        self.note().await
    }

    pub(super) fn refresh_is_due(&self) -> bool {
        let under_way = self.standing.progress.walk.as_ref().is_some_and(|walk| walk.kind == WalkKind::Refresh);
        let due = under_way || self.is_due(self.standing.progress.refreshed_at, self.engine.care.refresh_every);
        due && !self.moving_columns().is_empty()
    }

    pub(super) fn compare_is_due(&self) -> bool {
        let under_way = self.standing.progress.walk.as_ref().is_some_and(|walk| walk.kind == WalkKind::Compare);
        let due = self.is_due(self.standing.progress.compared_at, self.engine.care.compare_every);
        under_way || due || self.asked.compare
    }

    /// Columns that change without the record's stamp.
    fn moving_columns(&self) -> Vec<usize> {
        let of_parents = self.plan.parents.iter().flat_map(|parent| parent.columns.iter().copied());
        let mut columns: Vec<usize> = self.plan.calculated.iter().copied().chain(of_parents).collect();
        columns.sort_unstable();
        columns.dedup();
        columns
    }

    fn walked_columns(&self, kind: WalkKind) -> Vec<usize> {
        match kind {
            WalkKind::Compare => Vec::new(),
            WalkKind::Reload => (0..self.plan.columns.len()).collect(),
            WalkKind::Refresh => self.moving_columns(),
            WalkKind::Fill => {
                let named = |name: &String| self.plan.columns.iter().position(|column| column.name == *name);
                self.standing.progress.unfilled.iter().filter_map(named).collect()
            }
        }
    }

    /// Walks to the end.
    pub(super) async fn walk(&mut self, kind: WalkKind) -> Result<(), SyncError> {
        self.settle().await?;
        let columns: Arc<[usize]> = self.walked_columns(kind).into();
        let plan = Arc::new(if kind == WalkKind::Reload { (*self.plan).clone() } else { self.plan.part(&columns) });
        let reading = Reading::new(plan.clone(), self.engine.care.longest_query);
        let resumed = self.standing.progress.walk.as_ref().is_some_and(|walk| walk.kind == kind);
        if !resumed {
            let began = self.org_time().await?;
            self.standing.progress.walk = Some(Walk { kind, began, after: String::new(), seen: 0, missing: 0 });
        }
        let compares = matches!(kind, WalkKind::Compare | WalkKind::Reload);
        let limit = if compares { self.guard().await? } else { u64::MAX };
        let mut until: Option<u128> = None;
        let mut length = 0;
        loop {
            let after = self.walk_under_way().after.clone();
            let bounds = [
                plan.cursor.as_deref().and_then(|cursor| self.since(cursor)),
                (!after.is_empty()).then(|| format!("Id > {}", soql::text(&after))),
                until.map(|until| format!("Id <= {}", soql::text(&id_of(until)))),
            ];
            let mut pages = self.pages(&reading, bounds, "Id");
            match self.walk_query(&mut pages, &columns, until.map(id_of), limit).await {
                Ok(()) => match until {
                    None => break,
                    Some(reached) => {
                        let last = self.ids().await?.1;
                        length *= 2;
                        until = reached.checked_add(length).filter(|next| *next < last);
                    }
                },
                Err(SyncError::Client(error)) if is_too_slow(&error) => {
                    self.settle().await?;
                    let (first, last) = self.ids().await?;
                    let after = &self.walk_under_way().after;
                    let low = if after.is_empty() { first } else { number(after) };
                    let high = until.unwrap_or(last);
                    length = high.saturating_sub(low) / 2;
                    if length == 0 {
                        let (org, object) = (self.engine.connection.org().to_owned(), plan.object.clone());
                        return Err(SyncError::Unsplittable { org, object, reason: error.to_string() });
                    }
                    until = Some(low + length);
                }
                Err(error) => {
                    if matches!(error, SyncError::Inconsistent { .. }) {
                        self.settle().await?;
                        self.walk_under_way().after = after;
                        self.note().await?;
                    }
                    return Err(error);
                }
            }
        }
        self.end_walk(kind).await
    }

    fn walk_under_way(&mut self) -> &mut Walk {
        let began = Timestamp::UNIX_EPOCH;
        let none = || Walk { kind: WalkKind::Compare, began, after: String::new(), seen: 0, missing: 0 };
        self.standing.progress.walk.get_or_insert_with(none)
    }

    async fn walk_query(
        &mut self,
        pages: &mut Pages,
        columns: &Arc<[usize]>,
        until: Option<String>,
        limit: u64,
    ) -> Result<(), SyncError> {
        let kind = self.walk_under_way().kind;
        while let Some(page) = self.next(pages).await? {
            let rows = page.batch.rows.len();
            self.show(rows as u64, Some(page.total_size));
            let after = self.walk_under_way().after.clone();
            let last = match rows.checked_sub(1) {
                _ if page.is_last => until.clone(),
                Some(row) => Some(page.batch.rows.id(row).to_owned()),
                None => Some(after.clone()),
            };
            if matches!(kind, WalkKind::Compare | WalkKind::Reload) {
                self.compare(&page.batch.rows, &after, last.as_deref(), limit).await?;
            }
            let walk = self.walk_under_way();
            walk.seen += rows as u64;
            walk.after = last.unwrap_or(after);
            match kind {
                WalkKind::Compare => {}
                WalkKind::Reload => self.commit(Kind::Rows, page.batch, 0).await?,
                WalkKind::Fill | WalkKind::Refresh => {
                    self.commit(Kind::Cells(columns.clone()), page.batch, 0).await?;
                }
            }
            if page.is_last {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Holds a page against the table: what differs is read again, and what the org does not show is asked for by its id.
    async fn compare(&mut self, rows: &Rows, after: &str, until: Option<&str>, limit: u64) -> Result<(), SyncError> {
        self.settle().await?;
        let ids: Vec<String> = (0..rows.len()).map(|row| rows.id(row).to_owned()).collect();
        let shown: HashSet<&str> = ids.iter().map(String::as_str).collect();
        if self.walk_under_way().kind == WalkKind::Compare {
            let known = self.engine.store.versions(&self.mapping, ids.clone()).await?;
            let differing: Vec<usize> = (0..rows.len()).filter(|row| differs(rows, *row, &known)).collect();
            // What was stamped since the last scan is no drift.
            let through = self.standing.checkpoint.through.map(Timestamp::as_millisecond);
            let drift = differing.iter().filter(|row| rows.stamp(**row) < through).count() as u64;
            let differing: Vec<String> = differing.into_iter().map(|row| rows.id(row).to_owned()).collect();
            self.fetch_or_mark(&differing, None, drift).await?;
        }
        let mut from = after.to_owned();
        loop {
            let ours = self.engine.store.present_ids(&self.mapping, &from, until, AT_ONCE).await?;
            let missing: Vec<String> = ours.iter().filter(|id| !shown.contains(id.as_str())).cloned().collect();
            if !missing.is_empty() {
                let walk = self.walk_under_way();
                walk.missing += missing.len() as u64;
                if walk.missing > limit {
                    let records = walk.missing;
                    return Err(self.mass_delete(records).await?);
                }
                self.fetch_or_mark(&missing, None, missing.len() as u64).await?;
                self.settle().await?;
            }
            match ours.last() {
                Some(last) if ours.len() == AT_ONCE as usize => from.clone_from(last),
                _ => return Ok(()),
            }
        }
    }

    /// How many records may be missing before a person is asked. What the org counts is held against what the table has
    /// before anything is marked: whoever has lost the right to see half of an object has not deleted it.
    async fn guard(&mut self) -> Result<u64, SyncError> {
        if self.asked.allow_gone {
            return Ok(u64::MAX);
        }
        let ours = self.engine.store.count_present(&self.mapping).await?;
        let percent = u64::from(self.definition.mass_delete_percent);
        let limit = (ours / 100 * percent + ours % 100 * percent / 100).max(self.engine.care.gone_at_least);
        if ours > limit {
            let since = self.plan.cursor.as_deref().and_then(|cursor| self.since(cursor));
            let condition = since.map(|since| format!(" WHERE {since}")).unwrap_or_default();
            let count = format!("SELECT count() FROM {}{condition}", self.plan.object);
            match self.engine.connection.count(&count).await {
                Ok(theirs) if ours.saturating_sub(theirs) > limit => {
                    return Err(self.mass_delete(ours - theirs).await?);
                }
                Ok(_) => {}
                Err(error) if is_too_slow(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(limit)
    }

    async fn mass_delete(&mut self, records: u64) -> Result<SyncError, SyncError> {
        let of = self.engine.store.count_present(&self.mapping).await?;
        Ok(SyncError::MassDelete {
            org: self.engine.connection.org().to_owned(),
            object: self.plan.object.clone(),
            table: self.mapping.table.name().to_owned(),
            records,
            of,
        })
    }

    async fn end_walk(&mut self, kind: WalkKind) -> Result<(), SyncError> {
        let Some(walk) = self.standing.progress.walk.take() else { return Ok(()) };
        let now = self.engine.clock.now();
        let progress = &mut self.standing.progress;
        match kind {
            WalkKind::Compare => {
                progress.compared_at = Some(now);
                progress.rows = Some(walk.seen);
            }
            WalkKind::Refresh => progress.refreshed_at = Some(now),
            WalkKind::Fill => {}
            WalkKind::Reload => {
                progress.compared_at = Some(now);
                progress.refreshed_at = Some(now);
                progress.rows = Some(walk.seen);
                progress.unfilled.clear();
                // It began when the org's clock showed this: everything that was visible then is here.
                let through = crate::scan::before(walk.began, self.window().lag);
                self.standing.checkpoint.through = Some(through);
            }
        }
        self.note().await
    }
}

/// Whether the table has another version of a record than the org shows.
fn differs(rows: &Rows, row: usize, known: &HashMap<String, Version>) -> bool {
    let Some(version) = known.get(rows.id(row)) else { return true };
    let deleted = rows.deleted(row).map(tieline_store::object_tables::Deletion::name);
    version.stamp.map(Timestamp::as_millisecond) != rows.stamp(row) || version.deleted.as_deref() != deleted
}
