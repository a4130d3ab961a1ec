//! An org whose clock the test sets, a database, and the syncer between them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tieline_auth::{Credentials, Grant, ManualClock, OrgConfig, Secret};
use tieline_client::{Connection, RetryPolicy};
use tieline_emulator::{Emulator, Options};
use tieline_store::{Checkpoint, Contact, Store, Tenant, Uuid};
use tieline_sync::engine::{Asked, Engine, EngineCare};
use tieline_sync::{Comparison, MappingReport, Progress, SyncError, Window, compare_contacts};

/// Where the tests' time begins: not now, so that nothing can lean on the machine's clock.
pub(crate) fn start() -> Timestamp {
    "2026-06-01T12:00:00Z".parse().unwrap()
}

pub(crate) const WINDOW: Window = Window { lookback: Duration::from_secs(600), lag: Duration::from_secs(60) };

pub(crate) struct World {
    org: Emulator,
    http: reqwest::Client,
    pub(crate) connection: Connection,
    pub(crate) syncer: Syncer,
    folder: tempfile::TempDir,
}

/// What keeps the contacts in step.
pub(crate) struct Syncer {
    connection: Connection,
    pub(crate) store: Tenant,
    pub(crate) integration: Uuid,
    window: Window,
    pub(crate) clock: Arc<ManualClock>,
}

impl Syncer {
    pub(crate) async fn run(&self, progress: &mut (dyn FnMut(Progress) + Send)) -> Result<MappingReport, SyncError> {
        // A page is a step: what a test breaks, it breaks between two of them.
        let care = EngineCare { window: self.window, step_rows: 1, ..EngineCare::default() };
        let (connection, store, clock) = (self.connection.clone(), self.store.clone(), self.clock.clone());
        let engine = Engine { connection, store, care, clock };
        engine.run(self.integration, Asked::default(), progress).await
    }

    pub(crate) async fn checkpoint(&self) -> Checkpoint {
        self.store.contacts_mapping(self.integration).await.unwrap().unwrap().standing.checkpoint
    }
}

/// A connection that loses no time.
pub(crate) fn connect(login_url: &str, client_id: &str, client_secret: &str, refresh_token: &str) -> Connection {
    let grant = Grant::RefreshToken { refresh_token: Secret::new(refresh_token) };
    let mut config = OrgConfig::new(login_url, client_id, grant).unwrap();
    config.client_secret = Some(Secret::new(client_secret));
    let quick = RetryPolicy { attempts: 3, base: Duration::from_millis(1), cap: Duration::from_millis(5) };
    Connection::with(
        Credentials::new(config).unwrap(),
        tieline_client::Options { api_version: "67.0".into(), retry: quick, ..Default::default() },
    )
    .unwrap()
}

impl World {
    /// An empty org at [`start`].
    pub(crate) async fn new() -> Self {
        Self::with(None, WINDOW).await
    }

    pub(crate) async fn with(csv: Option<&str>, window: Window) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data: Option<PathBuf> = csv.map(|csv| {
            let data = folder.path().join("data");
            std::fs::create_dir(&data).unwrap();
            std::fs::write(data.join("Contact.csv"), csv).unwrap();
            data
        });
        let org = Emulator::start(Options { contacts: 0, data, ..Options::default() }).await.unwrap();
        let info = org.info();
        let connection = connect(&info.login_url, &info.client_id, &info.client_secret, &info.refresh_token);
        let store = Store::open(&folder.path().join("t.db")).await.unwrap().own();
        let integration =
            store.save_integration("t", &tieline_store::Credentials::new(b"{}".to_vec()), start()).await.unwrap();
        let clock = Arc::new(ManualClock::at(start()));
        let syncer = Syncer { connection: connection.clone(), store, integration, window, clock };
        let world = World { org, http: reqwest::Client::builder().build().unwrap(), connection, syncer, folder };
        world.at(0).await;
        world
    }

    /// How to log in.
    pub(crate) fn info(&self) -> &tieline_emulator::OrgInfo {
        self.org.info()
    }

    /// The database's file.
    pub(crate) fn database(&self) -> PathBuf {
        self.folder.path().join("t.db")
    }

    pub(crate) async fn control(&self, method: reqwest::Method, path: &str, body: Value) {
        let url = format!("{}/{path}", self.org.info().control_url);
        let answer = self.http.request(method, url).json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
    }

    /// The org's clock stands `seconds` after the start.
    pub(crate) async fn at(&self, seconds: i64) {
        let now = start() + SignedDuration::from_secs(seconds);
        self.control(reqwest::Method::PUT, "clock", json!({"now": now.to_string(), "frozen": true})).await;
    }

    /// Writes become visible so many seconds after they were stamped.
    pub(crate) async fn commit_delay(&self, seconds: i64) {
        self.control(reqwest::Method::PUT, "commit-delay", json!({"seconds": seconds})).await;
    }

    pub(crate) async fn fault(&self, fault: Value) {
        self.control(reqwest::Method::POST, "faults", fault).await;
    }

    pub(crate) async fn create(&self, name: &str) -> String {
        self.connection.create("Contact", &json!({"LastName": name})).await.unwrap()
    }

    pub(crate) async fn sync(&self) -> Result<MappingReport, SyncError> {
        self.syncer.run(&mut |_| {}).await
    }

    pub(crate) async fn compare(&self) -> Comparison {
        compare_contacts(&self.connection, &self.syncer.store).await.unwrap()
    }

    /// All rows by source id; fails if one stands twice.
    pub(crate) async fn rows(&self) -> BTreeMap<String, Contact> {
        let rows: Vec<Contact> = self.syncer.store.contacts().try_collect().await.unwrap();
        let count = rows.len();
        let rows: BTreeMap<String, Contact> = rows.into_iter().map(|c| (c.row.source_id.clone(), c)).collect();
        assert_eq!(rows.len(), count, "a row stands twice");
        rows
    }

    pub(crate) async fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.rows().await.into_values().filter_map(|c| c.row.last_name).collect();
        names.sort();
        names
    }

    /// Seconds from the start to the checkpoint.
    pub(crate) async fn through(&self) -> Option<i64> {
        self.syncer.checkpoint().await.through.map(|t| t.duration_since(start()).as_secs())
    }
}
