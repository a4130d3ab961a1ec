//! Connections that break and tokens that run out in the middle of a result.

use serde_json::json;
use tieline_datacloud::{DataCloud, DataCloudError, Options, Transfer};

use crate::queries::{SERIES, all_ids, each_once};
use crate::world::World;

const SERVICE: &str = "/salesforce.hyperdb.grpc.v1.HyperService";

fn patient(world: &World) -> DataCloud {
    let options = Options { pause: std::time::Duration::from_millis(5), ..Options::default() };
    DataCloud::with(world.provider(world.jwt(), world.settings()), options).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_goes_on_where_the_connection_broke() {
    let Some(world) = World::with_engine(10).await else { return };
    let cloud = patient(&world);
    for (how, call, after, times, transfer) in [
        ("cut", "ExecuteQuery", 0, 1, Transfer::Adaptive),
        ("cut", "ExecuteQuery", 100_000, 1, Transfer::Adaptive),
        ("cut", "ExecuteQuery", 9_000_000, 1, Transfer::Adaptive),
        ("cut", "ExecuteQuery", 9_000_000, 1, Transfer::Sync),
        ("cut", "GetQueryResult", 0, 2, Transfer::Adaptive),
        ("cut", "GetQueryResult", 5_000_000, 1, Transfer::Adaptive),
        ("cut", "GetQueryResult", 1_000_000, 3, Transfer::Async),
        // The stream ends well, and too early: between messages or within one, as a proxy's time limit does it.
        ("truncate", "ExecuteQuery", 0, 1, Transfer::Adaptive),
        ("truncate", "ExecuteQuery", 100_000, 1, Transfer::Adaptive),
        ("truncate", "GetQueryResult", 1_000_000, 2, Transfer::Adaptive),
        ("truncate", "GetQueryResult", 0, 2, Transfer::Async),
    ] {
        let before = world.get("ledger").await["faults_injected"].as_u64().unwrap();
        let fault = json!({"path": format!("{SERVICE}/{call}"), how: after, "times": times});
        world.post("faults", fault).await;
        let mut rows = cloud.query(SERIES).transfer(transfer).run().await.unwrap();
        each_once(all_ids(&mut rows).await.unwrap(), 1_000_000);
        let met = world.get("ledger").await["faults_injected"].as_u64().unwrap() - before;
        assert_eq!(met, times, "{how} {call} after {after}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_runs_out_in_the_middle_is_replaced() {
    let Some(world) = World::with_engine(10).await else { return };
    let cloud = patient(&world);
    for transfer in [Transfer::Adaptive, Transfer::Async] {
        let mut rows = cloud.query(SERIES).transfer(transfer).run().await.unwrap();
        let before = world.counts().await;
        world.post("tokens/revoke", json!({"datacloud": true})).await;
        each_once(all_ids(&mut rows).await.unwrap(), 1_000_000);
        let (logins, exchanges, _) = world.counts().await - before;
        assert_eq!((logins, exchanges), (0, 1), "{transfer:?}");
        world.post("tokens/revoke", json!({"datacloud": true})).await;
    }
}

#[tokio::test]
async fn a_tenant_that_refuses_every_token_is_asked_twice() {
    let Some(world) = World::with_engine(10).await else { return };
    let cloud = patient(&world);
    let headers = json!({"content-type": "application/grpc", "grpc-status": "16", "grpc-message": "no"});
    let fault = json!({"path": format!("{SERVICE}/ExecuteQuery"), "status": 200, "headers": headers, "times": 0});
    world.post("faults", fault).await;
    let error = cloud.query("SELECT 1").run().await.unwrap_err();
    assert!(error.needs_person() && error.to_string().contains("UNAUTHENTICATED"), "{error}");
    assert_eq!(world.get("ledger").await["faults_injected"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_patience_ends_is_asked_again() {
    let Some(world) = World::with_engine(10).await else { return };
    let cloud = patient(&world);
    // CANCELLED, as hyperd says it after 100 s.
    for call in ["ExecuteQuery", "GetQueryInfo", "GetQueryResult"] {
        let headers = json!({"content-type": "application/grpc", "grpc-status": "1"});
        let path = format!("{SERVICE}/{call}");
        world.post("faults", json!({"path": path, "status": 200, "headers": headers, "times": 2})).await;
    }
    let mut rows = cloud.query(SERIES).transfer(Transfer::Async).run().await.unwrap();
    each_once(all_ids(&mut rows).await.unwrap(), 1_000_000);
    let ledger = world.get("ledger").await;
    assert!(ledger["faults_injected"].as_u64().unwrap() >= 4, "{ledger}");
}

#[tokio::test]
async fn a_gateway_that_is_down_is_waited_for_and_told_in_the_end() {
    let Some(world) = World::with_engine(10).await else { return };
    let cloud = patient(&world);
    let fault = |times: u64| json!({"path": format!("{SERVICE}/ExecuteQuery"), "status": 503, "times": times});
    world.post("faults", fault(2)).await;
    cloud.query("SELECT 1").run().await.unwrap();
    world.post("faults", fault(0)).await;
    let error = cloud.query("SELECT 1").run().await.unwrap_err();
    assert!(matches!(error, DataCloudError::Unreachable { attempts: 4, .. }), "{error}");
    assert!(error.is_transient() && error.hint().contains("REST"), "{}", error.hint());
}

#[tokio::test]
async fn a_page_that_got_lost_over_rest_is_told_and_never_left_out() {
    let Some(world) = World::with_engine(12_000).await else { return };
    let cloud = patient(&world);
    let mut rows = cloud.query_by_rest(r#"SELECT "id__c" FROM "WebEngagement__dll""#).await.unwrap();
    rows.next().await.unwrap().unwrap();
    world.post("faults", json!({"path": "/api/v2/query/", "cut": 0})).await;
    let error = rows.next().await.unwrap_err();
    assert!(matches!(error, DataCloudError::Unreachable { .. }), "{error}");
}
