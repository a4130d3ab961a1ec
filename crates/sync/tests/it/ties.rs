//! T4: more records in one second than a page, or a run, can hold.

use serde_json::json;

use crate::world::{WINDOW, World};

fn tie(count: usize) -> String {
    let mut csv = "LastName,SystemModstamp\n".to_owned();
    for n in 0..count {
        csv.push_str(&format!("Tied {n},2026-05-01T00:00:00Z\n"));
    }
    csv
}

#[tokio::test]
async fn t4_a_run_that_dies_after_every_page_still_ends_with_each_row_once() {
    let world = World::with(Some(&tie(10_001)), WINDOW).await;
    let mut runs = 0;
    loop {
        runs += 1;
        // Six pages of records; then nearly as many of columns that are filled, and of ids, for a scan that was cut off is proven at
        // once.
        assert!(runs <= 17, "no progress: a run that starts among the ties must go on there");
        // Each run gets one page; the second one is refused for good.
        world.control(reqwest::Method::DELETE, "faults", json!(null)).await;
        world.fault(json!({"path": "/services/data/v67.0/query/", "status": 500, "body": [{"errorCode": "UNKNOWN_EXCEPTION", "message": "died"}]})).await;
        let Err(error) = world.sync().await else { break };
        assert!(error.to_string().contains("died"), "{error}");
        let checkpoint = world.syncer.checkpoint().await;
        let rows = world.rows().await;
        let Some((position, _)) = checkpoint.scan else {
            // The last row came, which ended the scan; what follows a resumed scan died.
            assert_eq!(rows.len(), 10_001);
            continue;
        };
        assert_eq!(rows.len(), 2_000 * runs, "one page a run");
        assert_eq!(
            rows.keys().next_back(),
            Some(&position.id),
            "the checkpoint stands at the last row, not ahead of it"
        );
    }
    world.control(reqwest::Method::DELETE, "faults", json!(null)).await;
    assert_eq!(world.rows().await.len(), 10_001);
    assert!(world.compare().await.is_equal());
}

#[tokio::test]
async fn a_cursor_that_the_org_closed_is_asked_for_again_from_where_it_stood() {
    let world = World::with(Some(&tie(5_000)), WINDOW).await;
    world.fault(json!({"path": "/services/data/v67.0/query/", "status": 400, "body": [{"errorCode": "INVALID_QUERY_LOCATOR", "message": "invalid query locator"}]})).await;
    let report = world.sync().await.unwrap();
    assert_eq!((report.run.rows_read, report.run.inserted), (5_000, 5_000), "nothing twice, nothing skipped");
}
