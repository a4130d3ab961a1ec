//! What people have a right to, over HTTP: erasure, access, retention; and a business's export and end.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tieline_store::tenancy;

use crate::accounts::member;
use crate::connect::connect;
use crate::contacts::ended;
use crate::database::Db;
use crate::world::{Browser, PASSWORD, World};

on_both!(
    an_erased_person_stays_away_until_that_is_lifted,
    a_person_is_named_in_one_way_by_an_admin,
    what_is_kept_no_longer_goes_once_a_day_on_one_node,
    an_export_is_the_owners_and_holds_no_secret,
    a_business_ends_at_its_orgs_and_then_here,
    an_account_ends_with_its_password,
);

async fn import(browser: &mut Browser, ids: &[&str]) -> Value {
    let (status, import) = browser.post("/api/integrations/salesforce/contacts", json!({"ids": ids})).await;
    assert_eq!(status, 202, "{import}");
    ended(browser, import["id"].as_str().unwrap()).await
}

async fn an_erased_person_stays_away_until_that_is_lifted(db: Db) {
    let world = World::new(db).await;
    let mut owner = world.owner().await;
    connect(&world, &mut owner).await;
    let (service, own) = (&world.nodes[0].service, world.db.store.own());
    service.run_all().await;
    assert_eq!(own.count_contacts().await.unwrap(), 20);
    let (_, page) = owner.get("/api/integrations/salesforce/contacts?limit=3").await;
    let contacts = page["items"].as_array().unwrap();
    let ids: Vec<&str> = contacts.iter().map(|contact| contact["id"].as_str().unwrap()).collect();
    assert_eq!(import(&mut owner, &ids).await["created"], 3);
    let email = contacts[0]["email"].as_str().unwrap().to_uppercase();
    let persons = json!([{"email": email}, {"source_type": "salesforce", "source_id": &ids[1][..15]}]);
    let asked = |preview: bool| json!({"persons": persons, "preview": preview});
    let (status, preview) = owner.post("/api/personal-data/erasures", asked(true)).await;
    assert_eq!(status, 200, "{preview}");
    assert!(preview["persons"][0]["erasure"].is_null());
    assert_eq!(preview["persons"][1]["removed"]["contacts"], 1, "an id of 15 characters is one of 18");
    assert_eq!(own.count_contacts().await.unwrap(), 20);
    let (_, kept) = owner.post("/api/personal-data/exports", json!({"email": email})).await;
    assert_eq!(
        (kept["leads"][0]["source_id"].as_str(), kept["import_rows"][0]["outcome"].as_str()),
        (Some(ids[0]), Some("created"))
    );

    let (_, erased) = owner.post("/api/personal-data/erasures", asked(false)).await;
    assert_eq!(erased["persons"][0]["removed"], preview["persons"][0]["removed"]);
    assert_eq!(
        (&erased["persons"][0]["removed"]["contacts"], &erased["persons"][0]["removed"]["leads"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(own.count_contacts().await.unwrap(), 18);
    // A sync reads the last minutes again, and so these records.
    service.run_all().await;
    assert_eq!(own.count_contacts().await.unwrap(), 18);
    let again = import(&mut owner, &ids).await;
    assert_eq!(
        (&again["skipped_erased"], &again["unchanged"], &again["pending"]),
        (&json!(2), &json!(1), &json!(0)),
        "{again}"
    );
    let path = format!("/api/imports/{}/rows?outcome=skipped_erased", again["id"].as_str().unwrap());
    assert_eq!(owner.get(&path).await.1["items"][0]["source_id"], "");
    let (_, kept) = owner.post("/api/personal-data/exports", json!({"email": email})).await;
    assert_eq!(
        kept,
        json!({"contacts": [], "leads": [], "import_rows": [], "logs": [], "invitations": [], "objects": []})
    );

    let (_, listed) = owner.get("/api/personal-data/erasures?limit=1").await;
    assert!(listed["next"].is_string() && listed["items"].as_array().unwrap().len() == 1, "{listed}");
    let path = format!("/api/personal-data/erasures/{}", erased["persons"][0]["erasure"].as_str().unwrap());
    assert_eq!(owner.call(Method::DELETE, &path, None).await.0, 204);
    assert_eq!(owner.call(Method::DELETE, &path, None).await.0, 404);
    assert_eq!(import(&mut owner, &ids[..2]).await["created"], 1, "the other one stays away");
    for (action, n) in [("contact.erased", 2), ("contact.erasure_lifted", 1), ("contact.read", 2)] {
        let (_, told) = owner.get(&format!("/api/audit?action={action}")).await;
        assert_eq!(told["items"].as_array().unwrap().len(), n, "{action}: {told}");
        assert!(!told.to_string().to_uppercase().contains(&email), "{told}");
    }
}

async fn a_person_is_named_in_one_way_by_an_admin(db: Db) {
    let world = World::new(db).await;
    let mut owner = world.owner().await;
    let mut of_team = member(&world, &mut owner, "member@example.com", "member").await;
    let (erasures, exports) = ("/api/personal-data/erasures", "/api/personal-data/exports");
    let one = json!({"email": "a@example.com"});
    assert_eq!(of_team.post(erasures, json!({"persons": [one]})).await.0, 403);
    assert_eq!(of_team.post(exports, one.clone()).await.0, 403);
    for path in [erasures, "/api/retention", "/api/export"] {
        assert_eq!(of_team.get(path).await.0, 403, "{path}");
    }
    for wrong in [
        json!({}),
        json!({"email": " "}),
        json!({"email": "a\u{0}b@example.com"}),
        json!({"source_id": "1"}),
        json!({"source_type": "csv"}),
        json!({"source_type": "x", "source_id": "1"}),
        json!({"email": "a@example.com", "source_type": "csv", "source_id": "1"}),
        json!({"email": "x".repeat(255)}),
    ] {
        assert_eq!(owner.post(exports, wrong.clone()).await.0, 400, "{wrong}");
        assert_eq!(owner.post(erasures, json!({"persons": [one, wrong]})).await.0, 400, "{wrong}");
    }
    assert_eq!(owner.post(erasures, json!({"persons": []})).await.0, 400);
    assert_eq!(owner.post(erasures, json!({"persons": vec![&one; 101]})).await.0, 400);
    assert_eq!(owner.get(erasures).await.1["items"], json!([]), "none of them did anything");
}

async fn what_is_kept_no_longer_goes_once_a_day_on_one_node(db: Db) {
    let world = World::with_nodes(db, 2).await;
    let mut owner = world.owner().await;
    let usual = json!({"log_days": 90, "audit_days": 400, "import_days": 90, "lead_days": null, "contact_days": null});
    assert_eq!(owner.get("/api/retention").await.1, usual);
    for (name, days) in
        [("log_days", 0), ("audit_days", 29), ("import_days", 3_651), ("lead_days", 29), ("contact_days", -1)]
    {
        let mut wrong = usual.clone();
        wrong[name] = json!(days);
        assert_eq!(owner.call(Method::PUT, "/api/retention", Some(wrong)).await.0, 400, "{name}");
    }
    let keeps = json!({"log_days": 5, "audit_days": 30, "import_days": 10, "lead_days": 60});
    let (status, kept) = owner.call(Method::PUT, "/api/retention", Some(keeps)).await;
    assert_eq!((status.as_u16(), &kept["lead_days"], &kept["contact_days"]), (200, &json!(60), &json!(null)), "{kept}");
    connect(&world, &mut owner).await;
    assert_ne!(owner.get("/api/logs").await.1["items"], json!([]));
    let sweep = async |days: u64| {
        world.clock.advance(Duration::from_secs(days * 24 * 3600));
        let nodes = [&world.nodes[0].service, &world.nodes[1].service];
        let (one, other) = tokio::join!(nodes[0].sweep(), nodes[1].sweep());
        let swept: Vec<_> = [one.unwrap(), other.unwrap()].into_iter().flatten().collect();
        assert_eq!(swept.len(), 1, "one node sweeps: {swept:?}");
        assert!(nodes[1].sweep().await.unwrap().is_none(), "and once a day");
        swept[0][0].1
    };
    assert_eq!(sweep(1).await.logs, 0);
    assert!(sweep(5).await.logs > 0);
    // More than 14 days without a request: the session has ended, and is gone.
    let swept = sweep(30).await;
    assert!(swept.audit > 0, "{swept:?}");
    assert_eq!(world.db.raw.texts("SELECT CAST(count(*) AS text) FROM sessions").await, ["0"]);
    owner.sign_in("owner@example.com", PASSWORD).await;
    assert_eq!(owner.get("/api/logs").await.1["items"], json!([]));
    assert_eq!(owner.get("/api/audit/verify").await.1["whole"], true);
    let (_, told) = owner.get("/api/audit?action=retention.swept").await;
    assert!(told["items"].as_array().unwrap().iter().any(|entry| entry["detail"]["audit"].is_number()), "{told}");
}

async fn an_export_is_the_owners_and_holds_no_secret(db: Db) {
    let world = World::new(db).await;
    let mut owner = world.owner().await;
    let mut admin = member(&world, &mut owner, "admin@example.com", "admin").await;
    connect(&world, &mut owner).await;
    world.nodes[0].service.run_all().await;
    let app =
        json!({"name": "own app", "app": {"client_id": "3MVGCANARY0123456789", "client_secret": "CANARYSECRET0123"}});
    assert_eq!(owner.post("/api/integrations", app).await.0, 201);
    let (_, key) = owner.post("/api/keys", json!({"name": "k", "role": "viewer"})).await;
    let (_, invitation) = owner.post("/api/invitations", json!({"email": "x@example.com", "role": "viewer"})).await;
    assert_eq!(admin.get("/api/export").await.0, 403);
    let answer = owner.send(Method::GET, "/api/export", None).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
    let text = answer.text().await.unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |table: &str| lines.iter().filter(|line| line["table"] == table).count();
    assert_eq!((of("contacts"), of("users"), of("integrations")), (20, 2, 2));
    let link = invitation["link"].as_str().unwrap().split_once('#').unwrap().1;
    let secrets =
        ["CANARYSECRET", PASSWORD, key["key"].as_str().unwrap(), link, &world.org.info().client_secret, "argon2id"];
    for secret in secrets {
        assert!(!text.contains(secret), "{secret}");
    }
    assert_eq!(owner.get("/api/audit?action=business.exported").await.1["items"].as_array().unwrap().len(), 1);
}

async fn a_business_ends_at_its_orgs_and_then_here(db: Db) {
    let world = World::new(db).await;
    let mut owner = world.owner().await;
    let mut admin = member(&world, &mut owner, "admin@example.com", "admin").await;
    let (_, other) = owner.post("/api/businesses", json!({"name": "Other"})).await;
    connect(&world, &mut owner).await;
    world.nodes[0].service.run_all().await;
    let (_, session) = owner.get("/api/session").await;
    let acme = session["businesses"].as_array().unwrap().iter().find(|b| b["name"] == "Acme").unwrap().clone();
    let path = format!("/api/businesses/{}", acme["id"].as_str().unwrap());
    let delete = |name: &str| Some(json!({"name": name}));
    assert_eq!(admin.call(Method::DELETE, &path, delete("Acme")).await.0, 403);
    let mut stranger = world.browser();
    assert_eq!(stranger.call(Method::DELETE, &path, delete("Acme")).await.0, 401);
    let elsewhere = format!("/api/businesses/{}", tieline_store::Uuid::nil());
    assert_eq!(owner.call(Method::DELETE, &elsewhere, delete("Acme")).await.0, 404);
    for wrong in ["acme", "Other", ""] {
        assert_eq!(owner.call(Method::DELETE, &path, delete(wrong)).await.0, 400, "{wrong}");
    }
    let alive = world.ledger().await["refresh_families"]["alive"].as_u64().unwrap();
    // An org that cannot be told is named, and nothing is gone.
    world.control(Method::POST, "faults", json!({"path": "/services/oauth2/revoke", "status": 503, "times": 50})).await;
    let (status, problem) = owner.call(Method::DELETE, &path, delete("Acme")).await;
    assert_eq!((status.as_u16(), problem["code"].as_str()), (409, Some("orgs_not_told")), "{problem}");
    assert_eq!(world.db.store.own().count_contacts().await.unwrap(), 20);
    world.control(Method::DELETE, "faults", json!({})).await;
    let (status, report) = owner.call(Method::DELETE, &path, delete("Acme")).await;
    assert_eq!((status.as_u16(), &report["complete"]), (200, &json!(true)), "{report}");
    assert_eq!(report["integrations"][0]["ended_at_org"], true);
    let families = world.ledger().await["refresh_families"]["alive"].as_u64().unwrap();
    assert_eq!(families, alive - 1, "the org was told");
    for table in tenancy::tables_of_tenants() {
        let of = if table == "businesses" { "id" } else { "business_id" };
        let sql = format!("SELECT CAST(count(*) AS text) FROM {table} WHERE {of} = '{}'", acme["id"].as_str().unwrap());
        assert_eq!(world.db.raw.texts(&sql).await, ["0"], "{table}");
    }
    assert_eq!(owner.call(Method::DELETE, &path, delete("Acme")).await.0, 404);
    let (_, session) = owner.get("/api/session").await;
    assert_eq!(session["businesses"], json!([{"id": other["id"], "name": "Other", "role": "owner"}]));
    assert_eq!(admin.get("/api/session").await.1["businesses"], json!([]));
    assert_eq!(owner.get("/api/audit/verify").await.1["whole"], true);
    // The next start makes no ghost of it.
    world.nodes[0].service.run_all().await;
    assert_eq!(world.db.place.open().await.own().integrations().await.unwrap().len(), 0);
}

async fn an_account_ends_with_its_password(db: Db) {
    let world = World::new(db).await;
    let mut owner = world.owner().await;
    let mut leaving = member(&world, &mut owner, "leaving@example.com", "admin").await;
    let delete = |password: &str| Some(json!({"password": password}));
    let (status, problem) = owner.call(Method::DELETE, "/api/account", delete(PASSWORD)).await;
    assert_eq!((status.as_u16(), problem["code"].as_str()), (409, Some("last_owner")), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("Acme"));
    for wrong in [delete("another password"), Some(json!({}))] {
        let (status, problem) = leaving.call(Method::DELETE, "/api/account", wrong).await;
        assert_eq!((status.as_u16(), problem["code"].as_str()), (403, Some("wrong_credentials")), "{problem}");
    }
    let other_browser = leaving.clone();
    assert_eq!(leaving.call(Method::DELETE, "/api/account", delete(PASSWORD)).await.0, 204);
    assert!(leaving.cookies.is_empty());
    assert_eq!(other_browser.clone().get("/api/session").await.0, 401);
    assert_eq!(leaving.sign_in("leaving@example.com", PASSWORD).await.0, 401);
    let (_, team) = owner.get("/api/members").await;
    assert!(!team.to_string().contains("leaving"), "{team}");
    assert_eq!(owner.get("/api/audit?action=member.removed").await.1["items"].as_array().unwrap().len(), 1);
    member(&world, &mut owner, "leaving@example.com", "viewer").await;
}
