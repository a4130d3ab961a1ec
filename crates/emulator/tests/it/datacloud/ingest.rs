//! The ingestion API: what is sent in can be queried.

use std::fmt::Write;

use reqwest::Method;
use serde_json::{Value, json};

use crate::{Org, answer};

const SOURCE: &str = "/api/v1/ingest/sources/tieline_events/page_view";
const JOBS: &str = "/api/v1/ingest/jobs";

impl Org {
    async fn ingest(&self, token: &str, method: Method, path: &str, body: String) -> (u16, Value) {
        let request = self.http.request(method, format!("{}{path}", self.tenant())).bearer_auth(token);
        answer(request.body(body).send().await.unwrap()).await
    }

    /// All page views, as lists.
    async fn page_views(&self, token: &str) -> Value {
        let sql = "select \"id__c\", \"at__c\", \"page__c\", \"seconds__c\" from \"page_view_tieline_events__dll\" order by 1";
        let text = self.execute(token, sql).await.text();
        serde_json::from_str(text.split_once("}]}").unwrap().1).unwrap_or(json!([]))
    }

    async fn job(&self, token: &str, operation: &str) -> String {
        let body = json!({"object": "page_view", "sourceName": "tieline_events", "operation": operation});
        let (status, job) = self.ingest(token, Method::POST, JOBS, body.to_string()).await;
        assert_eq!((status, &job["state"]), (201, &json!("Open")), "{job}");
        job["id"].as_str().unwrap().to_owned()
    }

    async fn upload(&self, token: &str, job: &str, csv: &str) -> u16 {
        self.ingest(token, Method::PUT, &format!("{JOBS}/{job}/batches"), csv.to_owned()).await.0
    }

    /// Closes a job and waits for its end.
    async fn closed(&self, token: &str, job: &str) -> Value {
        let path = format!("{JOBS}/{job}");
        let (status, body) =
            self.ingest(token, Method::PATCH, &path, json!({"state": "UploadComplete"}).to_string()).await;
        assert_eq!((status, &body["state"]), (200, &json!("UploadComplete")));
        loop {
            let (status, job) = self.get_tenant(token, &path).await;
            assert_eq!(status, 200);
            if !["UploadComplete", "InProgress"].contains(&job["state"].as_str().unwrap()) {
                return job;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

fn view(id: &str, page: &str) -> Value {
    json!({"id": id, "at": "2026-01-02T03:04:05.000Z", "page": page, "seconds": 1.5})
}

#[tokio::test]
async fn streamed_records_replace_those_with_their_key() {
    let Some(org) = Org::with_hyper(1).await else { return };
    let token = org.datacloud_token().await;
    let first = json!({"data": [view("a", "/old"), view("b", "/it's \"quoted\", 😀"), view("a", "/new")]});
    assert_eq!(org.ingest(&token, Method::POST, SOURCE, first.to_string()).await, (202, json!({"accepted": true})));
    let at = "2026-01-02T03:04:05+00:00";
    let both = json!([["a", at, "/new", 1.5], ["b", at, "/it's \"quoted\", 😀", 1.5]]);
    assert_eq!(org.page_views(&token).await, both);
    let blank = json!({"data": [{"id": "b", "at": "", "page": null, "seconds": 0}]});
    org.ingest(&token, Method::POST, SOURCE, blank.to_string()).await;
    assert_eq!(org.page_views(&token).await[1], json!(["b", null, null, 0]), "the whole record is replaced");
    let unfit = json!({"data": [{"id": 7}, view("c", "/c")]});
    assert_eq!(org.ingest(&token, Method::POST, SOURCE, unfit.to_string()).await.0, 202, "fire and forget");
    assert_eq!(org.page_views(&token).await.as_array().unwrap().len(), 3, "what does not fit is dropped");

    assert_eq!(org.ingest(&token, Method::DELETE, SOURCE, json!({"ids": ["a", "nobody"]}).to_string()).await.0, 202);
    assert_eq!(org.ingest(&token, Method::DELETE, &format!("{SOURCE}?ids=c,d"), String::new()).await.0, 202);
    assert_eq!(org.page_views(&token).await, json!([["b", null, null, 0]]));
    assert_eq!(org.ingest(&token, Method::DELETE, SOURCE, json!({"ids": vec!["x"; 201]}).to_string()).await.0, 400);
}

#[tokio::test]
async fn what_cannot_be_ingested_is_refused() {
    let Some(org) = Org::with_hyper(1).await else { return };
    let token = org.datacloud_token().await;
    let one = json!({"data": [view("a", "/a")]}).to_string();
    for path in ["/api/v1/ingest/sources/nobody/page_view", "/api/v1/ingest/sources/tieline_events/nothing"] {
        assert_eq!(org.ingest(&token, Method::POST, path, one.clone()).await.0, 404);
    }
    assert_eq!(org.ingest(&token, Method::POST, SOURCE, "{".to_owned()).await.0, 400);
    assert_eq!(org.ingest(&token, Method::POST, SOURCE, "{}".to_owned()).await.0, 400);
    let large = json!({"data": [view("a", &"x".repeat(200_000))]}).to_string();
    assert_eq!(org.ingest(&token, Method::POST, SOURCE, large).await.0, 413);
    let unknown = json!({"object": "nothing", "sourceName": "tieline_events", "operation": "upsert"});
    assert_eq!(org.ingest(&token, Method::POST, JOBS, unknown.to_string()).await.0, 404);
    let insert = json!({"object": "page_view", "sourceName": "tieline_events", "operation": "insert"});
    assert_eq!(org.ingest(&token, Method::POST, JOBS, insert.to_string()).await.0, 400);
    assert_eq!(org.page_views(&token).await, json!([]));
}

#[tokio::test]
async fn a_test_tells_what_does_not_fit_and_keeps_nothing() {
    let Some(org) = Org::with_hyper(1).await else { return };
    let token = org.datacloud_token().await;
    let path = format!("{SOURCE}/actions/test");
    let good = json!({"data": [view("a", "/a")]}).to_string();
    assert_eq!(org.ingest(&token, Method::POST, &path, good).await.0, 200);
    let bad = json!({"data": [view("a", "/a"), {"id": 7, "at": "yesterday", "seconds": "1"}]}).to_string();
    let (status, body) = org.ingest(&token, Method::POST, &path, bad).await;
    assert_eq!(
        (status, &body["message"]),
        (400, &json!("Bad Request: JSON is properly formatted but has a mismatch with Schema."))
    );
    let report = body["details"]["validationReport"].as_array().unwrap();
    assert_eq!(report.len(), 1, "{body}");
    assert_eq!(
        report[0]["causingExceptions"],
        json!([
            "#/id: expected type: String, found: Integer",
            "#/at: [yesterday] is not a valid date-time",
            "#: required key [page] not found",
            "#/seconds: expected type: Number, found: String",
        ])
    );
    assert!(report[0]["record"].is_string());
    assert_eq!(org.page_views(&token).await, json!([]));
}

#[tokio::test]
async fn a_bulk_job_lands_all_of_its_files() {
    let Some(org) = Org::with_hyper(1).await else { return };
    let token = org.datacloud_token().await;
    let job = org.job(&token, "upsert").await;
    let mut csv = "page,id,extra,at,seconds\n".to_owned();
    for n in 0..20_000 {
        writeln!(csv, "/bulk,b{n:05},ignored,2026-01-02T03:04:05.000Z,{n}").unwrap();
    }
    assert_eq!(org.upload(&token, &job, &csv).await, 202);
    assert_eq!(org.upload(&token, &job, "id,at,page,seconds\nb00000,,\"/la,st\",\n").await, 202);
    let path = format!("{JOBS}/{job}");
    assert_eq!(org.ingest(&token, Method::DELETE, &path, String::new()).await.0, 400, "it is open");
    let done = org.closed(&token, &job).await;
    assert_eq!(done["state"], "JobComplete", "{done}");
    let keys = [
        "id",
        "operation",
        "object",
        "sourceName",
        "createdById",
        "createdDate",
        "systemModstamp",
        "state",
        "contentType",
        "apiVersion",
        "contentUrl",
        "retries",
        "totalProcessingTime",
    ];
    assert_eq!(done.as_object().unwrap().keys().collect::<Vec<_>>(), keys);
    assert!(done["createdById"].as_str().unwrap().starts_with("005"));
    let count = "select count(*), sum(\"seconds__c\") from \"page_view_tieline_events__dll\"";
    assert!(org.execute(&token, count).await.text().ends_with("[[20000,199990000]]"));
    assert_eq!(org.page_views(&token).await[0], json!(["b00000", null, "/la,st", null]), "the later row counts");
    assert_eq!(org.upload(&token, &job, &csv).await, 400, "it is closed");

    let job = org.job(&token, "delete").await;
    let keys: String = (1..20_000).map(|n| format!("\"b{n:05}\",\"2026-01-03T00:00:00.000Z\"\n")).collect();
    assert_eq!(org.upload(&token, &job, &keys).await, 202);
    assert_eq!(org.closed(&token, &job).await["state"], "JobComplete");
    assert_eq!(org.page_views(&token).await.as_array().unwrap().len(), 1);

    let (_, all) = org.get_tenant(&token, &format!("{JOBS}?states=JobComplete&limit=1&offset=1")).await;
    assert_eq!((all["data"].as_array().unwrap().len(), &all["data"][0]["id"]), (1, &json!(job)));
    assert_eq!(org.ingest(&token, Method::DELETE, &format!("{JOBS}/{job}"), String::new()).await.0, 204);
    assert_eq!(org.get_tenant(&token, &format!("{JOBS}/{job}")).await.0, 404);
}

#[tokio::test]
async fn a_file_that_does_not_fit_fails_its_job() {
    let Some(org) = Org::with_hyper(1).await else { return };
    let token = org.datacloud_token().await;
    for bad in [
        "id,at,page,seconds\na,2026-01-02T03:04:05Z,/a,1\nb,yesterday,/b,2\n",
        "id,at,page,seconds\na,,/a,many\n",
        "id,at,page,seconds\n,,/a,1\n",
        "id,at,page\na,,/a\n",
        "id,at,page,seconds\na,,/a\n",
    ] {
        let job = org.job(&token, "upsert").await;
        assert_eq!(org.upload(&token, &job, bad).await, 202);
        assert_eq!(org.closed(&token, &job).await["state"], "Failed", "{bad}");
    }
    assert_eq!(org.page_views(&token).await, json!([]), "nothing of them is there");
    let job = org.job(&token, "upsert").await;
    org.upload(&token, &job, "id,at,page,seconds\na,,/a,1\n").await;
    let path = format!("{JOBS}/{job}");
    let (status, body) = org.ingest(&token, Method::PATCH, &path, json!({"state": "Aborted"}).to_string()).await;
    assert_eq!((status, &body["state"]), (200, &json!("Aborted")));
    assert_eq!(org.ingest(&token, Method::PATCH, &path, json!({"state": "UploadComplete"}).to_string()).await.0, 400);
    assert_eq!(org.page_views(&token).await, json!([]));
}

#[tokio::test]
async fn a_job_has_bounds() {
    let Some(org) = Org::with_hyper(1).await else { return };
    org.put("limits", json!({"datacloud_token_life_seconds": 1_000_000})).await;
    let token = org.datacloud_token().await;
    let job = org.job(&token, "upsert").await;
    for _ in 0..100 {
        assert_eq!(org.upload(&token, &job, "id,at,page,seconds\n").await, 202);
    }
    assert_eq!(org.upload(&token, &job, "id,at,page,seconds\n").await, 400, "a hundred files");
    assert_eq!(org.closed(&token, &job).await["state"], "JobComplete");
    let job = org.job(&token, "upsert").await;
    org.advance(7 * 86_400 + 1).await;
    assert_eq!(org.get_tenant(&token, &format!("{JOBS}/{job}")).await.0, 404, "open for more than seven days");
}
