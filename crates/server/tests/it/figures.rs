//! The pages of figures and people: health and usage, contacts, and duplicates with their rules.

use reqwest::{Method, Response};
use serde_json::json;

use crate::accounts::member;
use crate::connect::connect;
use crate::database::Db;
use crate::world::{Browser, World};

on_both!(
    figures_are_shown_and_those_of_others_are_not,
    contacts_are_looked_through_and_one_becomes_a_lead,
    rules_are_changed_by_a_form_that_keeps_what_was_typed,
);

const MARKUP: &str = "<script>alert(1)</script>";

async fn read(answer: Response) -> (u16, String) {
    (answer.status().as_u16(), answer.text().await.unwrap())
}

async fn page(browser: &mut Browser, path: &str) -> (u16, String) {
    read(browser.send(Method::GET, path, None).await).await
}

/// The token that forms of a page send.
async fn csrf(browser: &mut Browser) -> String {
    let (_, html) = page(browser, "/duplicates").await;
    html.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

async fn send(browser: &mut Browser, path: &str, fields: &[(&str, &str)]) -> Response {
    let token = csrf(browser).await;
    let mut fields = fields.to_vec();
    fields.push(("csrf", &token));
    browser.form(path, &fields).await
}

/// Another business of whoever it is, and in it.
async fn elsewhere(browser: &mut Browser) {
    let (status, business) = browser.post("/api/businesses", json!({"name": "Other"})).await;
    assert_eq!(status, 201, "{business}");
    let there = send(browser, "/business", &[("id", business["id"].as_str().unwrap())]).await;
    assert_eq!(there.status(), 303);
}

async fn figures_are_shown_and_those_of_others_are_not(db: Db) {
    let world = World::new(db).await;
    let mut owner = world.owner().await;
    let mut viewer = member(&world, &mut owner, "viewer@example.com", "viewer").await;
    let (status, html) = page(&mut viewer, "/usage").await;
    assert_eq!(status, 200);
    assert!(html.contains("No org is connected yet") && html.contains("Figures come with the first sync"), "{html}");
    connect(&world, &mut owner).await;
    world.nodes[0].service.run_all().await;
    for path in ["/usage", "/usage?days=30", "/usage?days=90", "/usage?days=none"] {
        let (status, html) = page(&mut viewer, path).await;
        assert_eq!(status, 200, "{path}");
        assert!(html.contains("20 rows in ") && html.contains("; none failed.") && html.contains("<svg "), "{html}");
        assert!(!html.contains(" style="), "the policy lets no style attribute in");
    }
    let (_, all) = owner.get("/api/integrations").await;
    let id = all["integrations"][0]["id"].as_str().unwrap().to_owned();
    let (_, html) = page(&mut viewer, &format!("/usage?connection={id}")).await;
    assert!(html.contains("20 rows in 7 days"), "{html}");
    let (_, html) = page(&mut viewer, "/").await;
    assert!(html.contains("20 rows in 7 days"), "the overview has them, too");
    // What is kept for less than what is asked for is said.
    let kept = json!({"log_days": 10, "audit_days": 400, "import_days": 90, "lead_days": null, "contact_days": null});
    assert_eq!(owner.call(Method::PUT, "/api/retention", Some(kept)).await.0, 200);
    assert!(page(&mut viewer, "/usage?days=30").await.1.contains("kept here for 10 days"));
    assert!(!page(&mut viewer, "/usage?days=7").await.1.contains("kept here for"));
    // Who is told of alerts is for admins.
    let channel = json!({"name": "on call", "kind": "webhook", "url": "https://example.com/hook"});
    let (status, made) = owner.post("/api/alerts/channels", channel).await;
    assert_eq!(status, 201, "{made}");
    assert!(page(&mut owner, "/usage").await.1.contains("Alerts and webhooks"));
    assert!(!page(&mut viewer, "/usage").await.1.contains("Alerts and webhooks"));
    elsewhere(&mut owner).await;
    assert_eq!(page(&mut owner, &format!("/usage?connection={id}")).await.0, 404);
    let (_, html) = page(&mut owner, "/usage").await;
    assert!(!html.contains("20 rows") && html.contains("Figures come with the first sync"), "{html}");
}

async fn contacts_are_looked_through_and_one_becomes_a_lead(db: Db) {
    let world = World::new(db).await;
    let mut owner = world.owner().await;
    let mut viewer = member(&world, &mut owner, "viewer@example.com", "viewer").await;
    assert!(page(&mut viewer, "/contacts").await.1.contains("No contacts yet"));
    connect(&world, &mut owner).await;
    let (_, found) = owner.get("/api/integrations/salesforce/contacts?limit=2").await;
    let id = |n: usize| found["items"][n]["id"].as_str().unwrap().to_owned();
    let fields = json!({"LastName": MARKUP, "Department": MARKUP});
    let renamed = json!({"op": "update", "object": "Contact", "id": id(0), "fields": fields});
    world.control(Method::POST, "records/write", json!({"writes": [renamed]})).await;
    world.nodes[0].service.run_all().await;
    let deleted = json!({"op": "delete", "object": "Contact", "id": id(1)});
    world.control(Method::POST, "records/write", json!({"writes": [deleted]})).await;
    world.nodes[0].service.run_all().await;

    let shown = |html: &str| html.matches("data-contact=").count();
    let (status, html) = page(&mut viewer, "/contacts").await;
    assert_eq!((status, shown(&html), html.contains("class=\"gone\"")), (200, 20, true), "{html}");
    assert_eq!(shown(&page(&mut viewer, "/contacts?gone=hidden").await.1), 19);
    let (_, html) = page(&mut viewer, "/contacts?q=ALERT(1)").await;
    assert_eq!((shown(&html), html.contains(MARKUP)), (1, false), "{html}");
    let address = html.split("href=\"/contacts/").nth(1).unwrap().split('"').next().unwrap();
    let address = format!("/contacts/{address}");
    let (status, html) = page(&mut viewer, &address).await;
    assert_eq!((status, html.contains(MARKUP), html.contains("Import as lead")), (200, false, false), "{html}");
    assert!(html.matches("&#60;script&#62;").count() >= 2, "the name and the department: {html}");
    let (_, html) = page(&mut viewer, &format!("/contacts?q={}", MARKUP.replace(['<', '>'], "%3C"))).await;
    assert!(html.contains("No contact is found by this") && !html.contains(MARKUP), "{html}");
    for wrong in ["/contacts?cursor=x", "/contacts/x"] {
        assert_eq!(page(&mut viewer, wrong).await.0, 400, "{wrong}");
    }
    for none in ["/contacts?connection=x", "/contacts/01890000-0000-7000-8000-000000000001"] {
        assert_eq!(page(&mut viewer, none).await.0, 404, "{none}");
    }

    let import = format!("{address}/import");
    assert_eq!(owner.form(&import, &[]).await.status(), 403, "a form without the token");
    assert_eq!(send(&mut viewer, &import, &[]).await.status(), 403);
    assert!(page(&mut owner, &address).await.1.contains("Import as lead"));
    let sent = send(&mut owner, &import, &[]).await;
    let path = sent.headers()["location"].to_str().unwrap().to_owned();
    assert_eq!((sent.status().as_u16(), path.starts_with("/imports/")), (303, true), "{path}");
    crate::contacts::ended(&mut owner, path.trim_start_matches("/imports/")).await;
    let (_, html) = page(&mut owner, &address).await;
    assert!(html.contains("/leads?q=") && !html.contains("Import as lead"), "{html}");
    elsewhere(&mut owner).await;
    assert_eq!(page(&mut owner, &address).await.0, 404);
    assert_eq!(send(&mut owner, &import, &[]).await.status(), 404);
    assert_eq!(shown(&page(&mut owner, "/contacts").await.1), 0);
}

async fn rules_are_changed_by_a_form_that_keeps_what_was_typed(db: Db) {
    let world = World::new(db).await;
    let mut owner = world.owner().await;
    let mut of_team = member(&world, &mut owner, "member@example.com", "member").await;
    let path = "/duplicates/rules";
    let rules = async |browser: &mut Browser| browser.get("/api/match-rules").await.1;
    let before = rules(&mut owner).await;
    let typed = [("name", MARKUP), ("field", ""), ("action", "show"), ("key", "0 email"), ("region", "de")];
    // Others may read them, and no more.
    let (status, html) = page(&mut of_team, path).await;
    assert!(status == 200 && html.contains("Admins of your team") && !html.contains("Save the rules"), "{html}");
    assert_eq!(send(&mut of_team, path, &typed).await.status(), 403);
    // What cannot be is said, and stands there as it was typed.
    let (status, html) = read(send(&mut owner, path, &typed).await).await;
    assert!(status == 400 && html.contains("cannot name a rule") && !html.contains(MARKUP), "{status} {html}");
    assert!(html.contains("&#60;script&#62;") && html.contains("value=\"DE\""), "{html}");
    // Another one above it, and that is not saved yet.
    let two = [
        ("name", "mail"),
        ("field", ""),
        ("action", "show"),
        ("key", "0 email"),
        ("name", "erp"),
        ("field", "Erp__c"),
        ("action", "merge"),
        ("key", "1 external_id"),
        ("provider", "yes"),
    ];
    let (status, html) = read(send(&mut owner, path, &[&two[..], &[("go", "up 1")]].concat()).await).await;
    assert!(status == 200 && html.find("value=\"erp\"") < html.find("value=\"mail\""), "{html}");
    let (_, html) = read(send(&mut owner, path, &[&two[..], &[("go", "out 0")]].concat()).await).await;
    assert!(!html.contains("value=\"mail\"") && html.contains("value=\"erp\""), "{html}");
    let (_, html) = read(send(&mut owner, path, &[&two[..], &[("go", "add")]].concat()).await).await;
    assert_eq!(html.matches("data-rule>").count(), 3);
    assert_eq!(rules(&mut owner).await, before);
    assert_eq!(send(&mut owner, path, &two).await.status(), 303);
    let saved = json!({
        "rules": [
            {"name": "mail", "keys": ["email"], "action": "show"},
            {"name": "erp", "keys": ["external_id"], "field": "Erp__c", "action": "merge"},
        ],
        "default_region": null, "provider_rules": true,
    });
    assert_eq!(rules(&mut owner).await, saved);
    assert!(page(&mut of_team, path).await.1.contains("the same Erp__c; merged without asking"));
    assert!(page(&mut of_team, "/duplicates").await.1.contains("merged by a rule"));
    // Looking for them is a member's.
    let looked = send(&mut of_team, "/duplicates/scan", &[]).await;
    assert_eq!(looked.headers()["location"], "/duplicates?said=none_found");
    let mut viewer = member(&world, &mut owner, "viewer@example.com", "viewer").await;
    assert_eq!(send(&mut viewer, "/duplicates/scan", &[]).await.status(), 403);
}
