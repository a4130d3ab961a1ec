//! What was updated and deleted in a span of time.

use reqwest::Method;
use serde_json::{Value, json};

use crate::Org;

impl Org {
    async fn changes(&self, of: &str, start: &str, end: &str) -> (u16, Value) {
        self.get(&format!("/services/data/v67.0/sobjects/Contact/{of}/?start={start}&end={end}")).await
    }

    pub(crate) async fn at(&self, now: &str) {
        self.put("limits", json!({"session_timeout_seconds": 1_000_000_000})).await;
        self.put("clock", json!({"now": now, "frozen": true})).await;
    }

    async fn contact(&self) -> String {
        self.make("Contact", json!({"LastName": "x"})).await
    }
}

#[tokio::test]
async fn changes_are_told_by_whole_minutes() {
    let org = Org::start().await;
    org.at("2027-01-10T10:00:30Z").await;
    let first = org.contact().await;
    org.at("2027-01-10T10:02:10Z").await;
    let second = org.contact().await;
    let url = "2027-01-10T10%3A00%3A59%2B00%3A00";
    let (status, told) = org.changes("updated", url, "2027-01-10T10:02:00Z").await;
    assert_eq!(status, 200, "{told}");
    assert_eq!(told, json!({"ids": [first], "latestDateCovered": "2027-01-10T10:02:00.000+0000"}));
    // A plus sign that nobody escaped; and an end in the future.
    let (_, told) = org.changes("updated", "2027-01-10T10:01:00+00:00", "2027-01-11T00:00:00Z").await;
    assert_eq!(told, json!({"ids": [second], "latestDateCovered": "2027-01-10T10:02:00.000+0000"}));
}

#[tokio::test]
async fn nothing_is_covered_beyond_a_write_that_is_not_visible_yet() {
    let org = Org::start().await;
    org.at("2027-01-10T10:00:30Z").await;
    org.put("commit-delay", json!({"seconds": 600})).await;
    let waiting = org.contact().await;
    org.put("commit-delay", json!({"seconds": 0})).await;
    org.at("2027-01-10T10:05:00Z").await;
    let seen = org.contact().await;
    let span = ("2027-01-10T09:00:00Z", "2027-01-10T11:00:00Z");
    org.at("2027-01-10T10:06:00Z").await;
    let (_, told) = org.changes("updated", span.0, span.1).await;
    assert_eq!(told, json!({"ids": [seen], "latestDateCovered": "2027-01-10T10:00:00.000+0000"}));
    // A client that goes on from there misses nothing.
    org.at("2027-01-10T10:20:00Z").await;
    let (_, told) = org.changes("updated", "2027-01-10T10:00:00Z", span.1).await;
    assert_eq!(told["ids"], json!([waiting, seen]));
    assert_eq!(told["latestDateCovered"], "2027-01-10T10:20:00.000+0000");
}

#[tokio::test]
async fn deleted_and_purged_records_are_known_for_fifteen_days() {
    let org = Org::start().await;
    org.at("2027-01-10T10:00:00Z").await;
    let (deleted, purged, both) = (org.contact().await, org.contact().await, org.contact().await);
    org.at("2027-01-10T10:10:20Z").await;
    for id in [&deleted, &both] {
        assert_eq!(org.call(Method::DELETE, &format!("/sobjects/Contact/{id}"), None).await.status, 204);
    }
    org.at("2027-01-10T10:20:00Z").await;
    let ids = json!({"object": "Contact", "ids": [purged, both]});
    assert_eq!(org.post_control("records/purge", ids.clone()).await.0, 204);
    assert_eq!(org.post_control("records/purge", ids).await.0, 404, "it is gone");
    let (_, rows) = org.get("/services/data/v67.0/queryAll?q=SELECT+Id+FROM+Contact+WHERE+LastName='x'").await;
    assert_eq!(rows["totalSize"], 1, "also from the recycle bin");
    let (_, told) = org.changes("deleted", "2027-01-10T10:00:00Z", "2027-01-10T10:30:00Z").await;
    let gone = |id: &str, at: &str| json!({"deletedDate": format!("2027-01-10T{at}.000+0000"), "id": id});
    assert_eq!(
        told,
        json!({
            "deletedRecords": [gone(&deleted, "10:10:20"), gone(&both, "10:10:20"), gone(&purged, "10:20:00")],
            "earliestDateAvailable": "2026-12-26T10:20:00.000+0000",
            "latestDateCovered": "2027-01-10T10:20:00.000+0000",
        })
    );
    let (_, told) = org.changes("deleted", "2027-01-10T10:11:00Z", "2027-01-10T10:20:00Z").await;
    assert_eq!(told["deletedRecords"], json!([]));
    let (_, told) = org.changes("updated", "2027-01-10T10:00:00Z", "2027-01-10T10:30:00Z").await;
    assert_eq!(told["ids"], json!([]), "deleted ones are not updated");
    org.at("2027-01-26T10:00:00Z").await;
    let (status, told) = org.changes("deleted", "2027-01-10T10:00:00Z", "2027-01-12T10:30:00Z").await;
    assert_eq!((status, &told[0]["errorCode"]), (400, &json!("INVALID_REPLICATION_DATE")));
}

#[tokio::test]
async fn spans_that_make_no_sense_are_refused() {
    let org = Org::start().await;
    org.at("2027-02-20T00:00:00Z").await;
    for (start, end) in [
        ("2027-02-10T10:00:00Z", "2027-02-10T10:00:59Z"),
        ("2027-02-10T10:00:00Z", "2027-02-10T09:00:00Z"),
        ("2027-01-10T10:00:00Z", "2027-02-10T09:00:00Z"),
        ("lately", "2027-02-10T09:00:00Z"),
    ] {
        let (status, body) = org.changes("updated", start, end).await;
        assert_eq!((status, &body[0]["errorCode"]), (400, &json!("INVALID_REPLICATION_DATE")), "{start} {end}");
        assert!(body[0].get("fields").is_none());
    }
    let (status, body) = org.get("/services/data/v67.0/sobjects/Contact/updated").await;
    assert_eq!((status, &body[0]["errorCode"]), (400, &json!("MISSING_ARGUMENT")));
}
