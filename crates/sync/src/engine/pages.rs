//! The pages of a query of the plan's columns; of several queries, where they do not fit into one.
//!
//! Salesforce takes 100,000 characters of SOQL. An object with more fields than that is read in parts: a page of the first
//! part, then the other columns of the very records of that page. A record that changed in between has another stamp, and
//! is read again from its first part on, so that no row is made of two versions.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use tieline_client::rest::query::QueryOptions;
use tieline_client::{Connection, PagesBy, soql};
use tieline_store::object_tables::Rows;

use super::poll::is_too_slow;
use super::work::{Batch, Work};
use crate::error::SyncError;
use crate::mapping::{Decoder, Plan};

/// Deleted and archived records too.
pub(super) const ALL: QueryOptions = QueryOptions { deleted_too: true, tooling: false, batch_size: None };
/// Ids of one query: beside the longest list of fields it is still one.
pub(super) const IDS: usize = 400;
/// How often a record is read again that changes between two of its parts.
const AGAIN: usize = 5;

/// What is read, in as few queries as it takes.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    /// All of it.
    plan: Arc<Plan>,
    /// The parts, with the places of their columns in the whole. One, as a rule.
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
struct Part {
    plan: Arc<Plan>,
    decoder: Decoder,
    columns: Vec<usize>,
}

impl Reading {
    /// Of a plan's columns, by queries with lists no longer than this.
    pub(super) fn new(plan: Arc<Plan>, longest: usize) -> Self {
        let all: Vec<usize> = (0..plan.columns.len()).collect();
        let parts = if plan.select_list().len() <= longest {
            vec![Part { decoder: Decoder::new(&plan), plan: plan.clone(), columns: all }]
        } else {
            divided(&plan, &all, longest)
        };
        Self { plan, parts }
    }

    /// Takes back the rows of a page, for the next one to be read into their memory.
    pub(super) fn reuse(&self, rows: Rows) {
        self.parts[0].decoder.reuse(rows);
    }

    /// It takes more than one query.
    pub(super) fn is_divided(&self) -> bool {
        self.parts.len() > 1
    }

    /// The query for these conditions: of the first part.
    fn soql(&self, part: &Part, conditions: impl IntoIterator<Item = Option<String>>, order: &str) -> String {
        let conditions: Vec<String> = conditions.into_iter().flatten().collect();
        let condition =
            if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
        format!("SELECT {} FROM {}{condition} ORDER BY {order}", part.plan.select_list(), self.plan.object)
    }
}

/// Halves until each fits.
fn divided(plan: &Arc<Plan>, columns: &[usize], longest: usize) -> Vec<Part> {
    let part = Arc::new(plan.part(columns));
    if part.select_list().len() <= longest || columns.len() < 2 {
        return vec![Part { decoder: Decoder::new(&part), plan: part, columns: columns.to_vec() }];
    }
    let (one, other) = columns.split_at(columns.len() / 2);
    let mut parts = divided(plan, one, longest);
    parts.extend(divided(plan, other, longest));
    parts
}

/// A page, complete.
pub(super) struct Page {
    pub(super) batch: Batch,
    pub(super) total_size: u64,
    pub(super) server_time: Option<Timestamp>,
    pub(super) is_last: bool,
}

/// The pages of a query.
pub(super) struct Pages {
    inner: PagesBy<Decoder>,
    reading: Reading,
    connection: Connection,
    /// Where the page before began.
    before: Option<(String, Option<i64>)>,
    /// Records so far.
    seen: u64,
    /// Ids of one query that the org answers in time.
    ids_at_once: usize,
}

/// Ids yet to be asked for, in lists as long as the org answers in time.
#[derive(Debug)]
pub(super) struct Lists<'i> {
    /// The next one last.
    left: Vec<&'i [String]>,
    /// How long a list is at most.
    pub(super) longest: usize,
}

impl<'i> Lists<'i> {
    pub(super) fn of(ids: &'i [String], longest: usize) -> Self {
        let longest = longest.clamp(1, IDS);
        Self { left: ids.chunks(longest).rev().collect(), longest }
    }

    pub(super) fn next(&mut self) -> Option<&'i [String]> {
        self.left.pop()
    }

    /// Takes a list back that was too long, as do all that are as long. False if it cannot be divided.
    pub(super) fn halve(&mut self, list: &'i [String]) -> bool {
        if list.len() < 2 {
            return false;
        }
        self.longest = self.longest.min(list.len().div_ceil(2));
        let left = std::mem::take(&mut self.left);
        self.left = left.into_iter().chain([list]).flat_map(|list| list.chunks(self.longest).rev()).collect();
        true
    }
}

impl Work<'_> {
    /// Asks for what these conditions choose.
    pub(super) fn pages(
        &self,
        reading: &Reading,
        conditions: impl IntoIterator<Item = Option<String>>,
        order: &str,
    ) -> Pages {
        let connection = self.engine.connection.clone();
        let first = &reading.parts[0];
        let soql = reading.soql(first, conditions, order);
        let inner = connection.query_pages_by(&soql, ALL, first.decoder.clone());
        let ids_at_once = self.ids_at_once;
        Pages { inner, reading: reading.clone(), connection, before: None, seen: 0, ids_at_once }
    }

    /// The next page, if the org's calls are still ours; one that does not go with those before is an error.
    pub(super) async fn next(&mut self, pages: &mut Pages) -> Result<Option<Page>, SyncError> {
        let page = self.next_as_it_comes(pages).await?;
        if let Some(page) = &page {
            pages.check(&page.batch, page.total_size, page.is_last)?;
        }
        Ok(page)
    }

    /// The same for who looks by himself whether the pages make a whole.
    pub(super) async fn next_as_it_comes(&mut self, pages: &mut Pages) -> Result<Option<Page>, SyncError> {
        self.check_share()?;
        let Some(page) = pages.inner.next().await? else { return Ok(None) };
        let (total_size, server_time, is_last) = (page.total_size, page.server_time, page.is_last);
        let batch = Batch::from(page.records);
        let batch = if pages.reading.is_divided() { pages.complete(batch).await? } else { batch };
        self.ids_at_once = pages.ids_at_once;
        Ok(Some(Page { batch, total_size, server_time, is_last }))
    }
}

impl Pages {
    /// A page that comes twice stands in another one's place; an empty one in the middle, or an end before all were seen,
    /// too: as good an answer by its form, and records of it are lost.
    fn check(&mut self, page: &Batch, total: u64, is_last: bool) -> Result<(), SyncError> {
        self.seen += page.rows.len() as u64;
        let first = (!page.rows.is_empty()).then(|| (page.rows.id(0).to_owned(), page.rows.stamp(0)));
        let reason = match (&first, &self.before) {
            (None, _) if !is_last => "a page in the middle is empty".to_owned(),
            (Some(first), Some(before)) if first == before => "a page came twice, in the place of another".to_owned(),
            _ if is_last && self.seen < total => format!("it ends after {} of {total} records", self.seen),
            _ => {
                self.before = first;
                return Ok(());
            }
        };
        let (org, object) = (self.connection.org().to_owned(), self.reading.plan.object.clone());
        Err(SyncError::Inconsistent { org, object, reason })
    }

    /// The other columns of a page's records.
    async fn complete(&mut self, mut first: Batch) -> Result<Batch, SyncError> {
        let reading = self.reading.clone();
        let mut whole = Batch::of(Rows::new(reading.plan.columns.len()));
        for _ in 0..=AGAIN {
            let ids: Vec<String> = (0..first.rows.len()).map(|row| first.rows.id(row).to_owned()).collect();
            let mut others = Vec::new();
            for part in &reading.parts[1..] {
                others.push(self.of(part, &ids).await?);
            }
            let changed = join(&reading, &mut whole, first, others);
            if changed.is_empty() {
                return Ok(whole);
            }
            first = self.of(&reading.parts[0], &changed).await?;
        }
        let records = (0..first.rows.len()).map(|row| first.rows.id(row)).collect::<Vec<_>>().join(", ");
        Err(SyncError::NeverStill { org: self.connection.org().to_owned(), records })
    }

    /// A part's columns of these records.
    async fn of(&mut self, part: &Part, ids: &[String]) -> Result<Batch, SyncError> {
        let mut found = Batch::of(Rows::new(part.columns.len()));
        let mut lists = Lists::of(ids, self.ids_at_once);
        while let Some(list) = lists.next() {
            let soql = self.reading.soql(part, [Some(among(list))], "Id");
            let mut pages = self.connection.query_pages_by(&soql, ALL, part.decoder.clone());
            loop {
                match pages.next().await {
                    Ok(Some(page)) => drop(found.append(page.records.into())),
                    Ok(None) => break,
                    // It refuses a query as a whole, before its first page.
                    Err(error) if is_too_slow(&error) && lists.halve(list) => {
                        self.ids_at_once = lists.longest;
                        break;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(found)
    }
}

/// The condition for these records.
pub(super) fn among(ids: &[String]) -> String {
    let list: Vec<String> = ids.iter().map(|id| soql::text(id)).collect();
    format!("Id IN ({})", list.join(","))
}

/// Makes rows of their parts. Those whose parts are of two versions are not made: their ids come back.
fn join(reading: &Reading, whole: &mut Batch, first: Batch, others: Vec<Batch>) -> Vec<String> {
    let mut changed = Vec::new();
    let places = |batch: &Batch| -> HashMap<String, usize> {
        (0..batch.rows.len()).map(|row| (batch.rows.id(row).to_owned(), row)).collect()
    };
    let places: Vec<_> = others.iter().map(places).collect();
    for row in 0..first.rows.len() {
        let id = first.rows.id(row);
        let version = |batch: &Batch, row: usize| (batch.rows.stamp(row), batch.rows.deleted(row));
        let found: Vec<Option<usize>> = places.iter().map(|places| places.get(id).copied()).collect();
        let same = |(batch, place): (&Batch, &Option<usize>)| {
            place.is_some_and(|place| version(batch, place) == version(&first, row))
        };
        if !others.iter().zip(&found).all(same) {
            changed.push(id.to_owned());
            continue;
        }
        let mut made = whole.rows.row();
        for (n, column) in reading.parts[0].columns.iter().enumerate() {
            made.copy(*column, &first.rows, row, n);
        }
        for ((part, batch), place) in reading.parts[1..].iter().zip(&others).zip(&found) {
            for (n, column) in part.columns.iter().enumerate() {
                made.copy(*column, &batch.rows, place.unwrap_or_default(), n);
            }
        }
        made.end(id, first.rows.stamp(row), first.rows.deleted(row), first.rows.master(row));
    }
    whole.take_errors(first);
    others.into_iter().for_each(|other| whole.take_errors(other));
    changed
}
