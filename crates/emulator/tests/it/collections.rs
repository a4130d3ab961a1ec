//! sObject collections.

use reqwest::Method;
use serde_json::{Value, json};

use crate::Org;

const PATH: &str = "/composite/sobjects";

fn record(object: &str, fields: Value) -> Value {
    let mut record = fields;
    record["attributes"] = json!({"type": object});
    record
}

fn error(code: &str, message: &str, fields: Value) -> Value {
    json!({"success": false, "errors": [{"statusCode": code, "message": message, "fields": fields}]})
}

#[tokio::test]
async fn each_record_has_its_own_result() {
    let org = Org::start().await;
    let records = json!([record("Account", json!({"Name": "a"})), record("Account", json!({})),
        record("Contact", json!({"LastName": "c"})), record("LoginHistory", json!({})), {"Name": "typeless"},
        record("Nothing", json!({}))]);
    let made = org.post(PATH, json!({"allOrNone": false, "records": records})).await;
    assert_eq!(made.status, 200);
    let id = made.body[0]["id"].as_str().unwrap();
    assert_eq!(made.body[0], json!({"id": id, "success": true, "errors": []}));
    assert_eq!(made.body[1], error("REQUIRED_FIELD_MISSING", "Required fields are missing: [Name]", json!(["Name"])));
    assert_eq!(made.body[2]["success"], json!(true));
    assert_eq!(made.body[3]["errors"][0]["statusCode"], json!("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY"));
    assert_eq!(made.body[4]["errors"][0]["statusCode"], json!("INVALID_TYPE"));
    assert_eq!(made.body[5]["errors"][0]["statusCode"], json!("INVALID_TYPE"));
    assert_eq!(org.ledger().await["records_written"], 2);
    // jsforce writes a lower-case id.
    let records = json!([
        record("Account", json!({"id": id, "Name": "b"})),
        record("Account", json!({"Name": "no id"})),
        record("Account", json!({"Id": "001Em0000009999", "Name": "nobody"})),
    ]);
    let changed = org.patch(PATH, json!({"records": records})).await;
    assert_eq!(changed.body[0], json!({"id": id, "success": true, "errors": []}));
    assert_eq!(changed.body[1], error("MISSING_ARGUMENT", "Id not specified in an update call", json!([])));
    assert_eq!(changed.body[2], error("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", json!([])));
    let gone = org.call(Method::DELETE, &format!("{PATH}?ids={id},{id},xyz&allOrNone=false"), None).await;
    assert_eq!(gone.body[0], json!({"id": id, "success": true, "errors": []}));
    assert_eq!(gone.body[1], error("ENTITY_IS_DELETED", "entity is deleted", json!([])));
    assert_eq!(gone.body[2], error("MALFORMED_ID", "malformed id xyz", json!([])));
}

#[tokio::test]
async fn all_or_none_writes_all_or_none() {
    let org = Org::start().await;
    let before = org.count("Account").await;
    let rolled_back = error(
        "ALL_OR_NONE_OPERATION_ROLLED_BACK",
        "Record rolled back because not all records were valid and the request was using AllOrNone header",
        json!([]),
    );
    let records = json!([record("Account", json!({"Name": "a"})), record("Account", json!({}))]);
    let refused = org.post(PATH, json!({"allOrNone": true, "records": records})).await;
    let missing = error("REQUIRED_FIELD_MISSING", "Required fields are missing: [Name]", json!(["Name"]));
    assert_eq!((refused.status, refused.body), (200, json!([rolled_back, missing])));
    assert_eq!((org.count("Account").await, &org.ledger().await["records_written"]), (before, &json!(0)));
    let (a, b) = (org.make("Account", json!({"Name": "a"})).await, org.make("Account", json!({"Name": "b"})).await);
    let ids = format!("{a},001Em0000009999AAA,{b}");
    let refused = org.call(Method::DELETE, &format!("{PATH}?ids={ids}&allOrNone=true"), None).await;
    assert_eq!((&refused.body[0], &refused.body[2]), (&rolled_back, &rolled_back));
    assert_eq!(org.get(&format!("/services/data/v67.0/sobjects/Account/{a}")).await.0, 200, "still there");
    let gone = org.call(Method::DELETE, &format!("{PATH}?ids={a},{b}&allOrNone=true"), None).await;
    assert_eq!(gone.body[1], json!({"id": b, "success": true, "errors": []}));
}

#[tokio::test]
async fn a_transaction_sees_itself_before_others_do() {
    let org = Org::start().await;
    let before = org.count("Account").await.as_u64().unwrap();
    org.put("commit-delay", json!({"seconds": 60})).await;
    let one = record("Account", json!({"Name": "a"}));
    let made = org.post(PATH, json!({"records": [one.clone(), one]})).await;
    assert_eq!(made.body[1]["success"], json!(true));
    assert_eq!(org.count("Account").await, before);
    let locked = org.patch(&format!("/sobjects/Account/{}", made.body[0]["id"].as_str().unwrap()), json!({})).await;
    assert_ne!(locked.status, 204);
    org.put("clock", json!({"advance_seconds": 61})).await;
    assert_eq!(org.count("Account").await, before + 2);
    assert_eq!(org.ledger().await["records_written"], 2);
}

#[tokio::test]
async fn upserts_go_by_an_external_id() {
    let org = Org::start().await;
    let path = format!("{PATH}/Contact/Email");
    let contact = |email: &str| record("Contact", json!({"LastName": "x", "Email": email}));
    let made = org.patch(&path, json!({"records": [contact("a@x.example"), contact("b@x.example")]})).await;
    let id = made.body[0]["id"].as_str().unwrap();
    assert_eq!(made.body[0], json!({"id": id, "success": true, "errors": [], "created": true}));
    let records = json!([
        contact("A@x.example"),
        contact("c@x.example"),
        contact("C@x.example"),
        record("Contact", json!({"LastName": "no mail"})),
        record("Account", json!({"Name": "x", "Email": "d@x.example"}))
    ]);
    let again = org.patch(&path, json!({"records": records})).await;
    assert_eq!(again.body[0], json!({"id": id, "success": true, "errors": [], "created": false}));
    let twice =
        |email: &str| error("DUPLICATE_VALUE", &format!("Duplicate external id specified: {email}"), json!(["Email"]));
    assert_eq!((&again.body[1], &again.body[2]), (&twice("c@x.example"), &twice("C@x.example")));
    assert_eq!(again.body[3], error("MISSING_ARGUMENT", "Email not specified", json!(["Email"])));
    assert_eq!(again.body[4]["errors"][0]["statusCode"], json!("INVALID_TYPE"));
    for last_name in ["one", "two"] {
        org.make("Contact", json!({"LastName": last_name, "Email": "z@x.example"})).await;
    }
    let several = org.patch(&path, json!({"records": [contact("z@x.example")]})).await;
    assert_eq!(several.body[0]["errors"][0]["statusCode"], json!("DUPLICATE_EXTERNAL_ID"));
    assert_eq!(org.patch(&format!("{PATH}/Contact/LastName"), json!({"records": []})).await.status, 404);
}

#[tokio::test]
async fn many_are_read_in_the_order_asked_for() {
    let org = Org::start().await;
    let (a, b) = (org.make("Account", json!({"Name": "a"})).await, org.make("Account", json!({"Name": "b"})).await);
    let ids = [b.as_str(), "001Em0000009999AAA", a.as_str()];
    let one = |id: &str, name: &str| {
        let url = format!("/services/data/v67.0/sobjects/Account/{id}");
        json!({"attributes": {"type": "Account", "url": url}, "Id": id, "Name": name})
    };
    let expected = json!([one(&b, "b"), null, one(&a, "a")]);
    let path = format!("{PATH}/Account");
    let read = org.call(Method::GET, &format!("{path}?ids={}&fields=id,name", ids.join(",")), None).await;
    assert_eq!((read.status, read.body), (200, expected.clone()));
    assert_eq!(org.post(&path, json!({"ids": ids, "fields": ["Id", "Name"]})).await.body, expected);
    let unknown = org.post(&path, json!({"ids": ids, "fields": ["Bacon__c"]})).await;
    assert_eq!((unknown.status, &unknown.body[0]["errorCode"]), (400, &json!("INVALID_FIELD")));
    let id = [a.as_str()];
    assert_eq!(org.post(&path, json!({"ids": id.repeat(2_000), "fields": ["Id"]})).await.status, 200);
    assert_eq!(org.post(&path, json!({"ids": id.repeat(2_001), "fields": ["Id"]})).await.status, 400);
}

#[tokio::test]
async fn the_limits_of_a_collection() {
    let org = Org::start().await;
    let accounts = |n: usize| vec![record("Account", json!({"Name": "x"})); n];
    assert_eq!(org.post(PATH, json!({"records": accounts(200)})).await.status, 200);
    let many = org.post(PATH, json!({"records": accounts(201)})).await;
    assert_eq!((many.status, &many.body[0]["errorCode"]), (400, &json!("INVALID_BATCH_SIZE")));
    let pairs = [record("Account", json!({"Name": "x"})), record("Contact", json!({"LastName": "x"}))];
    assert_eq!(
        org.post(PATH, json!({"records": vec![pairs.clone(); 5].concat()})).await.body[9]["success"],
        json!(true)
    );
    let chunks = org.post(PATH, json!({"records": vec![pairs.clone(); 6].concat()})).await;
    assert_eq!((chunks.status, &chunks.body[0]["errorCode"]), (400, &json!("LIMIT_EXCEEDED")));
    let id = org.make("Account", json!({"Name": "x"})).await;
    let again = vec![record("Account", json!({"Id": id, "Name": "y"})); 13];
    let updated = org.patch(PATH, json!({"records": again})).await;
    assert_eq!(updated.body[11]["success"], json!(true));
    assert_eq!(updated.body[12]["errors"][0]["statusCode"], json!("DUPLICATE_VALUE"));
    assert_eq!(org.post(PATH, json!({"no": "records"})).await.status, 400);
}
