//! All records in the order of their ids: compared, or read again in part or in whole.
//!
//! Where a walk stands is kept with its rows, so one that is cut off goes on there. It needs no memory beyond a page: of
//! each page the table's rows between its first and last id are what the org should have shown.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tieline_client::{ClientError, soql};
use tieline_store::mappings::{Version, Walk, WalkKind};
use tieline_store::object_tables::{ObjectTable, Rows};

use super::bisect::{id_of, number};
use super::gone::missing;
use super::pages::{ALL, IDS, Pages, Reading};
use super::poll::is_too_slow;
use super::work::{Batch, Kind, Work};
use crate::error::SyncError;
use crate::mapping::Decoder;

/// Ids of the table that are looked at in one go.
const AT_ONCE: u32 = 10_000;
/// Records of a page at least, unless it is the last. Source: REST API Developer Guide, "Query Options Header". Where an
/// answer is that much smaller than its own count, a page is missing; where it is less, records went in the meantime.
const LEAST_PAGE: u64 = 200;
/// How often a query whose pages leave out records is made again in a run.
const MOST_BROKEN: u32 = 3;

/// A part of the records, where the org does not answer a query for all of them.
#[derive(Debug, Default)]
struct Part {
    /// Its last id; none: it goes to the end.
    until: Option<String>,
    /// How many rows of ours it has, or how many ids there can be in it.
    rows: u32,
    ids: u128,
}

/// What the pages of a query were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Came {
    /// All that there is.
    Whole,
    /// The last ones did not come.
    Cut,
    /// Others than in their turn.
    Broken,
}

/// What is done about rows that a page has not shown.
#[derive(Debug, Clone, Copy)]
enum Unseen {
    /// What the org does not show by its id either is gone, up to so many.
    AskFor(u64),
    /// What it shows is written; whether the rest is gone is another walk's to say.
    Read,
}

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
        under_way || due || self.asked.compare || self.asked.allow_gone
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

    /// The next comparison is due, from its beginning.
    pub(super) fn compare_anew(&mut self) {
        let progress = &mut self.standing.progress;
        progress.compared_at = None;
        progress.walk = progress.walk.take().filter(|walk| walk.kind != WalkKind::Compare);
    }

    /// Walks to the end.
    pub(super) async fn walk(&mut self, kind: WalkKind) -> Result<(), SyncError> {
        self.settle().await?;
        let columns: Arc<[usize]> = match kind {
            // Whoever was erased is known by the id or by an address, and is neither read again nor counted.
            WalkKind::Compare => self.engine.store.erased_are_known_by(&self.mapping.table).await?.into(),
            kind => self.walked_columns(kind).into(),
        };
        let plan = Arc::new(if kind == WalkKind::Reload { (*self.plan).clone() } else { self.plan.part(&columns) });
        let reading = Reading::new(plan.clone(), self.engine.care.longest_query);
        let compares = matches!(kind, WalkKind::Compare | WalkKind::Reload);
        let limit = if compares { self.guard().await? } else { u64::MAX };
        let resumed = self.standing.progress.walk.as_ref().is_some_and(|walk| walk.kind == kind);
        if !resumed {
            let began = self.org_time().await?;
            self.standing.progress.walk = Some(Walk { kind, began, after: String::new(), seen: 0, missing: 0 });
        }
        let (mut part, mut broken) = (Part::default(), 0);
        loop {
            let before = self.walk_under_way().clone();
            let bounds = [
                plan.cursor.as_deref().and_then(|cursor| self.since(cursor)),
                (!before.after.is_empty()).then(|| format!("Id > {}", soql::text(&before.after))),
                part.until.as_ref().map(|until| format!("Id <= {}", soql::text(until))),
            ];
            let mut pages = self.pages(&reading, bounds, "Id");
            match self.walk_query(&mut pages, &columns, part.until.clone(), limit).await {
                Ok(Came::Whole) if part.until.is_none() => break,
                Ok(Came::Whole) => self.pass(&mut part).await?,
                // The rest is asked for anew.
                Ok(Came::Cut) => {}
                // Somewhere in it records were left out.
                Ok(Came::Broken) => {
                    broken += 1;
                    self.settle().await?;
                    let missing = self.walk_under_way().missing;
                    self.standing.progress.walk = Some(Walk { missing, ..before });
                    if broken == MOST_BROKEN {
                        self.note().await?;
                        let (org, object) = (self.engine.connection.org().to_owned(), plan.object.clone());
                        return Err(SyncError::Incomplete { org, object, times: broken });
                    }
                }
                Err(SyncError::Client(error)) if is_too_slow(&error) => self.halve(&mut part, &error).await?,
                Err(error) => return Err(error),
            }
        }
        self.end_walk(kind).await
    }

    /// Makes a part smaller, after the org gave up on it: by our own rows, which lie about as its records do, and where
    /// there are none by the ids that there can be.
    async fn halve(&mut self, part: &mut Part, error: &ClientError) -> Result<(), SyncError> {
        self.settle().await?;
        let after = self.walk_under_way().after.clone();
        let ours = self.engine.store.present_ids(&self.mapping, &after, part.until.as_deref(), AT_ONCE).await?;
        let half = if part.until.is_none() && ours.len() == AT_ONCE as usize { ours.len() } else { ours.len() / 2 };
        if let Some(last) = half.checked_sub(1).and_then(|last| ours.get(last)) {
            *part = Part { until: Some(last.clone()), rows: u32::try_from(half).unwrap_or(AT_ONCE), ids: 0 };
            return Ok(());
        }
        let (first, last) = self.ids().await?;
        let low = if after.is_empty() { first } else { number(&after) };
        let high = part.until.as_deref().map_or(last, number);
        let ids = high.saturating_sub(low) / 2;
        if ids == 0 {
            let (org, object) = (self.engine.connection.org().to_owned(), self.plan.object.clone());
            return Err(SyncError::Unsplittable { org, object, reason: error.to_string() });
        }
        *part = Part { until: Some(id_of(low + ids)), rows: 0, ids };
        Ok(())
    }

    /// A part was answered: the next one is twice as large.
    async fn pass(&mut self, part: &mut Part) -> Result<(), SyncError> {
        self.settle().await?;
        part.rows = part.rows.saturating_mul(2).min(AT_ONCE);
        part.ids = part.ids.saturating_mul(2);
        let after = self.walk_under_way().after.clone();
        part.until = if part.rows > 0 {
            let ours = self.engine.store.present_ids(&self.mapping, &after, None, part.rows).await?;
            ours.get(part.rows as usize - 1).cloned()
        } else {
            let last = self.ids().await?.1;
            number(&after).checked_add(part.ids).filter(|next| *next < last).map(id_of)
        };
        Ok(())
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
    ) -> Result<Came, SyncError> {
        let kind = self.walk_under_way().kind;
        let mut came = 0;
        while let Some(page) = self.next_as_it_comes(pages).await? {
            let rows = page.batch.rows.len();
            let after = self.walk_under_way().after.clone();
            let in_turn = if rows == 0 { page.is_last } else { page.batch.rows.id(0) > after.as_str() };
            came += rows as u64;
            let left_out = if page.is_last { page.total_size.saturating_sub(came) } else { 0 };
            if !in_turn || left_out >= LEAST_PAGE || (left_out > 0 && came == 0) {
                return Ok(Came::Broken);
            }
            self.show(rows as u64, Some(page.total_size));
            let is_last = page.is_last && left_out == 0;
            let last = match rows.checked_sub(1) {
                _ if is_last => until.clone(),
                Some(row) => Some(page.batch.rows.id(row).to_owned()),
                None => Some(after.clone()),
            };
            if matches!(kind, WalkKind::Compare | WalkKind::Reload) {
                self.compare(&page.batch.rows, columns, (after.as_str(), last.as_deref()), limit).await?;
            } else if kind == WalkKind::Fill {
                self.settle().await?;
                self.unseen(&page.batch.rows, (after.as_str(), last.as_deref()), Unseen::Read).await?;
            }
            let walk = self.walk_under_way();
            walk.seen += rows as u64;
            walk.after = last.unwrap_or(after);
            match kind {
                // Where it stands is kept, though nothing was written.
                WalkKind::Compare => self.commit(Kind::Marks, Batch::of(Rows::new(0)), 0).await?,
                WalkKind::Reload => self.commit(Kind::Rows, page.batch, 0).await?,
                WalkKind::Fill | WalkKind::Refresh => {
                    self.commit(Kind::Cells(columns.clone()), page.batch, 0).await?;
                }
            }
            if page.is_last {
                return Ok(if is_last { Came::Whole } else { Came::Cut });
            }
        }
        Ok(Came::Whole)
    }

    /// Those of the rows of which the table has another version, by their places. The records of persons who were erased
    /// are to be missing. `table` has the rows' columns.
    pub(super) async fn differing(&mut self, rows: &Rows, table: &ObjectTable) -> Result<Vec<usize>, SyncError> {
        let ids: Vec<String> = (0..rows.len()).map(|row| rows.id(row).to_owned()).collect();
        let store = &self.engine.store;
        let known = store.versions(&self.mapping, ids).await?;
        let kept_from = self.kept_from().await?.map(Timestamp::as_millisecond);
        let is_old = |row: usize| kept_from.zip(rows.stamp(row)).is_some_and(|(from, stamp)| stamp < from);
        let by_age = |row: usize| is_old(row) && !known.contains_key(rows.id(row));
        let mut differing: Vec<usize> =
            (0..rows.len()).filter(|row| differs(rows, *row, &known) && !by_age(*row)).collect();
        if !differing.is_empty() {
            let erased = store.erased_among(table, rows).await?;
            differing.retain(|row| !erased.contains(rows.id(*row)));
        }
        Ok(differing)
    }

    /// Contacts that have not changed since then may have been taken out by their age: they are not missing.
    async fn kept_from(&self) -> Result<Option<Timestamp>, SyncError> {
        if !self.mapping.is_contacts() {
            return Ok(None);
        }
        let days = self.engine.store.retention().await?.contact_days;
        let age = days.map(|days| SignedDuration::from_hours(24 * i64::from(days)));
        Ok(age.and_then(|age| self.engine.clock.now().checked_sub(age).ok()))
    }

    /// Holds a page against the table: what differs is read again, and what the org does not show is asked for by its id.
    async fn compare(
        &mut self,
        rows: &Rows,
        columns: &[usize],
        (after, until): (&str, Option<&str>),
        limit: u64,
    ) -> Result<(), SyncError> {
        self.settle().await?;
        if self.walk_under_way().kind == WalkKind::Compare {
            let differing = self.differing(rows, &self.mapping.table.part(columns)).await?;
            // What was stamped since the last scan is no drift.
            let through = self.standing.checkpoint.through.map(Timestamp::as_millisecond);
            let drift = differing.iter().filter(|row| rows.stamp(**row) < through).count() as u64;
            let differing: Vec<String> = differing.into_iter().map(|row| rows.id(row).to_owned()).collect();
            self.read_again(&differing, drift).await?;
            self.settle().await?;
        }
        self.unseen(rows, (after, until), Unseen::AskFor(limit)).await
    }

    /// Rows of the table that a page should have shown and has not. A page that was lost is missed at the end of its query;
    /// whoever is killed before that goes on behind it.
    async fn unseen(
        &mut self,
        rows: &Rows,
        (after, until): (&str, Option<&str>),
        then: Unseen,
    ) -> Result<(), SyncError> {
        let shown: HashSet<&str> = (0..rows.len()).map(|row| rows.id(row)).collect();
        let mut from = after.to_owned();
        loop {
            let ours = self.engine.store.present_ids(&self.mapping, &from, until, AT_ONCE).await?;
            let unseen: Vec<String> = ours.iter().filter(|id| !shown.contains(id.as_str())).cloned().collect();
            match then {
                Unseen::AskFor(limit) => {
                    for ids in unseen.chunks(IDS) {
                        self.ask_for(ids, limit).await?;
                    }
                }
                Unseen::Read => self.read_again(&unseen, 0).await?,
            }
            match ours.last() {
                Some(last) if ours.len() == AT_ONCE as usize => from.clone_from(last),
                _ => return Ok(()),
            }
        }
    }

    /// Asks for records by their ids: a page may have left them out. Only what is not shown then is gone.
    async fn ask_for(&mut self, ids: &[String], limit: u64) -> Result<(), SyncError> {
        let found = self.fetch(ids).await?;
        let gone = missing(ids, &found);
        let marks = if gone.is_empty() {
            Rows::new(0)
        } else {
            let walk = self.walk_under_way();
            walk.missing += gone.len() as u64;
            if walk.missing > limit {
                let records = walk.missing;
                return Err(self.mass_delete(records).await?);
            }
            self.marks(&gone).await?
        };
        self.write_found(found, 0, marks, gone.len() as u64).await?;
        self.settle().await
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
            let there = self.plan.can_be_deleted.then(|| "IsDeleted = false".to_owned());
            let conditions: Vec<String> = [since, there].into_iter().flatten().collect();
            let condition =
                if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
            let count = format!("SELECT count() FROM {}{condition}", self.plan.object);
            // Of all records, for `query` does not count archived ones.
            let counted = self.engine.connection.query_pages_by(&count, ALL, Decoder::new(&self.plan)).next().await;
            match counted {
                Ok(page) => {
                    let theirs = page.map_or(0, |page| page.total_size);
                    if ours.saturating_sub(theirs) > limit {
                        return Err(self.mass_delete(ours - theirs).await?);
                    }
                }
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
                progress.allow_gone = false;
                (progress.asked.compare, progress.asked.allow_gone) = (false, false);
            }
            WalkKind::Refresh => progress.refreshed_at = Some(now),
            WalkKind::Fill => {}
            WalkKind::Reload => {
                progress.compared_at = Some(now);
                progress.refreshed_at = Some(now);
                progress.rows = Some(walk.seen);
                (progress.allow_gone, progress.reloading) = (false, false);
                (progress.asked.compare, progress.asked.allow_gone) = (false, false);
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
