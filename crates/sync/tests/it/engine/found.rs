//! Faults that the simulation found, each by itself.

use std::time::Duration;

use serde_json::{Value, json};
use tieline_sync::engine::{Asked, change_mapping};
use tieline_sync::mapping::Definition;

use super::world::World;
use crate::database::Db;

on_both!(
    a_scan_of_slow_queries_ends_though_too_much_has_come_since,
    a_load_of_two_runs_reads_the_formulas_of_its_first_part_again,
    nothing_is_proven_of_deletes_by_a_window_too_short_to_ask_for,
    a_second_look_whose_pages_are_no_whole_is_taken_again,
    a_page_that_is_lost_before_the_process_dies_is_read_by_the_next_one,
    a_page_of_new_columns_that_is_lost_before_the_process_dies_is_filled,
);

const VERIFY: Asked = Asked { verify: true, compare: false, reload: false, allow_gone: false };

async fn a_scan_of_slow_queries_ends_though_too_much_has_come_since(db: Db) {
    let world = World::new(db, "Account").await;
    world.accounts((0..100).map(|n| format!("account {n}"))).await;
    world.at(1_000).await;
    world.accounts((0..200).map(|n| format!("just now {n}"))).await;
    world.limits(json!({"query_timeout_rows": 60})).await;
    // What lies behind the scan's end takes the org too long, and it is not asked for it.
    tokio::time::timeout(Duration::from_secs(60), world.sync()).await.expect("it ends").unwrap();
    assert!(world.rows().await.len() >= 100);
    world.at(1_200).await;
    tokio::time::timeout(Duration::from_secs(60), world.sync()).await.expect("it ends").unwrap();
    world.assert_in_step().await;
}

async fn a_load_of_two_runs_reads_the_formulas_of_its_first_part_again(db: Db) {
    let mut world = World::bare(db).await;
    let day = json!({"object": "Account", "name": "Day__c", "type": "string 40", "formula": "TEXT(TODAY())"});
    world.post("fields", day).await;
    world.mapping = world.map(&super::world::all_of("Account")).await.id;
    world.accounts((0..300).map(|n| format!("account {n}"))).await;
    world.limits(json!({"query_page_rows": 100})).await;
    world.at(2_000).await;
    let refusal = json!([{"message": "no", "errorCode": "UNKNOWN_EXCEPTION"}]);
    world.fault(json!({"path": "/services/data/v67.0/query/", "nth": 2, "status": 400, "body": refusal})).await;
    world.sync().await.unwrap_err();
    assert_eq!(world.rows().await.len(), 200);
    world.at(86_400 + 300).await;
    world.sync().await.unwrap();
    world.assert_in_step().await;
}

async fn nothing_is_proven_of_deletes_by_a_window_too_short_to_ask_for(db: Db) {
    let mut world = World::new(db, "Account").await;
    world.engine.care.compare_every = Duration::from_secs(100_000_000);
    let ids = world.accounts((0..60).map(|n| format!("account {n}"))).await;
    world.sync().await.unwrap();
    assert_eq!(world.through().await.1, Some(0));
    world.at(30).await;
    world.write(json!([{"op": "hard_delete", "object": "Account", "id": ids[0]}])).await;
    // A minute of the log: the org takes no such window.
    world.at(100).await;
    // What its clock shows is known before it is asked for a proof.
    world.connection().limits().await.unwrap();
    world.ask(VERIFY).await.unwrap();
    assert_eq!((world.went(&ids[..1]).await, world.through().await.1), (vec![String::new()], Some(0)));
    world.at(4_000).await;
    world.sync().await.unwrap();
    assert_eq!(world.went(&ids[..2]).await, ["erased", ""]);
    assert!(world.through().await.1 > Some(3_900));
}

async fn a_second_look_whose_pages_are_no_whole_is_taken_again(db: Db) {
    let world = World::new(db, "Account").await;
    let ids = world.accounts((0..300).map(|n| format!("account {n}"))).await;
    world.limits(json!({"query_page_rows": 100})).await;
    world.sync().await.unwrap();
    let mut now = 0;
    for trick in ["empty", "end", "repeat", "skip"] {
        now += 3_000;
        world.at(now).await;
        let change = |id: &String| json!({"op": "update", "object": "Account", "id": id, "fields": {"Phone": trick}});
        world.write(Value::Array(ids.iter().map(change).collect())).await;
        // A record that no scan sees: it becomes visible when they look back no longer.
        let writes = json!({"writes": [{"op": "insert", "object": "Account", "fields": {"Name": trick}}]});
        let open = world.post("transactions", writes).await["id"].as_str().unwrap().to_owned();
        now += 900;
        world.at(now).await;
        world.sync().await.unwrap();
        world.post(&format!("transactions/{open}/commit"), json!({})).await;
        now += 3_600;
        world.at(now).await;
        world.post("pages", json!({"of": "query", "trick": trick, "nth": 2})).await;
        let report = world.ask(VERIFY).await.unwrap();
        assert_eq!((report.run.inserted, report.run.drift_found), (1, 1), "{trick}");
        world.assert_in_step().await;
    }
}

async fn a_page_that_is_lost_before_the_process_dies_is_read_by_the_next_one(db: Db) {
    let mut world = World::bare(db).await;
    world.accounts((0..1_000).map(|n| format!("account {n}"))).await;
    world.limits(json!({"query_page_rows": 100})).await;
    world.at(300).await;
    for rows in [1, 150, 1_000] {
        // Steps of less than a page, of some, and none before the end.
        world.engine.care.step_rows = rows;
        let name = format!("of{rows}");
        let definition = Definition::all_of(&name, "Account");
        world.mapping = world.map(&definition).await.id;
        world.post("pages", json!({"of": "query", "trick": "skip", "nth": 3})).await;
        world.fault(json!({"path": "/services/data/v67.0/query/", "nth": 6, "times": 0, "delay_ms": 60_000})).await;
        // It dies before the end, at which it would see that a page was lost.
        let killed = tokio::time::timeout(Duration::from_secs(2), world.sync()).await;
        assert!(killed.is_err(), "{rows}");
        world.control(reqwest::Method::DELETE, "faults", json!({})).await;
        world.restart();
        world.sync().await.unwrap();
        world.assert_in_step().await;
    }
    // The same with a scan of what has changed, within the hour of a proof.
    let ids: Vec<String> = world.rows().await.into_keys().collect();
    for (n, rows) in [1, 150].into_iter().enumerate() {
        world.engine.care.step_rows = rows;
        let now = 600 + 1_200 * n as i64;
        world.at(now).await;
        let change =
            |id: &String| json!({"op": "update", "object": "Account", "id": id, "fields": {"Phone": rows.to_string()}});
        world.write(Value::Array(ids.iter().map(change).collect())).await;
        world.at(now + 1_000).await;
        world.post("pages", json!({"of": "query", "trick": "skip", "nth": 3})).await;
        world.fault(json!({"path": "/services/data/v67.0/query/", "nth": 6, "times": 0, "delay_ms": 60_000})).await;
        let killed = tokio::time::timeout(Duration::from_secs(2), world.sync()).await;
        assert!(killed.is_err(), "{rows}");
        world.control(reqwest::Method::DELETE, "faults", json!({})).await;
        world.restart();
        world.sync().await.unwrap();
        world.assert_in_step().await;
    }
}

async fn a_page_of_new_columns_that_is_lost_before_the_process_dies_is_filled(db: Db) {
    let defined = |columns: &[&str]| {
        let json = json!({"name": "accounts", "object": "Account", "columns": columns});
        Definition::from_json(json).unwrap()
    };
    let mut world = World::with(db, &defined(&["Name"])).await;
    let insert =
        |n| json!({"op": "insert", "object": "Account", "fields": {"Name": format!("firm {n}"), "Phone": "030"}});
    world.write((0..1_000).map(insert).collect()).await;
    world.limits(json!({"query_page_rows": 100})).await;
    // Long before anything that a scan would read again.
    world.at(90_000).await;
    world.sync().await.unwrap();
    let (mapping, now) = (world.mapping().await, world.engine.clock.now());
    let wider = defined(&["Name", "Phone"]);
    change_mapping(world.connection(), world.tenant(), &mapping, &wider, now).await.unwrap();
    // The scan of what is new has one page; the walk through all has the third.
    world.post("pages", json!({"of": "query", "trick": "skip", "nth": 3})).await;
    world.fault(json!({"path": "/services/data/v67.0/query/", "nth": 6, "times": 0, "delay_ms": 60_000})).await;
    let killed = tokio::time::timeout(Duration::from_secs(15), world.sync()).await;
    assert!(killed.is_err());
    let under_way = world.mapping().await.standing.progress.walk.expect("it died within the walk");
    assert!(under_way.seen >= 300, "{under_way:?}");
    world.control(reqwest::Method::DELETE, "faults", json!({})).await;
    world.restart();
    world.sync().await.unwrap();
    let empty = world.db.raw.texts("SELECT name FROM accounts WHERE phone IS NULL").await;
    assert_eq!(empty, Vec::<String>::new());
    world.assert_in_step().await;
}
