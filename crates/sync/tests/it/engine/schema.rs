//! The object changes, or the right to see it: T16, T19, T20.

use reqwest::Method as Http;
use serde_json::{Value, json};
use tieline_store::mappings::MappingState;
use tieline_sync::SyncError;
use tieline_sync::engine::{Asked, create_mapping};
use tieline_sync::mapping::{Definition, Method};

use super::world::{World, all_of};
use crate::database::Db;

on_both!(
    t16_a_field_that_is_hidden_keeps_its_values_and_is_filled_again,
    t16_a_field_that_is_hidden_while_a_run_is_under_way,
    t16_an_object_that_is_hidden_loses_nothing,
    t19_formulas_and_what_is_like_them_are_read_again_each_day,
    t20_fields_that_change_between_two_runs,
    t20_fields_that_change_between_the_third_page_of_a_load_and_the_fourth,
    t20_fields_that_change_while_a_bulk_job_is_waited_for,
    t20_a_new_column_is_filled_alone_and_goes_on_where_it_was_cut_off,
    t20_a_type_that_goes_to_and_fro_keeps_every_value,
    t20_columns_that_were_named_and_vanish,
    t20_an_object_that_comes_later,
    t9_a_change_of_the_table_that_is_cut_off_anywhere_is_made_by_the_next_run,
);

const DAY: i64 = 86_400;
const FILL: &str = "SELECT Id, SystemModstamp, IsDeleted, MasterRecordId, Added__c FROM Account";

fn refusal() -> Value {
    json!([{"message": "no", "errorCode": "UNKNOWN_EXCEPTION"}])
}

fn update(id: &str, fields: Value) -> Value {
    json!({"op": "update", "object": "Account", "id": id, "fields": fields})
}

async fn field(world: &World, name: &str, kind: &str) {
    world.post("fields", json!({"object": "Account", "name": name, "type": kind})).await;
}

async fn show(world: &World, field: &str, visible: bool) {
    world.put("permissions", json!({"object": "Account", "fields": [field], "visible": visible})).await;
}

/// A column as the database has it, whatever the mapping says of it, in the order of the ids.
async fn column(world: &World, name: &str) -> Vec<String> {
    world.db.raw.texts(&format!("SELECT coalesce(CAST(\"{name}\" AS TEXT), '') FROM \"account\" ORDER BY \"id\"")).await
}

async fn t16_a_field_that_is_hidden_keeps_its_values_and_is_filled_again(db: Db) {
    let world = World::new(db, "Account").await;
    let ids = world.accounts(["a".to_owned(), "b".to_owned()]).await;
    world
        .write(json!([update(&ids[0], json!({"Phone": "1", "Fax": "f"})), update(&ids[1], json!({"Phone": "2"}))]))
        .await;
    world.sync().await.unwrap();
    show(&world, "Phone", false).await;
    world.at(4_000).await;
    world.write(json!([update(&ids[0], json!({"Phone": "11", "Name": "changed"}))])).await;
    world.sync().await.unwrap();
    assert_eq!(column(&world, "phone").await, ["1", "2"]);
    assert_eq!(world.row(&ids[0]).await["name"], "changed", "the rest goes on");
    let mapping = world.mapping().await;
    assert_eq!(mapping.state, MappingState::SchemaChanged);
    assert!(mapping.state_reason.unwrap().contains("the columns phone;"));
    world.assert_in_step().await;
    world.at(4_700).await;
    assert_eq!(world.sync().await.unwrap().run.api_calls, 1, "and costs nothing");
    assert_eq!(world.state().await, MappingState::SchemaChanged);
    show(&world, "Phone", true).await;
    world.at(8_000).await;
    world.sync().await.unwrap();
    assert_eq!(column(&world, "phone").await, ["11", "2"], "though the stamp of the change is long behind");
    assert_eq!((world.state().await, world.mapping().await.state_reason), (MappingState::Synced, None));
    world.assert_in_step().await;
}

async fn t16_a_field_that_is_hidden_while_a_run_is_under_way(db: Db) {
    let mut world = World::bare(db).await;
    field(&world, "Gone__c", "string 40").await;
    world.mapping = world.map(&all_of("Account")).await.id;
    let ids = world.accounts((0..4_100).map(|n| format!("account {n}"))).await;
    world.write(json!([update(&ids[0], json!({"Phone": "1"}))])).await;
    world.at(100).await;
    world.fault(json!({"path": "/services/data/v67.0/query/", "nth": 2, "delay_ms": 2_000})).await;
    // While the third page is waited for. The org closes queries for columns that are gone.
    let hide = async {
        while world.rows().await.len() < 2_000 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        show(&world, "Phone", false).await;
        world.control(Http::DELETE, "fields", json!({"object": "Account", "name": "Gone__c"})).await;
    };
    let (report, ()) = tokio::join!(world.sync(), hide);
    report.unwrap();
    assert!(world.mapping().await.state_reason.unwrap().contains("the columns phone, gone;"));
    assert_eq!(world.rows().await.len(), 4_100);
    world.assert_in_step().await;
    show(&world, "Phone", true).await;
    world.at(4_000).await;
    world.sync().await.unwrap();
    assert_eq!(world.row(&ids[0]).await["phone"], "1");
    world.assert_in_step().await;
}

async fn t16_an_object_that_is_hidden_loses_nothing(db: Db) {
    let world = World::new(db, "Account").await;
    let ids = world.accounts((0..60).map(|n| format!("account {n}"))).await;
    world.sync().await.unwrap();
    let rows = world.rows().await;
    for (hidden, back) in [(700, 1_400), (9_000, 18_000)] {
        world.put("permissions", json!({"object": "Account", "visible": false})).await;
        world.at(hidden).await;
        world.write(json!([update(&ids[0], json!({"Name": format!("at {hidden}")}))])).await;
        for asked in [Asked::default(), Asked { compare: true, verify: true, ..Asked::default() }] {
            let error = world.ask(asked).await.unwrap_err();
            assert!(matches!(error, SyncError::ObjectGone { .. }), "{error}");
            assert!(!error.hint().is_empty());
        }
        assert_eq!(world.rows().await.len(), rows.len());
        assert_eq!(world.went(&ids).await, [""; 60]);
        let mapping = world.mapping().await;
        assert_eq!(mapping.state, MappingState::SchemaChanged);
        assert!(mapping.state_reason.unwrap().contains("no longer shows the object `Account`"));
        world.put("permissions", json!({"object": "Account", "visible": true})).await;
        world.at(back).await;
        world.sync().await.unwrap();
        assert_eq!(world.row(&ids[0]).await["name"], format!("at {hidden}"));
        assert_eq!(world.state().await, MappingState::Synced);
        world.assert_in_step().await;
    }
}

async fn t19_formulas_and_what_is_like_them_are_read_again_each_day(db: Db) {
    let formula = |name, text| json!({"object": "Contact", "name": name, "type": "string 255", "formula": text});
    let world = World::bare(db).await;
    for (name, text) in
        [("Own__c", "UPPER(LastName)"), ("Over__c", "Account.Name & \"!\""), ("Day__c", "TEXT(TODAY())")]
    {
        world.post("fields", formula(name, text)).await;
    }
    let definition = Definition { refresh: vec!["Department".to_owned()], ..all_of("Contact") };
    let mut world = world;
    world.mapping = world.map(&definition).await.id;
    let accounts = world.accounts(["a".to_owned()]).await;
    let contact = json!({"op": "insert", "object": "Contact", "fields": {"LastName": "l", "AccountId": accounts[0], "Department": "d"}});
    let ids = world.write(json!([contact, contact])).await;
    world.sync().await.unwrap();
    assert_eq!(world.row(&ids[0]).await["over"], "a!");
    world.assert_in_step().await;
    world.at(2_000).await;
    world.sync().await.unwrap();
    world.write(json!([update(&accounts[0], json!({"Name": "renamed"}))])).await;
    let touch = json!({"object": "Contact", "ids": ids, "system_modstamp": null, "fields": {"Department": "e"}});
    world.post("records/touch", touch).await;
    world.sync().await.unwrap();
    assert_eq!(world.row(&ids[0]).await["over"], "a!", "no stamp tells of it");
    world.at(DAY + 10).await;
    let report = world.sync().await.unwrap();
    let row = world.row(&ids[1]).await;
    assert_eq!(
        (&row["over"], &row["department"], &row["day"]),
        (&json!("renamed!"), &json!("e"), &json!("2026-06-02"))
    );
    assert_eq!((report.run.updated, report.run.drift_found), (2, 0));
    world.assert_in_step().await;
    world.at(DAY + 700).await;
    assert_eq!(world.sync().await.unwrap().run.api_calls, 1, "once a day");
}

/// What is there before.
async fn fields(world: &World) {
    for (name, kind) in
        [("Gone__c", "string 40"), ("Old__c", "string 40"), ("Kind__c", "string 40"), ("Wide__c", "string 10")]
    {
        field(world, name, kind).await;
    }
}

fn filled(n: usize) -> Value {
    let fields = json!({"Name": format!("account {n}"), "Gone__c": format!("g{n}"), "Old__c": format!("o{n}"), "Kind__c": n.to_string(), "Wide__c": "w"});
    json!({"op": "insert", "object": "Account", "fields": fields})
}

/// Every kind of change; and a value of each field afterwards, without a new stamp.
async fn change(world: &World, ids: &[String]) {
    field(world, "Added__c", "string 40").await;
    world.control(Http::DELETE, "fields", json!({"object": "Account", "name": "Gone__c"})).await;
    let patches = [
        json!({"name": "Old__c", "rename": "New__c"}),
        json!({"name": "Kind__c", "type": "double 18,2"}),
        json!({"name": "Wide__c", "type": "string 80"}),
    ];
    for mut patch in patches {
        patch["object"] = json!("Account");
        world.control(Http::PATCH, "fields", patch).await;
    }
    let fields = json!({"Added__c": "added", "Wide__c": "a text that is longer than ten"});
    let touch = json!({"object": "Account", "ids": ids, "system_modstamp": null, "fields": fields});
    world.post("records/touch", touch).await;
}

async fn t20_fields_that_change_between_two_runs(db: Db) {
    let world = World::bare(db).await;
    fields(&world).await;
    let mut world = world;
    world.mapping = world.map(&all_of("Account")).await.id;
    let ids = world.write(Value::Array((0..60).map(filled).collect())).await;
    world.at(2_000).await;
    world.sync().await.unwrap();
    change(&world, &ids[..1]).await;
    world.at(6_000).await;
    world.write(json!([update(&ids[1], json!({"Kind__c": 2.5}))])).await;
    world.sync().await.unwrap();
    assert_eq!(world.state().await, MappingState::SchemaChanged);
    let kept: Vec<String> = (0..60).map(|n| n.to_string()).collect();
    assert_eq!(column(&world, "kind_was_text").await, kept);
    assert_eq!(column(&world, "old").await[7], "o7");
    assert_eq!(column(&world, "gone").await[7], "g7");
    let row = world.row(&ids[0]).await;
    assert_eq!((&row["added"], &row["new"]), (&json!("added"), &json!("o0")));
    // A wider text is no other column: its new value comes with the next change.
    world.write(json!([update(&ids[0], json!({"Phone": "1"}))])).await;
    world.sync().await.unwrap();
    world.assert_in_step().await;
}

async fn t20_fields_that_change_between_the_third_page_of_a_load_and_the_fourth(db: Db) {
    let world = World::bare(db).await;
    fields(&world).await;
    let mut world = world;
    world.mapping = world.map(&all_of("Account")).await.id;
    let ids = world.write(Value::Array((0..6_100).map(filled).collect())).await;
    world.at(2_000).await;
    world.fault(json!({"path": "/services/data/v67.0/query/", "nth": 3, "status": 400, "body": refusal()})).await;
    world.sync().await.unwrap_err();
    assert_eq!(world.rows().await.len(), 6_000);
    change(&world, &ids[..1]).await;
    world.at(2_100).await;
    world.sync().await.unwrap();
    assert_eq!(column(&world, "kind_was_text").await[..3], ["0", "1", "2"]);
    let row = world.row(&ids[0]).await;
    assert_eq!((&row["added"], &row["new"]), (&json!("added"), &json!("o0")));
    let row = world.row(&ids[5_000]).await;
    assert_eq!((row["kind"].as_f64(), &row["new"]), (Some(5_000.0), &json!("o5000")));
    world.write(json!([update(&ids[0], json!({"Phone": "1"}))])).await;
    world.at(2_900).await;
    world.sync().await.unwrap();
    world.assert_in_step().await;
}

async fn t20_fields_that_change_while_a_bulk_job_is_waited_for(db: Db) {
    let mut world = World::bare(db).await;
    fields(&world).await;
    world.engine.care.job_wait = std::time::Duration::from_millis(300);
    world.mapping = world.map(&Definition { method: Method::Bulk, ..all_of("Account") }).await.id;
    let ids = world.write(Value::Array((0..300).map(filled).collect())).await;
    world.at(2_000).await;
    world.limits(json!({"bulk_hold": "InProgress"})).await;
    world.sync().await.unwrap_err();
    let job = world.mapping().await.standing.progress.job;
    assert!(job.is_some());
    change(&world, &ids[..1]).await;
    world.limits(json!({"bulk_hold": null})).await;
    world.engine.care.job_wait = std::time::Duration::from_secs(20);
    world.at(6_000).await;
    world.sync().await.unwrap();
    assert_eq!(world.row(&ids[0]).await["added"], "added");
    assert_eq!(world.rows().await.len(), 300);
    world.assert_in_step().await;
}

async fn t20_a_new_column_is_filled_alone_and_goes_on_where_it_was_cut_off(db: Db) {
    let world = World::new(db, "Account").await;
    let ids = world.accounts((0..6_100).map(|n| format!("account {n}"))).await;
    world.at(700).await;
    world.sync().await.unwrap();
    field(&world, "Added__c", "string 40").await;
    let touch = json!({"object": "Account", "ids": ids, "system_modstamp": null, "fields": {"Added__c": "x"}});
    world.post("records/touch", touch).await;
    world.at(5_000).await;
    // Its query is this one and no other.
    world.fault(json!({"query": format!("{FILL} ORDER BY Id"), "status": 400, "body": refusal()})).await;
    world.sync().await.unwrap_err();
    assert_eq!(world.state().await, MappingState::Resync);
    assert_eq!(world.mapping().await.standing.progress.unfilled, ["added"]);
    world.fault(json!({"path": "/services/data/v67.0/query/", "nth": 2, "status": 400, "body": refusal()})).await;
    world.sync().await.unwrap_err();
    let done = async || column(&world, "added").await.iter().filter(|value| *value == "x").count();
    assert_eq!((done().await, world.state().await), (4_000, MappingState::Resync));
    let last = &ids[3_999];
    world
        .fault(json!({"query": format!("{FILL} WHERE Id > '{last}' ORDER BY Id"), "status": 400, "body": refusal()}))
        .await;
    world.sync().await.unwrap_err();
    // A second new column begins the filling anew, or it would miss four thousand rows.
    field(&world, "Later__c", "string 40").await;
    let touch = json!({"object": "Account", "ids": ids[..1], "system_modstamp": null, "fields": {"Later__c": "y"}});
    world.post("records/touch", touch).await;
    world.at(9_000).await;
    world.sync().await.unwrap();
    assert_eq!((done().await, world.state().await), (6_100, MappingState::Synced));
    assert_eq!(world.row(&ids[0]).await["later"], "y");
    assert!(world.mapping().await.standing.progress.unfilled.is_empty());
    world.assert_in_step().await;
}

async fn t20_a_type_that_goes_to_and_fro_keeps_every_value(db: Db) {
    let world = World::bare(db).await;
    field(&world, "Kind__c", "string 40").await;
    let mut world = world;
    world.mapping = world.map(&all_of("Account")).await.id;
    world.write(json!([{"op": "insert", "object": "Account", "fields": {"Name": "a", "Kind__c": "1"}}])).await;
    world.sync().await.unwrap();
    for (n, kind) in ["double 18,2", "string 40", "double 18,2", "string 40"].into_iter().enumerate() {
        world.control(Http::PATCH, "fields", json!({"object": "Account", "name": "Kind__c", "type": kind})).await;
        world.at(4_000 * (n as i64 + 1)).await;
        world.sync().await.unwrap();
        assert_eq!(world.state().await, MappingState::Synced, "in the run that fills the column");
        world.assert_in_step().await;
    }
    let mut there = world.tenant().table_columns(&world.mapping().await).await.unwrap();
    there.retain(|name| name.starts_with("kind_was"));
    assert_eq!(there, ["kind_was_text", "kind_was_number", "kind_was_text_2", "kind_was_number_2"]);
    assert_eq!(world.state().await, MappingState::Synced);
}

async fn t20_columns_that_were_named_and_vanish(db: Db) {
    let world = World::bare(db).await;
    field(&world, "Score__c", "double 4,1").await;
    let definition =
        |columns: &str| Definition::from_toml(&format!("name = \"account\"\nobject = \"Account\"\n{columns}")).unwrap();
    let mut world = world;
    let named =
        definition("columns = [\"Name\", { field = \"Score__c\", column = \"points\" }]\nrefresh = [\"Score__c\"]");
    world.mapping = world.map(&named).await.id;
    let ids = world.accounts(["a".to_owned()]).await;
    world.write(json!([update(&ids[0], json!({"Score__c": 1.5}))])).await;
    world.sync().await.unwrap();
    show(&world, "Score__c", false).await;
    world.at(4_000).await;
    world.write(json!([update(&ids[0], json!({"Name": "b"}))])).await;
    world.sync().await.unwrap();
    assert_eq!(
        (column(&world, "points").await, column(&world, "name").await),
        (vec!["1.5".to_owned()], vec!["b".to_owned()])
    );
    assert!(world.mapping().await.state_reason.unwrap().contains("the columns points;"));
    show(&world, "Score__c", true).await;
    world.at(8_000).await;
    world.sync().await.unwrap();
    assert_eq!(world.state().await, MappingState::Synced);
    assert_eq!(column(&world, "points").await, ["1.5"]);

    // The only one: the mapping does not come to mean all fields.
    let only = Definition { name: "only".to_owned(), ..definition("columns = [\"Score__c\"]") };
    world.mapping = world.map(&only).await.id;
    world.sync().await.unwrap();
    show(&world, "Score__c", false).await;
    world.at(12_000).await;
    world.sync().await.unwrap();
    assert_eq!(world.mapping().await.table.columns(), []);
    assert_eq!(world.rows().await.len(), 1);
}

async fn t20_an_object_that_comes_later(db: Db) {
    let mut world = World::bare(db).await;
    let definition = all_of("Thing__c");
    let now = world.engine.clock.now();
    let error =
        create_mapping(world.connection(), world.tenant(), world.integration, &definition, now).await.unwrap_err();
    assert!(matches!(error, SyncError::Mapping(_)), "{error}");
    let thing = json!({"name": "Thing__c", "label": "Thing", "fields": [{"name": "Size__c", "type": "double 18,2"}]});
    world.post("objects", thing.clone()).await;
    let insert = json!([{"op": "insert", "object": "Thing__c", "fields": {"Name": "t", "Size__c": 1.5}}]);
    world.write(insert.clone()).await;
    world.mapping = world.map(&definition).await.id;
    world.sync().await.unwrap();
    world.assert_in_step().await;
    // It goes with its records; another of its name comes.
    world.control(Http::DELETE, "objects", json!({"name": "Thing__c"})).await;
    world.at(4_000).await;
    assert!(matches!(world.sync().await.unwrap_err(), SyncError::ObjectGone { .. }));
    assert_eq!(world.rows().await.len(), 1);
    world.post("objects", thing).await;
    world.write(insert).await;
    world.at(8_000).await;
    world.sync().await.unwrap();
    assert_eq!(world.state().await, MappingState::Synced);
}

async fn t9_a_change_of_the_table_that_is_cut_off_anywhere_is_made_by_the_next_run(db: Db) {
    let world = World::bare(db).await;
    field(&world, "Kind__c", "string 40").await;
    field(&world, "Gone__c", "string 40").await;
    let mut world = world;
    world.mapping = world.map(&all_of("Account")).await.id;
    let insert = |n: usize| json!({"op": "insert", "object": "Account", "fields": {"Name": "a", "Kind__c": n.to_string(), "Gone__c": "g"}});
    let ids = world.write(Value::Array((0..60).map(insert).collect())).await;
    world.sync().await.unwrap();
    field(&world, "Added__c", "string 40").await;
    world.control(Http::PATCH, "fields", json!({"object": "Account", "name": "Kind__c", "type": "double 18,2"})).await;
    show(&world, "Gone__c", false).await;
    let touch = json!({"object": "Account", "ids": ids, "system_modstamp": null, "fields": {"Added__c": "x"}});
    world.post("records/touch", touch).await;
    let points = [
        ("mapping_checkpoints", "CAST(NEW.progress AS TEXT) LIKE '%unfilled%'"),
        ("mappings", "CAST(NEW.columns AS TEXT) LIKE '%added%' AND CAST(OLD.columns AS TEXT) NOT LIKE '%added%'"),
        ("mappings", "NEW.state = 'resync'"),
        ("account", "NEW.added = 'x'"),
        ("runs", "NEW.updated > 0"),
        ("mapping_checkpoints", "CAST(NEW.progress AS TEXT) NOT LIKE '%unfilled%'"),
        ("mappings", "NEW.state = 'schema_changed'"),
    ];
    for (n, (table, when)) in points.into_iter().enumerate() {
        // The last ones before the next describe is due, the first after it.
        world.at(4_000 + 10 * n as i64).await;
        world.db.raw.failpoint(&format!("BEFORE UPDATE ON {table}"), when).await;
        world.sync().await.unwrap_err();
        world.db.raw.mend(table).await;
    }
    world.sync().await.unwrap();
    assert_eq!(column(&world, "added").await, ["x"; 60]);
    assert_eq!(column(&world, "kind_was_text").await[..3], ["0", "1", "2"]);
    assert_eq!(column(&world, "gone").await, ["g"; 60]);
    assert_eq!(world.state().await, MappingState::SchemaChanged);
    world.assert_in_step().await;
    show(&world, "Gone__c", true).await;
    world.at(9_000).await;
    world.sync().await.unwrap();
    assert_eq!(world.state().await, MappingState::Synced);
    world.assert_in_step().await;
}
