//! What is kept no longer goes, once a day, by one node.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tieline_store::audit::{Action, Actor, AuditFilter, Entry, Verification};
use tieline_store::integration_logs::{Event, Level, LogFilter};
use tieline_store::{Digest, NewUser, Retention, Role, RunState, Session, Swept, Uuid};

use crate::contact_steps::ContactSteps;
use crate::database::{Db, now};
use crate::imports::{asked, contact, create, ids};

on_both!(
    what_is_older_than_a_business_keeps_it_goes,
    what_has_ended_goes_for_all,
    a_chore_is_one_nodes_at_a_time_and_due_once,
);

fn days(n: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * n)
}

async fn what_is_older_than_a_business_keeps_it_goes(db: Db) {
    let (own, integration) = (db.store.own(), db.integration().await);
    let new = NewUser { email: "owner@example.com", name: "O", password_hash: None };
    let owner = db.store.set_up(&new, "first", "", now()).await.unwrap().unwrap();
    let other = db.store.create_business("other", owner.id, "", now()).await.unwrap();
    let other = db.store.as_member(&db.store.membership(owner.id, other).await.unwrap().unwrap());
    let entry = || Entry::new(Actor::System, Action::ImportCreated);
    let log = async |tenant: &tieline_store::Tenant, at: Timestamp| {
        tenant.log(None, Event::SyncError, Level::Info, "x", serde_json::json!({}), at).await.unwrap();
        tenant.audit(&entry(), at).await.unwrap();
    };
    // More than a batch of either.
    for n in 0..3 {
        log(&own, now() + days(n)).await;
        log(&other, now() + days(n)).await;
    }
    let given = ids(0..12_000);
    let import = create(&own, &asked(integration, &given), now()).await;
    let claim = db.store.claim_import(now(), Duration::from_secs(60)).await.unwrap().unwrap();
    let rows = [tieline_store::Fetched { position: 0, contact: Ok(contact("000000", "x")) }];
    claim.commit_batch(&rows, now()).await.unwrap();
    claim.finish_import(Some("half"), now()).await.unwrap();
    let waiting = create(&own, &asked(integration, &given[..1]), now()).await;
    let run = own.start_run(integration, now()).await.unwrap();
    own.finish_run(&run, RunState::Success, None, now()).await.unwrap();
    let running = own.start_run(integration, now()).await.unwrap();

    let keeps = Retention { log_days: 10, audit_days: 30, import_days: 20, lead_days: None, contact_days: None };
    own.set_retention(&keeps, now() + days(3)).await.unwrap();
    assert_eq!(own.retention().await.unwrap(), keeps);
    assert_eq!(other.retention().await.unwrap(), Retention::default());
    let at = |n: i64| now() + days(n) + SignedDuration::from_secs(1);
    assert_eq!(own.sweep(at(9)).await.unwrap(), Swept::default());
    assert_eq!(own.sweep(at(11)).await.unwrap(), Swept { logs: 2, runs: 1, ..Swept::default() });
    assert_eq!(other.sweep(at(11)).await.unwrap(), Swept::default());
    let swept = own.sweep(at(31)).await.unwrap();
    let expected = Swept { logs: 1, imports: 1, import_rows: 12_000, audit: 2, ..Swept::default() };
    assert_eq!(swept, expected);
    assert!(own.import(import.id).await.unwrap().is_none());
    assert!(own.import(waiting.id).await.unwrap().is_some(), "an import that has not ended stays");
    assert_eq!(own.run(running.id).await.unwrap().unwrap().state, "running");
    assert_eq!(own.count_leads().await.unwrap(), 1, "what was imported stays");
    assert!(matches!(own.verify_audit().await.unwrap(), Verification::Verified { .. }));
    let told = own.audit_entries(&AuditFilter::default(), None, 9).await.unwrap();
    let told: Vec<(&str, &str)> = told.iter().map(|one| (one.action.as_str(), one.detail.as_str())).collect();
    assert_eq!((told[0].0, told[1].0), ("retention.swept", "retention.swept"), "{told:?}");
    assert_eq!(told[0].1, r#"{"audit":2,"through":2}"#);
    assert!(told.iter().any(|(action, _)| *action == "retention.changed"));
    // Leads and contacts go where somebody has said so.
    let keeps = Retention { lead_days: Some(30), ..keeps };
    own.set_retention(&keeps, at(31)).await.unwrap();
    assert_eq!(own.sweep(at(31)).await.unwrap(), Swept { leads: 1, ..Swept::default() });
    assert_eq!(other.integration_logs(&LogFilter::default(), None, 9).await.unwrap().items.len(), 3);
    assert!(matches!(other.verify_audit().await.unwrap(), Verification::Verified { entries: 4, .. }));
    assert_eq!(other.sweep(at(500)).await.unwrap(), Swept { logs: 3, audit: 4, ..Swept::default() });
}

async fn what_has_ended_goes_for_all(db: Db) {
    let new = NewUser { email: "owner@example.com", name: "O", password_hash: None };
    let owner = db.store.set_up(&new, "first", "", now()).await.unwrap().unwrap();
    for (token, hours) in [("short", 1), ("long", 100)] {
        let session = Session {
            id: Uuid::now_v7(),
            user_id: owner.id,
            created_at: now(),
            last_seen_at: now(),
            expires_at: now() + SignedDuration::from_hours(hours),
            address: "127.0.0.1".to_owned(),
            user_agent: "test".to_owned(),
        };
        db.store.begin_session(Digest::of(token), &session, "password").await.unwrap();
        let email = format!("{token}@example.com");
        let own = db.store.own();
        own.invite(&email, Role::Viewer, Digest::of(token), now(), session.expires_at).await.unwrap();
    }
    db.store.audit(&Entry::new(Actor::System, Action::ServiceSetUp), now()).await.unwrap();
    let later = now() + SignedDuration::from_hours(2);
    assert_eq!(db.store.sweep_ended(later).await.unwrap(), 2);
    assert_eq!(db.store.sweep_ended(later).await.unwrap(), 0);
    assert!(db.store.session(Digest::of("long"), later).await.unwrap().is_some());
    assert_eq!(db.store.own().invitations(later).await.unwrap().len(), 1);
    // The rest, and the service's own entry.
    assert_eq!(db.store.sweep_ended(now() + days(401)).await.unwrap(), 6);
    let newest = db.store.audit_entries(&AuditFilter::default(), None, 9).await.unwrap();
    assert_eq!(newest.iter().map(|one| one.action.as_str()).collect::<Vec<_>>(), ["retention.swept"]);
    assert!(matches!(db.store.verify_audit().await.unwrap(), Verification::Verified { entries: 1, .. }));
}

async fn a_chore_is_one_nodes_at_a_time_and_due_once(db: Db) {
    let (one, other) = (db.store.clone(), db.place.open().await);
    let lease = Duration::from_secs(900);
    let take = async |store: &tieline_store::Store, at: Timestamp| {
        store.take_chore("retention", days(1), lease, at).await.unwrap()
    };
    assert!(take(&one, now()).await.is_none(), "whoever begins has a day");
    let at = now() + days(1);
    let both = tokio::join!(take(&one, at), take(&other, at));
    let ((Some(chore), None) | (None, Some(chore))) = both else { panic!("{both:?}") };
    let soon = at + SignedDuration::from_mins(10);
    assert!(chore.prolong(soon).await.unwrap());
    assert!(take(&other, at + SignedDuration::from_mins(20)).await.is_none());
    // It dies, and the next one takes over; whoever wakes up then ends nothing.
    let second = take(&other, at + SignedDuration::from_mins(30)).await.unwrap();
    assert!(!chore.prolong(at + SignedDuration::from_mins(31)).await.unwrap());
    chore.end(at + days(9)).await.unwrap();
    second.end(at + days(1)).await.unwrap();
    assert!(take(&one, at + SignedDuration::from_hours(23)).await.is_none());
    assert!(take(&one, at + days(1)).await.is_some());
}
