//! Rate limits, audit log and integrations' logs.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tieline_auth::ManualClock;
use tieline_store::audit::{Action, Actor, AuditFilter, Entry, Outcome, Verification};
use tieline_store::integration_logs::{Event, Level, LogFilter};
use tieline_store::rate_limits::{Limit, RateLimits};
use tieline_store::{Credentials, NewUser, Tenant, Uuid};

use crate::database::{Db, now};

on_both!(
    a_limit_is_exact_for_all_who_share_it,
    a_bucket_fills_and_is_swept_when_it_is_full,
    a_node_counts_by_itself_while_the_database_does_not,
    entries_at_once_stand_in_one_row_and_verify,
    tampering_is_found,
    a_business_can_neither_change_nor_remove_an_entry,
    chains_and_logs_are_their_businesses_own,
    the_audit_log_is_listed_in_pages_and_filtered,
    the_oldest_entries_go_and_the_rest_still_verifies,
    secrets_are_kept_in_neither_log,
    integration_logs_are_listed_in_pages_filtered_and_swept,
);

/// Nothing comes back while a test runs.
const A_DAY: Duration = Duration::from_secs(86_400);

async fn a_limit_is_exact_for_all_who_share_it(db: Db) {
    let other = db.place.open().await;
    let limit = Limit { burst: 137, period: A_DAY };
    let asked = (0..1000).map(|n| {
        let store = if n % 2 == 0 { db.store.clone() } else { other.clone() };
        tokio::spawn(async move { store.take("api:x", limit, 1).await.unwrap() })
    });
    let mut allowed = Vec::new();
    for asked in asked.collect::<Vec<_>>() {
        let decision = asked.await.unwrap();
        assert_eq!(decision.limit, 137);
        if decision.allowed {
            allowed.push(decision.remaining);
        } else {
            assert_eq!(decision.remaining, 0);
            assert!(decision.retry_after > Duration::from_secs(600) && decision.retry_after <= limit.interval());
        }
    }
    // Each of them once: no two took the same unit.
    allowed.sort_unstable();
    assert_eq!(allowed, (0..137).collect::<Vec<u32>>());
    assert!(other.take("api:y", limit, 1).await.unwrap().allowed, "another client");
}

async fn a_bucket_fills_and_is_swept_when_it_is_full(db: Db) {
    let limit = Limit { burst: 4, period: A_DAY };
    let first = db.store.take("api:x", limit, 3).await.unwrap();
    assert_eq!((first.allowed, first.remaining, first.retry_after), (true, 1, Duration::ZERO));
    assert_eq!(first.reset_after, A_DAY * 3 / 4);
    let second = db.store.take("api:x", limit, 2).await.unwrap();
    assert_eq!((second.allowed, second.remaining), (false, 1));
    assert!(db.store.take("api:x", limit, 1).await.unwrap().allowed);
    assert!(db.store.take("api:tall", limit, 9).await.unwrap().allowed, "no more than the burst is asked for");
    assert_eq!(db.store.sweep_rate_limits().await.unwrap(), 0);
    // A day passes.
    db.raw.run("UPDATE rate_limits SET full_at = full_at - 86400000000 WHERE key = 'api:x'").await;
    assert_eq!(db.store.take("api:x", limit, 1).await.unwrap().remaining, 3, "it is full, and no fuller");
    db.raw.run("UPDATE rate_limits SET full_at = full_at - 86400000000 WHERE key = 'api:x'").await;
    assert_eq!(db.store.sweep_rate_limits().await.unwrap(), 1);
    // A clock that was set back, or a limit that was larger before, shuts nobody out for longer than a period.
    db.raw.run("UPDATE rate_limits SET full_at = full_at + 86400000000000").await;
    let after = db.store.take("api:tall", limit, 1).await.unwrap();
    assert_eq!((after.allowed, after.retry_after), (false, A_DAY / 4));
}

async fn a_node_counts_by_itself_while_the_database_does_not(db: Db) {
    let clock = Arc::new(ManualClock::at(now()));
    let limits = RateLimits::new(db.store.clone(), clock.clone());
    let limit = Limit { burst: 5, period: A_DAY };
    for left in [4, 3] {
        assert_eq!(limits.take("api:x", limit, 1).await.remaining, left);
    }
    let written = || db.raw.texts("SELECT key FROM rate_limits");
    if db.is_sqlite() {
        assert_eq!(written().await, Vec::<String>::new(), "memory alone counts");
        return;
    }
    assert_eq!(written().await, ["api:x"]);
    db.raw.run("BEGIN; LOCK TABLE rate_limits IN ACCESS EXCLUSIVE MODE").await;
    assert_eq!(limits.take("api:x", limit, 1).await.remaining, 2, "from where the database stood");
    let begun = std::time::Instant::now();
    assert_eq!(limits.take("api:x", limit, 1).await.remaining, 1);
    assert!(begun.elapsed() < Duration::from_millis(100), "it waits once, and not for every request");
    assert!(limits.take("api:x", limit, 1).await.allowed);
    assert!(!limits.take("api:x", limit, 1).await.allowed, "an outage does not let everybody through");
    assert!(limits.take("api:y", limit, 1).await.allowed, "nor does it stop everybody");
    db.raw.run("COMMIT").await;
    clock.advance(Duration::from_secs(2));
    limits.take("api:z", limit, 1).await;
    assert!(written().await.contains(&"api:z".to_owned()), "it is asked again");
    // What is refused once is refused from memory until its time.
    while limits.take("api:z", limit, 1).await.allowed {}
    db.raw.run("DELETE FROM rate_limits").await;
    assert!(!limits.take("api:z", limit, 1).await.allowed);
    assert_eq!(written().await, Vec::<String>::new());
    clock.advance(A_DAY / 5);
    assert!(limits.take("api:z", limit, 1).await.allowed);
}

fn entry(n: usize) -> Entry<'static> {
    Entry { detail: json!({ "n": n }), ..Entry::new(Actor::System, Action::SyncTriggered).on("connection", "c") }
}

async fn verified(tenant: &Tenant) -> i64 {
    match tenant.verify_audit().await.unwrap() {
        Verification::Verified { entries, .. } => entries,
        broken => panic!("{broken:?}"),
    }
}

async fn entries_at_once_stand_in_one_row_and_verify(db: Db) {
    let other = db.place.open().await;
    assert_eq!(verified(&db.store.own()).await, 0);
    let written = (0..50).map(|n| {
        let store = if n % 2 == 0 { db.store.clone() } else { other.clone() };
        tokio::spawn(async move {
            let business = store.own().audit(&entry(n), now()).await.unwrap();
            (business, store.audit(&entry(n), now()).await.unwrap())
        })
    });
    let (mut businesses, mut services) = (Vec::new(), Vec::new());
    for written in written.collect::<Vec<_>>() {
        let (business, service) = written.await.unwrap();
        businesses.push(business);
        services.push(service);
    }
    for mut positions in [businesses, services] {
        positions.sort_unstable();
        assert_eq!(positions, (1..=50).collect::<Vec<i64>>());
    }
    let own = other.own().verify_audit().await.unwrap();
    let service = other.verify_audit().await.unwrap();
    for found in [&own, &service] {
        assert!(matches!(found, Verification::Verified { entries: 50, head: (50, _) }), "{found:?}");
    }
    assert_ne!(own, service);
}

/// Runs statements as one who owns the database and means ill.
async fn tamper(db: &Db, sql: &str) {
    if db.is_sqlite() {
        db.raw
            .run("DROP TRIGGER IF EXISTS audit_log_is_never_changed; DROP TRIGGER IF EXISTS audit_log_is_only_appended_to")
            .await;
    }
    db.raw.run(sql).await;
}

async fn tampering_is_found(db: Db) {
    let own = db.store.own();
    for n in 0..8 {
        own.audit(&Entry { address: Some("192.0.2.1"), ..entry(n) }, now()).await.unwrap();
        db.store.audit(&entry(n), now()).await.unwrap();
    }
    let business = own.business();
    let (at, copied) = if db.is_sqlite() {
        ("at + 1", "lower(hex(randomblob(16)))")
    } else {
        ("at + interval '1 microsecond'", "gen_random_uuid()")
    };
    let columns =
        "business_id, at, actor_type, actor_id, action, outcome, target_type, target_id, detail, address, digest";
    let mine = format!("business_id = '{business}' AND position");
    for (what, sql, place) in [
        ("time", format!("UPDATE audit_log SET at = {at} WHERE {mine} = 4"), 4),
        ("actor", format!("UPDATE audit_log SET actor_type = 'user' WHERE {mine} = 4"), 4),
        ("actor's id", format!("UPDATE audit_log SET actor_id = 'x' WHERE {mine} = 4"), 4),
        ("action", format!("UPDATE audit_log SET action = 'sync.paused' WHERE {mine} = 4"), 4),
        ("outcome", format!("UPDATE audit_log SET outcome = 'denied' WHERE {mine} = 4"), 4),
        ("target", format!("UPDATE audit_log SET target_id = 'd' WHERE {mine} = 4"), 4),
        ("no target", format!("UPDATE audit_log SET target_type = NULL WHERE {mine} = 4"), 4),
        ("detail", format!("UPDATE audit_log SET detail = '{{\"n\": 3}}' WHERE {mine} = 4"), 4),
        ("address", format!("UPDATE audit_log SET address = NULL WHERE {mine} = 4"), 4),
        ("id", format!("UPDATE audit_log SET id = {copied} WHERE {mine} = 4"), 4),
        ("digest", format!("UPDATE audit_log SET digest = (SELECT digest FROM audit_log WHERE {mine} = 3) WHERE {mine} = 4"), 4),
        ("removed", format!("DELETE FROM audit_log WHERE {mine} = 4"), 4),
        ("first removed", format!("DELETE FROM audit_log WHERE {mine} = 1"), 1),
        ("newest removed", format!("DELETE FROM audit_log WHERE {mine} = 8"), 8),
        ("all removed", format!("DELETE FROM audit_log WHERE business_id = '{business}'"), 1),
        (
            "swapped",
            format!(
                "UPDATE audit_log SET position = 99 WHERE {mine} = 4; UPDATE audit_log SET position = 4 WHERE {mine} = 5;
                 UPDATE audit_log SET position = 5 WHERE {mine} = 99"
            ),
            4,
        ),
        (
            "inserted",
            format!(
                "UPDATE audit_log SET position = position + 100 WHERE {mine} > 4; UPDATE audit_log SET position = position - 99 WHERE {mine} > 4;
                 INSERT INTO audit_log (id, position, {columns}) SELECT {copied}, 5, {columns} FROM audit_log WHERE {mine} = 4;
                 UPDATE audit_chains SET head_position = 9 WHERE business_id = '{business}'"
            ),
            5,
        ),
        (
            "before the first",
            format!("INSERT INTO audit_log (id, position, {columns}) SELECT {copied}, 0, {columns} FROM audit_log WHERE {mine} = 4"),
            0,
        ),
        (
            "behind the newest",
            format!("INSERT INTO audit_log (id, position, {columns}) SELECT {copied}, 9, {columns} FROM audit_log WHERE {mine} = 4"),
            9,
        ),
        (
            "from another chain",
            format!(
                "DELETE FROM audit_log WHERE {mine} = 4; UPDATE audit_log SET business_id = '{business}' WHERE business_id IS NULL AND position = 4"
            ),
            4,
        ),
        ("the chain's row", format!("DELETE FROM audit_chains WHERE business_id = '{business}'"), 8),
        (
            "the chain's end moved",
            format!("DELETE FROM audit_log WHERE {mine} = 8; UPDATE audit_chains SET head_position = 7 WHERE business_id = '{business}'"),
            7,
        ),
    ] {
        tamper(&db, "DROP TABLE IF EXISTS kept_log; DROP TABLE IF EXISTS kept_chains;
            CREATE TABLE kept_log AS SELECT * FROM audit_log; CREATE TABLE kept_chains AS SELECT * FROM audit_chains").await;
        assert_eq!(verified(&own).await, 8);
        tamper(&db, &sql).await;
        match own.verify_audit().await.unwrap() {
            Verification::Broken { position, .. } => assert_eq!(position, place, "{what}"),
            found => panic!("{what}: {found:?}"),
        }
        let service = db.store.verify_audit().await.unwrap();
        assert_eq!(matches!(service, Verification::Broken { .. }), what == "from another chain", "{what}: {service:?}");
        tamper(&db, "DELETE FROM audit_log; DELETE FROM audit_chains; INSERT INTO audit_log SELECT * FROM kept_log;
            INSERT INTO audit_chains SELECT * FROM kept_chains").await;
    }
    // Evidence is not thinned out.
    tamper(&db, &format!("UPDATE audit_log SET outcome = 'denied' WHERE {mine} = 4")).await;
    db.store.thin_audit(now() + SignedDuration::from_hours(1)).await.unwrap();
    let left = own.audit_entries(&AuditFilter::default(), None, 100).await.unwrap();
    assert_eq!(left.iter().map(|e| e.position).collect::<Vec<_>>(), [8, 7, 6, 5, 4]);
    assert!(matches!(own.verify_audit().await.unwrap(), Verification::Broken { position: 4, .. }));
}

async fn a_business_can_neither_change_nor_remove_an_entry(db: Db) {
    // The first entry is the business's own making.
    let (own, _) = two(&db).await;
    for n in 0..2 {
        own.audit(&entry(n), now()).await.unwrap();
    }
    let id = own.audit_entries(&AuditFilter::default(), None, 1).await.unwrap()[0].id;
    for sql in [
        "UPDATE audit_log SET outcome = 'denied'".to_owned(),
        "DELETE FROM audit_log WHERE position = 1".to_owned(),
        "DELETE FROM audit_chains".to_owned(),
        "UPDATE audit_chains SET anchor_position = 2".to_owned(),
        format!(
            "INSERT INTO audit_log (id, business_id, position, at, actor_type, action, outcome, detail, digest)
             SELECT id, business_id, position, at, 'user', action, outcome, detail, digest FROM audit_log WHERE id = '{id}'"
        ),
    ] {
        assert!(own.sql(&sql).await.is_err(), "{sql}");
    }
    if db.is_sqlite() {
        let replaced = "INSERT OR REPLACE INTO audit_log SELECT * FROM audit_log WHERE position = 1";
        assert!(own.sql(replaced).await.is_err());
    }
    assert_eq!(verified(&own).await, 3);
    // With the business its log goes too.
    own.sql(&format!("DELETE FROM businesses WHERE id = '{}'", own.business())).await.unwrap();
    let left = format!("SELECT action FROM audit_log WHERE business_id = '{}'", own.business());
    assert_eq!(db.raw.texts(&left).await, Vec::<String>::new());
}

async fn two(db: &Db) -> (Tenant, Tenant) {
    let new = NewUser { email: "owner@example.com", name: "O", password_hash: None };
    let owner = db.store.set_up(&new, "first", "", now()).await.unwrap().unwrap();
    let mut tenants = Vec::new();
    for name in ["a", "b"] {
        let business = db.store.create_business(name, owner.id, "", now()).await.unwrap();
        tenants.push(db.store.as_member(&db.store.membership(owner.id, business).await.unwrap().unwrap()));
    }
    let b = tenants.pop().unwrap();
    (tenants.pop().unwrap(), b)
}

async fn connected(tenant: &Tenant) -> Uuid {
    tenant.save_integration("org", &Credentials::new(b"x".to_vec()), now()).await.unwrap()
}

async fn log(tenant: &Tenant, integration: Option<Uuid>, event: Event, level: Level, at: Timestamp) {
    tenant.log(integration, event, level, event.name(), json!({}), at).await.unwrap();
}

async fn chains_and_logs_are_their_businesses_own(db: Db) {
    let (a, b) = two(&db).await;
    let (of_a, of_b) = (connected(&a).await, connected(&b).await);
    // The first entry of each is its making.
    assert_eq!(a.audit(&entry(0), now()).await.unwrap(), 2);
    assert_eq!(a.audit(&entry(1), now()).await.unwrap(), 3);
    assert_eq!(b.audit(&entry(2), now()).await.unwrap(), 2);
    assert_eq!(db.store.audit(&entry(3), now()).await.unwrap(), 2);
    for (tenant, entries) in [(&a, 3), (&b, 2)] {
        assert_eq!(verified(tenant).await, entries);
        assert_eq!(tenant.audit_entries(&AuditFilter::default(), None, 9).await.unwrap().len() as i64, entries);
        // Not the service's either.
        assert_eq!(tenant.sql("SELECT * FROM audit_log").await.unwrap() as i64, entries);
        assert_eq!(tenant.sql("SELECT * FROM audit_chains").await.unwrap(), 1);
    }
    log(&a, Some(of_a), Event::AuthSuccess, Level::Info, now()).await;
    log(&a, None, Event::ConfigChanged, Level::Info, now()).await;
    assert_eq!(a.integration_logs(&LogFilter::default(), None, 9).await.unwrap().items.len(), 2);
    assert_eq!(b.integration_logs(&LogFilter::default(), None, 9).await.unwrap().items.len(), 0);
    let theirs = LogFilter { integration: Some(of_a), ..LogFilter::default() };
    assert_eq!(b.integration_logs(&theirs, None, 9).await.unwrap().items.len(), 0);
    let meddled = a.log(Some(of_b), Event::AuthFailure, Level::Error, "x", json!({}), now()).await;
    assert!(meddled.is_err(), "an entry for another's integration");
}

async fn the_audit_log_is_listed_in_pages_and_filtered(db: Db) {
    let own = db.store.own();
    let (user, key) = (Uuid::now_v7(), Uuid::now_v7());
    for n in 0..10 {
        let actor = if n % 2 == 0 { Actor::User(user) } else { Actor::ApiKey(key) };
        let action = if n < 5 { Action::CredentialRead } else { Action::ProxyCalled };
        let outcome = if n == 3 { Outcome::Denied } else { Outcome::Success };
        let id = n.to_string();
        let entry = Entry { outcome, address: Some("2001:db8::1"), ..Entry::new(actor, action).on("connection", &id) };
        own.audit(&entry, now() + SignedDuration::from_mins(n)).await.unwrap();
    }
    let positions = async |filter: AuditFilter<'_>, before, limit| -> Vec<i64> {
        own.audit_entries(&filter, before, limit).await.unwrap().iter().map(|entry| entry.position).collect()
    };
    let all = AuditFilter::default();
    assert_eq!(positions(all.clone(), None, 4).await, [10, 9, 8, 7]);
    assert_eq!(positions(all.clone(), Some(7), 4).await, [6, 5, 4, 3]);
    assert_eq!(positions(AuditFilter { actor: Some(key), ..all.clone() }, None, 9).await, [10, 8, 6, 4, 2]);
    assert_eq!(
        positions(AuditFilter { action: Some(Action::CredentialRead), actor: Some(user), ..all.clone() }, Some(5), 9)
            .await,
        [3, 1]
    );
    assert_eq!(positions(AuditFilter { outcome: Some(Outcome::Denied), ..all.clone() }, None, 9).await, [4]);
    assert_eq!(
        positions(AuditFilter { target_kind: Some("connection"), target: Some("7"), ..all.clone() }, None, 9).await,
        [8]
    );
    let (from, until) = (now() + SignedDuration::from_mins(2), now() + SignedDuration::from_mins(4));
    assert_eq!(positions(AuditFilter { from: Some(from), until: Some(until), ..all.clone() }, None, 9).await, [4, 3]);
    let newest = own.audit_entries(&all, None, 1).await.unwrap().remove(0);
    assert_eq!((newest.actor_type.as_str(), newest.actor_id), ("api_key", Some(key.to_string())));
    assert_eq!((newest.action.as_str(), newest.outcome.as_str()), ("proxy.called", "success"));
    assert_eq!((newest.target_type.as_deref(), newest.target_id.as_deref()), (Some("connection"), Some("9")));
    assert_eq!((newest.address.as_deref(), newest.detail.as_str()), (Some("2001:db8::1"), "{}"));
    assert_eq!(newest.at, now() + SignedDuration::from_mins(9));
}

async fn the_oldest_entries_go_and_the_rest_still_verifies(db: Db) {
    let own = db.store.own();
    for n in 0..1_203 {
        own.audit(&entry(n), now() + SignedDuration::from_secs(n as i64)).await.unwrap();
    }
    db.store.audit(&entry(0), now()).await.unwrap();
    let before = own.verify_audit().await.unwrap();
    assert!(matches!(before, Verification::Verified { entries: 1_203, head: (1_203, _) }));
    let at = |seconds| now() + SignedDuration::from_secs(seconds);
    assert_eq!(db.store.thin_audit(at(0)).await.unwrap(), 0);
    // All of them a page and more, and the service's one.
    assert_eq!(db.store.thin_audit(at(1_100)).await.unwrap(), 1_101);
    let Verification::Verified { entries: 103, head } = own.verify_audit().await.unwrap() else { panic!() };
    assert!(matches!(before, Verification::Verified { head: known, .. } if known == head), "the end is as it was");
    assert!(matches!(db.store.verify_audit().await.unwrap(), Verification::Verified { entries: 0, head: (1, _) }));
    tamper(&db, "DELETE FROM audit_log WHERE position = 1101").await;
    let found = own.verify_audit().await.unwrap();
    assert!(matches!(found, Verification::Broken { position: 1_101, .. }), "the first that is left: {found:?}");
    // Of a chain of which all is gone the end is known all the same.
    assert_eq!(db.store.audit(&entry(1), now()).await.unwrap(), 2);
    assert!(matches!(db.store.verify_audit().await.unwrap(), Verification::Verified { entries: 1, head: (2, _) }));
}

const TOKEN: &str = "00D4S000000oz4e!ARcAQ0123456789abcdefXYZ";

async fn secrets_are_kept_in_neither_log(db: Db) {
    let own = db.store.own();
    let integration = db.integration().await;
    let detail = json!({ "refresh_token": "planted secret", "said": [format!("Bearer {TOKEN}")], "nul": "a\0b" });
    let message = format!("POST /token client_secret=planted&x=1 answered {TOKEN}\0");
    own.log(Some(integration), Event::AuthFailure, Level::Error, &message, detail.clone(), now()).await.unwrap();
    let entry =
        Entry { detail, address: Some(TOKEN), ..Entry::new(Actor::Anonymous, Action::SessionFailed).on("user", TOKEN) };
    own.audit(&entry, now()).await.unwrap();
    let kept = own.integration_logs(&LogFilter::default(), None, 9).await.unwrap().items;
    assert_eq!(kept[0].message, "POST /token client_secret=[secret]&x=1 answered [secret]\u{fffd}");
    assert_eq!(kept[0].detail["said"][0], "Bearer [secret]");
    let as_text = if db.is_sqlite() {
        "SELECT message || detail FROM integration_logs"
    } else {
        "SELECT message || detail::text FROM integration_logs"
    };
    let mut all = db.raw.texts(as_text).await;
    all.extend(db.raw.texts("SELECT detail || target_id || address FROM audit_log").await);
    assert_eq!(all.len(), 2);
    for text in all {
        assert!(!text.contains("planted") && !text.contains("ARcAQ"), "{text}");
    }
    assert_eq!(verified(&own).await, 1);
}

async fn integration_logs_are_listed_in_pages_filtered_and_swept(db: Db) {
    let own = db.store.own();
    let integration = db.integration().await;
    // Two at each moment: the order is that of time and id.
    for n in 0..6 {
        let at = now() + SignedDuration::from_mins(n);
        log(&own, Some(integration), Event::SyncSuccess, Level::Info, at).await;
        log(&own, None, Event::RateLimited, if n == 0 { Level::Error } else { Level::Warning }, at).await;
    }
    let all = own.integration_logs(&LogFilter::default(), None, 100).await.unwrap().items;
    assert_eq!(all.len(), 12);
    assert!(all.is_sorted_by_key(|entry| std::cmp::Reverse((entry.at, entry.id))));
    let (mut paged, mut after) = (Vec::new(), None);
    loop {
        let page = own.integration_logs(&LogFilter::default(), after, 5).await.unwrap();
        paged.extend(page.items);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(paged, all);
    let count = async |filter: LogFilter| own.integration_logs(&filter, None, 100).await.unwrap().items.len();
    let any = LogFilter::default();
    assert_eq!(count(LogFilter { integration: Some(integration), ..any }).await, 6);
    assert_eq!(count(LogFilter { event: Some(Event::RateLimited), ..any }).await, 6);
    assert_eq!(count(LogFilter { level: Some(Level::Error), ..any }).await, 1);
    assert_eq!(count(LogFilter { level: Some(Level::Error), event: Some(Event::SyncSuccess), ..any }).await, 0);
    assert_eq!(db.store.sweep_integration_logs(now() + SignedDuration::from_mins(2)).await.unwrap(), 4);
    assert_eq!(count(any).await, 8);
}

/// A row that is written for every request must not make its table grow, nor need a vacuum for it. What a decision
/// costs is told: run it alone, with `--release` and `--nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stderr, reason = "it tells a figure, to whoever runs it for that")]
async fn counting_writes_within_the_page_on_postgres() {
    let Some(db) = Db::postgres().await else { return };
    let limit = Limit { burst: 1_000_000, period: A_DAY };
    let spent = async |name: String, n: usize| {
        let mut spent = Vec::with_capacity(n);
        for i in 0..n {
            let key = tieline_store::rate_limits::key("api", &format!("{name}{}", i % 20));
            let begun = std::time::Instant::now();
            db.store.take(&key, limit, 1).await.unwrap();
            spent.push(begun.elapsed());
        }
        spent
    };
    let tell = |what: &str, mut spent: Vec<Duration>| {
        spent.sort_unstable();
        eprintln!("{what}: p50 {:?}, p99 {:?}", spent[spent.len() / 2], spent[spent.len() * 99 / 100]);
    };
    let n = if cfg!(debug_assertions) { 300 } else { 5_000 };
    spent("warm".to_owned(), 200).await;
    tell("one client", spent("one".to_owned(), n).await);
    let begun = std::time::Instant::now();
    let ten = futures_util::future::join_all((0..10).map(|c| spent(format!("c{c}-"), n))).await.concat();
    eprintln!("ten at once: {:.0} a second", ten.len() as f64 / begun.elapsed().as_secs_f64());
    tell("ten at once", ten);
    // A session hands in what it has counted when it ends. Some rows move until each has room beside it; with an index on
    // what changes, or full pages, all would.
    db.store.close().await;
    let counted = "SELECT (n_tup_hot_upd > n_tup_upd / 2)::text || ': ' || n_tup_hot_upd || ' of ' || n_tup_upd
        || ', ' || pg_relation_size(relid) || ' bytes' FROM pg_stat_user_tables WHERE relname = 'rate_limits' AND n_tup_upd > 1000";
    let mut told = Vec::new();
    for _ in 0..100 {
        told = db.raw.texts(counted).await;
        if !told.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    eprintln!("new versions within their page: {told:?}");
    assert!(told.len() == 1 && told[0].starts_with("true"), "{told:?}");
}
