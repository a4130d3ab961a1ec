//! An org and the ways to log in to it.

use std::time::Duration;

use serde_json::{Value, json};
use tieline_auth::{Credentials, Grant, OrgConfig, PrivateKey, Secret};
use tieline_client::{Connection, RetryPolicy};
use tieline_emulator::{Emulator, Options, OrgInfo};

pub(crate) struct World {
    org: Emulator,
    http: reqwest::Client,
}

impl World {
    pub(crate) async fn new(contacts: usize) -> Self {
        let org = Emulator::start(Options { contacts, ..Options::default() }).await.unwrap();
        World { org, http: reqwest::Client::builder().build().unwrap() }
    }

    pub(crate) fn info(&self) -> &OrgInfo {
        self.org.info()
    }

    pub(crate) fn jwt(&self) -> OrgConfig {
        let pem = std::fs::read_to_string(&self.info().private_key_file).unwrap();
        let grant =
            Grant::JwtBearer { username: self.info().username.clone(), key: PrivateKey::from_pem(&pem).unwrap() };
        OrgConfig::new(&self.info().login_url, &self.info().client_id, grant).unwrap()
    }

    pub(crate) fn refresh(&self) -> OrgConfig {
        let grant = Grant::RefreshToken { refresh_token: Secret::new(&self.info().refresh_token) };
        let mut config = OrgConfig::new(&self.info().login_url, &self.info().client_id, grant).unwrap();
        config.client_secret = Some(Secret::new(&self.info().client_secret));
        config
    }

    pub(crate) fn connect(&self, config: OrgConfig) -> Connection {
        let quick = RetryPolicy { attempts: 4, base: Duration::from_millis(1), cap: Duration::from_millis(20) };
        Connection::with(
            Credentials::new(config).unwrap(),
            tieline_client::Options { api_version: "67.0".into(), retry: quick, ..Default::default() },
        )
        .unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: Value) {
        let url = format!("{}/{path}", self.info().control_url);
        assert!(self.http.post(url).json(&body).send().await.unwrap().status().is_success(), "{path}");
    }

    pub(crate) async fn put(&self, path: &str, body: Value) {
        let url = format!("{}/{path}", self.info().control_url);
        assert!(self.http.put(url).json(&body).send().await.unwrap().status().is_success(), "{path}");
    }

    pub(crate) async fn delete(&self, path: &str) {
        let url = format!("{}/{path}", self.info().control_url);
        assert!(self.http.delete(url).send().await.unwrap().status().is_success(), "{path}");
    }

    pub(crate) async fn revoke_all(&self) {
        self.post("tokens/revoke", json!({"all": true})).await;
    }

    /// What the org itself counted.
    pub(crate) async fn ledger(&self) -> Value {
        let url = format!("{}/ledger", self.info().control_url);
        let text = self.http.get(url).send().await.unwrap().text().await.unwrap();
        serde_json::from_str(&text).unwrap()
    }

    pub(crate) async fn token_requests(&self) -> u64 {
        self.ledger().await["token_requests"].as_object().unwrap().values().filter_map(Value::as_u64).sum()
    }
}
