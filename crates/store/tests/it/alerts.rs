//! Notifications, who is told of them, and what is to be sent.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tieline_store::alerts::{
    Acknowledgement, AlertChannel, AlertDelivery, AlertKind, ApiCalls, Attempt, ChannelKind, Failure,
    MESSAGES_PER_HOUR, NewChannel, NewRule, Notification, NotificationFilter, NotificationState, QUIET_SECONDS,
    RuleChange, RuleSettings, SavedRule,
};
use tieline_store::audit::AuditFilter;
use tieline_store::integration_logs::LogFilter;
use tieline_store::{Credentials, RunState, Status, Tenant, Uuid};

use crate::contact_steps::ContactSteps;
use crate::database::{Db, now};

on_both!(
    failures_at_once_are_one_notification_and_one_message,
    what_stays_is_told_again_after_the_quiet_time_unless_acknowledged,
    what_comes_and_goes_is_told_twice_in_a_quiet_time,
    a_run_that_ends_well_resolves_and_a_failure_is_noted_whole_or_not,
    rules_say_from_when_on_and_for_what,
    a_certificate_is_told_at_its_steps_and_its_end_once,
    too_many_messages_are_folded_into_one,
    one_worker_has_a_message_and_whoever_comes_late_notes_nothing,
    a_message_that_is_out_of_date_is_not_sent,
    a_channel_that_is_switched_off_is_sent_nothing,
    what_leads_to_a_channel_is_sealed_and_survives_a_change_of_keys,
    businesses_never_see_each_others_alerts,
    a_disconnected_integration_raises_nothing,
    a_periodic_look_is_made_once,
    old_notifications_are_swept,
);

const LEASE: Duration = Duration::from_secs(120);

fn after(seconds: i64) -> Timestamp {
    now() + SignedDuration::from_secs(seconds)
}

pub(crate) const LOGIN: Failure<'static> = Failure {
    needs_person: true,
    is_run: true,
    work: None,
    run: None,
    reason: "invalid_grant: token revoked",
    hint: "connect it again",
};
const RUN: Failure<'static> =
    Failure { needs_person: false, is_run: true, work: None, run: None, reason: "503", hint: "wait" };

pub(crate) async fn channel(tenant: &Tenant, name: &str) -> AlertChannel {
    let new = NewChannel { name, kind: ChannelKind::Webhook, shown: "hooks.example", setting: b"hidden-url" };
    tenant.create_alert_channel(&new, 50, now()).await.unwrap().unwrap()
}

pub(crate) async fn rule(tenant: &Tenant, kind: AlertKind, settings: RuleSettings, channels: &[Uuid]) -> Uuid {
    let new = NewRule { kind, integration: None, settings, quiet_seconds: QUIET_SECONDS, enabled: true, channels };
    match tenant.create_alert_rule(&new, 100, now()).await.unwrap() {
        SavedRule::Done(rule) => rule.id,
        other => panic!("{other:?}"),
    }
}

async fn all(tenant: &Tenant) -> Vec<Notification> {
    tenant.notifications(&NotificationFilter::default(), None, 200).await.unwrap().items
}

async fn messages(tenant: &Tenant, notification: &Notification) -> Vec<AlertDelivery> {
    tenant.alert_deliveries(notification.id, 200).await.unwrap()
}

/// Events and states of a notification's messages.
async fn told(tenant: &Tenant, notification: &Notification) -> Vec<(String, String)> {
    messages(tenant, notification).await.into_iter().map(|m| (m.event, m.state)).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(event, state)| ((*event).to_owned(), (*state).to_owned())).collect()
}

/// Sends all that is due.
async fn send_all(db: &Db, at: Timestamp) -> u64 {
    let mut sent = 0;
    while let Some(claimed) = db.store.claim_delivery(at, LEASE).await.unwrap() {
        assert!(claimed.note(&Attempt::Delivered { status: 200 }, at).await.unwrap());
        sent += 1;
    }
    sent
}

async fn failures_at_once_are_one_notification_and_one_message(db: Db) {
    let (tenant, id) = (db.store.own(), db.integration().await);
    let other = db.place.open().await;
    let hook = channel(&tenant, "ops").await;
    rule(&tenant, AlertKind::AuthFailure, RuleSettings::default(), &[hook.id]).await;
    let failing = (0..24).map(|n| {
        let tenant = if n % 2 == 0 { tenant.clone() } else { other.own() };
        tokio::spawn(async move { tenant.note_failure(id, &LOGIN, now()).await.unwrap() })
    });
    for failed in failing.collect::<Vec<_>>() {
        failed.await.unwrap();
    }
    let found = all(&tenant).await;
    assert_eq!((found.len(), found[0].count, found[0].kind.as_str()), (1, 24, "auth_failure"), "{found:?}");
    let sent = messages(&tenant, &found[0]).await;
    assert_eq!((sent.len(), sent[0].event.as_str()), (1, "opened"));
    assert_eq!(sent[0].payload["data"]["integration"]["name"], "acme");
    assert_eq!(sent[0].payload["data"]["detail"], "invalid_grant: token revoked");
    let logs = tenant.integration_logs(&LogFilter::default(), None, 99).await.unwrap().items;
    assert_eq!(logs.iter().map(|log| log.event.as_str()).collect::<Vec<_>>(), ["auth_failure"], "one event");
    let counts = |store: &tieline_store::Store| store.alerts().counts().map(|(_, raised, _)| raised).sum::<u64>();
    assert_eq!(counts(&db.store) + counts(&other), 1);
    // Two that claim at once have it once.
    let (a, b) = tokio::join!(db.store.claim_delivery(now(), LEASE), other.claim_delivery(now(), LEASE));
    assert_eq!([a.unwrap(), b.unwrap()].into_iter().flatten().count(), 1);
}

async fn what_stays_is_told_again_after_the_quiet_time_unless_acknowledged(db: Db) {
    let (tenant, id) = (db.store.own(), db.integration().await);
    let hook = channel(&tenant, "ops").await;
    rule(&tenant, AlertKind::AuthFailure, RuleSettings::default(), &[hook.id]).await;
    let quiet = i64::from(QUIET_SECONDS);
    for (at, expected) in [(0, 1), (60, 0), (quiet - 1, 0), (quiet, 1), (quiet + 1, 0), (2 * quiet, 1)] {
        tenant.note_failure(id, &LOGIN, after(at)).await.unwrap();
        assert_eq!(send_all(&db, after(at)).await, expected, "after {at} s");
    }
    let found = all(&tenant).await.remove(0);
    let reminded = [("opened", "delivered"), ("reminder", "delivered"), ("reminder", "delivered")];
    assert_eq!((told(&tenant, &found).await, found.count), (pairs(&reminded), 6));
    let seen = tenant.acknowledge(found.id, "user ada", after(2 * quiet + 9)).await.unwrap();
    let Acknowledgement::Done(seen) = seen else { panic!("{seen:?}") };
    assert_eq!((seen.state, seen.acknowledged_by.as_deref()), (NotificationState::Acknowledged, Some("user ada")));
    assert_eq!(tenant.acknowledge(found.id, "user eve", after(9)).await.unwrap(), Acknowledgement::Done(seen));
    let entries = tenant.audit_entries(&AuditFilter::default(), None, 99).await.unwrap();
    assert_eq!(entries.iter().filter(|entry| entry.action == "alert.acknowledged").count(), 1);
    for at in [3 * quiet, 9 * quiet] {
        tenant.note_failure(id, &LOGIN, after(at)).await.unwrap();
        assert_eq!(send_all(&db, after(at)).await, 0, "somebody has seen it");
    }
    // Its end is told all the same, once.
    tenant.save_integration("acme", &Credentials::new(b"other".to_vec()), after(10 * quiet)).await.unwrap();
    assert_eq!(send_all(&db, after(10 * quiet)).await, 1);
    let found = all(&tenant).await.remove(0);
    assert_eq!(found.state, NotificationState::Resolved);
    assert_eq!(told(&tenant, &found).await.last().unwrap().0, "resolved");
    assert_eq!(tenant.acknowledge(found.id, "x", after(0)).await.unwrap(), Acknowledgement::Resolved);
    assert_eq!(tenant.acknowledge(Uuid::now_v7(), "x", after(0)).await.unwrap(), Acknowledgement::None);
}

async fn succeed(tenant: &Tenant, id: Uuid, at: Timestamp) {
    let run = tenant.start_run(id, at).await.unwrap();
    tenant.finish_run(&run, RunState::Success, None, at).await.unwrap();
}

async fn what_comes_and_goes_is_told_twice_in_a_quiet_time(db: Db) {
    let (tenant, id) = (db.store.own(), db.integration().await);
    let hook = channel(&tenant, "ops").await;
    rule(&tenant, AlertKind::SyncFailure, RuleSettings::default(), &[hook.id]).await;
    let mut sent = 0;
    for n in 0..20 {
        let at = 60 * n;
        tenant.note_failure(id, &RUN, after(at)).await.unwrap();
        sent += send_all(&db, after(at)).await;
        succeed(&tenant, id, after(at + 30)).await;
        sent += send_all(&db, after(at + 30)).await;
    }
    let found = all(&tenant).await;
    assert_eq!((found.len(), found[0].count, sent), (1, 20, 2), "{found:?}");
    // Later it is a new one, and told.
    let later = 20 * 60 + i64::from(QUIET_SECONDS);
    tenant.note_failure(id, &RUN, after(later)).await.unwrap();
    assert_eq!((all(&tenant).await.len(), send_all(&db, after(later)).await), (2, 1));
}

async fn a_run_that_ends_well_resolves_and_a_failure_is_noted_whole_or_not(db: Db) {
    let (tenant, id) = (db.store.own(), db.integration().await);
    db.raw.failpoint("BEFORE INSERT ON notifications", "").await;
    tenant.note_failure(id, &RUN, now()).await.unwrap_err();
    db.raw.mend("notifications").await;
    let integration = tenant.integration(id).await.unwrap().unwrap();
    let logs = async |n| tenant.integration_logs(&LogFilter::default(), None, n).await.unwrap().items.len();
    assert_eq!((integration.status, logs(9).await), (Status::Active, 0), "nothing of it was noted");
    tenant.note_failure(id, &RUN, now()).await.unwrap();
    let integration = tenant.integration(id).await.unwrap().unwrap();
    assert_eq!((integration.status, logs(9).await, all(&tenant).await.len()), (Status::Error, 1, 1));
    db.raw.failpoint("BEFORE UPDATE ON notifications", "").await;
    let run = tenant.start_run(id, now()).await.unwrap();
    tenant.finish_run(&run, RunState::Success, None, now()).await.unwrap_err();
    db.raw.mend("notifications").await;
    assert_eq!(tenant.integration(id).await.unwrap().unwrap().status, Status::Error);
    assert_eq!(all(&tenant).await[0].state, NotificationState::Open);
    tenant.finish_run(&run, RunState::Success, None, now()).await.unwrap();
    assert_eq!(all(&tenant).await[0].state, NotificationState::Resolved);
    assert_eq!(tenant.integration(id).await.unwrap().unwrap().status, Status::Active);
}

async fn rules_say_from_when_on_and_for_what(db: Db) {
    let (tenant, id) = (db.store.own(), db.integration().await);
    let second = tenant.save_integration("second", &Credentials::new(b"x".to_vec()), now()).await.unwrap();
    let (early, late) = (channel(&tenant, "early").await, channel(&tenant, "late").await);
    let percent = |percent| RuleSettings { percent: Some(percent), ..RuleSettings::default() };
    let at_80 = rule(&tenant, AlertKind::ApiBudget, percent(80), &[early.id]).await;
    rule(&tenant, AlertKind::ApiBudget, percent(95), &[late.id]).await;
    let calls = |used| ApiCalls { used, allowed: 1_000 };
    for (used, expected, open) in [(799, 0, 0), (800, 1, 1), (940, 0, 1), (950, 1, 2), (990, 0, 2)] {
        tenant.note_api_calls(id, calls(used), now()).await.unwrap();
        let found = tenant.notifications(
            &NotificationFilter { state: Some(NotificationState::Open), kind: Some(AlertKind::ApiBudget) },
            None,
            9,
        );
        assert_eq!((send_all(&db, now()).await, found.await.unwrap().items.len()), (expected, open), "{used}");
    }
    // One falls below, and then the other; each channel hears the end of what it has heard of.
    tenant.note_api_calls(id, calls(900), now()).await.unwrap();
    assert_eq!(send_all(&db, now()).await, 1);
    tenant.note_api_calls(id, calls(10), now()).await.unwrap();
    assert_eq!(send_all(&db, now()).await, 1);
    // A rule for one integration leaves the others alone; and what is switched off is nothing at all.
    let failures = RuleSettings { failures: Some(3), ..RuleSettings::default() };
    let new = NewRule {
        kind: AlertKind::SyncFailure,
        integration: Some(second),
        settings: failures,
        quiet_seconds: QUIET_SECONDS,
        enabled: true,
        channels: &[],
    };
    let SavedRule::Done(third) = tenant.create_alert_rule(&new, 100, now()).await.unwrap() else { panic!() };
    let syncs = async || all(&tenant).await.iter().filter(|found| found.kind == "sync_failure").count();
    for (integration, expected) in [(second, 0), (second, 0), (id, 1), (second, 2), (second, 2)] {
        tenant.note_failure(integration, &RUN, now()).await.unwrap();
        assert_eq!(syncs().await, expected);
    }
    let off = RuleChange { enabled: Some(false), ..RuleChange::default() };
    let SavedRule::Done(off) = tenant.update_alert_rule(third.id, &off, now()).await.unwrap() else { panic!() };
    assert!(!off.enabled && off.settings == failures);
    tenant.note_failure(second, &RUN, now()).await.unwrap();
    let open = NotificationFilter { state: Some(NotificationState::Open), kind: Some(AlertKind::SyncFailure) };
    assert_eq!(tenant.notifications(&open, None, 9).await.unwrap().items.len(), 1, "the first integration's");
    // What is not there is not named.
    let none = Uuid::now_v7();
    let wrong = [none];
    let with = |integration, channels| NewRule { integration, channels, ..new_rule() };
    let refused = tenant.create_alert_rule(&with(Some(none), &[]), 100, now()).await.unwrap();
    assert_eq!(refused, SavedRule::NoIntegration);
    let refused = tenant.create_alert_rule(&with(None, &wrong), 100, now()).await.unwrap();
    assert_eq!(refused, SavedRule::NoChannel);
    assert_eq!(tenant.create_alert_rule(&new_rule(), 3, now()).await.unwrap(), SavedRule::Full);
    assert_eq!(tenant.alert_rules().await.unwrap().len(), 3, "nothing is left of those");
    assert!(tenant.delete_alert_rule(at_80, now()).await.unwrap());
    assert!(!tenant.delete_alert_rule(at_80, now()).await.unwrap());
}

async fn a_certificate_is_told_at_its_steps_and_its_end_once(db: Db) {
    let (tenant, id) = (db.store.own(), db.integration().await);
    let hook = channel(&tenant, "ops").await;
    rule(&tenant, AlertKind::CertificateExpiry, RuleSettings::default(), &[hook.id]).await;
    let day = |days: i64| after(days * 86_400);
    let end = day(100);
    let mut sent = Vec::new();
    for today in 0..103 {
        tenant.note_certificate(id, end, day(today)).await.unwrap();
        if db.store.claim_delivery(day(today), LEASE).await.unwrap().is_some() {
            sent.push(100 - today);
        }
        db.raw.run("UPDATE alert_deliveries SET state = 'delivered'").await;
    }
    // Told again each quiet time: it stays. What counts is when it was told first.
    assert_eq!(sent.iter().max(), Some(&30), "{sent:?}");
    let found = all(&tenant).await;
    assert_eq!(found.len(), 4, "30, 7, 1 and 0: {found:?}");
    assert!(found[0].title.ends_with("has ended") && found.iter().all(|n| n.state == NotificationState::Open));
    assert_eq!(found.iter().map(|n| n.severity.as_str()).collect::<Vec<_>>(), ["error", "error", "error", "warning"]);
    // Another certificate ends all of it, and that is one message.
    tenant.note_certificate(id, day(400), day(103)).await.unwrap();
    assert_eq!(send_all(&db, day(103)).await, 1);
    assert!(all(&tenant).await.iter().all(|n| n.state == NotificationState::Resolved));
}

async fn too_many_messages_are_folded_into_one(db: Db) {
    let tenant = db.store.own();
    let hook = channel(&tenant, "ops").await;
    rule(&tenant, AlertKind::AuthFailure, RuleSettings::default(), &[hook.id]).await;
    let most = MESSAGES_PER_HOUR as usize;
    for n in 0..most + 12 {
        let name = format!("org {n}");
        let id = tenant.save_integration(&name, &Credentials::new(b"x".to_vec()), now()).await.unwrap();
        tenant.note_failure(id, &LOGIN, now()).await.unwrap();
    }
    assert_eq!(all(&tenant).await.len(), most + 12, "each is a notification");
    assert_eq!(send_all(&db, after(1)).await, most as u64);
    assert!(db.store.claim_delivery(after(3_599), LEASE).await.unwrap().is_none());
    let summary = db.store.claim_delivery(after(3_600), LEASE).await.unwrap().unwrap();
    assert_eq!((summary.delivery.event.as_str(), summary.delivery.folded), ("summary", 12));
    // What is folded while that is under way is told by the next one.
    let id = tenant.save_integration("late", &Credentials::new(b"x".to_vec()), now()).await.unwrap();
    tenant.note_failure(id, &LOGIN, after(3_599)).await.unwrap();
    let put_off = Attempt::PutOff { until: after(3_700), reason: "500".to_owned() };
    assert!(summary.note(&put_off, after(3_600)).await.unwrap());
    let again = db.store.claim_delivery(after(3_700), LEASE).await.unwrap().unwrap();
    assert_eq!((again.delivery.id, again.delivery.folded), (summary.delivery.id, 12), "the same message");
    assert!(again.note(&Attempt::Delivered { status: 200 }, after(3_700)).await.unwrap());
    let next = db.store.claim_delivery(after(7_300), LEASE).await.unwrap().unwrap();
    assert_eq!((next.delivery.event.as_str(), next.delivery.folded), ("summary", 1));
}

async fn one_worker_has_a_message_and_whoever_comes_late_notes_nothing(db: Db) {
    let (tenant, id) = (db.store.own(), db.integration().await);
    let hook = channel(&tenant, "ops").await;
    rule(&tenant, AlertKind::AuthFailure, RuleSettings::default(), &[hook.id]).await;
    tenant.note_failure(id, &LOGIN, now()).await.unwrap();
    let slow = db.store.claim_delivery(now(), LEASE).await.unwrap().unwrap();
    assert!(db.store.claim_delivery(after(119), LEASE).await.unwrap().is_none());
    let next = db.store.claim_delivery(after(120), LEASE).await.unwrap().unwrap();
    assert_eq!((next.delivery.id, next.delivery.attempts), (slow.delivery.id, 2));
    let gone = Attempt::GivenUp { reason: "slow".to_owned(), disable: true };
    assert!(!slow.note(&gone, after(121)).await.unwrap(), "another one has it");
    assert!(next.note(&Attempt::Delivered { status: 202 }, after(121)).await.unwrap());
    assert!(!next.note(&gone, after(122)).await.unwrap(), "it has ended");
    let found = all(&tenant).await.remove(0);
    let message = messages(&tenant, &found).await.remove(0);
    assert_eq!((message.state.as_str(), message.status, message.error), ("delivered", Some(202), None));
    let channel = tenant.alert_channel(hook.id).await.unwrap().unwrap();
    assert!(channel.enabled && channel.last_success_at == Some(after(121)) && channel.last_error.is_none());
}

async fn a_message_that_is_out_of_date_is_not_sent(db: Db) {
    let (tenant, id) = (db.store.own(), db.integration().await);
    let hook = channel(&tenant, "ops").await;
    rule(&tenant, AlertKind::SyncFailure, RuleSettings::default(), &[hook.id]).await;
    // The receiver is away: what was to be told is over before it is back.
    tenant.note_failure(id, &RUN, now()).await.unwrap();
    let opened = db.store.claim_delivery(now(), LEASE).await.unwrap().unwrap();
    succeed(&tenant, id, after(1)).await;
    assert!(db.store.claim_delivery(after(1), LEASE).await.unwrap().is_none(), "one at a time");
    let away = Attempt::PutOff { until: after(6), reason: "no answer from hooks.example".to_owned() };
    assert!(opened.note(&away, after(1)).await.unwrap());
    let resolved = db.store.claim_delivery(after(1), LEASE).await.unwrap().unwrap();
    assert_eq!(resolved.delivery.event, "resolved");
    assert!(resolved.note(&away, after(2)).await.unwrap());
    let found = all(&tenant).await.remove(0);
    assert_eq!(told(&tenant, &found).await, pairs(&[("opened", "superseded"), ("resolved", "waiting")]));
    assert_eq!(messages(&tenant, &found).await[0].ended_at, Some(after(1)));
    assert!(messages(&tenant, &found).await[1].error.as_deref().unwrap().starts_with("no answer"));
    assert_eq!(send_all(&db, after(6)).await, 1);
}

async fn a_channel_that_is_switched_off_is_sent_nothing(db: Db) {
    let (tenant, id) = (db.store.own(), db.integration().await);
    let (hook, other) = (channel(&tenant, "ops").await, channel(&tenant, "other").await);
    rule(&tenant, AlertKind::AuthFailure, RuleSettings::default(), &[hook.id, other.id]).await;
    tenant.note_failure(id, &LOGIN, now()).await.unwrap();
    tenant.update_alert_channel(hook.id, None, Some(false), None, now()).await.unwrap().unwrap();
    let claimed = db.store.claim_delivery(now(), LEASE).await.unwrap().unwrap();
    assert_eq!(claimed.delivery.channel_id, other.id);
    let gone = Attempt::GivenUp { reason: "410 Gone".to_owned(), disable: true };
    assert!(claimed.note(&gone, now()).await.unwrap());
    let other = tenant.alert_channel(other.id).await.unwrap().unwrap();
    assert_eq!((other.enabled, other.last_error.as_deref()), (false, Some("410 Gone")));
    tenant.update_alert_channel(hook.id, None, Some(true), None, now()).await.unwrap().unwrap();
    assert!(db.store.claim_delivery(after(9), LEASE).await.unwrap().is_none(), "nothing waits for it since then");
    let found = all(&tenant).await.remove(0);
    assert_eq!(told(&tenant, &found).await, pairs(&[("opened", "failed"), ("opened", "failed")]));
    assert!(tenant.delete_alert_channel(hook.id, now()).await.unwrap());
    assert!(!tenant.delete_alert_channel(hook.id, now()).await.unwrap());
    assert_eq!(messages(&tenant, &found).await.len(), 1);
}

async fn what_leads_to_a_channel_is_sealed_and_survives_a_change_of_keys(db: Db) {
    let tenant = db.store.own();
    let hook = channel(&tenant, "ops").await;
    let stored = match db.is_sqlite() {
        true => "SELECT hex(setting) FROM alert_channels",
        false => "SELECT upper(encode(setting, 'hex')) FROM alert_channels",
    };
    let before = db.raw.texts(stored).await.remove(0);
    assert!(!before.contains("68696464656E"), "`hidden` in the clear");
    let far = after(86_400 * 365 * 50);
    let mut progress = db.store.renew_data_keys(far, now(), None, 100).await.unwrap();
    assert!(progress.failed.is_empty() && progress.resealed == 1, "{progress:?}");
    while let Some(next) = progress.next {
        progress = db.store.renew_data_keys(far, now(), Some(next), 100).await.unwrap();
    }
    assert_ne!(db.raw.texts(stored).await.remove(0), before);
    let (opened, setting) = tenant.open_alert_channel(hook.id).await.unwrap().unwrap();
    assert_eq!((opened.name.as_str(), setting.as_slice()), ("ops", b"hidden-url".as_slice()));
    // In another row it does not open.
    let other = channel(&tenant, "other").await;
    let swap = format!(
        "UPDATE alert_channels SET setting = (SELECT setting FROM alert_channels WHERE id = '{}') WHERE id = '{}'",
        hook.id, other.id
    );
    db.raw.run(&swap).await;
    tenant.open_alert_channel(other.id).await.unwrap_err();
    let twice = NewChannel { name: "ops", kind: ChannelKind::Slack, shown: "x", setting: b"x" };
    let taken = tenant.create_alert_channel(&twice, 50, now()).await.unwrap_err();
    assert!(matches!(taken, tieline_store::StoreError::Taken(_)), "{taken}");
    assert!(tenant.create_alert_channel(&NewChannel { name: "x", ..twice }, 2, now()).await.unwrap().is_none());
}

async fn businesses_never_see_each_others_alerts(db: Db) {
    let new = tieline_store::NewUser { email: "o@example.com", name: "O", password_hash: None };
    let owner = db.store.set_up(&new, "first", "", now()).await.unwrap().unwrap();
    let mut tenants = Vec::new();
    for name in ["a", "b"] {
        let business = db.store.create_business(name, owner.id, "", now()).await.unwrap();
        let membership = db.store.membership(owner.id, business).await.unwrap().unwrap();
        tenants.push(db.store.as_member(&membership));
    }
    let (a, b) = (&tenants[0], &tenants[1]);
    let hook = channel(a, "ops").await;
    let id = a.save_integration("org", &Credentials::new(b"x".to_vec()), now()).await.unwrap();
    let of_a = rule(a, AlertKind::AuthFailure, RuleSettings::default(), &[hook.id]).await;
    a.note_failure(id, &LOGIN, now()).await.unwrap();
    let found = all(a).await.remove(0);
    assert!(all(b).await.is_empty() && b.alert_channels().await.unwrap().is_empty());
    assert!(b.alert_rules().await.unwrap().is_empty() && b.alert_rule(of_a).await.unwrap().is_none());
    assert!(b.notification(found.id).await.unwrap().is_none());
    assert_eq!(b.acknowledge(found.id, "eve", now()).await.unwrap(), Acknowledgement::None);
    assert!(b.alert_deliveries(found.id, 9).await.unwrap().is_empty());
    assert!(b.open_alert_channel(hook.id).await.unwrap().is_none());
    assert!(b.update_alert_channel(hook.id, Some("x"), None, None, now()).await.unwrap().is_none());
    assert!(!b.delete_alert_channel(hook.id, now()).await.unwrap());
    assert!(!b.delete_alert_rule(of_a, now()).await.unwrap());
    // Another's channel is no channel, and another's integration none.
    let mine = channel(b, "ops").await;
    let to = [hook.id, mine.id];
    assert_eq!(
        b.create_alert_rule(&NewRule { channels: &to, ..new_rule() }, 9, now()).await.unwrap(),
        SavedRule::NoChannel
    );
    let of = NewRule { integration: Some(id), ..new_rule() };
    assert_eq!(b.create_alert_rule(&of, 9, now()).await.unwrap(), SavedRule::NoIntegration);
    b.note_failure(id, &LOGIN, now()).await.unwrap();
    assert_eq!(all(a).await[0].count, 1);
    let claimed = db.store.claim_delivery(now(), LEASE).await.unwrap().unwrap();
    assert_eq!((claimed.tenant.business(), claimed.delivery.channel_id), (a.business(), hook.id));
}

async fn a_disconnected_integration_raises_nothing(db: Db) {
    let (tenant, id) = (db.store.own(), db.integration().await);
    tenant.note_failure(id, &LOGIN, now()).await.unwrap();
    tenant.note_api_calls(id, ApiCalls { used: 99, allowed: 100 }, now()).await.unwrap();
    assert_eq!(all(&tenant).await.len(), 2);
    let integration = tenant.integration(id).await.unwrap().unwrap();
    tenant.shut_integration(&integration, None, true, "disconnected", now()).await.unwrap().unwrap();
    assert!(all(&tenant).await.iter().all(|found| found.state == NotificationState::Resolved));
    tenant.note_failure(id, &LOGIN, now()).await.unwrap();
    tenant.note_api_calls(id, ApiCalls { used: 99, allowed: 100 }, now()).await.unwrap();
    tenant.note_certificate(id, now(), now()).await.unwrap();
    assert!(all(&tenant).await.iter().all(|found| found.state == NotificationState::Resolved));
    assert_eq!(tenant.integration(id).await.unwrap().unwrap().status, Status::Inactive);
    assert!(tenant.delete_integration(id, now()).await.unwrap());
    assert!(all(&tenant).await.is_empty(), "they go with it, as its log does");
}

async fn a_periodic_look_is_made_once(db: Db) {
    let other = db.place.open().await;
    let every = SignedDuration::from_mins(30);
    for (at, expected) in [(0, 1), (1_799, 0), (1_800, 1), (1_801, 0)] {
        let asked = (0..10).map(|n| {
            let store = if n % 2 == 0 { db.store.clone() } else { other.clone() };
            tokio::spawn(async move { store.take_alert_check("conditions", every, after(at)).await.unwrap() })
        });
        let mut taken = 0;
        for asked in asked.collect::<Vec<_>>() {
            taken += usize::from(asked.await.unwrap());
        }
        assert_eq!(taken, expected, "after {at} s");
    }
}

async fn old_notifications_are_swept(db: Db) {
    let (tenant, id) = (db.store.own(), db.integration().await);
    tenant.note_failure(id, &RUN, now()).await.unwrap();
    assert_eq!(db.store.sweep_notifications(after(9)).await.unwrap(), 0, "it is open");
    succeed(&tenant, id, after(1)).await;
    assert_eq!(db.store.sweep_notifications(after(1)).await.unwrap(), 0);
    assert_eq!(db.store.sweep_notifications(after(2)).await.unwrap(), 1);
    assert!(all(&tenant).await.is_empty());
}

fn new_rule() -> NewRule<'static> {
    NewRule {
        kind: AlertKind::AuthFailure,
        integration: None,
        settings: RuleSettings::default(),
        quiet_seconds: QUIET_SECONDS,
        enabled: true,
        channels: &[],
    }
}
