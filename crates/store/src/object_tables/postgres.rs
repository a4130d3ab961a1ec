//! Into PostgreSQL: a batch goes in by one statement. Of few rows each column is one array; many go by `COPY` into a
//! temporary table first.
//!
//! `COPY` cannot write into a table with row-level security. By way of the temporary table a run of 200,000 rows of 16 columns
//! took 2.3 to 2.7 s, and 2.9 to 3.5 s by arrays alone, which are complete before the first row and are taken apart element by
//! element (PostgreSQL 15, within the same hour; docs/decisions/0016).

use std::collections::HashSet;

use sqlx::Arguments;
use sqlx::postgres::PgArguments;

use super::binary::{Array, given, oids};
use super::rows::Rows;
use super::step::Kind;
use super::table::{NOT_COMPARED, OURS, ObjectTable, quoted};
use crate::error::StoreError;
use crate::runs::StepOutcome;
use crate::sql::Tx;

/// Where a statement has its rows from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Arrays,
    /// The temporary table `_given`: no mapping's table begins with an underscore.
    Copied,
}

impl Source {
    /// Leaves records out that are in the temporary table already.
    pub(super) async fn take_out(self, tx: &mut Tx, ids: &HashSet<String>) -> Result<(), StoreError> {
        if self == Source::Copied && !ids.is_empty() {
            let ids: Vec<String> = ids.iter().cloned().collect();
            tx.query("DELETE FROM pg_temp._given WHERE \"id\" = ANY($1)").bind(ids).execute().await?;
        }
        Ok(())
    }

    /// What is selected: the rows, then the time and the number of all of them.
    ///
    /// In the list of what is selected, where all are as long, arrays are taken apart in lockstep as rows are asked for
    /// (PostgreSQL 10 and later). `FROM unnest(a, b, …)` makes the same rows, and keeps each array a second time before the
    /// first row: 200,000 rows of 17 columns took 2.0 to 3.5 s so, and 1.4 to 2.5 s as here (PostgreSQL 15, by turns, six
    /// times each on a busy machine; the medians are 2.9 and 1.8 s).
    fn selected(self, table: &ObjectTable) -> String {
        match self {
            Source::Arrays => {
                let kinds: Vec<_> = given(table).into_iter().map(|(_, kind)| oids(kind).2).collect();
                let arrays = kinds.iter().enumerate().map(|(n, kind)| format!("unnest(${}::{kind}[])", n + 1));
                let (written, change) = (kinds.len() + 1, kinds.len() + 2);
                arrays.chain([format!("${written}"), format!("${change}")]).collect::<Vec<_>>().join(", ")
            }
            Source::Copied => {
                let columns = table.quoted_columns();
                format!("{}, $1, $2 FROM pg_temp._given", columns[..columns.len() - NOT_COMPARED].join(", "))
            }
        }
    }

    /// What a statement is given: its rows, unless they are in the temporary table, then the time and the number.
    fn arguments(
        self,
        table: &ObjectTable,
        rows: &Rows,
        chosen: &[usize],
        now: jiff::Timestamp,
        change: i64,
    ) -> Result<PgArguments, StoreError> {
        let encoding = |error| StoreError::doing("encoding rows")(sqlx::Error::Encode(error));
        let mut arguments = PgArguments::default();
        if self == Source::Arrays {
            // Each cell has a length before it; those that are no texts have eight bytes at most.
            arguments.reserve(rows.width() + 5, rows.text_size() + chosen.len() * (rows.width() + 4) * 12);
            for (what, kind) in given(table) {
                arguments.add(Array { rows, chosen, what, kind }).map_err(encoding)?;
            }
        }
        arguments.add(crate::sql::PgTime(now)).map_err(encoding)?;
        arguments.add(change).map_err(encoding)?;
        Ok(arguments)
    }
}

/// The statement: what is new goes in, what is newer replaces, and what is the same touches nothing.
fn upsert(table: &ObjectTable, source: Source) -> String {
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
        rows = source.selected(table),
        set = set.join(", "),
        new = list("excluded"),
        old = list("t"),
    )
}

/// The statement for rows that are all new: to look for each first takes a third of the time.
/// A row that is there makes it fail.
fn insert(table: &ObjectTable, source: Source) -> String {
    let (name, all) = (quoted(table.name()), table.quoted_columns().join(", "));
    format!("INSERT INTO {name} ({all}) SELECT {}", source.selected(table))
}

/// The statement for some columns of rows that are there, in no newer version; or for how records went.
fn update(table: &ObjectTable, marks: bool) -> String {
    let name = quoted(table.name());
    let columns = table.quoted_columns();
    let arrays: Vec<String> =
        given(table).iter().enumerate().map(|(n, (_, kind))| format!("${}::{}[]", n + 1, oids(*kind).2)).collect();
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
        written = arrays.len() + 1,
        change = arrays.len() + 2,
        arrays = arrays.join(", "),
        given = columns[..columns.len() - NOT_COMPARED].join(", "),
        new = list("g"),
        old = list("t"),
    )
}

/// Rows, and what becomes of them.
pub(super) struct Batch<'b> {
    pub(super) kind: Kind,
    pub(super) table: &'b ObjectTable,
    pub(super) rows: &'b Rows,
    pub(super) source: Source,
    pub(super) now: jiff::Timestamp,
    /// The number of the step that they are written in.
    pub(super) change: i64,
    /// Whether all of them are said to be new: that is tried first.
    pub(super) is_new: bool,
}

impl Batch<'_> {
    pub(super) async fn write(self, tx: &mut Tx) -> Result<StepOutcome, StoreError> {
        let Batch { kind, table, rows, source, now, change, is_new } = self;
        if kind == Kind::Nothing {
            return Ok(StepOutcome::default());
        }
        let chosen = rows.each_once();
        let arguments = || source.arguments(table, rows, &chosen, now, change);
        if is_new && kind == Kind::Whole {
            tx.query("SAVEPOINT rows").execute().await?;
            match tx.postgres_count(insert(table, source), arguments()?).await {
                Ok(inserted) => {
                    tx.query("RELEASE SAVEPOINT rows").execute().await?;
                    let deleted = chosen.iter().filter(|row| rows.deleted(**row).is_some()).count() as u64;
                    return Ok(StepOutcome { inserted, updated: 0, deleted });
                }
                Err(error) if error.is_duplicate() => {
                    tx.query("ROLLBACK TO SAVEPOINT rows").execute().await?;
                }
                Err(error) => return Err(error),
            }
        }
        let statement = if kind == Kind::Whole { upsert(table, source) } else { update(table, kind == Kind::Marks) };
        let row = tx.postgres_row(statement, arguments()?).await?;
        let count = |name: &str| row.get::<i64>(name).map(|n| u64::try_from(n).unwrap_or_default());
        Ok(StepOutcome { inserted: count("inserted")?, updated: count("updated")?, deleted: count("deleted")? })
    }
}
