//! What fails and what is held, as somebody who looks after a business sees it.

use reqwest::Method;
use serde_json::{Value, json};

use super::{made, one, scene};
use crate::database::Db;
use crate::world::{Browser, World};

on_both!(one_mappings_success_does_not_end_anothers_alert, much_that_is_gone_is_held_and_told_until_somebody_resumes,);

async fn fail_accounts(world: &World) {
    let body = json!([{"errorCode": "MALFORMED_QUERY", "message": "unexpected token"}]);
    let fault = json!({"path": "/services/data/", "query": "FROM Account", "status": 400, "times": 0, "body": body});
    world.control(Method::POST, "faults", fault).await;
}

async fn open(owner: &mut Browser) -> Vec<Value> {
    let (_, page) = owner.get("/api/notifications?state=open").await;
    page["items"].as_array().unwrap().clone()
}

async fn events(owner: &mut Browser) -> Vec<String> {
    let (_, page) = owner.get("/api/logs?limit=200").await;
    let mut events: Vec<String> =
        page["items"].as_array().unwrap().iter().map(|log| log["event"].as_str().unwrap().to_owned()).collect();
    events.retain(|event| event.starts_with("sync_"));
    events.reverse();
    events
}

async fn one_mappings_success_does_not_end_anothers_alert(db: Db) {
    let (world, mut owner, integration) = scene(db, 1).await;
    let run = async || world.nodes[0].service.run_all().await;
    let people =
        made(&mut owner, &integration, json!({"name": "people", "object": "Contact", "columns": ["LastName"]})).await;
    let firms =
        made(&mut owner, &integration, json!({"name": "firms", "object": "Account", "columns": ["Name"]})).await;
    fail_accounts(&world).await;
    // Whatever runs last: contacts and people succeed, firms fails.
    for n in 1..=2 {
        run().await;
        let (_, found) = owner.get(&format!("/api/integrations/{integration}")).await;
        assert_eq!(found["status"], "error", "{found}");
        assert!(found["status_reason"].as_str().unwrap().contains("MALFORMED_QUERY"), "{found}");
        let told = open(&mut owner).await;
        assert_eq!(
            (told.len(), &told[0]["kind"], &told[0]["count"]),
            (1, &json!("sync_failure"), &json!(n)),
            "{told:?}"
        );
        let failing = one(&mut owner, &firms).await;
        assert_eq!((&failing["failing"]["runs"], &failing["last_run"]["state"]), (&json!(n), &json!("failed")));
        let well = one(&mut owner, &people).await;
        assert_eq!((&well["failing"], &well["last_run"]["state"]), (&Value::Null, &json!("success")), "{well}");
    }
    world.control(Method::DELETE, "faults", json!({})).await;
    run().await;
    let (_, found) = owner.get(&format!("/api/integrations/{integration}")).await;
    assert_eq!((&found["status"], &found["status_reason"]), (&json!("active"), &Value::Null), "{found}");
    assert!(open(&mut owner).await.is_empty());
    assert_eq!(one(&mut owner, &firms).await["failing"], Value::Null);
    assert_eq!(events(&mut owner).await, ["sync_error", "sync_error", "sync_recovered"]);
    let (_, logs) = owner.get("/api/logs?event=sync_error").await;
    let detail = &logs["items"][0]["detail"];
    assert_eq!((&detail["mapping"], &detail["object"]), (&json!(firms), &json!("Account")), "{logs}");
    assert!(detail["rows_read"].is_i64() && detail["api_calls"].is_i64() && detail["hint"].is_string(), "{logs}");
}

async fn much_that_is_gone_is_held_and_told_until_somebody_resumes(db: Db) {
    let (world, mut owner, integration) = scene(db, 1).await;
    let run = async || world.nodes[0].service.run_all().await;
    let insert = |n: usize| json!({"op": "insert", "object": "Account", "fields": {"Name": format!("firm {n}")}});
    world.control(Method::POST, "records/write", json!({"writes": (0..120).map(insert).collect::<Vec<_>>()})).await;
    let id = made(&mut owner, &integration, json!({"name": "firms", "object": "Account", "columns": ["Name"]})).await;
    run().await;
    let rows = one(&mut owner, &id).await["rows"].as_u64().unwrap();
    let (_, page) = owner.get(&format!("/api/mappings/{id}/records?limit=100")).await;
    let ids: Vec<&Value> = page["items"].as_array().unwrap().iter().map(|record| &record["id"]).collect();
    world.control(Method::PUT, "sharing", json!({"object": "Account", "ids": ids, "visible": false})).await;
    let (status, _) = owner.post(&format!("/api/mappings/{id}/runs"), json!({"compare": true})).await;
    assert_eq!(status, 202);
    run().await;
    let found = one(&mut owner, &id).await;
    assert_eq!((&found["state"], &found["held"]["records"]), (&json!("paused"), &json!(100)), "{found}");
    assert_eq!((&found["held"]["of"], &found["rows"]), (&json!(rows), &json!(rows)), "nothing is marked");
    assert_eq!(found["next_run_at"], Value::Null);
    let (_, all) = owner.get("/api/mappings").await;
    let listed = all["mappings"].as_array().unwrap().iter().find(|mapping| mapping["id"] == json!(id)).unwrap();
    assert_eq!(listed["held"], found["held"]);
    let told = open(&mut owner).await;
    assert_eq!((told.len(), &told[0]["kind"], &told[0]["severity"]), (1, &json!("sync_held"), &json!("error")));
    assert!(told[0]["title"].as_str().unwrap().contains("100 of"), "{told:?}");
    let (_, connected) = owner.get(&format!("/api/integrations/{integration}")).await;
    assert_eq!(connected["status"], "active", "it works, and one mapping rests: {connected}");
    // Others run, and it stays so.
    run().await;
    assert_eq!(open(&mut owner).await.len(), 1);
    // The user was given the right back, in part: it is held again, as nothing else was said.
    let (status, resumed) = owner.post(&format!("/api/mappings/{id}/resume"), json!({})).await;
    assert_eq!((status.as_u16(), &resumed["held"]), (200, &Value::Null), "{resumed}");
    assert!(open(&mut owner).await.is_empty());
    run().await;
    assert_eq!(one(&mut owner, &id).await["held"]["records"], 100);
    assert_eq!(open(&mut owner).await.len(), 1);
    // They are really gone.
    let (status, _) = owner.post(&format!("/api/mappings/{id}/resume"), json!({"allow_gone": true})).await;
    assert_eq!(status, 200);
    run().await;
    let found = one(&mut owner, &id).await;
    assert_eq!((&found["state"], &found["rows"], &found["held"]), (&json!("synced"), &json!(rows - 100), &Value::Null));
    assert!(open(&mut owner).await.is_empty());
    assert_eq!(events(&mut owner).await, ["sync_held", "sync_held"]);
}
