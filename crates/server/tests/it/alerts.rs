//! Alerts as whoever runs a business meets them: something fails at the org, and a receiver hears of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use reqwest::Method;
use serde_json::{Value, json};
use tieline_auth::{Clock, Secret};
use tieline_server::outbound::settings::Relay;
use tieline_server::outbound::webhook::{SigningSecret, TOLERANCE, verify};
use tieline_server::{Service, Settings};
use tieline_store::Uuid;

use crate::connect::connect;
use crate::database::Db;
use crate::outbound::mail::relay;
use crate::outbound::webhooks::{Names, Receiver, receiver};
use crate::world::{Browser, World};

on_both!(
    s09_a_revoked_grant_is_one_event_and_one_alert_and_reconnecting_ends_it,
    a_failing_sync_is_told_until_somebody_has_seen_it,
    roles_say_who_may_what_and_all_of_it_is_audited,
    the_orgs_calls_and_certificates_are_looked_at,
);

const QUIET: Duration = Duration::from_secs(6 * 60 * 60);

fn to_loopback(settings: &mut Settings) {
    settings.outbound.policy.allow = vec!["127.0.0.1".parse().unwrap()];
}

/// A receiver that takes everything.
async fn taking() -> (String, Receiver) {
    answering(|| StatusCode::NO_CONTENT.into_response()).await
}

async fn answering(answer: impl Fn() -> Response + Send + Sync + 'static) -> (String, Receiver) {
    let (address, seen) = receiver("127.0.0.1", answer).await;
    (format!("http://{address}/in?key=planted"), seen)
}

/// A webhook channel and its signing secret, told of these kinds.
async fn told_of(browser: &mut Browser, url: &str, kinds: &[&str]) -> (String, Secret) {
    let (status, made) =
        browser.post("/api/alerts/channels", json!({"name": "ops", "kind": "webhook", "url": url})).await;
    assert_eq!(status, 201, "{made}");
    let channel = made["id"].as_str().unwrap().to_owned();
    for kind in kinds {
        let (status, rule) = browser.post("/api/alerts/rules", json!({"kind": kind, "channels": [channel]})).await;
        assert_eq!(status, 201, "{rule}");
    }
    (channel, Secret::new(made["secret"].as_str().unwrap()))
}

/// Type and state of each message that was received, with the ids; every signature fits.
fn heard(world: &World, seen: &Receiver, secret: &Secret) -> Vec<(String, Value)> {
    let secrets = [SigningSecret::parse(secret).unwrap()];
    let seen = seen.seen.lock().unwrap();
    let read = seen.iter().map(|(_, headers, body)| {
        // The test's clock moves on.
        let id = verify(headers, body, &secrets, world.clock.now(), Duration::from_secs(86_400 * 30)).unwrap();
        (id.to_owned(), serde_json::from_slice(body).unwrap())
    });
    read.collect()
}

fn types(heard: &[(String, Value)]) -> Vec<&str> {
    heard.iter().map(|(_, body)| body["type"].as_str().unwrap()).collect()
}

/// Waits for a receiver to have so many, and a little longer for one too many.
async fn arrived(world: &World, seen: &Receiver, count: usize) {
    for _ in 0..500 {
        if seen.count() >= count {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ring(world);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(seen.count(), count);
}

fn ring(world: &World) {
    for node in &world.nodes {
        node.service.store().alerts().ring();
    }
}

async fn notifications(browser: &mut Browser, query: &str) -> Vec<Value> {
    let (status, page) = browser.get(&format!("/api/notifications{query}")).await;
    assert_eq!(status, 200, "{page}");
    page["items"].as_array().unwrap().clone()
}

/// Waits for the first message of a notification to come to such a state.
async fn message(browser: &mut Browser, world: &World, state: &str) -> Value {
    let mut last = Value::Null;
    for _ in 0..500 {
        if let Some(found) = notifications(browser, "").await.first() {
            let (_, one) = browser.get(&format!("/api/notifications/{}", found["id"].as_str().unwrap())).await;
            last = one["deliveries"][0].clone();
            if last["state"] == state {
                return last;
            }
        }
        ring(world);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no message is {state}: {last}");
}

/// The grant is ended at the org, with all of its sessions.
async fn revoke_grant(world: &World, id: &str) {
    let kept = world.db.store.own().open_credentials(Uuid::parse_str(id).unwrap()).await.unwrap().unwrap();
    let kept: Value = serde_json::from_slice(kept.expose()).unwrap();
    world.control(Method::POST, "tokens/revoke", json!({"refresh_token": kept["SF_REFRESH_TOKEN"]})).await;
    world.control(Method::POST, "tokens/revoke", json!({"all": true})).await;
}

async fn fail_queries(world: &World) {
    world
        .control(
            Method::POST,
            "faults",
            json!({"path": "/services/data/", "status": 400, "times": 0,
        "body": [{"errorCode": "MALFORMED_QUERY", "message": "unexpected token: hunter"}]}),
        )
        .await;
}

async fn s09_a_revoked_grant_is_one_event_and_one_alert_and_reconnecting_ends_it(db: Db) {
    let world = World::with_settings(db, 1, to_loopback).await;
    let mut owner = world.owner().await;
    let integration = connect(&world, &mut owner).await;
    let id = integration["id"].as_str().unwrap();
    let (url, seen) = taking().await;
    let (_, secret) = told_of(&mut owner, &url, &["auth_failure", "sync_failure"]).await;
    let (_, made) = owner.post("/api/keys", json!({"name": "program", "role": "member"})).await;
    let key = made["key"].as_str().unwrap().to_owned();
    revoke_grant(&world, id).await;

    let before = world.ledger().await["token_requests"]["refresh_token"].as_u64().unwrap_or(0);
    let base = world.nodes[0].url.clone();
    let callers = (0..40).map(|n| {
        let path = match n % 2 {
            0 => format!("{base}/api/connections/{id}/proxy/services/data/v67.0/limits"),
            _ => format!("{base}/api/integrations/salesforce/contacts?limit=1"),
        };
        let request = reqwest::Client::builder().build().unwrap().get(path).bearer_auth(&key);
        tokio::spawn(async move {
            let answer = request.send().await.unwrap();
            (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
        })
    });
    let callers: Vec<_> = callers.collect();
    for _ in 0..5 {
        world.nodes[0].service.run_all().await;
    }
    for caller in callers {
        let (status, problem) = caller.await.unwrap();
        assert_eq!((status, &problem["code"]), (409, &json!("needs_login")), "{problem}");
    }
    let import = json!({"ids": ["003000000000001AAA"]});
    let (status, import) = owner.post("/api/integrations/salesforce/contacts", import).await;
    assert_eq!(status, 202, "{import}");
    arrived(&world, &seen, 1).await;
    let spent = world.ledger().await["token_requests"]["refresh_token"].as_u64().unwrap_or(0) - before;
    assert!((1..=3).contains(&spent), "{spent} requests of 45 that failed: at most one a cool-down of 5, 10, 20 s");

    let found = notifications(&mut owner, "").await;
    assert_eq!(
        (found.len(), &found[0]["kind"], &found[0]["state"]),
        (1, &json!("auth_failure"), &json!("open")),
        "{found:?}"
    );
    assert!(found[0]["count"].as_i64().unwrap() >= 5, "{found:?}");
    let (_, logs) = owner.get("/api/logs?event=auth_failure").await;
    assert_eq!(logs["items"].as_array().unwrap().len(), 1, "one event: {logs}");
    let told = heard(&world, &seen, &secret);
    assert_eq!(types(&told), ["notification.opened"]);
    assert_eq!((&told[0].1["data"]["id"], &told[0].1["data"]["integration"]["id"]), (&found[0]["id"], &json!(id)));
    assert!(!told[0].1.to_string().contains("5Aep861"), "{}", told[0].1);

    // Somebody logs in: it is over, and that is told once, whatever runs then.
    assert_eq!(connect(&world, &mut owner).await["id"], id);
    arrived(&world, &seen, 2).await;
    for _ in 0..3 {
        world.nodes[0].service.run_all().await;
    }
    arrived(&world, &seen, 2).await;
    let told = heard(&world, &seen, &secret);
    assert_eq!(types(&told), ["notification.opened", "notification.resolved"]);
    assert_ne!(told[0].0, told[1].0);
    assert_eq!(notifications(&mut owner, "?state=resolved").await.len(), 1);
    assert!(notifications(&mut owner, "?state=open").await.is_empty());
}

async fn a_failing_sync_is_told_until_somebody_has_seen_it(db: Db) {
    let world = World::with_settings(db, 1, to_loopback).await;
    let mut owner = world.owner().await;
    let integration = connect(&world, &mut owner).await;
    let (url, seen) = taking().await;
    let (_, secret) = told_of(&mut owner, &url, &["sync_failure"]).await;
    let run = async || world.nodes[0].service.run_all().await;
    fail_queries(&world).await;
    for _ in 0..3 {
        run().await;
    }
    arrived(&world, &seen, 1).await;
    let (_, failing) = owner.get(&format!("/api/integrations/{}", integration["id"].as_str().unwrap())).await;
    assert_eq!(failing["status"], "error");
    world.clock.advance(QUIET - Duration::from_secs(1));
    run().await;
    arrived(&world, &seen, 1).await;
    world.clock.advance(Duration::from_secs(1));
    run().await;
    arrived(&world, &seen, 2).await;
    let found = notifications(&mut owner, "?kind=sync_failure&state=open").await.remove(0);
    assert_eq!(found["count"], 5, "{found}");
    let (status, seen_by) =
        owner.post(&format!("/api/notifications/{}/acknowledge", found["id"].as_str().unwrap()), json!({})).await;
    assert_eq!((status.as_u16(), &seen_by["state"]), (200, &json!("acknowledged")), "{seen_by}");
    for _ in 0..3 {
        world.clock.advance(QUIET);
        run().await;
    }
    arrived(&world, &seen, 2).await;
    world.control(Method::DELETE, "faults", json!({})).await;
    run().await;
    arrived(&world, &seen, 3).await;
    let told = heard(&world, &seen, &secret);
    assert_eq!(types(&told), ["notification.opened", "notification.reminder", "notification.resolved"]);
    let last = &told[2].1["data"];
    assert_eq!((&last["state"], &last["count"]), (&json!("resolved"), &json!(8)), "{last}");
    let (_, one) = owner.get(&format!("/api/notifications/{}", found["id"].as_str().unwrap())).await;
    let sent = one["deliveries"].as_array().unwrap();
    assert_eq!(
        sent.iter().map(|m| m["id"].as_str().unwrap()).collect::<Vec<_>>(),
        told.iter().map(|t| t.0.as_str()).collect::<Vec<_>>()
    );
    assert!(sent.iter().all(|m| m["state"] == "delivered" && m["status"] == 204), "{one}");
    let path = format!("/api/notifications/{}/acknowledge", found["id"].as_str().unwrap());
    let (status, problem) = owner.post(&path, json!({})).await;
    assert_eq!((status.as_u16(), &problem["code"]), (409, &json!("already_resolved")), "{problem}");
}

#[tokio::test]
async fn two_nodes_send_one_message() {
    let Some(db) = Db::postgres().await else { return };
    let world = World::with_settings(db, 2, to_loopback).await;
    let mut owner = world.owner().await;
    let integration = connect(&world, &mut owner).await;
    let (url, seen) = taking().await;
    let (_, secret) = told_of(&mut owner, &url, &["auth_failure"]).await;
    revoke_grant(&world, integration["id"].as_str().unwrap()).await;
    let runs = world.nodes.iter().flat_map(|node| (0..4).map(move |_| node.service.run_all()));
    futures_util::future::join_all(runs).await;
    arrived(&world, &seen, 1).await;
    assert_eq!(types(&heard(&world, &seen, &secret)), ["notification.opened"]);
    let found = notifications(&mut owner, "").await;
    assert_eq!((found.len(), &found[0]["count"]), (1, &json!(8)), "{found:?}");
}

#[tokio::test]
async fn a_receiver_that_fails_gets_the_same_message_again() {
    let world = World::with_settings(Db::sqlite().await, 1, to_loopback).await;
    let mut owner = world.owner().await;
    connect(&world, &mut owner).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let (url, seen) = answering(move || match asked.fetch_add(1, Ordering::SeqCst) {
        0 => (StatusCode::INTERNAL_SERVER_ERROR, "database is down").into_response(),
        _ => StatusCode::OK.into_response(),
    })
    .await;
    let (channel, secret) = told_of(&mut owner, &url, &["sync_failure"]).await;
    fail_queries(&world).await;
    world.nodes[0].service.run_all().await;
    arrived(&world, &seen, 1).await;
    let waiting = message(&mut owner, &world, "waiting").await;
    assert_eq!((&waiting["attempts"], &waiting["status"]), (&json!(1), &Value::Null), "{waiting}");
    assert!(waiting["error"].as_str().unwrap().contains("500 Internal Server Error: database is down"), "{waiting}");
    assert!(!waiting.to_string().contains("planted"), "{waiting}");
    let (_, view) = owner.get(&format!("/api/alerts/channels/{channel}")).await;
    assert!(view["last_error"].is_string() && view["last_success_at"].is_null(), "{view}");
    // Five seconds and up to a fifth more.
    world.clock.advance(Duration::from_secs(6));
    ring(&world);
    arrived(&world, &seen, 2).await;
    let told = heard(&world, &seen, &secret);
    assert_eq!((&told[0].0, &told[0].1), (&told[1].0, &told[1].1), "the same message");
    let times: Vec<_> = seen.seen.lock().unwrap().iter().map(|(_, h, _)| h["webhook-timestamp"].clone()).collect();
    assert_ne!(times[0], times[1], "each attempt has its own time");
    message(&mut owner, &world, "delivered").await;
    let (_, view) = owner.get(&format!("/api/alerts/channels/{channel}")).await;
    assert!(view["last_error"].is_null() && view["last_success_at"].is_string(), "{view}");
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_given_up_after_three_days_and_told_why() {
    let world = World::with_settings(Db::sqlite().await, 1, to_loopback).await;
    let mut owner = world.owner().await;
    connect(&world, &mut owner).await;
    // Nobody listens there any more.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/planted", listener.local_addr().unwrap());
    drop(listener);
    told_of(&mut owner, &url, &["sync_failure"]).await;
    fail_queries(&world).await;
    world.nodes[0].service.run_all().await;
    for attempt in 1..10 {
        loop {
            let waiting = message(&mut owner, &world, "waiting").await;
            if waiting["attempts"] == attempt && waiting["error"].is_string() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        world.clock.advance(Duration::from_secs(86_400 * 6 / 5));
    }
    let failed = message(&mut owner, &world, "failed").await;
    assert_eq!(failed["attempts"], 10, "{failed}");
    assert!(failed["error"].as_str().unwrap().starts_with("no answer from 127.0.0.1"), "{failed}");
    assert!(failed["ended_at"].is_string() && failed["next_attempt_at"].is_null(), "{failed}");
}

/// At least once, and the receiver can tell that it is the same.
#[tokio::test]
async fn what_a_node_sent_before_it_died_is_sent_again_under_the_same_id() {
    let world = World::with_settings(Db::sqlite().await, 1, to_loopback).await;
    let mut owner = world.owner().await;
    let integration = connect(&world, &mut owner).await;
    let id = integration["id"].as_str().unwrap();
    let (address, seen) = receiver("127.0.0.1", || StatusCode::OK.into_response()).await;
    let (_, secret) = told_of(&mut owner, &format!("http://{address}/"), &["auth_failure"]).await;
    let World { db, nodes, clock, org } = world;
    // The node of the world stops; another one takes its place, and dies once the receiver has the message.
    drop(nodes);
    let mut settings = Settings::new("http://127.0.0.1:1".parse().unwrap());
    to_loopback(&mut settings);
    let node = || Service::with_clock(db.store.clone(), settings.clone(), clock.clone()).unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    // How it went cannot be noted, which is as if it had died right then.
    db.raw.failpoint("BEFORE UPDATE OF ended_at ON alert_deliveries", "").await;
    let failure = tieline_store::alerts::Failure { needs_person: true, is_run: false, reason: "revoked", hint: "" };
    let tenant = db.store.own();
    tenant.note_failure(Uuid::parse_str(id).unwrap(), &failure, clock.now()).await.unwrap();
    let first = node();
    let dying = tokio::spawn(async move { first.work_alerts().await });
    for _ in 0..500 {
        if seen.count() == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    dying.abort();
    db.raw.mend("alert_deliveries").await;
    assert_eq!(seen.count(), 1);
    let second = node();
    let living = tokio::spawn(async move { second.work_alerts().await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(seen.count(), 1, "the lease of the dead one holds");
    clock.advance(Duration::from_secs(120));
    db.store.alerts().ring();
    for _ in 0..500 {
        if seen.count() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    living.abort();
    let seen = seen.seen.lock().unwrap().clone();
    let secrets = [SigningSecret::parse(&secret).unwrap()];
    let ids: Vec<_> = seen.iter().map(|(_, h, b)| verify(h, b, &secrets, clock.now(), TOLERANCE).unwrap()).collect();
    assert_eq!(ids.len(), 2);
    assert_eq!((ids[0], &seen[0].2), (ids[1], &seen[1].2));
    drop(org);
}

#[tokio::test]
async fn inner_places_are_refused_when_a_channel_is_made_and_when_it_is_sent_to() {
    let names = Names::new(&[&["127.0.0.1"], &["203.0.114.7"], &["127.0.0.1"]]);
    let resolver = names.clone();
    let world = World::with_settings(Db::sqlite().await, 1, |settings| {
        settings.outbound.names = Some(resolver);
    })
    .await;
    let mut owner = world.owner().await;
    connect(&world, &mut owner).await;
    for (url, why) in [
        ("https://169.254.169.254/latest/meta-data/planted", "metadata"),
        ("https://hooks.example.com@127.0.0.1/planted", "user name"),
        ("https://user@hooks.example.com/planted", "user name"),
        ("https://localhost/planted", "localhost"),
        ("http://hooks.example.com/planted", "only https"),
        ("https://0x7f.1/planted", "loopback"),
        // The name leads there now.
        ("https://hooks.example.com/planted", "leads to 127.0.0.1, a loopback address"),
    ] {
        for kind in ["webhook", "slack"] {
            if kind == "slack" && why.starts_with("leads") {
                continue;
            }
            let new = json!({"name": "x", "kind": kind, "url": url});
            let (status, problem) = owner.post("/api/alerts/channels", new).await;
            assert_eq!((status.as_u16(), &problem["code"]), (400, &json!("invalid_request")), "{url}: {problem}");
            let text = problem.to_string();
            assert!(text.contains(why) && !text.contains("planted"), "{url}: {problem}");
        }
    }
    // It leads to a public address when the channel is made, and inside when it is sent to.
    let (channel, _) = told_of(&mut owner, "https://hooks.example.com/planted", &["sync_failure"]).await;
    fail_queries(&world).await;
    world.nodes[0].service.run_all().await;
    let failed = message(&mut owner, &world, "failed").await;
    assert!(failed["error"].as_str().unwrap().contains("leads to 127.0.0.1, a loopback address"), "{failed}");
    assert_eq!(failed["attempts"], 1, "it can never succeed");
    let (status, tested) = owner.post(&format!("/api/alerts/channels/{channel}/test"), json!({})).await;
    assert_eq!((status.as_u16(), &tested["delivered"], &tested["retryable"]), (200, &json!(false), &json!(false)));
    // Nor can a channel be led there later.
    let path = format!("/api/alerts/channels/{channel}");
    let (status, problem) = owner.call(Method::PATCH, &path, Some(json!({"url": "https://10.0.0.1/"}))).await;
    assert_eq!((status.as_u16(), &problem["code"]), (400, &json!("invalid_request")), "{problem}");
}

async fn roles_say_who_may_what_and_all_of_it_is_audited(db: Db) {
    let world = World::with_settings(db, 1, to_loopback).await;
    let mut owner = world.owner().await;
    let (url, seen) = taking().await;
    let (channel, secret) = told_of(&mut owner, &url, &[]).await;
    let path = format!("/api/alerts/channels/{channel}");
    let (_, view) = owner.get(&path).await;
    assert_eq!((&view["leads_to"], view.get("secret")), (&json!("127.0.0.1"), None), "{view}");
    let (_, all) = owner.get("/api/alerts/channels").await;
    assert!(!all.to_string().contains("planted") && !all.to_string().contains("whsec_"), "{all}");
    let (status, tested) = owner.post(&format!("{path}/test"), json!({})).await;
    assert_eq!(
        (status.as_u16(), &tested),
        (200, &json!({"delivered": true, "status": 204, "reason": null, "retryable": false}))
    );
    let (status, rotated) = owner.post(&format!("{path}/rotate-secret"), json!({})).await;
    assert_eq!(status, 200, "{rotated}");
    let new = Secret::new(rotated["secret"].as_str().unwrap());
    owner.post(&format!("{path}/test"), json!({})).await;
    {
        let seen = seen.seen.lock().unwrap();
        let (_, headers, body) = &seen[1];
        for secret in [&secret, &new] {
            let secrets = [SigningSecret::parse(secret).unwrap()];
            verify(headers, body, &secrets, world.clock.now(), TOLERANCE).unwrap();
        }
        let old = [SigningSecret::parse(&new).unwrap()];
        verify(&seen[0].1, &seen[0].2, &old, world.clock.now(), TOLERANCE).unwrap_err();
    }
    let (status, _) = owner.call(Method::PATCH, &path, Some(json!({"name": "pager", "enabled": false}))).await;
    assert_eq!(status, 200);

    let (status, rule) = owner
        .post("/api/alerts/rules", json!({"kind": "api_budget", "percent": 90, "channels": [channel, channel]}))
        .await;
    assert_eq!((status.as_u16(), &rule["channels"], &rule["percent"]), (201, &json!([channel]), &json!(90)), "{rule}");
    let rule = format!("/api/alerts/rules/{}", rule["id"].as_str().unwrap());
    for wrong in [
        json!({"kind": "auth_failure", "percent": 50}),
        json!({"kind": "api_budget", "percent": 0}),
        json!({"kind": "api_budget", "percent": 101}),
        json!({"kind": "sync_failure", "quiet_seconds": 299}),
        json!({"kind": "storm"}),
        json!({"kind": "sync_failure", "channels": vec![Uuid::now_v7(); 21]}),
    ] {
        let (status, problem) = owner.post("/api/alerts/rules", wrong.clone()).await;
        assert_eq!((status.as_u16(), &problem["code"]), (400, &json!("invalid_request")), "{wrong}: {problem}");
    }
    for missing in [
        json!({"kind": "sync_failure", "channels": [Uuid::now_v7()]}),
        json!({"kind": "sync_failure", "integration": Uuid::now_v7()}),
    ] {
        assert_eq!(owner.post("/api/alerts/rules", missing).await.0, 404);
    }
    let (status, changed) = owner.call(Method::PATCH, &rule, Some(json!({"channels": [], "quiet_seconds": 300}))).await;
    assert_eq!(
        (status.as_u16(), &changed["channels"], &changed["percent"]),
        (200, &json!([]), &json!(90)),
        "{changed}"
    );

    connect(&world, &mut owner).await;
    fail_queries(&world).await;
    world.nodes[0].service.run_all().await;
    let found = notifications(&mut owner, "").await.remove(0);
    let one = format!("/api/notifications/{}", found["id"].as_str().unwrap());
    let mut keys = std::collections::BTreeMap::new();
    for role in ["viewer", "member", "admin"] {
        let (_, made) = owner.post("/api/keys", json!({"name": role, "role": role})).await;
        keys.insert(role, made["key"].as_str().unwrap().to_owned());
    }
    let http = reqwest::Client::builder().build().unwrap();
    let ask = async |role: &str, method: Method, path: &str| {
        let request = http.request(method, format!("{}{path}", owner.url)).bearer_auth(&keys[role]);
        request.json(&json!({})).send().await.unwrap().status().as_u16()
    };
    let acknowledge = format!("{one}/acknowledge");
    for (method, path, expected) in [
        (Method::GET, "/api/notifications", [200, 200, 200]),
        (Method::GET, one.as_str(), [200, 200, 200]),
        (Method::POST, acknowledge.as_str(), [403, 200, 200]),
        (Method::GET, "/api/alerts/channels", [403, 403, 200]),
        (Method::GET, path.as_str(), [403, 403, 200]),
        (Method::POST, "/api/alerts/channels", [403, 403, 400]),
        (Method::PATCH, path.as_str(), [403, 403, 200]),
        (Method::POST, &format!("{path}/test"), [403, 403, 200]),
        (Method::POST, &format!("{path}/rotate-secret"), [403, 403, 200]),
        (Method::GET, "/api/alerts/rules", [403, 403, 200]),
        (Method::POST, "/api/alerts/rules", [403, 403, 400]),
        (Method::PATCH, rule.as_str(), [403, 403, 200]),
        (Method::DELETE, rule.as_str(), [403, 403, 204]),
        (Method::DELETE, path.as_str(), [403, 403, 204]),
    ] {
        for (role, expected) in ["viewer", "member", "admin"].into_iter().zip(expected) {
            assert_eq!(ask(role, method.clone(), path).await, expected, "{role}: {method} {path}");
        }
    }
    for wrong in ["state=new", "kind=storm", "limit=0", "cursor=x"] {
        assert_eq!(owner.get(&format!("/api/notifications?{wrong}")).await.0, 400, "{wrong}");
    }
    let (_, entries) = owner.get("/api/audit?limit=200").await;
    let count = |action: &str, target: &str| {
        let of = |e: &&Value| e["action"] == action && e["target_type"] == target;
        entries["items"].as_array().unwrap().iter().filter(of).count()
    };
    for (action, target, expected) in [
        ("alert.created", "alert_channel", 1),
        ("alert.created", "alert_rule", 1),
        ("alert.updated", "alert_channel", 2),
        ("alert.updated", "alert_rule", 2),
        ("alert.key_rotated", "alert_channel", 2),
        ("alert.acknowledged", "notification", 1),
        ("alert.deleted", "alert_channel", 1),
        ("alert.deleted", "alert_rule", 1),
    ] {
        assert_eq!(count(action, target), expected, "{action} {target}");
    }
    assert!(!entries.to_string().contains("planted"));
}

async fn the_orgs_calls_and_certificates_are_looked_at(db: Db) {
    let world = World::with_settings(db, 1, to_loopback).await;
    let mut owner = world.owner().await;
    let integration = connect(&world, &mut owner).await;
    let path = format!("/api/integrations/{}", integration["id"].as_str().unwrap());
    let (url, seen) = taking().await;
    let (_, secret) = told_of(&mut owner, &url, &["api_budget", "certificate_expiry"]).await;
    let service = &world.nodes[0].service;

    let pem = std::fs::read_to_string(&world.org.info().certificate_file).unwrap();
    let (status, changed) = owner.call(Method::PATCH, &path, Some(json!({"certificate": pem}))).await;
    assert_eq!(status, 200, "{changed}");
    let end: jiff::Timestamp = changed["config"]["certificate"]["not_after"].as_str().unwrap().parse().unwrap();
    let wrong = json!({"certificate": "-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----"});
    assert_eq!(owner.call(Method::PATCH, &path, Some(wrong)).await.0, 400);
    assert!(notifications(&mut owner, "").await.is_empty(), "it is good for long");

    // The org has ten calls a day, and most of them are used.
    world.control(Method::PUT, "limits", json!({"daily_api_requests": 10})).await;
    while world.ledger().await["api_calls"].as_u64().unwrap() < 8 {
        owner.get("/api/integrations/salesforce/contacts?limit=1").await;
    }
    world.clock.advance(Duration::from_secs(31 * 60));
    assert!(service.look_around().await.unwrap());
    assert!(!service.look_around().await.unwrap(), "once in half an hour");
    arrived(&world, &seen, 1).await;
    let found = notifications(&mut owner, "?kind=api_budget").await;
    assert!(found.len() == 1 && found[0]["title"].as_str().unwrap().contains("% of its API calls"), "{found:?}");
    world.control(Method::PUT, "limits", json!({"daily_api_requests": 10_000})).await;
    service.run_all().await;
    arrived(&world, &seen, 2).await;

    let left = end.duration_since(world.clock.now());
    world.clock.advance(Duration::try_from(left).unwrap() - Duration::from_secs(6 * 86_400));
    assert!(service.look_around().await.unwrap());
    arrived(&world, &seen, 3).await;
    let found = notifications(&mut owner, "?kind=certificate_expiry").await;
    assert!(found.len() == 1 && found[0]["title"].as_str().unwrap().ends_with("ends in 6 days"), "{found:?}");
    assert_eq!(owner.call(Method::PATCH, &path, Some(json!({"certificate": ""}))).await.0, 200);
    arrived(&world, &seen, 4).await;
    let told: Vec<_> = seen
        .seen
        .lock()
        .unwrap()
        .iter()
        .map(|(_, _, body)| serde_json::from_slice::<Value>(body).unwrap()["type"].clone())
        .collect();
    let (opened, resolved) = (json!("notification.opened"), json!("notification.resolved"));
    assert_eq!(told, [opened.clone(), resolved.clone(), opened, resolved]);
    drop(secret);
    let (_, logs) = owner.get("/api/logs?event=certificate_expiring").await;
    assert_eq!(logs["items"].as_array().unwrap().len(), 1, "{logs}");
}

#[tokio::test]
async fn slack_and_mail_are_told_too() {
    let (port, said) = relay(None).await;
    let world = World::with_settings(Db::sqlite().await, 1, |settings| {
        to_loopback(settings);
        let (url, from) =
            (Secret::new(format!("smtp://127.0.0.1:{port}")), "tieline <alerts@tieline.example>".to_owned());
        settings.outbound.mail = Some(Relay { url, from });
    })
    .await;
    let mut owner = world.owner().await;
    connect(&world, &mut owner).await;
    let (url, seen) = taking().await;
    let slack = json!({"name": "chat", "kind": "slack", "url": url});
    let mail = json!({"name": "mail", "kind": "email", "to": "ops@example.com"});
    let mut channels = Vec::new();
    for new in [slack, mail] {
        let (status, made) = owner.post("/api/alerts/channels", new).await;
        assert!(status == 201 && made.get("secret").is_none(), "{made}");
        channels.push(made["id"].as_str().unwrap().to_owned());
    }
    for wrong in [
        json!({"name": "y", "kind": "email", "to": "ops"}),
        json!({"name": "y", "kind": "email"}),
        json!({"name": "y", "kind": "email", "url": url, "to": "a@b.de"}),
        json!({"name": "y", "kind": "slack", "to": "a@b.de"}),
    ] {
        assert_eq!(owner.post("/api/alerts/channels", wrong.clone()).await.0, 400, "{wrong}");
    }
    let (status, problem) = owner.post(&format!("/api/alerts/channels/{}/rotate-secret", channels[0]), json!({})).await;
    assert_eq!((status.as_u16(), &problem["code"]), (409, &json!("not_signed")), "{problem}");
    let (status, rule) = owner.post("/api/alerts/rules", json!({"kind": "sync_failure", "channels": channels})).await;
    assert_eq!(status, 201, "{rule}");
    fail_queries(&world).await;
    world.nodes[0].service.run_all().await;
    arrived(&world, &seen, 1).await;
    let body: Value = serde_json::from_slice(&seen.seen.lock().unwrap()[0].2).unwrap();
    assert!(body["text"].as_str().unwrap().starts_with("Error: the sync of `"), "{body}");
    for _ in 0..500 {
        if said.lock().unwrap().iter().any(|line| line == ".") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let said = said.lock().unwrap().join("\n");
    assert!(
        said.contains("RCPT TO:<ops@example.com>") && said.contains("Subject: [tieline] Error: the sync"),
        "{said}"
    );
    assert!(said.contains("Message-ID: <msg_"), "{said}");
    // Without a relay there is no such channel.
    let world = World::new(Db::sqlite().await).await;
    let mut owner = world.owner().await;
    let mail = json!({"name": "mail", "kind": "email", "to": "ops@example.com"});
    let (status, problem) = owner.post("/api/alerts/channels", mail).await;
    assert_eq!((status.as_u16(), &problem["code"]), (409, &json!("mail_not_configured")), "{problem}");
}
