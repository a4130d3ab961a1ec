//! Thousands of rows at once take a way of their own into PostgreSQL (`COPY` and a temporary table). They become what few
//! become, and no fault on that way leaves anything behind.

use std::time::{Duration, Instant};

use tieline_store::object_tables::{ColumnKind, Deletion, Rows};
use tieline_store::{Checkpoint, Run, Tenant};

use crate::database::{Db, Raw, now};
use crate::object_tables::{NAMES, checkpoint, mapped, named, written};

on_both!(
    thousands_become_what_hundreds_become,
    t9_whichever_of_thousands_fails_none_of_them_stays,
    a_writer_that_is_given_up_leaves_all_of_its_rows_or_none,
);

/// More than go by arrays.
const MANY: usize = 3_000;

const KINDS: [(&str, ColumnKind); 8] = [
    ("t", ColumnKind::Text),
    ("i", ColumnKind::Integer),
    ("n", ColumnKind::Number),
    ("b", ColumnKind::Bool),
    ("d", ColumnKind::Date),
    ("at", ColumnKind::DateTime),
    ("tod", ColumnKind::Time),
    ("j", ColumnKind::Json),
];

/// Each second column of a row is null, by turns.
fn put(rows: &mut Rows, id: usize, stamp: i64, text: &str, deleted: Option<Deletion>) {
    let number = id as i64;
    let mut row = rows.row();
    if id.is_multiple_of(2) {
        row.text(0, &format!("{text} Ünï\0 {id}"));
        row.text(2, &format!("-{id}.50"));
        row.int(4, number - 1_000);
        row.int(6, number * 1_000);
    } else {
        row.int(1, number - 5);
        row.bool(3, id.is_multiple_of(3));
        row.int(5, number * 86_400_001 - 1_000_000_000);
        row.text(7, &format!(r#"{{"{text}":[{id},null,"\u0000"]}}"#));
    }
    row.end(&format!("{id:05}"), Some(stamp), deleted, deleted.map(|_| "00001"));
}

/// Has PostgreSQL note which way rows come into a table.
async fn watch(db: &Db, table: &str) {
    if let Raw::Postgres(_) = &db.raw {
        db.raw
            .run(&format!(
                "CREATE TABLE IF NOT EXISTS ways (way text);
                 CREATE OR REPLACE FUNCTION way() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
                     INSERT INTO ways VALUES (TG_TABLE_NAME ||
                         CASE WHEN to_regclass('pg_temp._given') IS NULL THEN ' by arrays' ELSE ' by COPY' END);
                     RETURN NULL;
                 END $$;
                 CREATE TRIGGER way AFTER INSERT ON {table} FOR EACH STATEMENT EXECUTE FUNCTION way()"
            ))
            .await;
    }
}

async fn thousands_become_what_hundreds_become(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let record = |id: usize| match id {
        4 => (id, 11, "changed", None),
        6 => (id, 9, "older", None),
        7 => (id, 11, "gone", Some(Deletion::Deleted)),
        8 => (id, 10, "merged and new", Some(Deletion::Merged)),
        9 => (id, 10, "was there, and moved", None),
        _ => (id, 10, "was there", None),
    };
    let before: Vec<_> = (0..MANY).filter(|id| *id != 8).map(|id| (id, 10, "was there", None)).collect();
    let after: Vec<_> = (0..MANY + 10).map(record).collect();
    let mut kept = Vec::new();
    for (table, at_once) in [("together", MANY * 2), ("apart", 100)] {
        for through in [None, Some(checkpoint(1).scan.unwrap().0.stamp)] {
            let name = format!("{table}_{}", through.is_some());
            let mut mapping = mapped(&tenant, integration, &name, &KINDS).await;
            let run = tenant.start_mapping_run(&mapping, now()).await.unwrap();
            watch(&db, &name).await;
            // A table that is known not to be new is never taken for an empty one.
            mapping.standing.checkpoint.through = through;
            let write = async |records: &[(usize, i64, &str, Option<Deletion>)]| {
                let mut sums = (0, 0, 0);
                for some in records.chunks(at_once) {
                    let mut rows = Rows::new(KINDS.len());
                    some.iter().for_each(|(id, stamp, text, deleted)| put(&mut rows, *id, *stamp, text, *deleted));
                    let done = written(&tenant, &run, &mapping, rows, Checkpoint::default()).await.unwrap();
                    sums = (sums.0 + done.inserted, sums.1 + done.updated, sums.2 + done.deleted);
                }
                sums
            };
            let new = MANY as u64 - 1;
            assert_eq!(write(&before).await, (new, 0, 0), "{name}");
            assert_eq!(write(&after).await, (11, 3, 2), "{name}: 4, 7 and 9 changed, 6 did not, 8 came");
            assert_eq!(write(&after).await, (0, 0, 0), "{name}: the same");
            let columns = KINDS.map(|(column, _)| column);
            let columns = columns.iter().chain(&["id", "_stamp", "_deleted", "_master_id", "_synced_at"]);
            let columns: Vec<_> = columns.map(|c| format!("coalesce(cast(\"{c}\" AS text), '-')")).collect();
            kept.push(db.raw.texts(&format!("SELECT {} FROM {name} ORDER BY id", columns.join(" || '|' || "))).await);
        }
    }
    assert_eq!(kept[0].len(), MANY + 10);
    assert!(kept.iter().all(|rows| *rows == kept[0]));
    if db.is_sqlite() {
        return;
    }
    // Where a database lets its users have no temporary tables, rows take the other way.
    let revoke =
        "DO $$ BEGIN EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database()); END $$";
    db.raw.run(revoke).await;
    let may = "SELECT has_database_privilege('tieline_app', current_database(), 'TEMPORARY')::text";
    assert_eq!(db.raw.texts(may).await, ["false"]);
    let mapping = mapped(&tenant, integration, "without", &KINDS).await;
    watch(&db, "without").await;
    let run = tenant.start_mapping_run(&mapping, now()).await.unwrap();
    let mut rows = Rows::new(KINDS.len());
    (0..MANY).for_each(|id| put(&mut rows, id, 10, "was there", None));
    let done = written(&tenant, &run, &mapping, rows, checkpoint(1)).await.unwrap();
    assert_eq!(done.inserted, MANY as u64);
    assert_eq!(
        db.raw.texts("SELECT DISTINCT way FROM ways ORDER BY way").await,
        [
            "apart_false by arrays",
            "apart_true by arrays",
            "together_false by COPY",
            "together_true by COPY",
            "without by arrays"
        ]
    );
}

async fn t9_whichever_of_thousands_fails_none_of_them_stays(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    // A name that is like that of the temporary table.
    let columns = [("n", ColumnKind::Number), ("t", ColumnKind::Text)];
    let mapping = mapped(&tenant, integration, "given", &columns).await;
    let run = tenant.start_mapping_run(&mapping, now()).await.unwrap();
    let rows = |numbers: std::ops::Range<usize>, wrong: Option<usize>| {
        let mut rows = Rows::new(2);
        for n in numbers {
            let mut row = rows.row();
            row.text(1, &"wide ".repeat(40));
            row.text(0, if Some(n) == wrong { "no number" } else { "1.5" });
            row.end(&format!("{n:05}"), Some(1), None, None);
        }
        rows
    };
    let there = async || db.raw.texts("SELECT cast(count(*) AS text) FROM given").await[0].parse::<usize>().unwrap();
    for (base, place) in [(0, "00000"), (0, "02999"), (MANY, "04000")] {
        db.raw.failpoint("BEFORE INSERT ON given", &format!("new.id = '{place}'")).await;
        let refused = written(&tenant, &run, &mapping, rows(base..base + MANY, None), checkpoint(2)).await.unwrap_err();
        assert!(refused.to_string().contains("failpoint"), "{refused}");
        db.raw.mend("given").await;
        assert_eq!(there().await, base, "{place}");
        if !db.is_sqlite() {
            // What cannot be encoded is told in the midst of what is sent already.
            let wrong = rows(base..base + MANY, Some(base + MANY - 1));
            let refused = written(&tenant, &run, &mapping, wrong, checkpoint(2)).await.unwrap_err();
            assert!(format!("{refused:?}").contains("no number"), "{refused:?}");
            futures_util::future::join_all((0..20).map(|_| is_answered(&tenant, &run))).await;
            assert_eq!(there().await, base, "{place}");
        }
        assert_eq!(tenant.mapping(mapping.id).await.unwrap().unwrap().standing.checkpoint.scan, None, "{place}");
        if place != "00000" {
            let rows = rows(base..base + MANY, None);
            written(&tenant, &run, &mapping, rows, Checkpoint::default()).await.unwrap();
            assert_eq!(there().await, base + MANY, "{place}");
        }
    }
}

/// Many are given up, each at another moment of its way; what comes after them on the same connections is answered for itself.
async fn a_writer_that_is_given_up_leaves_all_of_its_rows_or_none(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let mapping = mapped(&tenant, integration, "accounts", &NAMES).await;
    let run = tenant.start_mapping_run(&mapping, now()).await.unwrap();
    let batch = |batch: usize| {
        let mut rows = Rows::new(1);
        (0..MANY).for_each(|n| named(&mut rows, &format!("{batch:02}{n:05}"), Some(1), &"long ".repeat(50)));
        rows
    };
    let begun = Instant::now();
    written(&tenant, &run, &mapping, batch(98), checkpoint(1)).await.unwrap();
    let (whole, mut given_up) = (begun.elapsed(), 0);
    for part in 0..80 {
        let write = written(&tenant, &run, &mapping, batch(part), checkpoint(1));
        match tokio::time::timeout(whole * part as u32 / 80, write).await {
            Ok(done) => assert_eq!(done.unwrap().inserted, MANY as u64),
            Err(_) => given_up += 1,
        }
        is_answered(&tenant, &run).await;
    }
    assert!(given_up > 0);
    let done = written(&tenant, &run, &mapping, batch(99), checkpoint(1)).await.unwrap();
    assert_eq!(done.inserted, MANY as u64);
    let parts = "SELECT substr(id, 1, 2) FROM accounts GROUP BY substr(id, 1, 2) HAVING count(*) <> 3000";
    assert!(db.raw.texts(parts).await.is_empty());
}

async fn is_answered(tenant: &Tenant, run: &Run) {
    assert_eq!(tenant.run(run.id).await.unwrap().unwrap().id, run.id);
}

/// A process that is frozen while it sends is waited for as long as TCP likes: nobody else may wait with it.
#[tokio::test]
async fn rows_are_with_the_server_before_anything_is_locked() {
    let Some(db) = Db::postgres().await else { return };
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let mapping = mapped(&tenant, integration, "accounts", &NAMES).await;
    let run = tenant.start_mapping_run(&mapping, now()).await.unwrap();
    let mut rows = Rows::new(1);
    (0..MANY).for_each(|n| named(&mut rows, &format!("{n:05}"), Some(1), "x"));
    db.raw.run("BEGIN; SELECT id FROM businesses FOR UPDATE").await;
    let freed = async {
        let waits = "SELECT count(*)::text FROM pg_stat_activity AS a JOIN pg_locks AS l USING (pid)
            WHERE a.wait_event_type = 'Lock' AND a.query LIKE '%businesses%FOR SHARE%'
                AND l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND l.granted";
        // Only the temporary table is locked so: the transaction has made it before it waits.
        while db.raw.texts(waits).await == ["0"] {
            tokio::time::sleep(Duration::from_millis(20)).await;
            // Within a transaction all looks see what the first saw.
            db.raw.run("SELECT pg_stat_clear_snapshot()").await;
        }
        db.raw.run("ROLLBACK").await;
    };
    let write = written(&tenant, &run, &mapping, rows, checkpoint(1));
    let both = async { tokio::join!(write, freed) };
    let (done, ()) =
        tokio::time::timeout(Duration::from_secs(20), both).await.expect("it waits for a lock without its rows");
    assert_eq!(done.unwrap().inserted, MANY as u64);
}
