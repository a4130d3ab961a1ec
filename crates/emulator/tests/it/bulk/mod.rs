//! The Bulk APIs by plain HTTP.

mod classic;
mod ingest;
mod processing;
mod query;

use std::time::{Duration, Instant};

use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::Org;

const V: &str = "/services/data/v67.0";

struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, text: response.text().await.unwrap() }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Status, code and message of the one error.
    fn error(&self) -> (u16, String, String) {
        let errors = self.json();
        assert_eq!(errors.as_array().map(Vec::len), Some(1), "{errors}");
        let text = |key: &str| errors[0][key].as_str().unwrap().to_owned();
        (self.status, text("errorCode"), text("message"))
    }
}

fn error(status: u16, code: &str, message: &str) -> (u16, String, String) {
    (status, code.to_owned(), message.to_owned())
}

/// An org, with the calls that these tests make.
struct Bulk(Org);

impl std::ops::Deref for Bulk {
    type Target = Org;

    fn deref(&self) -> &Org {
        &self.0
    }
}

impl Bulk {
    async fn start() -> Self {
        Bulk(Org::start().await)
    }

    fn call(&self, method: Method, path: &str) -> RequestBuilder {
        let token = &self.emulator.info().access_token;
        self.http.request(method, self.url(&format!("{V}{path}"))).bearer_auth(token)
    }

    async fn read(&self, path: &str) -> Answer {
        Answer::of(self.call(Method::GET, path)).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        Answer::of(self.call(Method::POST, path).json(&body)).await
    }

    async fn state(&self, path: &str, state: &str) -> Answer {
        Answer::of(self.call(Method::PATCH, path).json(&json!({"state": state}))).await
    }

    async fn limits(&self, body: Value) {
        let url = format!("{}/limits", self.emulator.info().control_url);
        assert_eq!(Answer::of(self.http.put(url).json(&body)).await.status, 204, "{body}");
    }

    async fn put(&self, job: &str, csv: impl Into<reqwest::Body>) -> Answer {
        let request = self.call(Method::PUT, &format!("/jobs/ingest/{job}/batches"));
        Answer::of(request.header("content-type", "text/csv; charset=UTF-8").body(csv.into())).await
    }

    /// A job with its file, closed.
    async fn begin(&self, create: Value, csv: &str) -> String {
        let created = self.post("/jobs/ingest", create).await;
        assert_eq!(created.status, 200, "{}", created.text);
        let id = created.json()["id"].as_str().unwrap().to_owned();
        let put = self.put(&id, csv.to_owned()).await;
        assert_eq!((put.status, put.text.as_str()), (201, ""));
        let closed = self.state(&format!("/jobs/ingest/{id}"), "UploadComplete").await;
        assert_eq!((closed.status, &closed.json()["state"]), (200, &json!("UploadComplete")));
        id
    }

    /// The job when it satisfies a condition.
    async fn job_when(&self, path: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let job = self.read(path).await.json();
            if condition(&job) {
                return job;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{job}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn finished(&self, path: &str) -> Value {
        let ends = ["JobComplete", "Failed", "Aborted"];
        self.job_when(path, |job| ends.contains(&job["state"].as_str().unwrap())).await
    }

    /// A whole ingest job; the answer is the finished job.
    async fn ingest(&self, create: Value, csv: &str) -> Value {
        let id = self.begin(create, csv).await;
        self.finished(&format!("/jobs/ingest/{id}")).await
    }

    async fn results(&self, job: &Value, part: &str) -> String {
        let answer = self.read(&format!("/jobs/ingest/{}/{part}", job["id"].as_str().unwrap())).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, "text/csv"), "{}", answer.text);
        answer.text
    }

    async fn soql(&self, soql: &str) -> Vec<Value> {
        let answer = Answer::of(self.call(Method::GET, "/query").query(&[("q", soql)])).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()["records"].as_array().unwrap().clone()
    }
}
