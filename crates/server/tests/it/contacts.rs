//! Contacts of the org, and leads that are made of them.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::connect::connect;
use crate::database::Db;
use crate::world::{Browser, World};

on_both!(contacts_are_paged_live_and_the_chosen_ones_become_leads_once, an_import_tells_of_each_contact);

/// Waits for an import to end.
pub(crate) async fn ended(browser: &mut Browser, id: &str) -> Value {
    for _ in 0..200 {
        let (_, import) = browser.get(&format!("/api/imports/{id}")).await;
        if !["waiting", "running"].contains(&import["state"].as_str().unwrap()) {
            return import;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the import does not end");
}

async fn contacts_are_paged_live_and_the_chosen_ones_become_leads_once(db: Db) {
    let world = World::new(db).await;
    let mut owner = world.owner().await;
    let (status, problem) = owner.get("/api/integrations/salesforce/contacts").await;
    assert_eq!((status.as_u16(), problem["code"].as_str()), (409, Some("not_connected")), "{problem}");
    connect(&world, &mut owner).await;
    let (mut ids, mut next) = (Vec::new(), String::new());
    loop {
        let (status, page) = owner.get(&format!("/api/integrations/salesforce/contacts?limit=7{next}")).await;
        assert_eq!(status, 200, "{page}");
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 7 && items.iter().all(|c| c["lead_id"].is_null()), "{page}");
        ids.extend(items.iter().map(|c| c["id"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(cursor) => next = format!("&cursor={cursor}"),
            None => break,
        }
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!((count, ids.len()), (20, 20), "each contact once");
    for wrong in ["limit=0", "limit=201", "cursor=x", "q=a", "integration=x"] {
        let (status, problem) = owner.get(&format!("/api/integrations/salesforce/contacts?{wrong}")).await;
        assert_eq!((status.as_u16(), problem["code"].as_str()), (400, Some("invalid_request")), "{wrong}: {problem}");
    }
    let chosen = json!({"ids": &ids[..5], "campaign": "spring", "tags": ["vip"]});
    let (status, import) = owner.post("/api/integrations/salesforce/contacts", chosen.clone()).await;
    assert_eq!(status, 202, "{import}");
    let import = ended(&mut owner, import["id"].as_str().unwrap()).await;
    assert_eq!((&import["state"], &import["created"]), (&json!("success"), &json!(5)), "{import}");
    let (_, again) = owner.post("/api/integrations/salesforce/contacts", chosen).await;
    let again = ended(&mut owner, again["id"].as_str().unwrap()).await;
    assert_eq!((&again["created"], &again["unchanged"]), (&json!(0), &json!(5)), "{again}");
    let (_, leads) = owner.get("/api/leads?campaign=spring&limit=3").await;
    assert_eq!(leads["items"].as_array().unwrap().len(), 3);
    assert_eq!(leads["items"][0]["tags"], json!(["vip"]));
    let (_, rest) = owner.get(&format!("/api/leads?campaign=spring&cursor={}", leads["next"].as_str().unwrap())).await;
    assert_eq!(rest["items"].as_array().unwrap().len(), 2);
    let lead = &leads["items"][0];
    let (_, one) = owner.get(&format!("/api/leads/{}", lead["id"].as_str().unwrap())).await;
    assert_eq!(one, *lead);
    let (_, page) = owner.get("/api/integrations/salesforce/contacts?limit=200").await;
    let marked = page["items"].as_array().unwrap().iter().filter(|c| !c["lead_id"].is_null()).count();
    assert_eq!(marked, 5, "contacts that are leads say so");
}

async fn an_import_tells_of_each_contact(db: Db) {
    let world = World::new(db).await;
    let mut owner = world.owner().await;
    connect(&world, &mut owner).await;
    let (_, page) = owner.get("/api/integrations/salesforce/contacts?limit=2").await;
    let id = page["items"][0]["id"].as_str().unwrap();
    let chosen = json!({"ids": [id, &id[..15], "003000000000999AAA", "nonsense"]});
    let http = reqwest::Client::builder().build().unwrap();
    let (_, key) = owner.post("/api/keys", json!({"name": "x", "role": "member"})).await;
    let post = async |body: &Value, name: &str| {
        let request = http.post(format!("{}/api/integrations/salesforce/contacts", owner.url)).json(body);
        let request = request.bearer_auth(key["key"].as_str().unwrap()).header("idempotency-key", name);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let (status, first) = post(&chosen, "order-1").await;
    assert_eq!(status, 202, "{first}");
    let (status, second) = post(&chosen, "order-1").await;
    assert_eq!((status, &second["id"]), (200, &first["id"]));
    let (status, reused) = post(&json!({"ids": ["003000000000998AAA"]}), "order-1").await;
    assert_eq!((status, reused["code"].as_str()), (409, Some("idempotency_key_reused")), "{reused}");
    let mut reader = owner.clone();
    let import = ended(&mut reader, first["id"].as_str().unwrap()).await;
    assert_eq!(
        (&import["total"], &import["created"], &import["failed"]),
        (&json!(3), &json!(1), &json!(2)),
        "{import}"
    );
    let path = format!("/api/imports/{}/rows", first["id"].as_str().unwrap());
    let (_, rows) = reader.get(&format!("{path}?outcome=failed")).await;
    let reasons: Vec<&str> = rows["items"].as_array().unwrap().iter().map(|r| r["error"].as_str().unwrap()).collect();
    assert_eq!(reasons.len(), 2);
    assert!(reasons[0].contains("no such contact") && !reasons[1].is_empty(), "{reasons:?}");
    let (status, problem) =
        reader.post(&format!("/api/imports/{}/cancel", first["id"].as_str().unwrap()), json!({})).await;
    assert_eq!((status.as_u16(), problem["code"].as_str()), (409, Some("import_ended")));
    // Who did it stands in the log, and the log is whole.
    let (_, audit) = reader.get("/api/audit?action=import.created").await;
    assert_eq!(audit["items"][0]["actor_type"], "api_key", "{audit}");
    let (_, state) = reader.get("/api/audit/verify").await;
    assert_eq!(state["whole"], true, "{state}");
    let (_, logs) = reader.get("/api/logs?event=auth_success").await;
    assert_eq!(logs["items"].as_array().unwrap().len(), 1, "{logs}");
    assert_eq!(reader.call(Method::GET, "/api/logs?event=nothing", None).await.0, 400);
}
