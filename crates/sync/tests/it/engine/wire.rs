//! Answers that are cut, logins that end, orgs that move, and answers that are lost: T22, T28 to T30, in a run.

use std::time::Duration;

use reqwest::Method as Http;
use serde_json::{Value, json};
use tieline_client::bulk::JobKind;
use tieline_store::mappings::MappingState;
use tieline_sync::engine::Asked;
use tieline_sync::mapping::{Definition, Method};

use super::world::{World, all_of};
use crate::database::Db;

on_both!(
    t22_a_result_that_is_cut_at_any_byte_is_never_taken_for_whole,
    t22_values_that_look_like_nothing_arrive_as_they_are,
    t22_counts_that_do_not_agree_end_the_run,
    t28_sessions_that_end_in_the_middle_of_many_runs_cost_one_login,
    t28_a_login_that_is_gone_asks_for_a_person_and_loses_nothing,
    t29_an_org_that_moves_while_it_is_read_is_followed,
    t30_a_job_whose_answer_is_lost_is_at_most_one_too_many,
);

fn notes(name: &str, method: Method) -> Definition {
    let written = format!(
        "name = \"{name}\"\nobject = \"Account\"\ntable = \"{name}\"\ncolumns = [\"Name\", \"Description\", \"Site\"]"
    );
    Definition { method, ..Definition::from_toml(&written).unwrap() }
}

fn account(name: &str, description: &str, site: &str) -> Value {
    json!({"op": "insert", "object": "Account", "fields": {"Name": name, "Description": description, "Site": site}})
}

/// Waits until each of these tables has rows: the org holds their next page back.
async fn begun(world: &World, tables: &[String]) {
    for table in tables {
        while world.db.raw.texts(&format!("SELECT \"id\" FROM \"{table}\"")).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn t22_a_result_that_is_cut_at_any_byte_is_never_taken_for_whole(db: Db) {
    let mut world = World::with(db, &notes("cut", Method::Bulk)).await;
    let written = json!([account("NA", "a\nb, \"c\"", "\u{1f600}"), account("NULL", "\u{1f600}\u{1f600}", "")]);
    assert_eq!(world.write(written).await.len(), 2);
    world.at(300).await;
    // A job, whose results are then read time and again.
    world.limits(json!({"bulk_hold": "InProgress"})).await;
    world.engine.care.job_wait = Duration::from_millis(50);
    world.sync().await.unwrap_err();
    world.limits(json!({"bulk_hold": null})).await;
    world.engine.care.job_wait = Duration::from_secs(20);
    let job = world.mapping().await.standing.progress.job.unwrap().id;
    let path = format!("/services/data/v67.0/jobs/query/{job}/results");
    let mut cut = 0;
    loop {
        world.fault(json!({"path": path, "times": 0, "truncate": cut})).await;
        let outcome = world.sync().await;
        world.control(Http::DELETE, "faults", json!({})).await;
        if outcome.is_ok() {
            break;
        }
        let standing = world.mapping().await.standing;
        assert_eq!(standing.checkpoint.through, None, "cut after {cut} bytes");
        assert_eq!(standing.progress.job.map(|job| job.id).as_ref(), Some(&job), "cut after {cut} bytes");
        cut += 1;
        assert!(cut < 1_000, "{outcome:?}");
    }
    assert!(cut > 150, "{cut} bytes were taken for all");
    world.assert_in_step().await;
    assert_eq!(world.rows().await.len(), 2);
}

async fn t22_values_that_look_like_nothing_arrive_as_they_are(db: Db) {
    let mut world = World::bare(db).await;
    let texts = ["NA", "NULL", "null", "N/A", "#N/A", "\"\"", "a\nb", "a\r\nb", "say \"so\", twice", "\u{1f600}é", ","];
    let writes: Vec<Value> = texts.iter().map(|text| account(text, text, text)).collect();
    let ids = world.write(Value::Array(writes)).await;
    // Texts of all lengths, so that somewhere a character of four bytes lies over the end of a piece.
    let long: Vec<Value> = (0..64)
        .map(|n| account(&format!("long {n}"), &format!("{}\u{1f600}{}", "x".repeat(n), "\u{1f600}".repeat(300)), ""))
        .collect();
    world.write(Value::Array(long)).await;
    world.at(300).await;
    for (name, method) in [("pages", Method::Rest), ("job", Method::Bulk)] {
        world.mapping = world.map(&notes(name, method)).await.id;
        world.sync().await.unwrap();
        world.assert_in_step().await;
        let rows = world.rows().await;
        for (id, text) in ids.iter().zip(texts) {
            assert_eq!(rows[id]["description"], text, "{name}");
        }
        assert_eq!(rows.len(), texts.len() + 64);
        assert!(rows.values().all(|row| row["site"] != ""), "what is empty is nothing");
    }
    // No text may hold a NUL in PostgreSQL: it comes as the sign for what cannot be shown. An org does not keep one; a page
    // that has one is made up.
    let modstamp = "2026-06-01T12:00:00.000+0000";
    let record = json!({"attributes": {"type": "Account", "url": "/x"}, "Id": ids[0], "SystemModstamp": modstamp, "IsDeleted": false,
        "MasterRecordId": null, "Name": "a\u{0}b", "Description": null, "Site": null});
    let page = json!({"totalSize": 1, "done": true, "records": [record]});
    world.mapping = world.map(&notes("nul", Method::Rest)).await.id;
    world.fault(json!({"path": "/services/data/v67.0/queryAll", "status": 200, "body": page})).await;
    world.sync().await.unwrap();
    let expected = if world.db.is_sqlite() { "a\u{0}b" } else { "a\u{fffd}b" };
    assert_eq!(world.row(&ids[0]).await["name"], expected);
}

async fn t22_counts_that_do_not_agree_end_the_run(db: Db) {
    let mut world = World::bare(db).await;
    world.accounts((0..60).map(|n| format!("account {n}"))).await;
    world.at(300).await;
    for (limit, delta) in [
        ("bulk_processed_delta", 1),
        ("bulk_processed_delta", -1),
        ("bulk_page_count_delta", 1),
        ("bulk_page_count_delta", -1),
    ] {
        let name = format!("{limit}{}", if delta > 0 { "_more" } else { "_less" });
        let definition =
            Definition { name: name.clone(), table: Some(name.clone()), method: Method::Bulk, ..all_of("Account") };
        world.mapping = world.map(&definition).await.id;
        world.limits(json!({limit: delta})).await;
        let error = world.sync().await.unwrap_err();
        assert_eq!(world.mapping().await.standing.checkpoint.through, None, "{name}: {error}");
        world.limits(json!({limit: 0})).await;
        world.sync().await.unwrap();
        world.assert_in_step().await;
    }
}

async fn t28_sessions_that_end_in_the_middle_of_many_runs_cost_one_login(db: Db) {
    let mut world = World::bare(db).await;
    world.accounts((0..900).map(|n| format!("account {n}"))).await;
    world.at(300).await;
    world.limits(json!({"query_page_rows": 200})).await;
    let mut mappings = Vec::new();
    for n in 0..8 {
        mappings.push(world.map(&notes(&format!("m{n}"), Method::Rest)).await.id);
    }
    let logins = async || {
        let ledger = world.ledger().await;
        ledger["token_requests"].as_object().unwrap().values().filter_map(Value::as_u64).sum::<u64>()
    };
    let before = logins().await;
    // Each of them is in the middle of its pages when no session lives any more.
    world.fault(json!({"path": "/services/data/v67.0/query/", "times": 0, "delay_ms": 1_500})).await;
    let tables: Vec<String> = (0..mappings.len()).map(|n| format!("m{n}")).collect();
    let end = async {
        begun(&world, &tables).await;
        world.control(Http::DELETE, "faults", json!({})).await;
        world.post("tokens/revoke", json!({"all": true})).await;
    };
    let engine = &world.engine;
    let runs = mappings.iter().map(|mapping| async { engine.run(*mapping, Asked::default(), &mut |_| {}).await });
    let (reports, ()) = tokio::join!(futures_util::future::join_all(runs), end);
    for report in reports {
        let run = report.unwrap().run;
        assert_eq!((run.rows_read, run.inserted), (900, 900));
    }
    assert_eq!(logins().await, before + 1, "all of them wait for one login");
    for mapping in mappings {
        world.mapping = mapping;
        world.assert_in_step().await;
    }
}

async fn t28_a_login_that_is_gone_asks_for_a_person_and_loses_nothing(db: Db) {
    let world = World::new(db, "Account").await;
    world.accounts((0..900).map(|n| format!("account {n}"))).await;
    world.at(300).await;
    world.limits(json!({"query_page_rows": 200})).await;
    world.fault(json!({"path": "/services/data/v67.0/query/", "times": 0, "delay_ms": 1_000})).await;
    let end = async {
        begun(&world, &["account".to_owned()]).await;
        world.post("tokens/revoke", json!({"refresh_token": world.info().refresh_token})).await;
    };
    let (outcome, ()) = tokio::join!(world.sync(), end);
    let error = outcome.unwrap_err();
    assert!(error.needs_person(), "{error}");
    let mapping = world.mapping().await;
    assert_eq!(mapping.state, MappingState::NeedsReauth);
    let rows = world.rows().await.len();
    assert!((1..900).contains(&rows), "what came is kept: {rows}");
    assert_eq!(mapping.standing.checkpoint.through, None);
}

async fn t29_an_org_that_moves_while_it_is_read_is_followed(db: Db) {
    let mut world = World::bare(db).await;
    world.accounts((0..900).map(|n| format!("account {n}"))).await;
    world.at(2_000).await;
    world.limits(json!({"query_page_rows": 200, "bulk_page_rows": 200})).await;
    // Of a job a later page of the results.
    for (name, method, held) in [
        ("pages", Method::Rest, json!({"path": "/services/data/v67.0/query/"})),
        ("job", Method::Bulk, json!({"path": "/services/data/v67.0/jobs/query/", "query": "locator="})),
    ] {
        world.mapping = world.map(&notes(name, method)).await.id;
        let mut held = held;
        held.as_object_mut().unwrap().extend([("times".to_owned(), json!(0)), ("delay_ms".to_owned(), json!(1_000))]);
        world.fault(held).await;
        let moves = async {
            begun(&world, &[name.to_owned()]).await;
            world.control(Http::DELETE, "faults", json!({})).await;
            world.post("instance/move", json!({})).await
        };
        let (outcome, moved) = tokio::join!(world.sync(), moves);
        let report = outcome.unwrap();
        assert!((900..=1_100).contains(&report.run.rows_read), "{name}: it went on where it stood: {:?}", report.run);
        world.assert_in_step().await;
        let token = world.connection().credentials().token().await.unwrap();
        let now = token.instance_url().as_str().trim_end_matches('/').to_owned();
        assert_eq!(json!(now), moved["instance_url"], "{name}");
        // And the next run asks there.
        world.sync().await.unwrap();
    }
}

async fn t30_a_job_whose_answer_is_lost_is_at_most_one_too_many(db: Db) {
    let mut world = World::bare(db).await;
    world.accounts((0..300).map(|n| format!("account {n}"))).await;
    world.at(300).await;
    for (n, fault) in [json!({"cut": 0}), json!({"cut": 20}), json!({"truncate": 20})].into_iter().enumerate() {
        let name = format!("lost{n}");
        let definition =
            Definition { name: name.clone(), table: Some(name.clone()), method: Method::Bulk, ..all_of("Account") };
        world.mapping = world.map(&definition).await.id;
        let jobs = async || world.connection().jobs(JobKind::Query, 100).await.unwrap().len();
        let before = jobs().await;
        let mut lost = json!({"path": "/services/data/v67.0/jobs/query", "method": "POST"});
        lost.as_object_mut().unwrap().extend(fault.as_object().unwrap().clone());
        world.fault(lost).await;
        let outcome = world.sync().await;
        if outcome.is_err() {
            assert_eq!(world.mapping().await.standing.progress.job, None, "nobody knows of it");
            world.sync().await.unwrap();
        }
        world.assert_in_step().await;
        assert!(jobs().await <= before + 1, "{fault}: the one that was read is deleted, the lost one is the org's");
        let report = world.sync().await.unwrap();
        assert_eq!((report.run.inserted, report.run.updated), (0, 0), "{fault}");
    }
}
