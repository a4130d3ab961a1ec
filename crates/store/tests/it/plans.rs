//! Which way SQLite goes to rows. A way through every row of a business is right in a small table and an outage in a large
//! one, and nothing else would show it.

use sqlx::{AssertSqlSafe, Row};

use crate::database::{Db, Raw};

async fn plan(db: &Db, sql: &str) -> String {
    let Raw::Sqlite(raw) = &db.raw else { panic!("SQLite's plans only") };
    let rows = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"))).fetch_all(raw).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>("detail")).collect::<Vec<_>>().join("; ")
}

#[tokio::test]
async fn rows_of_given_ids_are_found_by_their_ids_and_not_by_their_business() {
    let db = Db::sqlite().await;
    let tables = [
        ("leads", "id, merged_into", "merged_into IS NOT NULL"),
        ("contacts", "id, merged_into", "merged_into IS NOT NULL"),
        ("contacts", "*", "NOT deleted"),
        ("notifications", "*", "1"),
        ("runs", "*", "1"),
        ("mappings", "*", "1"),
        ("duplicates", "*", "1"),
    ];
    for (table, columns, also) in tables {
        let sql = format!(
            "SELECT {columns} FROM {table} WHERE business_id = 'b' AND id IN (SELECT value FROM json_each('[]')) AND {also}"
        );
        let plan = plan(&db, &sql).await;
        assert!(
            plan.contains(&format!("SEARCH {table} USING"))
                && [" id=?)", "(id=?)"].iter().any(|way| plan.contains(way)),
            "{table}: {plan}"
        );
    }
}

#[tokio::test]
async fn what_is_chosen_by_more_than_its_business_is_found_by_that() {
    let db = Db::sqlite().await;
    let ways = [
        (
            "SELECT id FROM leads WHERE business_id = 'b' AND source_type = 's' AND source_id IN (SELECT value FROM json_each('[]'))",
            "source_id=?",
        ),
        (
            "SELECT * FROM leads WHERE business_id = 'b' AND merged_into IS NULL ORDER BY created_at DESC, id DESC LIMIT 50",
            "leads_in_order",
        ),
        ("SELECT * FROM contacts WHERE business_id = 'b' AND NOT matched ORDER BY id LIMIT 9", "contacts_unmatched"),
        (
            "SELECT * FROM contacts WHERE integration_id = 'i' AND (change, source_id) > (1, 'x') ORDER BY change, source_id LIMIT 9",
            "contacts_feed",
        ),
        ("SELECT * FROM runs WHERE integration_id = 'i' ORDER BY started_at DESC, id DESC LIMIT 9", "runs_recent"),
        (
            "SELECT * FROM runs WHERE business_id = 'b' AND integration_id = 'i' AND ('x' IS NULL OR state = 'x') ORDER BY started_at DESC, id DESC LIMIT 9",
            "runs_recent",
        ),
        (
            "SELECT * FROM runs WHERE business_id = 'b' AND mapping_id = 'm' ORDER BY started_at DESC, id DESC LIMIT 9",
            "runs_of_mapping",
        ),
        (
            "SELECT * FROM integration_logs WHERE business_id = 'b' AND integration_id = 'i' AND at >= 1 AND at <= 2 ORDER BY at, id LIMIT 9",
            "integration_logs_of_one",
        ),
    ];
    for (sql, way) in ways {
        let plan = plan(&db, sql).await;
        assert!(plan.contains(way), "{sql}: {plan}");
    }
}

#[tokio::test]
async fn people_are_counted_without_reading_their_rows() {
    let db = Db::sqlite().await;
    let counts = [
        ("contacts", "deleted OR merged_into IS NOT NULL", "contacts_gone"),
        ("leads", "merged_into IS NOT NULL", "leads_merged"),
    ];
    for (table, gone, way) in counts {
        let all = plan(&db, &format!("SELECT count(*) FROM {table} WHERE business_id = 'b'")).await;
        assert!(all.contains("COVERING INDEX"), "{table}: {all}");
        let gone = plan(&db, &format!("SELECT count(*) FROM {table} WHERE business_id = 'b' AND ({gone})")).await;
        assert!(gone.contains(way), "{table}: {gone}");
    }
}
