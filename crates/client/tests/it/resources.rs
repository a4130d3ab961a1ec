//! Describes, searches, windows of changes, code of the org's own; versions, budgets and time-outs of all calls.

use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use jiff::SignedDuration;
use serde_json::{Value, json};
use tieline_client::{
    ApiVersion, ClientError, Connection, Hit, Method, Options, QueryOptions, Record, Request, Reserve, Timeouts,
    search_term,
};

use crate::world::World;

fn with(world: &World, options: Options) -> Connection {
    Connection::with(tieline_auth::Credentials::new(world.jwt()).unwrap(), options).unwrap()
}

#[tokio::test]
async fn a_describe_is_asked_for_once_an_hour_and_then_only_if_it_has_changed() {
    let world = World::new(0).await;
    let (org, other) = (world.connect(world.jwt()), world.connect(world.jwt()));
    let first = org.describe("Contact").await.unwrap();
    assert!(Arc::ptr_eq(&first, &other.describe("Contact").await.unwrap()), "shared by connections of an org");
    assert_eq!((org.api_calls(), other.api_calls()), (1, 0));
    // Asked again, and told in a few bytes that nothing has changed.
    assert!(Arc::ptr_eq(&first, &other.describe_now("Contact").await.unwrap()));
    assert_eq!(other.api_calls(), 1);
    let restless = with(&world, Options { describes: Duration::ZERO, ..Options::default() });
    assert!(Arc::ptr_eq(&first, &restless.describe("Contact").await.unwrap()));
    world.put("clock", json!({"advance_seconds": 5})).await;
    world.post("fields", json!({"object": "Contact", "name": "New__c", "type": "string 80"})).await;
    assert!(org.describe("Contact").await.unwrap().field("new__c").is_none(), "it is remembered");
    assert!(org.describe_now("Contact").await.unwrap().field("new__c").is_some());
    assert!(org.describe_global().await.unwrap().iter().any(|object| object.name == "Contact"));
    assert_eq!(org.describe("Nope").await.unwrap_err().salesforce_code(), Some("NOT_FOUND"));
}

#[tokio::test]
async fn text_is_found_and_nothing_in_it_is_syntax() {
    let world = World::new(0).await;
    let org = world.connect(world.jwt());
    let id = org.create("Contact", &json!({"LastName": "Lovelace", "Email": "ada@example.com"})).await.unwrap();
    let sosl = format!("FIND {} IN NAME FIELDS RETURNING Contact(Id, Email)", search_term("Lovelace"));
    let hits: Vec<Hit> = org.search(&sosl).await.unwrap();
    assert_eq!((hits.len(), &hits[0].attributes.object, &hits[0].fields["Id"]), (1, &"Contact".to_owned(), &json!(id)));
    let odd = format!("FIND {} RETURNING Contact(Id)", search_term("a} RETURNING Lead(Id) {b? & \"c\" * - + ~"));
    assert!(org.search::<Hit>(&odd).await.unwrap().is_empty());
    assert_eq!(org.search::<Hit>("FIND x").await.unwrap_err().salesforce_code(), Some("MALFORMED_SEARCH"));
}

#[tokio::test]
async fn what_changed_in_a_window_is_named() {
    let world = World::new(0).await;
    let org = world.connect(world.jwt());
    let ids: Vec<String> = {
        let mut ids = Vec::new();
        for n in 0..3 {
            ids.push(org.create("Contact", &json!({"LastName": format!("W{n}")})).await.unwrap());
        }
        ids
    };
    org.delete("Contact", &ids[2]).await.unwrap();
    world.put("clock", json!({"advance_seconds": 180})).await;
    let now = org.send(&Request::get(org.data_path("limits"))).await.unwrap().server_time.unwrap();
    let (start, end) = (now - SignedDuration::from_mins(10), now);
    let updated = org.updated("Contact", start, end).await.unwrap();
    assert!(ids[..2].iter().all(|id| updated.ids.contains(id)), "{updated:?}");
    let deleted = org.deleted("Contact", start, end).await.unwrap();
    assert_eq!(deleted.deleted_records.iter().map(|r| &r.id).collect::<Vec<_>>(), [&ids[2]]);
    assert!(deleted.earliest_date_available < start && deleted.latest_date_covered <= now);
    let error = org.updated("Contact", end, start).await.unwrap_err();
    assert_eq!(error.salesforce_code(), Some("INVALID_REPLICATION_DATE"));
    let counts = org.record_counts(&["Contact", "Lead"]).await.unwrap();
    assert_eq!((counts["Contact"], counts["Lead"]), (2, 0));
}

#[tokio::test]
async fn code_of_the_orgs_own_is_called() {
    let world = World::new(0).await;
    let org = world.connect(world.jwt());
    world.put("apexrest", json!([{"method": "POST", "path": "/echo/*", "echo": true}, {"method": "DELETE", "path": "/gone", "status": 200, "body": null}])).await;
    world
        .put("actions", json!([{"kind": "apex", "name": "Greet", "required": ["name"], "outputs": {"text": "hi"}}]))
        .await;
    let echo: Value = org.apex(Method::POST, "/echo/a?b=c", Some(&json!({"x": "ü"}))).await.unwrap();
    assert_eq!((&echo["body"]["x"], &echo["method"]), (&json!("ü"), &json!("POST")), "{echo}");
    let missing = org.apex::<Value>(Method::GET, "nowhere", None::<&()>).await.unwrap_err();
    assert_eq!(missing.salesforce_code(), Some("NOT_FOUND"));
    let results = org.action("custom/apex/Greet", &[json!({"name": "Ada"})]).await.unwrap();
    assert_eq!(
        (results[0].is_success, results[0].output_values.as_ref().unwrap()["text"].clone()),
        (true, json!("hi"))
    );
    let results = org.action("custom/apex/Greet", &[json!({})]).await.unwrap();
    assert!(!results[0].is_success && !results[0].errors.as_ref().unwrap().is_empty(), "{results:?}");
    assert!(org.execute_anonymous("System.debug('ü');").await.unwrap().success);
    assert!(!org.execute_anonymous("Nonsense").await.unwrap().compiled);
    let tooling = QueryOptions { tooling: true, ..QueryOptions::default() };
    let objects: Vec<Record> = org
        .query_pages_with::<Record>(
            "SELECT QualifiedApiName FROM EntityDefinition WHERE QualifiedApiName = 'Contact'",
            tooling,
        )
        .records()
        .try_collect()
        .await
        .unwrap();
    assert_eq!(objects[0]["QualifiedApiName"], json!("Contact"));
}

#[tokio::test]
async fn queries_too_long_for_an_address_and_those_whose_place_is_forgotten() {
    let world = World::new(4_500).await;
    let org = world.connect(world.jwt());
    let names: Vec<String> = (0..3_000).map(|n| format!("nobody-{n}")).collect();
    let long =
        tieline_client::soql::bind("SELECT Id FROM Contact WHERE LastName NOT IN :names", [("names", names.clone())])
            .unwrap();
    assert!(long.len() > 40_000);
    let found: Vec<Record> = org.query(&long).try_collect().await.unwrap();
    assert_eq!(found.len(), 4_500);
    let error = org.query::<Record>(&long.replace("LastName", "Nope")).try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(error.salesforce_code(), Some("INVALID_FIELD"));
    let plan = org.explain("SELECT Id FROM Contact WHERE Id = '003000000000000AAA'").await.unwrap();
    assert_eq!(plan[0].sobject_type, "Contact");
    // With a key the query goes on, and each record comes once.
    for (soql, goes_on) in [
        ("SELECT Id FROM Contact ORDER BY Id", true),
        (
            "SELECT Id, SystemModstamp FROM Contact WHERE LastName != 'x' OR FirstName = null ORDER BY SystemModstamp, Id",
            true,
        ),
        ("SELECT Id FROM Contact ORDER BY Name", false),
    ] {
        let mut pages = org.query_pages::<Record>(soql);
        let mut ids: Vec<String> = Vec::new();
        let outcome = loop {
            // The next page is read ahead, so the one after it meets the forgotten place.
            match pages.next().await {
                Ok(Some(page)) => {
                    assert_eq!(page.total_size, 4_500);
                    ids.extend(page.records.iter().map(|r| r["Id"].as_str().unwrap().to_owned()));
                    world.post("query-locators/expire", json!({})).await;
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        if goes_on {
            outcome.unwrap();
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), 4_500, "{soql}");
        } else {
            let error = outcome.unwrap_err();
            assert_eq!(error.salesforce_code(), Some("INVALID_QUERY_LOCATOR"));
            assert!(error.hint().contains("ORDER BY Id"), "{}", error.hint());
        }
    }
}

#[tokio::test]
async fn the_version_is_agreed_on_when_the_org_has_another() {
    let world = World::new(3).await;
    let org = with(&world, Options::default());
    // The org does not have 67.0: as an org that was not upgraded yet.
    let missing = json!([{"errorCode": "NOT_FOUND", "message": "The requested resource does not exist"}]);
    world.post("faults", json!({"path": "/services/data/v67.0", "times": 0, "status": 404, "body": missing})).await;
    let offered: Vec<Value> = (31..=66)
        .map(|v| json!({"label": "x", "url": format!("/services/data/v{v}.0"), "version": format!("{v}.0")}))
        .collect();
    world.post("faults", json!({"path": "/services/data", "nth": 2, "status": 200, "body": offered})).await;
    let found: Vec<Record> = org.query("SELECT Id FROM Contact").try_collect().await.unwrap();
    assert_eq!((found.len(), org.api_version()), (3, "66.0"));
    assert!(org.limits().await.is_ok());
    let pinned = with(&world, Options { api_version: "67.0".into(), ..Options::default() });
    assert_eq!(pinned.limits().await.unwrap_err().salesforce_code(), Some("NOT_FOUND"));
    // An org that has the version is asked for its versions once, not at each record that is not there.
    world.delete("faults").await;
    let org = with(&world, Options { api_version: ApiVersion::Negotiated, ..Options::default() });
    for _ in 0..3 {
        org.read::<Record>("Contact", "003000000000000AAA").await.unwrap_err();
    }
    assert_eq!((org.api_calls(), org.api_version()), (4, "67.0"));
}

#[tokio::test]
async fn a_reserve_is_not_touched() {
    let world = World::new(0).await;
    world.put("limits", json!({"daily_api_requests": 20})).await;
    let org = with(&world, Options { reserve: Reserve::Calls(5), ..Options::default() });
    let calls = (0..50).map(|_| {
        let org = org.clone();
        tokio::spawn(async move { org.send(&Request::get(org.data_path("limits"))).await.map(drop) })
    });
    let (mut made, mut refused) = (0, 0);
    for call in calls.collect::<Vec<_>>() {
        match call.await.unwrap() {
            Ok(()) => made += 1,
            Err(ClientError::Reserve { allowed: 20, reserve: 5, .. }) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    let used = world.ledger().await["api_calls"].as_u64().unwrap();
    assert!(used <= 15 && made == used && made + refused == 50, "{used} {made} {refused}");
    while org.limits().await.is_ok() {}
    assert_eq!(world.ledger().await["api_calls"], json!(15), "it is used up to the reserve and not beyond");
}

#[tokio::test]
async fn calls_end_when_their_time_is_over_and_when_nobody_waits() {
    let world = World::new(0).await;
    world.post("faults", json!({"path": "/services/data", "times": 0, "delay_ms": 60_000})).await;
    let total = with(
        &world,
        Options {
            timeouts: Timeouts { total: Some(Duration::from_millis(300)), ..Timeouts::default() },
            ..Options::default()
        },
    );
    let started = std::time::Instant::now();
    let error = total.limits().await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("longer than 300ms"), "{error}");
    assert!(total.create("Contact", &json!({"LastName": "x"})).await.unwrap_err().outcome_unknown());
    let retry = tieline_client::RetryPolicy { attempts: 2, ..tieline_client::RetryPolicy::default() };
    let idle = with(
        &world,
        Options {
            retry,
            timeouts: Timeouts { idle: Duration::from_millis(300), ..Timeouts::default() },
            ..Options::default()
        },
    );
    let error = idle.limits().await.unwrap_err();
    assert!(error.to_string().contains("did not answer in time"), "{error}");
    let one = idle.send(&Request::get("/services/data/v67.0/limits").within(Duration::from_millis(100))).await;
    assert!(one.unwrap_err().to_string().contains("longer than 100ms"));
    assert!(started.elapsed() < Duration::from_secs(20));
}
