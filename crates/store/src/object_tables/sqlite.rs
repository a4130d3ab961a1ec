//! Into SQLite: one prepared statement, run for some rows at once, on a connection of its own.
//!
//! Through sqlx a row costs thirty microseconds and more, for each of its values is looked up and sent to another
//! thread; here it costs two.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, Statement, ToSql};

use super::rows::{Cell, Rows};
use super::step::Kind;
use super::table::{ColumnKind, NOT_COMPARED, OURS, ObjectTable, quoted};
use super::written::{date, moment, time, write_moment};
use super::{Deletion, decimal};
use crate::error::StoreError;
use crate::runs::StepOutcome;
use crate::sql::{Scope, Value, for_sqlite};

/// The connection for rows. It is opened at the first use, and whoever uses it holds the database's one writer, so that
/// it waits its turn like all the others.
#[derive(Debug, Clone)]
pub(crate) struct BulkWriter {
    path: PathBuf,
    connection: Arc<Mutex<Option<Connection>>>,
    /// How far the file may grow, in pages; 0: as far as the disk lets it.
    most_pages: Arc<AtomicU32>,
}

/// A statement that goes with a batch, before or behind it.
pub(crate) struct Beside {
    pub(crate) sql: &'static str,
    pub(crate) values: Vec<Value>,
}

/// A batch with what goes with it, as one transaction.
pub(crate) struct Batch {
    /// The first of them must touch one row, or nothing is done.
    pub(crate) before: Vec<Beside>,
    /// Asks for the number of this change.
    pub(crate) change: Beside,
    /// With the columns that the rows have.
    pub(crate) table: Arc<ObjectTable>,
    pub(crate) rows: Rows,
    pub(crate) kind: Kind,
    pub(crate) after: Box<dyn FnOnce(StepOutcome, i64) -> Vec<Beside> + Send>,
    pub(crate) now: Timestamp,
}

/// What became of a batch: none, where the first statement touched nothing. The rows come back, to be used again.
pub(crate) type Written = (Rows, Option<StepOutcome>);

impl BulkWriter {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, connection: Arc::default(), most_pages: Arc::default() }
    }

    /// See [`crate::Store::limit_pages`].
    pub(crate) fn limit_pages(&self, pages: u32) {
        self.most_pages.store(pages, Ordering::Relaxed);
        self.close();
    }

    /// Closes the connection; the next batch would open another.
    pub(crate) fn close(&self) {
        *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Writes a batch, on a thread where waiting for the disk holds up nobody.
    pub(crate) async fn write(&self, batch: Batch) -> Result<Written, StoreError> {
        let this = self.clone();
        let written = tokio::task::spawn_blocking(move || this.write_now(batch)).await;
        written.unwrap_or_else(|_| Err(StoreError::doing("writing rows")(sqlx::Error::WorkerCrashed)))
    }

    /// Changes a table, in the same manner, with a statement that must touch one row, or nothing is done. The connections
    /// of the pools have views before the tables, at which SQLite stumbles when a column is renamed.
    pub(crate) async fn alter(
        &self,
        table: Arc<ObjectTable>,
        renamed: Vec<(String, String)>,
        before: Beside,
    ) -> Result<bool, StoreError> {
        let this = self.clone();
        let alter = move |connection: &mut Connection| {
            let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            if run(&transaction, &before)? != 1 {
                return Ok(false);
            }
            let there: Vec<String> = transaction
                .prepare("SELECT name FROM pragma_table_info(?1)")?
                .query_map([table.name()], |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            for statement in super::alter(&table, &there, &renamed, false) {
                transaction.execute_batch(&statement)?;
            }
            transaction.commit()?;
            Ok(true)
        };
        let altered = tokio::task::spawn_blocking(move || this.with(alter)).await;
        altered.unwrap_or_else(|_| Err(StoreError::doing("changing a table")(sqlx::Error::WorkerCrashed)))
    }

    fn write_now(&self, batch: Batch) -> Result<Written, StoreError> {
        self.with(|connection| write(connection, batch))
    }

    fn with<T>(&self, work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let mut slot = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let connection = match &mut *slot {
            Some(connection) => connection,
            none => none.insert(open(&self.path, self.most_pages.load(Ordering::Relaxed)).map_err(failed)?),
        };
        let done = work(connection).map_err(failed);
        if done.is_err() {
            // Whatever state it is in, the next batch has a new one.
            *slot = None;
        }
        done
    }
}

fn open(path: &std::path::Path, most_pages: u32) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    // As the other connections have it: see `open/sqlite.rs`.
    for (name, value) in [("synchronous", "full"), ("temp_store", "memory")] {
        connection.pragma_update(None, name, value)?;
    }
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "secure_delete", true)?;
    // What a step writes beside its rows, which are memory, too: with more, a large load is above our bound of 64 MB.
    connection.pragma_update(None, "cache_size", -5120)?;
    connection.pragma_update(None, "wal_autocheckpoint", 4000)?;
    if most_pages > 0 {
        connection.pragma_update(None, "max_page_count", most_pages)?;
    }
    Ok(connection)
}

fn write(connection: &mut Connection, batch: Batch) -> rusqlite::Result<Written> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    for (n, beside) in batch.before.iter().enumerate() {
        let touched = run(&transaction, beside)?;
        if n == 0 && touched != 1 {
            return Ok((batch.rows, None));
        }
    }
    let change = number(&transaction, &batch.change)?;
    let outcome = match batch.kind {
        Kind::Whole => rows(&transaction, &batch.table, &batch.rows, batch.now, change)?,
        Kind::Cells | Kind::Marks => cells(&transaction, &batch, change, batch.kind == Kind::Marks)?,
        Kind::Nothing => StepOutcome::default(),
    };
    for beside in (batch.after)(outcome, change) {
        run(&transaction, &beside)?;
    }
    transaction.commit()?;
    Ok((batch.rows, Some(outcome)))
}

/// All of it is the service's own work: which business it is stands in each statement.
fn run(connection: &Connection, beside: &Beside) -> rusqlite::Result<usize> {
    prepared(connection, beside)?.raw_execute()
}

/// The one number that a statement answers.
fn number(connection: &Connection, beside: &Beside) -> rusqlite::Result<i64> {
    let mut statement = prepared(connection, beside)?;
    let mut rows = statement.raw_query();
    rows.next()?.ok_or(rusqlite::Error::QueryReturnedNoRows)?.get(0)
}

fn prepared<'c>(connection: &'c Connection, beside: &Beside) -> rusqlite::Result<rusqlite::CachedStatement<'c>> {
    let mut statement = connection.prepare_cached(&for_sqlite(beside.sql, &Scope::System))?;
    // The parameter `$n` has its number by its place of first appearance, and not by its name.
    for (n, value) in beside.values.iter().enumerate() {
        if let Some(index) = statement.parameter_index(&format!("${}", n + 1))? {
            statement.raw_bind_parameter(index, value.for_rusqlite())?;
        }
    }
    Ok(statement)
}

/// New rows by one statement; a row that is there already by another, if it is older or different.
fn rows(
    connection: &Connection,
    table: &ObjectTable,
    rows: &Rows,
    now: Timestamp,
    change: i64,
) -> rusqlite::Result<StepOutcome> {
    let now = moment(now.as_millisecond());
    let bound = |sql: String| Bound::new(connection.prepare_cached(&sql)?, table, (&now, change), true);
    let mut together = bound(insert_together(table))?;
    let (mut insert, mut update) = (bound(insert(table))?, bound(update(table))?);
    let mut outcome = StepOutcome::default();
    for some in rows.each_once().chunks(TOGETHER) {
        if some.len() == TOGETHER && some.iter().all(|row| !is_marked(rows, *row)) {
            let fresh = together.run_together(rows, some)?;
            outcome.inserted += fresh as u64;
            // Which of them were there already, SQLite does not say: those that have just come differ in nothing.
            for row in some.iter().filter(|_| fresh < TOGETHER) {
                outcome.updated += u64::from(update.run(rows, *row)?);
            }
            continue;
        }
        for &row in some {
            let touched = if insert.run(rows, row)? {
                outcome.inserted += 1;
                true
            } else {
                let updated = update.run(rows, row)?;
                outcome.updated += u64::from(updated);
                updated
            };
            outcome.deleted += u64::from(touched && rows.deleted(row).is_some());
        }
    }
    Ok(outcome)
}

/// Whether the record has gone, or into which one.
fn is_marked(rows: &Rows, row: usize) -> bool {
    rows.deleted(row).is_some() || rows.master(row).is_some()
}

/// Some columns of rows that are there in no newer version.
fn cells(connection: &Connection, batch: &Batch, change: i64, marks: bool) -> rusqlite::Result<StepOutcome> {
    let table = &batch.table;
    let (columns, places) = (table.quoted_columns(), places(table));
    let last = columns.len() - OURS.len();
    let changed: Vec<usize> = if marks { (1..last).chain([last + 1, last + 2]).collect() } else { (1..last).collect() };
    let list = |of: &dyn Fn(usize) -> String| changed.iter().map(|n| of(*n)).collect::<Vec<_>>().join(", ");
    let update = format!(
        "UPDATE main.{} SET {}, \"_synced_at\" = ?1, \"_change\" = ?2 WHERE \"id\" = {} AND coalesce({} >= \"_stamp\", true)
         AND ({}) IS NOT ({})",
        quoted(table.name()),
        list(&|n| format!("{} = {}", columns[n], places[n])),
        places[0],
        places[last],
        list(&|n| places[n].clone()),
        list(&|n| columns[n].clone()),
    );
    let now = moment(batch.now.as_millisecond());
    let mut update = Bound::new(connection.prepare_cached(&update)?, table, (&now, change), marks)?;
    let mut outcome = StepOutcome::default();
    for row in batch.rows.each_once() {
        let updated = update.run(&batch.rows, row)?;
        outcome.updated += u64::from(updated);
        outcome.deleted += u64::from(updated && batch.rows.deleted(row).is_some());
    }
    Ok(outcome)
}

/// How many new rows go in by one statement. Its beginning and its end take about as long as a row; more rows gain little.
/// A table of SQLite has 2,000 columns at most, and a statement 32,766 places (sqlite.org/limits.html).
const TOGETHER: usize = 16;

/// Where a row's own places begin: `?1` and `?2` are the time and the number of the change, the same for all rows.
const FIRST: usize = 3;

/// A statement that is run for one row after the other, or for some at once. SQLite keeps what was bound until something else
/// is: what is the same in all rows is bound once.
struct Bound<'c, 't> {
    statement: CachedStatement<'c>,
    table: &'t ObjectTable,
    /// It has places for how a record went.
    marks: bool,
    /// Something else than nothing stands there.
    marked: bool,
    /// Room for a moment.
    text: String,
}

impl<'c, 't> Bound<'c, 't> {
    fn new(
        mut statement: CachedStatement<'c>,
        table: &'t ObjectTable,
        (now, change): (&str, i64),
        marks: bool,
    ) -> rusqlite::Result<Self> {
        statement.raw_bind_parameter(1, now)?;
        statement.raw_bind_parameter(2, change)?;
        Ok(Self { statement, table, marks, marked: true, text: String::with_capacity(24) })
    }

    /// Whether it touched the row.
    fn run(&mut self, rows: &Rows, row: usize) -> rusqlite::Result<bool> {
        let marks = self.bind(rows, row, FIRST)?;
        let marked = is_marked(rows, row);
        if self.marks && (marked || self.marked) {
            self.statement.raw_bind_parameter(marks, rows.deleted(row).map(Deletion::name))?;
            self.statement.raw_bind_parameter(marks + 1, rows.master(row))?;
            self.marked = marked;
        }
        Ok(self.statement.raw_execute()? == 1)
    }

    /// How many it put in of [`TOGETHER`] rows without marks.
    fn run_together(&mut self, rows: &Rows, some: &[usize]) -> rusqlite::Result<usize> {
        let mut place = FIRST;
        for row in some {
            place = self.bind(rows, *row, place)?;
        }
        self.statement.raw_execute()
    }

    /// Binds id, columns and stamp to the places from there on, and says which is the next.
    fn bind(&mut self, rows: &Rows, row: usize, first: usize) -> rusqlite::Result<usize> {
        let Self { statement, table, text, .. } = self;
        statement.raw_bind_parameter(first, rows.id(row))?;
        let mut place = first;
        for (n, column) in table.columns().iter().enumerate() {
            place += 1;
            match (rows.cell(row, n), column.kind) {
                (Cell::Null, _) => statement.raw_bind_parameter(place, rusqlite::types::Null)?,
                (Cell::Text(start, end), ColumnKind::Number) => bind_number(statement, place, rows.slice(start, end))?,
                (Cell::Text(start, end), _) => statement.raw_bind_parameter(place, rows.slice(start, end))?,
                (Cell::Int(days), ColumnKind::Date) => statement.raw_bind_parameter(place, date(days))?,
                (Cell::Int(at), ColumnKind::DateTime) => {
                    statement.raw_bind_parameter(place, moment_in(text, at))?;
                }
                (Cell::Int(at), ColumnKind::Time) => statement.raw_bind_parameter(place, time(at))?,
                (Cell::Int(number), _) => statement.raw_bind_parameter(place, number)?,
                (Cell::Bool(truth), _) => statement.raw_bind_parameter(place, truth)?,
            }
        }
        statement.raw_bind_parameter(place + 1, rows.stamp(row).map(|at| moment_in(text, at)))?;
        Ok(place + 2)
    }
}

fn moment_in(text: &mut String, at: i64) -> &str {
    text.clear();
    write_moment(at, text);
    text
}

/// The places of a row's columns, in their order.
fn places(table: &ObjectTable) -> Vec<String> {
    let own = 1 + table.columns().len() + OURS.len() - NOT_COMPARED;
    (FIRST..FIRST + own).chain(1..FIRST).map(|place| format!("?{place}")).collect()
}

fn insert(table: &ObjectTable) -> String {
    insert_of(table, &format!("({})", places(table).join(", ")))
}

/// The same for rows without marks, so many at once.
fn insert_together(table: &ObjectTable) -> String {
    let own = 1 + table.columns().len() + 1;
    let row = |first| (first..first + own).map(|place| format!("?{place}, ")).collect::<String>();
    let rows: Vec<String> = (0..TOGETHER).map(|n| format!("({}NULL, NULL, ?1, ?2)", row(FIRST + n * own))).collect();
    insert_of(table, &rows.join(", "))
}

fn insert_of(table: &ObjectTable, rows: &str) -> String {
    let (name, columns) = (quoted(table.name()), table.quoted_columns().join(", "));
    format!("INSERT INTO main.{name} ({columns}) VALUES {rows} ON CONFLICT (\"id\") DO NOTHING")
}

fn update(table: &ObjectTable) -> String {
    let (columns, places) = (table.quoted_columns(), places(table));
    let set: Vec<String> = columns[1..].iter().zip(&places[1..]).map(|(c, p)| format!("{c} = {p}")).collect();
    let compared = 1..columns.len() - NOT_COMPARED;
    format!(
        "UPDATE main.{} SET {} WHERE \"id\" = {} AND coalesce({} >= \"_stamp\", true) AND ({}) IS NOT ({})",
        quoted(table.name()),
        set.join(", "),
        places[0],
        places[columns.len() - OURS.len()],
        places[compared.clone()].join(", "),
        columns[compared].join(", ")
    )
}

/// A number as one where that is exact, and as its digits where it is not.
fn bind_number(statement: &mut Statement<'_>, place: usize, digits: &str) -> rusqlite::Result<()> {
    if let Ok(number) = digits.parse::<i64>() {
        return statement.raw_bind_parameter(place, number);
    }
    match decimal::exact(digits) {
        Some(number) => statement.raw_bind_parameter(place, number),
        None => statement.raw_bind_parameter(place, digits),
    }
}

fn failed(source: rusqlite::Error) -> StoreError {
    match &source {
        rusqlite::Error::SqliteFailure(error, _) if matches!(error.extended_code & 0xff, 13) => StoreError::DiskFull,
        rusqlite::Error::SqliteFailure(error, _) if error.extended_code == 778 => StoreError::DiskFull,
        _ => StoreError::Rows { doing: "writing rows", source },
    }
}

/// A value of a statement beside the rows.
struct Given<'v>(&'v Value);

impl Value {
    fn for_rusqlite(&self) -> impl ToSql + '_ {
        Given(self)
    }
}

impl ToSql for Given<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let owned = |text: String| ToSqlOutput::Owned(rusqlite::types::Value::Text(text));
        let null = ToSqlOutput::Borrowed(ValueRef::Null);
        Ok(match self.0 {
            Value::Text(text) => text.as_ref().map_or(null, |text| ToSqlOutput::from(text.as_str())),
            Value::Int(number) => number.map_or(null, ToSqlOutput::from),
            Value::Bool(truth) => truth.map_or(null, ToSqlOutput::from),
            Value::Bytes(bytes) => bytes.as_ref().map_or(null, |bytes| ToSqlOutput::from(bytes.as_slice())),
            Value::Time(time) => time.map_or(null, |time| ToSqlOutput::from(time.as_millisecond())),
            Value::Json(json) => json.as_ref().map_or(null, |json| owned(json.to_string())),
            Value::Id(id) => id.map_or(null, |id| owned(id.to_string())),
            Value::Texts(texts) => owned(serde_json::Value::from(texts.clone()).to_string()),
            Value::Ids(ids) => {
                owned(serde_json::Value::from(ids.iter().map(ToString::to_string).collect::<Vec<_>>()).to_string())
            }
        })
    }
}
