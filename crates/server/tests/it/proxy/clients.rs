//! Real clients, unchanged: the proxy is their instance, an API key their access token.

use std::path::Path;

use super::Program;
use crate::database::Db;
use crate::parts::part;
use crate::world::World;

async fn passes(program: &Path, script: &str) {
    let world = World::new(Db::sqlite().await).await;
    let mut owner = world.owner().await;
    let caller = Program::connected(&world, &mut owner).await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script);
    let mut command = tokio::process::Command::new(program);
    command.arg(script).env("PROXY_URL", &caller.base).env("PROXY_KEY", &caller.key).env("EXPECT_CONTACTS", "20");
    let output = command.output().await.unwrap();
    let (told, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && told.trim().ends_with("ok"), "{told}{error}");
    let ledger = world.ledger().await;
    assert!(ledger["records_written"].as_u64().unwrap() >= 3, "{ledger}");
}

#[tokio::test]
async fn jsforce_works_through_the_proxy() {
    let Some(node) = part("node", "TIELINE_TEST_NODE") else { return };
    passes(&node, "jsforce_proxy.mjs").await;
}

#[tokio::test]
async fn simple_salesforce_works_through_the_proxy() {
    let Some(python) = part("python", "TIELINE_TEST_PYTHON") else { return };
    passes(&python, "simple_salesforce_proxy.py").await;
}
