//! The queue of sync runs: each tick once, each request served, one run at a time, and a turn for everybody.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tieline_store::sync_work::{Claiming, Ended, Pace, Work, WorkClaim};
use tieline_store::{Credentials, NewUser, Status, Store, Tenant, Uuid};

use crate::contact_steps::ContactSteps;
use crate::database::{Db, now};
use crate::object_tables::mapped;

on_both!(
    a_tick_is_taken_once_by_however_many_schedulers,
    t37_a_storm_of_requests_is_one_run_at_a_time_and_each_is_served,
    a_request_during_a_run_makes_one_more_run,
    t38_the_work_of_a_dead_worker_is_taken_when_its_lease_ends_and_a_zombie_ends_nothing,
    work_that_is_given_back_is_ready_at_once_with_its_request,
    t39_one_business_does_not_delay_another,
    a_business_has_no_more_runs_than_it_may_however_many_claim_at_once,
    t40_businesses_do_not_see_each_others_work,
    t42_connecting_again_makes_no_second_schedule_and_schedules_follow_integrations,
    what_failed_waits_and_what_somebody_asks_for_does_not,
    a_pace_is_kept_and_mappings_are_taken_by_whoever_knows_them,
    the_queue_tells_how_it_stands,
    one_run_at_a_time_is_the_databases_own_rule,
    a_run_by_hand_takes_the_work_whoever_has_it,
    work_is_named_as_far_as_there_are_places_and_taken_by_its_name,
);

const EVERY: Duration = Duration::from_secs(900);
const LEASE: Duration = Duration::from_secs(60);

fn at(seconds: i64) -> Timestamp {
    now() + SignedDuration::from_secs(seconds)
}

fn claiming() -> Claiming {
    Claiming { owner: "me".to_owned(), mappings: true, per_business: 2, every: EVERY, lease: LEASE }
}

async fn claim(store: &Store, now: Timestamp) -> Option<WorkClaim> {
    let claiming = claiming();
    let ready = store.has_ready_work(&claiming, now).await.unwrap();
    let claim = store.claim_work(&claiming, now).await.unwrap();
    // A business at its limit has ready work that nobody may take.
    assert!(ready || claim.is_none(), "what is not there was taken");
    claim
}

async fn done(claim: &WorkClaim, now: Timestamp) {
    assert!(claim.end(&Ended::Done { next: None }, now).await.unwrap());
}

async fn integration(tenant: &Tenant, name: &str) -> Uuid {
    tenant.save_integration(name, &Credentials::new(b"x".to_vec()), now()).await.unwrap()
}

pub(crate) async fn tenants(db: &Db, names: &[&str]) -> Vec<Tenant> {
    let new = NewUser { email: "owner@example.com", name: "O", password_hash: None };
    let owner = db.store.set_up(&new, "first", "", now()).await.unwrap().unwrap();
    let mut tenants = Vec::new();
    for name in names {
        let business = db.store.create_business(name, owner.id, "", now()).await.unwrap();
        tenants.push(db.store.as_member(&db.store.membership(owner.id, business).await.unwrap().unwrap()));
    }
    tenants
}

async fn follow(db: &Db) {
    db.store.follow_integrations(EVERY, now()).await.unwrap();
}

/// Eight schedulers, each with connections of its own, over a week of ticks.
async fn a_tick_is_taken_once_by_however_many_schedulers(db: Db) {
    let id = db.integration().await;
    let mut nodes = Vec::new();
    for _ in 0..8 {
        let store = db.place.open().await;
        nodes.push(store);
    }
    futures_util::future::join_all(nodes.iter().map(|node| node.follow_integrations(EVERY, now()))).await;
    let mut taken = 0;
    // The node was away for a day before the last one: those ticks are one.
    for tick in [0, 900, 1_800, 2_700, 2_700 + 86_400] {
        let claims = futures_util::future::join_all(nodes.iter().map(|node| claim(node, at(tick)))).await;
        let claims: Vec<WorkClaim> = claims.into_iter().flatten().collect();
        assert_eq!(claims.len(), 1, "the tick at {tick} was taken {} times", claims.len());
        assert_eq!(claims[0].work(), Work::Contacts { integration: id });
        done(&claims[0], at(tick + 5)).await;
        taken += 1;
        assert!(claim(&db.store, at(tick + 899)).await.is_none(), "a tick before its time");
        let work = db.store.own().sync_work().await.unwrap();
        assert_eq!((work.len(), work[0].due_at), (1, Some(at(tick + 900))));
    }
    assert_eq!(taken, 5);
}

/// Two nodes that work as fast as they can, while requests come from everywhere.
async fn t37_a_storm_of_requests_is_one_run_at_a_time_and_each_is_served(db: Db) {
    let tenant = db.store.own();
    let integration = db.integration().await;
    for name in ["accounts", "cases"] {
        mapped(&tenant, integration, name, &[]).await;
    }
    follow(&db).await;
    let nodes = [db.store.clone(), db.place.open().await];
    let active = std::sync::Mutex::new(HashMap::<Uuid, u32>::new());
    let tickets = std::sync::Mutex::new(Vec::new());
    let runs = std::sync::atomic::AtomicU32::new(0);
    let storm = std::sync::atomic::AtomicBool::new(true);
    let claiming = Claiming { per_business: 9, ..claiming() };
    let work = async |node: &Store| {
        loop {
            let Some(claim) = node.claim_work(&claiming, at(1)).await.unwrap() else {
                if !storm.load(std::sync::atomic::Ordering::SeqCst) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            };
            let id = claim.work().id();
            let at_it = {
                let mut active = active.lock().unwrap();
                *active.entry(id).and_modify(|n| *n += 1).or_insert(1)
            };
            assert_eq!(at_it, 1, "two runs of {id} at a time");
            tokio::time::sleep(Duration::from_millis(2)).await;
            runs.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            *active.lock().unwrap().get_mut(&id).unwrap() -= 1;
            done(&claim, at(1)).await;
        }
    };
    let ask = async |node: &Store| {
        for _ in 0..25 {
            let asked = node.own().request_sync(None, at(1)).await.unwrap();
            assert_eq!(asked.len(), 3);
            tickets.lock().unwrap().extend(asked);
        }
    };
    let asking = async {
        futures_util::future::join_all([&nodes[0], &nodes[1], &nodes[0], &nodes[1]].map(ask)).await;
        storm.store(false, std::sync::atomic::Ordering::SeqCst);
    };
    let working = futures_util::future::join_all([&nodes[0], &nodes[1], &nodes[0], &nodes[1]].map(work));
    tokio::join!(asking, working);
    // Whoever looked last may have been before the last request.
    storm.store(false, std::sync::atomic::Ordering::SeqCst);
    work(&nodes[0]).await;
    let tickets = tickets.into_inner().unwrap();
    assert_eq!(tickets.len(), 300);
    assert_eq!(db.store.unserved(&tickets).await.unwrap(), []);
    let runs = runs.into_inner();
    assert!((3..=300).contains(&runs), "{runs}");
}

async fn a_request_during_a_run_makes_one_more_run(db: Db) {
    let (tenant, id) = (db.store.own(), db.integration().await);
    follow(&db).await;
    let work = Work::Contacts { integration: id };
    let first = claim(&db.store, at(0)).await.unwrap();
    let mut tickets = tenant.request_sync(Some(work), at(1)).await.unwrap();
    tickets.extend(tenant.request_sync(Some(work), at(2)).await.unwrap());
    assert_eq!(tickets.len(), 2);
    assert!(claim(&db.store, at(3)).await.is_none(), "a second run beside the first");
    done(&first, at(4)).await;
    assert_eq!(db.store.unserved(&tickets).await.unwrap().len(), 2, "served by a run that had begun before");
    let second = claim(&db.store, at(5)).await.expect("the requests are one more run");
    done(&second, at(6)).await;
    assert_eq!(db.store.unserved(&tickets).await.unwrap(), []);
    assert!(claim(&db.store, at(7)).await.is_none(), "two requests were two runs");
    assert!(tenant.request_sync(Some(Work::Mapping { mapping: Uuid::now_v7() }), at(8)).await.unwrap().is_empty());
}

async fn t38_the_work_of_a_dead_worker_is_taken_when_its_lease_ends_and_a_zombie_ends_nothing(db: Db) {
    let (tenant, id) = (db.store.own(), db.integration().await);
    follow(&db).await;
    let asked = tenant.request_sync(None, at(0)).await.unwrap();
    let zombie = claim(&db.store, at(0)).await.unwrap();
    let run = tenant.start_run(id, at(0)).await.unwrap();
    assert!(zombie.prolong(at(30)).await.unwrap());
    assert!(claim(&db.store, at(89)).await.is_none(), "taken from somebody who lives");
    // It was stopped; another one goes on.
    let next = claim(&db.store, at(90)).await.expect("the lease has ended");
    assert!(next.fence > zombie.fence);
    let later = tenant.start_run(id, at(90)).await.unwrap();
    // It wakes, and knows nothing of it.
    let step = crate::contact_steps::Step { contacts: &[], checkpoint: &Default::default(), api_calls: 1 };
    assert!(matches!(tenant.commit_step(&run, &step, at(91)).await, Err(tieline_store::StoreError::Fenced { .. })));
    assert!(!zombie.prolong(at(91)).await.unwrap());
    assert!(!zombie.give_back(at(91)).await.unwrap());
    for ended in [Ended::Done { next: None }, Ended::Failed { error: "x", retry_at: at(9_999) }, Ended::Gone] {
        assert!(!zombie.end(&ended, at(91)).await.unwrap(), "{ended:?}");
    }
    let work = tenant.sync_work().await.unwrap();
    assert!(work[0].is_running(at(91)) && work[0].outcome.is_none(), "{work:?}");
    tenant.commit_step(&later, &step, at(92)).await.unwrap();
    assert_eq!(db.store.unserved(&asked).await.unwrap().len(), 1);
    done(&next, at(93)).await;
    assert!(!next.end(&Ended::Gone, at(94)).await.unwrap(), "ended twice");
    assert_eq!(db.store.unserved(&asked).await.unwrap(), [], "the request went over to whoever took the work up");
    // The tick was taken with the first claim: it is not there once more.
    assert_eq!(tenant.sync_work().await.unwrap()[0].due_at, Some(at(900)));
}

async fn work_that_is_given_back_is_ready_at_once_with_its_request(db: Db) {
    let (tenant, _) = (db.store.own(), db.integration().await);
    follow(&db).await;
    let asked = tenant.request_sync(None, at(0)).await.unwrap();
    let first = claim(&db.store, at(0)).await.unwrap();
    assert!(first.give_back(at(1)).await.unwrap());
    assert_eq!(db.store.unserved(&asked).await.unwrap().len(), 1);
    let second = claim(&db.store, at(1)).await.expect("ready at once");
    assert_eq!(second.item.failures, 0);
    done(&second, at(2)).await;
    assert_eq!(db.store.unserved(&asked).await.unwrap(), []);
    assert!(claim(&db.store, at(3)).await.is_none());
}

/// A business with fifty mappings whose runs never end, and one with a poll every now and then.
async fn t39_one_business_does_not_delay_another(db: Db) {
    let tenants = tenants(&db, &["a", "b", "c"]).await;
    let a = integration(&tenants[0], "org").await;
    for n in 0..50 {
        mapped(&tenants[0], a, &format!("t{n}"), &[]).await;
    }
    follow(&db).await;
    for n in 0..2 {
        let taken = claim(&db.store, at(n)).await.unwrap();
        assert_eq!(taken.tenant.business(), tenants[0].business());
    }
    assert!(claim(&db.store, at(2)).await.is_none(), "more than its share");
    for tenant in &tenants[1..] {
        integration(tenant, "org").await;
    }
    db.store.follow_integrations(EVERY, at(3)).await.unwrap();
    // Both others come before anything more of the first, for hours; its own runs are silent and are taken up again.
    for round in 0..12 {
        let time = at(3 + round * 900);
        let mut seen = Vec::new();
        for _ in 0..3 {
            let Some(taken) = claim(&db.store, time).await else { break };
            seen.push(taken.tenant.business());
            if taken.tenant.business() != tenants[0].business() {
                done(&taken, time).await;
            }
        }
        let others: HashSet<Uuid> = tenants[1..].iter().map(Tenant::business).collect();
        let first_of = seen.iter().position(|business| *business == tenants[0].business()).unwrap_or(seen.len());
        let before: HashSet<Uuid> = seen[..first_of.max(2).min(seen.len())].iter().copied().collect();
        assert!(others.iter().all(|other| seen.contains(other)), "round {round}: {seen:?}");
        assert!(round > 0 || before == others, "{seen:?}");
    }
    // Turns: of two who have much to do each is taken in its turn.
    let b = tenants[1].integrations().await.unwrap()[0].id;
    for n in 0..9 {
        mapped(&tenants[1], b, &format!("u{n}"), &[]).await;
    }
    let late = at(100_000);
    db.store.follow_integrations(EVERY, late).await.unwrap();
    let claiming = Claiming { per_business: 9, ..claiming() };
    let mut order = Vec::new();
    for n in 0..8 {
        let time = late + SignedDuration::from_millis(n);
        order.push(db.store.claim_work(&claiming, time).await.unwrap().unwrap().tenant.business());
    }
    let count = |tenant: &Tenant| order.iter().filter(|business| **business == tenant.business()).count();
    assert_eq!((count(&tenants[0]), count(&tenants[1]), count(&tenants[2])), (4, 3, 1), "{order:?}");
}

async fn a_business_has_no_more_runs_than_it_may_however_many_claim_at_once(db: Db) {
    let tenant = db.store.own();
    let id = db.integration().await;
    for n in 0..12 {
        mapped(&tenant, id, &format!("t{n}"), &[]).await;
        integration(&tenant, &format!("other {n}")).await;
    }
    follow(&db).await;
    // Nodes that know mappings begin with another row than those that do not: no row's lock keeps them apart.
    db.raw.run("UPDATE sync_work SET priority = 1 WHERE kind = 'mapping'").await;
    let mut nodes = vec![db.store.clone()];
    for _ in 0..3 {
        nodes.push(db.place.open().await);
    }
    for round in 0..12 {
        let time = at(round * 61);
        let claims = futures_util::future::join_all((0..12).map(|n| {
            let node = nodes[n % nodes.len()].clone();
            let claiming = Claiming { mappings: n % 2 == 0, ..claiming() };
            async move {
                // Whoever meets a turn that is held is passed by, and looks again.
                for _ in 0..4 {
                    if let Some(claim) = node.claim_work(&claiming, time).await.unwrap() {
                        return Some(claim);
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                None
            }
        }))
        .await;
        let claims: Vec<WorkClaim> = claims.into_iter().flatten().collect();
        assert_eq!(claims.len(), 2, "round {round}");
        assert_ne!(claims[0].work(), claims[1].work());
    }
}

async fn t40_businesses_do_not_see_each_others_work(db: Db) {
    let tenants = tenants(&db, &["a", "b"]).await;
    let (a, b) = (integration(&tenants[0], "org").await, integration(&tenants[1], "org").await);
    follow(&db).await;
    for (tenant, own, other) in [(&tenants[0], a, b), (&tenants[1], b, a)] {
        let work = tenant.sync_work().await.unwrap();
        assert_eq!(work.iter().map(|item| item.work.id()).collect::<Vec<_>>(), [own]);
        let theirs = Work::Contacts { integration: other };
        assert!(tenant.request_sync(Some(theirs), at(0)).await.unwrap().is_empty());
        assert!(!tenant.set_pace(theirs, Some(&Pace::OnRequest), at(0)).await.unwrap());
        assert_eq!(tenant.request_sync(None, at(0)).await.unwrap().len(), 1, "everything is its own everything");
    }
    let of_a = claim(&db.store, at(0)).await.unwrap();
    let of_b = claim(&db.store, at(0)).await.unwrap();
    assert_ne!(of_a.tenant.business(), of_b.tenant.business());
    // A claim in the wrong hands: nothing of the other's is touched.
    let mut forged = of_b.clone();
    forged.tenant = of_a.tenant.clone();
    assert!(!forged.prolong(at(1)).await.unwrap() && !forged.end(&Ended::Gone, at(1)).await.unwrap());
    done(&of_b, at(1)).await;
}

async fn t42_connecting_again_makes_no_second_schedule_and_schedules_follow_integrations(db: Db) {
    let tenant = db.store.own();
    let id = db.integration().await;
    follow(&db).await;
    let first = claim(&db.store, at(0)).await.unwrap();
    done(&first, at(1)).await;
    // Connected again, by the same name and by another way.
    for n in 0..3 {
        let again = Credentials::new(format!("again {n}").into_bytes());
        assert_eq!(tenant.save_integration("acme", &again, at(2)).await.unwrap(), id);
        db.store.follow_integrations(EVERY, at(2)).await.unwrap();
    }
    let access = tieline_store::NewAccess {
        credentials: &Credentials::new(b"new".to_vec()),
        organization_id: "00D000000000001AAA",
        config: &serde_json::json!({}),
        begun_at: at(2),
    };
    for n in 0..2 {
        let generation = tenant.integration(id).await.unwrap().unwrap().generation;
        tenant.keep_access(id, generation, &access, at(3)).await.unwrap();
        assert_eq!(tenant.sync_work().await.unwrap().len(), 1);
        let run = claim(&db.store, at(3)).await.unwrap_or_else(|| panic!("new access {n} is tried at once"));
        done(&run, at(4)).await;
    }
    // Another row for the same org becomes the one that is there.
    let other = tenant.create_integration("other", None, &serde_json::json!({}), at(4)).await.unwrap();
    tenant.keep_access(other.id, other.generation, &access, at(5)).await.unwrap();
    db.store.follow_integrations(EVERY, at(5)).await.unwrap();
    let work = tenant.sync_work().await.unwrap();
    assert_eq!(work.iter().map(|item| item.work).collect::<Vec<_>>(), [Work::Contacts { integration: id }]);
    // Disconnected: nothing is taken, whatever is due or asked for.
    let before = tenant.integration(id).await.unwrap().unwrap();
    tenant.shut_integration(&before, None, true, "x", at(6)).await.unwrap().unwrap();
    assert!(tenant.request_sync(None, at(7)).await.unwrap().is_empty());
    db.store.follow_integrations(EVERY, at(5_000)).await.unwrap();
    assert!(claim(&db.store, at(5_000)).await.is_none(), "a run of what is disconnected");
    let now_shut = tenant.integration(id).await.unwrap().unwrap();
    assert_eq!(now_shut.status, Status::Inactive);
    tenant.keep_access(id, now_shut.generation, &access, at(5_001)).await.unwrap();
    assert!(claim(&db.store, at(5_001)).await.is_some());
    tenant.delete_integration(id, at(5_002)).await.unwrap();
    db.store.follow_integrations(EVERY, at(5_002)).await.unwrap();
    assert!(tenant.sync_work().await.unwrap().is_empty());
    assert!(claim(&db.store, at(99_999)).await.is_none());
}

async fn what_failed_waits_and_what_somebody_asks_for_does_not(db: Db) {
    let (tenant, _) = (db.store.own(), db.integration().await);
    follow(&db).await;
    let first = claim(&db.store, at(0)).await.unwrap();
    let failed = Ended::Failed { error: "the org is away", retry_at: at(30) };
    assert!(first.end(&failed, at(1)).await.unwrap());
    assert!(claim(&db.store, at(29)).await.is_none());
    let second = claim(&db.store, at(30)).await.expect("before the next tick");
    assert_eq!(second.item.failures, 1);
    assert!(second.end(&Ended::Failed { error: "again", retry_at: at(2_000) }, at(31)).await.unwrap());
    let work = &tenant.sync_work().await.unwrap()[0];
    assert_eq!((work.failures, work.error.as_deref(), work.outcome.as_deref()), (2, Some("again"), Some("failed")));
    assert!(claim(&db.store, at(901)).await.is_none(), "a tick does not come before the pause has ended");
    tenant.request_sync(None, at(902)).await.unwrap();
    let third = claim(&db.store, at(902)).await.expect("somebody has asked");
    assert!(third.end(&Ended::PausedQuota { until: at(3_000) }, at(903)).await.unwrap());
    let work = &tenant.sync_work().await.unwrap()[0];
    assert_eq!((work.failures, work.retry_at, work.outcome.as_deref()), (2, Some(at(3_000)), Some("paused_quota")));
    assert!(claim(&db.store, at(2_999)).await.is_none());
    let fourth = claim(&db.store, at(3_000)).await.unwrap();
    assert!(fourth.end(&Ended::Done { next: Some(at(3_100)) }, at(3_001)).await.unwrap());
    let work = &tenant.sync_work().await.unwrap()[0];
    assert_eq!((work.failures, work.retry_at, work.due_at, work.error.clone()), (0, None, Some(at(3_100)), None));
}

async fn a_pace_is_kept_and_mappings_are_taken_by_whoever_knows_them(db: Db) {
    let (tenant, id) = (db.store.own(), db.integration().await);
    let mapping = mapped(&tenant, id, "accounts", &[]).await;
    follow(&db).await;
    let (contacts, mapped) = (Work::Contacts { integration: id }, Work::Mapping { mapping: mapping.id });
    let unknowing = Claiming { mappings: false, ..claiming() };
    let first = db.store.claim_work(&unknowing, at(0)).await.unwrap().unwrap();
    assert_eq!(first.work(), contacts);
    assert!(db.store.claim_work(&unknowing, at(0)).await.unwrap().is_none());
    done(&first, at(0)).await;
    assert!(tenant.set_pace(mapped, Some(&"cron 0 6 * * *".parse().unwrap()), at(0)).await.unwrap());
    assert!(tenant.set_pace(contacts, Some(&Pace::OnRequest), at(0)).await.unwrap());
    db.store.follow_integrations(EVERY, at(1)).await.unwrap();
    // Six in the morning of the next day; and the other never by itself.
    assert!(claim(&db.store, at(18 * 3600 - 1)).await.is_none());
    let taken = claim(&db.store, at(18 * 3600)).await.unwrap();
    assert_eq!(taken.work(), mapped);
    done(&taken, at(18 * 3600 + 1)).await;
    tenant.request_sync(Some(contacts), at(90_000)).await.unwrap();
    let taken = claim(&db.store, at(90_000)).await.unwrap();
    assert_eq!(taken.work(), contacts);
    done(&taken, at(90_001)).await;
    assert!(tenant.set_pace(contacts, Some(&Pace::Continuous), at(90_002)).await.unwrap());
    for second in [90_002, 90_003, 90_020] {
        let taken = claim(&db.store, at(second)).await.unwrap();
        assert_eq!(taken.work(), contacts);
        done(&taken, at(second)).await;
    }
    // A mapping that somebody has paused is left alone.
    db.raw.run("UPDATE mappings SET state = 'paused' WHERE target = 'table'").await;
    tenant.set_pace(contacts, None, at(90_021)).await.unwrap();
    let taken = claim(&db.store, at(200_000)).await.unwrap();
    assert_eq!(taken.work(), contacts);
    assert!(claim(&db.store, at(200_000)).await.is_none());
    // So are contacts.
    done(&taken, at(200_001)).await;
    db.raw.run("UPDATE mappings SET state = 'paused'").await;
    assert!(claim(&db.store, at(300_000)).await.is_none());
    assert_eq!(tenant.sync_work().await.unwrap().len(), 2);
    tenant.delete_mapping(&mapping, at(0)).await.unwrap();
    assert_eq!(tenant.sync_work().await.unwrap().len(), 1);
}

async fn the_queue_tells_how_it_stands(db: Db) {
    let tenant = db.store.own();
    assert_eq!(db.store.queue_state(at(0)).await.unwrap(), Default::default());
    let id = db.integration().await;
    for name in ["accounts", "cases"] {
        mapped(&tenant, id, name, &[]).await;
    }
    follow(&db).await;
    let taken = claim(&db.store, at(5)).await.unwrap();
    let state = db.store.queue_state(at(10)).await.unwrap();
    assert_eq!((state.waiting, state.running, state.oldest), (2, 1, Some(at(0))));
    done(&taken, at(11)).await;
    // A shorter pace of the service's is everybody's at once.
    db.store.follow_integrations(Duration::from_secs(60), at(11)).await.unwrap();
    assert_eq!(db.store.queue_state(at(72)).await.unwrap().waiting, 3);
}

async fn one_run_at_a_time_is_the_databases_own_rule(db: Db) {
    let (tenant, id) = (db.store.own(), db.integration().await);
    let mapping = mapped(&tenant, id, "contacts_too", &[]).await;
    let of_contacts = tenant.start_run(id, now()).await.unwrap();
    let of_mapping = tenant.start_mapping_run(&mapping, now()).await.unwrap();
    // The mapping reads the same object, and is something else.
    tenant.start_run(id, now()).await.unwrap();
    assert_eq!(tenant.run(of_mapping.id).await.unwrap().unwrap().state, "running");
    assert_eq!(tenant.run(of_contacts.id).await.unwrap().unwrap().state, "failed");
    for run in [of_contacts.id, of_mapping.id] {
        let copy = Uuid::now_v7();
        let copied = format!(
            "INSERT INTO runs (id, business_id, integration_id, mapping_id, object, fence, state, started_at)
             SELECT '{copy}', business_id, integration_id, mapping_id, object, fence + 9, 'running', started_at FROM runs WHERE id = '{run}'"
        );
        assert!(tenant.sql(&copied).await.is_err(), "a second run beside the first");
    }
}

async fn a_run_by_hand_takes_the_work_whoever_has_it(db: Db) {
    let (tenant, id) = (db.store.own(), db.integration().await);
    let work = Work::Contacts { integration: id };
    // Nobody has made a schedule yet.
    let first = tenant.take_work(work, "by hand", LEASE, at(0)).await.unwrap().unwrap();
    follow(&db).await;
    assert!(claim(&db.store, at(1)).await.is_none(), "a run beside the one by hand");
    let asked = tenant.request_sync(None, at(1)).await.unwrap();
    let second = tenant.take_work(work, "by hand again", LEASE, at(2)).await.unwrap().unwrap();
    assert!(!first.end(&Ended::Done { next: None }, at(3)).await.unwrap() && !first.prolong(at(3)).await.unwrap());
    done(&second, at(4)).await;
    assert_eq!(db.store.unserved(&asked).await.unwrap(), []);
    // The tick that was due is still to come.
    let tick = claim(&db.store, at(5)).await.unwrap();
    done(&tick, at(6)).await;
    assert!(tenant.take_work(Work::Mapping { mapping: Uuid::now_v7() }, "x", LEASE, at(7)).await.unwrap().is_none());
    let theirs = tenants(&db, &["b"]).await;
    assert!(theirs[0].take_work(work, "x", LEASE, at(7)).await.unwrap().is_none());
}

async fn work_is_named_as_far_as_there_are_places_and_taken_by_its_name(db: Db) {
    let tenants = tenants(&db, &["a", "b"]).await;
    let mut all = Vec::new();
    for (tenant, names) in tenants.iter().zip([&["1", "2", "3"][..], &["1"]]) {
        for name in names {
            all.push((tenant.business(), integration(tenant, name).await));
        }
    }
    db.store.follow_integrations(EVERY, now()).await.unwrap();
    let (claiming, store) = (claiming(), &db.store);
    let ready = async |business, most, at| {
        let mut ready = store.ready_work(business, &claiming, most, at).await.unwrap();
        ready.sort_unstable();
        ready
    };
    let of = |business: Uuid, ready: &[(Uuid, Uuid)]| ready.iter().filter(|(of, _)| *of == business).count();
    let (a, b) = (tenants[0].business(), tenants[1].business());
    // Two of the three have a place.
    let first = ready(None, 100, now()).await;
    assert_eq!((of(a, &first), of(b, &first), first.len()), (2, 1, 3));
    assert_eq!(ready(Some(b), 100, now()).await.len(), 1);
    assert_eq!(ready(None, 1, now()).await.len(), 1);
    assert!(ready(None, 100, at(-1)).await.is_empty());

    let named =
        async |(business, id): (Uuid, Uuid), at| store.claim_work_named(business, id, &claiming, at).await.unwrap();
    let of_a: Vec<_> = all.iter().copied().filter(|(business, _)| *business == a).collect();
    assert!(named((b, of_a[0].1), now()).await.is_none(), "it is another business's");
    assert!(named((a, Uuid::now_v7()), now()).await.is_none(), "there is no such work");
    assert!(named(of_a[2], at(-1)).await.is_none(), "it is not due");
    // Whichever it is, if there is a place; and once.
    let last = named(of_a[2], now()).await.unwrap();
    assert_eq!((last.work().id(), last.tenant.business(), last.fence), (of_a[2].1, a, 1));
    assert!(named(of_a[2], now()).await.is_none(), "somebody has it");
    assert_eq!(of(a, &ready(None, 100, now()).await), 1);
    let other = named(of_a[0], now()).await.unwrap();
    assert!(named(of_a[1], now()).await.is_none(), "there is no place for a third");
    assert_eq!(of(a, &ready(None, 100, now()).await), 0);
    // What is given back is ready, what is done is not, and a dead worker's is taken when its lease has ended.
    assert!(other.give_back(now()).await.unwrap());
    assert_eq!(named(of_a[0], now()).await.unwrap().fence, 2);
    done(&last, now()).await;
    assert!(named(of_a[2], now()).await.is_none(), "it is done");
    assert_eq!(named(of_a[0], at(61)).await.unwrap().fence, 3);
}
