//! Calls through a connection.

mod bodies;
mod calls;
mod clients;
mod refused;
mod upstream;

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tieline_store::{Credentials, Integration};

use crate::connect::connect;
use crate::world::{Browser, World};

/// A program with an API key, and the connection that it uses.
#[derive(Clone)]
pub(crate) struct Program {
    http: reqwest::Client,
    key: String,
    /// What stands before the org's paths.
    base: String,
}

impl Program {
    /// Connects the local org, and makes a key.
    async fn connected(world: &World, owner: &mut Browser) -> Self {
        let integration = connect(world, owner).await;
        let key = key(owner, "member").await;
        Self::new(world, integration["id"].as_str().unwrap(), key)
    }

    fn new(world: &World, integration: &str, key: String) -> Self {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { http, key, base: format!("{}/api/connections/{integration}/proxy", world.nodes[0].url) }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.key)
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        (answer.status(), value(answer).await)
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.call(Method::GET, path, None).await
    }
}

async fn value(answer: reqwest::Response) -> Value {
    let text = answer.text().await.unwrap();
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

async fn key(owner: &mut Browser, role: &str) -> String {
    let (status, made) = owner.post("/api/keys", json!({"name": role, "role": role})).await;
    assert_eq!(status, 201, "{made}");
    made["key"].as_str().unwrap().to_owned()
}

/// An integration with a token of its own for whatever stands there.
async fn integration_of(world: &World, instance_url: &str) -> Integration {
    let login = json!({
        "SF_CLIENT_ID": "3MVG9", "SF_ACCESS_TOKEN": "00D000000000001!upstream", "SF_INSTANCE_URL": instance_url,
        "SF_GRANT": "access_token",
    });
    let tenant = world.db.store.own();
    let credentials = Credentials::new(login.to_string().into_bytes());
    let now = tieline_auth::Clock::now(&*world.clock);
    let id = tenant.save_integration("upstream", &credentials, now).await.unwrap();
    tenant.integration(id).await.unwrap().unwrap()
}
