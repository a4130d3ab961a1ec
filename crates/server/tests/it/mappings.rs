//! Mappings as programs outside meet them: tried, made, changed, run, held and deleted.

mod alerts;
mod measured;

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tieline_auth::Clock;
use tieline_store::mappings::Mapping;

use crate::connect::connect;
use crate::database::{Db, now};
use crate::world::{Browser, World};

on_both!(
    an_objects_fields_and_columns_are_told,
    a_definition_is_tried_before_anything_is_made,
    a_mapping_is_made_changed_and_deleted,
    what_is_asked_of_a_run_reaches_another_node,
    whoever_may_not_changes_nothing,
);

/// A world with an org that is connected; and its integration's id.
pub(crate) async fn scene(db: Db, nodes: usize) -> (World, Browser, String) {
    let world = World::with_nodes(db, nodes).await;
    let mut owner = world.owner().await;
    let integration = connect(&world, &mut owner).await;
    let id = integration["id"].as_str().unwrap().to_owned();
    (world, owner, id)
}

/// Makes a mapping; its id.
pub(crate) async fn made(owner: &mut Browser, integration: &str, definition: Value) -> String {
    let (status, made) =
        owner.post("/api/mappings", json!({"integration_id": integration, "definition": definition})).await;
    assert_eq!(status, 201, "{made}");
    made["id"].as_str().unwrap().to_owned()
}

pub(crate) async fn one(owner: &mut Browser, id: &str) -> Value {
    let (status, found) = owner.get(&format!("/api/mappings/{id}")).await;
    assert_eq!(status, 200, "{found}");
    found
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap_or_else(|| panic!("{list}")).iter().map(|one| one["name"].as_str().unwrap()).collect()
}

async fn an_objects_fields_and_columns_are_told(db: Db) {
    let (world, mut owner, id) = scene(db, 1).await;
    let (status, found) = owner.get(&format!("/api/integrations/{id}/objects?q=ACCOUNT")).await;
    assert_eq!(status, 200, "{found}");
    let account = found["objects"].as_array().unwrap().iter().find(|object| object["name"] == "Account").unwrap();
    assert_eq!(
        account,
        &json!({"name": "Account", "label": "Account", "custom": false, "queryable": true, "deletes_logged": true})
    );
    assert!(!names(&found["objects"]).contains(&"Lead"), "{found}");
    let (status, found) = owner.get(&format!("/api/integrations/{id}/objects/contact")).await;
    assert_eq!(status, 200, "{found}");
    assert_eq!((&found["name"], &found["cursor"]), (&json!("Contact"), &json!("SystemModstamp")));
    assert_eq!(found["deletes_marked"], true);
    let field = |name: &str| found["fields"].as_array().unwrap().iter().find(|f| f["name"] == name).unwrap().clone();
    let account = field("AccountId");
    assert_eq!(
        (&account["type"], &account["reference_to"], &account["relationship_name"]),
        (&json!("reference"), &json!(["Account"]), &json!("Account"))
    );
    assert!(!field("LeadSource")["picklist_values"].as_array().unwrap().is_empty());
    let column = found["columns"].as_array().unwrap().iter().find(|c| c["name"] == "last_name").unwrap();
    assert_eq!(column, &json!({"name": "last_name", "kind": "text", "sources": ["LastName"]}));
    let (status, problem) = owner.get(&format!("/api/integrations/{id}/objects/Contcat")).await;
    assert_eq!((status.as_u16(), problem["hint"].as_str()), (404, Some("did you mean `Contact`?")), "{problem}");
    let (status, _) = owner.get(&format!("/api/integrations/{}/objects", tieline_store::Uuid::now_v7())).await;
    assert_eq!(status, 404);
    // One that nobody has connected.
    let pending = world.db.store.own().create_integration("other", None, &json!({}), now()).await.unwrap().id;
    let (status, problem) = owner.get(&format!("/api/integrations/{pending}/objects")).await;
    assert_eq!((status.as_u16(), &problem["code"]), (409, &json!("not_connected")));
}

async fn a_definition_is_tried_before_anything_is_made(db: Db) {
    let (world, mut owner, id) = scene(db, 1).await;
    let definition = json!({"name": "people", "object": "Contact", "columns": [
        "LastName", {"field": "Phone", "transforms": [{"date": "%d.%m.%Y"}], "column": "day"}, {"constant": 7, "column": "seven"},
    ]});
    let body = json!({"integration_id": id, "definition": definition, "rows": 3});
    let (status, tried) = owner.post("/api/mappings/check", body).await;
    assert_eq!(status, 200, "{tried}");
    assert_eq!((&tried["valid"], &tried["flaws"], &tried["table"]), (&json!(true), &json!([]), &json!("people")));
    assert_eq!(names(&tried["columns"]), ["last_name", "day", "seven"]);
    let rows = tried["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 3);
    let cells = &rows[0]["cells"];
    assert_eq!(cells[0]["value"], cells[0]["sources"]["LastName"]);
    assert_eq!((&cells[2]["value"], &cells[2]["error"]), (&json!(7), &Value::Null));
    let wrong = rows.iter().filter(|row| !row["cells"][1]["error"].is_null()).count() as u64;
    assert!(wrong > 0 && tried["failed_cells"] == wrong, "{tried}");
    // All that is wrong, at once.
    let flawed = json!({"name": "people", "object": "Contact", "every": "1 2 3 4 99",
        "columns": ["LastNam", {"field": "Email", "transforms": ["lowr"]}, "Account.Nmae"]});
    let (status, tried) = owner.post("/api/mappings/check", json!({"integration_id": id, "definition": flawed})).await;
    assert_eq!((status.as_u16(), &tried["valid"]), (200, &json!(false)), "{tried}");
    let fixed =
        json!({"name": "people", "object": "Contact", "every": "1 2 3 4 99", "columns": ["LastNam", "Account.Nmae"]});
    let (_, tried) = owner.post("/api/mappings/check", json!({"integration_id": id, "definition": fixed})).await;
    let flaws: Vec<&str> = tried["flaws"].as_array().unwrap().iter().map(|f| f["at"].as_str().unwrap()).collect();
    assert_eq!(flaws, ["every", "columns[0].field", "columns[1].field"], "{tried}");
    assert_eq!(tried["flaws"][1]["hint"], "did you mean `LastName`?");
    assert_eq!((&tried["columns"], &tried["rows"]), (&json!([]), &json!([])));
    let (status, problem) =
        owner.post("/api/mappings", json!({"integration_id": id, "definition": tried_again()})).await;
    assert_eq!((status.as_u16(), &problem["code"]), (422, &json!("invalid_mapping")), "{problem}");
    assert_eq!(problem["hint"], "did you mean `LastName`?");
    let (status, _) =
        owner.post("/api/mappings/check", json!({"integration_id": id, "definition": {}, "rows": 51})).await;
    assert_eq!(status, 400);
    assert!(world.db.store.own().every_mapping().await.unwrap().iter().all(Mapping::is_contacts), "nothing was made");
}

fn tried_again() -> Value {
    json!({"name": "people", "object": "Contact", "columns": ["LastNam"]})
}

async fn a_mapping_is_made_changed_and_deleted(db: Db) {
    let (world, mut owner, integration) = scene(db, 1).await;
    let definition = json!({"name": "people", "object": "Contact", "every": "15m",
        "columns": ["LastName", {"field": "Phone", "transforms": [{"date": "%d.%m.%Y"}], "column": "day"}]});
    let id = made(&mut owner, &integration, definition.clone()).await;
    let body = json!({"integration_id": integration, "definition": definition});
    let (status, problem) = owner.post("/api/mappings", body).await;
    assert_eq!((status.as_u16(), &problem["code"]), (409, &json!("taken")), "{problem}");
    let found = one(&mut owner, &id).await;
    assert_eq!((&found["state"], &found["rows"], &found["pace"]), (&json!("initial"), &json!(0), &json!("every 900")));
    assert!(found["next_run_at"].is_string() && found["definition"]["columns"][0]["field"] == "LastName", "{found}");
    world.nodes[0].service.run_all().await;
    let found = one(&mut owner, &id).await;
    assert_eq!((&found["state"], &found["rows"], &found["failing"]), (&json!("synced"), &json!(20), &Value::Null));
    assert!(found["lag_seconds"].as_i64().unwrap() >= 0 && found["checkpoint"]["through"].is_string(), "{found}");
    // Its own pace begins with its first run, which makes a second one due.
    let (_, runs) = owner.get(&format!("/api/mappings/{id}/runs")).await;
    let runs = runs["items"].as_array().unwrap().clone();
    let (run, first) = (&runs[0], runs.last().unwrap());
    assert_eq!(run, &found["last_run"]);
    assert_eq!(
        (&first["state"], &first["inserted"], &first["mapping_id"]),
        (&json!("success"), &json!(20), &json!(id))
    );
    let (status, same) = owner.get(&format!("/api/runs/{}", run["id"].as_str().unwrap())).await;
    assert_eq!((status.as_u16(), &same), (200, run));
    // What did not fit, in pages.
    let (_, page) = owner.get(&format!("/api/mappings/{id}/errors?limit=4")).await;
    assert_eq!(page["items"].as_array().unwrap().len(), 4, "{page}");
    assert_eq!(page["items"][0]["column"], "day");
    assert!(runs.iter().any(|run| run["id"] == page["items"][0]["run_id"]), "{page}");
    let (_, next) = owner.get(&format!("/api/mappings/{id}/errors?cursor={}", page["next"].as_str().unwrap())).await;
    assert!(next["items"][0]["record_id"].as_str() > page["items"][3]["record_id"].as_str(), "{next}");

    // Another definition: a column more, one less, and one made otherwise.
    let changed = json!({"name": "persons", "object": "Contact", "table": "people",
        "columns": [{"field": "LastName", "transforms": ["upper"]}, "Email"]});
    let (status, answer) =
        owner.call(Method::PUT, &format!("/api/mappings/{id}"), Some(json!({"definition": changed}))).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!((&answer["name"], &answer["left_out"]), (&json!("persons"), &json!(["day"])));
    assert_eq!(answer["unfilled"], json!(["last_name"]));
    world.nodes[0].service.run_all().await;
    let found = one(&mut owner, &id).await;
    assert_eq!((names(&found["columns"]), &found["unfilled"]), (vec!["last_name", "email"], &json!([])), "{found}");
    assert_eq!((&found["state"], &found["lost"]), (&json!("synced"), &json!([])), "{found}");
    let (_, records) = owner.get(&format!("/api/mappings/{id}/records")).await;
    for record in records["items"].as_array().unwrap() {
        let name = record["fields"]["last_name"].as_str().unwrap();
        assert_eq!(name, name.to_uppercase(), "{record}");
    }
    let filled = |record: &&Value| record["fields"]["email"].is_string();
    assert!(records["items"].as_array().unwrap().iter().filter(filled).count() > 10, "{records}");
    assert_eq!(world.db.raw.texts("SELECT CAST(count(*) AS text) FROM people").await, ["20"]);
    for (wrong, at) in [
        (json!({"name": "persons", "object": "Account", "table": "people"}), "object"),
        (json!({"name": "persons", "object": "Contact"}), "table"),
    ] {
        let (status, problem) =
            owner.call(Method::PUT, &format!("/api/mappings/{id}"), Some(json!({"definition": wrong}))).await;
        assert_eq!((status.as_u16(), &problem["code"]), (422, &json!("invalid_mapping")), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(&format!(": {at}: ")), "{problem}");
    }
    let (_, runs) = owner.get(&format!("/api/mappings/{id}/runs?limit=1")).await;
    assert!(runs["items"].as_array().unwrap().len() == 1 && runs["next"].is_string(), "{runs}");

    // Its table goes with its name only.
    for confirm in ["", "?confirm=people", "?confirm="] {
        let (status, problem) = owner.call(Method::DELETE, &format!("/api/mappings/{id}{confirm}"), None).await;
        assert_eq!((status.as_u16(), &problem["code"]), (409, &json!("not_confirmed")), "{problem}");
        assert!(problem["hint"].as_str().unwrap().ends_with("?confirm=persons"), "{problem}");
    }
    let (status, _) = owner.call(Method::DELETE, &format!("/api/mappings/{id}?confirm=persons"), None).await;
    assert_eq!(status, 204);
    assert_eq!(owner.get(&format!("/api/mappings/{id}")).await.0, 404);
    let (_, audit) = owner.get("/api/audit?limit=200").await;
    let entries = audit["items"].as_array().unwrap();
    let of =
        |action: &str| entries.iter().find(|entry| entry["action"] == action).unwrap_or_else(|| panic!("{action}"));
    for action in ["mapping.created", "mapping.changed", "mapping.deleted"] {
        let entry = of(action);
        assert_eq!((&entry["actor_type"], &entry["target_id"]), (&json!("user"), &json!(id)), "{entry}");
    }
    assert_eq!(of("mapping.changed")["detail"]["added"], json!(["email"]));
}

async fn what_is_asked_of_a_run_reaches_another_node(db: Db) {
    let (world, mut owner, integration) = scene(db, 2).await;
    let id =
        made(&mut owner, &integration, json!({"name": "people", "object": "Contact", "columns": ["LastName"]})).await;
    world.nodes[0].service.run_all().await;
    let compared = one(&mut owner, &id).await["compared_at"].clone();
    assert!(compared.is_string());
    world.clock.advance(Duration::from_secs(30));
    let path = format!("/api/mappings/{id}/runs");
    let (status, first) = owner.post(&path, json!({"compare": true})).await;
    assert_eq!((status.as_u16(), &first["mapping_id"]), (202, &json!(id)), "{first}");
    let (_, second) = owner.post(&path, json!({"verify": true})).await;
    assert_eq!(second["ticket"].as_i64().unwrap(), first["ticket"].as_i64().unwrap() + 1);
    let found = one(&mut owner, &id).await;
    let asked = json!({"verify": true, "compare": true, "reload": false, "allow_gone": false});
    assert_eq!(found["requests"]["asked"], asked);
    assert!(found["requests"]["served"].as_i64() < first["ticket"].as_i64(), "{found}");
    assert_eq!(found["compared_at"], compared);
    // The other node has the work.
    world.nodes[1].service.run_all().await;
    let found = one(&mut owner, &id).await;
    assert_eq!(found["compared_at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap(), world.clock.now());
    assert!(found["requests"]["served"].as_i64() >= second["ticket"].as_i64(), "{found}");
    assert_eq!(found["requests"]["asked"]["compare"], false);
    // Once, and no second time.
    let compared = found["compared_at"].clone();
    world.clock.advance(Duration::from_secs(30));
    world.nodes[0].service.run_all().await;
    assert_eq!(one(&mut owner, &id).await["compared_at"], compared);
    // What rests is not run.
    let (status, paused) = owner.post(&format!("/api/mappings/{id}/pause"), json!({"reason": "we move"})).await;
    assert_eq!(
        (status.as_u16(), &paused["state"], &paused["state_reason"]),
        (200, &json!("paused"), &json!("we move"))
    );
    let (status, problem) = owner.post(&path, json!({"reload": true})).await;
    assert_eq!((status.as_u16(), &problem["code"]), (409, &json!("paused")), "{problem}");
    let (status, resumed) = owner.post(&format!("/api/mappings/{id}/resume"), json!({})).await;
    assert_eq!((status.as_u16(), &resumed["state"]), (200, &json!("synced")), "{resumed}");
    let (status, problem) = owner.post(&format!("/api/mappings/{id}/resume"), json!({})).await;
    assert_eq!((status.as_u16(), &problem["code"]), (409, &json!("not_paused")), "{problem}");
    let (_, audit) = owner.get("/api/audit?action=sync.triggered").await;
    assert_eq!(audit["items"].as_array().unwrap().len(), 2, "{audit}");
    assert_eq!(audit["items"][1]["detail"]["asked"]["compare"], true);
}

async fn whoever_may_not_changes_nothing(db: Db) {
    let (world, mut owner, integration) = scene(db, 1).await;
    let id =
        made(&mut owner, &integration, json!({"name": "people", "object": "Contact", "columns": ["LastName"]})).await;
    let mut keys = Vec::new();
    for role in ["viewer", "member"] {
        let (_, made) = owner.post("/api/keys", json!({"name": role, "role": role})).await;
        keys.push(made["key"].as_str().unwrap().to_owned());
    }
    // Somebody else's business.
    let (_, made) = owner.post("/api/businesses", json!({"name": "Other"})).await;
    let other = tieline_store::Uuid::parse_str(made["id"].as_str().unwrap()).unwrap();
    let user = world.db.store.account("owner@example.com").await.unwrap().unwrap().user.id;
    let membership = world.db.store.membership(user, other).await.unwrap().unwrap();
    let digest = tieline_store::Digest::of("tl_other");
    let role = tieline_store::Role::Owner;
    let new = tieline_store::NewApiKey { name: "other", prefix: "tl_other", digest, role, expires_at: None };
    world.db.store.as_member(&membership).create_api_key(&new, now()).await.unwrap();
    keys.push("tl_other".to_owned());
    let url = owner.url.clone();
    let ask = async |method: Method, path: &str, body: Option<Value>, key: Option<&str>| {
        let mut request = reqwest::Client::builder().build().unwrap().request(method, format!("{url}{path}"));
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        request.send().await.unwrap().status().as_u16()
    };
    let definition = json!({"name": "x", "object": "Contact"});
    let tried = json!({"integration_id": integration, "definition": definition});
    let of = |rest: &str| format!("/api/mappings/{id}{rest}");
    let objects = format!("/api/integrations/{integration}/objects");
    let (get, post) = (Method::GET, Method::POST);
    for (method, path, body, viewer, member, other) in [
        (get.clone(), of(""), None, 200, 200, 404),
        (get.clone(), of("/runs"), None, 200, 200, 404),
        (get.clone(), of("/errors"), None, 200, 200, 404),
        (get.clone(), objects.clone(), None, 403, 200, 404),
        (get.clone(), format!("{objects}/Contact"), None, 403, 200, 404),
        (post.clone(), "/api/mappings/check".to_owned(), Some(tried.clone()), 403, 200, 404),
        (post.clone(), "/api/mappings".to_owned(), Some(tried.clone()), 403, 403, 404),
        (Method::PUT, of(""), Some(json!({"definition": definition})), 403, 403, 404),
        (Method::DELETE, of("?confirm=people"), None, 403, 403, 404),
        (post.clone(), of("/pause"), Some(json!({})), 403, 403, 404),
        (post.clone(), of("/resume"), Some(json!({})), 403, 403, 404),
        (post.clone(), of("/runs"), Some(json!({"reload": true})), 403, 403, 404),
        (post.clone(), of("/runs"), Some(json!({"allow_gone": true})), 403, 403, 404),
        (post.clone(), of("/runs"), Some(json!({"verify": true})), 403, 202, 404),
    ] {
        for (key, expected) in keys.iter().zip([viewer, member, other]) {
            assert_eq!(ask(method.clone(), &path, body.clone(), Some(key)).await, expected, "{method} {path} {key}");
        }
        assert_eq!(ask(method.clone(), &path, body.clone(), None).await, 401, "{method} {path}");
    }
    world.nodes[0].service.run_all().await;
    let run = one(&mut owner, &id).await["last_run"]["id"].as_str().unwrap().to_owned();
    for (key, expected) in keys.iter().zip([200, 200, 404]) {
        assert_eq!(ask(Method::GET, &format!("/api/runs/{run}"), None, Some(key)).await, expected);
    }
    assert_eq!(world.db.store.own().every_mapping().await.unwrap().len(), 2, "with that of the contacts");
}
