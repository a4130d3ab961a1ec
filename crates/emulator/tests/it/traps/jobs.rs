//! Bulk jobs that end badly, and results that are not what they say.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::Org;
use crate::rows::{Answer, V};

impl Org {
    async fn query_job(&self, soql: &str) -> String {
        let made = self.post("/jobs/query", json!({"operation": "query", "query": soql})).await;
        assert_eq!(made.status, 200, "{}", made.body);
        made.body["id"].as_str().unwrap().to_owned()
    }

    /// The job when it has a state like this.
    async fn job_in(&self, id: &str, states: &[&str]) -> Value {
        for _ in 0..5_000 {
            let job = self.call(Method::GET, &format!("/jobs/query/{id}"), None).await.body;
            if states.iter().any(|state| job["state"] == *state) {
                return job;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        panic!("the job {id} is never {states:?}");
    }

    async fn results(&self, id: &str, parameters: &str) -> Answer {
        self.call(Method::GET, &format!("/jobs/query/{id}/results{parameters}"), None).await
    }

    async fn accounts(&self, count: usize) {
        let of = |n| json!({"op": "insert", "object": "Account", "fields": {"Name": format!("{n:02}")}});
        self.write(json!((0..count).map(of).collect::<Vec<_>>())).await;
    }
}

const NAMES: &str = "SELECT Name FROM Account WHERE Name LIKE '__'";

fn rows(answer: &Answer) -> Vec<u32> {
    let number = |line: &str| line.trim_matches('"').parse().unwrap();
    // A number alone is read as JSON.
    let text = answer.body.as_str().unwrap();
    text.lines().skip(1).map(number).collect()
}

#[tokio::test]
async fn results_come_in_any_order_and_counts_may_lie() {
    let org = Org::start().await;
    org.accounts(20).await;
    assert_eq!(
        org.put("limits", json!({"bulk_shuffle_seed": 7, "bulk_processed_delta": -3, "bulk_page_count_delta": 2}))
            .await,
        204
    );
    let id = org.query_job(NAMES).await;
    assert_eq!(org.job_in(&id, &["JobComplete"]).await["numberRecordsProcessed"], 17);
    let results = org.results(&id, "").await;
    assert_eq!(results.headers["sforce-numberofrecords"], "22");
    let mut shuffled = rows(&results);
    assert_ne!(shuffled, (0..20).collect::<Vec<_>>());
    let again = org.query_job(NAMES).await;
    org.job_in(&again, &["JobComplete"]).await;
    assert_eq!(rows(&org.results(&again, "").await), shuffled, "the seed chooses");
    shuffled.sort_unstable();
    assert_eq!(shuffled, (0..20).collect::<Vec<_>>());
    let ordered = org.query_job(&format!("{NAMES} ORDER BY Name")).await;
    org.job_in(&ordered, &["JobComplete"]).await;
    assert_eq!(rows(&org.results(&ordered, "").await), (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn pages_of_results_are_lost_repeated_and_gone() {
    let org = Org::start().await;
    org.accounts(9).await;
    let id = org.query_job(NAMES).await;
    org.job_in(&id, &["JobComplete"]).await;
    let read = async || {
        let (mut locator, mut seen) = (String::new(), Vec::new());
        loop {
            let page = org.results(&id, &format!("?maxRecords=3{locator}")).await;
            assert_eq!(page.status, 200, "{}", page.body);
            seen.extend(rows(&page));
            match page.headers["sforce-locator"].to_str().unwrap() {
                "null" => return seen,
                next => locator = format!("&locator={next}"),
            }
        }
    };
    assert_eq!(read().await, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    for (trick, expected) in [
        ("repeat", vec![0, 1, 2, 0, 1, 2, 6, 7, 8]),
        ("skip", vec![0, 1, 2, 6, 7, 8]),
        ("empty", vec![0, 1, 2, 6, 7, 8]),
        ("end", vec![0, 1, 2]),
    ] {
        org.told(Method::POST, "pages", json!({"of": "bulk", "trick": trick, "nth": 2})).await;
        assert_eq!(read().await, expected, "{trick}");
        org.told(Method::DELETE, "pages", json!({})).await;
    }
    assert_eq!(org.post_control("bulk/expire", json!({"id": id, "results_only": true})).await.1, json!({"jobs": 1}));
    assert_eq!(org.results(&id, "").await.status, 404);
    assert_eq!(org.job_in(&id, &["JobComplete"]).await["numberRecordsProcessed"], 9);
    assert_eq!(org.post_control("bulk/expire", json!({})).await.1, json!({"jobs": 1}));
    assert_eq!(org.call(Method::GET, &format!("/jobs/query/{id}"), None).await.status, 404);
}

#[tokio::test]
async fn jobs_end_as_they_are_told_to() {
    let org = Org::start().await;
    org.accounts(5).await;
    assert_eq!(org.put("limits", json!({"bulk_hold": "InProgress"})).await, 204);
    let (failed, aborted) = (org.query_job(NAMES).await, org.query_job(NAMES).await);
    org.job_in(&failed, &["InProgress"]).await;
    let force = async |body: Value| org.post_control("bulk/jobs", body).await.1;
    assert_eq!(
        force(json!({"id": failed, "state": "Failed", "message": "InternalServerError : x"})).await,
        json!({"jobs": 1})
    );
    let job = org.job_in(&failed, &["Failed"]).await;
    assert_eq!(job["errorMessage"], "InternalServerError : x");
    assert_eq!(force(json!({"state": "Aborted"})).await, json!({"jobs": 1}), "the one that has not ended");
    org.job_in(&aborted, &["Aborted"]).await;
    assert_eq!(org.results(&aborted, "").await.status, 400);

    // A batch of the first Bulk API that is not processed.
    let session = org.emulator.info().access_token.clone();
    let classic = async |path: &str, body: String| {
        let url = org.url(&format!("/services/async/67.0/job{path}"));
        let sent = org.http.post(url).header("X-SFDC-Session", &session).header("content-type", "application/json");
        crate::answer(sent.body(body).send().await.unwrap()).await.1
    };
    let made = classic("", json!({"operation": "query", "object": "Account", "contentType": "JSON"}).to_string()).await;
    let path = format!("/{}/batch", made["id"].as_str().unwrap());
    let batch = classic(&path, NAMES.to_owned()).await;
    assert_eq!(force(json!({"id": batch["id"], "state": "NotProcessed"})).await, json!({"jobs": 1}));
    let url = org.url(&format!("/services/async/67.0/job{path}/{}", batch["id"].as_str().unwrap()));
    let told = crate::answer(org.http.get(url).header("X-SFDC-Session", &session).send().await.unwrap()).await.1;
    assert_eq!(told["state"], "NotProcessed", "{told}");
}

#[tokio::test]
async fn a_query_job_over_too_many_rows_fails() {
    let org = Org::start().await;
    org.accounts(5).await;
    assert_eq!(org.put("limits", json!({"query_timeout_rows": 4})).await, 204);
    let id = org.query_job(NAMES).await;
    let job = org.job_in(&id, &["Failed", "JobComplete"]).await;
    assert_eq!(
        (&job["state"], &job["errorMessage"], &job["numberRecordsProcessed"]),
        (
            &json!("Failed"),
            &json!("InternalServerError : QUERY_TIMEOUT : Your query request was running for too long."),
            &json!(0)
        )
    );
    let half = org.query_job(&format!("{NAMES} AND Name < '04'")).await;
    org.job_in(&half, &["JobComplete"]).await;
    assert!(org.get(&format!("{V}/jobs/query/{half}")).await.1.get("errorMessage").is_none());
}
