//! T5: records that change while a scan passes, and connections that break in it.

use serde_json::json;
use tieline_store::mappings::{MappingStep, Spent, Standing};
use tieline_store::object_tables::{Change, Rows};
use tokio::runtime::Handle;

use crate::world::{WINDOW, World};

fn people(count: usize) -> String {
    let mut csv = "LastName,SystemModstamp\n".to_owned();
    for n in 0..count {
        csv.push_str(&format!("Person {n},2026-04-{:02}T00:00:{:02}Z\n", 1 + n * 28 / count, n % 60));
    }
    csv
}

#[tokio::test(flavor = "multi_thread")]
async fn t5_a_row_that_moves_during_any_page_is_not_lost() {
    const COUNT: usize = 6_500;
    for page in 1..=4u64 {
        let world = World::with(Some(&people(COUNT)), WINDOW).await;
        world.at(0).await;
        let ids: Vec<String> = {
            let found: Vec<tieline_client::Record> = futures_util::TryStreamExt::try_collect(
                world.connection.query("SELECT Id FROM Contact ORDER BY SystemModstamp, Id"),
            )
            .await
            .unwrap();
            found.iter().map(|r| r["Id"].as_str().unwrap().to_owned()).collect()
        };
        let mut seen = 0;
        let mut change = |_| {
            seen += 1;
            if seen == page {
                tokio::task::block_in_place(|| {
                    Handle::current().block_on(async {
                        // One of each page, the ends of pages among them.
                        for k in [0, 1_000, 1_999, 2_000, 3_999, 4_000, 5_500, COUNT - 1] {
                            let title = json!({"Title": format!("moved during page {page}")});
                            world.connection.update("Contact", &ids[k], &title).await.unwrap();
                        }
                    });
                });
            }
        };
        world.syncer.run(&mut change).await.unwrap();
        world.at(30).await;
        world.sync().await.unwrap();
        let compared = world.compare().await;
        assert!(compared.is_equal() && compared.org == COUNT as u64, "page {page}: {compared:?}");
    }
}

#[tokio::test]
async fn broken_truncated_and_refused_pages_are_asked_for_again() {
    let world = World::with(Some(&people(6_500)), WINDOW).await;
    for fault in [
        json!({"path": "/services/data", "nth": 1, "cut": 0}),
        json!({"path": "/services/data", "nth": 3, "cut": 40_000}),
        json!({"path": "/services/data", "nth": 5, "truncate": 50_000}),
        json!({"path": "/services/data", "nth": 6, "status": 503, "headers": {"retry-after": "0"}}),
    ] {
        world.fault(fault).await;
    }
    let report = world.sync().await.unwrap();
    assert_eq!((report.run.rows_read, report.run.inserted), (6_500, 6_500));
    assert!(report.run.api_calls >= 8, "{}", report.run.api_calls);
    assert!(world.compare().await.is_equal());
}

#[tokio::test]
async fn a_token_that_ends_between_pages_is_replaced_and_nothing_is_read_twice() {
    let world = World::with(Some(&people(6_500)), WINDOW).await;
    let refused = json!([{"errorCode": "INVALID_SESSION_ID", "message": "Session expired or invalid"}]);
    world.fault(json!({"path": "/services/data", "nth": 3, "status": 401, "body": refused})).await;
    let report = world.sync().await.unwrap();
    assert_eq!(report.run.inserted, 6_500);
    assert_eq!(world.connection.credentials().stats().token_requests, 2);
}

#[tokio::test]
async fn a_later_run_fences_an_earlier_one() {
    let world = World::with(Some(&people(100)), WINDOW).await;
    let store = &world.syncer.store;
    let mapping = store.contacts_mapping(world.syncer.integration).await.unwrap().unwrap();
    let stale = store.start_mapping_run(&mapping, crate::world::start()).await.unwrap();
    world.sync().await.unwrap();
    let before = world.syncer.checkpoint().await;
    let (rows, standing, spent) = (Rows::new(0), Standing::default(), Spent::default());
    let step = MappingStep { rows: rows.into(), change: Change::Rows, standing: &standing, spent, errors: &[] };
    let refused = store.commit_rows(&stale, &mapping, step, crate::world::start()).await.unwrap_err();
    assert!(matches!(refused, tieline_store::StoreError::Fenced { .. }), "{refused}");
    assert_eq!(world.syncer.checkpoint().await, before);
}

#[tokio::test]
async fn a_part_that_passes_for_the_whole_does_not_move_the_checkpoint() {
    let world = World::with(Some(&people(100)), WINDOW).await;
    let part = json!({"totalSize": 100, "done": false, "records": []});
    world.fault(json!({"path": "/services/data/v67.0/queryAll", "status": 200, "body": part})).await;
    let error = world.sync().await.unwrap_err();
    assert!(error.to_string().contains("names no next page"), "{error}");
    assert_eq!(world.through().await, None);
    world.sync().await.unwrap();
    assert!(world.compare().await.is_equal());
}
