//! Reading by the cursor: T1, T2, T4, T5 and what goes with them.

use serde_json::json;
use tieline_store::mappings::MappingState;

use super::world::World;
use crate::database::Db;

on_both!(
    everything_is_read_and_then_what_changed,
    t2_an_empty_run_does_not_pass_what_comes_late,
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
