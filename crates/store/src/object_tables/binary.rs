//! Rows as PostgreSQL takes them in its binary form: each column one array, or row by row for `COPY`.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo};
use sqlx::{Encode, Postgres, Type};

use super::decimal;
use super::rows::{Cell, Rows};
use super::table::{ColumnKind, ObjectTable};

/// Milliseconds from 1970 to 2000, from which PostgreSQL counts.
const EPOCH: i64 = 946_684_800_000;
/// The same in days.
const EPOCH_DAYS: i64 = 10_957;

/// Numbers of PostgreSQL's types: the element's and its array's.
/// Source: PostgreSQL, `src/include/catalog/pg_type.dat`.
pub(super) fn oids(kind: ColumnKind) -> (u32, u32, &'static str) {
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

/// What stands in a column.
#[derive(Clone, Copy)]
pub(super) enum What {
    Id,
    Cell(usize),
    Stamp,
    Deleted,
    Master,
}

/// The columns that rows of a table are given in, each with its kind: all but the time and the number.
pub(super) fn given(table: &ObjectTable) -> Vec<(What, ColumnKind)> {
    let own = table.columns().iter().enumerate().map(|(n, column)| (What::Cell(n), column.kind));
    let ours =
        [(What::Stamp, ColumnKind::DateTime), (What::Deleted, ColumnKind::Text), (What::Master, ColumnKind::Text)];
    std::iter::once((What::Id, ColumnKind::Text)).chain(own).chain(ours).collect()
}

/// One column of a batch.
pub(super) struct Array<'r> {
    pub(super) rows: &'r Rows,
    pub(super) chosen: &'r [usize],
    pub(super) what: What,
    pub(super) kind: ColumnKind,
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
            field(self.rows, *row, self.what, self.kind, out)?;
        }
        Ok(IsNull::No)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(PgTypeInfo::with_oid(Oid(oids(self.kind).1)))
    }
}

/// What `COPY … (FORMAT binary)` begins with: its signature, no flags, no more of a head.
/// Source: PostgreSQL's documentation of `COPY`, "Binary Format".
pub(super) const COPY_HEAD: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// And what it ends with, where the number of a row's fields would stand.
pub(super) const COPY_END: [u8; 2] = (-1_i16).to_be_bytes();

/// A row as `COPY` takes it: how many fields it has, and each.
pub(super) fn tuple(
    rows: &Rows,
    row: usize,
    columns: &[(What, ColumnKind)],
    out: &mut Vec<u8>,
) -> Result<(), BoxDynError> {
    out.extend(i16::try_from(columns.len())?.to_be_bytes());
    columns.iter().try_for_each(|(what, kind)| field(rows, row, *what, *kind, out))
}

/// A value with its length before it.
fn field(rows: &Rows, row: usize, what: What, kind: ColumnKind, out: &mut Vec<u8>) -> Result<(), BoxDynError> {
    let text = |out: &mut Vec<u8>, text: Option<&str>| match text {
        Some(text) => sized(out, |out| put_text(out, text)),
        None => null(out),
    };
    match what {
        What::Id => text(out, Some(rows.id(row))),
        What::Deleted => text(out, rows.deleted(row).map(super::Deletion::name)),
        What::Master => text(out, rows.master(row)),
        What::Stamp => match rows.stamp(row) {
            Some(at) => sized(out, |out| out.extend(moment(at).to_be_bytes())),
            None => null(out),
        },
        What::Cell(column) => match (rows.cell(row, column), kind) {
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
