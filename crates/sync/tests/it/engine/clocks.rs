//! Whose clock counts, which stamp, and from when on: T6, T10, T11.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tieline_sync::engine::Asked;
use tieline_sync::mapping::{Definition, Method};

use super::world::{World, all_of};
use crate::database::Db;
use crate::world::start;

on_both!(
    t6_a_local_clock_that_is_wrong_and_jumps_between_runs_moves_nothing,
    t10_only_the_stamp_moved_and_the_modification_lies_in_the_past,
    t10_an_object_without_the_stamp_says_by_what_its_changes_are_found,
    t11_what_is_ten_years_old_arrives_by_pages_and_by_a_job,
    t11_a_start_date_is_remembered_with_the_mapping_and_counted_by,
);

const ALL: Asked = Asked { verify: true, compare: true, reload: false, allow_gone: false };

async fn t6_a_local_clock_that_is_wrong_and_jumps_between_runs_moves_nothing(db: Db) {
    let world = World::new(db, "Account").await;
    let ids = world.accounts((0..60).map(|n| format!("account {n}"))).await;
    world.sync().await.unwrap();
    let minutes = [10, -10, 0, -600, 600, 600, -1_000_000, 1_000_000, -10, 10];
    let mut verified = world.through().await.1;
    for (n, minutes) in minutes.into_iter().enumerate() {
        let now = 900 * (n as i64 + 1);
        world.at(now).await;
        world.clock.set_wall(start() + SignedDuration::from_secs(now) + SignedDuration::from_mins(minutes));
        world.accounts([format!("new {n}")]).await;
        world
            .write(json!([
                {"op": "update", "object": "Account", "id": ids[n], "fields": {"Name": "changed"}},
                {"op": "delete", "object": "Account", "id": ids[20 + n]},
            ]))
            .await;
        let report = world.sync().await.unwrap();
        assert_eq!((report.run.inserted, report.run.updated), (1, 2), "{minutes} minutes off");
        assert_eq!(report.run.drift_found, 0, "{minutes} minutes off");
        world.assert_in_step().await;
        let (through, proven) = world.through().await;
        let through = through.unwrap();
        assert!((now - 62..=now - 60).contains(&through), "{minutes} minutes off: {through} at {now}");
        assert!(proven >= verified && proven <= Some(now), "{minutes} minutes off: {proven:?} at {now}");
        verified = proven;
    }
    assert!(verified > Some(0), "whatever the clock shows, a proof is made");
}

async fn t10_only_the_stamp_moved_and_the_modification_lies_in_the_past(db: Db) {
    let world = World::new(db, "Account").await;
    let ids = world.accounts((0..60).map(|n| format!("account {n}"))).await;
    world.sync().await.unwrap();
    world.at(2_000).await;
    world.sync().await.unwrap();
    world.at(4_000).await;
    // A roll-up moves the stamp alone; who imports may say when something was modified, and does so for the past.
    let touch = async |id: &String, more: Value| {
        let mut touch = json!({"object": "Account", "ids": [id], "fields": {"NumberOfEmployees": 7}});
        touch.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        world.post("records/touch", touch).await;
    };
    touch(&ids[0], json!({})).await;
    touch(&ids[1], json!({"last_modified_date": "2015-05-05T05:05:05Z"})).await;
    let report = world.sync().await.unwrap();
    assert_eq!((report.run.updated, report.run.drift_found), (2, 0));
    assert_eq!(world.row(&ids[1]).await["number_of_employees"].as_f64(), Some(7.0));
    world.assert_in_step().await;
    assert_eq!(world.mapping().await.standing.progress.cursor.as_deref(), Some("SystemModstamp"));
}

async fn t10_an_object_without_the_stamp_says_by_what_its_changes_are_found(db: Db) {
    let mut world = World::bare(db).await;
    let ids = world.accounts((0..60).map(|n| format!("account {n}"))).await;
    let mut describe = serde_json::to_value(&*world.connection().describe("Account").await.unwrap()).unwrap();
    // The local org has no such object: it is told to describe one so.
    for (field, cursor) in [("SystemModstamp", "LastModifiedDate"), ("LastModifiedDate", "CreatedDate")] {
        let fields = describe["fields"].as_array_mut().unwrap();
        fields.iter_mut().find(|f| f["name"] == field).unwrap()["filterable"] = json!(false);
        world.control(reqwest::Method::DELETE, "faults", json!({})).await;
        let path = "/services/data/v67.0/sobjects/Account/describe";
        world.fault(json!({"path": path, "times": 0, "status": 200, "body": describe})).await;
        world.connection().describe_now("Account").await.unwrap();
        let name = cursor.to_ascii_lowercase();
        let definition = Definition { name: name.clone(), table: Some(name), ..all_of("Account") };
        world.mapping = world.map(&definition).await.id;
        world.sync().await.unwrap();
        assert_eq!(world.mapping().await.standing.progress.cursor.as_deref(), Some(cursor));
        world.assert_in_step().await;
    }
    // By what it was created nobody sees a change; a comparison does not, either. A reload does.
    world.at(900).await;
    world.sync().await.unwrap();
    world.at(2_000).await;
    world
        .write(json!([
            {"op": "update", "object": "Account", "id": ids[0], "fields": {"Name": "changed"}},
            {"op": "insert", "object": "Account", "fields": {"Name": "new"}},
        ]))
        .await;
    let report = world.ask(Asked { verify: false, ..ALL }).await.unwrap();
    assert_eq!((report.run.inserted, report.run.updated), (1, 0));
    world.ask(Asked { reload: true, ..Asked::default() }).await.unwrap();
    assert_eq!(world.row(&ids[0]).await["name"], "changed");
}

/// Accounts, half of which were last touched ten years ago.
async fn old_and_new(world: &World) -> (Vec<String>, Vec<String>) {
    let ids = world.accounts((0..60).map(|n| format!("account {n}"))).await;
    let (old, new) = ids.split_at(30);
    let at = "2016-05-01T00:00:00Z";
    let touch = json!({"object": "Account", "ids": old, "system_modstamp": at, "last_modified_date": at});
    world.post("records/touch", touch).await;
    (old.to_vec(), new.to_vec())
}

async fn t11_what_is_ten_years_old_arrives_by_pages_and_by_a_job(db: Db) {
    let mut world = World::bare(db).await;
    let (old, _) = old_and_new(&world).await;
    world.at(300).await;
    for (name, method) in [("pages", Method::Rest), ("job", Method::Bulk)] {
        let definition =
            Definition { name: name.to_owned(), table: Some(name.to_owned()), method, ..all_of("Account") };
        world.mapping = world.map(&definition).await.id;
        world.sync().await.unwrap();
        let rows = world.rows().await;
        assert!(rows.len() == 60 && old.iter().all(|id| rows.contains_key(id)), "{name}");
        world.assert_in_step().await;
    }
}

async fn t11_a_start_date_is_remembered_with_the_mapping_and_counted_by(db: Db) {
    let mut world = World::bare(db).await;
    world.engine.care.compare_every = Duration::from_secs(100_000_000);
    let (old, new) = old_and_new(&world).await;
    world.at(300).await;
    let since: Timestamp = "2020-01-01T00:00:00Z".parse().unwrap();
    for (name, method) in [("pages", Method::Rest), ("job", Method::Bulk)] {
        let table = Some(name.to_owned());
        let definition = Definition { name: name.to_owned(), table, method, since: Some(since), ..all_of("Account") };
        world.mapping = world.map(&definition).await.id;
        world.sync().await.unwrap();
        assert_eq!(world.rows().await.into_keys().collect::<Vec<_>>(), new, "{name}");
        world.ask(ALL).await.unwrap();
        let mapping = world.mapping().await;
        assert_eq!(mapping.standing.progress.rows, Some(30), "{name}: what is older is no part of it");
        assert_eq!(Definition::from_json(mapping.definition).unwrap().since, Some(since));
    }
    // What is touched again belongs to it from then on.
    world.at(2_000).await;
    world.write(json!([{"op": "update", "object": "Account", "id": old[3], "fields": {"Name": "again"}}])).await;
    let report = world.ask(ALL).await.unwrap();
    assert_eq!((report.run.inserted, report.run.drift_found), (1, 0));
    assert_eq!(world.row(&old[3]).await["name"], "again");
}
