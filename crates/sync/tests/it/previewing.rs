//! Mappings against a local org: previews, and both ways of reading.

use serde_json::{Value, json};
use tieline_client::QueryOptions;
use tieline_client::bulk::{BulkQueryOptions, Wait};
use tieline_sync::mapping::{Decoded, Decoder, Definition, Describes, Plan, preview};

use crate::decoding::row;
use crate::world::World;

async fn plan(world: &World, definition: Value) -> Plan {
    let definition = Definition::from_json(definition).unwrap();
    let describes = Describes::load(&world.connection, &definition).await.unwrap();
    Plan::new(&definition, &describes).unwrap_or_else(|error| panic!("{error}"))
}

#[tokio::test]
async fn a_preview_shows_what_would_be_written_and_where_it_comes_from() {
    let world = World::new().await;
    let account = world.connection.create("Account", &json!({"Name": "Acme"})).await.unwrap();
    for (name, phone, account) in [("Curie", "030 901820", Some(&account)), ("Noether", "none", None)] {
        let contact = json!({"LastName": name, "Phone": phone, "AccountId": account});
        world.connection.create("Contact", &contact).await.unwrap();
    }
    let definition = json!({"name": "people", "object": "contact", "columns": [
        "LastName", "Account.Name", {"field": "Phone", "transforms": [{"phone": "DE"}]}, "Owner.Name", "Account.Owner.Name",
        {"constant": 1, "column": "one"},
    ]});
    let plan = plan(&world, definition).await;
    let preview = preview(&world.connection, &plan, 10).await.unwrap();
    let mut rows: Vec<_> = preview.rows.iter().map(|row| &row.cells).collect();
    rows.sort_by_key(|cells| cells[0].value.to_string());
    let values = |n: usize| rows[n].iter().map(|cell| cell.value.clone()).collect::<Vec<_>>();
    assert_eq!(values(0)[..3], [json!("Curie"), json!("Acme"), json!("+4930901820")]);
    assert_eq!(values(1)[..3], [json!("Noether"), json!(null), json!(null)]);
    assert!(values(0)[3..5].iter().all(Value::is_string), "{:?}", values(0));
    assert_eq!((values(1)[4].clone(), values(1)[5].clone()), (json!(null), json!(1)));
    assert_eq!(Value::from(rows[1][2].sources.clone()), json!({"Phone": "none"}));
    assert_eq!(Value::from(rows[0][1].sources.clone()), json!({"Account.Name": "Acme"}));
    assert_eq!((preview.failed, preview.errors[0].reason.as_str()), (1, "it is no telephone number, seen from DE"));
    let one = self::preview(&world.connection, &plan, 0).await.unwrap();
    assert_eq!(one.rows.len(), 1, "no more than asked for, and at least one");
}

#[tokio::test]
async fn an_object_that_the_org_does_not_have_is_told_with_the_one_that_was_meant() {
    let world = World::new().await;
    let definition = Definition::all_of("people", "Contcat");
    let describes = Describes::load_now(&world.connection, &definition).await.unwrap();
    let error = Plan::new(&definition, &describes).unwrap_err();
    let told = "the mapping `people` cannot be used: object: the org has no object `Contcat` (did you mean `Contact`?)";
    assert_eq!(error.to_string(), told);
    assert_eq!(error.hint(), "did you mean `Contact`?");
}

fn rows(plan: &Plan, decoded: &Decoded) -> Vec<(String, Option<i64>, Value)> {
    let one = |n| (decoded.rows.id(n).to_owned(), decoded.rows.stamp(n), row(plan, decoded, n));
    let mut rows: Vec<_> = (0..decoded.rows.len()).map(one).collect();
    rows.sort_by(|(a, ..), (b, ..)| a.cmp(b));
    rows
}

#[tokio::test]
async fn rest_and_bulk_give_the_same_rows() {
    let world = World::new().await;
    let account =
        world.connection.create("Account", &json!({"Name": "A \"quoted\", name\nof two lines"})).await.unwrap();
    for n in 0..5 {
        let contact = json!({"LastName": format!("Näme {n}"), "Birthdate": "1815-12-10", "AccountId": (n % 2 == 0).then_some(&account),
            "DoNotCall": n == 3, "MailingLatitude": (n == 1).then_some(-52.123_456)});
        let id = world.connection.create("Contact", &contact).await.unwrap();
        if n == 4 {
            world.connection.delete("Contact", &id).await.unwrap();
        }
    }
    let definition = json!({"name": "people", "object": "Contact", "all_fields": true, "columns": ["Account.Name"]});
    let plan = plan(&world, definition).await;
    assert!(plan.columns.len() > 30 && plan.rest_only.is_empty());
    let soql = format!("SELECT {} FROM Contact", plan.select_list());
    let decoder = Decoder::new(&plan);
    let all = QueryOptions { deleted_too: true, ..QueryOptions::default() };
    let mut pages = world.connection.query_pages_by(&soql, all, decoder.clone());
    let page = pages.next().await.unwrap().unwrap();
    assert!(pages.next().await.unwrap().is_none());
    let by_rest = page.records;

    let options = BulkQueryOptions { deleted_too: true, ..BulkQueryOptions::default() };
    let job = world.connection.bulk_query(&soql, options).await.unwrap();
    job.wait(&Wait::default()).await.unwrap();
    let (mut results, mut csv, mut by_bulk) = (job.rows(), None, decoder.decoded());
    while let Some(row) = results.next().await.unwrap() {
        let header: Vec<&str> = row.columns().collect();
        csv.get_or_insert_with(|| decoder.csv(&header).unwrap()).row(row, &mut by_bulk).unwrap();
    }
    assert_eq!((by_rest.failed, by_bulk.failed), (0, 0), "{:?} {:?}", by_rest.errors, by_bulk.errors);
    let (rest, bulk) = (rows(&plan, &by_rest), rows(&plan, &by_bulk));
    assert_eq!(rest.len(), 5);
    assert_eq!(rest, bulk);
    assert_eq!(rest.iter().filter(|(_, stamp, _)| stamp.is_some()).count(), 5);
    let deleted = (0..5).filter(|n| by_bulk.rows.deleted(*n).is_some()).count();
    assert_eq!(deleted, 1);
}
