//! Reading records: page by page, by id or by change.

use futures_util::StreamExt;
use jiff::Timestamp;
use serde_json::value::RawValue;

use super::cursor::{Place, RecordCursor};
use super::filter::Filter;
use super::json;
use super::source::RecordSource;
use crate::error::StoreError;
use crate::object_tables::Column;
use crate::open::Tenant;
use crate::sql::{Row, Tx, Value};

/// Bytes of JSON that a page may have beyond its first record: what a node keeps in memory for whoever asks.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// Which rows, as to their ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// Those that are there.
    Exclude,
    /// All.
    Include,
    /// Those that have gone.
    Only,
}

/// Where a reader begins, or goes on.
#[derive(Debug, Clone)]
pub enum Start {
    /// In the order of ids, from the first.
    Ids,
    /// In the order of changes, from the first.
    Changes,
    /// In the order of changes, from the first row that was written here then or later.
    Since(Timestamp),
    /// Behind this place.
    After(Place),
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct RecordQuery<'a> {
    /// From where.
    pub start: Start,
    /// All of them hold.
    pub filters: &'a [Filter],
    /// Which columns: see [`super::chosen`].
    pub fields: &'a [&'a Column],
    /// Which rows, as to their ends.
    pub deleted: Deleted,
    /// Records of a page.
    pub limit: u32,
}

/// A page of records.
#[derive(Debug)]
pub struct RecordPage {
    /// Each as a JSON object.
    pub records: Vec<Box<RawValue>>,
    /// Where to go on, now or later.
    pub next: RecordCursor,
    /// Whether there is more now.
    pub more: bool,
}

/// Rows that were read, and where.
pub(super) struct Read {
    pub(super) records: Vec<Box<RawValue>>,
    /// Change and id of the last one.
    pub(super) last: Option<(i64, String)>,
    pub(super) more: bool,
}

impl Tenant {
    /// A page of records. None, if the place is one that the source has not come to: the database was set back, and the
    /// reader must begin anew.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn records(
        &self,
        source: &RecordSource,
        query: &RecordQuery<'_>,
    ) -> Result<Option<RecordPage>, StoreError> {
        let mut tx = self.snapshot("reading records").await?;
        let newest = newest(&mut tx, source).await?;
        let (condition, mut values) = source.condition(self.business());
        let mut conditions = vec![condition.to_owned()];
        let postgres = tx.is_postgres();
        let id = source.compared("id", postgres);
        let mut began = newest;
        let by_change = match &query.start {
            Start::Ids => false,
            Start::Changes => true,
            Start::Since(time) => {
                values.push(format!("{:.3}", milliseconds(*time)).into());
                let given = format!("${}", values.len());
                let given = if postgres { format!("CAST({given} AS timestamptz)") } else { given };
                conditions.push(format!("{} >= {given}", source.compared("_synced_at", postgres)));
                true
            }
            Start::After(Place::Id { began: before, id: last }) => {
                began = *before;
                values.push(last.into());
                conditions.push(format!("{id} > ${}", values.len()));
                false
            }
            Start::After(Place::Change { change, id: last }) => {
                if *change > newest.saturating_add(1) {
                    return Ok(None);
                }
                conditions.push(behind(source, &id, *change, last, &mut values));
                true
            }
        };
        match query.deleted {
            Deleted::Include => {}
            Deleted::Exclude => conditions.push(format!("{} IS NULL", source.compared("_deleted", postgres))),
            Deleted::Only => conditions.push(format!("{} IS NOT NULL", source.compared("_deleted", postgres))),
        }
        conditions.extend(query.filters.iter().map(|filter| filter.sql(source, postgres, &mut values)));
        let order = if by_change { format!("{}, {id}", source.change()) } else { id };
        let read = read(&mut tx, source, query.fields, &conditions, &order, values, query.limit, PAGE_BYTES).await?;
        let next = match (read.last, read.more) {
            (Some((change, id)), true) if by_change => Place::Change { change, id },
            (Some((_, id)), true) => Place::Id { began, id },
            // All numbers up to the newest were looked through, whatever the filters left out. A pass by id goes on with
            // what has changed since it began.
            _ if by_change => Place::behind(newest),
            _ => Place::behind(began),
        };
        Ok(Some(RecordPage { records: read.records, next: RecordCursor::new(source.id, next), more: read.more }))
    }

    /// One record by its id, as a JSON object. None if there is none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn record(
        &self,
        source: &RecordSource,
        id: &str,
        fields: &[&Column],
    ) -> Result<Option<Box<RawValue>>, StoreError> {
        let mut tx = self.read("reading a record").await?;
        let (condition, mut values) = source.condition(self.business());
        let column = source.compared("id", tx.is_postgres());
        values.push(id.into());
        let conditions = [condition.to_owned(), format!("{column} = ${}", values.len())];
        Ok(read(&mut tx, source, fields, &conditions, &column, values, 1, 0).await?.records.pop())
    }
}

/// The number of the newest change.
pub(super) async fn newest(tx: &mut Tx, source: &RecordSource) -> Result<i64, StoreError> {
    let sql = "SELECT changes FROM mapping_checkpoints WHERE mapping_id = $1";
    let row = tx.query(sql).bind(source.id).optional().await?;
    row.map_or(Ok(0), |row| row.get("changes"))
}

/// The condition for rows behind a place in the order of changes.
pub(super) fn behind(source: &RecordSource, id: &str, change: i64, last: &str, values: &mut Vec<Value>) -> String {
    values.extend([change.into(), last.into()]);
    format!("({}, {id}) > (${}, ${})", source.change(), values.len() - 1, values.len())
}

/// Reads rows until there are so many of them, or they have become too long.
#[expect(clippy::too_many_arguments, reason = "the parts of one statement")]
pub(super) async fn read(
    tx: &mut Tx,
    source: &RecordSource,
    fields: &[&Column],
    conditions: &[String],
    order: &str,
    mut values: Vec<Value>,
    limit: u32,
    bytes: usize,
) -> Result<Read, StoreError> {
    let postgres = tx.is_postgres();
    let mut columns = vec![format!("{} AS r_change", source.change())];
    for name in ["id", "_stamp", "_deleted", "_master_id", "_synced_at"] {
        columns.push(format!("{} AS r_{}", source.told(name, postgres), name.trim_start_matches('_')));
    }
    let own = fields.iter().enumerate();
    columns.extend(own.map(|(n, column)| format!("{} AS c{n}", source.told(&column.name, postgres))));
    values.push(i64::from(limit).saturating_add(1).into());
    let sql = format!(
        "SELECT {} FROM {} WHERE {} ORDER BY {order} LIMIT ${}",
        columns.join(", "),
        source.from(),
        conditions.join(" AND "),
        values.len()
    );
    // The plan must know where the reader stands: one for any place might go through the whole table.
    tx.plan_anew().await?;
    let mut rows = tx.query(sql).bind_all(values).stream()?;
    let mut found = Read { records: Vec::new(), last: None, more: false };
    let mut length = 0;
    while let Some(row) = rows.next().await {
        let row: Row = row?;
        if found.records.len() == limit as usize || length > bytes {
            found.more = true;
            break;
        }
        let record = json::record(&row, fields)?;
        length += record.get().len();
        found.records.push(record);
        found.last = Some((row.get("r_change")?, row.get("r_id")?));
    }
    Ok(found)
}

/// SQLite's texts have milliseconds.
fn milliseconds(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}
