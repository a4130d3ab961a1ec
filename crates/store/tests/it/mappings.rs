//! What somebody asks of a mapping, what of an integration fails, and what is held.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tieline_store::alerts::{Failure, NotificationFilter, NotificationState};
use tieline_store::audit::AuditFilter;
use tieline_store::integration_logs::{Event, Level, LogFilter};
use tieline_store::mappings::{
    ErrorCursor, Mapping, MappingState, MappingStep, NewDefinition, RowError, Spent, Standing,
};
use tieline_store::object_tables::{Change, Column, ColumnKind, Rows};
use tieline_store::sync_work::{Asked, Claiming, Work};
use tieline_store::{Cursor, RunFilter, RunState, Status, StoreError, Tenant, Uuid};

use crate::contact_steps::ContactSteps;
use crate::database::{Db, now};
use crate::object_tables::mapped;

on_both!(
    what_is_asked_reaches_the_next_run_and_no_other,
    asked_at_once_by_many_it_is_taken_once,
    a_failure_belongs_to_what_has_failed,
    a_failing_mapping_that_rests_fails_no_more,
    a_held_mapping_is_told_until_somebody_decides,
    another_definition_stops_the_run_and_takes_no_column_out,
    lists_come_in_pages,
    the_history_of_all_runs_comes_in_pages,
    a_run_has_its_errors_and_its_part_of_the_log,
);

fn at(seconds: i64) -> Timestamp {
    now() + SignedDuration::from_secs(seconds)
}

fn claiming() -> Claiming {
    Claiming {
        owner: "tester".to_owned(),
        mappings: true,
        per_business: 99,
        every: Duration::from_secs(900),
        lease: Duration::from_secs(60),
    }
}

async fn follow(db: &Db) {
    db.store.follow_integrations(Duration::from_secs(900), now()).await.unwrap();
}

async fn progress_asked(tenant: &Tenant, mapping: &Mapping) -> Asked {
    tenant.mapping(mapping.id).await.unwrap().unwrap().standing.progress.asked
}

async fn actions(tenant: &Tenant) -> Vec<String> {
    let entries = tenant.audit_entries(&AuditFilter::default(), None, 99).await.unwrap();
    entries.into_iter().rev().map(|entry| entry.action).collect()
}

const RELOAD: Asked = Asked { verify: false, compare: false, reload: true, allow_gone: false };
const VERIFY: Asked = Asked { verify: true, compare: false, reload: false, allow_gone: false };

async fn what_is_asked_reaches_the_next_run_and_no_other(db: Db) {
    let (tenant, id) = (db.store.own(), db.integration().await);
    let mapping = mapped(&tenant, id, "accounts", &[]).await;
    assert_eq!(tenant.request_run(mapping.id, RELOAD, at(0)).await.unwrap(), None, "there is no schedule yet");
    follow(&db).await;
    let first = tenant.request_run(mapping.id, RELOAD, at(0)).await.unwrap().unwrap();
    let second = tenant.request_run(mapping.id, VERIFY, at(1)).await.unwrap().unwrap();
    assert_eq!((first.number(), second.number()), (1, 2));
    let work = tenant.work_of_mapping(mapping.id).await.unwrap().unwrap();
    assert_eq!((work.asked, work.served), (Asked { verify: true, ..RELOAD }, 0));
    // A node has the work and dies before its run begins: what was asked for stands.
    let claim = loop {
        let claim = db.store.claim_work(&claiming(), at(2)).await.unwrap().unwrap();
        if claim.work() == (Work::Mapping { mapping: mapping.id }) {
            break claim;
        }
    };
    drop(claim);
    assert_eq!(tenant.work_of_mapping(mapping.id).await.unwrap().unwrap().asked, Asked { verify: true, ..RELOAD });
    // Another one's run begins. It has it, and the queue no more; and so has the one after it, if that dies, too.
    for _ in 0..2 {
        tenant.start_mapping_run(&mapping, at(70)).await.unwrap();
        assert_eq!(progress_asked(&tenant, &mapping).await, Asked { verify: true, ..RELOAD });
        assert!(tenant.work_of_mapping(mapping.id).await.unwrap().unwrap().asked.is_nothing());
    }
    // The engine has done it: with the next step it is gone, and no later run sees it.
    let run = tenant.start_mapping_run(&mapping, at(80)).await.unwrap();
    let standing = Standing::default();
    let rows = Rows::new(0);
    let step = MappingStep {
        rows: rows.into(),
        change: Change::Marks,
        standing: &standing,
        spent: Spent::default(),
        errors: &[],
    };
    tenant.commit_rows(&run, &mapping, step, at(80)).await.unwrap();
    tenant.start_mapping_run(&mapping, at(90)).await.unwrap();
    assert!(progress_asked(&tenant, &mapping).await.is_nothing());
    let asked = actions(&tenant).await.into_iter().filter(|action| action == "sync.triggered").count();
    assert_eq!(asked, 2);
    // Nothing is asked of what is paused, or of another business's.
    tenant.pause_mapping(&mapping, None, at(91)).await.unwrap();
    assert_eq!(tenant.request_run(mapping.id, RELOAD, at(92)).await.unwrap(), None);
    tenant.resume_mapping(&mapping, false, at(93)).await.unwrap();
    let other = crate::sync_work::tenants(&db, &["b"]).await;
    assert_eq!(other[0].request_run(mapping.id, RELOAD, at(94)).await.unwrap(), None);
    assert!(tenant.work_of_mapping(mapping.id).await.unwrap().unwrap().asked.is_nothing());
}

/// Requests, runs that begin and pauses at the same time, on two nodes: nobody waits for another for ever, and each request
/// with a wish finds its way into exactly one run's progress.
async fn asked_at_once_by_many_it_is_taken_once(db: Db) {
    let (tenant, id) = (db.store.own(), db.integration().await);
    let mapping = mapped(&tenant, id, "accounts", &[("name", ColumnKind::Text)]).await;
    follow(&db).await;
    let other = db.place.open().await.own();
    let mut tasks = Vec::new();
    for n in 0..40_i64 {
        let (tenant, mapping) = (if n % 2 == 0 { tenant.clone() } else { other.clone() }, mapping.clone());
        tasks.push(tokio::spawn(async move {
            match n % 5 {
                0 => drop(tenant.request_run(mapping.id, VERIFY, at(n)).await.unwrap()),
                1 => drop(tenant.pause_mapping(&mapping, None, at(n)).await.unwrap()),
                2 => drop(tenant.resume_mapping(&mapping, false, at(n)).await.unwrap()),
                3 => {
                    let columns = mapping.table.columns();
                    let definition = json!({"name": "accounts", "object": "Account"});
                    let new = NewDefinition {
                        name: "accounts",
                        definition: &definition,
                        columns,
                        refill: &[],
                        keep_lost: true,
                        reload: false,
                    };
                    drop(tenant.change_mapping(&mapping, &new, at(n)).await.unwrap());
                }
                _ => {
                    let run = tenant.start_mapping_run(&mapping, at(n)).await.unwrap();
                    drop(tenant.finish_mapping_run(&run, RunState::Success, None, None, at(n)).await);
                }
            }
        }));
    }
    for task in tasks {
        tokio::time::timeout(Duration::from_secs(60), task).await.expect("somebody waits for ever").unwrap();
    }
    tenant.resume_mapping(&mapping, false, at(99)).await.unwrap();
    tenant.request_run(mapping.id, VERIFY, at(100)).await.unwrap().unwrap();
    let (a, b) = tokio::join!(tenant.start_mapping_run(&mapping, at(101)), other.start_mapping_run(&mapping, at(101)));
    assert!(a.is_ok() && b.is_ok());
    assert_eq!(progress_asked(&tenant, &mapping).await, VERIFY);
    assert!(tenant.work_of_mapping(mapping.id).await.unwrap().unwrap().asked.is_nothing());
}

async fn failed(tenant: &Tenant, integration: Uuid, mapping: &Mapping, needs_person: bool, second: i64) {
    let run = tenant.start_mapping_run(mapping, at(second)).await.unwrap();
    let reason = format!("{} has failed", mapping.name);
    tenant.finish_mapping_run(&run, RunState::Failed, Some(&reason), None, at(second)).await.unwrap();
    let work = Some(Work::Mapping { mapping: mapping.id });
    let failure = Failure { needs_person, is_run: true, work, run: Some(run.id), reason: &reason, hint: "wait" };
    tenant.note_failure(integration, &failure, at(second)).await.unwrap();
}

async fn succeeded(tenant: &Tenant, mapping: &Mapping, second: i64) {
    let run = tenant.start_mapping_run(mapping, at(second)).await.unwrap();
    tenant.finish_mapping_run(&run, RunState::Success, None, None, at(second)).await.unwrap();
}

/// Status and reason of the integration, and the kinds of what is open.
async fn standing(tenant: &Tenant, integration: Uuid) -> (Status, Option<String>, Vec<String>) {
    let found = tenant.integration(integration).await.unwrap().unwrap();
    let open = NotificationFilter { state: Some(NotificationState::Open), kind: None };
    let open = tenant.notifications(&open, None, 99).await.unwrap().items;
    (found.status, found.status_reason, open.into_iter().map(|open| open.kind).collect())
}

async fn events(tenant: &Tenant) -> Vec<String> {
    let logs = tenant.integration_logs(&LogFilter::default(), None, 99).await.unwrap().items;
    logs.into_iter().rev().map(|log| log.event).collect()
}

async fn a_failure_belongs_to_what_has_failed(db: Db) {
    let (tenant, id) = (db.store.own(), db.integration().await);
    let accounts = mapped(&tenant, id, "accounts", &[]).await;
    let cases = mapped(&tenant, id, "cases", &[]).await;
    follow(&db).await;
    let error = |reason: &str| (Status::Error, Some(format!("{reason} has failed")));
    failed(&tenant, id, &accounts, false, 1).await;
    succeeded(&tenant, &cases, 2).await;
    let (status, reason, open) = standing(&tenant, id).await;
    assert_eq!(((status, reason), open), (error("accounts"), vec!["sync_failure".to_owned()]), "another's success");
    // So it is with the contacts.
    let run = tenant.start_run(id, at(3)).await.unwrap();
    tenant.finish_run(&run, RunState::Success, None, at(3)).await.unwrap();
    assert_eq!(standing(&tenant, id).await.0, Status::Error);
    // What it told of the org makes it no better.
    tenant.note_integration(id, Status::Active, None, Some(&json!({"instance_url": "x"})), at(3)).await.unwrap();
    assert_eq!(standing(&tenant, id).await.0, Status::Error);
    failed(&tenant, id, &cases, false, 4).await;
    let (status, reason, open) = standing(&tenant, id).await;
    assert_eq!(((status, reason), open.len()), (error("cases"), 1), "one alert for both");
    succeeded(&tenant, &cases, 5).await;
    let (status, reason, open) = standing(&tenant, id).await;
    assert_eq!(((status, reason), open.len()), (error("accounts"), 1));
    let failing = tenant.work_of_mapping(accounts.id).await.unwrap().unwrap().failing.unwrap();
    assert_eq!((failing.runs, failing.since, failing.needs_person), (1, at(1), false));
    succeeded(&tenant, &accounts, 6).await;
    assert_eq!(standing(&tenant, id).await, (Status::Active, None, vec![]));
    assert_eq!(tenant.work_of_mapping(accounts.id).await.unwrap().unwrap().failing, None);
    assert_eq!(events(&tenant).await, ["sync_error", "sync_error", "sync_recovered", "sync_recovered"]);
    let logs = tenant.integration_logs(&LogFilter::default(), None, 99).await.unwrap().items;
    assert!(logs.iter().all(|log| log.detail["mapping"].is_string() && log.detail["api_calls"] == 0), "{logs:?}");
    // A login that a mapping finds wanting, too; connecting anew ends all of them.
    failed(&tenant, id, &accounts, true, 7).await;
    failed(&tenant, id, &cases, true, 7).await;
    succeeded(&tenant, &cases, 8).await;
    assert_eq!(standing(&tenant, id).await.2, ["auth_failure"]);
    let other = tieline_store::Credentials::new(b"other".to_vec());
    tenant.save_integration("acme", &other, at(9)).await.unwrap();
    assert_eq!(standing(&tenant, id).await, (Status::Active, None, vec![]));
    // What a caller has found is over once anything was read.
    let caller = Failure { needs_person: true, is_run: false, work: None, run: None, reason: "401", hint: "" };
    tenant.note_failure(id, &caller, at(10)).await.unwrap();
    assert_eq!(standing(&tenant, id).await.2, ["auth_failure"]);
    succeeded(&tenant, &cases, 11).await;
    assert_eq!(standing(&tenant, id).await, (Status::Active, None, vec![]));
    // A run that waits for calls is told, and is no failure.
    let run = tenant.start_mapping_run(&cases, at(12)).await.unwrap();
    tenant.finish_mapping_run(&run, RunState::PausedQuota, Some("spent"), Some(at(99)), at(12)).await.unwrap();
    assert_eq!(standing(&tenant, id).await.0, Status::Active);
    assert_eq!(events(&tenant).await.last().unwrap(), "sync_paused_quota");
}

async fn a_failing_mapping_that_rests_fails_no_more(db: Db) {
    let (tenant, id) = (db.store.own(), db.integration().await);
    let accounts = mapped(&tenant, id, "accounts", &[]).await;
    let cases = mapped(&tenant, id, "cases", &[]).await;
    follow(&db).await;
    failed(&tenant, id, &accounts, false, 1).await;
    failed(&tenant, id, &cases, false, 2).await;
    tenant.pause_mapping(&cases, Some("not now"), at(3)).await.unwrap();
    assert_eq!(standing(&tenant, id).await.1.as_deref(), Some("accounts has failed"));
    assert!(tenant.delete_mapping(&accounts, at(4)).await.unwrap());
    assert_eq!(standing(&tenant, id).await, (Status::Active, None, vec![]));
    assert_eq!(actions(&tenant).await[..3], ["mapping.created", "mapping.created", "sync.paused"]);
    assert_eq!(actions(&tenant).await[3..], ["mapping.deleted"]);
    // A login that is wanting is not mended by that.
    tenant.resume_mapping(&cases, false, at(5)).await.unwrap();
    failed(&tenant, id, &cases, true, 6).await;
    tenant.pause_mapping(&cases, None, at(7)).await.unwrap();
    let (status, _, open) = standing(&tenant, id).await;
    assert_eq!((status, open), (Status::Error, vec!["auth_failure".to_owned()]));
}

async fn a_held_mapping_is_told_until_somebody_decides(db: Db) {
    let (tenant, id) = (db.store.own(), db.integration().await);
    let accounts = mapped(&tenant, id, "accounts", &[]).await;
    let cases = mapped(&tenant, id, "cases", &[]).await;
    follow(&db).await;
    for mapping in [&accounts, &cases] {
        let run = tenant.start_mapping_run(mapping, at(1)).await.unwrap();
        tenant.finish_mapping_run(&run, RunState::Failed, Some("x"), None, at(1)).await.unwrap();
        tenant.hold_mapping(&run, mapping, (412, 500), "412 of 500 are not to be found", at(1)).await.unwrap();
    }
    let held = tenant.mapping(accounts.id).await.unwrap().unwrap();
    let numbers = held.held.map(|held| (held.records, held.of, held.at));
    assert_eq!((held.state, numbers), (MappingState::Paused, Some((412, 500, at(1)))));
    assert_eq!(standing(&tenant, id).await, (Status::Active, None, vec!["sync_held".to_owned()]));
    assert_eq!(events(&tenant).await, ["sync_held", "sync_held"]);
    // A run that lost the mapping meanwhile holds nothing.
    let old = tenant.start_mapping_run(&cases, at(2)).await.unwrap();
    assert!(tenant.resume_mapping(&cases, true, at(3)).await.unwrap());
    let refused = tenant.hold_mapping(&old, &cases, (1, 2), "x", at(4)).await;
    assert!(matches!(refused, Err(StoreError::Fenced { .. })), "{refused:?}");
    assert_eq!(standing(&tenant, id).await.2, ["sync_held"], "the other one is still held");
    succeeded(&tenant, &cases, 5).await;
    assert_eq!(standing(&tenant, id).await.2, ["sync_held"]);
    assert!(tenant.resume_mapping(&accounts, false, at(6)).await.unwrap());
    assert_eq!(standing(&tenant, id).await.2, Vec::<String>::new());
    assert_eq!(tenant.mapping(accounts.id).await.unwrap().unwrap().held, None);
    // It is due at once, whatever pause it was in.
    let work = tenant.work_of_mapping(accounts.id).await.unwrap().unwrap();
    assert!(work.is_requested && work.ready_at <= Some(at(6)), "{work:?}");
}

async fn another_definition_stops_the_run_and_takes_no_column_out(db: Db) {
    let (tenant, id) = (db.store.own(), db.integration().await);
    let (text, number) = (ColumnKind::Text, ColumnKind::Number);
    let mapping = mapped(&tenant, id, "accounts", &[("name", text), ("phone", text)]).await;
    follow(&db).await;
    let run = tenant.start_mapping_run(&mapping, at(0)).await.unwrap();
    let standing = Standing { checkpoint: crate::object_tables::checkpoint(1), ..Standing::default() };
    let mut rows = Rows::new(2);
    let mut row = rows.row();
    row.text(0, "Acme");
    row.text(1, "030");
    row.end("001", Some(1_000), None, None);
    let step = MappingStep {
        rows: rows.into(),
        change: Change::Rows,
        standing: &standing,
        spent: Spent::default(),
        errors: &[],
    };
    tenant.commit_rows(&run, &mapping, step, at(0)).await.unwrap();
    let column = |name: &str, kind| Column { name: name.to_owned(), kind };
    let columns = [column("name", text), column("worth", number)];
    let definition =
        json!({"name": "firms", "object": "Account", "table": "accounts", "columns": ["Name", "Worth__c"]});
    let new = NewDefinition {
        name: "firms",
        definition: &definition,
        columns: &columns,
        refill: &["name".to_owned()],
        keep_lost: false,
        reload: false,
    };
    let changed = tenant.change_mapping(&mapping, &new, at(1)).await.unwrap().unwrap();
    assert_eq!((changed.name.as_str(), &changed.definition), ("firms", &definition));
    assert_eq!(changed.table.columns(), [column("name", text)], "what is new is made by the next run");
    let progress = &changed.standing.progress;
    assert_eq!((&progress.left_out, &progress.unfilled), (&vec![column("phone", text)], &vec!["name".to_owned()]));
    assert!(tenant.work_of_mapping(mapping.id).await.unwrap().unwrap().is_requested);
    let rows = Rows::new(2);
    let step = MappingStep {
        rows: rows.into(),
        change: Change::Rows,
        standing: &standing,
        spent: Spent::default(),
        errors: &[],
    };
    let late = tenant.commit_rows(&run, &mapping, step, at(2)).await;
    assert!(matches!(late, Err(StoreError::Fenced { .. })), "a run by the old definition");
    assert_eq!(db.raw.texts("SELECT phone FROM accounts").await, ["030"], "its values stay");
    assert_eq!(actions(&tenant).await, ["mapping.created", "mapping.changed"]);
    // A name that is taken changes nothing; nor does another business.
    mapped(&tenant, id, "cases", &[]).await;
    let taken = tenant.change_mapping(&mapping, &NewDefinition { name: "cases", ..new.clone() }, at(3)).await;
    assert!(matches!(taken, Err(StoreError::Taken(_))), "{taken:?}");
    let other = crate::sync_work::tenants(&db, &["b"]).await;
    assert!(other[0].change_mapping(&mapping, &new, at(4)).await.unwrap().is_none());
    assert_eq!(tenant.mapping(mapping.id).await.unwrap().unwrap().name, "firms");
}

async fn lists_come_in_pages(db: Db) {
    let (tenant, id) = (db.store.own(), db.integration().await);
    let mapping = mapped(&tenant, id, "accounts", &[("name", ColumnKind::Text)]).await;
    let mut made = Vec::new();
    // Two of the same moment.
    for second in [0, 1, 1, 2, 3] {
        made.push(tenant.start_mapping_run(&mapping, at(second)).await.unwrap());
    }
    let mut expected: Vec<_> = made.iter().map(|run| (run.started_at, run.id)).collect();
    expected.sort_unstable();
    expected.reverse();
    let (mut found, mut cursor) = (Vec::new(), None::<Cursor>);
    loop {
        let page = tenant.runs_of_mapping(mapping.id, cursor, 2).await.unwrap();
        found.extend(page.items.iter().map(|run| (run.started_at, run.id)));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(found, expected);
    let errors: Vec<RowError> = ["b", "a", "c"]
        .into_iter()
        .flat_map(|record| ["x", "y"].map(|column| (record.to_owned(), column.to_owned())))
        .map(|(record, column)| RowError { record, column, reason: "no date".to_owned(), value: Some("?".to_owned()) })
        .collect();
    let standing = Standing::default();
    let rows = Rows::new(1);
    let step = MappingStep {
        rows: rows.into(),
        change: Change::Rows,
        standing: &standing,
        spent: Spent::default(),
        errors: &errors,
    };
    tenant.commit_rows(made.last().unwrap(), &mapping, step, at(4)).await.unwrap();
    let (mut found, mut cursor) = (Vec::new(), None::<ErrorCursor>);
    loop {
        let page = tenant.row_errors_from(mapping.id, cursor, 4).await.unwrap();
        found.extend(page.items.iter().map(|kept| format!("{}{}", kept.error.record, kept.error.column)));
        cursor = page.next.map(|cursor| cursor.to_string().parse().unwrap());
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(found, ["ax", "ay", "bx", "by", "cx", "cy"]);
    assert!("a".parse::<ErrorCursor>().is_err() && "a-'".parse::<ErrorCursor>().is_err());
}

async fn the_history_of_all_runs_comes_in_pages(db: Db) {
    let (tenant, id) = (db.store.own(), db.integration().await);
    let second = tenant.create_integration("second", None, &json!({}), now()).await.unwrap().id;
    let (firms, cases) = (mapped(&tenant, id, "accounts", &[]).await, mapped(&tenant, second, "cases", &[]).await);
    let mut made = Vec::new();
    // In turns, and two of the same moment.
    for (n, second) in [0, 1, 1, 2, 3].into_iter().enumerate() {
        let mapping = if n % 2 == 0 { &firms } else { &cases };
        made.push((mapping.id, tenant.start_mapping_run(mapping, at(second)).await.unwrap()));
    }
    tenant.finish_run(&made[4].1, RunState::Failed, Some("no"), at(9)).await.unwrap();
    let history = async |filter: RunFilter, limit: u32| {
        let (mut found, mut cursor) = (Vec::new(), None::<Cursor>);
        loop {
            let page = tenant.run_history(&filter, cursor, limit).await.unwrap();
            assert!(page.items.len() <= limit as usize);
            found.extend(page.items.iter().map(|run| run.id));
            cursor = page.next;
            if cursor.is_none() {
                return found;
            }
        }
    };
    let expected = |is: &dyn Fn(Uuid) -> bool| {
        let mut runs: Vec<_> = made.iter().filter(|(of, _)| is(*of)).map(|(_, run)| (run.started_at, run.id)).collect();
        runs.sort_unstable();
        runs.into_iter().rev().map(|(_, id)| id).collect::<Vec<_>>()
    };
    let any = RunFilter::default();
    for limit in [1, 2, 3, 50] {
        assert_eq!(history(any, limit).await, expected(&|_| true), "{limit}");
        let of_firms = RunFilter { mapping: Some(firms.id), ..any };
        assert_eq!(history(of_firms, limit).await, expected(&|of| of == firms.id));
        let of_second = RunFilter { integration: Some(second), ..any };
        assert_eq!(history(of_second, limit).await, expected(&|of| of == cases.id));
    }
    // Whoever begins a run ends the one before it.
    let running = RunFilter { state: Some(RunState::Running), ..any };
    assert_eq!(history(running, 2).await, [made[3].1.id]);
    let failed = RunFilter { state: Some(RunState::Failed), ..any };
    let mut others = expected(&|_| true);
    others.retain(|id| *id != made[3].1.id);
    assert_eq!(history(failed, 2).await, others);
    let theirs = &crate::sync_work::tenants(&db, &["b"]).await[0];
    for filter in [any, RunFilter { mapping: Some(firms.id), ..any }, RunFilter { integration: Some(id), ..any }] {
        assert!(theirs.run_history(&filter, None, 9).await.unwrap().items.is_empty(), "{filter:?}");
    }
}

async fn a_run_has_its_errors_and_its_part_of_the_log(db: Db) {
    let (tenant, id) = (db.store.own(), db.integration().await);
    let mapping = mapped(&tenant, id, "accounts", &[("name", ColumnKind::Text)]).await;
    let mut runs = Vec::new();
    for (second, records) in [(10, ["a", "b"]), (20, ["b", "c"])] {
        let run = tenant.start_mapping_run(&mapping, at(second)).await.unwrap();
        let errors = records.map(|record| RowError {
            record: record.to_owned(),
            column: "name".to_owned(),
            reason: "no date".to_owned(),
            value: None,
        });
        let (rows, standing) = (Rows::new(1), Standing::default());
        let step = MappingStep {
            rows: rows.into(),
            change: Change::Rows,
            standing: &standing,
            spent: Spent::default(),
            errors: &errors,
        };
        tenant.commit_rows(&run, &mapping, step, at(second + 1)).await.unwrap();
        tenant.finish_run(&run, RunState::Success, None, at(second + 2)).await.unwrap();
        tenant.log(Some(id), Event::RateLimited, Level::Warning, "slowly", json!({}), at(second + 2)).await.unwrap();
        runs.push(run.id);
    }
    let of = async |tenant: &Tenant, run: Uuid, limit: u32| {
        let kept = tenant.row_errors_of_run(mapping.id, run, limit).await.unwrap();
        kept.into_iter().map(|kept| kept.error.record).collect::<Vec<_>>()
    };
    assert_eq!(of(&tenant, runs[0], 9).await, ["a"], "the second run has met the other one again");
    assert_eq!(of(&tenant, runs[1], 9).await, ["b", "c"]);
    assert_eq!(of(&tenant, runs[1], 1).await, ["b"]);
    let theirs = &crate::sync_work::tenants(&db, &["b"]).await[0];
    assert!(of(theirs, runs[1], 9).await.is_empty());
    let logged = async |tenant: &Tenant, from: i64, until: i64, limit: u32| {
        let found = tenant.integration_logs_between(id, (at(from), at(until)), limit).await.unwrap();
        found.into_iter().filter(|log| log.event == "rate_limited").map(|log| log.at).collect::<Vec<_>>()
    };
    assert_eq!(logged(&tenant, 10, 12, 9).await, [at(12)]);
    assert_eq!(logged(&tenant, 12, 22, 9).await, [at(12), at(22)], "the oldest first");
    assert!(logged(&tenant, 13, 21, 9).await.is_empty() && logged(theirs, 0, 99, 9).await.is_empty());
}
