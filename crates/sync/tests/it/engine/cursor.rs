//! Reading by the cursor: T1, T2, T4, T5 and what goes with them.

use std::time::Duration;

use serde_json::json;
use tieline_store::mappings::MappingState;
use tieline_sync::engine::{Asked, Progress};
use tieline_sync::mapping::Definition;

use super::world::World;
use crate::database::Db;

on_both!(
    everything_is_read_and_then_what_changed,
    t1_what_was_committed_after_a_later_record_arrives,
    t2_an_empty_run_does_not_pass_what_comes_late,
    t5_records_that_change_while_any_page_is_read_are_not_lost,
    a_step_has_fewer_rows_where_the_database_is_slow,
    t8_a_run_that_slept_while_another_came_writes_nothing,
    t4_ten_thousand_of_one_second_are_read_once_however_the_run_ends,
);

async fn everything_is_read_and_then_what_changed(db: Db) {
    let world = World::new(db, "Account").await;
    assert_eq!(world.state().await, MappingState::Initial);
    let ids = world.accounts((0..120).map(|n| format!("account {n}"))).await;
    let report = world.sync().await.unwrap();
    assert_eq!((report.run.rows_read, report.run.inserted), (120, 120));
    world.assert_in_step().await;
    assert_eq!(world.state().await, MappingState::Synced);
    // The org's clock, as an answer tells it, is up to a second behind.
    let (through, verified) = world.through().await;
    assert!((-62..=-60).contains(&through.unwrap()), "the checkpoint stays behind: {through:?}");
    assert_eq!(verified, Some(0), "what is proven is what the org says");

    world.at(900).await;
    world
        .write(json!([
            {"op": "update", "object": "Account", "id": ids[0], "fields": {"Name": "renamed", "AnnualRevenue": 12.5}},
            {"op": "delete", "object": "Account", "id": ids[1]},
            {"op": "insert", "object": "Account", "fields": {"Name": "new"}},
        ]))
        .await;
    let report = world.sync().await.unwrap();
    assert_eq!((report.run.inserted, report.run.updated, report.run.deleted), (1, 2, 1));
    world.assert_in_step().await;
    assert_eq!(world.rows().await[&ids[1]]["_deleted"], "deleted");

    world.at(1_800).await;
    let calls = world.connection().api_calls();
    let report = world.sync().await.unwrap();
    assert_eq!(
        (world.connection().api_calls() - calls, report.run.api_calls),
        (1, 1),
        "one call for what did not change"
    );
    assert!((1_738..=1_740).contains(&world.through().await.0.unwrap()));
    world.at(1_800 + 3_600).await;
    let report = world.sync().await.unwrap();
    assert!(report.run.api_calls <= 6, "{}", report.run.api_calls);
    assert_eq!(world.through().await.1, Some(5_400));
    assert_eq!(report.run.drift_found, 0);
}

async fn t1_what_was_committed_after_a_later_record_arrives(db: Db) {
    let world = World::new(db, "Account").await;
    world.sync().await.unwrap();
    // It takes as long as scans look back, and a second less.
    for (n, late) in [300, 600, 659].into_iter().enumerate() {
        let at = 2_000 * (n as i64 + 1);
        world.at(at).await;
        let open = json!({"writes": [{"op": "insert", "object": "Account", "fields": {"Name": "first"}}]});
        let open = world.post("transactions", open).await["id"].as_str().unwrap().to_owned();
        world.at(at + 100).await;
        world.accounts(["second".to_owned()]).await;
        world.at(at + late - 1).await;
        world.sync().await.unwrap();
        assert_eq!(world.rows().await.len(), 2 * n + 1, "only the second one is visible");
        world.post(&format!("transactions/{open}/commit"), json!({})).await;
        let report = world.sync().await.unwrap();
        assert_eq!((report.run.inserted, report.run.drift_found), (1, 0), "{late} seconds late");
        world.assert_in_step().await;
    }
}

async fn t5_records_that_change_while_any_page_is_read_are_not_lost(db: Db) {
    let mut world = World::bare(db).await;
    let ids = world.accounts((0..500).map(|n| format!("account {n}"))).await;
    world.limits(json!({"query_page_rows": 100})).await;
    world.engine.care.step_rows = 1;
    let mut now = 300;
    for page in 1..=4 {
        let name = format!("during{page}");
        let definition = tieline_sync::mapping::Definition::all_of(&name, "Account");
        world.mapping = world.map(&definition).await.id;
        world.at(now).await;
        world.fault(json!({"path": "/services/data/v67.0/query/", "nth": page, "times": 1, "delay_ms": 1_500})).await;
        // One of each page, read already or not, goes to the end of the order; one is deleted.
        let change = async {
            while world.rows().await.len() < 100 * page {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            let update = |n: usize| json!({"op": "update", "object": "Account", "id": ids[n], "fields": {"Name": format!("moved {page}")}});
            let mut writes: Vec<_> = (0..5).map(|n| update(100 * n + 10 * page)).collect();
            writes.push(json!({"op": "delete", "object": "Account", "id": ids[499 - page]}));
            world.write(serde_json::Value::Array(writes)).await;
        };
        let (report, ()) = tokio::join!(world.sync(), change);
        report.unwrap();
        now += 700;
        world.at(now).await;
        world.sync().await.unwrap();
        world.assert_in_step().await;
    }
}

async fn t8_a_run_that_slept_while_another_came_writes_nothing(db: Db) {
    let world = World::new(db, "Account").await;
    let ids = world.accounts((0..300).map(|n| format!("account {n}"))).await;
    world.limits(json!({"query_page_rows": 100})).await;
    world.at(300).await;
    world.fault(json!({"path": "/services/data/v67.0/query/", "nth": 2, "delay_ms": 2_000})).await;
    let other = async {
        while world.rows().await.len() < 200 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        world.sync().await.unwrap();
        world.write(json!([{"op": "update", "object": "Account", "id": ids[299], "fields": {"Name": "newer"}}])).await;
        world.sync().await.unwrap();
        world.mapping().await.standing
    };
    let (outcome, standing) = tokio::join!(world.sync(), other);
    let error = outcome.unwrap_err();
    assert!(matches!(error, tieline_sync::SyncError::Store(tieline_store::StoreError::Fenced { .. })), "{error}");
    assert_eq!(world.mapping().await.standing, standing);
    assert_eq!(world.row(&ids[299]).await["name"], "newer");
    world.assert_in_step().await;
}

async fn t2_an_empty_run_does_not_pass_what_comes_late(db: Db) {
    let world = World::new(db, "Account").await;
    world.sync().await.unwrap();
    world.at(250).await;
    let open = json!({"writes": [{"op": "insert", "object": "Account", "fields": {"Name": "late"}}]});
    let open = world.control(reqwest::Method::POST, "transactions", open).await;
    world.at(300).await;
    world.sync().await.unwrap();
    world
        .control(reqwest::Method::POST, &format!("transactions/{}/commit", open["id"].as_str().unwrap()), json!({}))
        .await;
    world.sync().await.unwrap();
    world.assert_in_step().await;
    assert_eq!(world.rows().await.len(), 1);
}

async fn t4_ten_thousand_of_one_second_are_read_once_however_the_run_ends(db: Db) {
    let world = World::new(db, "Account").await;
    world.accounts((0..10_001).map(|n| format!("account {n}"))).await;
    world.at(120).await;
    let mut failures = 0;
    // Every run ends with its fourth query, and the next one begins where it stood.
    while world.through().await.0.is_none() {
        let refusal = json!([{"message": "no", "errorCode": "UNKNOWN_EXCEPTION"}]);
        let fault = json!({"path": "/services/data/v67.0/query", "nth": 4, "times": 0, "status": 400, "body": refusal});
        world.fault(fault).await;
        world.sync().await.unwrap_err();
        world.control(reqwest::Method::DELETE, "faults", json!({})).await;
        failures += 1;
        assert!(failures < 20, "it does not come forward");
    }
    world.sync().await.unwrap();
    assert!(failures > 2, "{failures}");
    world.assert_in_step().await;
    assert_eq!(world.rows().await.len(), 10_001);
}

async fn a_step_has_fewer_rows_where_the_database_is_slow(db: Db) {
    let mut world = World::bare(db).await;
    world.accounts((0..12_000).map(|n| format!("account {n}"))).await;
    world.at(1_000).await;
    world.engine.care.step_rows = 4_000;
    let mut steps = Vec::new();
    // No database is too slow for an hour, and each is for nothing at all.
    for (name, step_time) in [("quick", Duration::from_secs(3_600)), ("slow", Duration::ZERO)] {
        world.engine.care.step_time = step_time;
        let definition = json!({"name": name, "object": "Account", "columns": ["Name"]});
        world.mapping = world.map(&Definition::from_json(definition).unwrap()).await.id;
        let (mut read, mut count) = (0, 0);
        // A step that has been written is told, though nothing more was read.
        let mut told = |progress: Progress| {
            count += usize::from(progress.read == read && read > 0);
            read = progress.read;
        };
        let report = world.engine.run(world.mapping, Asked::default(), &mut told).await.unwrap();
        assert_eq!(report.run.inserted, 12_000);
        steps.push(count);
    }
    // Three of 4,000; or six of a page, for what was noted before the first of them was too slow already.
    assert_eq!(steps[1], steps[0] + 3, "{steps:?}");
}
