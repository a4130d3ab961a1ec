//! Tables for objects of an org, made while the program runs: one for each mapping that asks for one of its own.
//!
//! A table has the record's `id` as its key, a typed column for each mapped field, and five columns of ours, which begin
//! with an underscore as no mapped column may:
//!
//! | column | holds |
//! | --- | --- |
//! | `_stamp` | the record's version: its SystemModstamp, or what the object has in its place |
//! | `_deleted` | null for a record that is there; else how it went: `deleted`, `merged`, `erased` or `hidden` |
//! | `_master_id` | of a merged record: the one that stayed |
//! | `_synced_at` | when this version was written here |
//! | `_change` | number of the step that wrote it: what has a greater one was committed later |
//!
//! `_change` is what readers follow, for clocks jump. It is taken from the mapping's checkpoint (`changes`), whose row a step
//! holds until its commit: a reader that sees a number sees all rows with smaller ones, and none with a smaller one comes
//! later.
//!
//! Rows come in batches ([`Rows`]), many thousand a second, so they take another way into either database than the
//! statements of the rest of this crate: PostgreSQL is given each column as one array, or many rows by `COPY`; SQLite a
//! prepared statement that is run for sixteen rows at a time, or for one.
//!
//! Reading order: [`rows`] (what is written), [`table`] (where), `ddl` (making it), `postgres` with `binary` and `sqlite`
//! (writing), `written` (values as texts), `staged` (rows that go to the server before their turn), `step`
//! (rows, checkpoint and counters as one transaction), `contacts` (rows of the one mapping without a table of its own),
//! `read` (rows as JSON).

mod binary;
mod contacts;
mod ddl;
pub(crate) mod decimal;
mod postgres;
mod read;
pub mod rows;
mod sqlite;
mod staged;
mod step;
pub mod table;
mod written;

pub use rows::{Deletion, Rows};
pub use staged::StagedRows;
pub use step::Change;
pub use table::{Column, ColumnKind, ObjectTable, TableError};
pub use written::{date, moment, time};

pub(crate) use ddl::{alter, create, drop_table};
pub(crate) use read::{as_json, is_there, select};
pub(crate) use sqlite::{Beside, BulkWriter};
pub(crate) use step::commit;
pub(crate) use table::quoted;
