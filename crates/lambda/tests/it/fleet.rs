//! The token store in DynamoDB: the rules of every store, and a herd.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tieline_auth::aws::Service;
use tieline_auth::sealing::MasterKey;
use tieline_auth::token_store::{Lease, Take, TokenStore, conformance};
use tieline_auth::{Clock, Credentials, ManualClock, SharedStore};
use tieline_lambda::dynamodb::DynamoDbStore;

use crate::moto::Moto;
use crate::world::{World, quick, system};

const TABLE: &str = "tieline-tokens";

fn store(moto: &Moto, clock: Arc<dyn Clock>) -> Arc<DynamoDbStore> {
    Arc::new(DynamoDbStore::new(moto.aws(), TABLE, clock).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rules_of_a_store_hold_in_dynamodb() {
    let Some(moto) = Moto::start().await else { return };
    moto.table(TABLE).await;
    conformance::check(store(&moto, system()), tokio::time::sleep).await;
    // What nobody has used for more than a year may go.
    let key = json!({ "TableName": TABLE, "Key": { "key": { "S": "values" } } });
    let item = moto.admin(Service::DynamoDb, "GetItem", key).await["Item"].take();
    let expires: i64 = item["expires"]["N"].as_str().unwrap().parse().unwrap();
    let days = (expires - system().now().as_second()) / 86_400;
    assert!((399..=400).contains(&days), "{days}");
    // Sealed means sealed: the table's readers see no more than this.
    assert_eq!(item.as_object().unwrap().len(), 7, "{item}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_want_a_lease_one_gets_it_whatever_their_clocks_say() {
    let Some(moto) = Moto::start().await else { return };
    moto.table(TABLE).await;
    let fifteen = Duration::from_secs(15);
    for round in 0..10 {
        let key = format!("race-{round}");
        let takers = (0..16).map(|taker| {
            let (store, key) = (store(&moto, system()), key.clone());
            tokio::spawn(
                async move { store.lease(&key, &format!("taker-{taker}"), fifteen, Take::IfFree).await.unwrap() },
            )
        });
        let taken: Vec<Lease> = join_all(takers).await.into_iter().map(|lease| lease.unwrap()).collect();
        let held = taken.iter().filter(|lease| matches!(lease, Lease::Held { .. })).count();
        assert_eq!(held, 1, "{taken:?}");
    }
    // A machine whose clock is an hour wrong, either way: it has heard AWS's clock with its first look.
    for hour in [-1, 1] {
        let key = format!("clock{hour}");
        let wrong = ManualClock::at(system().now() + jiff::SignedDuration::from_hours(hour));
        let (wrong, right) = (store(&moto, Arc::new(wrong)), store(&moto, system()));
        wrong.load(&key).await.unwrap();
        let held = right.lease(&key, "right", fifteen, Take::IfFree).await.unwrap();
        assert!(matches!(held, Lease::Held { .. }));
        let Lease::Busy { remaining } = wrong.lease(&key, "wrong", fifteen, Take::IfFree).await.unwrap() else {
            panic!("a lease was taken by a wrong clock");
        };
        assert!(remaining > Duration::from_secs(10) && remaining < Duration::from_secs(18), "{remaining:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s15_a_herd_of_environments_causes_one_login_each_connection() {
    let Some(moto) = Moto::start().await else { return };
    moto.table(TABLE).await;
    let world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let key = MasterKey::load_or_create(&folder.path().join("key")).unwrap();
    // Each has credentials and an AWS of its own, as processes do.
    let environments = (0..60).map(|_| {
        let store = Some(SharedStore { store: store(&moto, system()), key: key.clone() });
        let settings = tieline_auth::Settings { store, ..quick(system()) };
        let credentials = Credentials::with(world.jwt(), settings).unwrap();
        tokio::spawn(async move { credentials.token().await.map(|token| token.access_token().expose().to_owned()) })
    });
    let tokens: Vec<String> = join_all(environments).await.into_iter().map(|token| token.unwrap().unwrap()).collect();
    assert!(tokens.iter().all(|token| *token == tokens[0]));
    assert_eq!(world.logins().await, 1);
}

#[tokio::test]
async fn a_table_that_is_not_there_is_named_with_the_next_act() {
    let Some(moto) = Moto::start().await else { return };
    let error = store(&moto, system()).load("key").await.unwrap_err();
    assert!(error.store.contains("tieline-tokens in eu-central-1"), "{error}");
    assert!(error.reason.contains("ResourceNotFoundException") && error.reason.contains("AWS_REGION"), "{error}");
    for bad in ["", "a b", "x;y"] {
        let error = DynamoDbStore::new(moto.aws(), bad, system()).unwrap_err();
        assert!(error.hint().contains("dynamodb:tieline-tokens"), "{bad}");
    }
}
