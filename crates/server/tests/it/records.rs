//! Records as programs outside meet them: read, followed, and told of by webhooks.

mod documents;
mod webhooks;

use reqwest::Method;
use serde_json::{Value, json};
use tieline_server::Settings;
use tieline_store::mappings::{Mapping, MappingStep, NewMapping, Spent, Standing};
use tieline_store::object_tables::{Change, Column, ColumnKind, Deletion, Rows};
use tieline_store::{Run, Tenant, Uuid};

use crate::connect::connect;
use crate::database::{Db, now};
use crate::world::{Browser, World};

on_both!(
    records_are_read_filtered_and_followed,
    what_is_wrong_with_a_query_is_told,
    whoever_may_not_sees_nothing,
    contacts_that_were_synced_are_read_alike,
);

const KINDS: [(&str, ColumnKind); 4] = [
    ("name", ColumnKind::Text),
    ("amount", ColumnKind::Number),
    ("closed", ColumnKind::Date),
    ("extra", ColumnKind::Json),
];

/// Rows, as a run writes them.
async fn written(tenant: &Tenant, run: &Run, mapping: &Mapping, rows: Rows) {
    let standing = Standing::default();
    let step = MappingStep {
        rows: rows.into(),
        change: Change::Rows,
        standing: &standing,
        spent: Spent::default(),
        errors: &[],
    };
    tenant.commit_rows(run, mapping, step, now()).await.unwrap();
}

/// A mapping into a table of this name, and a run that writes to it.
pub(crate) async fn mapped(tenant: &Tenant, integration: Uuid, table: &str) -> (Mapping, Run) {
    let columns = KINDS.map(|(name, kind)| Column { name: name.to_owned(), kind }).to_vec();
    let new = NewMapping { name: table, object: "Opportunity", table, columns, definition: &json!({}) };
    let mapping = tenant.create_mapping(integration, &new, now()).await.unwrap();
    let run = tenant.start_mapping_run(&mapping, now()).await.unwrap();
    (mapping, run)
}

/// Writes these ids, as one step of that second.
pub(crate) async fn write(tenant: &Tenant, (mapping, run): &(Mapping, Run), ids: &[&str], name: &str, second: i64) {
    let mut rows = Rows::new(KINDS.len());
    for (n, id) in ids.iter().enumerate() {
        let mut row = rows.row();
        row.text(0, name);
        row.text(1, &format!("{n}.50"));
        row.int(2, 20_605);
        row.text(3, r#"{"a":1}"#);
        row.end(id, Some(second * 1_000), None, None);
    }
    written(tenant, run, mapping, rows).await;
}

/// A world with an integration and a mapping.
pub(crate) async fn scene(
    db: Db,
    nodes: usize,
    change: impl FnOnce(&mut Settings),
) -> (World, Browser, (Mapping, Run)) {
    let world = World::with_settings(db, nodes, change).await;
    let mut owner = world.owner().await;
    let integration = connect(&world, &mut owner).await;
    let id = Uuid::parse_str(integration["id"].as_str().unwrap()).unwrap();
    let mapped = mapped(&world.db.store.own(), id, "deals").await;
    (world, owner, mapped)
}

fn ids(page: &Value) -> Vec<&str> {
    page["items"]
        .as_array()
        .unwrap_or_else(|| panic!("{page}"))
        .iter()
        .map(|item| item["id"].as_str().unwrap())
        .collect()
}

async fn records_are_read_filtered_and_followed(db: Db) {
    let (world, mut owner, mapped) = scene(db, 1, |_| {}).await;
    let tenant = world.db.store.own();
    let (_, all) = owner.get("/api/mappings").await;
    let all = all["mappings"].as_array().unwrap();
    let contacts = all.iter().find(|mapping| mapping["name"] == "contacts").unwrap();
    assert_eq!((&contacts["table"], &contacts["columns"][8]["name"]), (&"contacts".into(), &"custom_fields".into()));
    let mapping = all.iter().find(|mapping| mapping["name"] != "contacts").unwrap();
    assert_eq!(
        (&mapping["name"], &mapping["object"], &mapping["state"]),
        (&json!("deals"), &json!("Opportunity"), &json!("initial"))
    );
    assert_eq!(mapping["columns"][2], json!({"name": "closed", "kind": "date"}));
    let path = format!("/api/mappings/{}/records", mapped.0.id);
    let mut get = async |query: &str| {
        let (status, page) = owner.get(&format!("{path}{query}")).await;
        assert_eq!(status, 200, "{query}: {page}");
        page
    };
    let empty = get("").await;
    assert_eq!((ids(&empty).len(), &empty["has_more"]), (0, &json!(false)));
    write(&tenant, &mapped, &["a", "b", "c"], "first", 1).await;
    let page = get("?limit=2").await;
    assert_eq!((ids(&page), &page["has_more"]), (vec!["a", "b"], &json!(true)));
    assert_eq!(
        page["items"][1],
        json!({"id": "b", "deleted": null, "master_id": null, "stamp": "1970-01-01T00:00:01.000Z",
            "synced_at": "2026-06-01T12:00:00.000Z",
            "fields": {"name": "first", "amount": 1.5, "closed": "2026-06-01", "extra": {"a": 1}}})
    );
    let rest = get(&format!("?cursor={}", page["next_cursor"].as_str().unwrap())).await;
    assert_eq!((ids(&rest), &rest["has_more"]), (vec!["c"], &json!(false)));
    // From the end of the pass on, what changes.
    let since = rest["next_cursor"].as_str().unwrap().to_owned();
    assert_eq!(ids(&get(&format!("?changed_since={since}")).await).len(), 0);
    write(&tenant, &mapped, &["b", "d"], "second", 2).await;
    let mut rows = Rows::new(KINDS.len());
    rows.row().end("a", Some(9_000), Some(Deletion::Deleted), None);
    written(&tenant, &mapped.1, &mapped.0, rows).await;
    let changed = get(&format!("?changed_since={since}&fields=name")).await;
    assert_eq!(ids(&changed), ["b", "d", "a"]);
    assert_eq!(changed["items"][2]["deleted"], "deleted");
    assert_eq!(changed["items"][0]["fields"], json!({"name": "second"}));
    assert_eq!(ids(&get(&format!("?cursor={since}")).await), ["b", "d", "a"], "a cursor is a cursor");
    // An empty feed gives a cursor, too.
    assert_eq!(
        ids(&get(&format!("?changed_since={}", empty["next_cursor"].as_str().unwrap())).await),
        ["c", "b", "d", "a"]
    );
    for (query, expected) in [
        ("", "bcd"),
        ("?deleted=include", "abcd"),
        ("?deleted=only", "a"),
        ("?order=change", "cbda"),
        ("?order=change&deleted=exclude", "cbd"),
        ("?eq.name=second", "bd"),
        ("?eq.name=second&gte.amount=1.5", "d"),
        ("?prefix.name=sec&lt.closed=2026-06-02", "bd"),
        ("?in.id=a,c,d&null.amount=false", "cd"),
        ("?eq.name=%27%20OR%201%3D1%20--", ""),
        ("?changed_since=2026-06-01T12:00:00Z", "cbda"),
        ("?changed_since=2026-06-01T14:00:01%2B02:00", ""),
    ] {
        assert_eq!(ids(&get(query).await).concat(), expected, "{query}");
    }
    let (status, one) = owner.get(&format!("{path}/a?fields=amount")).await;
    assert_eq!((status.as_u16(), &one["deleted"], &one["fields"]), (200, &json!("deleted"), &json!({"amount": null})));
    let (status, problem) = owner.get(&format!("{path}/z")).await;
    assert_eq!((status.as_u16(), &problem["code"]), (404, &json!("not_found")));
}

async fn what_is_wrong_with_a_query_is_told(db: Db) {
    let (world, mut owner, mapped) = scene(db, 1, |_| {}).await;
    let path = format!("/api/mappings/{}/records", mapped.0.id);
    for (query, status, code, hint) in [
        ("eq.nmae=x", 422, "invalid_filter", "`name`"),
        ("eqq.name=x", 422, "invalid_filter", "`eq`"),
        ("fields=amuont", 422, "invalid_filter", "`amount`"),
        ("eq.amount=much", 422, "invalid_filter", "as the answers have it"),
        ("eq.extra=%7B%7D", 422, "invalid_filter", "`null` alone"),
        ("limmit=5", 422, "invalid_filter", "`limit`"),
        ("integration=x", 422, "invalid_filter", ""),
        ("eq.%22%3B%20DROP%20TABLE%20deals=x", 422, "invalid_filter", ""),
        ("limit=0", 400, "invalid_request", ""),
        ("cursor=c-00000000-1-", 400, "invalid_request", ""),
    ] {
        let (found, problem) = owner.get(&format!("{path}?{query}")).await;
        assert_eq!((found.as_u16(), problem["code"].as_str()), (status, Some(code)), "{query}: {problem}");
        assert!(hint.is_empty() || problem["hint"].as_str().unwrap().contains(hint), "{query}: {problem}");
    }
    // A database that was set back has not come to a reader's place.
    write(&world.db.store.own(), &mapped, &["a"], "x", 1).await;
    let (_, page) = owner.get(&format!("{path}?order=change")).await;
    let ahead = page["next_cursor"].as_str().unwrap().replace("-2-", "-9-");
    let (status, problem) = owner.get(&format!("{path}?cursor={ahead}")).await;
    assert_eq!((status.as_u16(), &problem["code"]), (410, &json!("cursor_ahead")), "{problem}");
}

async fn whoever_may_not_sees_nothing(db: Db) {
    let (world, mut owner, mapped) = scene(db, 1, |_| {}).await;
    write(&world.db.store.own(), &mapped, &["a"], "x", 1).await;
    let id = mapped.0.id;
    let (_, made) = owner.post("/api/keys", json!({"name": "reader", "role": "viewer"})).await;
    let key = made["key"].as_str().unwrap().to_owned();
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
    for path in [
        "/api/mappings",
        &format!("/api/mappings/{id}/records"),
        &format!("/api/mappings/{id}/records/a"),
        "/api/contacts",
    ] {
        assert_eq!(ask(Method::GET, path, None, Some(&key)).await, 200, "{path}");
        assert_eq!(ask(Method::GET, path, None, None).await, 401, "{path}");
    }
    // Webhooks are the admins'.
    let any = Uuid::now_v7();
    for (method, path, body) in [
        (Method::GET, "/api/webhooks".to_owned(), None),
        (Method::POST, "/api/webhooks".to_owned(), Some(json!({"mapping_id": id, "url": "https://example.com"}))),
        (Method::GET, format!("/api/webhooks/{any}"), None),
        (Method::PATCH, format!("/api/webhooks/{any}"), Some(json!({}))),
        (Method::DELETE, format!("/api/webhooks/{any}"), None),
        (Method::POST, format!("/api/webhooks/{any}/test"), None),
        (Method::POST, format!("/api/webhooks/{any}/rotate-secret"), None),
        (Method::POST, format!("/api/webhooks/{any}/rewind"), Some(json!({"to": "now"}))),
    ] {
        assert_eq!(ask(method.clone(), &path, body.clone(), Some(&key)).await, 403, "{method} {path}");
        assert_eq!(ask(method.clone(), &path, body, None).await, 401, "{method} {path}");
    }
    // Another business has none of it.
    let (_, made) = owner.post("/api/businesses", json!({"name": "Other"})).await;
    let other = made["id"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
    let user = world.db.store.account("owner@example.com").await.unwrap().unwrap().user.id;
    let membership = world.db.store.membership(user, Uuid::parse_str(&other).unwrap()).await.unwrap().unwrap();
    let digest = tieline_store::Digest::of("tl_other");
    let new = tieline_store::NewApiKey {
        name: "other",
        prefix: "tl_other",
        digest,
        role: tieline_store::Role::Owner,
        expires_at: None,
    };
    world.db.store.as_member(&membership).create_api_key(&new, now()).await.unwrap();
    for path in [format!("/api/mappings/{id}/records"), format!("/api/mappings/{id}/records/a")] {
        assert_eq!(ask(Method::GET, &path, None, Some("tl_other")).await, 404, "{path}");
    }
    let body = json!({"mapping_id": id, "url": "https://example.com"});
    assert_eq!(ask(Method::POST, "/api/webhooks", Some(body), Some("tl_other")).await, 404);
}

async fn contacts_that_were_synced_are_read_alike(db: Db) {
    let world = World::new(db).await;
    let mut owner = world.owner().await;
    let (status, problem) = owner.get("/api/contacts").await;
    assert_eq!((status.as_u16(), &problem["code"]), (409, &json!("not_connected")), "{problem}");
    let integration = connect(&world, &mut owner).await;
    world.nodes[0].service.run_all().await;
    let (mut found, mut query) = (Vec::new(), "?limit=7".to_owned());
    let cursor = loop {
        let (status, page) = owner.get(&format!("/api/contacts{query}")).await;
        assert_eq!(status, 200, "{page}");
        found.extend(page["items"].as_array().unwrap().clone());
        let next = page["next_cursor"].as_str().unwrap().to_owned();
        if page["has_more"] == false {
            break next;
        }
        query = format!("?limit=7&cursor={next}");
    };
    assert_eq!(found.len(), 20);
    let first = &found[0];
    let (id, email) = (first["id"].as_str().unwrap(), first["fields"]["email"].as_str().unwrap());
    assert_eq!(id.len(), 18);
    let of = format!("integration={}", integration["id"].as_str().unwrap());
    let (_, one) = owner.get(&format!("/api/contacts?eq.email={email}&{of}")).await;
    assert_eq!((ids(&one), &one["items"][0]), (vec![id], first));
    let (_, one) = owner.get(&format!("/api/contacts/{id}?{of}")).await;
    assert_eq!(one, *first);
    // Nothing has changed in the org, so the next run changes nothing here.
    world.nodes[0].service.run_all().await;
    let (_, page) = owner.get(&format!("/api/contacts?changed_since={cursor}")).await;
    assert_eq!((ids(&page).len(), page["next_cursor"].as_str()), (0, Some(cursor.as_str())));
    let (status, problem) = owner.get(&format!("/api/contacts?integration={}", Uuid::now_v7())).await;
    assert_eq!((status.as_u16(), &problem["code"]), (404, &json!("not_found")));
    let (status, problem) = owner.get("/api/contacts?eq.emial=x").await;
    assert_eq!((status.as_u16(), problem["hint"].as_str()), (422, Some("did you mean `email`?")));
}
