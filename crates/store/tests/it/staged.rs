//! Rows that are with the server before it is their turn.

use tieline_store::mappings::Mapping;
use tieline_store::object_tables::{Change, Rows, StagedRows};
use tieline_store::personal_data::Person;
use tieline_store::{Run, StepOutcome, Store, Tenant};

use crate::database::{Db, KEY, Place, now, ring};
use crate::object_tables::{NAMES, checkpoint, mapped, named, staged};

on_both!(who_is_erased_while_rows_wait_stays_away, steps_that_come_in_one_anothers_way_lose_nothing);

const MANY: usize = 2_000;

fn rows(base: usize, name: &str) -> Rows {
    let mut rows = Rows::new(1);
    (base..base + MANY).for_each(|n| named(&mut rows, &format!("{n:05}"), Some(1), name));
    rows
}

async fn begun(db: &Db) -> (Tenant, Mapping, Run) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let mapping = mapped(&tenant, integration, "accounts", &NAMES).await;
    let run = tenant.start_mapping_run(&mapping, now()).await.unwrap();
    (tenant, mapping, run)
}

async fn stage(tenant: &Tenant, mapping: &Mapping, rows: Rows) -> StagedRows {
    tenant.stage_rows(mapping, Change::Rows, rows).await.unwrap()
}

async fn write(tenant: &Tenant, mapping: &Mapping, run: &Run, rows: StagedRows) -> StepOutcome {
    staged(tenant, run, mapping, (Change::Rows, rows), checkpoint(1)).await.unwrap()
}

async fn there(db: &Db) -> String {
    db.raw.texts("SELECT cast(count(*) AS text) FROM accounts").await.remove(0)
}

/// Transactions that have rows and wait for their turn. Only the temporary table is locked so.
const WAITING: &str = "FROM pg_stat_activity AS a JOIN pg_locks AS l USING (pid) WHERE a.state = 'idle in transaction'
    AND a.datname = current_database() AND l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND l.granted";

async fn waiting(db: &Db) -> String {
    db.raw.texts(&format!("SELECT count(DISTINCT a.pid)::text {WAITING}")).await.remove(0)
}

async fn who_is_erased_while_rows_wait_stays_away(db: Db) {
    let (tenant, mapping, run) = begun(&db).await;
    let waiting = stage(&tenant, &mapping, rows(0, "x")).await;
    let (id, kind) = ("01234", tieline_store::SourceType::Salesforce);
    tenant.erase_person(&Person::Source { kind, id }, now()).await.unwrap();
    assert_eq!(write(&tenant, &mapping, &run, waiting).await.inserted, MANY as u64 - 1);
    assert!(db.raw.texts("SELECT id FROM accounts WHERE id = '01234'").await.is_empty());
}

/// The second is there before the first is written, and has newer versions of its rows.
async fn steps_that_come_in_one_anothers_way_lose_nothing(db: Db) {
    let (tenant, mapping, run) = begun(&db).await;
    let first = stage(&tenant, &mapping, rows(0, "first")).await;
    let second = stage(&tenant, &mapping, rows(MANY / 2, "second")).await;
    assert_eq!(write(&tenant, &mapping, &run, first).await.inserted, MANY as u64);
    let outcome = write(&tenant, &mapping, &run, second).await;
    assert_eq!((outcome.inserted, outcome.updated), (MANY as u64 / 2, MANY as u64 / 2));
    let names = "SELECT cast(count(*) AS text) || name FROM accounts GROUP BY name ORDER BY name";
    assert_eq!(db.raw.texts(names).await, ["1000first", "2000second"]);
    let changes = "SELECT cast(count(*) AS text) FROM accounts GROUP BY _change ORDER BY _change";
    assert_eq!(db.raw.texts(changes).await, ["1000", "2000"]);
}

#[tokio::test]
async fn steps_lose_nothing_whatever_the_servers_isolation_is() {
    let Some(mut db) = Db::postgres().await else { return };
    let isolation = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = %L',
        current_database(), 'repeatable read'); END $$";
    db.raw.run(isolation).await;
    db.store.close().await;
    db.store = db.place.open().await;
    steps_that_come_in_one_anothers_way_lose_nothing(db).await;
}

#[tokio::test]
async fn rows_wait_with_the_server_and_hold_nobody_up() {
    let Some(db) = Db::postgres().await else { return };
    let (tenant, mapping, run) = begun(&db).await;
    let first = stage(&tenant, &mapping, rows(0, "x")).await;
    assert_eq!(waiting(&db).await, "1");
    // Whoever changes the table or the business waits for no row whose turn has not come.
    db.raw
        .run("SET lock_timeout = '2s'; ALTER TABLE accounts ADD COLUMN a text; ALTER TABLE accounts DROP COLUMN a")
        .await;
    db.raw.run("BEGIN; SELECT id FROM businesses FOR UPDATE; ROLLBACK").await;
    assert_eq!(there(&db).await, "0");
    // Dropped, they leave nothing.
    let dropped = stage(&tenant, &mapping, rows(MANY, "x")).await;
    assert_eq!(waiting(&db).await, "2");
    drop(dropped);
    assert_eq!(write(&tenant, &mapping, &run, first).await.inserted, MANY as u64);
    for _ in 0..20 {
        assert_eq!(tenant.run(run.id).await.unwrap().unwrap().id, run.id);
    }
    assert_eq!((there(&db).await.as_str(), waiting(&db).await.as_str()), ("2000", "0"));
}

/// PostgreSQL ends a transaction that lies still for 90 seconds.
#[tokio::test]
async fn rows_whose_transaction_is_gone_are_brought_anew() {
    let Some(db) = Db::postgres().await else { return };
    let (tenant, mapping, run) = begun(&db).await;
    let first = stage(&tenant, &mapping, rows(0, "x")).await;
    db.raw.run(&format!("SELECT pg_terminate_backend(a.pid) {WAITING}")).await;
    assert_eq!(write(&tenant, &mapping, &run, first).await.inserted, MANY as u64);
    assert_eq!(there(&db).await, "2000");
}

#[tokio::test]
async fn most_connections_are_left_to_others() {
    let Some(db) = Db::postgres().await else { return };
    let (_, mapping, run) = begun(&db).await;
    let Place::Server(url, _) = &db.place else { unreachable!() };
    for (connections, ahead) in [(3, "0"), (4, "1"), (7, "3")] {
        let store = Store::connect_with(url, ring(KEY), connections).await.unwrap();
        let tenant = store.own();
        let mut steps = Vec::new();
        for n in 0..4 {
            steps.push(stage(&tenant, &mapping, rows(n * MANY, "x")).await);
        }
        assert_eq!(waiting(&db).await, ahead, "of {connections}");
        for step in steps {
            write(&tenant, &mapping, &run, step).await;
        }
        assert_eq!((there(&db).await.as_str(), waiting(&db).await.as_str()), ("8000", "0"));
        store.close().await;
    }
}
