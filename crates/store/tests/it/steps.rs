//! A step of a sync run: what is written together stays together.

use futures_util::TryStreamExt;
use jiff::Timestamp;
use tieline_store::{Checkpoint, Contact, ContactRow, Position, RunState, Store, StoreError};

use crate::contact_steps::{ContactSteps, DELETED, Step};
use crate::database::{Db, Place, now};

on_both!(
    t9_whichever_statement_of_a_step_fails_none_of_it_stays,
    an_older_version_of_a_row_does_not_replace_a_newer_one,
    what_was_written_is_read_as_it_was,
    a_failed_run_is_told_as_one_and_a_crashed_one_is_closed_by_the_next,
    a_step_and_the_end_of_its_integration_do_not_wait_for_each_other,
    two_who_change_settings_at_once_both_have_their_way,
);

async fn a_step_and_the_end_of_its_integration_do_not_wait_for_each_other(db: Db) {
    let tenant = db.store.own();
    let rows: Vec<ContactRow> = (0..50).map(|n| contact(&format!("{n:05}"), "x", 10)).collect();
    for round in 0..25_i64 {
        let integration = db.integration().await;
        let run = tenant.start_run(integration, now()).await.unwrap();
        let steps = async {
            for n in 0..4 {
                let rows: Vec<_> = rows.iter().map(|row| contact(&row.source_id, "x", round * 10 + n)).collect();
                let step = Step { contacts: &rows, checkpoint: &checkpoint(n), api_calls: 0 };
                match tenant.commit_step(&run, &step, now()).await {
                    Ok(_) => {}
                    Err(StoreError::Fenced { .. }) => break,
                    Err(error) => panic!("{error}"),
                }
            }
        };
        let starting = async {
            if let Err(error) = tenant.start_run(integration, now()).await {
                // The integration is gone: its rows may refer to it no more.
                assert!(!error.is_passing(), "{error}");
            }
        };
        let ending = async {
            tokio::time::sleep(std::time::Duration::from_millis(round as u64 % 5)).await;
            tenant.delete_integration(integration, now()).await.unwrap();
        };
        tokio::join!(steps, starting, ending);
    }
}

async fn two_who_change_settings_at_once_both_have_their_way(db: Db) {
    let (tenant, id) = (db.store.own(), db.integration().await);
    for n in 0..20 {
        let (proxy, told) = (serde_json::json!({"proxy": n}), serde_json::json!({"instance_url": n}));
        let (changed, noted) = tokio::join!(
            tenant.update_integration(id, None, Some(&proxy), None, now()),
            tenant.note_integration(id, tieline_store::Status::Active, None, Some(&told), now()),
        );
        changed.unwrap().unwrap();
        noted.unwrap();
        let config = tenant.integration(id).await.unwrap().unwrap().config;
        assert_eq!((&config["proxy"], &config["instance_url"]), (&n.into(), &n.into()), "{config}");
    }
}

fn contact(id: &str, last_name: &str, stamp: i64) -> ContactRow {
    ContactRow {
        source_id: id.to_owned(),
        first_name: None,
        last_name: Some(last_name.to_owned()),
        name: None,
        email: None,
        phone: None,
        company: None,
        title: None,
        source_metadata: serde_json::json!({}),
        custom_fields: serde_json::json!({}),
        source_stamp: Timestamp::from_second(stamp).unwrap(),
        deleted: None,
    }
}

fn checkpoint(second: i64) -> Checkpoint {
    let position = Position { stamp: Timestamp::from_second(second).unwrap(), id: "x".to_owned() };
    Checkpoint { through: None, scan: Some((position, Timestamp::from_second(second + 1).unwrap())) }
}

async fn t9_whichever_statement_of_a_step_fails_none_of_it_stays(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let run = tenant.start_run(integration, now()).await.unwrap();
    let rows: Vec<ContactRow> = (0..600).map(|n| contact(&format!("{n:05}"), "before", 10)).collect();
    let step = Step { contacts: &rows, checkpoint: &checkpoint(10), api_calls: 1 };
    tenant.commit_step(&run, &step, now()).await.unwrap();

    let changed: Vec<ContactRow> = (0..900).map(|n| contact(&format!("{n:05}"), "after", 20)).collect();
    let step = Step { contacts: &changed, checkpoint: &checkpoint(20), api_calls: 1 };
    // A failpoint at each statement: the checkpoint, each chunk of rows (by a row that it holds), the counters.
    let mut failpoints = vec![
        ("mapping_checkpoints", "BEFORE UPDATE OF scan_stamp ON mapping_checkpoints", String::new()),
        ("runs", "BEFORE UPDATE OF rows_read ON runs", String::new()),
    ];
    let row = |n: i32| format!("new.source_id = '{n:05}'");
    failpoints.extend([0, 249, 250, 499, 599].map(|n| ("contacts", "BEFORE UPDATE ON contacts", row(n))));
    failpoints.extend([600, 750, 899].map(|n| ("contacts", "BEFORE INSERT ON contacts", row(n))));
    for (table, event, when) in failpoints {
        db.raw.failpoint(event, &when).await;
        let error = tenant.commit_step(&run, &step, now()).await.expect_err(event);
        assert!(error.to_string().contains("failpoint"), "{error}");
        db.raw.mend(table).await;

        let kept: Vec<Contact> = tenant.contacts().try_collect().await.unwrap();
        assert_eq!(kept.len(), 600, "{event} {when}");
        assert!(kept.iter().all(|c| c.row.last_name.as_deref() == Some("before")), "{event} {when}");
        assert_eq!(tenant.checkpoint(integration).await.unwrap(), checkpoint(10), "{event} {when}");
        assert_eq!(tenant.run(run.id).await.unwrap().unwrap().rows_read, 600, "{event} {when}");
    }
    let outcome = tenant.commit_step(&run, &step, now()).await.unwrap();
    assert_eq!((outcome.inserted, outcome.updated), (300, 600));
    let again = tenant.commit_step(&run, &step, now()).await.unwrap();
    assert_eq!((again.inserted, again.updated), (0, 0), "equal rows are left alone");
}

#[tokio::test]
async fn t9_a_full_disk_loses_nothing_and_says_so() {
    let db = Db::sqlite().await;
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let run = tenant.start_run(integration, now()).await.unwrap();
    let small: Vec<ContactRow> = (0..10).map(|n| contact(&format!("{n:05}"), "first", 10)).collect();
    let step = Step { contacts: &small, checkpoint: &checkpoint(10), api_calls: 1 };
    tenant.commit_step(&run, &step, now()).await.unwrap();
    db.store.close().await;
    let Place::File(folder) = &db.place else { unreachable!() };
    let size = std::fs::metadata(folder.path().join("t.db")).unwrap().len();

    // SQLite's own limit stands for the disk's: it fails with the same code at the same places.
    let tenant = Store::open(&folder.path().join("t.db")).await.unwrap().own();
    tenant.store().limit_pages(u32::try_from(size / 8192).unwrap() + 10).await;
    let run = tenant.start_run(integration, now()).await.unwrap();
    let large: Vec<ContactRow> = (0..5_000).map(|n| contact(&format!("{n:05}"), "second", 20)).collect();
    let step = Step { contacts: &large, checkpoint: &checkpoint(20), api_calls: 1 };
    let error = tenant.commit_step(&run, &step, now()).await.unwrap_err();
    assert!(matches!(error, StoreError::DiskFull), "{error}");
    assert_eq!(tenant.checkpoint(integration).await.unwrap(), checkpoint(10));
    assert_eq!(tenant.contacts().try_collect::<Vec<_>>().await.unwrap().len(), 10);

    // The same process goes on when there is room.
    tenant.store().limit_pages(100_000).await;
    assert_eq!(tenant.commit_step(&run, &step, now()).await.unwrap().inserted, 4_990);
}

#[tokio::test]
async fn s30_where_no_page_can_be_added_the_database_is_not_writable_until_one_can() {
    let db = Db::sqlite().await;
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let run = tenant.start_run(integration, now()).await.unwrap();
    db.store.prove_writable().await.unwrap();
    // As small as it is; what is free in the file is used up by rows that are kept.
    db.store.limit_pages(1).await;
    let mut n = 0;
    loop {
        n += 1;
        let rows = [contact(&format!("{n:05}"), &"x".repeat(2_000), 10)];
        let step = Step { contacts: &rows, checkpoint: &checkpoint(10), api_calls: 0 };
        match tenant.commit_step(&run, &step, now()).await {
            Ok(_) => assert!(n < 1_000, "it grows without an end"),
            Err(error) => break assert!(matches!(error, StoreError::DiskFull), "{error}"),
        }
    }
    let refused = db.store.prove_writable().await.unwrap_err();
    assert_eq!(refused.refusal(), "the database's disk is full", "{refused}");
    db.store.limit_pages(100_000).await;
    db.store.prove_writable().await.unwrap();
}

async fn an_older_version_of_a_row_does_not_replace_a_newer_one(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let run = tenant.start_run(integration, now()).await.unwrap();
    for (name, stamp) in [("newer", 20), ("older", 10)] {
        let rows = [contact("1", name, stamp)];
        let step = Step { contacts: &rows, checkpoint: &checkpoint(stamp), api_calls: 0 };
        tenant.commit_step(&run, &step, now()).await.unwrap();
    }
    let kept = tenant.recent_contacts(10).await.unwrap();
    assert_eq!(kept[0].row.last_name.as_deref(), Some("newer"));
}

async fn what_was_written_is_read_as_it_was(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let run = tenant.start_run(integration, now()).await.unwrap();
    let stamp: Timestamp = "1969-07-20T20:17:40.123Z".parse().unwrap();
    let row = ContactRow {
        first_name: Some("さくら".to_owned()),
        last_name: Some("O'Brien \\ 🦀".to_owned()),
        name: Some(String::new()),
        email: Some("a@example.com".to_owned()),
        phone: Some("+49 30 1".to_owned()),
        company: Some("Müller & Söhne".to_owned()),
        title: None,
        source_metadata: serde_json::json!({"b": 1.5, "a": [null], "text": "x\u{0001}\n", "big": 9_007_199_254_740_993_i64}),
        custom_fields: serde_json::json!({"Rating__c": 4.5, "Gone__c": true}),
        source_stamp: stamp,
        deleted: DELETED,
        ..contact("003A", "", 0)
    };
    let rows = [row.clone()];
    let step = Step { contacts: &rows, checkpoint: &checkpoint(1), api_calls: 0 };
    let outcome = tenant.commit_step(&run, &step, now()).await.unwrap();
    assert_eq!((outcome.inserted, outcome.updated, outcome.deleted), (1, 0, 1));
    let kept: Vec<Contact> = tenant.contacts().try_collect().await.unwrap();
    assert_eq!((&kept[0].row, kept[0].last_synced_at), (&row, now()));
    let again = tenant.commit_step(&run, &step, now()).await.unwrap();
    assert_eq!((again.inserted, again.updated), (0, 0));
}

async fn a_failed_run_is_told_as_one_and_a_crashed_one_is_closed_by_the_next(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let crashed = tenant.start_run(integration, now()).await.unwrap();
    let run = tenant.start_run(integration, now()).await.unwrap();
    tenant.finish_run(&run, RunState::Failed, Some("no answer"), now()).await.unwrap();
    tenant.finish_run(&crashed, RunState::Success, None, now()).await.unwrap();
    let runs = tenant.runs(integration, 5).await.unwrap();
    assert_eq!(runs.iter().map(|r| r.state.as_str()).collect::<Vec<_>>(), ["failed", "failed"]);
    assert!(runs.iter().any(|r| r.error.as_deref() == Some("interrupted: a later run took over")));
    let step = Step { contacts: &[], checkpoint: &checkpoint(1), api_calls: 0 };
    assert!(matches!(tenant.commit_step(&crashed, &step, now()).await, Err(StoreError::Fenced { .. })));
}
