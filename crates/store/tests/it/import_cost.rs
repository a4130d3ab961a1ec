//! What imports cost: figures, not a judgement. Run with
//! `TIELINE_TEST_LONG=1 cargo test --release -p tieline-store --test it -- --nocapture import_cost`;
//! `TIELINE_IMPORT_ROWS` sets how many leads (100,000 unless told otherwise).

use std::fmt::Write;
use std::time::{Duration, Instant};

use sqlx::postgres::PgPool;
use sqlx::{AssertSqlSafe, Executor};
use tieline_store::{Batch, ContactRow, Fetched, LeadFilter, Person, Uuid};

use crate::database::{Db, Raw, now};
use crate::imports::{asked, contact, create, ids};

on_both!(import_rows_per_second);

/// None: only on demand.
fn rows() -> Option<usize> {
    std::env::var_os("TIELINE_TEST_LONG")?;
    Some(std::env::var("TIELINE_IMPORT_ROWS").ok().and_then(|n| n.parse().ok()).unwrap_or(100_000))
}

pub(crate) fn told(what: &str, rows: usize, took: Duration) {
    eprintln!(
        "{what:<44} {rows:>7} rows {:>8.2} s {:>9.0} rows/s",
        took.as_secs_f64(),
        rows as f64 / took.as_secs_f64()
    );
}

/// An import of so many contacts, in batches; without the reading from the org.
async fn run(db: &Db, integration: Uuid, rows: usize, batch: u32, last_name: &str) -> (Duration, Duration) {
    let (tenant, given) = (db.store.own(), ids(0..rows));
    let begun = Instant::now();
    create(&tenant, &asked(integration, &given), now()).await;
    let created = begun.elapsed();
    let claim = db.store.claim_import(now(), Duration::from_secs(60)).await.unwrap().unwrap();
    let begun = Instant::now();
    let mut after = -1;
    loop {
        let rows = claim.pending_rows(after, batch).await.unwrap();
        let Some(last) = rows.last() else { break };
        after = last.position;
        let rows: Vec<Fetched> = rows
            .into_iter()
            .map(|row| Fetched { position: row.position, contact: Ok(contact(&row.source_id, last_name)) })
            .collect();
        assert!(matches!(claim.commit_batch(&rows, now()).await.unwrap(), Batch::Written(_)));
    }
    claim.finish_import(None, now()).await.unwrap();
    (created, begun.elapsed())
}

async fn import_rows_per_second(db: Db) {
    let Some(rows) = rows() else { return };
    let (kind, integration) = (if db.is_sqlite() { "sqlite" } else { "postgres" }, db.integration().await);
    for (what, name) in [("new", "a"), ("unchanged", "a"), ("updated", "b")] {
        let (created, worked) = run(&db, integration, rows, 1_000, name).await;
        told(&format!("{kind}: create_import"), rows, created);
        told(&format!("{kind}: commit_batch of 1,000, {what}"), rows, worked);
    }
    let begun = Instant::now();
    let filter = LeadFilter { text: Some("nobody"), ..LeadFilter::default() };
    assert!(db.store.own().leads(&filter, None, 100).await.unwrap().items.is_empty());
    told(&format!("{kind}: a search that finds nothing"), rows, begun.elapsed());
    for (what, name) in [("updated", "c"), ("unchanged", "c")] {
        let (_, worked) = run(&db, integration, rows / 50, 1, name).await;
        told(&format!("{kind}: one row at a time, {what}"), rows / 50, worked);
    }
    // What it takes to know who was erased: two digests for each row, asked for by their index.
    db.store.own().erase_person(&Person::Email("nobody@example.com"), now()).await.unwrap();
    let (_, worked) = run(&db, integration, rows, 1_000, "b").await;
    told(&format!("{kind}: commit_batch of 1,000, unchanged, one erased"), rows, worked);
    let begun = Instant::now();
    db.raw.run("DELETE FROM leads").await;
    told(&format!("{kind}: (deleted)"), rows, begun.elapsed());
    let (_, worked) = run(&db, integration, rows / 50, 1, "d").await;
    told(&format!("{kind}: one row at a time, new"), rows / 50, worked);
}

const COLUMNS: &str = "id, source_id, first_name, last_name, name, email, phone, company, title, source_metadata";
const REST: &str = "business_id, source_type, sync_status, last_synced_at, created_at, updated_at";

/// The ways to bring 1,000 new rows into PostgreSQL, each in a transaction as the store's are.
#[tokio::test]
async fn ways_into_postgres() {
    let Some(rows) = rows() else { return };
    let Some(db) = Db::postgres().await else { return };
    let Raw::Postgres(pool) = &db.raw else { unreachable!() };
    let contacts: Vec<ContactRow> = ids(0..rows.min(50_000)).iter().map(|id| contact(id, "x")).collect();
    for round in 0..2 {
        for way in ["VALUES, 250 rows", "VALUES, 1,000 rows", "UNNEST, 1,000 rows", "COPY into a temporary table"] {
            let begun = Instant::now();
            for batch in contacts.chunks(1_000) {
                let mut tx = pool.begin().await.unwrap();
                let scope =
                    format!("SET LOCAL ROLE tieline_app; SET LOCAL tieline.business = '{}'", db.store.own().business());
                tx.execute(AssertSqlSafe(scope)).await.unwrap();
                match way {
                    "VALUES, 250 rows" => values(&mut tx, &db, batch, 250).await,
                    "VALUES, 1,000 rows" => values(&mut tx, &db, batch, 1_000).await,
                    "UNNEST, 1,000 rows" => unnest(&mut tx, &db, batch).await,
                    _ => copy(&mut tx, &db, batch).await,
                }
                tx.commit().await.unwrap();
            }
            if round == 1 {
                told(way, contacts.len(), begun.elapsed());
            }
            db.raw.run("TRUNCATE leads").await;
        }
    }
    refused_copy(pool, &db).await;
}

async fn values(tx: &mut sqlx::PgConnection, db: &Db, contacts: &[ContactRow], chunk: usize) {
    for contacts in contacts.chunks(chunk) {
        let mut sql = format!("INSERT INTO leads ({REST}, {COLUMNS}) VALUES ");
        for n in 0..contacts.len() {
            let comma = if n == 0 { "" } else { ", " };
            let _ = write!(sql, "{comma}($1, 'salesforce', 'synced', now(), now(), now()");
            for c in 0..10 {
                let _ = write!(sql, ", ${}", n * 10 + c + 2);
            }
            sql.push(')');
        }
        sql.push_str(" ON CONFLICT DO NOTHING");
        let mut query = sqlx::query(AssertSqlSafe(sql)).bind(db.store.own().business());
        for row in contacts {
            query = query.bind(Uuid::now_v7()).bind(&row.source_id).bind(&row.first_name).bind(&row.last_name);
            query = query.bind(&row.name).bind(&row.email).bind(&row.phone).bind(&row.company).bind(&row.title);
            query = query.bind(sqlx::types::Json(&row.source_metadata));
        }
        assert_eq!(query.execute(&mut *tx).await.unwrap().rows_affected(), contacts.len() as u64);
    }
}

async fn unnest(tx: &mut sqlx::PgConnection, db: &Db, contacts: &[ContactRow]) {
    let sql = format!(
        "INSERT INTO leads ({REST}, {COLUMNS}) SELECT $1, 'salesforce', 'synced', now(), now(), now(), v.* FROM unnest(
         $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[],
         $11::jsonb[]) AS v ON CONFLICT DO NOTHING"
    );
    let column = |of: fn(&ContactRow) -> &Option<String>| contacts.iter().map(of).cloned().collect::<Vec<_>>();
    let query = sqlx::query(AssertSqlSafe(sql))
        .bind(db.store.own().business())
        .bind(contacts.iter().map(|_| Uuid::now_v7()).collect::<Vec<_>>())
        .bind(contacts.iter().map(|row| row.source_id.clone()).collect::<Vec<_>>())
        .bind(column(|row| &row.first_name))
        .bind(column(|row| &row.last_name))
        .bind(column(|row| &row.name))
        .bind(column(|row| &row.email))
        .bind(column(|row| &row.phone))
        .bind(column(|row| &row.company))
        .bind(column(|row| &row.title))
        .bind(contacts.iter().map(|row| row.source_metadata.clone()).collect::<Vec<_>>());
    assert_eq!(query.execute(&mut *tx).await.unwrap().rows_affected(), contacts.len() as u64);
}

async fn copy(tx: &mut sqlx::PgConnection, db: &Db, contacts: &[ContactRow]) {
    let table = format!("CREATE TEMP TABLE coming ON COMMIT DROP AS SELECT {COLUMNS} FROM leads WHERE false");
    tx.execute(AssertSqlSafe(table)).await.unwrap();
    let mut text = String::with_capacity(contacts.len() * 300);
    for row in contacts {
        let fields = [&row.first_name, &row.last_name, &row.name, &row.email, &row.phone, &row.company, &row.title];
        let _ = write!(text, "{}\t{}", Uuid::now_v7(), row.source_id);
        for field in fields {
            let _ = write!(text, "\t{}", field.as_deref().unwrap_or("\\N").replace('\\', "\\\\"));
        }
        let _ = writeln!(text, "\t{}", row.source_metadata.to_string().replace('\\', "\\\\"));
    }
    let mut sink = tx.copy_in_raw("COPY coming FROM STDIN").await.unwrap();
    sink.send(text.into_bytes()).await.unwrap();
    sink.finish().await.unwrap();
    let sql = format!(
        "INSERT INTO leads ({REST}, {COLUMNS}) SELECT $1, 'salesforce', 'synced', now(), now(), now(), coming.* FROM coming
         ORDER BY source_id ON CONFLICT DO NOTHING"
    );
    let query = sqlx::query(AssertSqlSafe(sql)).persistent(false).bind(db.store.own().business());
    assert_eq!(query.execute(&mut *tx).await.unwrap().rows_affected(), contacts.len() as u64);
}

/// COPY straight into the table is no way at all.
async fn refused_copy(pool: &PgPool, db: &Db) {
    let mut tx = pool.begin().await.unwrap();
    tx.execute("SET LOCAL ROLE tieline_app").await.unwrap();
    let sql = format!("SET LOCAL tieline.business = '{}'", db.store.own().business());
    tx.execute(AssertSqlSafe(sql)).await.unwrap();
    let error = tx.copy_in_raw("COPY leads (id) FROM STDIN").await.map(drop).unwrap_err();
    eprintln!("COPY into the table itself: {error}");
}
