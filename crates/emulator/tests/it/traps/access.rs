//! Permissions and sharing.

use reqwest::Method;
use serde_json::{Value, json};

use super::column;
use crate::Org;
use crate::rows::V;

#[tokio::test]
async fn a_field_that_is_taken_away_does_not_exist_for_the_user() {
    let org = Org::start().await;
    let id = org.make("Contact", json!({"LastName": "x", "Email": "x@example.org"})).await;
    let before = org.call(Method::GET, "/sobjects/Contact/describe", None).await;
    let permit = async |visible: bool| {
        let body = json!({"object": "contact", "fields": ["email", "Title"], "visible": visible});
        org.told(Method::PUT, "permissions", body).await;
    };
    permit(false).await;
    assert_eq!(
        org.refused("SELECT Id, Email FROM Contact").await,
        (
            400,
            "INVALID_FIELD".to_owned(),
            "\nSELECT Id, Email FROM Contact\n           ^\nERROR at Row:1:Column:12\nNo such column 'Email' on entity 'Contact'. If you are attempting to use a custom field, be sure to append the '__c' after the custom field name. Please reference your WSDL or the describe call for the appropriate names.".to_owned()
        )
    );
    let after = org.call(Method::GET, "/sobjects/Contact/describe", None).await;
    assert_ne!(before.headers["etag"], after.headers["etag"]);
    assert_eq!(org.field("Contact", "Email").await, Value::Null);
    let record = org.call(Method::GET, &format!("/sobjects/Contact/{id}"), None).await.body;
    assert!(record.get("Email").is_none() && record.get("LastName").is_some());
    let written = org.patch(&format!("/sobjects/Contact/{id}"), json!({"Email": "y@example.org"})).await;
    assert_eq!((written.status, &written.body[0]["errorCode"]), (400, &json!("INVALID_FIELD")));
    assert_eq!(org.patch(&format!("/sobjects/Contact/{id}"), json!({"FirstName": "F"})).await.status, 204);
    let truth = org.snapshot("Contact").await;
    assert!(truth.iter().any(|line| line["Email"] == "x@example.org" && line["Name"] == "F x"), "the org has it still");

    permit(true).await;
    let again = org.call(Method::GET, "/sobjects/Contact/describe", None).await;
    assert_eq!(before.headers["etag"], again.headers["etag"]);
    assert_eq!(
        org.found("query", "SELECT Email FROM Contact WHERE FirstName = 'F'").await[0]["Email"],
        "x@example.org"
    );
    let all = json!({"object": "Contact", "fields": ["SystemModstamp"], "visible": false});
    assert_eq!(org.ask_control(Method::PUT, "permissions", all).await.0, 400, "everybody sees it");
}

#[tokio::test]
async fn an_object_that_is_taken_away_is_unknown() {
    let org = Org::start().await;
    org.told(Method::PUT, "permissions", json!({"object": "Account", "visible": false})).await;
    let (status, code, message) = org.refused("SELECT Id FROM Account").await;
    assert_eq!((status, code.as_str()), (400, "INVALID_TYPE"));
    assert!(message.contains("sObject type 'Account' is not supported."), "{message}");
    assert_eq!(org.get(&format!("{V}/sobjects/Account/describe")).await.0, 404);
    assert_eq!(org.get(&format!("{V}/sobjects/Account/updated?start=x&end=y")).await.0, 404);
    let (_, global) = org.get(&format!("{V}/sobjects")).await;
    let names = column(global["sobjects"].as_array().unwrap(), "name");
    assert!(!names.contains(&json!("Account")) && names.contains(&json!("Contact")));
    // The schema may go on changing.
    let field = json!({"object": "Account", "name": "New__c", "type": "string 10"});
    org.told(Method::POST, "fields", field).await;
    org.told(Method::DELETE, "permissions", json!({})).await;
    assert_eq!(org.field("Account", "New__c").await["length"], 10);
}

#[tokio::test]
async fn rows_that_are_not_shared_look_like_none_and_are_not_deleted() {
    let org = Org::start().await;
    org.at("2027-01-10T10:00:00Z").await;
    let made = org
        .write(json!([
            {"op": "insert", "object": "Account", "fields": {"Name": "hidden"}},
            {"op": "insert", "object": "Account", "fields": {"Name": "shown"}},
            {"op": "insert", "object": "Account", "fields": {"Name": "hidden and deleted"}},
            {"op": "insert", "object": "Contact", "fields": {"LastName": "child", "AccountId": "@{0}"}},
            {"op": "delete", "object": "Account", "id": "@{2}"},
            {"op": "insert", "object": "Account", "fields": {"Name": "hidden and erased"}},
        ]))
        .await;
    let soql = "SELECT Name FROM Account WHERE Name IN ('hidden', 'shown', 'hidden and deleted') ORDER BY Name";
    org.told(
        Method::PUT,
        "sharing",
        json!({"object": "Account", "ids": [made[0], made[2], made[5]], "visible": false}),
    )
    .await;
    org.write(json!([{"op": "hard_delete", "object": "Account", "id": made[5]}])).await;
    assert_eq!(column(&org.found("query", soql).await, "Name"), ["shown"]);
    assert_eq!(column(&org.found("queryAll", soql).await, "Name"), ["shown"]);
    let child = org.found("query", "SELECT AccountId, Account.Name FROM Contact WHERE LastName = 'child'").await;
    assert_eq!((&child[0]["AccountId"], &child[0]["Account"]), (&json!(made[0]), &Value::Null));
    let path = format!("/sobjects/Account/{}", made[0]);
    assert_eq!(org.call(Method::GET, &path, None).await.status, 404);
    assert_eq!(org.patch(&path, json!({"Name": "x"})).await.status, 404);
    assert_eq!(org.call(Method::DELETE, &path, None).await.status, 404);
    let span = "start=2027-01-10T09:30:00Z&end=2027-01-10T12:00:00Z";
    let deleted = async || {
        let path = format!("{V}/sobjects/Account/deleted?{span}");
        column(org.get(&path).await.1["deletedRecords"].as_array().unwrap(), "id")
    };
    assert_eq!(deleted().await, Vec::<Value>::new());
    let (_, updated) = org.get(&format!("{V}/sobjects/Account/updated?{span}")).await;
    assert_eq!(updated["ids"], json!([made[1]]));
    // The org itself goes on with them.
    org.write(json!([{"op": "update", "object": "Account", "id": made[0], "fields": {"Site": "moved"}}])).await;
    assert!(org.snapshot("Account").await.iter().any(|line| line["Site"] == "moved"));
    // New rows are seen, and the schema may change.
    let another = org.make("Account", json!({"Name": "shown"})).await;
    org.told(Method::POST, "fields", json!({"object": "Account", "name": "New__c", "type": "string 10"})).await;
    assert_eq!(org.patch(&format!("/sobjects/Account/{another}"), json!({"New__c": "v"})).await.status, 204);
    assert_eq!(org.found("query", "SELECT New__c FROM Account WHERE New__c = 'v'").await.len(), 1);

    org.told(Method::PUT, "sharing", json!({"object": "Account", "ids": [made[0], made[2]], "visible": true})).await;
    assert_eq!(column(&org.found("queryAll", soql).await, "Name"), ["hidden", "hidden and deleted", "shown", "shown"]);
    assert_eq!(deleted().await, [json!(made[2])]);
    org.told(Method::DELETE, "sharing", json!({})).await;
    assert_eq!(deleted().await, [json!(made[2]), json!(made[5])]);
}
