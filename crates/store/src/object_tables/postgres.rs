//! Into PostgreSQL: one statement for a batch, each column one array.
//!
//! `COPY` cannot write into a table with row-level security, and a temporary table beside it is one more thing for the
//! server to make and forget with each batch.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgTypeInfo};
use sqlx::{Arguments, Encode, Postgres, Type};

use super::decimal;
use super::rows::{Cell, Rows};
use super::step::Kind;
use super::table::{ColumnKind, NOT_COMPARED, OURS, ObjectTable, quoted};
use crate::error::StoreError;
use crate::runs::StepOutcome;
use crate::sql::Tx;

/// Milliseconds from 1970 to 2000, from which PostgreSQL counts.
const EPOCH: i64 = 946_684_800_000;
/// The same in days.
const EPOCH_DAYS: i64 = 10_957;

/// Numbers of PostgreSQL's types: the element's and its array's.
/// Source: PostgreSQL, `src/include/catalog/pg_type.dat`.
fn oids(kind: ColumnKind) -> (u32, u32, &'static str) {
    match kind {
        ColumnKind::Text => (25, 1009, "text"),
        ColumnKind::Integer => (20, 1016, "bigint"),
        ColumnKind::Number => (1700, 1231, "numeric"),
        ColumnKind::Bool => (16, 1000, "boolean"),
        ColumnKind::Date => (1082, 1182, "date"),
        ColumnKind::DateTime => (1184, 1185, "timestamptz"),
        ColumnKind::Time => (1083, 1183, "time"),
        ColumnKind::Json => (3802, 3807, "jsonb"),
    }
}

/// What stands in an array.
#[derive(Clone, Copy)]
enum What {
    Id,
    Cell(usize),
    Stamp,
    Deleted,
    Master,
}

/// One column of a batch.
struct Array<'r> {
    rows: &'r Rows,
    chosen: &'r [usize],
    what: What,
    kind: ColumnKind,
}

impl Type<Postgres> for Array<'_> {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("_text")
    }
}

impl<'q> Encode<'q, Postgres> for Array<'_> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        // Its bytes stand where they are sent from.
        let out: &mut Vec<u8> = buffer;
        let number = i32::try_from(self.chosen.len())?;
        // One dimension, with nulls, of this type; so many elements, the first of which is number 1.
        // Source: PostgreSQL, `src/backend/utils/adt/arrayfuncs.c` (`array_recv`).
        for head in [1_i32.to_be_bytes(), 1_i32.to_be_bytes(), oids(self.kind).0.to_be_bytes(), number.to_be_bytes()] {
            out.extend(head);
        }
        out.extend(1_i32.to_be_bytes());
        for row in self.chosen {
            self.element(*row, out)?;
        }
        Ok(IsNull::No)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(PgTypeInfo::with_oid(Oid(oids(self.kind).1)))
    }
}

impl Array<'_> {
    fn element(&self, row: usize, out: &mut Vec<u8>) -> Result<(), BoxDynError> {
        let rows = self.rows;
        let text = |out: &mut Vec<u8>, text: Option<&str>| match text {
            Some(text) => sized(out, |out| put_text(out, text)),
            None => null(out),
        };
        match self.what {
            What::Id => text(out, Some(rows.id(row))),
            What::Deleted => text(out, rows.deleted(row).map(super::Deletion::name)),
            What::Master => text(out, rows.master(row)),
            What::Stamp => match rows.stamp(row) {
                Some(at) => sized(out, |out| out.extend(moment(at).to_be_bytes())),
                None => null(out),
            },
            What::Cell(column) => match (rows.cell(row, column), self.kind) {
                (Cell::Null, _) => null(out),
                (Cell::Text(start, end), ColumnKind::Text) => text(out, Some(rows.slice(start, end))),
                (Cell::Text(start, end), ColumnKind::Json) => sized(out, |out| {
                    // The form's version; and the text without what PostgreSQL's jsonb does not take.
                    out.push(1);
                    put_json(out, rows.slice(start, end));
                }),
                (Cell::Text(start, end), ColumnKind::Number) => {
                    let digits = rows.slice(start, end);
                    let place = out.len();
                    out.extend([0; 4]);
                    if !decimal::encode(digits, out) {
                        return Err(format!("`{digits}` is no decimal number").into());
                    }
                    let length = i32::try_from(out.len() - place - 4)?;
                    out[place..place + 4].copy_from_slice(&length.to_be_bytes());
                }
                (Cell::Int(number), ColumnKind::Integer) => sized(out, |out| out.extend(number.to_be_bytes())),
                (Cell::Int(days), ColumnKind::Date) => {
                    let days = i32::try_from(days - EPOCH_DAYS)?;
                    sized(out, |out| out.extend(days.to_be_bytes()));
                }
                (Cell::Int(at), ColumnKind::DateTime) => sized(out, |out| out.extend(moment(at).to_be_bytes())),
                (Cell::Int(at), ColumnKind::Time) => sized(out, |out| out.extend((at * 1_000).to_be_bytes())),
                (Cell::Bool(truth), ColumnKind::Bool) => sized(out, |out| out.push(u8::from(truth))),
                (cell, kind) => return Err(format!("{cell:?} does not fit a column of kind {kind:?}").into()),
            },
        }
        Ok(())
    }
}

fn moment(milliseconds: i64) -> i64 {
    milliseconds.saturating_sub(EPOCH).saturating_mul(1_000)
}

fn null(out: &mut Vec<u8>) {
    out.extend((-1_i32).to_be_bytes());
}

/// What `put` writes, with its length before it.
fn sized(out: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) {
    let place = out.len();
    out.extend([0; 4]);
    put(out);
    let length = i32::try_from(out.len() - place - 4).unwrap_or(i32::MAX);
    out[place..place + 4].copy_from_slice(&length.to_be_bytes());
}

/// PostgreSQL keeps no NUL in texts.
fn put_text(out: &mut Vec<u8>, text: &str) {
    if text.contains('\0') {
        out.extend(text.replace('\0', "\u{fffd}").as_bytes());
    } else {
        out.extend(text.as_bytes());
    }
}

fn put_json(out: &mut Vec<u8>, json: &str) {
    if json.contains("\\u0000") {
        out.extend(json.replace("\\u0000", "\\ufffd").as_bytes());
    } else {
        out.extend(json.as_bytes());
    }
}

/// The statement: what is new goes in, what is newer replaces, and what is the same touches nothing.
pub(super) fn upsert(table: &ObjectTable) -> String {
    let name = quoted(table.name());
    let columns = table.quoted_columns();
    let compared = &columns[1..columns.len() - NOT_COMPARED];
    let list = |prefix: &str| compared.iter().map(|c| format!("{prefix}.{c}")).collect::<Vec<_>>().join(", ");
    let set: Vec<String> = columns[1..].iter().map(|c| format!("{c} = excluded.{c}")).collect();
    format!(
        "WITH put AS (
             INSERT INTO {name} AS t ({all}) SELECT {rows}
             ON CONFLICT (\"id\") DO UPDATE SET {set}
             WHERE coalesce(excluded.\"_stamp\" >= t.\"_stamp\", true) AND ({new}) IS DISTINCT FROM ({old})
             RETURNING xmax = 0 AS fresh, \"_deleted\" IS NOT NULL AS gone)
         SELECT count(*) FILTER (WHERE fresh) AS inserted, count(*) FILTER (WHERE NOT fresh) AS updated,
             count(*) FILTER (WHERE gone) AS deleted FROM put",
        all = columns.join(", "),
        rows = given_rows(table),
        set = set.join(", "),
        new = list("excluded"),
        old = list("t"),
    )
}

/// The statement for rows that are all new: to look for each first takes a third of the time.
/// A row that is there makes it fail.
fn insert(table: &ObjectTable) -> String {
    let (name, all) = (quoted(table.name()), table.quoted_columns().join(", "));
    format!("INSERT INTO {name} ({all}) SELECT {}", given_rows(table))
}

/// What is selected of the arguments: rows made of the arrays side by side, then the time and the number of all of them.
///
/// In the list of what is selected, where all are as long, arrays are taken apart in lockstep as rows are asked for
/// (PostgreSQL 10 and later). `FROM unnest(a, b, …)` makes the same rows, and keeps each array a second time before the first
/// row: 200,000 rows of 17 columns took 2.0 to 3.5 s so, and 1.4 to 2.5 s as here (PostgreSQL 15, by turns, six times each on a
/// busy machine; the medians are 2.9 and 1.8 s).
fn given_rows(table: &ObjectTable) -> String {
    let kinds = kinds(table);
    let arrays = kinds.iter().enumerate().map(|(n, kind)| format!("unnest(${}::{}[])", n + 1, oids(*kind).2));
    let (written, change) = (kinds.len() + 1, kinds.len() + 2);
    arrays.chain([format!("${written}"), format!("${change}")]).collect::<Vec<_>>().join(", ")
}

/// The statement for some columns of rows that are there, in no newer version; or for how records went.
pub(super) fn update(table: &ObjectTable, marks: bool) -> String {
    let name = quoted(table.name());
    let columns = table.quoted_columns();
    let kinds = kinds(table);
    let given: Vec<String> =
        kinds.iter().enumerate().map(|(n, kind)| format!("${}::{}[]", n + 1, oids(*kind).2)).collect();
    // Behind the id stand the mapped columns, then stamp, deletion, master, time and number.
    let last = columns.len() - OURS.len();
    let changed =
        if marks { [&columns[1..last], &columns[last + 1..last + 3]].concat() } else { columns[1..last].to_vec() };
    let list = |prefix: &str| changed.iter().map(|c| format!("{prefix}.{c}")).collect::<Vec<_>>().join(", ");
    let set: Vec<String> = changed.iter().map(|c| format!("{c} = g.{c}")).collect();
    format!(
        "WITH put AS (
             UPDATE {name} AS t SET {set}, \"_synced_at\" = ${written}, \"_change\" = ${change} FROM unnest({arrays}) AS g ({given})
             WHERE t.\"id\" = g.\"id\" AND coalesce(g.\"_stamp\" >= t.\"_stamp\", true)
                 AND ROW({new}) IS DISTINCT FROM ROW({old})
             RETURNING t.\"_deleted\" IS NOT NULL AS gone)
         SELECT 0::bigint AS inserted, count(*) AS updated, count(*) FILTER (WHERE gone) AS deleted FROM put",
        set = set.join(", "),
        written = kinds.len() + 1,
        change = kinds.len() + 2,
        arrays = given.join(", "),
        given = columns[..columns.len() - NOT_COMPARED].join(", "),
        new = list("g"),
        old = list("t"),
    )
}

fn kinds(table: &ObjectTable) -> Vec<ColumnKind> {
    let own = table.columns().iter().map(|column| column.kind);
    let ours = [ColumnKind::DateTime, ColumnKind::Text, ColumnKind::Text];
    std::iter::once(ColumnKind::Text).chain(own).chain(ours).collect()
}

/// Writes a batch within a transaction, as the change of that number. Where all of it is said to be new, that is tried first.
pub(super) async fn write(
    tx: &mut Tx,
    kind: Kind,
    table: &ObjectTable,
    rows: &Rows,
    now: jiff::Timestamp,
    change: i64,
    is_new: bool,
) -> Result<StepOutcome, StoreError> {
    if kind == Kind::Nothing {
        return Ok(StepOutcome::default());
    }
    let chosen = rows.each_once();
    if is_new && kind == Kind::Whole {
        tx.query("SAVEPOINT rows").execute().await?;
        match tx.postgres_count(insert(table), arguments(table, rows, &chosen, now, change)?).await {
            Ok(inserted) => {
                tx.query("RELEASE SAVEPOINT rows").execute().await?;
                let deleted = chosen.iter().filter(|row| rows.deleted(**row).is_some()).count() as u64;
                return Ok(StepOutcome { inserted, updated: 0, deleted });
            }
            Err(error) if error.is_duplicate() => tx.query("ROLLBACK TO SAVEPOINT rows").execute().await.map(drop)?,
            Err(error) => return Err(error),
        }
    }
    let statement = if kind == Kind::Whole { upsert(table) } else { update(table, kind == Kind::Marks) };
    let row = tx.postgres_row(statement, arguments(table, rows, &chosen, now, change)?).await?;
    let count = |name: &str| row.get::<i64>(name).map(|n| u64::try_from(n).unwrap_or_default());
    Ok(StepOutcome { inserted: count("inserted")?, updated: count("updated")?, deleted: count("deleted")? })
}

/// The columns of these rows, then the time and the number that all of them get.
fn arguments(
    table: &ObjectTable,
    rows: &Rows,
    chosen: &[usize],
    now: jiff::Timestamp,
    change: i64,
) -> Result<PgArguments, StoreError> {
    let encoding = |error| StoreError::doing("encoding rows")(sqlx::Error::Encode(error));
    let mut arguments = PgArguments::default();
    // Each cell has a length before it; those that are no texts have eight bytes at most.
    arguments.reserve(rows.width() + 5, rows.text_size() + chosen.len() * (rows.width() + 4) * 12);
    let cells = (0..rows.width()).map(What::Cell);
    let whats = std::iter::once(What::Id).chain(cells).chain([What::Stamp, What::Deleted, What::Master]);
    for (what, kind) in whats.zip(kinds(table)) {
        arguments.add(Array { rows, chosen, what, kind }).map_err(encoding)?;
    }
    arguments.add(crate::sql::PgTime(now)).map_err(encoding)?;
    arguments.add(change).map_err(encoding)?;
    Ok(arguments)
}
