//! Every expectation holds on the emulator.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::json;
use tieline_contract::{Need, Settings, expectations};

use crate::world::{World, lines, names};

/// A unique external id, so that nothing about upserts is left out.
async fn with_external_id(world: &World) -> Settings {
    let field =
        json!({"object": "Account", "name": "Ext__c", "type": "string 80", "external_id": true, "unique": true});
    world.control(Method::POST, "fields", field).await;
    world.everything()
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_holds_on_the_emulator_by_three_logins() {
    let world = World::new(2_100).await;
    let settings = with_external_id(&world).await;
    let mut never_tried: BTreeSet<&str> = expectations().iter().map(|one| one.name).collect();
    for config in [world.jwt(), world.refresh(), world.client_credentials()] {
        let grant = config.grant.name();
        let report = world.run(config, &settings).await;
        assert_eq!(lines(&report, "not_held"), Vec::<String>::new(), "{grant}");
        assert_eq!(lines(&report, "words_differ"), Vec::<String>::new(), "{grant}");
        assert_eq!(report.left, Vec::<String>::new());
        let skipped = names(&report, "skipped");
        for name in &skipped {
            let one = expectations().into_iter().find(|one| one.name == *name).unwrap();
            // Each is tried by one of the three logins.
            let of_a_login = [Need::Jwt, Need::RefreshToken, Need::ClientCredentials];
            assert!(one.needs.iter().any(|need| of_a_login.contains(need)), "{:?}", lines(&report, "skipped"));
        }
        never_tried.retain(|name| skipped.contains(name));
        for (object, field) in
            [("Account", "Name"), ("Contact", "LastName"), ("Lead", "LastName"), ("Opportunity", "Name")]
        {
            let left = world.query(&format!("SELECT Id FROM {object} WHERE {field} LIKE '{}%'", report.marker)).await;
            assert_eq!(left["totalSize"], 0, "{object}: {left}");
        }
        assert!(report.calls < 600, "{} calls", report.calls);
    }
    assert_eq!(never_tried, BTreeSet::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_only_reads_writes_nothing_and_says_what_it_left_out() {
    let world = World::new(20).await;
    let report = world.run(world.jwt(), &Settings { read_only: true, ..Settings::default() }).await;
    assert!(report.all_held(), "{}", report.summary());
    let skipped = names(&report, "skipped");
    for one in expectations() {
        assert!(!one.needs.contains(&Need::Write) || skipped.contains(&one.name), "{}", one.name);
    }
    let ledger = world.ledger().await;
    assert_eq!((&ledger["records_written"], &ledger["deploys"]), (&json!(0), &json!(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_given_access_token_is_enough_for_all_but_logins() {
    let world = World::new(20).await;
    let report = world.run(world.access_token(), &Settings::default()).await;
    assert!(report.all_held(), "{:?}", lines(&report, "not_held"));
    assert!(report.count("held") > 170, "{}", report.summary());
    assert_eq!(world.ledger().await["logins"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_rotates_keeps_its_last_refresh_token() {
    let world = World::new(20).await;
    world.control(Method::PUT, "app", json!({"rotation": true})).await;
    let report = world.run(world.refresh(), &Settings::default()).await;
    assert!(report.all_held(), "{:?}", lines(&report, "not_held"));
    let ledger = world.ledger().await;
    assert_eq!(ledger["spent_refresh_tokens_replayed"], 0, "{ledger}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_ends_with_the_calls_it_may_make() {
    let world = World::new(20).await;
    let report = world.run(world.jwt(), &Settings { max_calls: 40, ..Settings::default() }).await;
    assert!(report.calls < 90, "{} calls", report.calls);
    let reasons = lines(&report, "skipped").concat();
    assert!(reasons.contains("the run has used the 40 calls that it may (--max-calls)"), "{reasons}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_is_kept_on_request() {
    let world = World::new(20).await;
    let settings = Settings { keep: true, areas: vec![tieline_contract::Area::Collections], ..Settings::default() };
    let report = world.run(world.jwt(), &settings).await;
    let kept = world.query(&format!("SELECT Id FROM Account WHERE Name LIKE '{}%'", report.marker)).await;
    assert!(kept["totalSize"].as_u64().unwrap() > 3, "{kept}");
    assert!(report.left[0].contains(&report.marker));
}

#[test]
fn every_expectation_has_a_name_of_its_own() {
    let all = expectations();
    let names: BTreeSet<&str> = all.iter().map(|one| one.name).collect();
    assert_eq!(names.len(), all.len());
    assert!(all.len() >= 90, "{}", all.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_stopped_cleans_up_too() {
    let world = World::new(20).await;
    let settings = Settings { areas: vec![tieline_contract::Area::Records], ..Settings::default() };
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let (mut stop, mut seen) = (Some(stop), 0);
    let count = |_: &tieline_contract::Finding| {
        seen += 1;
        if seen == 4 {
            let _ = stop.take().unwrap().send(());
        }
    };
    let stopped = async { stopped.await.unwrap() };
    let report = tieline_contract::run_until(world.jwt(), &settings, count, stopped).await.unwrap();
    assert!(report.stopped && report.findings.len() < 10, "{}", report.summary());
    let all = world.query_all(&format!("SELECT IsDeleted FROM Account WHERE Name LIKE '{}%'", report.marker)).await;
    let records = all["records"].as_array().unwrap();
    assert!(records.len() >= 3 && records.iter().all(|record| record["IsDeleted"] == true), "{all}");
}
