//! How records go, and that none goes that is there: T12 to T18.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tieline_store::mappings::MappingState;
use tieline_sync::SyncError;
use tieline_sync::engine::Asked;

use super::world::{World, all_of};
use crate::database::Db;

on_both!(
    t12_a_record_is_deleted_comes_back_and_is_deleted_again,
    t13_what_was_erased_between_two_runs_is_in_the_orgs_log,
    t13_what_the_log_has_forgotten_after_sixteen_days_is_found_by_comparing,
    t13_a_log_with_too_many_ids_is_read_in_parts,
    t14_a_log_that_was_cut_short_is_made_up_for_by_comparing,
    t15_pages_that_leave_out_records_delete_nothing,
    t15_much_that_is_gone_pauses_the_mapping_until_somebody_decides,
    t16_hidden_rows_are_not_erased_and_come_back_as_they_are_then,
    t17_merged_records_name_the_one_that_stayed,
    t18_archived_tasks_are_there,
    a_comparison_that_takes_the_org_too_long_is_made_in_parts,
    a_pause_stops_a_run_that_is_under_way,
    a_reload_that_is_cut_off_still_finds_what_is_gone,
    t9_a_mark_that_cannot_be_written_is_made_by_the_next_run,
);

const DAY: i64 = 86_400;
const COMPARE: Asked = Asked { verify: false, compare: true, reload: false, allow_gone: false };

fn delete(op: &str, object: &str, id: &str) -> Value {
    json!({"op": op, "object": object, "id": id})
}

async fn some(db: Db, accounts: usize) -> (World, Vec<String>) {
    let mut world = World::new(db, "Account").await;
    // Only what a test asks for, or the engine by itself.
    world.engine.care.compare_every = Duration::from_secs(1_000 * DAY.unsigned_abs());
    let ids = world.accounts((0..accounts).map(|n| format!("account {n}"))).await;
    world.sync().await.unwrap();
    (world, ids)
}

async fn t12_a_record_is_deleted_comes_back_and_is_deleted_again(db: Db) {
    let (world, ids) = some(db, 3).await;
    for (n, (op, went)) in [("delete", "deleted"), ("undelete", ""), ("delete", "deleted")].into_iter().enumerate() {
        world.at(700 * (n as i64 + 1)).await;
        world.write(json!([delete(op, "Account", &ids[1])])).await;
        let report = world.sync().await.unwrap();
        assert_eq!((report.run.updated, report.run.drift_found), (1, 0));
        assert_eq!(world.went(&ids).await, ["", went, ""]);
        world.assert_in_step().await;
    }
}

async fn t13_what_was_erased_between_two_runs_is_in_the_orgs_log(db: Db) {
    let (world, ids) = some(db, 30).await;
    world.at(900).await;
    world.write(json!([delete("hard_delete", "Account", &ids[0]), delete("delete", "Account", &ids[1])])).await;
    world.post("recycle-bin/empty", json!({})).await;
    let passing = world.accounts(["came and went".to_owned()]).await;
    world.write(json!([delete("hard_delete", "Account", &passing[0])])).await;
    // The log is read with the next proof.
    world.at(1_000).await;
    world.sync().await.unwrap();
    assert_eq!(world.went(&ids[..2]).await, ["", ""]);
    assert!(world.through().await.1 < Some(900), "which is why nothing of that time is proven");
    world.at(4_000).await;
    let report = world.sync().await.unwrap();
    assert_eq!(world.went(&ids[..3]).await, ["erased", "erased", ""]);
    assert_eq!((report.run.deleted, report.run.drift_found), (2, 0), "the org has told of it");
    assert!(world.through().await.1 > Some(3_900));
    world.assert_in_step().await;
}

async fn t13_what_the_log_has_forgotten_after_sixteen_days_is_found_by_comparing(db: Db) {
    let (world, ids) = some(db, 30).await;
    world.at(900).await;
    world.write(json!([delete("hard_delete", "Account", &ids[0])])).await;
    world.at(15 * DAY).await;
    world.write(json!([delete("hard_delete", "Account", &ids[1])])).await;
    world.at(16 * DAY).await;
    let report = world.sync().await.unwrap();
    assert_eq!(world.went(&ids[..3]).await, ["hidden", "erased", ""], "of the first one nobody can tell any more");
    assert_eq!(report.run.drift_found, 1);
    assert!(world.through().await.1 > Some(16 * DAY - 120));
    world.assert_in_step().await;
    let calls = world.sync().await.unwrap().run.api_calls;
    assert_eq!(calls, 1, "it is compared once");
}

async fn t13_a_log_with_too_many_ids_is_read_in_parts(db: Db) {
    let (world, ids) = some(db, 120).await;
    for (n, id) in ids[..9].iter().enumerate() {
        world.at(900 + 300 * n as i64).await;
        world.write(json!([delete("hard_delete", "Account", id)])).await;
    }
    world.limits(json!({"replication_ids": 2})).await;
    world.at(4_000).await;
    let report = world.sync().await.unwrap();
    assert_eq!(world.went(&ids[..10]).await, [["erased"; 9].as_slice(), &[""]].concat());
    assert_eq!(report.run.drift_found, 0);
    assert!(world.through().await.1 > Some(3_900));

    // In one minute more than the org tells at all.
    world.at(5_000).await;
    world.write(Value::Array(ids[10..15].iter().map(|id| delete("hard_delete", "Account", id)).collect())).await;
    world.at(9_000).await;
    let report = world.sync().await.unwrap();
    assert_eq!(world.went(&ids[10..16]).await, ["hidden", "hidden", "hidden", "hidden", "hidden", ""]);
    assert_eq!(report.run.drift_found, 5);
    assert!(world.through().await.1 > Some(8_900));
    world.assert_in_step().await;
    world.at(13_000).await;
    assert!(world.sync().await.unwrap().run.api_calls < 8, "and what was compared is not compared again");
}

async fn t14_a_log_that_was_cut_short_is_made_up_for_by_comparing(db: Db) {
    let (world, ids) = some(db, 120).await;
    for (n, refuse) in [false, true].into_iter().enumerate() {
        let (begin, ids) = (2 * DAY * (n as i64 + 1), &ids[n * 2..n * 2 + 2]);
        world.at(begin - 3_600).await;
        world.sync().await.unwrap();
        world.at(begin).await;
        world.write(json!([delete("hard_delete", "Account", &ids[0])])).await;
        world.at(begin + 600).await;
        world.post("delete-log/purge", json!({"object": "Account", "refuse": refuse})).await;
        world.at(begin + 4_200).await;
        world.write(json!([delete("hard_delete", "Account", &ids[1])])).await;
        world.at(begin + 8_000).await;
        let report = world.sync().await.unwrap();
        assert_eq!(world.went(ids).await, ["hidden", "erased"], "{refuse}");
        assert_eq!(report.run.drift_found, 1);
        assert!(world.through().await.1 > Some(begin + 7_900), "{:?}", world.through().await);
        world.assert_in_step().await;
    }
}

async fn t15_pages_that_leave_out_records_delete_nothing(db: Db) {
    let (world, ids) = some(db, 4_100).await;
    let mut now = 0;
    for nth in [1, 2] {
        for trick in ["empty", "end", "repeat", "skip"] {
            now += 700;
            world.at(now).await;
            world.post("pages", json!({"of": "query", "trick": trick, "nth": nth})).await;
            let report = world.ask(COMPARE).await.unwrap();
            world.control(Method::DELETE, "pages", json!({})).await;
            assert_eq!((report.run.updated, report.run.drift_found), (0, 0), "{trick} {nth}");
            assert_eq!(world.mapping().await.standing.progress.rows, Some(4_100), "{trick} {nth}");
        }
    }
    for nth in 2..=4 {
        now += 700;
        world.at(now).await;
        let refusal = json!([{"message": "no", "errorCode": "UNKNOWN_EXCEPTION"}]);
        let fault = json!({"path": "/services/data/v67.0/query", "nth": nth, "status": 400, "body": refusal});
        world.fault(fault).await;
        world.ask(COMPARE).await.unwrap_err();
        world.control(Method::DELETE, "faults", json!({})).await;
        world.assert_in_step().await;
    }
    world.ask(COMPARE).await.unwrap();
    // One whose pages never are a whole; and what is truly gone then.
    world.write(json!([delete("hard_delete", "Account", &ids[3_000])])).await;
    world.post("pages", json!({"of": "query", "trick": "skip", "nth": 1, "times": 0})).await;
    let error = world.ask(COMPARE).await.unwrap_err();
    assert!(matches!(error, SyncError::Incomplete { .. }), "{error}");
    assert_eq!(world.state().await, MappingState::Synced);
    world.control(Method::DELETE, "pages", json!({})).await;
    world.at(now + 700).await;
    let report = world.ask(COMPARE).await.unwrap();
    assert_eq!(report.run.deleted, 1);
    assert_eq!(world.row(&ids[3_000]).await["_deleted"], "erased");
    world.assert_in_step().await;
}

async fn t15_much_that_is_gone_pauses_the_mapping_until_somebody_decides(db: Db) {
    let (world, ids) = some(db, 200).await;
    let share = async |ids: &[String], visible: bool| {
        world.put("sharing", json!({"object": "Account", "ids": ids, "visible": visible})).await;
    };
    share(&ids[..21], false).await;
    world.at(900).await;
    let error = world.ask(COMPARE).await.unwrap_err();
    assert!(matches!(error, SyncError::MassDelete { records: 21, of: 200, .. }), "{error}");
    assert_eq!(world.went(&ids).await, [""; 200]);
    let mapping = world.mapping().await;
    assert_eq!(mapping.state, MappingState::Paused);
    assert!(mapping.state_reason.unwrap().contains("21 of 200 records of `Account`"));

    // Nothing is read until somebody has looked.
    let calls = world.connection().api_calls();
    assert!(matches!(world.sync().await.unwrap_err(), SyncError::Paused { .. }));
    assert_eq!(world.connection().api_calls(), calls);
    let resume = async |allow_gone| {
        let mapping = world.mapping().await;
        assert!(world.tenant().resume_mapping(&mapping, allow_gone, world.engine.clock.now()).await.unwrap());
    };
    resume(false).await;
    assert_eq!(world.state().await, MappingState::Synced);
    assert!(matches!(world.ask(COMPARE).await.unwrap_err(), SyncError::MassDelete { .. }), "it is still so");

    // The right is given back.
    share(&ids[..21], true).await;
    resume(false).await;
    world.ask(COMPARE).await.unwrap();
    world.assert_in_step().await;

    // They are really gone.
    share(&ids[..40], false).await;
    world.at(1_800).await;
    world.ask(COMPARE).await.unwrap_err();
    resume(true).await;
    let report = world.sync().await.unwrap();
    assert_eq!((report.run.deleted, report.run.drift_found), (40, 40));
    assert_eq!(world.went(&ids[..41]).await, [["hidden"; 40].as_slice(), &[""]].concat());
    assert_eq!(world.state().await, MappingState::Synced);
    share(&ids[..80], false).await;
    world.at(2_700).await;
    world.ask(COMPARE).await.unwrap_err();
    assert_eq!(world.went(&ids[40..41]).await, [""], "a decision is for one comparison");
    world.ask(Asked { allow_gone: true, ..Asked::default() }).await.unwrap();
    assert_eq!(world.went(&ids[79..81]).await, ["hidden", ""]);
    assert_eq!(world.state().await, MappingState::Synced);

    // Paused by somebody it is left alone, too.
    let mapping = world.mapping().await;
    assert!(world.tenant().pause_mapping(&mapping, Some("a holiday"), world.engine.clock.now()).await.unwrap());
    assert_eq!(world.sync().await.unwrap_err().to_string(), "the mapping `account` is paused: a holiday");
    let paused = "SELECT action FROM audit_log WHERE action IN ('sync.paused', 'sync.resumed') ORDER BY action";
    assert_eq!(world.db.raw.texts(paused).await, ["sync.paused", "sync.resumed", "sync.resumed", "sync.resumed"]);
}

async fn t16_hidden_rows_are_not_erased_and_come_back_as_they_are_then(db: Db) {
    let (world, ids) = some(db, 120).await;
    let share = async |visible: bool| {
        world.put("sharing", json!({"object": "Account", "ids": ids[..3], "visible": visible})).await;
    };
    share(false).await;
    world.at(900).await;
    world.write(json!([{"op": "update", "object": "Account", "id": ids[0], "fields": {"Name": "unseen"}}])).await;
    let report = world.ask(COMPARE).await.unwrap();
    assert_eq!(world.went(&ids[..4]).await, ["hidden", "hidden", "hidden", ""]);
    assert_eq!((report.run.deleted, report.run.drift_found), (3, 3));
    assert_eq!(world.row(&ids[0]).await["name"], "account 0", "as it was seen last");
    share(true).await;
    world.at(9_000).await;
    world.ask(COMPARE).await.unwrap();
    assert_eq!(world.row(&ids[0]).await["name"], "unseen");
    world.assert_in_step().await;
}

async fn t17_merged_records_name_the_one_that_stayed(db: Db) {
    let (mut world, ids) = some(db, 3).await;
    let contact = |account: &String| json!({"op": "insert", "object": "Contact", "fields": {"LastName": "c", "AccountId": account}});
    let contacts = world.write(Value::Array(ids.iter().map(contact).collect())).await;
    let accounts = world.mapping;
    let people = world.map(&all_of("Contact")).await.id;
    world.mapping = people;
    world.sync().await.unwrap();
    world.at(900).await;
    let merge = json!({"object": "Account", "winner": ids[0], "losers": ids[1..], "fields": {"Phone": "1"}});
    world.post("records/merge", merge).await;
    world.sync().await.unwrap();
    for contact in &contacts {
        assert_eq!(world.row(contact).await["account_id"], ids[0].as_str());
    }
    world.assert_in_step().await;
    world.mapping = accounts;
    world.sync().await.unwrap();
    assert_eq!(world.went(&ids).await, ["", "merged", "merged"]);
    for loser in &ids[1..] {
        assert_eq!(world.row(loser).await["_master_id"], ids[0].as_str());
    }
    assert_eq!(world.row(&ids[0]).await["phone"], "1");
    world.assert_in_step().await;
    // What was merged and then thrown away has still become another.
    world.post("recycle-bin/empty", json!({})).await;
    world.at(9_000).await;
    world.ask(Asked { verify: true, ..COMPARE }).await.unwrap();
    assert_eq!(world.went(&ids).await, ["", "merged", "merged"]);
}

async fn t18_archived_tasks_are_there(db: Db) {
    let world = World::new(db, "Task").await;
    let task = |n: usize| json!({"op": "insert", "object": "Task", "fields": {"Subject": format!("task {n}")}});
    let ids = world.write(Value::Array((0..30).map(task).collect())).await;
    world.sync().await.unwrap();
    world.at(900).await;
    world.post("records/archive", json!({"object": "Task", "ids": ids[..20]})).await;
    world.ask(Asked { verify: true, ..COMPARE }).await.unwrap();
    assert_eq!(world.went(&ids).await, [""; 30]);
    world.assert_in_step().await;
}

async fn a_comparison_that_takes_the_org_too_long_is_made_in_parts(db: Db) {
    let (world, ids) = some(db, 600).await;
    world.at(2_000).await;
    world.sync().await.unwrap();
    world.limits(json!({"query_timeout_rows": 150})).await;
    world.write(json!([delete("hard_delete", "Account", &ids[300])])).await;
    let report = world.ask(COMPARE).await.unwrap();
    assert_eq!(report.run.deleted, 1);
    assert!(report.run.api_calls < 20, "{}", report.run.api_calls);
    assert_eq!(world.mapping().await.standing.progress.rows, Some(599));
    world.assert_in_step().await;
}

async fn a_pause_stops_a_run_that_is_under_way(db: Db) {
    let world = World::new(db, "Account").await;
    world.accounts((0..4_100).map(|n| format!("account {n}"))).await;
    world.fault(json!({"path": "/services/data/v67.0/query/", "nth": 2, "delay_ms": 1_500})).await;
    let pause = async {
        while world.rows().await.len() < 2_000 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mapping = world.mapping().await;
        world.tenant().pause_mapping(&mapping, None, world.engine.clock.now()).await.unwrap()
    };
    let (run, paused) = tokio::join!(world.sync(), pause);
    assert!(paused && run.unwrap_err().is_transient());
    assert_eq!(world.state().await, MappingState::Paused, "and does not take it back");
    let mapping = world.mapping().await;
    assert!(world.tenant().resume_mapping(&mapping, false, world.engine.clock.now()).await.unwrap());
    assert!(!world.tenant().resume_mapping(&mapping, false, world.engine.clock.now()).await.unwrap());
    assert_eq!(world.state().await, MappingState::Initial);
    world.sync().await.unwrap();
    world.assert_in_step().await;
}

async fn a_reload_that_is_cut_off_still_finds_what_is_gone(db: Db) {
    let (world, ids) = some(db, 2_100).await;
    world.at(900).await;
    world.write(json!([delete("hard_delete", "Account", &ids[7])])).await;
    // What the table has wrong is put right.
    world.db.raw.run("UPDATE account SET name = 'wrong'").await;
    let refusal = json!([{"message": "no", "errorCode": "UNKNOWN_EXCEPTION"}]);
    world.fault(json!({"path": "/services/data/v67.0/query/", "status": 400, "body": refusal})).await;
    world.ask(Asked { reload: true, ..Asked::default() }).await.unwrap_err();
    assert_eq!(world.state().await, MappingState::Reload);
    assert_eq!(world.through().await, (None, Some(0)), "what was proven stays so");
    let report = world.sync().await.unwrap();
    assert_eq!((report.run.deleted, world.went(&ids[7..8]).await), (1, vec!["hidden".to_owned()]));
    // It went in this very minute, of which the log says nothing yet.
    world.at(4_500).await;
    world.sync().await.unwrap();
    assert_eq!(world.went(&ids[7..8]).await, ["erased"]);
    assert_eq!(world.state().await, MappingState::Synced);
    world.assert_in_step().await;
}

async fn t9_a_mark_that_cannot_be_written_is_made_by_the_next_run(db: Db) {
    let (world, ids) = some(db, 30).await;
    let standing = world.mapping().await.standing;
    world.at(900).await;
    world.write(json!([delete("hard_delete", "Account", &ids[0])])).await;
    world.at(4_000).await;
    for (table, when) in [("account", "NEW._deleted = 'erased'"), ("runs", "NEW.deleted > 0")] {
        world.db.raw.failpoint(&format!("BEFORE UPDATE ON {table}"), when).await;
        world.sync().await.unwrap_err();
        world.db.raw.mend(table).await;
        assert_eq!(world.went(&ids[..1]).await, [""]);
        assert_eq!(world.mapping().await.standing.progress.deletes_through, standing.progress.deletes_through);
        assert_eq!(world.through().await.1, Some(0));
    }
    world.sync().await.unwrap();
    assert_eq!(world.went(&ids[..2]).await, ["erased", ""]);
    world.assert_in_step().await;
}
