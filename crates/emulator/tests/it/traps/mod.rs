//! What goes wrong in a real org while somebody follows its changes: all of it can be made to happen here.

mod access;
mod jobs;
mod records;
mod schema;
mod transactions;
mod upheaval;

use reqwest::Method;
use serde_json::{Value, json};

use crate::rows::V;
use crate::{Org, answer};

impl Org {
    async fn ask_control(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let url = format!("{}/{path}", self.emulator.info().control_url);
        answer(self.http.request(method, url).json(&body).send().await.unwrap()).await
    }

    /// A control call that answers nothing.
    async fn told(&self, method: Method, path: &str, body: Value) {
        assert_eq!(self.ask_control(method, path, body.clone()).await, (204, json!("")), "{path} {body}");
    }

    /// The records that a query finds.
    async fn found(&self, resource: &str, soql: &str) -> Vec<Value> {
        let url = self.url(&format!("{V}/{resource}"));
        let token = &self.emulator.info().access_token;
        let asked = self.http.get(url).bearer_auth(token).query(&[("q", soql)]).send().await.unwrap();
        let (status, body) = answer(asked).await;
        assert_eq!(status, 200, "{body}");
        body["records"].as_array().unwrap().clone()
    }

    /// Status, code and message of a query that is refused.
    async fn refused(&self, soql: &str) -> (u16, String, String) {
        let url = self.url(&format!("{V}/query"));
        let token = &self.emulator.info().access_token;
        let asked = self.http.get(url).bearer_auth(token).query(&[("q", soql)]).send().await.unwrap();
        let (status, body) = answer(asked).await;
        let text = |key: &str| body[0][key].as_str().unwrap_or_default().to_owned();
        (status, text("errorCode"), text("message"))
    }

    /// Writes as the org itself, and answers the ids.
    async fn write(&self, writes: Value) -> Vec<String> {
        let (status, body) = self.post_control("records/write", json!({"writes": writes})).await;
        assert_eq!(status, 200, "{body}");
        ids(&body)
    }

    async fn describe(&self, object: &str) -> Value {
        self.get(&format!("{V}/sobjects/{object}/describe")).await.1
    }

    async fn field(&self, object: &str, name: &str) -> Value {
        let described = self.describe(object).await;
        described["fields"].as_array().unwrap().iter().find(|f| f["name"] == name).cloned().unwrap_or_default()
    }

    /// The whole truth about an object.
    async fn snapshot(&self, object: &str) -> Vec<Value> {
        let url = format!("{}/snapshot", self.emulator.info().control_url);
        let told = self.http.post(url).json(&json!({"objects": [object], "purged": true})).send().await.unwrap();
        let text = told.text().await.unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn ids(body: &Value) -> Vec<String> {
    body["ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect()
}

fn column(records: &[Value], name: &str) -> Vec<Value> {
    records.iter().map(|record| record[name].clone()).collect()
}
