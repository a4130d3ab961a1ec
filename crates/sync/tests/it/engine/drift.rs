//! What no cursor sees in time, and up to when that is ruled out: T3.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tieline_sync::engine::Asked;

use super::world::World;
use crate::database::Db;

on_both!(
    t3_a_commit_that_is_hours_late_is_found_and_nothing_is_proven_beyond_it,
    t3_without_the_orgs_word_nothing_is_proven,
    t3_a_first_proof_that_was_not_to_be_had_is_made_up_for_by_comparing,
    t3_nothing_is_proven_before_deletes_are_known,
    t13_an_org_that_refuses_to_tell_of_deletes_is_compared_once_a_day,
);

async fn begin(world: &World, name: &str) -> String {
    let writes = json!({"writes": [{"op": "insert", "object": "Account", "fields": {"Name": name}}]});
    world.post("transactions", writes).await["id"].as_str().unwrap().to_owned()
}

async fn commit(world: &World, transaction: &str) {
    world.post(&format!("transactions/{transaction}/commit"), json!({})).await;
}

fn refusal(code: &str) -> Value {
    json!([{"message": "no", "errorCode": code}])
}

async fn t3_a_commit_that_is_hours_late_is_found_and_nothing_is_proven_beyond_it(db: Db) {
    let world = World::new(db, "Account").await;
    let day = json!({"object": "Account", "name": "Day__c", "type": "string 40", "formula": "TEXT(TODAY())"});
    world.post("fields", day).await;
    world.sync().await.unwrap();
    world.at(100).await;
    let open = begin(&world, "late").await;
    world.at(200).await;
    let ids = world.accounts(["in time".to_owned()]).await;
    // Twelve hours, so that the formula of what is read again has changed: which is no drift.
    for hour in 1..=13 {
        world.at(hour * 3_600 + 10).await;
        let change =
            json!([{"op": "update", "object": "Account", "id": ids[0], "fields": {"Phone": hour.to_string()}}]);
        world.write(change).await;
        world.accounts([format!("of hour {hour}")]).await;
        let report = world.sync().await.unwrap();
        assert_eq!(report.run.drift_found, 0, "in hour {hour}");
        let (through, verified) = world.through().await;
        assert!(through > Some(hour * 3_600 - 60), "reading goes on");
        assert_eq!(verified, Some(60), "what the open transaction has stamped may come yet");
    }
    assert_eq!(world.rows().await.len(), 14);
    commit(&world, &open).await;
    world.sync().await.unwrap();
    assert_eq!(world.rows().await.len(), 14, "it is far behind the lookback");
    world.at(14 * 3_600 + 60).await;
    let report = world.sync().await.unwrap();
    assert_eq!((report.run.inserted, report.run.drift_found), (1, 1));
    assert!(world.through().await.1 >= Some(14 * 3_600), "{:?}", world.through().await);
    world.ask(Asked { verify: true, ..Asked::default() }).await.unwrap();
    let found = world.differences().await;
    assert!(found.iter().all(|line| line.contains("Day__c")), "{found:?}");
}

async fn t3_without_the_orgs_word_nothing_is_proven(db: Db) {
    let mut world = World::new(db, "Account").await;
    world.engine.care.verify_every = Duration::from_secs(600);
    world.accounts(["a".to_owned()]).await;
    world.sync().await.unwrap();
    assert_eq!(world.through().await.1, Some(0));
    for (n, code) in ["INVALID_REPLICATION_DATE", "EXCEEDED_ID_LIMIT"].into_iter().enumerate() {
        world.at(900 * (n as i64 + 1)).await;
        let path = "/services/data/v67.0/sobjects/Account/updated";
        world.fault(json!({"path": path, "status": 400, "times": 0, "body": refusal(code)})).await;
        world.sync().await.unwrap();
        world.control(Method::DELETE, "faults", json!({})).await;
        assert_eq!(world.through().await.1, Some(0), "{code}");
        assert_eq!(world.sync().await.unwrap().run.api_calls, 1, "it is not tried with each run");
    }
    // The org's own limit: three records of the last minutes are one too many.
    world.at(3_600).await;
    world.accounts(["a".to_owned(), "b".to_owned(), "c".to_owned()]).await;
    world.at(3_660).await;
    world.limits(json!({"replication_ids": 2})).await;
    world.sync().await.unwrap();
    assert_eq!(world.through().await.1, Some(0));
    world.at(7_320).await;
    world.sync().await.unwrap();
    assert_eq!(world.through().await.1, Some(7_320));
    world.assert_in_step().await;
}

async fn t3_a_first_proof_that_was_not_to_be_had_is_made_up_for_by_comparing(db: Db) {
    let mut world = World::new(db, "Account").await;
    world.engine.care.compare_every = Duration::from_secs(100_000_000);
    let open = begin(&world, "late").await;
    world.accounts((0..60).map(|n| format!("account {n}"))).await;
    world.at(3_600).await;
    let path = "/services/data/v67.0/sobjects/Account/updated";
    world.fault(json!({"path": path, "status": 400, "times": 0, "body": refusal("INVALID_REPLICATION_DATE")})).await;
    world.sync().await.unwrap();
    assert_eq!(world.through().await.1, None);
    world.at(7_200).await;
    commit(&world, &open).await;
    world.sync().await.unwrap();
    assert_eq!(world.through().await.1, None);
    world.control(Method::DELETE, "faults", json!({})).await;
    world.at(10_800).await;
    let report = world.sync().await.unwrap();
    assert_eq!((report.run.inserted, report.run.drift_found), (1, 1), "what the load had missed");
    assert_eq!(world.through().await.1, Some(10_800));
    world.assert_in_step().await;
    world.at(14_400).await;
    assert!(world.sync().await.unwrap().run.api_calls < 8, "once is enough");
    assert_eq!(world.through().await.1, Some(14_400));
}

async fn t3_nothing_is_proven_before_deletes_are_known(db: Db) {
    let world = World::new(db, "Account").await;
    let ids = world.accounts((0..30).map(|n| format!("account {n}"))).await;
    world.sync().await.unwrap();
    world.at(3_600).await;
    // Its deletes become visible with it.
    let writes = json!({"writes": [{"op": "hard_delete", "object": "Account", "id": ids[0]}]});
    let open = world.post("transactions", writes).await["id"].as_str().unwrap().to_owned();
    let path = "/services/data/v67.0/sobjects/Account/deleted";
    world.fault(json!({"path": path, "status": 400, "times": 0, "body": refusal("UNKNOWN_EXCEPTION")})).await;
    world.at(7_200).await;
    world.sync().await.unwrap_err();
    assert_eq!(world.through().await.1, Some(0));
    world.control(Method::DELETE, "faults", json!({})).await;
    world.sync().await.unwrap();
    assert_eq!(world.through().await.1, Some(3_600));
    world.at(7_300).await;
    commit(&world, &open).await;
    world.at(10_900).await;
    world.sync().await.unwrap();
    assert_eq!(world.row(&ids[0]).await["_deleted"], "erased");
    assert!(world.through().await.1 > Some(10_800));
    world.assert_in_step().await;
}

async fn t13_an_org_that_refuses_to_tell_of_deletes_is_compared_once_a_day(db: Db) {
    let mut world = World::new(db, "Account").await;
    world.engine.care.compare_every = Duration::from_secs(100_000_000);
    let ids = world.accounts((0..60).map(|n| format!("account {n}"))).await;
    world.sync().await.unwrap();
    let path = "/services/data/v67.0/sobjects/Account/deleted";
    world.fault(json!({"path": path, "status": 400, "times": 0, "body": refusal("INVALID_REPLICATION_DATE")})).await;
    let erase = async |id: &String| {
        world.write(json!([{"op": "hard_delete", "object": "Account", "id": id}])).await;
    };
    // Hour by hour: what is erased, what is known of it, what is proven.
    for (hour, known, proven) in [(2, 1, 2), (4, 1, 2), (6, 1, 2), (27, 4, 27)] {
        world.at(hour * 3_600 - 600).await;
        erase(&ids[usize::try_from(hour).unwrap()]).await;
        world.at(hour * 3_600).await;
        world.sync().await.unwrap();
        let gone = world.rows().await.values().filter(|row| row["_deleted"] == "hidden").count();
        assert_eq!((gone, world.through().await.1), (known, Some(proven * 3_600)), "in hour {hour}");
    }
    // It tells again.
    world.control(Method::DELETE, "faults", json!({})).await;
    world.at(29 * 3_600).await;
    world.sync().await.unwrap();
    assert_eq!(world.through().await.1, Some(29 * 3_600));
    world.assert_in_step().await;
}
