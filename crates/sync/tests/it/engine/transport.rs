//! What the org does to queries and jobs on the way: T7, T23 to T27.

use serde_json::json;
use tieline_store::mappings::MappingState;
use tieline_sync::SyncError;
use tieline_sync::mapping::{Definition, Method};

use super::world::{World, all_of};
use crate::database::Db;

on_both!(
    t7_a_job_without_order_moves_the_checkpoint_only_at_its_end,
    t23_pages_that_end_early_repeat_or_are_skipped_are_never_a_result,
    t24_a_job_is_waited_for_found_again_and_begun_anew,
    t25_a_forgotten_place_is_found_by_the_key,
    t26_queries_that_take_too_long_are_divided_to_the_end,
    t21_columns_that_do_not_fit_into_one_query_are_of_one_version,
    t26_many_of_one_second_are_divided_by_id,
    t26_a_second_full_of_records_costs_few_calls,
    t26_ids_that_take_too_long_are_asked_for_in_shorter_lists,
    t27_without_calls_the_run_is_paused_where_it_stands,
    t27_a_step_that_fails_as_calls_run_out_is_read_again,
    t27_a_share_of_the_calls_is_left_to_others,
);

fn by_bulk() -> Definition {
    Definition { method: Method::Bulk, ..all_of("Account") }
}

/// Accounts over most of a year, a third of them on one day.
async fn spread(world: &World, count: usize) -> Vec<String> {
    let ids = world.accounts((0..count).map(|n| format!("account {n}"))).await;
    let day = |n: usize| if n.is_multiple_of(3) { 1 } else { n % 40 * 5 };
    for chosen in 0..=200 {
        let of_day = ids.iter().enumerate().filter(|(n, _)| day(*n) == chosen).map(|(_, id)| id.clone());
        for (second, ids) in of_day.collect::<Vec<_>>().chunks(7).enumerate() {
            let at = 1_748_000_000 + chosen as i64 * 86_400 + second as i64;
            let at = jiff::Timestamp::from_second(at).unwrap().to_string();
            let touch = json!({"object": "Account", "ids": ids, "system_modstamp": at});
            world.control(reqwest::Method::POST, "records/touch", touch).await;
        }
    }
    ids
}

async fn t7_a_job_without_order_moves_the_checkpoint_only_at_its_end(db: Db) {
    let world = World::with(db, &by_bulk()).await;
    spread(&world, 300).await;
    world.limits(json!({"bulk_shuffle_seed": 7})).await;
    world.at(300).await;
    // A page of the results, not the first, is refused for good.
    world.limits(json!({"bulk_page_rows": 100})).await;
    let refusal = json!([{"message": "no", "errorCode": "UNKNOWN_EXCEPTION"}]);
    let fault = json!({"path": "/services/data/v67.0/jobs/query/", "method": "GET", "query": "locator=", "nth": 2, "times": 0,
        "status": 400, "body": refusal});
    world.fault(fault).await;
    let error = world.sync().await.unwrap_err();
    let standing = world.mapping().await.standing;
    assert_eq!(standing.checkpoint.through, None, "{error}");
    let job = standing.progress.job.clone().expect("the job is kept");
    assert!(!world.rows().await.is_empty(), "what came is written");
    world.control(reqwest::Method::DELETE, "faults", json!({})).await;
    world.sync().await.unwrap();
    world.assert_in_step().await;
    assert_eq!(world.rows().await.len(), 300);
    let standing = world.mapping().await.standing;
    assert_eq!(standing.progress.job, None);
    assert!(standing.checkpoint.through.unwrap() >= job.until);
}

async fn t23_pages_that_end_early_repeat_or_are_skipped_are_never_a_result(db: Db) {
    let mut world = World::bare(db).await;
    world.accounts((0..4_100).map(|n| format!("account {n}"))).await;
    world.limits(json!({"bulk_page_rows": 1_000, "query_page_rows": 1_000})).await;
    world.at(300).await;
    let trick = async |world: &World, of: &str, trick: &str, times: u32| {
        let trick = json!({"of": of, "trick": trick, "nth": 2, "times": times});
        world.control(reqwest::Method::POST, "pages", trick).await;
    };
    for kind in ["empty", "end", "repeat", "skip"] {
        // Pages are asked for again; a job's are, by the next run.
        world.mapping = world.map(&named(&format!("pages_{kind}"), Method::Rest)).await.id;
        trick(&world, "query", kind, 1).await;
        world.sync().await.unwrap();
        world.assert_in_step().await;
        world.mapping = world.map(&named(&format!("job_{kind}"), Method::Bulk)).await.id;
        trick(&world, "bulk", kind, 1).await;
        let error = world.sync().await.unwrap_err();
        assert_eq!(world.mapping().await.standing.checkpoint.through, None, "{kind}: {error}");
        world.sync().await.unwrap();
        world.assert_in_step().await;
    }
    world.mapping = world.map(&named("never", Method::Rest)).await.id;
    trick(&world, "query", "skip", 0).await;
    let error = world.sync().await.unwrap_err();
    assert!(matches!(error, SyncError::Inconsistent { .. }), "{error}");
    assert_eq!(world.mapping().await.standing.checkpoint.through, None);
    world.control(reqwest::Method::DELETE, "pages", json!({})).await;
    world.sync().await.unwrap();
    world.assert_in_step().await;
}

fn named(name: &str, method: Method) -> Definition {
    Definition { name: name.to_owned(), table: Some(name.to_owned()), method, ..all_of("Account") }
}

async fn t21_columns_that_do_not_fit_into_one_query_are_of_one_version(db: Db) {
    let mut world = World::new(db, "Account").await;
    world.engine.care.longest_query = 300;
    let ids = world.accounts((0..2_100).map(|n| format!("account {n}"))).await;
    world.at(300).await;
    // While the first page's parts are read, one of its records changes: between the first and the second part.
    world.fault(json!({"path": "/services/data", "query": "Id IN", "delay_ms": 700})).await;
    let change = async {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        let fields = json!({"Name": "both", "Website": "both", "Phone": "both", "BillingCity": "both"});
        world.write(json!([{"op": "update", "object": "Account", "id": ids[5], "fields": fields}])).await;
    };
    let (report, ()) = tokio::join!(world.sync(), change);
    report.unwrap();
    let row = world.rows().await.remove(&ids[5]).unwrap();
    let cells: Vec<_> = ["name", "website", "phone", "billing_city"].iter().map(|name| row[*name] == "both").collect();
    assert!(cells.iter().all(|both| *both == cells[0]), "{row:?}");
    world.at(600).await;
    world.sync().await.unwrap();
    world.assert_in_step().await;
}

async fn t24_a_job_is_waited_for_found_again_and_begun_anew(db: Db) {
    let mut world = World::with(db, &by_bulk()).await;
    world.accounts((0..40).map(|n| format!("account {n}"))).await;
    world.at(300).await;
    // It does not end while it is waited for.
    world.limits(json!({"bulk_hold": "InProgress"})).await;
    world.engine.care.job_wait = std::time::Duration::from_millis(50);
    let error = world.sync().await.unwrap_err();
    assert!(error.is_transient() || matches!(error, SyncError::Client(_)), "{error}");
    let first = world.mapping().await.standing.progress.job.expect("the job is kept").id;
    // The next run finds it, and makes no second one.
    world.limits(json!({"bulk_hold": null})).await;
    world.engine.care.job_wait = std::time::Duration::from_secs(20);
    world.sync().await.unwrap();
    world.assert_in_step().await;
    let jobs = world.connection().jobs(tieline_client::bulk::JobKind::Query, 10).await.unwrap();
    assert!(jobs.iter().all(|job| job.id == first), "{jobs:?}");

    // One that fails is begun anew by pages, if the mapping leaves the choice; results that are gone by another job.
    let state = json!({"state": "Failed", "message": "InternalServerError"});
    world.limits(json!({"bulk_hold": "InProgress"})).await;
    world.engine.care.job_wait = std::time::Duration::from_millis(50);
    let reload = tieline_sync::engine::Asked { reload: true, ..Default::default() };
    world.ask(reload).await.unwrap_err();
    world.control(reqwest::Method::POST, "bulk/jobs", state).await;
    let error = world.sync().await.unwrap_err();
    assert!(matches!(error, SyncError::Client(tieline_client::ClientError::JobEnded { .. })), "{error}");
    assert_eq!(world.mapping().await.standing.progress.job, None, "the next run begins another");
    world.ask(reload).await.unwrap_err();
    let held = world.mapping().await.standing.progress.job.unwrap().id;
    world.control(reqwest::Method::POST, "bulk/expire", json!({"id": held})).await;
    world.limits(json!({"bulk_hold": null})).await;
    world.engine.care.job_wait = std::time::Duration::from_secs(20);
    world.sync().await.unwrap();
    world.assert_in_step().await;
}

async fn t25_a_forgotten_place_is_found_by_the_key(db: Db) {
    let world = World::new(db, "Account").await;
    world.accounts((0..9_000).map(|n| format!("account {n}"))).await;
    world.at(300).await;
    let gone = json!([{"message": "invalid query locator", "errorCode": "INVALID_QUERY_LOCATOR"}]);
    world.fault(json!({"path": "/services/data/v67.0/query/", "nth": 3, "status": 400, "body": gone})).await;
    let report = world.sync().await.unwrap();
    assert!(
        report.run.rows_read < 9_000 + 4_001,
        "it went on there, and did not begin again: {}",
        report.run.rows_read
    );
    world.assert_in_step().await;
}

async fn t26_queries_that_take_too_long_are_divided_to_the_end(db: Db) {
    let world = World::new(db, "Account").await;
    spread(&world, 400).await;
    world.at(300).await;
    world.limits(json!({"query_timeout_rows": 60})).await;
    let report = world.sync().await.unwrap();
    assert_eq!(report.run.inserted, 400);
    world.assert_in_step().await;
    // Comparisons and what reads by id are divided, too.
    let asked = tieline_sync::engine::Asked { compare: true, ..Default::default() };
    world.ask(asked).await.unwrap();
    assert_eq!(world.mapping().await.standing.progress.rows, Some(400));
}

async fn t26_many_of_one_second_are_divided_by_id(db: Db) {
    let world = World::new(db, "Account").await;
    world.accounts((0..500).map(|n| format!("account {n}"))).await;
    world.at(300).await;
    world.limits(json!({"query_timeout_rows": 40})).await;
    let report = world.sync().await.unwrap();
    assert_eq!(report.run.inserted, 500);
    world.assert_in_step().await;
}

async fn t26_a_second_full_of_records_costs_few_calls(db: Db) {
    let world = World::new(db, "Account").await;
    world.accounts((0..2_000).map(|n| format!("account {n}"))).await;
    world.at(300).await;
    world.limits(json!({"query_timeout_rows": 100})).await;
    let report = world.sync().await.unwrap();
    assert_eq!(report.run.inserted, 2_000);
    // Seventy halves lead from all ids that there can be to a hundred; they are made once, and not for each hundred.
    assert!((70..250).contains(&report.run.api_calls), "{}", report.run.api_calls);
    world.assert_in_step().await;
}

async fn t26_ids_that_take_too_long_are_asked_for_in_shorter_lists(db: Db) {
    let mut world = World::new(db, "Account").await;
    world.accounts((0..900).map(|n| format!("account {n}"))).await;
    for now in [300, 1_000] {
        world.at(now).await;
        world.sync().await.unwrap();
    }
    world.at(1_900).await;
    let slow = async |world: &World| {
        let refusal = json!([{"message": "too long", "errorCode": "QUERY_TIMEOUT"}]);
        world.fault(json!({"query": "Id IN", "times": 3, "status": 400, "body": refusal})).await;
    };
    // What a comparison reads again.
    world.db.raw.run("UPDATE \"account\" SET \"_stamp\" = NULL, \"name\" = 'old'").await;
    slow(&world).await;
    let report = world.ask(tieline_sync::engine::Asked { compare: true, ..Default::default() }).await.unwrap();
    assert_eq!((report.run.drift_found, report.run.updated), (900, 900));
    // Lists of 400, 200 and 100 were refused: those of 50 are eighteen. The rest is what a comparison takes.
    assert!((21..=28).contains(&report.run.api_calls), "{}", report.run.api_calls);
    world.assert_in_step().await;
    // The other columns of a page, where they do not fit into one query.
    world.engine.care.longest_query = 600;
    world.mapping = world.map(&named("wide", Method::Rest)).await.id;
    slow(&world).await;
    world.sync().await.unwrap();
    world.assert_in_step().await;
}

async fn t27_without_calls_the_run_is_paused_where_it_stands(db: Db) {
    let world = World::new(db, "Account").await;
    world.accounts((0..9_000).map(|n| format!("account {n}"))).await;
    world.at(300).await;
    let spent = json!([{"message": "TotalRequests Limit exceeded.", "errorCode": "REQUEST_LIMIT_EXCEEDED"}]);
    world
        .fault(json!({"path": "/services/data/v67.0/query/", "nth": 2, "times": 0, "status": 403, "body": spent}))
        .await;
    let error = world.sync().await.unwrap_err();
    assert!(error.is_out_of_calls(), "{error}");
    let mapping = world.mapping().await;
    assert_eq!(mapping.state, MappingState::PausedQuota);
    assert!(mapping.standing.progress.retry_at.is_some());
    let run = world.tenant().mapping_runs(&mapping, 1).await.unwrap().remove(0);
    assert_eq!((run.state.as_str(), run.retry_at), ("paused_quota", mapping.standing.progress.retry_at));
    let (position, _) = mapping.standing.checkpoint.scan.expect("it stands at the last page that is written");
    let rows = world.rows().await;
    assert!(rows.len() >= 2_000 && rows.contains_key(&position.id));
    world.control(reqwest::Method::DELETE, "faults", json!({})).await;
    world.sync().await.unwrap();
    world.assert_in_step().await;
    let mapping = world.mapping().await;
    assert_eq!((mapping.state, mapping.standing.progress.retry_at), (MappingState::Synced, None));
}

async fn t27_a_step_that_fails_as_calls_run_out_is_read_again(db: Db) {
    let mut world = World::new(db, "Account").await;
    world.engine.care.step_rows = 2_000;
    world.accounts(["there before".to_owned()]).await;
    world.sync().await.unwrap();
    world.accounts((0..9_000).map(|n| format!("account {n}"))).await;
    world.at(300).await;
    let spent = json!([{"message": "TotalRequests Limit exceeded.", "errorCode": "REQUEST_LIMIT_EXCEEDED"}]);
    world
        .fault(json!({"path": "/services/data/v67.0/query/", "nth": 2, "times": 0, "status": 403, "body": spent}))
        .await;
    world.db.raw.failpoint("BEFORE INSERT ON account", "NEW.name = 'account 3000'").await;
    // Of the second page no row can be written; meanwhile the third one is refused, and the run notes when it is tried again.
    assert!(world.sync().await.unwrap_err().is_out_of_calls());
    // The first page has the record that was there once more.
    assert_eq!(world.rows().await.len(), 2_000);
    let standing = world.mapping().await.standing;
    assert!(standing.progress.retry_at.is_some());
    let (position, _) = standing.checkpoint.scan.expect("it stands at the last page that is written");
    assert!(world.rows().await.contains_key(&position.id));
    // This one notes that there is no such time any more.
    world.control(reqwest::Method::DELETE, "faults", json!({})).await;
    let refused = world.sync().await.unwrap_err();
    assert!(refused.to_string().contains("failpoint"), "{refused}");
    assert_eq!(world.mapping().await.standing.progress.retry_at, None);
    world.db.raw.mend("account").await;
    world.sync().await.unwrap();
    world.assert_in_step().await;
    assert_eq!(world.rows().await.len(), 9_001);
}

async fn t27_a_share_of_the_calls_is_left_to_others(db: Db) {
    let mut world = World::new(db, "Account").await;
    world.accounts((0..9_000).map(|n| format!("account {n}"))).await;
    world.at(300).await;
    world.limits(json!({"api_requests_used": 12_100, "daily_api_requests": 15_000})).await;
    let error = world.sync().await.unwrap_err();
    assert!(matches!(error, SyncError::Share { .. }), "{error}");
    assert_eq!(world.state().await, MappingState::PausedQuota);
    world.engine.care.share.total = 100.0;
    world.sync().await.unwrap();
    world.assert_in_step().await;
}
