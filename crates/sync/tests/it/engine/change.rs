//! Another definition for a mapping, and what somebody asks of its next run.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tieline_store::mappings::{Mapping, MappingState};
use tieline_sync::SyncError;
use tieline_sync::engine::{Asked, change_mapping};
use tieline_sync::mapping::{Definition, Method};

use super::world::{World, all_of};
use crate::database::Db;

on_both!(
    columns_come_go_and_are_made_otherwise,
    what_was_not_read_before_is_read_anew,
    another_object_or_table_is_another_mapping,
    what_was_asked_survives_a_run_that_dies_and_is_done_once,
    whoever_waits_for_a_job_tells_so_at_each_look,
);

fn defined(columns: serde_json::Value) -> Definition {
    Definition::from_json(json!({"name": "accounts", "object": "Account", "columns": columns})).unwrap()
}

impl World {
    async fn change(&self, definition: &Definition) -> Result<Mapping, SyncError> {
        let mapping = self.mapping().await;
        change_mapping(self.connection(), self.tenant(), &mapping, definition, self.engine.clock.now()).await
    }
}

async fn columns_come_go_and_are_made_otherwise(db: Db) {
    let world = World::with(db, &defined(json!(["Name", "Phone"]))).await;
    let insert = |n: u32| {
        let fields = json!({"Name": format!("firm {n}"), "Phone": "030", "Website": "w", "NumberOfEmployees": n});
        json!({"op": "insert", "object": "Account", "fields": fields})
    };
    let ids = world.write((0..120).map(insert).collect()).await;
    // Long before anything that a scan would read again.
    world.at(90_000).await;
    world.sync().await.unwrap();
    let upper = json!([
        {"field": "Name", "transforms": ["upper"]}, "Website", {"field": "NumberOfEmployees", "column": "size"},
    ]);
    world.change(&defined(upper)).await.unwrap();
    world.sync().await.unwrap();
    let row = world.row(&ids[7]).await;
    assert_eq!((&row["name"], &row["website"]), (&json!("FIRM 7"), &json!("w")));
    let mapping = world.mapping().await;
    let names: Vec<&str> = mapping.table.columns().iter().map(|column| column.name.as_str()).collect();
    assert_eq!((names, mapping.state), (vec!["name", "website", "size"], MappingState::Synced));
    assert!(mapping.standing.progress.unfilled.is_empty() && mapping.standing.progress.lost.is_empty());
    let kept =
        async |column: &str| world.db.raw.texts(&format!("SELECT CAST(\"{column}\" AS text) FROM accounts")).await;
    assert!(kept("phone").await.iter().all(|phone| phone == "030"), "what is left out keeps its values");
    // One that was left out comes back; and one of its name, of another kind, makes room.
    let back = json!([{"field": "NumberOfEmployees", "column": "phone"}, {"field": "Name", "column": "size"}]);
    world.change(&defined(back)).await.unwrap();
    world.sync().await.unwrap();
    let row = world.row(&ids[7]).await;
    assert_eq!((&row["phone"], &row["size"]), (&json!(7), &json!("firm 7")));
    assert!(kept("phone_was_text").await.iter().all(|phone| phone == "030"));
    assert_eq!(kept("size_was_integer").await.len(), 120);
    assert_eq!(kept("website").await[0], "w");
    assert_eq!(world.rows().await.len(), 120);
}

async fn what_was_not_read_before_is_read_anew(db: Db) {
    let mut first = defined(json!(["Name"]));
    first.since = Some("2026-01-01T00:00:00Z".parse().unwrap());
    let world = World::with(db, &first).await;
    let ids = world.accounts((0..60).map(|n| format!("firm {n}"))).await;
    let touch = json!({"object": "Account", "ids": ids[..30], "system_modstamp": "2024-05-01T00:00:00Z"});
    world.post("records/touch", touch).await;
    world.at(90_000).await;
    world.sync().await.unwrap();
    assert_eq!(world.rows().await.len(), 30);
    // Later only: nothing is taken out, and nothing read again.
    first.since = Some("2026-02-01T00:00:00Z".parse().unwrap());
    assert!(!world.change(&first).await.unwrap().standing.progress.asked.reload);
    // Earlier.
    first.since = None;
    assert!(world.change(&first).await.unwrap().standing.progress.asked.reload);
    world.sync().await.unwrap();
    assert_eq!(world.rows().await.len(), 60);
    world.assert_in_step().await;
    // By another cursor.
    first.cursor = Some("LastModifiedDate".to_owned());
    assert!(world.change(&first).await.unwrap().standing.progress.asked.reload);
    world.sync().await.unwrap();
    world.assert_in_step().await;
    assert!(world.mapping().await.standing.progress.asked.is_nothing());
}

async fn another_object_or_table_is_another_mapping(db: Db) {
    let world = World::with(db, &defined(json!(["Name"]))).await;
    let before = world.mapping().await;
    for (wrong, expected) in [
        (
            Definition { object: "Contact".to_owned(), ..defined(json!(["Name"])) },
            "object: the mapping is of `Account`",
        ),
        (
            Definition { name: "firms".to_owned(), ..defined(json!(["Name"])) },
            "table: its rows are in the table `accounts`",
        ),
        (defined(json!(["Nmae"])), "columns[0].field"),
    ] {
        let error = world.change(&wrong).await.unwrap_err();
        assert!(matches!(error, SyncError::Mapping(_)) && error.to_string().contains(expected), "{error}");
    }
    let after = world.mapping().await;
    assert_eq!((after.definition, after.name), (before.definition, before.name));
}

async fn what_was_asked_survives_a_run_that_dies_and_is_done_once(db: Db) {
    let world = World::new(db, "Account").await;
    world.accounts((0..120).map(|n| format!("firm {n}"))).await;
    world.at(90_000).await;
    world.sync().await.unwrap();
    world.db.store.follow_integrations(Duration::from_secs(900), world.engine.clock.now()).await.unwrap();
    let ask = async |asked| world.tenant().request_run(world.mapping, asked, world.engine.clock.now()).await.unwrap();
    let asked = async || world.mapping().await.standing.progress.asked;
    let reload = Asked { reload: true, ..Asked::default() };
    ask(reload).await.unwrap();
    // A run begins and dies before it does anything; the next one, with pages that fail, dies in the middle of it.
    world.tenant().start_mapping_run(&world.mapping().await, world.engine.clock.now()).await.unwrap();
    assert_eq!(asked().await, reload);
    world.limits(json!({"query_page_rows": 50})).await;
    world
        .fault(json!({"path": "/services/data/v67.0/query", "nth": 2, "times": 0, "status": 400,
        "body": [{"message": "no", "errorCode": "UNKNOWN_EXCEPTION"}]}))
        .await;
    world.sync().await.unwrap_err();
    assert_eq!((asked().await, world.mapping().await.standing.progress.reloading), (Asked::default(), true));
    world.control(reqwest::Method::DELETE, "faults", json!({})).await;
    // It goes on where it stopped, and is over with that.
    let report = world.sync().await.unwrap();
    assert!((70..=190).contains(&report.run.rows_read), "not from the beginning: {report:?}");
    assert!(!world.mapping().await.standing.progress.reloading);
    world.at(90_001).await;
    let compared = Asked { compare: true, verify: true, ..Asked::default() };
    ask(compared).await.unwrap();
    let before = world.mapping().await.standing.progress.compared_at;
    world.sync().await.unwrap();
    let standing = world.mapping().await.standing;
    assert!(standing.progress.compared_at > before && standing.progress.asked.is_nothing(), "{standing:?}");
    let (compared, verified) = (standing.progress.compared_at, standing.progress.verified_at);
    world.at(90_002).await;
    world.sync().await.unwrap();
    let progress = world.mapping().await.standing.progress;
    assert_eq!((progress.compared_at, progress.verified_at), (compared, verified), "once");
    world.assert_in_step().await;
}

async fn whoever_waits_for_a_job_tells_so_at_each_look(db: Db) {
    let world = World::with(db, &Definition { method: Method::Bulk, ..all_of("Account") }).await;
    world.accounts((0..10).map(|n| format!("firm {n}"))).await;
    world.limits(json!({"bulk_hold": "InProgress"})).await;
    world.at(300).await;
    let looks = AtomicUsize::new(0);
    let mut progress = |_| {
        looks.fetch_add(1, Ordering::SeqCst);
    };
    let let_go = async {
        // Looks after half a second, and then half as long again each time.
        let begun = loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if world.mapping().await.standing.progress.job.is_some() {
                break looks.load(Ordering::SeqCst);
            }
        };
        tokio::time::sleep(Duration::from_secs(4)).await;
        let waited = looks.load(Ordering::SeqCst) - begun;
        world.limits(json!({"bulk_hold": null})).await;
        waited
    };
    let (ran, waited) = tokio::join!(world.engine.run(world.mapping, Asked::default(), &mut progress), let_go);
    ran.unwrap();
    assert!((3..=8).contains(&waited), "{waited} signs of life in four seconds");
}
