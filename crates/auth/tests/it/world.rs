//! An org, ways to log in to it, and a store that does what a test wants.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tieline_auth::sealing::MasterKey;
use tieline_auth::token_store::memory::MemoryStore;
use tieline_auth::token_store::{Answer, Entry, Lease, Swap, Take, TokenStore, TokenStoreError};
use tieline_auth::{
    App, Clock, Credentials, Event, EventKind, Grant, LoginRetry, ManualClock, OrgConfig, PrivateKey, Secret, Settings,
    SharedStore, SystemClock,
};
use tieline_emulator::{Emulator, Options, OrgInfo};

pub(crate) struct World {
    org: Emulator,
    pub(crate) http: reqwest::Client,
}

/// Everything that any library logs in this suite, at the finest level, goes through here unmasked: a credential in it
/// ends the whole run (scenario 37).
struct Watch(Vec<u8>);

impl std::io::Write for Watch {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let text = String::from_utf8_lossy(&self.0);
        LINES.fetch_add(1, Ordering::Relaxed);
        if let Some(found) = tieline_auth::redact::find(&text) {
            let at = &text[..found.start];
            eprintln!("s37: a credential was logged after: {at}");
            std::process::abort();
        }
    }
}

static LINES: AtomicUsize = AtomicUsize::new(0);

/// Events that were looked at so far.
pub(crate) fn watched_lines() -> usize {
    LINES.load(Ordering::Relaxed)
}

pub(crate) fn watch_logs() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        // The org itself may say what it likes: it is not part of the program.
        let filter = tracing_subscriber::EnvFilter::new("trace,tieline_emulator=off");
        let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false);
        subscriber.with_writer(|| Watch(Vec::new())).init();
    });
}

impl World {
    pub(crate) async fn new() -> Self {
        watch_logs();
        let options = Options {
            contacts: 1,
            callback_urls: vec!["http://localhost:1717/OauthRedirect".to_owned()],
            ..Options::default()
        };
        World { org: Emulator::start(options).await.unwrap(), http: tieline_auth::http::token_client().unwrap() }
    }

    /// An org whose app replaces refresh tokens.
    pub(crate) async fn rotating() -> Self {
        let world = Self::new().await;
        world.put("app", json!({"rotation": true})).await;
        world
    }

    pub(crate) fn info(&self) -> &OrgInfo {
        self.org.info()
    }

    pub(crate) fn app(&self) -> App {
        let mut app = App::new(&self.info().login_url, &self.info().client_id).unwrap();
        app.client_secret = Some(Secret::new(&self.info().client_secret));
        app
    }

    pub(crate) fn config(&self, grant: Grant) -> OrgConfig {
        let mut config = OrgConfig::new(&self.info().login_url, &self.info().client_id, grant).unwrap();
        config.client_secret = Some(Secret::new(&self.info().client_secret));
        config
    }

    pub(crate) fn jwt(&self) -> OrgConfig {
        let pem = std::fs::read_to_string(&self.info().private_key_file).unwrap();
        let key = PrivateKey::from_pem(&pem).unwrap();
        self.config(Grant::JwtBearer { username: self.info().username.clone(), key })
    }

    pub(crate) fn refresh(&self) -> OrgConfig {
        self.config(Grant::RefreshToken { refresh_token: Secret::new(&self.info().refresh_token) })
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        let url = format!("{}/{path}", self.info().control_url);
        let response = self.http.post(url).json(&body).send().await.unwrap();
        assert!(response.status().is_success(), "{path}: {}", response.status());
        serde_json::from_str(&response.text().await.unwrap()).unwrap_or(Value::Null)
    }

    pub(crate) async fn put(&self, path: &str, body: Value) {
        let url = format!("{}/{path}", self.info().control_url);
        let response = self.http.put(url).json(&body).send().await.unwrap();
        assert!(response.status().is_success(), "{path} {body}: {}", response.status());
    }

    /// From now on the token endpoint does this, so often.
    pub(crate) async fn token_fault(&self, mut fault: Value, times: u64) {
        fault["path"] = json!("/services/oauth2/token");
        fault["times"] = json!(times);
        self.post("faults", fault).await;
    }

    /// Waits until a request has met a fault: somebody is at the org now.
    pub(crate) async fn fault_met(&self) {
        let mut waited = 0;
        while self.ledger().await["faults_injected"] == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
            waited += 1;
            assert!(waited < 4_000, "nobody came");
        }
    }

    pub(crate) async fn no_faults(&self) {
        let url = format!("{}/faults", self.info().control_url);
        assert!(self.http.delete(url).send().await.unwrap().status().is_success());
    }

    /// What the org itself counted.
    pub(crate) async fn ledger(&self) -> Value {
        let url = format!("{}/ledger", self.info().control_url);
        serde_json::from_str(&self.http.get(url).send().await.unwrap().text().await.unwrap()).unwrap()
    }

    pub(crate) async fn token_requests(&self) -> u64 {
        self.ledger().await["token_requests"].as_object().unwrap().values().filter_map(Value::as_u64).sum()
    }

    /// The org does not know these tokens any more.
    pub(crate) async fn end_sessions(&self) {
        self.post("tokens/revoke", json!({"all": true})).await;
    }

    /// The org takes this access token.
    pub(crate) async fn takes(&self, token: &str) -> bool {
        let url = format!("{}/services/data/v67.0/limits", self.info().instance_url);
        self.http.get(url).bearer_auth(token).send().await.unwrap().status() == 200
    }
}

/// An org behind its My Domain: the name leads to this machine, and the certificate is another's.
pub(crate) async fn my_domain() -> (Emulator, OrgConfig, reqwest::Client) {
    watch_logs();
    let org = Emulator::start(Options { contacts: 0, tls: true, ..Options::default() }).await.unwrap();
    let port = org.info().login_url.rsplit(':').next().unwrap().parse::<u16>().unwrap();
    let http = reqwest::Client::builder()
        .resolve("acme.my.salesforce.com", ([127, 0, 0, 1], port).into())
        .tls_danger_accept_invalid_certs(true)
        .build()
        .unwrap();
    let pem = std::fs::read_to_string(&org.info().private_key_file).unwrap();
    let key = PrivateKey::from_pem(&pem).unwrap();
    let grant = Grant::JwtBearer { username: org.info().username.clone(), key };
    let domain = format!("https://acme.my.salesforce.com:{port}");
    let config = OrgConfig::new(&domain, &org.info().client_id, grant).unwrap();
    (org, config, http)
}

/// A fleet's shared store with a key, for several `Credentials` in one test.
pub(crate) fn shared(store: Arc<dyn TokenStore>) -> SharedStore {
    static KEY: std::sync::OnceLock<MasterKey> = std::sync::OnceLock::new();
    let key = KEY.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        MasterKey::load_or_create(&folder.path().join("key")).unwrap()
    });
    SharedStore { store, key: key.clone() }
}

/// Patience of milliseconds.
pub(crate) fn quick() -> Settings {
    Settings {
        retry: LoginRetry { attempts: 3, base: Duration::from_millis(2), cap: Duration::from_millis(20) },
        lease: Duration::from_millis(600),
        ..Settings::default()
    }
}

/// The same over a shared store.
pub(crate) fn over(store: Arc<dyn TokenStore>) -> Settings {
    Settings { store: Some(shared(store)), ..quick() }
}

/// The same with a clock that stands still.
pub(crate) fn at(clock: &Arc<ManualClock>) -> Settings {
    Settings { clock: clock.clone(), ..quick() }
}

pub(crate) fn manual() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(SystemClock::default().now()))
}

pub(crate) fn open(config: OrgConfig, settings: Settings) -> Credentials {
    Credentials::with(config, settings).unwrap()
}

pub(crate) async fn text(credentials: &Credentials) -> String {
    credentials.token().await.unwrap().access_token().expose().to_owned()
}

pub(crate) fn kinds(events: &mut tokio::sync::broadcast::Receiver<Event>) -> Vec<EventKind> {
    std::iter::from_fn(|| events.try_recv().ok()).map(|event| event.kind).collect()
}

/// A memory store that counts, fails, and stops at a step for good: what a process that dies there leaves behind.
#[derive(Debug)]
pub(crate) struct Wilful {
    pub(crate) inner: MemoryStore,
    /// Calls left before the store is out of reach; then so many fail.
    pub(crate) failures: AtomicUsize,
    pub(crate) swaps_until_stop: AtomicUsize,
    pub(crate) swaps: AtomicUsize,
    /// What happens between a look at the store and the lease.
    pub(crate) before_lease: tokio::sync::Mutex<Option<BeforeLease>>,
}

pub(crate) struct BeforeLease(pub(crate) futures_util::future::BoxFuture<'static, ()>);

impl std::fmt::Debug for BeforeLease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BeforeLease")
    }
}

impl Wilful {
    pub(crate) fn over(inner: MemoryStore) -> Arc<Self> {
        Arc::new(Self {
            inner,
            failures: AtomicUsize::new(0),
            swaps_until_stop: AtomicUsize::new(usize::MAX),
            swaps: AtomicUsize::new(0),
            before_lease: tokio::sync::Mutex::default(),
        })
    }

    fn reach(&self) -> Result<(), TokenStoreError> {
        let failing =
            self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if failing {
            return Err(TokenStoreError { store: "wilful".to_owned(), reason: "out of reach".to_owned() });
        }
        Ok(())
    }
}

impl TokenStore for Wilful {
    fn describe(&self) -> String {
        "wilful".to_owned()
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn load<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Entry>> {
        Box::pin(async move {
            self.reach()?;
            self.inner.load(key).await
        })
    }

    fn lease<'a>(&'a self, key: &'a str, owner: &'a str, time: Duration, take: Take) -> Answer<'a, Lease> {
        Box::pin(async move {
            self.reach()?;
            let before = self.before_lease.lock().await.take();
            if let Some(BeforeLease(before)) = before {
                before.await;
            }
            self.inner.lease(key, owner, time, take).await
        })
    }

    fn compare_and_swap<'a>(&'a self, key: &'a str, expected: u64, fence: u64, sealed: &'a [u8]) -> Answer<'a, Swap> {
        Box::pin(async move {
            self.reach()?;
            if self.swaps.fetch_add(1, Ordering::SeqCst) >= self.swaps_until_stop.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            self.inner.compare_and_swap(key, expected, fence, sealed).await
        })
    }

    fn release<'a>(&'a self, key: &'a str, owner: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            self.reach()?;
            self.inner.release(key, owner).await
        })
    }
}
