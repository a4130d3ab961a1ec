//! The REST query API and the metadata API.

use serde_json::{Value, json};

use crate::{Org, answer};

impl Org {
    async fn query(&self, token: &str, sql: &str) -> (u16, Value) {
        let request = self.http.post(format!("{}/api/v2/query", self.tenant())).bearer_auth(token);
        answer(request.json(&json!({"sql": sql})).send().await.unwrap()).await
    }

    pub(super) async fn get_tenant(&self, token: &str, path: &str) -> (u16, Value) {
        answer(self.http.get(format!("{}{path}", self.tenant())).bearer_auth(token).send().await.unwrap()).await
    }

    async fn batch(&self, token: &str, page: &Value) -> (u16, Value) {
        self.get_tenant(token, &format!("/api/v2/query/{}", page["nextBatchId"].as_str().unwrap())).await
    }
}

const ALL: &str = "select \"id__c\" from \"WebEngagement__dll\" order by 1";

#[tokio::test]
async fn a_result_comes_with_its_columns_and_types() {
    let Some(org) = Org::with_hyper(40).await else { return };
    let token = org.datacloud_token().await;
    let (status, page) =
        org.query(&token, "select * from \"WebEngagement__dll\" where \"id__c\" in (17, 20) order by 1").await;
    assert_eq!(status, 200, "{page}");
    assert_eq!(
        page["data"],
        json!([
            [17, null, "/pages/17", "2024-01-01T00:00:17+00:00", "2024-01-18", 0.17, false],
            [20, 25, "/pages/20", "2024-01-01T00:00:20+00:00", "2024-01-21", null, false],
        ])
    );
    assert_eq!((&page["rowCount"], &page["done"], page.get("nextBatchId")), (&json!(2), &json!(true), None));
    assert!(page["startTime"].as_str().unwrap().ends_with('Z') && page["queryId"].is_string());
    let types: Vec<(&str, i64, i64)> = page["metadata"]
        .as_object()
        .unwrap()
        .values()
        .map(|c| (c["type"].as_str().unwrap(), c["placeInOrder"].as_i64().unwrap(), c["typeCode"].as_i64().unwrap()))
        .collect();
    let expected = [
        ("BIGINT", 0, -5),
        ("DOUBLE", 1, 8),
        ("VARCHAR", 2, 12),
        ("TIMESTAMP_WITH_TIMEZONE", 3, 2014),
        ("DATE", 4, 91),
        ("DECIMAL", 5, 3),
        ("BOOLEAN", 6, 16),
    ];
    assert_eq!(types, expected);
    let exact = "select cast(12345678901234567890.12 as numeric(38,2)) as n";
    let request = org.http.post(format!("{}/api/v2/query", org.tenant())).bearer_auth(&token);
    let text = request.json(&json!({"sql": exact})).send().await.unwrap().text().await.unwrap();
    assert!(text.starts_with("{\"data\":[[12345678901234567890.12]],"), "every digit: {text}");
}

#[tokio::test]
async fn pages_go_forward_and_each_is_offered_once() {
    let Some(org) = Org::with_hyper(25).await else { return };
    let token = org.datacloud_token().await;
    assert_eq!(org.put("limits", json!({"datacloud_page_rows": 10})).await, 204);
    let (_, first) = org.query(&token, ALL).await;
    let (_, second) = org.batch(&token, &first).await;
    assert_eq!(org.batch(&token, &first).await.0, 404, "it has been given out");
    let (_, third) = org.batch(&token, &second).await;
    let rows: Vec<Value> =
        [&first, &second, &third].iter().flat_map(|p| p["data"].as_array().unwrap().clone()).collect();
    assert_eq!(rows, (1..=25).map(|n| json!([n])).collect::<Vec<_>>());
    assert_eq!([&first["done"], &second["done"], &third["done"]], [&json!(false), &json!(false), &json!(true)]);
    assert_eq!([&first["rowCount"], &third["rowCount"]], [&json!(10), &json!(5)]);
    assert!(third.get("nextBatchId").is_none());
    assert_eq!(org.ledger().await["datacloud"]["calls"], json!({"nextBatch": 3, "query": 1}));

    let (_, empty) = org.query(&token, "select 1 as one limit 0").await;
    assert_eq!((&empty["data"], &empty["done"], &empty["rowCount"]), (&json!([]), &json!(true), &json!(0)));
    assert_eq!(org.post_control("reset", json!({})).await.0, 204);
    assert_eq!(org.query(&token, ALL).await.1["done"], true, "5,000 rows a page again");
}

#[tokio::test]
async fn a_batch_waits_three_minutes_and_a_result_one_hour() {
    let Some(org) = Org::with_hyper(100).await else { return };
    assert_eq!(org.put("limits", json!({"datacloud_page_rows": 1, "datacloud_token_life_seconds": 90_000})).await, 204);
    let token = org.datacloud_token().await;
    let (_, mut page) = org.query(&token, ALL).await;
    org.advance(181).await;
    let (status, refused) = org.batch(&token, &page).await;
    assert_eq!((status, &refused["error"]), (404, &json!("Not Found")));

    (_, page) = org.query(&token, ALL).await;
    for _ in 0..20 {
        org.advance(179).await;
        let (status, next) = org.batch(&token, &page).await;
        assert_eq!(status, 200);
        page = next;
    }
    org.advance(60).await;
    assert_eq!(org.batch(&token, &page).await.0, 404, "an hour after the first");
}

#[tokio::test]
async fn refusals_have_the_documented_body() {
    let Some(org) = Org::with_hyper(1).await else { return };
    let token = org.datacloud_token().await;
    for (sql, words) in [
        ("select nonsense", "nonsense"),
        ("select 1/(\"id__c\" - 1) from \"WebEngagement__dll\"", "division by zero"),
        ("drop table \"WebEngagement__dll\"", "only queries"),
    ] {
        let (status, body) = org.query(&token, sql).await;
        assert_eq!((status, &body["error"]), (400, &json!("Bad Request")), "{sql}");
        assert_eq!(body["internalErrorCode"], "COMMON_ERROR_GENERIC");
        assert!(body["message"].as_str().unwrap().contains(words), "{body}");
    }
    let request = org.http.post(format!("{}/api/v2/query", org.tenant())).bearer_auth(&token);
    assert_eq!(request.body("{}").send().await.unwrap().status(), 400);
    assert_eq!(org.get_tenant(&token, "/api/v9/nothing").await.0, 404);
    org.fault(json!({"path": "/api/v2/query", "status": 429})).await;
    assert_eq!(org.query(&token, "select 1").await.0, 429);
    let without = Org::with_tenant().await;
    assert_eq!(without.query(&without.datacloud_token().await, "select 1").await.0, 503);
}

#[tokio::test]
async fn arrow_comes_as_a_stream_of_each_page() {
    use base64::Engine;
    let Some(org) = Org::with_hyper(25).await else { return };
    let token = org.datacloud_token().await;
    org.put("limits", json!({"datacloud_page_rows": 20})).await;
    let ask = async |sql: &str| {
        let request = org.http.post(format!("{}/api/v2/query", org.tenant())).bearer_auth(&token);
        let request = request.header("enable-arrow-stream", "true").json(&json!({"sql": sql}));
        answer(request.send().await.unwrap()).await.1
    };
    let first = ask(ALL).await;
    let (_, second) = org.batch(&token, &first).await;
    let nothing = ask("select 1 as one limit 0").await;
    for (page, rows) in [(first, 20), (second, 5), (nothing, 0)] {
        assert_eq!(page["rowCount"], rows);
        let stream = page["arrowStream"].as_str().unwrap();
        let stream = base64::engine::general_purpose::STANDARD.decode(stream).unwrap();
        assert_eq!(stream[..4], [0xff; 4], "a schema stands at the beginning of each");
    }
}

#[tokio::test]
async fn metadata_names_what_can_be_queried() {
    let Some(org) = Org::with_hyper(1).await else { return };
    let token = org.datacloud_token().await;
    let (status, all) = org.get_tenant(&token, "/api/v1/metadata").await;
    assert_eq!(status, 200);
    for entity in all["metadata"].as_array().unwrap() {
        let columns =
            entity["fields"].as_array().unwrap().iter().map(|f| format!("\"{}\"", f["name"].as_str().unwrap()));
        let columns = columns.collect::<Vec<_>>().join(", ");
        let sql = format!("select {columns} from \"{}\"", entity["name"].as_str().unwrap());
        assert_eq!(org.query(&token, &sql).await.0, 200, "{sql}");
    }
    let names = async |path: &str| -> Vec<String> {
        let (_, body) = org.get_tenant(&token, &format!("/api/v1/metadata?{path}")).await;
        body["metadata"].as_array().unwrap().iter().map(|e| e["name"].as_str().unwrap().to_owned()).collect()
    };
    let lake = names("entityType=DataLakeObject").await;
    assert!(lake.contains(&"WebEngagement__dll".to_owned()) && lake.iter().all(|n| n.ends_with("__dll")), "{lake:?}");
    assert!(names("entityType=CalculatedInsight").await.is_empty());
    assert_eq!(names("entityType=DataModelObject&entityName=ssot__Account__dlm").await, ["ssot__Account__dlm"]);
    assert_eq!(org.get_tenant(&token, "/api/v1/metadata?entityType=Nonsense").await.0, 400);
    let (_, one) = org.get_tenant(&token, "/api/v1/metadata?entityName=ssot__Individual__dlm").await;
    let one = &one["metadata"][0];
    assert_eq!((&one["displayName"], &one["category"]), (&json!("Individual"), &json!("Profile")));
    assert_eq!(one["fields"][1], json!({"name": "ssot__FirstName__c", "displayName": "First Name", "type": "STRING"}));
    assert_eq!(one["primaryKeys"], json!([{"name": "ssot__Id__c", "displayName": "Individual Id", "indexOrder": "1"}]));
}
