//! Duplicates over HTTP: rules, pairs, and what members decide about them.

use reqwest::Method;
use serde_json::{Value, json};

use crate::accounts::member;
use crate::connect::connect;
use crate::contacts::ended;
use crate::database::Db;
use crate::world::{Browser, World};

on_both!(
    two_rows_become_one_and_two_again,
    rules_are_an_admins_and_are_checked,
    one_node_at_a_time_looks_once_a_minute,
    t17_a_merge_in_the_org_takes_its_leads_along,
);

async fn changed(world: &World, id: &str, fields: Value) {
    let write = json!({"op": "update", "object": "Contact", "id": id, "fields": fields});
    world.control(Method::POST, "records/write", json!({"writes": [write]})).await;
}

async fn import(owner: &mut Browser, ids: &[&str]) {
    let (status, import) = owner.post("/api/integrations/salesforce/contacts", json!({"ids": ids})).await;
    assert_eq!(status, 202, "{import}");
    ended(owner, import["id"].as_str().unwrap()).await;
}

/// The org's contacts, of which two have one address; both are leads.
async fn alike(world: &World, owner: &mut Browser) -> [String; 2] {
    connect(world, owner).await;
    let (_, page) = owner.get("/api/integrations/salesforce/contacts?limit=2").await;
    let id = |n: usize| page["items"][n]["id"].as_str().unwrap().to_owned();
    let ids = [id(0), id(1)];
    for id in &ids {
        changed(world, id, json!({"Email": "same@example.com", "Title": id})).await;
    }
    world.nodes[0].service.run_all().await;
    import(owner, &[&ids[0], &ids[1]]).await;
    ids
}

async fn open(owner: &mut Browser) -> Vec<Value> {
    owner.get("/api/duplicates?state=open&rule=email").await.1["items"].as_array().unwrap().clone()
}

async fn two_rows_become_one_and_two_again(db: Db) {
    let world = World::new(db).await;
    let mut owner = world.owner().await;
    let mut viewer = member(&world, &mut owner, "viewer@example.com", "viewer").await;
    alike(&world, &mut owner).await;
    let (status, scan) = owner.post("/api/duplicates/scan", json!({})).await;
    assert_eq!((status.as_u16(), &scan["done"]), (200, &json!(true)), "{scan}");
    let pairs = open(&mut owner).await;
    assert_eq!(pairs.len(), 2, "two contacts and two leads: {pairs:?}");
    let pair = pairs.iter().find(|pair| pair["kind"] == "lead").unwrap();
    assert_eq!(
        (&pair["rule"], &pair["agreed"], &pair["decided_by"]),
        (&json!("email"), &json!(["email"]), &Value::Null)
    );
    let path = format!("/api/duplicates/{}", pair["id"].as_str().unwrap());
    let (_, shown) = viewer.get(&path).await;
    let title = |n: usize| shown["sides"][n]["title"].as_str().unwrap().to_owned();
    assert!(shown["differing"].as_array().unwrap().contains(&json!("title")), "{shown}");
    let (keep, other) = (pair["rows"][0].as_str().unwrap(), pair["rows"][1].as_str().unwrap());
    for act in ["dismiss", "undo", "merge"] {
        let (status, _) = viewer.post(&format!("{path}/{act}"), json!({"keep": keep})).await;
        assert_eq!(status, 403, "{act}");
    }
    assert_eq!(viewer.post("/api/duplicates/scan", json!({})).await.0, 403);
    let merge = format!("{path}/merge");
    for wrong in [
        json!({}),
        json!({"keep": pair["id"]}),
        json!({"keep": keep, "fields": {"tags": "other"}}),
        json!({"keep": keep, "fields": {"title": "both"}}),
    ] {
        assert_eq!(owner.post(&merge, wrong.clone()).await.0, 400, "{wrong}");
    }
    let (status, merged) =
        owner.post(&merge, json!({"keep": keep, "fields": {"title": "other", "email": "keep"}})).await;
    assert_eq!(
        (status.as_u16(), &merged["state"], &merged["fields"]),
        (200, &json!("merged"), &json!(["title"])),
        "{merged}"
    );
    assert!(merged["decided_by"].as_str().unwrap().starts_with("user "), "{merged}");
    let (_, leads) = owner.get("/api/leads").await;
    assert_eq!(leads["items"].as_array().unwrap().len(), 1);
    assert_eq!(leads["items"][0]["title"], json!(title(1)));
    assert_eq!(owner.get(&format!("/api/leads/{other}")).await.1["merged_into"], keep);
    assert_eq!(owner.post(&merge, json!({"keep": keep})).await.1["code"], "decided");
    let (status, undone) = owner.post(&format!("{path}/undo"), json!({})).await;
    assert_eq!((status.as_u16(), &undone["state"]), (200, &json!("open")), "{undone}");
    let (_, leads) = owner.get("/api/leads").await;
    assert_eq!(leads["items"].as_array().unwrap().len(), 2);
    let (_, dismissed) = owner.post(&format!("{path}/dismiss"), json!({})).await;
    assert_eq!(dismissed["state"], "dismissed");
    owner.post("/api/duplicates/scan", json!({})).await;
    assert_eq!(open(&mut owner).await.len(), 1, "what was dismissed stays so");
    for action in ["duplicate.merged", "duplicate.undone", "duplicate.dismissed"] {
        let (_, told) = owner.get(&format!("/api/audit?action={action}")).await;
        assert_eq!(told["items"].as_array().unwrap().len(), 1, "{action}: {told}");
        assert!(!told.to_string().contains("same@example.com"), "{told}");
    }
    for wrong in ["?state=none", "?limit=0", "?cursor=x", &format!("?rule={}", "x".repeat(41))] {
        assert_eq!(owner.get(&format!("/api/duplicates{wrong}")).await.0, 400, "{wrong}");
    }
}

async fn rules_are_an_admins_and_are_checked(db: Db) {
    let world = World::new(db).await;
    let mut owner = world.owner().await;
    let mut of_team = member(&world, &mut owner, "member@example.com", "member").await;
    let path = "/api/match-rules";
    let (_, usual) = of_team.get(path).await;
    let names: Vec<&str> =
        usual["rules"].as_array().unwrap().iter().map(|rule| rule["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["email", "phone", "name_company"]);
    assert_eq!(of_team.call(Method::PUT, path, Some(usual.clone())).await.0, 403);
    let erp = json!({"name": "erp", "keys": ["external_id"], "field": "Erp__c", "action": "merge"});
    let wanted = json!({"rules": [erp], "default_region": "DE", "provider_rules": true});
    assert_eq!(owner.call(Method::PUT, path, Some(wanted.clone())).await, (200.try_into().unwrap(), wanted.clone()));
    assert_eq!(of_team.get(path).await.1, wanted);
    for wrong in [
        json!({}),
        json!({"rules": [{"name": "A", "keys": ["email"]}]}),
        json!({"rules": [{"name": "a", "keys": []}]}),
        json!({"rules": [{"name": "a", "keys": ["iban"]}]}),
        json!({"rules": [{"name": "a", "keys": ["email"], "action": "delete"}]}),
        json!({"rules": [{"name": "a", "keys": ["external_id"]}]}),
        json!({"rules": [], "default_region": "XX"}),
        json!({"rules": [], "other": 1}),
    ] {
        let (status, problem) = owner.call(Method::PUT, path, Some(wrong.clone())).await;
        assert_eq!(status, 400, "{wrong}: {problem}");
    }
    assert_eq!(owner.get(path).await.1, wanted);
    let (_, told) = owner.get("/api/audit?action=match_rules.changed").await;
    assert_eq!(told["items"].as_array().unwrap().len(), 1);
}

async fn one_node_at_a_time_looks_once_a_minute(db: Db) {
    let world = World::with_nodes(db, 2).await;
    let mut owner = world.owner().await;
    alike(&world, &mut owner).await;
    // The nodes look for themselves when they begin.
    world.clock.advance(std::time::Duration::from_secs(61));
    let [one, other] = [&world.nodes[0].service, &world.nodes[1].service];
    let (a, b) = tokio::join!(one.match_once(), other.match_once());
    let passes: Vec<_> = [a.unwrap(), b.unwrap()].into_iter().flatten().collect();
    assert_eq!(passes.len(), 1, "{passes:?}");
    assert_eq!(passes[0].iter().map(|(_, scan)| scan.found).max(), Some(2), "{passes:?}");
    assert_eq!(open(&mut owner).await.len(), 2);
    assert!(one.match_once().await.unwrap().is_none());
    world.clock.advance(std::time::Duration::from_secs(61));
    let again = other.match_once().await.unwrap().unwrap();
    assert!(again.iter().all(|(_, scan)| scan.looked_at == 0 && scan.done), "{again:?}");
}

/// As an org does it: the losers are deleted and name the winner.
async fn t17_a_merge_in_the_org_takes_its_leads_along(db: Db) {
    let world = World::new(db).await;
    let mut owner = world.owner().await;
    connect(&world, &mut owner).await;
    let service = &world.nodes[0].service;
    service.run_all().await;
    let (_, page) = owner.get("/api/integrations/salesforce/contacts?limit=4").await;
    let ids: Vec<&str> = page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect();
    import(&mut owner, &ids).await;
    world
        .control(Method::POST, "records/merge", json!({"object": "Contact", "winner": ids[0], "losers": &ids[1..3]}))
        .await;
    service.run_all().await;
    let (_, leads) = owner.get("/api/leads").await;
    let left: Vec<&str> =
        leads["items"].as_array().unwrap().iter().map(|lead| lead["source_id"].as_str().unwrap()).collect();
    assert_eq!(left.len(), 2, "{leads}");
    assert!(left.contains(&ids[0]) && left.contains(&ids[3]), "{left:?}");
    let (_, merged) = owner.get("/api/duplicates?state=merged&rule=salesforce").await;
    assert_eq!(merged["items"].as_array().unwrap().len(), 2, "{merged}");
    assert_eq!(merged["items"][0]["decided_by"], "salesforce");
}
