//! Webhooks: claimed by one, moved on by what was taken, and never past what was not.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tieline_store::alerts::{AlertKind, NotificationFilter, NotificationState};
use tieline_store::audit::AuditFilter;
use tieline_store::records::{ClaimedWebhook, Place, RecordBatch, Rewind, WebhookAttempt, WebhookChange};

use super::*;
use crate::database::Db;

on_both!(
    a_position_moves_once_a_message_was_taken,
    one_worker_has_a_webhook_and_whoever_comes_late_notes_nothing,
    a_message_that_is_sent_again_is_of_the_same_piece,
    a_piece_whose_rows_have_all_changed_is_passed_over,
    a_position_is_set_anywhere,
    a_webhook_that_is_given_up_keeps_its_position_and_is_told,
    a_webhook_ends_with_its_mapping,
    what_leads_to_a_webhook_is_sealed_and_survives_a_change_of_keys,
    webhooks_are_their_businesss_own,
);

const LEASE: Duration = Duration::from_secs(120);

fn later(seconds: i64) -> Timestamp {
    now() + SignedDuration::from_secs(seconds)
}

async fn claim(db: &Db, at: Timestamp) -> Option<ClaimedWebhook> {
    db.store.claim_record_webhook(at, LEASE).await.unwrap()
}

fn ids(batch: &RecordBatch) -> Vec<String> {
    let records = batch.records.iter().flatten();
    let id = |record: &Value| record["id"].as_str().unwrap().to_owned();
    records.map(|record| id(&serde_json::from_str(record.get()).unwrap())).collect()
}

async fn actions(tenant: &Tenant) -> Vec<String> {
    let entries = tenant.audit_entries(&AuditFilter::default(), None, 50).await.unwrap();
    let ours = entries.into_iter().filter(|entry| entry.action.starts_with("record_webhook."));
    ours.map(|entry| entry.action).rev().collect()
}

async fn a_position_moves_once_a_message_was_taken(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let (mapping, run) = scene(&tenant, integration).await;
    let (told, sent) = (webhook(&tenant, &mapping, false).await, webhook(&tenant, &mapping, true).await);
    assert!(claim(&db, now()).await.is_none(), "there is nothing to tell");
    let many: Vec<String> = (0..250).map(|n| format!("{n:03}")).collect();
    write(&tenant, &run, &mapping, &many.iter().map(String::as_str).collect::<Vec<_>>(), "x", 1).await;
    let mut got = Vec::new();
    while let Some(mut claimed) = claim(&db, later(got.len() as i64)).await {
        let batch = claimed.batch().await.unwrap().unwrap();
        assert_eq!((batch.run, batch.deleted, batch.mapping.id), (Some(run.id), 0, mapping.id));
        got.push((claimed.webhook.id, batch.count, ids(&batch), batch.from.to_string(), batch.to.to_string()));
        assert!(claimed.note(&WebhookAttempt::Delivered, later(got.len() as i64)).await.unwrap());
    }
    let of = |id: Uuid| got.iter().filter(move |one| one.0 == id).collect::<Vec<_>>();
    assert_eq!(
        of(told.id).iter().map(|one| (one.1, one.2.len())).collect::<Vec<_>>(),
        [(250, 0)],
        "one message says all"
    );
    assert_eq!(of(sent.id).iter().map(|one| one.1).collect::<Vec<_>>(), [100, 100, 50]);
    assert_eq!(of(sent.id).iter().flat_map(|one| one.2.clone()).collect::<Vec<_>>(), many, "in order");
    for pair in of(sent.id).windows(2) {
        assert_eq!(pair[0].4, pair[1].3, "each goes on where the one before ended");
    }
    let end = RecordCursor::new(mapping.id, Place::Change { change: 2, id: String::new() });
    for webhook in tenant.record_webhooks(Some(mapping.id)).await.unwrap() {
        assert_eq!((&webhook.position, webhook.attempts, webhook.last_error), (&end, 0, None));
    }
    // From now on: what was there before is not sent.
    let new =
        NewRecordWebhook { shown: "x", setting: b"x", fields: None, include_records: false, from_beginning: false };
    assert_eq!(tenant.create_record_webhook(&mapping, &new, 3, now()).await.unwrap().unwrap().position, end);
    assert!(tenant.create_record_webhook(&mapping, &new, 3, now()).await.unwrap().is_none(), "as many as there may be");
}

async fn one_worker_has_a_webhook_and_whoever_comes_late_notes_nothing(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let (mapping, run) = scene(&tenant, integration).await;
    let hook = webhook(&tenant, &mapping, true).await;
    write(&tenant, &run, &mapping, &["a"], "x", 1).await;
    let other = db.place.open().await;
    let claims = futures_util::future::join_all((0..8).map(|n| {
        let store = if n % 2 == 0 { db.store.clone() } else { other.clone() };
        async move { store.claim_record_webhook(now(), LEASE).await.unwrap() }
    }));
    let mut claims: Vec<_> = claims.await.into_iter().flatten().collect();
    assert_eq!(claims.len(), 1);
    let mut dead = claims.remove(0);
    let first = dead.batch().await.unwrap().unwrap();
    assert!(claim(&db, later(119)).await.is_none());
    let mut next = claim(&db, later(120)).await.unwrap();
    let again = next.batch().await.unwrap().unwrap();
    assert_eq!((&first.id, ids(&first), &first.to), (&again.id, ids(&again), &again.to), "the same message");
    assert_eq!(next.webhook.attempts, 2);
    // The first one was only slow.
    assert!(!dead.note(&WebhookAttempt::Delivered, later(121)).await.unwrap());
    assert!(!dead.note(&WebhookAttempt::GivenUp { reason: "x".to_owned() }, later(121)).await.unwrap());
    let there = tenant.record_webhook(hook.id).await.unwrap().unwrap();
    assert!(there.enabled && there.position == hook.position, "{there:?}");
    let put_off = WebhookAttempt::PutOff { until: later(300), reason: "503".to_owned() };
    assert!(next.note(&put_off, later(122)).await.unwrap());
    assert!(claim(&db, later(299)).await.is_none());
    let mut third = claim(&db, later(300)).await.unwrap();
    assert_eq!(third.batch().await.unwrap().unwrap().id, first.id);
    assert_eq!((third.webhook.attempts, third.webhook.last_error.as_deref()), (3, Some("503")));
    assert!(third.note(&WebhookAttempt::Delivered, later(301)).await.unwrap());
    assert!(claim(&db, later(9_999)).await.is_none());
}

async fn a_message_that_is_sent_again_is_of_the_same_piece(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let (mapping, run) = scene(&tenant, integration).await;
    webhook(&tenant, &mapping, true).await;
    write(&tenant, &run, &mapping, &["a", "b"], "x", 1).await;
    let first = claim(&db, now()).await.unwrap().batch().await.unwrap().unwrap();
    assert_eq!(ids(&first), ["a", "b"]);
    // More comes while nobody knows whether it was taken; and one row has left the piece.
    write(&tenant, &run, &mapping, &["b", "c"], "y", 2).await;
    let mut claimed = claim(&db, later(200)).await.unwrap();
    let again = claimed.batch().await.unwrap().unwrap();
    assert_eq!((again.id == first.id, ids(&again), again.count), (true, vec!["a".to_owned()], 1));
    assert!(claimed.note(&WebhookAttempt::Delivered, later(200)).await.unwrap());
    let mut claimed = claim(&db, later(200)).await.unwrap();
    let next = claimed.batch().await.unwrap().unwrap();
    assert_eq!((next.id == first.id, ids(&next)), (false, vec!["b".to_owned(), "c".to_owned()]));
    // Somebody changes what is sent: it is another piece then, and the attempt under way counts no more.
    let change = WebhookChange { fields: Some(Some(&[])), ..WebhookChange::default() };
    tenant.update_record_webhook(claimed.webhook.id, &change, now()).await.unwrap().unwrap();
    assert!(!claimed.note(&WebhookAttempt::Delivered, later(200)).await.unwrap());
    let last = claim(&db, later(200)).await.unwrap().batch().await.unwrap().unwrap();
    assert!(last.records.unwrap()[0].get().ends_with("\"fields\":{}}"));
}

async fn a_piece_whose_rows_have_all_changed_is_passed_over(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let (mapping, run) = scene(&tenant, integration).await;
    let hook = webhook(&tenant, &mapping, true).await;
    write(&tenant, &run, &mapping, &["a"], "x", 1).await;
    claim(&db, now()).await.unwrap().batch().await.unwrap().unwrap();
    write(&tenant, &run, &mapping, &["a"], "y", 2).await;
    let mut claimed = claim(&db, later(200)).await.unwrap();
    let batch = claimed.batch().await.unwrap().unwrap();
    assert_eq!((ids(&batch), batch.count), (vec!["a".to_owned()], 1));
    assert!(claimed.note(&WebhookAttempt::Delivered, later(200)).await.unwrap());
    // And one that is gone altogether, as an erasure may have it.
    write(&tenant, &run, &mapping, &["b"], "x", 3).await;
    db.raw.run("DELETE FROM accounts WHERE id = 'b'").await;
    assert!(claim(&db, later(201)).await.unwrap().batch().await.unwrap().is_none());
    assert!(claim(&db, later(202)).await.is_none(), "it is behind all, and given back");
    let there = tenant.record_webhook(hook.id).await.unwrap().unwrap();
    assert_eq!((there.position.to_string().ends_with("-4-"), there.attempts), (true, 0));
}

async fn a_position_is_set_anywhere(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let (mapping, run) = scene(&tenant, integration).await;
    let hook = webhook(&tenant, &mapping, true).await;
    write(&tenant, &run, &mapping, &["a", "b"], "x", 1).await;
    write(&tenant, &run, &mapping, &["c"], "x", 2).await;
    let take = async |at: Timestamp| {
        let mut all = Vec::new();
        while let Some(mut claimed) = claim(&db, at).await {
            let batch = claimed.batch().await.unwrap().unwrap();
            claimed.note(&WebhookAttempt::Delivered, at).await.unwrap();
            all.push((batch.id.clone(), ids(&batch).concat()));
        }
        all
    };
    let first = take(now()).await;
    assert_eq!(first.iter().map(|one| one.1.as_str()).collect::<Vec<_>>(), ["abc"]);
    let place = |change, id: &str| Rewind::To(Place::Change { change, id: id.to_owned() });
    for (to, expected) in [
        (Rewind::Beginning, "abc"),
        (Rewind::Now, ""),
        (place(1, "a"), "bc"),
        (place(99, ""), ""),
        (Rewind::To(Place::Id { began: 1, id: "z".to_owned() }), "c"),
        (Rewind::Since(now()), "abc"),
        (Rewind::Since(later(1)), ""),
    ] {
        let mut under_way = None;
        if to == Rewind::Beginning {
            // A message under way is not what moves it then.
            write(&tenant, &run, &mapping, &["c"], "z", 3).await;
            under_way = claim(&db, now()).await;
            under_way.as_mut().unwrap().batch().await.unwrap().unwrap();
        }
        tenant.rewind_record_webhook(hook.id, &to, now()).await.unwrap().unwrap();
        if let Some(under_way) = under_way {
            assert!(!under_way.note(&WebhookAttempt::Delivered, now()).await.unwrap());
        }
        let again = take(now()).await;
        assert_eq!(again.iter().map(|one| one.1.as_str()).collect::<String>(), expected, "{to:?}");
        assert!(again.iter().all(|one| one.0 != first[0].0), "what comes again on purpose has another id");
    }
    assert_eq!(actions(&tenant).await.iter().filter(|action| *action == "record_webhook.rewound").count(), 7);
}

async fn a_webhook_that_is_given_up_keeps_its_position_and_is_told(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let (mapping, run) = scene(&tenant, integration).await;
    let hook = webhook(&tenant, &mapping, true).await;
    write(&tenant, &run, &mapping, &["a"], "x", 1).await;
    let mut claimed = claim(&db, now()).await.unwrap();
    let first = claimed.batch().await.unwrap().unwrap();
    // All of it or nothing.
    db.raw.failpoint("BEFORE INSERT ON audit_log", "").await;
    claimed.note(&WebhookAttempt::GivenUp { reason: "410 Gone".to_owned() }, now()).await.unwrap_err();
    db.raw.mend("audit_log").await;
    assert!(tenant.record_webhook(hook.id).await.unwrap().unwrap().enabled);
    assert!(claimed.note(&WebhookAttempt::GivenUp { reason: "410 Gone".to_owned() }, now()).await.unwrap());
    let off = tenant.record_webhook(hook.id).await.unwrap().unwrap();
    assert_eq!((off.enabled, off.disabled_reason.as_deref(), &off.position), (false, Some("410 Gone"), &hook.position));
    assert!(claim(&db, later(9_999)).await.is_none());
    let told = async || {
        let filter = NotificationFilter { kind: Some(AlertKind::WebhookFailure), state: None };
        tenant.notifications(&filter, None, 9).await.unwrap().items
    };
    let open = told().await.remove(0);
    assert_eq!((open.state, open.integration_id), (NotificationState::Open, Some(integration)));
    assert!(open.title.contains("hooks.example") && open.detail == "410 Gone", "{open:?}");
    // What changes meanwhile waits, and comes once it is on again.
    write(&tenant, &run, &mapping, &["b"], "x", 2).await;
    let on = WebhookChange { enabled: Some(true), ..WebhookChange::default() };
    let on = tenant.update_record_webhook(hook.id, &on, now()).await.unwrap().unwrap();
    assert_eq!((on.enabled, on.disabled_reason, on.attempts), (true, None, 0));
    assert_eq!(told().await[0].state, NotificationState::Resolved);
    let mut claimed = claim(&db, now()).await.unwrap();
    let batch = claimed.batch().await.unwrap().unwrap();
    assert_eq!((ids(&batch).concat(), batch.id == first.id), ("ab".to_owned(), false));
    // One that is deleted while it is off ends what is said of it, too.
    assert!(claimed.note(&WebhookAttempt::GivenUp { reason: "gone".to_owned() }, now()).await.unwrap());
    assert_eq!(told().await[0].state, NotificationState::Open);
    assert!(tenant.delete_record_webhook(hook.id, now()).await.unwrap());
    assert!(!tenant.delete_record_webhook(hook.id, now()).await.unwrap());
    assert_eq!(told().await[0].state, NotificationState::Resolved);
    let names = ["created", "disabled", "updated", "disabled", "deleted"].map(|name| format!("record_webhook.{name}"));
    assert_eq!(actions(&tenant).await, names);
}

async fn a_webhook_ends_with_its_mapping(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let (mapping, run) = scene(&tenant, integration).await;
    let hook = webhook(&tenant, &mapping, true).await;
    write(&tenant, &run, &mapping, &["a"], "x", 1).await;
    let mut claimed = claim(&db, now()).await.unwrap();
    claimed.batch().await.unwrap().unwrap();
    let off = WebhookAttempt::GivenUp { reason: "gone".to_owned() };
    assert!(claimed.note(&off, now()).await.unwrap());
    assert!(tenant.delete_mapping(&mapping, now()).await.unwrap());
    assert!(tenant.record_webhook(hook.id).await.unwrap().is_none());
    assert!(!claimed.note(&WebhookAttempt::Delivered, now()).await.unwrap());
    assert!(claimed.batch().await.unwrap().is_none());
    tenant.settle_record_webhooks(integration, now()).await.unwrap();
    let left = tenant.notifications(&NotificationFilter::default(), None, 9).await.unwrap().items;
    assert!(left.iter().all(|one| one.state == NotificationState::Resolved), "{left:?}");
}

async fn what_leads_to_a_webhook_is_sealed_and_survives_a_change_of_keys(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let (mapping, _) = scene(&tenant, integration).await;
    let hook = webhook(&tenant, &mapping, true).await;
    let hex = if db.is_sqlite() { "hex(setting)" } else { "upper(encode(setting, 'hex'))" };
    let kept = async || db.raw.texts(&format!("SELECT {hex} FROM record_webhooks")).await.remove(0);
    let before = kept().await;
    let plain: String = b"hidden-url".iter().map(|byte| format!("{byte:02X}")).collect();
    assert!(!before.contains(&plain));
    let mut next = None;
    loop {
        let step = db.store.renew_data_keys(Timestamp::MAX, now(), next, 9).await.unwrap();
        assert!(step.failed.is_empty(), "{:?}", step.failed);
        next = step.next;
        if next.is_none() {
            break;
        }
    }
    assert_ne!(kept().await, before, "it is sealed with the new key");
    let (_, opened) = tenant.open_record_webhook(hook.id).await.unwrap().unwrap();
    assert_eq!(opened.as_slice(), b"hidden-url");
    tenant.rotate_record_webhook_secret(hook.id, b"other", now()).await.unwrap().unwrap();
    let (_, opened) = tenant.open_record_webhook(hook.id).await.unwrap().unwrap();
    assert_eq!(opened.as_slice(), b"other");
}

async fn webhooks_are_their_businesss_own(db: Db) {
    let (own, integration) = (db.store.own(), db.integration().await);
    let (mapping, _) = scene(&own, integration).await;
    let hook = webhook(&own, &mapping, true).await;
    let new = tieline_store::NewUser { email: "owner@example.com", name: "O", password_hash: None };
    let owner = db.store.set_up(&new, "first", "", now()).await.unwrap().unwrap();
    let business = db.store.create_business("second", owner.id, "", now()).await.unwrap();
    let other = db.store.as_member(&db.store.membership(owner.id, business).await.unwrap().unwrap());
    assert!(other.record_webhooks(None).await.unwrap().is_empty());
    assert!(other.record_webhook(hook.id).await.unwrap().is_none());
    assert!(other.open_record_webhook(hook.id).await.unwrap().is_none());
    let change = WebhookChange { enabled: Some(false), ..WebhookChange::default() };
    assert!(other.update_record_webhook(hook.id, &change, now()).await.unwrap().is_none());
    assert!(other.rewind_record_webhook(hook.id, &Rewind::Now, now()).await.unwrap().is_none());
    assert!(other.rotate_record_webhook_secret(hook.id, b"x", now()).await.unwrap().is_none());
    assert!(!other.delete_record_webhook(hook.id, now()).await.unwrap());
    assert_eq!(own.record_webhook(hook.id).await.unwrap(), Some(hook));
}
