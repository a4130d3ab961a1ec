//! Every kind of object, with each of its fields.

use std::time::Duration;

use serde_json::{Value, json};
use tieline_sync::engine::Asked;

use super::world::{World, all_of};
use crate::database::Db;

on_both!(
    every_kind_of_object_is_in_step_value_by_value,
    an_object_without_a_stamp_and_without_a_log_is_read_as_a_whole,
    login_history_is_found_by_the_time_of_the_login,
);

/// An insert of each kind, and what is changed of it then.
fn kinds() -> Vec<(&'static str, Value, Value)> {
    vec![
        (
            "Contact",
            json!({"LastName": "L", "Email": "a@example.org", "Birthdate": "1990-02-28", "MailingCity": "Köln"}),
            json!({"FirstName": "F\u{1f600}", "MailingCity": null}),
        ),
        (
            "Lead",
            json!({"LastName": "L", "Company": "C", "AnnualRevenue": 12.34, "NumberOfEmployees": 7}),
            json!({"Status": "Working - Contacted"}),
        ),
        (
            "Account",
            json!({"Name": "A", "AnnualRevenue": 1_234_567.89, "BillingStreet": "a\nb", "BillingCity": "B"}),
            json!({"NumberOfEmployees": 3}),
        ),
        (
            "Opportunity",
            json!({"Name": "O", "StageName": "Prospecting", "CloseDate": "2026-12-31", "Amount": 0.1}),
            json!({"Amount": 99.99, "CloseDate": "2027-01-01"}),
        ),
        ("Task", json!({"Subject": "S", "ActivityDate": "2026-06-30"}), json!({"Status": "Completed"})),
        (
            "Event",
            json!({"Subject": "S", "StartDateTime": "2026-06-30T10:00:00Z", "EndDateTime": "2026-06-30T11:30:00Z"}),
            json!({"Location": "here"}),
        ),
        (
            "Thing__c",
            json!({"Name": "T", "Size__c": 1.25, "At__c": "2026-01-01T10:11:12Z", "When__c": "10:11:12.000Z", "Kinds__c": "A;B"}),
            json!({"Size__c": null, "On__c": true}),
        ),
    ]
}

async fn every_kind_of_object_is_in_step_value_by_value(db: Db) {
    let mut world = World::bare(db).await;
    let fields = json!([
        {"name": "Size__c", "type": "double 18,2"}, {"name": "At__c", "type": "datetime"}, {"name": "When__c", "type": "time"},
        {"name": "On__c", "type": "boolean", "default": "false"}, {"name": "Kinds__c", "type": "multipicklist 255 : A; B"},
        {"name": "Account__c", "type": "reference Account as Account__r children Things__r"}, {"name": "Place__c", "type": "location"},
    ]);
    world.post("objects", json!({"name": "Thing__c", "label": "Thing", "fields": fields})).await;
    for (object, fields, change) in kinds() {
        world.at(0).await;
        let insert = json!({"op": "insert", "object": object, "fields": fields});
        let ids = world.write(json!([insert, insert, insert])).await;
        world.mapping = world.map(&all_of(object)).await.id;
        world.sync().await.unwrap();
        assert_eq!(world.rows().await.len(), 3, "{object}");
        world.assert_in_step().await;
        world.at(900).await;
        world
            .write(json!([
                {"op": "update", "object": object, "id": ids[0], "fields": change},
                {"op": "delete", "object": object, "id": ids[1]},
                insert,
            ]))
            .await;
        world.sync().await.unwrap();
        assert_eq!(world.rows().await.len(), 4, "{object}");
        world.assert_in_step().await;
        let wide = world.mapping().await.table.columns().len();
        assert!(wide > 8, "{object} has {wide} columns");
    }
    world.mapping = world.map(&all_of("User")).await.id;
    world.sync().await.unwrap();
    assert_eq!(world.rows().await.len(), 4);
    world.assert_in_step().await;
}

async fn an_object_without_a_stamp_and_without_a_log_is_read_as_a_whole(db: Db) {
    let mut world = World::bare(db).await;
    let ids = world.accounts((0..120).map(|n| format!("account {n}"))).await;
    // The local org has no such object: it is told to describe one so.
    let mut describe = serde_json::to_value(&*world.connection().describe("Account").await.unwrap()).unwrap();
    describe["replicateable"] = json!(false);
    for field in describe["fields"].as_array_mut().unwrap() {
        if field["type"] == "datetime" {
            field["filterable"] = json!(false);
        }
    }
    world.fault(json!({"path": "/services/data/v67.0/sobjects/Account/describe", "times": 0, "status": 200, "body": describe})).await;
    world.connection().describe_now("Account").await.unwrap();
    world.mapping = world.map(&all_of("Account")).await.id;
    let report = world.sync().await.unwrap();
    assert_eq!(report.run.inserted, 120);
    world.at(900).await;
    world.accounts(["new".to_owned()]).await;
    world
        .write(json!([
            {"op": "update", "object": "Account", "id": ids[0], "fields": {"Name": "changed"}},
            {"op": "delete", "object": "Account", "id": ids[1]},
            {"op": "hard_delete", "object": "Account", "id": ids[2]},
        ]))
        .await;
    let report = world.sync().await.unwrap();
    assert_eq!((report.run.inserted, report.run.updated, report.run.deleted), (1, 3, 2));
    assert_eq!(world.went(&ids[..4]).await, ["", "deleted", "hidden", ""], "without a log nobody can tell");
    assert_eq!(world.row(&ids[0]).await["name"], "changed");
    assert_eq!(world.through().await.1, None, "the org cannot say up to when all is visible");
    assert_eq!(world.ledger().await["resources"]["GET sobjects/{object}/updated"], Value::Null);
    assert_eq!(world.ledger().await["resources"]["GET sobjects/{object}/deleted"], Value::Null);
    let many: Vec<Value> =
        ids[3..40].iter().map(|id| json!({"op": "hard_delete", "object": "Account", "id": id})).collect();
    world.write(Value::Array(many)).await;
    world.at(1_800).await;
    world.sync().await.unwrap_err();
    assert_eq!(world.went(&ids[3..40]).await, [""; 37]);
    let report = world.ask(Asked { allow_gone: true, ..Asked::default() }).await.unwrap();
    assert_eq!(report.run.deleted, 37);
}

async fn login_history_is_found_by_the_time_of_the_login(db: Db) {
    let mut world = World::bare(db).await;
    world.engine.care.compare_every = Duration::from_secs(100_000_000);
    world.mapping = world.map(&all_of("LoginHistory")).await.id;
    world.sync().await.unwrap();
    let before = world.rows().await.len();
    world.at(900).await;
    let info = world.info();
    let other = crate::world::connect(&info.login_url, &info.client_id, &info.client_secret, &info.refresh_token);
    other.limits().await.unwrap();
    world.sync().await.unwrap();
    assert_eq!(world.rows().await.len(), before + 1);
    world.assert_in_step().await;
}
