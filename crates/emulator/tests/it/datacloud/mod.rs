//! Data Cloud by plain HTTP and hand-made gRPC.

mod grpc;
mod ingest;
mod process;
mod query;
mod tenant;
mod token;

use std::path::PathBuf;

use serde_json::{Value, json};
use tieline_emulator::{DataCloud, Emulator, Options};

use crate::{Org, answer};
use grpc::{Answer, frame, query};

const GRANT: &str = "urn:salesforce:grant-type:external:cdp";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// The program that a test needs; nothing if the part was skipped on purpose.
#[expect(clippy::print_stderr, reason = "a test says aloud what it skips")]
fn hyperd() -> Option<PathBuf> {
    if std::env::var("TIELINE_TEST_SKIP").is_ok_and(|skip| skip.split(',').any(|s| s.trim() == "hyper")) {
        eprintln!("SKIPPED: this test needs `hyper`, which was skipped");
        return None;
    }
    let path = std::env::var_os("TIELINE_TEST_HYPERD").map(PathBuf::from);
    let path = path.unwrap_or_else(|| {
        panic!("this test needs `hyper` (TIELINE_TEST_HYPERD): run it by `cargo xtask test`, which installs it")
    });
    assert!(path.exists(), "TIELINE_TEST_HYPERD names {}, which is not there", path.display());
    Some(path)
}

impl Org {
    /// With a Data Cloud whose queries nobody answers.
    async fn with_tenant() -> Self {
        Self::with(DataCloud { hyperd: None, rows: 0 }).await
    }

    /// With a Data Cloud on a real Hyper; nothing if that was skipped on purpose.
    async fn with_hyper(rows: usize) -> Option<Self> {
        Some(Self::with(DataCloud { hyperd: Some(hyperd()?), rows }).await)
    }

    async fn with(datacloud: DataCloud) -> Self {
        let options = Options { contacts: 30, datacloud: Some(datacloud), ..Options::default() };
        let emulator = Emulator::start(options).await.unwrap();
        Org { emulator, http: reqwest::Client::builder().build().unwrap() }
    }

    fn tenant(&self) -> &str {
        self.emulator.info().datacloud_url.as_deref().unwrap()
    }

    /// Exchanges a core token.
    async fn exchanged(&self, core: &str) -> (u16, Value) {
        let form = [("grant_type", GRANT), ("subject_token", core), ("subject_token_type", ACCESS_TOKEN)];
        answer(self.http.post(self.url("/services/a360/token")).form(&form).send().await.unwrap()).await
    }

    /// A Data Cloud token of the admin's.
    async fn datacloud_token(&self) -> String {
        let (status, body) = self.exchanged(&self.emulator.info().access_token).await;
        assert_eq!(status, 200, "{body}");
        body["access_token"].as_str().unwrap().to_owned()
    }

    async fn execute(&self, token: &str, sql: &str) -> Answer {
        self.call_grpc("ExecuteQuery", token, &query(sql)).await
    }

    async fn call_grpc(&self, method: &str, token: &str, message: &[u8]) -> Answer {
        let bearer = format!("Bearer {token}");
        grpc::call(self.tenant(), method, &[("authorization", &bearer)], frame(message)).await
    }

    async fn advance(&self, seconds: i64) {
        let url = format!("{}/clock", self.emulator.info().control_url);
        let response = self.http.put(url).json(&json!({"advance_seconds": seconds})).send().await.unwrap();
        assert_eq!(response.status(), 200);
    }

    async fn fault(&self, fault: Value) {
        let url = format!("{}/faults", self.emulator.info().control_url);
        assert_eq!(self.http.post(url).json(&fault).send().await.unwrap().status(), 204);
    }
}
