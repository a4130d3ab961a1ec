//! A record with any text in it is found by that text, whichever way the query is made, and no other is.

use futures_util::TryStreamExt;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;
use tieline_client::soql::{self, Like, field, select};
use tieline_client::{Connection, Record};

use crate::world::World;

/// Text with what has a meaning in SOQL, between letters: orgs cut space from the ends of text.
fn text() -> impl Strategy<Value = String> {
    let special = prop::sample::select(vec![
        '\'', '\\', '"', '%', '_', '\n', '\t', ':', '(', ')', '?', '*', ' ', '\u{200f}', '😀', 'ß',
    ]);
    let other = any::<char>().prop_filter("no control characters", |c| !c.is_control());
    let middle = prop::collection::vec(prop_oneof![3 => special, 1 => other], 0..20);
    middle.prop_map(|middle| format!("a{}z", middle.into_iter().collect::<String>()))
}

async fn ids(org: &Connection, soql: &str) -> Vec<String> {
    let found: Vec<Record> = org.query(soql).try_collect().await.unwrap_or_else(|e| panic!("{soql}: {e}"));
    found.iter().map(|record| record["Id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn any_text_is_found_by_itself_alone() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (world, org) = runtime.block_on(async {
        let world = World::new(0).await;
        let org = world.connect(world.jwt());
        (world, org)
    });
    let mut runner = TestRunner::new(Config { cases: 48, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&text(), |text| {
        runtime.block_on(async {
            let create = async |name: &str| org.create("Contact", &json!({"LastName": name})).await.unwrap();
            let id = create(&text).await;
            // One that a wildcard would find: each sign that may be one is another here.
            let decoy: String = text.chars().map(|c| if matches!(c, '%' | '_' | '\\') { 'q' } else { c }).collect();
            let decoy = if decoy == text { format!("b{text}") } else { decoy };
            let other = create(&decoy).await;
            let head = "SELECT Id FROM Contact WHERE LastName";
            let built = |condition| select(["Id"]).from("Contact").filter(condition).build().unwrap();
            for query in [
                format!("{head} = {}", soql::text(&text)),
                soql::bind(&format!("{head} = :name"), [("name", text.as_str())]).unwrap(),
                soql::bind(&format!("{head} IN :names"), [("names", vec![text.as_str(), "nobody"])]).unwrap(),
                built(field("LastName").eq(text.as_str())),
                built(field("LastName").like(Like::starting_with(&text))),
            ] {
                assert_eq!(ids(&org, &query).await, std::slice::from_ref(&id), "{query}");
            }
            org.delete("Contact", &id).await.unwrap();
            org.delete("Contact", &other).await.unwrap();
        });
        Ok(())
    });
    drop(world);
    outcome.unwrap();
}
