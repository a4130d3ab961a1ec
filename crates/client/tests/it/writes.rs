//! Records written one by one, in collections, and in composite calls.

use futures_util::{StreamExt, TryStreamExt};
use serde_json::{Value, json};
use tieline_client::composite::{Batch, Composite, Created, Graph, Tree};
use tieline_client::{AllOrNone, ClientError, Connection, Record, SaveResult, Upserted};

use crate::server::{Answer, End, Server};
use crate::world::World;

async fn world() -> (World, Connection) {
    let world = World::new(0).await;
    let field =
        json!({"object": "Contact", "name": "Ext__c", "type": "string 80", "external_id": true, "unique": true});
    world.post("fields", field).await;
    let org = world.connect(world.jwt());
    (world, org)
}

async fn count(org: &Connection, condition: &str) -> u64 {
    org.count(&format!("SELECT COUNT() FROM Contact WHERE {condition}")).await.unwrap()
}

#[tokio::test]
async fn an_upsert_may_be_repeated_and_a_create_may_not() {
    let (world, org) = world().await;
    let value = "a/b ?&#+%ü..";
    let first = org.upsert("Contact", "Ext__c", value, &json!({"LastName": "One"})).await.unwrap();
    let Upserted { id: Some(id), created: true } = first else { panic!("{first:?}") };
    let again = org.upsert("Contact", "Ext__c", value, &json!({"LastName": "Two"})).await.unwrap();
    assert_eq!(again, Upserted { id: Some(id.clone()), created: false });
    let read: Record = org.read_by("Contact", "Ext__c", value).await.unwrap();
    assert_eq!((&read["Id"], &read["LastName"], &read["Ext__c"]), (&json!(id), &json!("Two"), &json!(value)));
    // A value that would lead the path elsewhere is refused before anything is sent.
    let calls = org.api_calls();
    let error = org.upsert("Contact", "Ext__c", "..", &json!({"LastName": "x"})).await.unwrap_err();
    assert!(matches!(&error, ClientError::Unsendable { .. }), "{error}");
    assert_eq!(org.api_calls(), calls);
    // The answer is lost after the org did it.
    world.post("faults", json!({"path": "/services/data", "method": "PATCH", "cut": 0})).await;
    let lost = org.upsert("Contact", "Ext__c", "lost", &json!({"LastName": "Lost"})).await.unwrap();
    assert!(!lost.created && count(&org, "LastName = 'Lost'").await == 1);
    world.post("faults", json!({"path": "/services/data", "method": "POST", "cut": 0})).await;
    let error = org.create("Contact", &json!({"LastName": "Once"})).await.unwrap_err();
    assert!(error.outcome_unknown() && error.hint().contains("look before"), "{error}");
    assert_eq!(count(&org, "LastName = 'Once'").await, 1);
    // What certainly was not done is no unknown outcome.
    let error = org.create("Contact", &json!({"LastName": null})).await.unwrap_err();
    assert!(!error.outcome_unknown(), "{error}");
    // A row that somebody holds passes; it says itself that nothing was done.
    let body = json!([{"message": "unable to obtain exclusive access to this record", "errorCode": "UNABLE_TO_LOCK_ROW", "fields": []}]);
    world.post("faults", json!({"path": "/services/data", "method": "POST", "status": 400, "body": body})).await;
    org.create("Contact", &json!({"LastName": "Locked"})).await.unwrap();
    let several = org.upsert("Contact", "Email", "same@example.com", &json!({"LastName": "A"})).await.unwrap();
    org.create("Contact", &json!({"LastName": "B", "Email": "same@example.com"})).await.unwrap();
    let error = org.upsert("Contact", "Email", "same@example.com", &json!({"LastName": "C"})).await.unwrap_err();
    assert_eq!(error.salesforce_code(), Some("MULTIPLE_CHOICES"));
    assert!(error.to_string().contains(several.id.as_deref().unwrap()), "{error}");
}

#[tokio::test]
async fn a_delete_whose_answer_was_lost_has_succeeded() {
    let (world, org) = world().await;
    let id = org.create("Contact", &json!({"LastName": "Gone"})).await.unwrap();
    world.post("faults", json!({"path": "/services/data", "method": "DELETE", "cut": 0})).await;
    org.delete("Contact", &id).await.unwrap();
    // Deleted before by somebody else is another matter.
    let error = org.delete("Contact", &id).await.unwrap_err();
    assert_eq!(error.salesforce_code(), Some("ENTITY_IS_DELETED"));
    let ids: Vec<String> = futures_util::stream::iter(0..3)
        .then(|n| {
            let org = org.clone();
            async move { org.create("Contact", &json!({"LastName": format!("D{n}")})).await.unwrap() }
        })
        .collect()
        .await;
    world.post("faults", json!({"path": "/services/data", "method": "DELETE", "cut": 0})).await;
    let results: Vec<SaveResult> = org.delete_many(ids.clone(), AllOrNone::Each).try_collect().await.unwrap();
    assert!(results.iter().zip(&ids).all(|(r, id)| r.success && r.id.as_ref() == Some(id)), "{results:?}");
}

#[tokio::test]
async fn collections_of_any_length_keep_their_order() {
    let (world, org) = world().await;
    let people = |range: std::ops::Range<usize>| {
        range.map(|n| {
            let name = if n % 150 == 149 { Value::Null } else { json!(format!("P{n:04}")) };
            json!({"LastName": name, "Ext__c": format!("e{n}"), "attributes": {"type": "Lead", "url": "x"}})
        })
    };
    let calls = org.api_calls();
    let results: Vec<SaveResult> =
        org.create_many("Contact", people(0..450), AllOrNone::Each).try_collect().await.unwrap();
    assert_eq!((results.len(), org.api_calls() - calls), (450, 3));
    for (n, result) in results.iter().enumerate() {
        assert_eq!(result.success, n % 150 != 149, "{n}");
        assert_eq!(
            result.errors.first().map(|e| e.code.as_str()),
            (!result.success).then_some("REQUIRED_FIELD_MISSING")
        );
    }
    let ids: Vec<String> = results.into_iter().filter_map(|result| result.id).collect();
    // All or none goes by the call: the second 200 are undone, the others are not.
    let changed =
        ids.iter().enumerate().map(|(n, id)| json!({"Id": id, "Title": "x".repeat(if n == 250 { 500 } else { 3 })}));
    let results: Vec<SaveResult> = org.update_many("Contact", changed, AllOrNone::PerCall).try_collect().await.unwrap();
    assert_eq!(results.iter().filter(|r| r.success).count(), ids.len() - 200);
    assert_eq!(results[250].errors[0].code, "STRING_TOO_LONG");
    assert_eq!(results[251].errors[0].code, "ALL_OR_NONE_OPERATION_ROLLED_BACK");
    assert_eq!(count(&org, "Title = 'xxx'").await as usize, ids.len() - 200);
    let upserted: Vec<SaveResult> = org
        .upsert_many(
            "Contact",
            "Ext__c",
            (440..460).map(|n| json!({"Ext__c": format!("e{n}"), "LastName": "U"})),
            AllOrNone::Each,
        )
        .try_collect()
        .await
        .unwrap();
    assert_eq!(upserted.iter().filter(|r| r.created == Some(true)).count(), 11);
    let asked = ids.iter().cloned().chain(["003000000000000AAA".to_owned()]);
    let read: Vec<Option<Record>> = org.read_many("Contact", asked, &["Id", "Ext__c"]).try_collect().await.unwrap();
    assert!(read[..ids.len()].iter().zip(&ids).all(|(r, id)| r.as_ref().unwrap()["Id"] == json!(id)));
    assert_eq!(read.last().unwrap(), &None);
    // A lost answer in the middle: what came before stands, what was under way is unknown, the rest was not sent.
    world.post("faults", json!({"path": "/services/data", "method": "POST", "nth": 2, "cut": 0})).await;
    let mut results = std::pin::pin!(org.create_many("Contact", people(1_000..1_450), AllOrNone::Each));
    let mut done = 0;
    let error = loop {
        match results.next().await.unwrap() {
            Ok(_) => done += 1,
            Err(error) => break error,
        }
    };
    assert!(error.outcome_unknown() && done == 200 && results.next().await.is_none(), "{error} {done}");
    assert_eq!(count(&org, "Ext__c LIKE 'e1%' AND LastName LIKE 'P1%'").await, 397, "each of them once");
    // A record that is none is told after those before it were sent.
    let odd = (0..3).map(|n| if n == 2 { json!("text") } else { json!({"LastName": format!("Odd{n}")}) });
    let results: Vec<_> = org.create_many("Contact", odd, AllOrNone::Each).collect().await;
    assert!(
        results[0].is_ok() && results[1].is_ok() && matches!(results[2], Err(ClientError::Input { .. })),
        "{results:?}"
    );
}

#[tokio::test]
async fn composite_calls_refer_to_their_own_results() {
    let (_world, org) = world().await;
    let mut call = Composite::new().all_or_none();
    let account = call.create("Account", &json!({"Name": "Analytical Engines"}));
    let ada = call.create("Contact", &json!({"LastName": "Lovelace", "AccountId": account.id()}));
    let read = call.read::<Record>("Contact", ada.id(), &["LastName", "AccountId"]);
    let found = call.query::<Value>(&format!("SELECT Id, LastName FROM Contact WHERE AccountId = '{}'", account.id()));
    let renamed = call.update("Account", account.id(), &json!({"Name": found.field("records[0].LastName")}));
    let again = call.read::<Record>("Account", account.id(), &["Name"]);
    let before = org.api_usage().map_or(0, |usage| usage.used);
    let answers = org.composite(&call).await.unwrap();
    assert!(answers.is_success(), "{:?}", answers.first_failure());
    assert_eq!(answers.get(&read).unwrap()["AccountId"], json!(answers.get(&account).unwrap().id));
    assert_eq!(answers.get(&again).unwrap()["Name"], json!("Lovelace"));
    answers.get(&renamed).unwrap();
    assert_eq!(answers.get(&found).unwrap()["totalSize"], json!(1));
    assert!(
        answers.headers(&account).unwrap()["Location"].as_str().unwrap().ends_with(&answers.get(&account).unwrap().id)
    );
    assert_eq!(org.api_usage().unwrap().used, before + 1);
    // One that fails undoes the others, and the cause is told apart from what follows from it.
    let mut call = Composite::new().all_or_none();
    let good = call.create("Account", &json!({"Name": "Undone"}));
    let bad = call.create("Contact", &json!({"FirstName": "No family name"}));
    let answers = org.composite(&call).await.unwrap();
    assert_eq!(answers.get(&good).unwrap_err().salesforce_code(), Some("PROCESSING_HALTED"));
    assert_eq!(answers.first_failure().unwrap().salesforce_code(), Some("REQUIRED_FIELD_MISSING"));
    assert_eq!(answers.get(&bad).unwrap_err().salesforce_code(), Some("REQUIRED_FIELD_MISSING"));
    assert_eq!(org.count("SELECT COUNT() FROM Account WHERE Name = 'Undone'").await.unwrap(), 0);
}

#[tokio::test]
async fn graphs_batches_and_trees() {
    let (world, org) = world().await;
    let graph = |name: Option<&str>| {
        let mut graph = Graph::new();
        let account = graph.create("Account", &json!({"Name": name}));
        let contact = graph.create("Contact", &json!({"LastName": "G", "AccountId": account.id()}));
        (graph, contact)
    };
    let ((good, contact), (bad, other)) = (graph(Some("A graph")), graph(None));
    let done = org.graphs(&[good, bad]).await.unwrap();
    assert!(done.is_success(0) && !done.is_success(1));
    let Created { id, .. } = done.answers(0).unwrap().get(&contact).unwrap();
    assert!(id.starts_with("003"));
    assert!(done.answers(1).unwrap().get(&other).is_err());
    assert_eq!(count(&org, "LastName = 'G'").await, 1);

    let batch = Batch::new()
        .request("PATCH", format!("sobjects/Contact/{id}"), Some(json!({"Title": "CTO"})))
        .request("GET", format!("sobjects/Contact/{id}?fields=Title"), None)
        .request("GET", "sobjects/Contact/003000000000000AAA", None);
    let reply = org.batch(&batch).await.unwrap();
    reply.get::<()>(0).unwrap();
    assert_eq!(reply.get::<Record>(1).unwrap()["Title"], json!("CTO"));
    assert_eq!(reply.get::<Record>(2).unwrap_err().salesforce_code(), Some("NOT_FOUND"));
    assert!(reply.has_errors);

    let tree = |name: Value| {
        let contact = |n: u32| Tree::new("Contact", format!("c{n}"), json!({"LastName": name}));
        Tree::new("Account", "a", json!({"Name": "Tree"})).child("Contacts", contact(1)).child("Contacts", contact(2))
    };
    let reply = org.create_trees("Account", &[tree(json!("Leaf"))]).await.unwrap();
    assert!(!reply.has_errors && reply.results.len() == 3 && reply.results.iter().all(|r| r.id.is_some()));
    let reply = org.create_trees("Account", &[tree(Value::Null)]).await.unwrap();
    assert!(
        reply.has_errors && reply.results.iter().all(|r| r.errors[0].code == "REQUIRED_FIELD_MISSING"),
        "{reply:?}"
    );
    assert_eq!(org.count("SELECT COUNT() FROM Account WHERE Name = 'Tree'").await.unwrap(), 1);
    let refused = org.create_trees("Nope", &[tree(json!("x"))]).await.unwrap_err();
    assert!(matches!(refused, ClientError::Refused(_)), "{refused}");
    // A composite call with a create in it is not sent twice.
    world.post("faults", json!({"path": "/services/data/v67.0/composite", "method": "POST", "cut": 0})).await;
    let (graph, _) = graph(Some("Lost"));
    assert!(org.graphs(&[graph]).await.unwrap_err().outcome_unknown());
    assert_eq!(org.count("SELECT COUNT() FROM Account WHERE Name = 'Lost'").await.unwrap(), 1);
}

#[tokio::test]
async fn what_might_be_created_twice_is_sent_once() {
    let server = Server::start(|_| Answer::json(200, &json!([])).cut(0, End::Reset)).await;
    let org = server.connect();
    // Records without an id are created by it.
    let records = || [json!({"Id": "003000000000001AAA", "LastName": "a"}), json!({"LastName": "b"})];
    for (field, expected) in [("Id", 1), ("id", 1), ("Ext__c", 3)] {
        let before = server.seen().len();
        let results: Vec<_> = org.upsert_many("Contact", field, records(), AllOrNone::Each).collect().await;
        assert!(results[0].as_ref().unwrap_err().outcome_unknown() && results.len() == 1, "{results:?}");
        assert_eq!(server.seen().len() - before, expected, "{field}");
    }
    // What the first time deleted is an error the second time, and undoes the rest of the call.
    let mut call = Composite::new().all_or_none();
    call.update("Contact", "003000000000001AAA", &json!({"LastName": "a"}));
    call.delete("Contact", "003000000000002AAA");
    let before = server.seen().len();
    assert!(org.composite(&call).await.unwrap_err().outcome_unknown());
    assert_eq!(server.seen().len() - before, 1);
}
