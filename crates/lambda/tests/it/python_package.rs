//! The Python package (`packages/python`) with the real simple-salesforce, a broker and a local org.

use std::path::Path;
use std::process::Command;

use tieline_lambda::broker::Broker;
use tieline_lambda::orgs::{Org, Orgs};

use crate::parts::part;
use crate::world::{SECRET, World, quick, run, system};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_package_works_with_simple_salesforce() {
    let Some(python) = part("python", "TIELINE_TEST_PYTHON") else { return };
    let world = World::with_tls().await;
    let mut config = world.jwt();
    config.reuse = tieline_auth::Reuse::UntilRefused;
    let authority = world.info().ca_file.clone().unwrap();
    let http = reqwest::Client::builder()
        .add_root_certificate(reqwest::Certificate::from_pem(&std::fs::read(&authority).unwrap()).unwrap());
    let settings = tieline_auth::Settings { http: Some(http.build().unwrap()), ..quick(system()) };
    let credentials = tieline_auth::Credentials::with(config, settings).unwrap();
    let orgs = Orgs::new(system())
        .with("default", Org { credentials, api_version: "67.0".to_owned(), certificate_ends: None });
    let broker = run(Broker::new(SECRET, orgs, system())).await;
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packages/python");
    let output = tokio::task::block_in_place(|| {
        Command::new(python)
            .arg(package.join("test/check.py"))
            .env_clear()
            .env("PYTHONPATH", package.join("src"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("README", package.join("README.md"))
            .env("REQUESTS_CA_BUNDLE", authority)
            .env("CONTROL_URL", &world.info().control_url)
            .env("TIELINE_BROKER_TOKEN", SECRET)
            .env("TIELINE_BROKER_PORT", broker.port.to_string())
            .output()
            .unwrap()
    });
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(told.trim(), "ok", "{}", String::from_utf8_lossy(&output.stderr));
}
