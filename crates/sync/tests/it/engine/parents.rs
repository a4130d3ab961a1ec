//! Columns of parents, whose changes no stamp of their children tells.

use serde_json::{Value, json};
use tieline_sync::engine::Asked;
use tieline_sync::mapping::Definition;

use super::world::World;
use crate::database::Db;

on_both!(
    a_renamed_parent_and_grandparent_reach_their_children,
    another_parent_a_deleted_and_a_hidden_one,
    a_parent_that_changed_while_its_children_were_first_read,
    a_parent_that_was_committed_hours_late,
    five_thousand_children_follow_though_the_run_is_cut_off,
    a_parent_object_that_is_hidden,
    too_many_children_for_a_query_are_read_with_the_refresh,
);

fn people() -> Definition {
    Definition::from_toml(
        r#"
        name = "people"
        object = "Contact"
        columns = ["LastName", "AccountId", "Account.Name", "Account.Owner.Name", "Account.Parent.Name"]
        "#,
    )
    .unwrap()
}

fn update(object: &str, id: &str, fields: Value) -> Value {
    json!({"op": "update", "object": object, "id": id, "fields": fields})
}

async fn children(world: &World, account: &str, number: usize) -> Vec<String> {
    let one =
        |n| json!({"op": "insert", "object": "Contact", "fields": {"LastName": format!("c{n}"), "AccountId": account}});
    world.write(Value::Array((0..number).map(one).collect())).await
}

/// The column of each of the rows, as it is.
async fn each(world: &World, ids: &[String], column: &str) -> Vec<Value> {
    let rows = world.rows().await;
    ids.iter().map(|id| rows[id][column].clone()).collect()
}

async fn user(world: &World, alias: &str) -> String {
    let query = format!("SELECT Id FROM User WHERE Username LIKE '{alias}%'");
    let records =
        world.connection().query_pages::<tieline_client::Record>(&query).next().await.unwrap().unwrap().records;
    records[0]["Id"].as_str().unwrap().to_owned()
}

async fn a_renamed_parent_and_grandparent_reach_their_children(db: Db) {
    let world = World::with(db, &people()).await;
    let accounts = world.accounts(["a".to_owned(), "b".to_owned(), "top".to_owned()]).await;
    world.write(json!([update("Account", &accounts[0], json!({"ParentId": accounts[2]}))])).await;
    let of_a = children(&world, &accounts[0], 3).await;
    let of_b = children(&world, &accounts[1], 2).await;
    world.sync().await.unwrap();
    assert_eq!(each(&world, &of_a, "account_name").await, ["a", "a", "a"]);
    world.at(2_000).await;
    world.sync().await.unwrap();
    world.write(json!([update("Account", &accounts[0], json!({"Name": "renamed"}))])).await;
    let report = world.sync().await.unwrap();
    assert_eq!(each(&world, &of_a, "account_name").await, ["renamed", "renamed", "renamed"]);
    assert_eq!((report.run.updated, report.run.rows_read, report.run.drift_found), (3, 3, 0), "no other row is read");
    world.at(4_000).await;
    world.sync().await.unwrap();
    let owner = user(&world, "admin").await;
    world
        .write(json!([
            update("User", &owner, json!({"LastName": "Renamed"})),
            update("Account", &accounts[2], json!({"Name": "summit"}))
        ]))
        .await;
    let report = world.sync().await.unwrap();
    assert_eq!(report.run.updated, 5);
    for name in each(&world, &[of_a.clone(), of_b].concat(), "account_owner_name").await {
        assert!(name.as_str().unwrap().ends_with("Renamed"), "{name}");
    }
    assert_eq!(each(&world, &of_a, "account_parent_name").await, ["summit", "summit", "summit"]);
    world.at(6_000).await;
    let calls = world.sync().await.unwrap().run.api_calls;
    assert_eq!(calls, 4, "one for the records, and one for each of three kinds of parents");
}

async fn another_parent_a_deleted_and_a_hidden_one(db: Db) {
    let world = World::with(db, &people()).await;
    let accounts = world.accounts(["a".to_owned(), "b".to_owned()]).await;
    let ids = children(&world, &accounts[0], 3).await;
    world.sync().await.unwrap();
    world.at(2_000).await;
    world
        .write(json!([
            update("Contact", &ids[0], json!({"AccountId": accounts[1]})),
            update("Contact", &ids[1], json!({"AccountId": null}))
        ]))
        .await;
    world.sync().await.unwrap();
    assert_eq!(each(&world, &ids, "account_name").await, [json!("b"), Value::Null, json!("a")]);
    // Hidden, and seen again: no stamp moves, so the refresh brings it.
    let share = async |visible: bool| {
        world.put("sharing", json!({"object": "Account", "ids": [accounts[1]], "visible": visible})).await;
    };
    share(false).await;
    world.at(90_000).await;
    world.sync().await.unwrap();
    assert_eq!(each(&world, &ids, "account_name").await, [Value::Null, Value::Null, json!("a")]);
    share(true).await;
    world.at(180_000).await;
    world.sync().await.unwrap();
    assert_eq!(each(&world, &ids, "account_name").await, [json!("b"), Value::Null, json!("a")]);
    world.at(190_000).await;
    world.write(json!([{"op": "delete", "object": "Account", "id": accounts[0]}])).await;
    world.sync().await.unwrap();
    let query = "SELECT Id, Account.Name FROM Contact WHERE IsDeleted = false";
    let truth = world.connection().query_pages::<Value>(query).next().await.unwrap().unwrap().records;
    for record in truth {
        let id = record["Id"].as_str().unwrap();
        assert_eq!(world.row(id).await["account_name"], record["Account"]["Name"], "{id}");
    }
    world.assert_in_step().await;
}

async fn a_parent_that_changed_while_its_children_were_first_read(db: Db) {
    let world = World::with(db, &people()).await;
    let accounts = world.accounts(["a".to_owned()]).await;
    let ids = children(&world, &accounts[0], 4_100).await;
    world.at(2_000).await;
    let refusal = json!([{"message": "no", "errorCode": "UNKNOWN_EXCEPTION"}]);
    world.fault(json!({"path": "/services/data/v67.0/query", "nth": 3, "status": 400, "body": refusal})).await;
    world.sync().await.unwrap_err();
    assert!(!world.rows().await.is_empty());
    world.write(json!([update("Account", &accounts[0], json!({"Name": "renamed"}))])).await;
    world.at(7_200).await;
    world.sync().await.unwrap();
    assert!(each(&world, &ids, "account_name").await.iter().all(|name| name == "renamed"));
    world.assert_in_step().await;
}

async fn a_parent_that_was_committed_hours_late(db: Db) {
    let world = World::with(db, &people()).await;
    let accounts = world.accounts(["a".to_owned()]).await;
    let ids = children(&world, &accounts[0], 2).await;
    world.sync().await.unwrap();
    world.at(900).await;
    let writes = json!({"writes": [update("Account", &accounts[0], json!({"Name": "late"}))]});
    let open = world.post("transactions", writes).await["id"].as_str().unwrap().to_owned();
    world.at(7_200).await;
    world.sync().await.unwrap();
    world.post(&format!("transactions/{open}/commit"), json!({})).await;
    world.at(10_900).await;
    world.sync().await.unwrap();
    assert_eq!(each(&world, &ids, "account_name").await, ["late", "late"]);
    assert!(world.through().await.1 > Some(10_800));
}

async fn five_thousand_children_follow_though_the_run_is_cut_off(db: Db) {
    let world = World::with(db, &people()).await;
    let accounts = world.accounts(["a".to_owned()]).await;
    let ids = children(&world, &accounts[0], 5_000).await;
    world.sync().await.unwrap();
    world.at(2_000).await;
    world.sync().await.unwrap();
    world.write(json!([update("Account", &accounts[0], json!({"Name": "renamed"}))])).await;
    let refusal = json!([{"message": "no", "errorCode": "UNKNOWN_EXCEPTION"}]);
    world.fault(json!({"path": "/services/data/v67.0/query", "nth": 4, "status": 400, "body": refusal})).await;
    world.sync().await.unwrap_err();
    let names = each(&world, &ids, "account_name").await;
    let done = names.iter().filter(|name| *name == "renamed").count();
    assert!((2_000..5_000).contains(&done), "{done}");
    world.at(9_000).await;
    world.sync().await.unwrap();
    assert!(each(&world, &ids, "account_name").await.iter().all(|name| name == "renamed"));
}

async fn a_parent_object_that_is_hidden(db: Db) {
    let world = World::with(db, &people()).await;
    let accounts = world.accounts(["a".to_owned()]).await;
    let ids = children(&world, &accounts[0], 2).await;
    world.sync().await.unwrap();
    world.put("permissions", json!({"object": "Account", "visible": false})).await;
    world.at(2_000).await;
    world.write(json!([update("Contact", &ids[0], json!({"LastName": "new"}))])).await;
    world.sync().await.unwrap();
    assert_eq!(world.row(&ids[0]).await["last_name"], "new", "the rest goes on");
    let kept = world.db.raw.texts("SELECT account_name FROM people").await;
    assert_eq!(kept, ["a", "a"]);
    assert!(world.mapping().await.state_reason.unwrap().contains("account_name"));
    world.put("permissions", json!({"object": "Account", "visible": true})).await;
    world.write(json!([update("Account", &accounts[0], json!({"Name": "renamed"}))])).await;
    world.at(9_000).await;
    world.sync().await.unwrap();
    assert_eq!(each(&world, &ids, "account_name").await, ["renamed", "renamed"]);
    assert_eq!(world.state().await, tieline_store::mappings::MappingState::Synced);
}

async fn too_many_children_for_a_query_are_read_with_the_refresh(db: Db) {
    let world = World::with(db, &people()).await;
    let accounts = world.accounts(["a".to_owned()]).await;
    let ids = children(&world, &accounts[0], 300).await;
    world.sync().await.unwrap();
    world.at(2_000).await;
    world.sync().await.unwrap();
    world.write(json!([update("Account", &accounts[0], json!({"Name": "renamed"}))])).await;
    let refusal = json!([{"message": "too long", "errorCode": "QUERY_TIMEOUT"}]);
    world.fault(json!({"query": "Account.SystemModstamp >=", "times": 0, "status": 400, "body": refusal})).await;
    world.sync().await.unwrap();
    assert!(each(&world, &ids, "account_name").await.iter().all(|name| name == "renamed"));
    world.control(reqwest::Method::DELETE, "faults", json!({})).await;
    world.at(4_000).await;
    world.ask(Asked::default()).await.unwrap();
    world.at(4_700).await;
    assert_eq!(world.sync().await.unwrap().run.api_calls, 4, "not with every run");
}
