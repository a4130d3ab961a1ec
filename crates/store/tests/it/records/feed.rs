//! Following changes.

use std::collections::BTreeMap;
use std::time::Duration;

use tieline_store::records::Place;
use tieline_store::{Checkpoint, StoreError};

use super::*;
use crate::contact_steps::{ContactSteps, DELETED, Step};
use crate::database::{Db, Raw};

on_both!(
    a_step_numbers_the_rows_that_it_changes_and_no_others,
    a_step_that_is_refused_or_fails_uses_no_number,
    a_reader_misses_nothing_while_steps_commit,
    a_pass_by_id_leads_into_the_feed,
    a_place_that_the_source_has_not_come_to_is_told,
    contacts_are_followed_alike,
);

async fn numbers(db: &Db) -> Vec<String> {
    db.raw.texts("SELECT id || ':' || CAST(_change AS text) FROM accounts ORDER BY id").await
}

async fn counter(db: &Db) -> String {
    db.raw.texts("SELECT CAST(max(changes) AS text) FROM mapping_checkpoints").await.remove(0)
}

async fn a_step_numbers_the_rows_that_it_changes_and_no_others(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let (mapping, run) = scene(&tenant, integration).await;
    write(&tenant, &run, &mapping, &["a", "b", "c"], "x", 1).await;
    assert_eq!(numbers(&db).await, ["a:1", "b:1", "c:1"]);
    write(&tenant, &run, &mapping, &["b", "d"], "y", 2).await;
    assert_eq!(numbers(&db).await, ["a:1", "b:2", "c:1", "d:2"]);
    // The same once more, an older version, and no rows: nothing changes, and no number is used.
    write(&tenant, &run, &mapping, &["b", "d"], "y", 2).await;
    write(&tenant, &run, &mapping, &["a"], "older", 0).await;
    write(&tenant, &run, &mapping, &[], "", 3).await;
    assert_eq!((numbers(&db).await.len(), counter(&db).await.as_str()), (4, "2"));
    write(&tenant, &run, &mapping, &["a", "b"], "y", 4).await;
    assert_eq!(numbers(&db).await, ["a:3", "b:3", "c:1", "d:2"]);
    let last = db.raw.texts("SELECT CAST(last_change AS text) FROM runs").await;
    assert_eq!(last, ["3"]);
}

async fn a_step_that_is_refused_or_fails_uses_no_number(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let (mapping, stale) = scene(&tenant, integration).await;
    write(&tenant, &stale, &mapping, &["a"], "x", 1).await;
    let run = tenant.start_mapping_run(&mapping, now()).await.unwrap();
    let rows = || {
        let mut rows = Rows::new(1);
        ["a", "b"].iter().for_each(|id| named(&mut rows, id, Some(2), "y"));
        rows
    };
    let refused = crate::object_tables::written(&tenant, &stale, &mapping, rows(), checkpoint(2)).await.unwrap_err();
    assert!(matches!(refused, StoreError::Fenced { .. }), "{refused}");
    // Its rows are written already when it fails.
    db.raw.failpoint("BEFORE UPDATE OF rows_read ON runs", "").await;
    crate::object_tables::written(&tenant, &run, &mapping, rows(), checkpoint(2)).await.unwrap_err();
    db.raw.mend("runs").await;
    assert_eq!((numbers(&db).await, counter(&db).await), (vec!["a:1".to_owned()], "1".to_owned()));
    let source = RecordSource::mapping(&mapping);
    let read = find(&tenant, &source, Asked::default()).await.unwrap();
    assert_eq!(read.next.place_in(mapping.id), Some(&Place::Change { change: 2, id: String::new() }));
    crate::object_tables::written(&tenant, &run, &mapping, rows(), checkpoint(2)).await.unwrap();
    let more = find(&tenant, &source, Asked { start: after(&mapping, &read.next), ..Asked::default() }).await.unwrap();
    assert_eq!(more.ids(), ["a", "b"], "what came to nothing is not passed by");
}

/// Two nodes write steps of one run at the same time, and each transaction takes its time between rows and commit; a reader
/// follows on a connection of its own.
async fn a_reader_misses_nothing_while_steps_commit(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let (mapping, run) = scene(&tenant, integration).await;
    if let Raw::Postgres(_) = &db.raw {
        db.raw
            .run(
                "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(random() * 0.02); RETURN NEW; END $$;
                 CREATE TRIGGER slow BEFORE UPDATE OF rows_read ON runs FOR EACH ROW EXECUTE FUNCTION slow()",
            )
            .await;
    }
    let others = db.place.open().await;
    let mut writers = Vec::new();
    for (n, tenant) in [tenant.clone(), others.own(), tenant.clone(), others.own()].into_iter().enumerate() {
        let (mapping, run) = (mapping.clone(), run.clone());
        writers.push(tokio::spawn(async move {
            for step in 0..40_i64 {
                // Some ids are everybody's.
                let ids: Vec<String> =
                    (0..7).map(|id| format!("{:03}", (n * 5 + step as usize * 3 + id) % 60)).collect();
                let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
                write(&tenant, &run, &mapping, &ids, &format!("{n}-{step}"), step).await;
                tokio::time::sleep(Duration::from_millis(fastrand(n as u64 * 100 + step as u64) % 8)).await;
            }
        }));
    }
    let reader = db.place.open().await.own();
    let source = RecordSource::mapping(&mapping);
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    let mut start = Start::Changes;
    let mut pages = 0;
    loop {
        let is_over = writers.iter().all(tokio::task::JoinHandle::is_finished);
        let got = find(&reader, &source, Asked { start: start.clone(), limit: 5, ..Asked::default() }).await.unwrap();
        for record in &got.records {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            seen.insert(text(&record["id"]), text(&record["fields"]["name"]));
        }
        pages += 1;
        start = after(&mapping, &got.next);
        if is_over && !got.more {
            break;
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let seen: Vec<String> = seen.into_iter().map(|(id, name)| format!("{id}={name}")).collect();
    assert_eq!(seen, db.raw.texts("SELECT id || '=' || name FROM accounts ORDER BY id").await);
    assert!(pages > 30, "there was nothing to follow: {pages} pages");
    // In the table itself: no number is there twice for two steps, and the newest is the counter.
    let most = db.raw.texts("SELECT CAST(max(_change) AS text) FROM accounts").await.remove(0);
    assert_eq!(most, counter(&db).await);
}

/// Numbers that look random, and are the same each time.
fn fastrand(seed: u64) -> u64 {
    seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407) >> 33
}

async fn a_pass_by_id_leads_into_the_feed(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let (mapping, run) = scene(&tenant, integration).await;
    let source = RecordSource::mapping(&mapping);
    write(&tenant, &run, &mapping, &["a", "c", "e"], "x", 1).await;
    let page =
        async |start: Start| find(&tenant, &source, Asked { start, limit: 2, ..Asked::default() }).await.unwrap();
    let first = page(Start::Ids).await;
    assert_eq!((first.ids(), first.more), (vec!["a", "c"], true));
    // Behind the reader, where the pass comes no more; and before it.
    write(&tenant, &run, &mapping, &["b", "f"], "y", 2).await;
    let second = page(after(&mapping, &first.next)).await;
    assert_eq!((second.ids(), second.more), (vec!["e", "f"], false));
    let third = page(after(&mapping, &second.next)).await;
    assert_eq!((third.ids(), third.more), (vec!["b", "f"], false), "what has changed since the pass began");
    let fourth = page(after(&mapping, &third.next)).await;
    assert!(fourth.records.is_empty() && fourth.next == third.next, "a place to wait at");
    // Within one number a page ends where it must, and a filter that finds nothing moves the place all the same.
    let one = page(Start::Changes).await;
    assert_eq!((one.ids(), one.more), (vec!["a", "c"], true));
    assert_eq!(one.next.place_in(mapping.id), Some(&Place::Change { change: 1, id: "c".to_owned() }));
    let none = Asked { filters: &[("eq", "name", "nobody")], ..Asked::default() };
    assert_eq!(find(&tenant, &source, none).await.unwrap().next, fourth.next);
}

async fn a_place_that_the_source_has_not_come_to_is_told(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let (mapping, run) = scene(&tenant, integration).await;
    write(&tenant, &run, &mapping, &["a"], "x", 1).await;
    let source = RecordSource::mapping(&mapping);
    let at = |change| Asked { start: Start::After(Place::Change { change, id: String::new() }), ..Asked::default() };
    assert!(find(&tenant, &source, at(2)).await.is_some(), "behind all that there is");
    assert!(find(&tenant, &source, at(3)).await.is_none(), "a database that was set back would leave changes out");
    let other = RecordCursor::new(Uuid::now_v7(), Place::Change { change: 1, id: String::new() });
    assert_eq!(other.place_in(mapping.id), None);
}

async fn contacts_are_followed_alike(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let run = tenant.start_run(integration, now()).await.unwrap();
    let commit = async |contacts: &[tieline_store::ContactRow]| {
        let step = Step { contacts, checkpoint: &Checkpoint::default(), api_calls: 1 };
        tenant.commit_step(&run, &step, now()).await.unwrap()
    };
    commit(&[crate::imports::contact("1", "Ada"), crate::imports::contact("2", "Ben")]).await;
    let source = RecordSource::contacts(integration);
    let all = find(&tenant, &source, Asked::default()).await.unwrap();
    assert_eq!((all.ids(), all.more), (vec!["1", "2"], false));
    let first = &all.records[0];
    assert_eq!((&first["deleted"], &first["master_id"]), (&Value::Null, &Value::Null));
    assert_eq!(first["synced_at"], "2026-06-01T12:00:00.000Z");
    assert_eq!(first["fields"]["created_at"], "2026-06-01T12:00:00.000Z");
    assert!(first["fields"]["source_metadata"].is_object(), "{first}");
    // The same again changes nothing; one that is gone comes behind.
    commit(&[crate::imports::contact("1", "Ada")]).await;
    let place = Start::After(all.next.place_in(integration).unwrap().clone());
    let asked = || Asked { start: place.clone(), ..Asked::default() };
    assert!(find(&tenant, &source, asked()).await.unwrap().records.is_empty());
    let gone = tieline_store::ContactRow { deleted: DELETED, ..crate::imports::contact("2", "Ben") };
    commit(&[gone]).await;
    let changed = find(&tenant, &source, asked()).await.unwrap();
    assert_eq!((changed.ids(), &changed.records[0]["deleted"]), (vec!["2"], &"deleted".into()));
    for (filter, expected) in [
        (("eq", "email", "1@example.com"), vec!["1"]),
        (("eq", "_deleted", "deleted"), vec!["2"]),
        (("gte", "_synced_at", "2026-06-01T12:00:00Z"), vec!["1", "2"]),
        (("gt", "created_at", "2026-06-01T12:00:00Z"), vec![]),
        (("null", "_master_id", "false"), vec![]),
        (("prefix", "id", "2"), vec!["2"]),
    ] {
        let found = find(&tenant, &source, Asked { filters: &[filter], start: Start::Ids, ..Asked::default() }).await;
        assert_eq!(found.unwrap().ids(), expected, "{filter:?}");
    }
    // Another business has none of them, whatever integration it names.
    let new = tieline_store::NewUser { email: "owner@example.com", name: "O", password_hash: None };
    let owner = db.store.set_up(&new, "first", "", now()).await.unwrap().unwrap();
    let business = db.store.create_business("second", owner.id, "", now()).await.unwrap();
    let other = db.store.as_member(&db.store.membership(owner.id, business).await.unwrap().unwrap());
    assert!(find(&other, &source, Asked { start: Start::Ids, ..Asked::default() }).await.unwrap().records.is_empty());
    assert!(other.record(&source, "1", &[]).await.unwrap().is_none());
    assert!(tenant.record(&source, "1", &[]).await.unwrap().is_some());
}
