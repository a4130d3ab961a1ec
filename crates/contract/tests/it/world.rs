//! An emulator and the suite on it.

use serde_json::Value;
use tieline_auth::{Grant, OrgConfig, PrivateKey, Secret};
use tieline_contract::{Finding, Report, Settings, run};
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

    fn with_secret(&self, grant: Grant) -> OrgConfig {
        let mut config = OrgConfig::new(&self.info().login_url, &self.info().client_id, grant).unwrap();
        config.client_secret = Some(Secret::new(&self.info().client_secret));
        config
    }

    pub(crate) fn jwt(&self) -> OrgConfig {
        let pem = std::fs::read_to_string(&self.info().private_key_file).unwrap();
        let username = self.info().username.clone();
        self.with_secret(Grant::JwtBearer { username, key: PrivateKey::from_pem(&pem).unwrap() })
    }

    pub(crate) fn refresh(&self) -> OrgConfig {
        self.with_secret(Grant::RefreshToken { refresh_token: Secret::new(&self.info().refresh_token) })
    }

    pub(crate) fn client_credentials(&self) -> OrgConfig {
        self.with_secret(Grant::ClientCredentials)
    }

    pub(crate) fn access_token(&self) -> OrgConfig {
        let instance_url = self.info().instance_url.parse().unwrap();
        let grant = Grant::AccessToken { access_token: Secret::new(&self.info().access_token), instance_url };
        OrgConfig::new(&self.info().login_url, "", grant).unwrap()
    }

    /// All that the emulator allows.
    pub(crate) fn everything(&self) -> Settings {
        let control = Some(self.info().control_url.parse().unwrap());
        Settings { deploy: true, api_version: Some("67.0".to_owned()), control, ..Settings::default() }
    }

    pub(crate) async fn control(&self, method: reqwest::Method, path: &str, body: Value) {
        let url = format!("{}/{path}", self.info().control_url);
        let answer = self.http.request(method, url).json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
    }

    /// What the org itself counted.
    pub(crate) async fn ledger(&self) -> Value {
        let url = format!("{}/ledger", self.info().control_url);
        serde_json::from_slice(&self.http.get(url).send().await.unwrap().bytes().await.unwrap()).unwrap()
    }

    pub(crate) async fn run(&self, config: OrgConfig, settings: &Settings) -> Report {
        run(config, settings, |_| {}).await.unwrap()
    }

    pub(crate) async fn query(&self, soql: &str) -> Value {
        self.ask("query", soql).await
    }

    /// Deleted records too.
    pub(crate) async fn query_all(&self, soql: &str) -> Value {
        self.ask("queryAll", soql).await
    }

    async fn ask(&self, resource: &str, soql: &str) -> Value {
        let url = format!("{}/services/data/v67.0/{resource}", self.info().instance_url);
        let request = self.http.get(url).query(&[("q", soql)]).bearer_auth(&self.info().access_token);
        serde_json::from_slice(&request.send().await.unwrap().bytes().await.unwrap()).unwrap()
    }
}

/// What came out so, as lines.
pub(crate) fn lines(report: &Report, outcome: &str) -> Vec<String> {
    report.findings.iter().filter(|finding| finding.outcome() == outcome).map(Finding::lines).collect()
}

pub(crate) fn names(report: &Report, outcome: &str) -> Vec<&'static str> {
    report.findings.iter().filter(|finding| finding.outcome() == outcome).map(|finding| finding.name).collect()
}
