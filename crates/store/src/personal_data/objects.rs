//! Persons in the tables of mappings.
//!
//! A record is a person's by its id, or by an address in a column that is called so: `email`, or a name that ends in
//! `_email`. Telephone numbers (`phone`, `…_phone`) are shared by whole offices, and a record is nobody's for them: a
//! number of the person's is emptied, and the record stays.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::StreamExt;
use jiff::Timestamp;
use serde_json::Value as Json;
use uuid::Uuid;

use super::{Found, candidates, folded};
use crate::error::StoreError;
use crate::leads::SourceType;
use crate::object_tables::{self, Column, ColumnKind, Deletion, ObjectTable};
use crate::sql::{Tx, Value};

/// Ids of one statement.
const CHUNK: usize = 500;
/// Conditions side by side: SQLite takes expressions of a depth of 1,000, and a table has more columns.
const BESIDE: usize = 50;

/// The columns of a table that are called so.
fn called<'t>(table: &'t ObjectTable, what: &'static str) -> impl Iterator<Item = (usize, &'t Column)> {
    let is_so = move |column: &Column| {
        column.kind == ColumnKind::Text
            && (column.name == what || column.name.strip_suffix(what).is_some_and(|rest| rest.ends_with('_')))
    };
    table.columns().iter().enumerate().filter(move |(_, column)| is_so(column))
}

/// The columns with addresses, by their places.
pub(crate) fn addresses(table: &ObjectTable) -> Vec<usize> {
    called(table, "email").map(|(place, _)| place).collect()
}

/// The tables of a business's mappings that are there. Contacts are people's own rows, and none of these.
pub(crate) async fn tables(tx: &mut Tx, business: Uuid) -> Result<Vec<ObjectTable>, StoreError> {
    let rows = tx
        .query(
            "SELECT table_name, columns FROM mappings WHERE business_id = $1 AND target = 'table' ORDER BY table_name",
        )
        .bind(business)
        .all()
        .await?;
    let mut tables = Vec::with_capacity(rows.len());
    for row in &rows {
        let columns: Vec<Column> = serde_json::from_value(row.get::<Json>("columns")?).unwrap_or_default();
        // The name was checked when the mapping was made.
        let Ok(table) = ObjectTable::new(&row.get::<String>("table_name")?, columns) else { continue };
        if object_tables::is_there(tx, &table).await? {
            tables.push(table);
        }
    }
    Ok(tables)
}

fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

/// The ids of records that have this address.
pub(super) async fn ids_of(tx: &mut Tx, tables: &[ObjectTable], email: &str) -> Result<BTreeSet<String>, StoreError> {
    let email = folded(email);
    let mut ids = BTreeSet::new();
    for table in tables {
        for (_, column) in called(table, "email") {
            let column = quoted(&column.name);
            // As in the tables of people.
            let (condition, value) = match email.is_ascii() {
                true => (format!("lower(trim({column})) = $1"), email.clone()),
                false => (format!("lower({column}) LIKE $1 ESCAPE '\\'"), candidates(&email)),
            };
            let sql = format!("SELECT \"id\", {column} AS held FROM {} WHERE {condition}", quoted(table.name()));
            let mut rows = tx.query(sql).bind(value).stream()?;
            while let Some(row) = rows.next().await {
                let row = row?;
                if row.find::<String>("held")?.is_some_and(|held| folded(&held) == email) {
                    ids.insert(row.get("id")?);
                }
            }
        }
    }
    Ok(ids)
}

/// The records that are a person's, by table, with what else names the person.
pub(super) async fn records(
    tx: &mut Tx,
    tables: &[ObjectTable],
    found: &mut Found,
) -> Result<BTreeMap<String, Vec<Json>>, StoreError> {
    let ids = found.imported();
    let mut records = BTreeMap::new();
    for table in tables {
        let sql = format!("{} WHERE \"id\" = ANY($1) ORDER BY \"id\"", object_tables::select(table, tx.is_postgres()));
        let rows = tx.query(sql).bind(ids.clone()).all().await?;
        let rows = rows.iter().map(|row| object_tables::as_json(table, row)).collect::<Result<Vec<_>, _>>()?;
        for row in &rows {
            for what in ["email", "phone"] {
                for (_, column) in called(table, what) {
                    found.say(row[&column.name].as_str());
                    if what == "phone" {
                        found.number(row[&column.name].as_str());
                    }
                }
            }
        }
        if !rows.is_empty() {
            records.insert(table.name().to_owned(), rows);
        }
    }
    Ok(records)
}

/// Any of these, in groups.
fn any(conditions: &[String]) -> String {
    let groups: Vec<String> = conditions.chunks(BESIDE).map(|group| format!("({})", group.join(" OR "))).collect();
    groups.join(" OR ")
}

/// Empties the person's records: what is left of each is its id, and that it was erased, for whoever follows the table.
/// How many.
pub(super) async fn erase(
    tx: &mut Tx,
    business: Uuid,
    tables: &[ObjectTable],
    found: &Found,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let (ids, mut erased) = (found.imported(), 0);
    // As the rows' own writers have it: see `object_tables`.
    let now: Value = if tx.is_postgres() { now.into() } else { format!("{now:.3}").into() };
    for table in tables {
        let own = all_columns(tx, table).await?;
        let change = next_change(tx, table).await?;
        let empty: String = own.iter().map(|column| format!("{column} = NULL, ")).collect();
        let mut not_yet = vec!["\"_deleted\" IS NULL".to_owned(), "\"_deleted\" <> $2".to_owned()];
        not_yet.extend(["\"_stamp\"", "\"_master_id\""].map(|column| format!("{column} IS NOT NULL")));
        not_yet.extend(own.iter().map(|column| format!("{column} IS NOT NULL")));
        for ids in ids.chunks(CHUNK) {
            erased += tx
                .query(format!(
                    "UPDATE {} SET {empty}\"_stamp\" = NULL, \"_deleted\" = $2, \"_master_id\" = NULL, \"_synced_at\" = $3,
                     \"_change\" = $4 WHERE \"id\" = ANY($1) AND ({})",
                    quoted(table.name()),
                    any(&not_yet)
                ))
                .bind(ids.to_vec())
                .bind(Deletion::Erased.name())
                .bind(now.clone())
                .bind(change)
                .execute()
                .await?;
        }
    }
    for ids in ids.chunks(CHUNK) {
        tx.query("DELETE FROM row_errors WHERE business_id = $1 AND record_id = ANY($2)")
            .bind(business)
            .bind(ids.to_vec())
            .execute()
            .await?;
    }
    Ok(erased)
}

/// All mapped columns that the table has: those that the mapping has no more, too, for they keep their values.
async fn all_columns(tx: &mut Tx, table: &ObjectTable) -> Result<Vec<String>, StoreError> {
    let sql = if tx.is_postgres() {
        "SELECT column_name::text AS name FROM information_schema.columns
         WHERE table_schema = current_schema() AND table_name = $1"
    } else {
        "SELECT name FROM pragma_table_info($1)"
    };
    let rows = tx.query(sql).bind(table.name()).all().await?;
    let names: Vec<String> = rows.iter().map(|row| row.get("name")).collect::<Result<_, _>>()?;
    Ok(names.iter().filter(|name| *name != "id" && !name.starts_with('_')).map(|name| quoted(name)).collect())
}

/// The number under which whoever follows the table hears of it: the next of its mapping's.
async fn next_change(tx: &mut Tx, table: &ObjectTable) -> Result<i64, StoreError> {
    tx.query(
        "UPDATE mapping_checkpoints SET changes = changes + 1
         WHERE mapping_id = (SELECT id FROM mappings WHERE table_name = $1) RETURNING changes",
    )
    .bind(table.name())
    .value("changes")
    .await
}

/// Empties the person's telephone numbers where they stand in records of others. How many.
pub(super) async fn empty_numbers(tx: &mut Tx, tables: &[ObjectTable], found: &Found) -> Result<u64, StoreError> {
    if found.numbers.is_empty() {
        return Ok(0);
    }
    let (numbers, mut emptied): (Vec<String>, u64) = (found.numbers.iter().cloned().collect(), 0);
    for table in tables {
        let columns: Vec<String> = called(table, "phone").map(|(_, column)| quoted(&column.name)).collect();
        if columns.is_empty() {
            continue;
        }
        let change = next_change(tx, table).await?;
        for column in columns {
            emptied += tx
                .query(format!(
                    "UPDATE {} SET {column} = NULL, \"_change\" = $2 WHERE trim({column}) = ANY($1)",
                    quoted(table.name())
                ))
                .bind(numbers.clone())
                .bind(change)
                .execute()
                .await?;
        }
    }
    Ok(emptied)
}

/// The source's ids among those of a table are the org's.
pub(super) fn source() -> &'static str {
    SourceType::Salesforce.name()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_known_by_their_names() {
        let column = |name: &str, kind| Column { name: name.to_owned(), kind };
        let names = ["email", "person_email", "emails", "xemail", "mobile_phone"];
        let mut columns: Vec<Column> = names.iter().map(|name| column(name, ColumnKind::Text)).collect();
        columns.push(column("other_email", ColumnKind::Json));
        let table = ObjectTable::new("t", columns).unwrap();
        assert_eq!(addresses(&table), [0, 1]);
        assert_eq!(called(&table, "phone").map(|(n, _)| n).collect::<Vec<_>>(), [4]);
    }

    #[test]
    fn conditions_stand_in_groups() {
        let many: Vec<String> = (0..120).map(|n| format!("c{n}")).collect();
        assert_eq!(any(&many).matches(") OR (").count(), 2);
    }
}
