//! Team, keys, settings, alerts and webhooks by their pages: who may what, and what is said to who may not.

mod account;
mod connection;
mod settings;
mod shown_once;

use reqwest::Method;
use serde_json::json;
use tieline_store::alerts::Failure;

use crate::accounts::member;
use crate::alerts::to_loopback;
use crate::database::{Db, now};
use crate::records::{mapped, scene};
use crate::world::{Browser, World};

on_both!(who_may_not_is_told_who_may, a_form_is_of_one_session_and_one_business, nothing_is_found_of_another_business);

/// A string that wants to be markup.
pub(super) const MARKUP: &str = "\"><script>alert(1)</script>{{7*7}}";

/// The answer to a form or a look.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) location: String,
    pub(super) cache: String,
    pub(super) body: String,
}

async fn read(response: reqwest::Response) -> Answer {
    let text = |name: &str| {
        let value = response.headers().get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let (status, location, cache) = (response.status().as_u16(), text("location"), text("cache-control"));
    Answer { status, location, cache, body: response.text().await.unwrap() }
}

pub(super) async fn look(browser: &mut Browser, path: &str) -> Answer {
    read(browser.send(Method::GET, path, None).await).await
}

/// The token of this session in this business, as its pages have it.
pub(super) async fn token(browser: &mut Browser) -> String {
    let page = look(browser, "/team").await.body;
    let rest = page.split("name=\"csrf\" value=\"").nth(1).unwrap_or_else(|| panic!("no form: {page}"));
    rest.split('"').next().unwrap().to_owned()
}

/// Sends a form, as the page does.
pub(super) async fn send(browser: &mut Browser, path: &str, fields: &[(&str, &str)]) -> Answer {
    let token = token(browser).await;
    let mut all = vec![("csrf", token.as_str())];
    all.extend(fields);
    read(browser.form(path, &all).await).await
}

/// What stands between two strings of a text, the first time.
pub(super) fn between<'t>(text: &'t str, from: &str, to: &str) -> &'t str {
    let rest = text.split_once(from).unwrap_or_else(|| panic!("no {from} in {text}")).1;
    rest.split_once(to).unwrap_or_else(|| panic!("no {to} behind {from}")).0
}

/// The secret that a page shows this once.
pub(super) fn once(page: &str) -> String {
    between(page, "data-once>", "</code>").replace("&#35;", "#").replace("&#x2f;", "/")
}

async fn who_may_not_is_told_who_may(db: Db) {
    let (world, mut owner, (mapping, _)) = scene(db, 1, to_loopback).await;
    let mut viewer = member(&world, &mut owner, "viewer@example.com", "viewer").await;
    let (_, made) = owner.post("/api/keys", json!({"name": "k", "role": "viewer"})).await;
    let key = made["id"].as_str().unwrap();
    let pages = [
        ("/team", 200),
        ("/settings", 200),
        ("/alerts", 200),
        ("/keys", 403),
        ("/settings/personal-data", 403),
        ("/alerts/channels", 403),
        ("/alerts/channels/new", 403),
        ("/alerts/rules", 403),
        ("/alerts/rules/new", 403),
        ("/webhooks", 403),
        ("/audit", 403),
    ];
    for (path, status) in pages {
        let page = look(&mut viewer, path).await;
        assert_eq!(page.status, status, "{path}: {}", page.body);
        assert!(page.body.contains("<nav class=\"side\""), "{path} has lost its frame");
        // What stands there for them: to be in light or dark, to sign out, to leave.
        let forms = page.body.matches("<form method=\"post\"").count();
        let theirs = ["/theme", "/sign-out", "/remove\""].map(|to| page.body.matches(to).count()).iter().sum::<usize>();
        assert_eq!(forms, theirs, "{path} has a button that does nothing for them: {}", page.body);
        if path != "/alerts" {
            assert!(page.body.contains("viewer"), "{path} does not say which role they have");
        }
        if status == 403 {
            assert!(page.body.contains("owner@example.com"), "{path} does not say who may");
        }
    }
    let team = look(&mut owner, "/team").await.body;
    let of = between(&team, "data-member=\"owner@example.com\"", "</tr>");
    assert!(of.contains("Cannot be taken out or changed"), "why is said before it is tried: {of}");
    let id = world.db.store.own().members().await.unwrap().remove(0).user.id;
    let mapping = mapping.id.to_string();
    let (keep, end) = (format!("/team/members/{id}/role"), format!("/keys/{key}/revoke"));
    let take_out = format!("/team/members/{id}/remove");
    let url = "https://hooks.example.com/";
    for (path, fields) in [
        ("/team", vec![("email", "x@example.com"), ("role", "viewer")]),
        (keep.as_str(), vec![("role", "viewer")]),
        (take_out.as_str(), vec![]),
        ("/keys", vec![("name", "x"), ("role", "viewer")]),
        ("/keys", vec![("after", key)]),
        (end.as_str(), vec![]),
        ("/settings/name", vec![("name", "Theirs")]),
        ("/settings/end", vec![("name", "Acme")]),
        ("/settings/retention", vec![("log_days", "1"), ("audit_days", "30"), ("import_days", "1"), ("sure", "yes")]),
        ("/settings/personal-data", vec![("who", "a@example.com"), ("go", "find")]),
        ("/settings/personal-data", vec![("who", "a@example.com"), ("again", "a@example.com"), ("go", "erase")]),
        ("/alerts/channels/new", vec![("kind", "webhook"), ("name", "x"), ("url", url)]),
        ("/alerts/rules/new", vec![("kind", "auth_failure"), ("quiet", "300")]),
        ("/webhooks", vec![("mapping", mapping.as_str()), ("url", url)]),
    ] {
        let answer = send(&mut viewer, path, &fields).await;
        assert_eq!(answer.status, 403, "{path}: {}", answer.body);
    }
    assert_eq!(owner.get("/api/keys").await.1["keys"].as_array().unwrap().len(), 1);
    assert_eq!(owner.get("/api/members").await.1["members"].as_array().unwrap().len(), 2);
    assert_eq!(owner.get("/api/retention").await.1["log_days"], 90);
    assert_eq!(owner.get("/api/session").await.1["businesses"][0]["name"], "Acme");
    // An admin makes nobody mightier than themselves, and is offered nothing of the kind.
    let mut admin = member(&world, &mut owner, "admin@example.com", "admin").await;
    let page = look(&mut admin, "/keys").await.body;
    assert!(page.contains("<option>admin</option>") && !page.contains("<option>owner</option>"), "{page}");
    let answer = send(&mut admin, "/keys", &[("name", "x"), ("role", "owner")]).await;
    assert_eq!(answer.status, 403, "{}", answer.body);
    let settings = look(&mut admin, "/settings").await.body;
    assert!(settings.contains("Owners can delete it") && !settings.contains("/settings/end"), "{settings}");
}

async fn a_form_is_of_one_session_and_one_business(db: Db) {
    let world = World::with_settings(db, 1, to_loopback).await;
    let mut owner = world.owner().await;
    let forms = ["/team", "/keys", "/settings/name", "/settings/retention", "/settings/end", "/settings/personal-data"];
    let others = ["/alerts/channels/new", "/alerts/rules/new", "/webhooks"];
    let fields = [("name", "x"), ("role", "viewer"), ("email", "x@example.com")];
    for path in forms.into_iter().chain(others) {
        for token in ["", "guessed"] {
            let mut all = vec![("csrf", token)];
            all.extend(fields);
            let answer = read(owner.form(path, &all).await).await;
            assert_eq!(answer.status, 403, "{path}: {}", answer.body);
            assert!(answer.body.contains("data-code=\"csrf\""), "{path}: {}", answer.body);
        }
    }
    for path in ["/account/password", "/account/delete", "/account/sessions/end-others"] {
        let all = [("csrf", "guessed"), ("current", "x"), ("new", "x"), ("again", "x"), ("password", "x")];
        assert_eq!(owner.form(path, &all).await.status(), 403, "{path}");
    }
    // A page that was opened in one business does nothing in the other.
    let here = token(&mut owner).await;
    let (_, other) = owner.post("/api/businesses", json!({"name": "Other"})).await;
    let there = format!("{}.{}", here.split_once('.').unwrap().0, other["id"].as_str().unwrap());
    let answer = read(owner.form("/keys", &[("csrf", &there), ("name", "x"), ("role", "viewer")]).await).await;
    assert_eq!(answer.status, 409, "{}", answer.body);
    assert_eq!(owner.get("/api/keys").await.1["keys"], json!([]));
}

async fn nothing_is_found_of_another_business(db: Db) {
    let (world, mut owner, (mapping, _)) = scene(db, 1, to_loopback).await;
    let channel = json!({"name": "ours", "kind": "slack", "url": "http://127.0.0.1:9/planted"});
    let (_, channel) = owner.post("/api/alerts/channels", channel).await;
    let (_, rule) = owner.post("/api/alerts/rules", json!({"kind": "sync_failure"})).await;
    let webhook = json!({"mapping_id": mapping.id, "url": "http://127.0.0.1:9/planted"});
    let (_, webhook) = owner.post("/api/webhooks", webhook).await;
    let (_, key) = owner.post("/api/keys", json!({"name": "ours", "role": "viewer"})).await;
    let (_, invitation) = owner.post("/api/invitations", json!({"email": "x@example.com", "role": "viewer"})).await;
    let tenant = world.db.store.own();
    let integration = tenant.integrations().await.unwrap().remove(0);
    let failure =
        Failure { needs_person: true, is_run: false, work: None, run: None, reason: "refused", hint: "log in" };
    tenant.note_failure(integration.id, &failure, now()).await.unwrap();
    let (_, found) = owner.get("/api/notifications").await;
    let alert = found["items"][0]["id"].as_str().unwrap().to_owned();
    let page = look(&mut owner, &format!("/alerts/{alert}")).await;
    assert_eq!(page.status, 200, "{}", page.body);
    assert!(page.body.contains(">Log in again</a>") && page.body.contains("log in"), "{}", page.body);
    let mut viewer = member(&world, &mut owner, "viewer@example.com", "viewer").await;
    let page = look(&mut viewer, &format!("/alerts/{alert}")).await;
    assert!(page.status == 200 && !page.body.contains(">Log in again</a>"), "{}", page.body);
    assert!(page.body.contains("Admins and owners can connect the org again"), "{}", page.body);

    // The owner of another business, who is no member of ours.
    let (_, other) = owner.post("/api/businesses", json!({"name": "Other"})).await;
    let id = |made: &serde_json::Value| made["id"].as_str().unwrap().to_owned();
    let mut eve = world.browser();
    eve.cookies = owner.cookies.clone();
    eve.cookies.insert("tieline_business".to_owned(), id(&other));
    let (channel, rule, webhook) = (id(&channel), id(&rule), id(&webhook));
    assert!(look(&mut eve, "/team").await.body.contains("Other"), "the other business is not shown");
    for path in [
        format!("/alerts/{alert}"),
        format!("/alerts/channels/{channel}"),
        format!("/alerts/rules/{rule}"),
        format!("/webhooks/{webhook}"),
    ] {
        assert_eq!(look(&mut eve, &path).await.status, 404, "{path}");
    }
    let change = [("go", "test"), ("name", "x"), ("quiet", "300"), ("number", "1"), ("role", "viewer")];
    let stranger = viewer.get("/api/session").await.1["user"]["id"].as_str().unwrap().to_owned();
    for path in [
        format!("/alerts/{alert}/acknowledge"),
        format!("/alerts/channels/{channel}"),
        format!("/alerts/channels/{channel}/delete"),
        format!("/alerts/rules/{rule}"),
        format!("/alerts/rules/{rule}/delete"),
        format!("/webhooks/{webhook}"),
        format!("/webhooks/{webhook}/delete"),
        format!("/keys/{}/revoke", id(&key)),
        format!("/team/invitations/{}/take-back", id(&invitation)),
        format!("/team/members/{stranger}/role"),
        format!("/team/members/{stranger}/remove"),
        format!("/settings/personal-data/{alert}/lift"),
    ] {
        assert_eq!(send(&mut eve, &path, &change).await.status, 404, "{path}");
    }
    let successor = id(&key);
    assert_eq!(send(&mut eve, "/keys", &[("after", &successor)]).await.status, 404);
    assert_eq!(look(&mut owner, &format!("/alerts/channels/{channel}")).await.status, 200);
    let (mapping, _) = mapped(&world.db.store.own(), integration.id, "still_ours").await;
    let fields = [("mapping", mapping.id.to_string()), ("url", "http://127.0.0.1:9/".to_owned())];
    let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(send(&mut eve, "/webhooks", &fields).await.status, 404, "a webhook of another's mapping");
}
