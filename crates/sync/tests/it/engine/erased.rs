//! Persons who were erased here and are still in the org.

use std::time::Duration;

use serde_json::{Map, Value, json};
use tieline_store::Person;
use tieline_sync::engine::Asked;
use tieline_sync::mapping::{Definition, Method};

use super::world::{World, all_of};
use crate::database::{Db, now};

on_both!(erased_persons_are_no_drift_and_come_back_when_that_is_lifted, a_job_that_has_erased_persons_is_whole);

const ALL: Asked = Asked { verify: true, compare: true, reload: false, allow_gone: false };

fn contact(name: &str, email: &str) -> Value {
    json!({"op": "insert", "object": "Contact", "fields": {"LastName": name, "Email": email}})
}

fn is_empty(row: &Map<String, Value>) -> bool {
    let ours = ["id", "_deleted", "_synced_at", "_change"];
    row.iter().all(|(name, value)| value.is_null() || ours.contains(&name.as_str()))
}

async fn erased_persons_are_no_drift_and_come_back_when_that_is_lifted(db: Db) {
    let mut world = World::bare(db).await;
    world.engine.care.compare_every = Duration::from_secs(100_000_000);
    let formula = json!({"object": "Contact", "name": "Loud__c", "type": "string 255",
        "formula": "UPPER(LastName) & TEXT(TODAY())"});
    world.post("fields", formula).await;
    world.mapping = world.map(&all_of("Contact")).await.id;
    let people = (0..60).map(|n| contact(&format!("person {n}"), &format!("p{n}@example.org")));
    let ids = world.write(Value::Array(people.collect())).await;
    world.sync().await.unwrap();
    world.at(4_000).await;
    let usual = world.ask(ALL).await.unwrap().run.api_calls;
    let erasure = world.tenant().erase_person(&Person::Email("p7@example.org"), now()).await.unwrap();
    // The org has not forgotten: the record changes there, and there comes another of the same person.
    world.at(5_000).await;
    let change = json!({"op": "update", "object": "Contact", "id": ids[7], "fields": {"Phone": "1"}});
    let other = world.write(json!([change, contact("again", "P7@example.org")])).await.remove(1);
    world.sync().await.unwrap();
    for round in 1..=3 {
        world.at(5_000 + 90_000 * round).await;
        let report = world.ask(ALL).await.unwrap();
        // Each of these days the formulas are read again, too: not into what is left of the person.
        let run = &report.run;
        assert_eq!((run.drift_found, run.inserted, run.updated), (0, 0, 59), "day {round}");
        let rows = world.rows().await;
        assert!(!rows.contains_key(&other), "day {round}");
        assert_eq!(rows[&ids[7]]["_deleted"], "erased");
        assert!(is_empty(&rows[&ids[7]]), "day {round}: {:?}", rows[&ids[7]]);
        world.at(5_000 + 90_000 * round + 4_000).await;
        let run = world.ask(ALL).await.unwrap().run;
        assert_eq!((run.drift_found, run.api_calls), (0, usual), "day {round}: nothing is read again");
    }
    assert!(world.tenant().lift_erasure(erasure.id, now()).await.unwrap());
    let report = world.ask(ALL).await.unwrap();
    assert_eq!((report.run.drift_found, report.run.inserted, report.run.updated), (2, 1, 1));
    world.assert_in_step().await;
}

async fn a_job_that_has_erased_persons_is_whole(db: Db) {
    let mut world = World::bare(db).await;
    let people = (0..60).map(|n| contact(&format!("person {n}"), &format!("p{n}@example.org")));
    let ids = world.write(Value::Array(people.collect())).await;
    world.at(300).await;
    world.tenant().erase_person(&Person::Email("p7@example.org"), now()).await.unwrap();
    for (name, method) in [("pages", Method::Rest), ("job", Method::Bulk)] {
        let definition =
            Definition { name: name.to_owned(), table: Some(name.to_owned()), method, ..all_of("Contact") };
        world.mapping = world.map(&definition).await.id;
        world.sync().await.unwrap();
        assert_eq!(world.rows().await.len(), 59, "{name}");
        // One whose row is there, and that is read anew.
        let kind = tieline_store::SourceType::Salesforce;
        world.tenant().erase_person(&Person::Source { kind, id: &ids[9] }, now()).await.unwrap();
        world.ask(Asked { reload: true, ..ALL }).await.unwrap();
        assert!(is_empty(&world.row(&ids[9]).await), "{name}");
        for erasure in world.tenant().erasures(None, 10).await.unwrap().items {
            if erasure.removed.object_rows > 0 {
                assert!(world.tenant().lift_erasure(erasure.id, now()).await.unwrap());
            }
        }
    }
}
