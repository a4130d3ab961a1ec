//! A local org, and a broker before it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tieline_auth::{Clock, Credentials, Grant, LoginRetry, OrgConfig, PrivateKey, Secret, Settings, SystemClock};
use tieline_emulator::{Emulator, Options, OrgInfo};
use tieline_lambda::broker::{Broker, Listeners, serve};
use tieline_lambda::orgs::{Org, Orgs};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) const SECRET: &str = "the broker's own secret, never sent elsewhere";

pub(crate) struct World {
    pub(crate) org: Emulator,
    pub(crate) http: reqwest::Client,
}

pub(crate) struct Running {
    pub(crate) port: u16,
    pub(crate) broker: Broker,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

pub(crate) fn system() -> Arc<dyn Clock> {
    Arc::new(SystemClock::default())
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::start(false).await
    }

    /// Over HTTPS: simple-salesforce speaks nothing else.
    pub(crate) async fn with_tls() -> Self {
        Self::start(true).await
    }

    async fn start(tls: bool) -> Self {
        let org = Emulator::start(Options { contacts: 3, tls, ..Options::default() }).await.unwrap();
        let mut http = reqwest::Client::builder().pool_max_idle_per_host(0);
        if let Some(file) = &org.info().ca_file {
            http = http.add_root_certificate(reqwest::Certificate::from_pem(&std::fs::read(file).unwrap()).unwrap());
        }
        World { http: http.build().unwrap(), org }
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

    pub(crate) fn refresh(&self, token: &str) -> OrgConfig {
        let grant = Grant::RefreshToken { refresh_token: Secret::new(token) };
        let mut config = OrgConfig::new(&self.info().login_url, &self.info().client_id, grant).unwrap();
        config.client_secret = Some(Secret::new(&self.info().client_secret));
        config
    }

    pub(crate) async fn control(&self, method: &str, path: &str, body: Value) -> Value {
        let url = format!("{}/{path}", self.info().control_url);
        let answer = self.http.request(method.parse().unwrap(), url).json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{method} {path}");
        serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default()
    }

    /// The next `times` token requests meet this.
    pub(crate) async fn token_fault(&self, mut fault: Value, times: u32) {
        fault["path"] = "/services/oauth2/token".into();
        fault["times"] = times.into();
        self.control("POST", "faults", fault).await;
    }

    pub(crate) async fn logins(&self) -> u64 {
        self.control("GET", "ledger", Value::Null).await["logins"].as_u64().unwrap()
    }

    pub(crate) async fn token_requests(&self) -> u64 {
        let ledger = self.control("GET", "ledger", Value::Null).await;
        ledger["token_requests"].as_object().unwrap().values().filter_map(Value::as_u64).sum()
    }

    /// What the org says to a call with this token.
    pub(crate) async fn call(&self, token: &str) -> u16 {
        let url = format!("{}/services/data/v67.0/limits", self.info().instance_url.trim_end_matches('/'));
        self.http.get(url).bearer_auth(token).send().await.unwrap().status().as_u16()
    }
}

pub(crate) fn quick(clock: Arc<dyn Clock>) -> Settings {
    let retry = LoginRetry { attempts: 2, base: Duration::from_millis(1), cap: Duration::from_millis(5) };
    Settings { clock, retry, ..Settings::default() }
}

pub(crate) fn org(config: OrgConfig, clock: Arc<dyn Clock>) -> Org {
    Org {
        credentials: Credentials::with(config, quick(clock)).unwrap(),
        api_version: "67.0".to_owned(),
        certificate_ends: None,
    }
}

pub(crate) async fn run(broker: Broker) -> Running {
    let listeners = Listeners::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let port = listeners.port();
    let (stop, stopped) = oneshot::channel();
    let served = tokio::spawn(serve(listeners, broker.clone(), async { stopped.await.unwrap_or(()) }));
    Running { port, broker, stop, served }
}

/// A broker for one org, `default`, by JWT.
pub(crate) async fn start(world: &World) -> Running {
    let orgs = Orgs::new(system()).with("default", org(world.jwt(), system()));
    run(Broker::new(SECRET, orgs, system())).await
}

impl Running {
    pub(crate) fn url(&self, rest: &str) -> String {
        format!("http://localhost:{}{rest}", self.port)
    }

    /// Status, `Retry-After`, body.
    pub(crate) async fn ask(&self, http: &reqwest::Client, query: &str) -> (u16, Option<u64>, Value) {
        let url = self.url(&format!("/v1/token{query}"));
        let answer = http.get(url).header("X-Tieline-Token", SECRET).send().await.unwrap();
        let status = answer.status().as_u16();
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let after = answer.headers().get("retry-after").map(|text| text.to_str().unwrap().parse().unwrap());
        let text = answer.text().await.unwrap();
        (status, after, serde_json::from_str(&text).unwrap_or_else(|_| json!(text)))
    }

    pub(crate) async fn token(&self, http: &reqwest::Client, query: &str) -> String {
        let (status, _, body) = self.ask(http, query).await;
        assert_eq!(status, 200, "{body}");
        body["access_token"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn stop(self) {
        let _ = self.stop.send(());
        self.served.await.unwrap();
    }
}

pub(crate) fn hex(token: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
