//! A schema that changes, and values that are worked out.

use reqwest::Method;
use serde_json::{Value, json};

use super::column;
use crate::Org;
use crate::rows::V;

#[tokio::test]
async fn a_custom_object_has_fields_of_all_kinds_and_tells_of_them_rightly() {
    let org = Org::start().await;
    let of = |name: &str, kind: &str| json!({"name": name, "type": kind});
    let kinds = [
        ("Text__c", "string 80", "string", "xsd:string", json!({"length": 80, "byteLength": 240})),
        (
            "Long__c",
            "textarea 32000",
            "textarea",
            "xsd:string",
            json!({"length": 32000, "filterable": false, "sortable": false}),
        ),
        ("Money__c", "currency 16,2", "currency", "xsd:double", json!({"precision": 16, "scale": 2})),
        ("Share__c", "percent 5,1", "percent", "xsd:double", json!({"precision": 5, "scale": 1})),
        ("Number__c", "double 18,3", "double", "xsd:double", json!({"precision": 18, "scale": 3, "digits": 0})),
        ("Count__c", "int 9", "int", "xsd:int", json!({"digits": 9, "precision": 0})),
        ("Day__c", "date", "date", "xsd:date", json!({"nillable": true})),
        ("At__c", "datetime", "datetime", "xsd:dateTime", json!({"groupable": false})),
        ("Clock__c", "time", "time", "xsd:time", json!({})),
        ("Flag__c", "boolean", "boolean", "xsd:boolean", json!({"nillable": false})),
        ("Colour__c", "picklist 255 : Red; Blue", "picklist", "xsd:string", json!({"restrictedPicklist": false})),
        ("Tags__c", "multipicklist 4099 : A; B", "multipicklist", "xsd:string", json!({"length": 4099})),
        (
            "Owner__c",
            "reference Account as Owner__r children Things__r",
            "reference",
            "tns:ID",
            json!({"referenceTo": ["Account"], "relationshipName": "Owner__r", "length": 18, "byteLength": 18}),
        ),
        (
            "Secret__c",
            "encryptedstring 40",
            "encryptedstring",
            "xsd:string",
            json!({"encrypted": true, "filterable": false}),
        ),
        ("Place__c", "location", "location", "urn:location", json!({"custom": true})),
        ("Mail__c", "email 80", "email", "xsd:string", json!({"length": 80})),
    ];
    let fields: Vec<Value> = kinds.iter().map(|(name, kind, ..)| of(name, kind)).collect();
    let (status, body) =
        org.post_control("objects", json!({"name": "Thing__c", "label": "Thing", "fields": fields})).await;
    assert_eq!((status, &body["key_prefix"]), (200, &json!("a00")), "{body}");
    for (name, _, type_name, soap, more) in &kinds {
        let told = org.field("Thing__c", name).await;
        assert_eq!((&told["type"], &told["soapType"]), (&json!(type_name), &json!(soap)), "{name}");
        for (key, value) in more.as_object().unwrap() {
            assert_eq!(&told[key], value, "{name} {key}");
        }
    }
    let account = org.make("Account", json!({"Name": "A"})).await;
    let record = json!({"Name": "t", "Text__c": "x", "Money__c": 1.25, "Day__c": "2027-01-02", "Flag__c": true,
        "Tags__c": "A;B", "Owner__c": account, "Place__Latitude__s": 52.5, "Place__Longitude__s": 13.25});
    let id = org.make("Thing__c", record).await;
    let found = org.found("query", "SELECT Money__c, Tags__c, Owner__r.Name, Place__c FROM Thing__c").await;
    assert_eq!(found[0]["Place__c"], json!({"latitude": 52.5, "longitude": 13.25}));
    assert_eq!((&found[0]["Owner__r"]["Name"], &found[0]["Tags__c"]), (&json!("A"), &json!("A;B")));
    assert_eq!(
        org.found("query", "SELECT (SELECT Id FROM Things__r) FROM Account WHERE Name = 'A'").await[0]["Things__r"]["totalSize"],
        1
    );
    for refused in [
        json!({"name": "Thing__c"}),
        json!({"name": "Thing"}),
        json!({"name": "Other__c", "key_prefix": "001"}),
        json!({"name": "Other__c", "fields": [of("X__c", "colour")]}),
    ] {
        assert_eq!(org.post_control("objects", refused.clone()).await.0, 400, "{refused}");
    }
    assert_eq!(org.get(&format!("{V}/sobjects/Other__c/describe")).await.0, 404, "nothing is left of it");
    org.told(Method::DELETE, "objects", json!({"name": "Thing__c"})).await;
    assert_eq!(org.call(Method::GET, &format!("/sobjects/Thing__c/{id}"), None).await.status, 404);
}

#[tokio::test]
async fn fields_come_go_and_turn_into_others() {
    let org = Org::start().await;
    org.told(Method::POST, "fields", json!({"object": "Account", "name": "Score__c", "type": "double 18,3"})).await;
    let id = org.make("Account", json!({"Name": "scored", "Score__c": 12.345})).await;
    let before = org.found("query", "SELECT SystemModstamp FROM Account WHERE Name = 'scored'").await;
    let change = async |mut body: Value| {
        body["object"] = json!("Account");
        org.told(Method::PATCH, "fields", body).await;
    };
    let value = async |name: &str| {
        org.found("query", &format!("SELECT {name} FROM Account WHERE Name = 'scored'")).await[0][name].clone()
    };
    change(json!({"name": "Score__c", "type": "double 18,1"})).await;
    assert_eq!((value("Score__c").await, &org.field("Account", "Score__c").await["scale"]), (json!(12.3), &json!(1)));
    change(json!({"name": "Score__c", "type": "string 3"})).await;
    assert_eq!(
        (value("Score__c").await, &org.field("Account", "Score__c").await["type"]),
        (json!("12."), &json!("string"))
    );
    change(json!({"name": "Score__c", "rename": "Grade__c", "label": "Grade"})).await;
    assert_eq!(
        (value("Grade__c").await, &org.field("Account", "Grade__c").await["label"]),
        (json!("12."), &json!("Grade"))
    );
    assert_eq!(org.refused("SELECT Score__c FROM Account").await.1, "INVALID_FIELD");
    change(json!({"name": "Grade__c", "type": "picklist 255 : 12.; 13", "restricted": true})).await;
    let told = org.field("Account", "Grade__c").await;
    assert_eq!(column(told["picklistValues"].as_array().unwrap(), "value"), ["12.", "13"]);
    assert_eq!(org.patch(&format!("/sobjects/Account/{id}"), json!({"Grade__c": "14"})).await.status, 400);
    change(json!({"name": "Grade__c", "type": "int 9", "restricted": false})).await;
    assert_eq!(value("Grade__c").await, json!(12));
    let after = org.found("query", "SELECT SystemModstamp FROM Account WHERE Name = 'scored'").await;
    assert_eq!(before[0]["SystemModstamp"], after[0]["SystemModstamp"], "no record counts as changed");
    org.told(Method::DELETE, "fields", json!({"object": "Account", "name": "Grade__c"})).await;
    assert_eq!(org.refused("SELECT Grade__c FROM Account").await.1, "INVALID_FIELD");
    for (method, body) in [
        (Method::DELETE, json!({"object": "Account", "name": "Grade__c"})),
        (Method::DELETE, json!({"object": "Account", "name": "Name"})),
        (Method::PATCH, json!({"object": "Account", "name": "Name", "type": "string 10"})),
    ] {
        assert!((400..=404).contains(&org.ask_control(method, "fields", body.clone()).await.0), "{body}");
    }
}

#[tokio::test]
async fn a_field_that_goes_ends_the_queries_that_read_it() {
    let org = Org::start().await;
    org.told(Method::POST, "fields", json!({"object": "Lead", "name": "Gone__c", "type": "string 10"})).await;
    let writes: Vec<Value> = (0..401)
        .map(|n| json!({"op": "insert", "object": "Lead", "fields": {"LastName": format!("{n}"), "Company": "c"}}))
        .collect();
    org.write(json!(writes)).await;
    let open = async |fields: &str| {
        let batch = [("sforce-query-options", "batchSize=200")];
        let page = org.call_with(Method::GET, &format!("/query?q=SELECT+{fields}+FROM+Lead"), None, &batch).await;
        page.body["nextRecordsUrl"].as_str().unwrap().to_owned()
    };
    let (with, without) = (open("Id,Gone__c").await, open("Id,LastName").await);
    let job = org.put("limits", json!({"bulk_hold": "UploadComplete"})).await;
    assert_eq!(job, 204);
    let job = org.post("/jobs/query", json!({"operation": "query", "query": "SELECT Gone__c FROM Lead"})).await.body;
    org.told(Method::DELETE, "fields", json!({"object": "Lead", "name": "Gone__c"})).await;
    let gone = org.call(Method::GET, &with, None).await;
    assert_eq!((gone.status, &gone.body[0]["errorCode"]), (400, &json!("INVALID_QUERY_LOCATOR")));
    assert_eq!(org.call(Method::GET, &without, None).await.status, 200);
    let job = org.call(Method::GET, &format!("/jobs/query/{}", job["id"].as_str().unwrap()), None).await.body;
    assert_eq!(
        (&job["state"], &job["errorMessage"]),
        (&json!("Failed"), &json!("InvalidBatch : Field name not found : Gone__c"))
    );
}

#[tokio::test]
async fn a_formula_follows_its_parent_and_the_day_without_a_stamp() {
    let org = Org::start().await;
    org.at("2027-01-10T10:00:00Z").await;
    let formula = async |name: &str, kind: &str, text: &str| {
        let body = json!({"object": "Contact", "name": name, "type": kind, "formula": text});
        org.told(Method::POST, "fields", body).await;
    };
    formula("Where__c", "string 255", "LastName & ' at ' & Account.Name").await;
    formula("Age__c", "double 18,0", "IF(ISBLANK(Birthdate), 0, TODAY() - Birthdate)").await;
    formula("Both__c", "string 255", "Where__c & ' (' & TEXT(Age__c) & ')'").await;
    let account = org.make("Account", json!({"Name": "old"})).await;
    org.make("Contact", json!({"LastName": "Ada", "AccountId": account, "Birthdate": "2027-01-01"})).await;
    let soql = "SELECT Both__c, SystemModstamp FROM Contact WHERE Where__c LIKE 'Ada%' AND Age__c > 0 ORDER BY Age__c";
    let first = org.found("query", soql).await;
    assert_eq!(first[0]["Both__c"], "Ada at old (9)");
    org.at("2027-01-11T10:00:00Z").await;
    assert_eq!(org.patch(&format!("/sobjects/Account/{account}"), json!({"Name": "new"})).await.status, 204);
    let second = org.found("query", soql).await;
    assert_eq!(second[0]["Both__c"], "Ada at new (10)");
    assert_eq!(first[0]["SystemModstamp"], second[0]["SystemModstamp"]);
    let told = org.field("Contact", "Age__c").await;
    assert_eq!(
        ["calculated", "calculatedFormula", "createable", "updateable", "nillable", "type"]
            .map(|key| told[key].clone()),
        [
            json!(true),
            json!("IF(ISBLANK(Birthdate), 0, TODAY() - Birthdate)"),
            json!(false),
            json!(false),
            json!(true),
            json!("double")
        ]
    );
    let written = org.post("/sobjects/Contact", json!({"LastName": "x", "Age__c": 1})).await;
    assert_eq!((written.status, &written.body[0]["errorCode"]), (400, &json!("INVALID_FIELD_FOR_INSERT_UPDATE")));
    // What a formula reads stays; its text may change.
    for (method, body) in [
        (Method::DELETE, json!({"object": "Contact", "name": "Age__c"})),
        (Method::PATCH, json!({"object": "Contact", "name": "Where__c", "rename": "There__c"})),
    ] {
        let (status, told) = org.ask_control(method, "fields", body).await;
        assert_eq!((status, &told[0]["errorCode"]), (400, &json!("DEPENDENCY_EXISTS")));
    }
    let body = json!({"object": "Contact", "name": "Both__c", "formula": "UPPER(LastName)"});
    org.told(Method::PATCH, "fields", body).await;
    assert_eq!(org.found("query", soql).await[0]["Both__c"], "ADA");
    let wrong = json!({"object": "Contact", "name": "W__c", "type": "date", "formula": "LastName"});
    let (status, told) = org.post_control("fields", wrong).await;
    assert_eq!(status, 400);
    assert!(told[0]["message"].as_str().unwrap().starts_with("Formula result is data type (Text)"), "{told}");
}
