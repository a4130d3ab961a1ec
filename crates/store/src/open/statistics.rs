//! What SQLite is told of our tables' shape.
//!
//! Without statistics SQLite takes a column that stands first in an index for one that chooses ten rows
//! (sqlite.org/fileformat2.html, "The sqlite_stat1 table"). `business_id` chooses all rows of a business, which are all there
//! are, as a rule; so `business_id = $1 AND id = ANY($2)` went through every lead for want of a better guess. What `ANALYZE`
//! finds depends on when it runs, and of an empty table it says nothing. We know the shape of our tables beforehand, and so
//! plans are the same on every machine and every day.

use std::collections::BTreeMap;

use sqlx::{Row, SqliteConnection};

use crate::tenancy;

/// Rows of a table, as far as plans go: SQLite's own guess.
const ROWS: u64 = 1_000_000;
/// Rows that a partial index leaves over.
const CHOSEN: u64 = 1_000;

/// How many times fewer rows have one value of a column. Where there are few values, few are left out.
fn divides_by(column: &str) -> u64 {
    match column {
        "business_id" => 4,
        "integration_id" | "mapping_id" | "import_id" | "source_type" | "state" | "status" | "kind" | "campaign" => 20,
        _ => 1_000,
    }
}

/// The line of an index: its rows, then how many have one value of the first column, of the first two, …
fn line(columns: &[String], is_unique: bool, is_partial: bool) -> String {
    let mut left = if is_partial { CHOSEN } else { ROWS };
    let mut line = left.to_string();
    for (n, column) in columns.iter().enumerate() {
        left = if is_unique && n + 1 == columns.len() { 1 } else { (left / divides_by(column)).max(2) };
        line.push_str(&format!(" {left}"));
    }
    line
}

/// Tells the shape of our tables, if that was not told of all of them.
pub(super) async fn tell(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let indexes = sqlx::query(
        "SELECT t.name AS of, i.name AS name, i.\"unique\" AS is_unique, i.partial AS is_partial, c.name AS column_name
         FROM sqlite_schema AS t, pragma_index_list(t.name) AS i, pragma_index_info(i.name) AS c
         WHERE t.type = 'table' ORDER BY t.name, i.name, c.seqno",
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut found: BTreeMap<(String, String), (Vec<String>, bool, bool)> = BTreeMap::new();
    for index in &indexes {
        let table: String = index.get("of");
        if tenancy::is_table(&table) {
            let empty = || (Vec::new(), index.get("is_unique"), index.get("is_partial"));
            found.entry((table, index.get("name"))).or_insert_with(empty).0.push(index.get("column_name"));
        }
    }
    let lines: Vec<[String; 3]> = found
        .into_iter()
        .map(|((table, index), (columns, is_unique, is_partial))| [table, index, line(&columns, is_unique, is_partial)])
        .collect();
    // This makes the table of statistics, where there is none yet.
    sqlx::query("ANALYZE schema_support").execute(&mut *connection).await?;
    let told = sqlx::query("SELECT tbl, idx, stat FROM sqlite_stat1 WHERE idx IS NOT NULL")
        .fetch_all(&mut *connection)
        .await?;
    let told: Vec<[String; 3]> = told.iter().map(|row| ["tbl", "idx", "stat"].map(|column| row.get(column))).collect();
    if lines.iter().all(|line| told.contains(line)) {
        return Ok(());
    }
    let mut tx = sqlx::Connection::begin(connection).await?;
    sqlx::query("DELETE FROM sqlite_stat1").execute(&mut *tx).await?;
    for [table, index, line] in &lines {
        let insert = sqlx::query("INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ($1, $2, $3)");
        insert.bind(table).bind(index).bind(line).execute(&mut *tx).await?;
    }
    tx.commit().await
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn a_business_is_no_choice_and_a_whole_key_is_one_row() {
        let columns = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(line(&columns(&["id"]), true, false), "1000000 1");
        assert_eq!(line(&columns(&["business_id", "created_at", "id"]), false, false), "1000000 250000 250 2");
        assert_eq!(line(&columns(&["business_id", "source_type", "source_id"]), true, false), "1000000 250000 12500 1");
        assert_eq!(line(&columns(&["business_id", "id"]), false, true), "1000 250 2");
    }
}
