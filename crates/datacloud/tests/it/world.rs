//! An org with Data Cloud, and ways to reach it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tieline_auth::sealing::MasterKey;
use tieline_auth::token_store::file::FileStore;
use tieline_auth::{
    Credentials, Grant, LoginRetry, ManualClock, OrgConfig, PrivateKey, Reuse, Secret, Settings, SharedStore,
};
use tieline_datacloud::config::LIKELY_VALID;
use tieline_datacloud::{DataCloud, DataCloudTokenProvider, Options};
use tieline_emulator::{DataCloud as Tenant, Emulator, Options as OrgOptions, OrgInfo};

pub(crate) const EXCHANGE: &str = "urn:salesforce:grant-type:external:cdp";

/// What a variable of the part `hyper` names. `None` where the part was skipped on purpose, said loudly.
///
/// # Panics
/// When the part is neither there nor skipped: a suite must not pass because something is missing.
#[expect(clippy::print_stderr, reason = "a skipped test is to be seen")]
pub(crate) fn part(variable: &str) -> Option<PathBuf> {
    if std::env::var("TIELINE_TEST_SKIP").is_ok_and(|skip| skip.split(',').any(|s| s.trim() == "hyper")) {
        eprintln!("SKIPPED: this test needs `hyper`, which was skipped");
        return None;
    }
    let path = std::env::var_os(variable);
    Some(path.unwrap_or_else(|| panic!("this test needs `hyper` ({variable}): run it by `cargo xtask test`")).into())
}

pub(crate) struct World {
    org: Emulator,
    http: reqwest::Client,
    pub(crate) clock: Arc<ManualClock>,
}

impl World {
    /// Tokens alone: calls with a good token find no engine.
    pub(crate) async fn without_engine() -> Self {
        Self::start(Tenant { hyperd: None, ..Tenant::default() }).await
    }

    /// With a real Hyper; `None` where it was skipped on purpose.
    pub(crate) async fn with_engine(rows: usize) -> Option<Self> {
        let hyperd = part("TIELINE_TEST_HYPERD")?;
        Some(Self::start(Tenant { hyperd: Some(hyperd), rows }).await)
    }

    async fn start(tenant: Tenant) -> Self {
        let options = OrgOptions { contacts: 25, datacloud: Some(tenant), ..OrgOptions::default() };
        let world = Self {
            org: Emulator::start(options).await.unwrap(),
            http: tieline_auth::http::token_client().unwrap(),
            clock: Arc::new(ManualClock::at(jiff::Timestamp::UNIX_EPOCH)),
        };
        let now = world.get("clock").await["now"].as_str().unwrap().parse().unwrap();
        world.clock.set_wall(now);
        world.put("clock", json!({"now": now, "frozen": true})).await;
        world
    }

    pub(crate) fn info(&self) -> &OrgInfo {
        self.org.info()
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let url = format!("{}/{path}", self.info().control_url);
        serde_json::from_str(&self.http.get(url).send().await.unwrap().text().await.unwrap()).unwrap()
    }

    pub(crate) async fn put(&self, path: &str, body: Value) {
        self.send(reqwest::Method::PUT, path, body).await;
    }

    pub(crate) async fn post(&self, path: &str, body: Value) {
        self.send(reqwest::Method::POST, path, body).await;
    }

    async fn send(&self, method: reqwest::Method, path: &str, body: Value) {
        let url = format!("{}/{path}", self.info().control_url);
        let response = self.http.request(method, url).json(&body).send().await.unwrap();
        assert!(response.status().is_success(), "{path} {body}: {}", response.status());
    }

    /// Time passes, here and at the org.
    pub(crate) async fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
        self.put("clock", json!({"advance_seconds": seconds})).await;
    }

    /// Logins, exchanges and calls to Hyper so far, as the org counted them.
    pub(crate) async fn counts(&self) -> Counts {
        let ledger = self.get("ledger").await;
        let number = |value: &Value| value.as_u64().unwrap_or(0);
        assert_eq!(ledger["spent_refresh_tokens_replayed"], 0, "a refresh token was sent twice");
        Counts {
            logins: number(&ledger["logins"]),
            exchanges: number(&ledger["token_requests"][EXCHANGE]),
            // Those with a token that is not taken are counted apart.
            queries: number(&ledger["datacloud"]["calls"]["ExecuteQuery"]) + number(&ledger["datacloud"]["refused"]),
        }
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings {
            clock: self.clock.clone(),
            retry: LoginRetry { attempts: 3, base: Duration::from_millis(1), cap: Duration::from_millis(2) },
            ..Settings::default()
        }
    }

    /// The same, with tokens in a file of the folder.
    pub(crate) fn sharing(&self, folder: &Path, key: &MasterKey) -> Settings {
        let store = Arc::new(FileStore::new(folder.join("tokens.json")));
        Settings { store: Some(SharedStore { store, key: key.clone() }), ..self.settings() }
    }

    pub(crate) fn jwt(&self) -> Grant {
        let pem = std::fs::read_to_string(&self.info().private_key_file).unwrap();
        let key = PrivateKey::from_pem(&pem).unwrap();
        Grant::JwtBearer { username: self.info().username.clone(), key }
    }

    pub(crate) fn refresh(&self) -> Grant {
        Grant::RefreshToken { refresh_token: Secret::new(&self.info().refresh_token) }
    }

    pub(crate) fn password(&self) -> Grant {
        Grant::Password { username: self.info().username.clone(), password: Secret::new(&self.info().password) }
    }

    pub(crate) fn config(&self, grant: Grant) -> OrgConfig {
        let mut config = OrgConfig::new(&self.info().login_url, &self.info().client_id, grant).unwrap();
        config.client_secret = Some(Secret::new(&self.info().client_secret));
        config.reuse = Reuse::For(LIKELY_VALID);
        config
    }

    pub(crate) fn provider(&self, grant: Grant, settings: Settings) -> DataCloudTokenProvider {
        DataCloudTokenProvider::of(Credentials::with(self.config(grant), settings).unwrap(), None)
    }

    pub(crate) fn cloud(&self, provider: &DataCloudTokenProvider) -> DataCloud {
        let options = Options { attempts: 1, ..Options::default() };
        DataCloud::with(provider.clone(), options).unwrap()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) logins: u64,
    pub(crate) exchanges: u64,
    pub(crate) queries: u64,
}

impl std::ops::Sub for Counts {
    type Output = (u64, u64, u64);

    fn sub(self, before: Self) -> (u64, u64, u64) {
        (self.logins - before.logins, self.exchanges - before.exchanges, self.queries - before.queries)
    }
}
