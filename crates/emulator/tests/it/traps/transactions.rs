//! Transactions that others do not see yet.

use reqwest::Method;
use serde_json::{Value, json};

use super::{column, ids};
use crate::Org;
use crate::rows::V;

#[tokio::test]
async fn an_open_transaction_is_stamped_when_it_writes_and_seen_when_it_commits() {
    let org = Org::start().await;
    org.at("2027-01-10T10:00:00Z").await;
    let (status, begun) = org
        .post_control(
            "transactions",
            json!({"writes": [
            {"op": "insert", "object": "Account", "fields": {"Name": "late"}},
            {"op": "insert", "object": "Contact", "fields": {"LastName": "late", "AccountId": "@{0}"}}]}),
        )
        .await;
    assert_eq!(status, 200, "{begun}");
    let (id, made) = (begun["id"].as_str().unwrap().to_owned(), ids(&begun));
    let seen = async || column(&org.found("query", "SELECT Id FROM Contact WHERE LastName LIKE 'late%'").await, "Id");
    assert_eq!(seen().await, Vec::<Value>::new());

    org.at("2027-01-10T12:00:00Z").await;
    let early = org.make("Contact", json!({"LastName": "late, but sooner"})).await;
    let update = json!({"writes": [{"op": "update", "object": "Contact", "id": made[1], "fields": {"Title": "t"}}]});
    let more = org.post_control(&format!("transactions/{id}/writes"), update).await;
    assert_eq!(more.0, 200, "it sees its own: {}", more.1);
    let wrong = json!({"writes": [{"op": "insert", "object": "Contact", "fields": {"LastName": "x"}},
        {"op": "insert", "object": "Contact", "fields": {}}]});
    let failed = org.post_control(&format!("transactions/{id}/writes"), wrong).await;
    assert_eq!((failed.0, &failed.1[0]["errorCode"]), (400, &json!("REQUIRED_FIELD_MISSING")));
    assert_eq!(seen().await, [json!(early)]);
    let updated = format!("{V}/sobjects/Contact/updated?start=2027-01-10T09:00:00Z&end=2027-01-10T13:00:00Z");
    let (_, told) = org.get(&updated).await;
    assert_eq!((&told["ids"], &told["latestDateCovered"]), (&json!([early]), &json!("2027-01-10T10:00:00.000+0000")));
    let url = format!("{}/transactions", org.emulator.info().control_url);
    let listed = crate::answer(org.http.get(url).send().await.unwrap()).await.1;
    assert_eq!(listed, json!({"transactions": [{"id": id, "began": "2027-01-10T10:00:00Z"}]}));

    org.at("2027-01-10T12:30:00Z").await;
    assert_eq!(org.post_control(&format!("transactions/{id}/commit"), json!({})).await, (200, json!({"writes": 3})));
    assert_eq!(seen().await.len(), 2);
    let found = org.found("query", "SELECT Id, SystemModstamp, Account.Name FROM Contact WHERE Title = 't'").await;
    assert_eq!(found[0]["SystemModstamp"], "2027-01-10T12:00:00.000+0000", "when it was written, not when it was seen");
    assert_eq!(found[0]["Account"]["Name"], "late");
    assert_eq!(org.get(&updated).await.1["latestDateCovered"], "2027-01-10T12:30:00.000+0000");
    assert_eq!(org.post_control(&format!("transactions/{id}/commit"), json!({})).await.0, 404);
}

#[tokio::test]
async fn an_open_transaction_locks_its_rows_and_may_be_given_up() {
    let org = Org::start().await;
    let contact = org.make("Contact", json!({"LastName": "held"})).await;
    let writes = json!({"writes": [{"op": "delete", "object": "Contact", "id": contact}]});
    let (_, begun) = org.post_control("transactions", writes).await;
    let path = format!("/sobjects/Contact/{contact}");
    let locked = org.patch(&path, json!({"Title": "x"})).await;
    assert_eq!((locked.status, &locked.body[0]["errorCode"]), (400, &json!("UNABLE_TO_LOCK_ROW")));
    let id = begun["id"].as_str().unwrap();
    org.told(Method::DELETE, &format!("transactions/{id}"), json!({})).await;
    assert_eq!(org.patch(&path, json!({"Title": "x"})).await.status, 204);
}
