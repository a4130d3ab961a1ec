//! Alerts as whoever runs a business meets them: something fails at the org, and a receiver hears of it.

mod channels;
mod sending;

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
use crate::parts::part;
use crate::world::{Browser, World};

on_both!(
    s09_a_revoked_grant_is_one_event_and_one_alert_and_reconnecting_ends_it,
    a_failing_sync_is_told_until_somebody_has_seen_it,
);

const QUIET: Duration = Duration::from_secs(6 * 60 * 60);

pub(crate) fn to_loopback(settings: &mut Settings) {
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
    // Eight asked at once: each is served, by one run or by more.
    assert!(found.len() == 1 && (1..=8).contains(&found[0]["count"].as_i64().unwrap()), "{found:?}");
}
