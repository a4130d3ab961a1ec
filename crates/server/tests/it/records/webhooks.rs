//! Webhooks of changed records: signed, in order, again after a failure or a death, and never lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tieline_auth::{Clock, Secret};
use tieline_server::Service;
use tieline_server::outbound::webhook::{SigningSecret, verify};

use super::*;
use crate::outbound::webhooks::{Receiver, receiver};

on_both!(
    changes_are_told_in_order_and_signed,
    a_receiver_that_fails_gets_the_same_message_again_and_then_the_rest,
    what_a_node_sent_before_it_died_is_sent_again_under_the_same_id,
    a_webhook_that_is_given_up_raises_an_alert_and_goes_on_where_it_stopped,
);

pub(super) fn to_loopback(settings: &mut Settings) {
    settings.outbound.policy.allow = vec!["127.0.0.1".parse().unwrap()];
}

async fn answering(answer: impl Fn() -> Response + Send + Sync + 'static) -> (String, Receiver) {
    let (address, seen) = receiver("127.0.0.1", answer).await;
    (format!("http://{address}/in?key=planted"), seen)
}

async fn taking() -> (String, Receiver) {
    answering(|| StatusCode::NO_CONTENT.into_response()).await
}

/// A webhook with records, from the beginning on.
pub(super) async fn webhook(browser: &mut Browser, mapping: &Mapping, url: &str) -> (String, Secret) {
    let new = json!({"mapping_id": mapping.id, "url": url, "include_records": true, "start": "beginning", "fields": ["name"]});
    let (status, made) = browser.post("/api/webhooks", new).await;
    assert_eq!(status, 201, "{made}");
    assert!(!made.to_string().contains("planted"), "{made}");
    (made["id"].as_str().unwrap().to_owned(), Secret::new(made["secret"].as_str().unwrap()))
}

/// Ids and bodies of what was received; every signature fits.
fn heard(world: &World, seen: &Receiver, secret: &Secret) -> Vec<(String, Value)> {
    let secrets = [SigningSecret::parse(secret).unwrap()];
    let read = |(_, headers, body): &(_, axum::http::HeaderMap, bytes::Bytes)| {
        // The test's clock moves on.
        let id = verify(headers, body, &secrets, world.clock.now(), Duration::from_secs(86_400 * 30)).unwrap();
        (id.to_owned(), serde_json::from_slice(body).unwrap())
    };
    seen.seen.lock().unwrap().iter().map(read).collect()
}

fn names(body: &Value) -> String {
    let records = body["data"]["records"].as_array().unwrap_or_else(|| panic!("{body}")).iter();
    records.map(|record| record["id"].as_str().unwrap()).collect()
}

/// Waits for a receiver to have so many, and a little longer for one too many.
async fn arrived(seen: &Receiver, count: usize) {
    for _ in 0..500 {
        if seen.count() >= count {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(seen.count(), count);
}

async fn shown(browser: &mut Browser, id: &str) -> Value {
    browser.get(&format!("/api/webhooks/{id}")).await.1
}

/// Waits until a webhook is as it is to be.
async fn until(browser: &mut Browser, id: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    for _ in 0..500 {
        last = shown(browser, id).await;
        if holds(&last) {
            return last;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{last}");
}

async fn changes_are_told_in_order_and_signed(db: Db) {
    let (world, mut owner, mapped) = scene(db, 1, to_loopback).await;
    let tenant = world.db.store.own();
    let (url, seen) = taking().await;
    let (id, secret) = webhook(&mut owner, &mapped.0, &url).await;
    let (_, quiet) = owner.post("/api/webhooks", json!({"mapping_id": mapped.0.id, "url": url})).await;
    let quiet_id = quiet["id"].as_str().unwrap().to_owned();
    owner.call(Method::PATCH, &format!("/api/webhooks/{quiet_id}"), Some(json!({"enabled": false}))).await;
    // A notice in this process wakes the worker: nobody waits for the next look.
    let before = tokio::time::Instant::now();
    write(&tenant, &mapped, &["a", "b"], "x", 1).await;
    arrived(&seen, 1).await;
    assert!(before.elapsed() < Duration::from_secs(4), "{:?}", before.elapsed());
    write(&tenant, &mapped, &["b", "c"], "y", 2).await;
    arrived(&seen, 2).await;
    let told = heard(&world, &seen, &secret);
    let first = &told[0].1;
    assert_eq!((&first["type"], &first["timestamp"]), (&json!("records.changed"), &json!("2026-06-01T12:00:00.000Z")));
    let data = &first["data"];
    assert_eq!(data["mapping"], json!({"id": mapped.0.id, "name": "deals", "object": "Opportunity"}));
    assert_eq!((&data["run_id"], &data["webhook_id"]), (&json!(mapped.1.id), &json!(id)));
    assert_eq!(data["counts"], json!({"records": 2, "deleted": 0}));
    assert_eq!(data["records"][0]["fields"], json!({"name": "x"}));
    assert_eq!((names(first), names(&told[1].1)), ("ab".to_owned(), "bc".to_owned()));
    assert_eq!(told[1].1["data"]["from_cursor"], data["to_cursor"]);
    // What it says is what the feed says between the two.
    let path = format!("/api/mappings/{}/records", mapped.0.id);
    let (_, feed) =
        owner.get(&format!("{path}?changed_since={}", told[1].1["data"]["from_cursor"].as_str().unwrap())).await;
    assert_eq!(super::ids(&feed).concat(), "bc");
    assert_eq!(feed["next_cursor"], told[1].1["data"]["to_cursor"]);
    let there = until(&mut owner, &id, |there| there["last_success_at"].is_string()).await;
    assert_eq!(
        (&there["position"], &there["attempts"], &there["secret"]),
        (&feed["next_cursor"], &json!(0), &Value::Null)
    );
    assert_eq!((&there["leads_to"], &there["fields"]), (&json!("127.0.0.1"), &json!(["name"])));

    // Again, from the start: other ids, for they are meant to be taken anew.
    let (status, set) = owner.post(&format!("/api/webhooks/{id}/rewind"), json!({"to": "beginning"})).await;
    assert_eq!(status, 200, "{set}");
    arrived(&seen, 3).await;
    let again = heard(&world, &seen, &secret).pop().unwrap();
    assert_eq!(names(&again.1), "abc", "what is there now, at once");
    assert!(told.iter().all(|one| one.0 != again.0));
    for wrong in ["", "yesterday", "c-00000000-1-"] {
        let (status, problem) = owner.post(&format!("/api/webhooks/{id}/rewind"), json!({"to": wrong})).await;
        assert_eq!((status.as_u16(), &problem["code"]), (400, &json!("invalid_request")), "{problem}");
    }
    // Another secret, and a test, which moves nothing.
    let (_, rotated) = owner.post(&format!("/api/webhooks/{id}/rotate-secret"), json!({})).await;
    let new = Secret::new(rotated["secret"].as_str().unwrap());
    let (_, outcome) = owner.post(&format!("/api/webhooks/{id}/test"), json!({})).await;
    assert_eq!(outcome, json!({"delivered": true, "status": 204, "reason": null, "retryable": false}));
    arrived(&seen, 4).await;
    let test = seen.seen.lock().unwrap().pop().unwrap();
    for secret in [&secret, &new] {
        let secrets = [SigningSecret::parse(secret).unwrap()];
        verify(&test.1, &test.2, &secrets, world.clock.now(), Duration::from_secs(300)).unwrap();
    }
    assert_eq!(shown(&mut owner, &id).await["position"], feed["next_cursor"]);
    // The one that was switched off heard nothing, and hears what it has missed.
    owner.call(Method::DELETE, &format!("/api/webhooks/{id}"), None).await;
    owner.call(Method::PATCH, &format!("/api/webhooks/{quiet_id}"), Some(json!({"enabled": true}))).await;
    arrived(&seen, 4).await;
    let quiet_secret = Secret::new(quiet["secret"].as_str().unwrap());
    let last = seen.seen.lock().unwrap().pop().unwrap();
    seen.seen.lock().unwrap().clear();
    seen.seen.lock().unwrap().push(last);
    let last = heard(&world, &seen, &quiet_secret).pop().unwrap().1;
    assert_eq!(last["data"]["counts"], json!({"records": 3, "deleted": 0}));
    assert!(last["data"].get("records").is_none(), "{last}");
    let (_, audit) = owner.get("/api/audit?action=record_webhook.rewound").await;
    assert_eq!(audit["items"].as_array().unwrap().len(), 1, "{audit}");
}

async fn a_receiver_that_fails_gets_the_same_message_again_and_then_the_rest(db: Db) {
    let (world, mut owner, mapped) = scene(db, 1, to_loopback).await;
    let tenant = world.db.store.own();
    let asked = Arc::new(AtomicUsize::new(0));
    let (url, seen) = answering(move || match asked.fetch_add(1, Ordering::SeqCst) {
        0 => (StatusCode::INTERNAL_SERVER_ERROR, "database is down").into_response(),
        _ => StatusCode::OK.into_response(),
    })
    .await;
    let (id, secret) = webhook(&mut owner, &mapped.0, &url).await;
    write(&tenant, &mapped, &["a"], "x", 1).await;
    let waiting = until(&mut owner, &id, |there| there["last_error"].is_string()).await;
    assert!(
        waiting["last_error"].as_str().unwrap().contains("500 Internal Server Error: database is down"),
        "{waiting}"
    );
    assert!(!waiting.to_string().contains("planted"), "{waiting}");
    // What comes in between waits its turn.
    write(&tenant, &mapped, &["b"], "y", 2).await;
    arrived(&seen, 1).await;
    world.clock.advance(Duration::from_secs(7));
    tenant.store().records().ring();
    arrived(&seen, 3).await;
    let told = heard(&world, &seen, &secret);
    assert_eq!((&told[0].0, &told[0].1), (&told[1].0, &told[1].1), "the same message");
    assert_eq!((names(&told[1].1), names(&told[2].1)), ("a".to_owned(), "b".to_owned()));
    let there = until(&mut owner, &id, |there| there["last_error"].is_null()).await;
    assert_eq!((&there["attempts"], &there["next_attempt_at"]), (&json!(0), &Value::Null), "{there}");
}

/// At least once, and the receiver can tell that it is the same.
async fn what_a_node_sent_before_it_died_is_sent_again_under_the_same_id(db: Db) {
    let (world, mut owner, mapped) = scene(db, 1, to_loopback).await;
    let (url, seen) = taking().await;
    let (id, secret) = webhook(&mut owner, &mapped.0, &url).await;
    let World { db, mut nodes, clock, org } = world;
    // The node of the world stops; another one takes its place, and dies once the receiver has the message.
    nodes.clear();
    let mut settings = Settings::new("http://127.0.0.1:1".parse().unwrap());
    to_loopback(&mut settings);
    let node = || Service::with_clock(db.store.clone(), settings.clone(), clock.clone()).unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    // How it went cannot be noted, which is as if it had died right then.
    db.raw.failpoint("BEFORE UPDATE OF last_success_at ON record_webhooks", "").await;
    let tenant = db.store.own();
    write(&tenant, &mapped, &["a", "b"], "x", 1).await;
    let first = node();
    let dying = tokio::spawn(async move { first.work_records().await });
    arrived(&seen, 1).await;
    dying.abort();
    db.raw.mend("record_webhooks").await;
    write(&tenant, &mapped, &["c"], "x", 2).await;
    let second = node();
    let living = tokio::spawn(async move { second.work_records().await });
    arrived(&seen, 1).await;
    // The lease of the dead one has held until here.
    clock.advance(Duration::from_secs(120));
    db.store.records().ring();
    arrived(&seen, 3).await;
    living.abort();
    let world = World { db, nodes, clock, org };
    let told = heard(&world, &seen, &secret);
    assert_eq!((&told[0].0, &told[0].1), (&told[1].0, &told[1].1), "the same message");
    assert_eq!(names(&told[2].1), "c");
    let there = world.db.store.own().record_webhook(Uuid::parse_str(&id).unwrap()).await.unwrap().unwrap();
    assert_eq!(there.position.to_string(), told[2].1["data"]["to_cursor"].as_str().unwrap());
}

async fn a_webhook_that_is_given_up_raises_an_alert_and_goes_on_where_it_stopped(db: Db) {
    let (world, mut owner, mapped) = scene(db, 1, to_loopback).await;
    let tenant = world.db.store.own();
    let asked = Arc::new(AtomicUsize::new(0));
    let (url, seen) = answering(move || match asked.fetch_add(1, Ordering::SeqCst) {
        0 => StatusCode::GONE.into_response(),
        _ => StatusCode::OK.into_response(),
    })
    .await;
    let (id, secret) = webhook(&mut owner, &mapped.0, &url).await;
    write(&tenant, &mapped, &["a"], "x", 1).await;
    let off = until(&mut owner, &id, |there| there["enabled"] == false).await;
    assert!(off["disabled_reason"].as_str().unwrap().contains("410 Gone"), "{off}");
    let (_, told) = owner.get("/api/notifications?state=open&kind=webhook_failure").await;
    assert!(told["items"][0]["title"].as_str().unwrap().contains("127.0.0.1"), "{told}");
    let (_, logs) = owner.get("/api/logs?event=webhook_disabled").await;
    assert_eq!(logs["items"].as_array().unwrap().len(), 1, "{logs}");
    write(&tenant, &mapped, &["b"], "y", 2).await;
    arrived(&seen, 1).await;
    let (status, on) = owner.call(Method::PATCH, &format!("/api/webhooks/{id}"), Some(json!({"enabled": true}))).await;
    assert_eq!((status.as_u16(), &on["disabled_reason"]), (200, &Value::Null), "{on}");
    arrived(&seen, 2).await;
    assert_eq!(names(&heard(&world, &seen, &secret)[1].1), "ab", "nothing is lost");
    let (_, told) = owner.get("/api/notifications?state=resolved&kind=webhook_failure").await;
    assert_eq!(told["items"].as_array().unwrap().len(), 1, "{told}");
}

#[tokio::test]
async fn two_nodes_tell_each_change_once_and_in_order() {
    let Some(db) = Db::postgres().await else { return };
    let (world, mut owner, mapped) = scene(db, 2, to_loopback).await;
    let tenant = world.db.store.own();
    let (url, seen) = taking().await;
    let (id, secret) = webhook(&mut owner, &mapped.0, &url).await;
    for second in 0..30 {
        let own = format!("{second:02}");
        write(&tenant, &mapped, &[&own], "x", second).await;
        for node in &world.nodes {
            node.service.store().records().ring();
        }
    }
    until(&mut owner, &id, |there| there["position"].as_str().unwrap().ends_with("-1f-")).await;
    let told = heard(&world, &seen, &secret);
    let all: String = told.iter().map(|one| names(&one.1)).collect();
    assert_eq!(all, (0..30).map(|n| format!("{n:02}")).collect::<String>());
    for pair in told.windows(2) {
        assert_eq!(pair[0].1["data"]["to_cursor"], pair[1].1["data"]["from_cursor"]);
    }
}
