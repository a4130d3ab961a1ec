//! The Node package (`packages/node`), built from its source and run with the real jsforce: on Node 22, 20 and 18, alone and
//! beside a broker.

use std::path::Path;
use std::process::Command;

use tieline_lambda::broker::Broker;
use tieline_lambda::orgs::{Org, Orgs};

use crate::parts::part;
use crate::project::project;
use crate::world::{SECRET, World, quick, run, system};

/// Runs a test file of the package.
fn passes(node: &str, modules: &str, file: &str, world: &World, more: &[(&str, String)]) {
    let folder = project(modules);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packages/node/test").join(file);
    let program = folder.path().join(file);
    std::fs::copy(source, &program).unwrap();
    let info = world.info();
    let mut command = Command::new(std::env::var_os(node).unwrap());
    command.args(["--test", "--test-reporter=tap"]).arg(&program).env_clear();
    command
        .env("SF_LOGIN_URL", &info.login_url)
        .env("SF_CLIENT_ID", &info.client_id)
        .env("SF_CLIENT_SECRET", &info.client_secret)
        .env("SF_USERNAME", &info.username)
        .env("SF_PRIVATE_KEY", std::fs::read_to_string(&info.private_key_file).unwrap())
        .env("SF_REFRESH_TOKEN", &info.refresh_token)
        .env("CONTROL_URL", &info.control_url)
        .envs(more.iter().map(|(name, value)| (name, value)));
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    assert!(told.contains("# pass") && !told.contains("# pass 0"), "{told}");
}

const NODES: [(&str, &str); 3] = [
    ("TIELINE_TEST_NODE", "TIELINE_TEST_NODE_MODULES"),
    ("TIELINE_TEST_NODE20", "TIELINE_TEST_NODE20_MODULES"),
    ("TIELINE_TEST_NODE18", "TIELINE_TEST_NODE18_MODULES"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_package_logs_in_by_itself() {
    if part("node", "TIELINE_TEST_NODE").is_none() {
        return;
    }
    for (node, modules) in NODES {
        let world = World::new().await;
        tokio::task::block_in_place(|| passes(node, modules, "package.test.mjs", &world, &[]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_package_asks_the_broker() {
    if part("node", "TIELINE_TEST_NODE").is_none() {
        return;
    }
    for (node, modules) in NODES {
        let world = World::new().await;
        let mut config = world.jwt();
        config.reuse = tieline_auth::Reuse::UntilRefused;
        let credentials = tieline_auth::Credentials::with(config, quick(system())).unwrap();
        let orgs = Orgs::new(system())
            .with("default", Org { credentials, api_version: "67.0".to_owned(), certificate_ends: None });
        let broker = run(Broker::new(SECRET, orgs, system())).await;
        let more = [("TIELINE_BROKER_TOKEN", SECRET.to_owned()), ("TIELINE_BROKER_PORT", broker.port.to_string())];
        tokio::task::block_in_place(|| passes(node, modules, "broker.test.mjs", &world, &more));
    }
}

/// The programs of the README, as they stand there, with a call of the handler at the end of the last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_programs_of_the_readme_work() {
    if part("node", "TIELINE_TEST_NODE").is_none() {
        return;
    }
    let world = World::new().await;
    let broker = crate::world::start(&world).await;
    let page = include_str!("../../../../packages/node/README.md");
    let programs: Vec<&str> = page.split("```js\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(programs.len(), 3);
    let ends = [
        "console.log(records.length);",
        "console.log((await conn.query('SELECT Id FROM Contact')).totalSize);",
        "console.log((await handler({ lastName: 'From a handler' })).id.length);",
    ];
    let folder = project("TIELINE_TEST_NODE_MODULES");
    for ((program, end), told) in programs.into_iter().zip(ends).zip(["3", "3", "18"]) {
        let file = folder.path().join("program.mjs");
        std::fs::write(&file, format!("{program}\n{end}\n")).unwrap();
        let info = world.info();
        let output = Command::new(std::env::var_os("TIELINE_TEST_NODE").unwrap())
            .arg(&file)
            .env_clear()
            .env("SF_LOGIN_URL", &info.login_url)
            .env("SF_CLIENT_ID", &info.client_id)
            .env("SF_CLIENT_SECRET", &info.client_secret)
            .env("SF_USERNAME", &info.username)
            .env("SF_PRIVATE_KEY_FILE", &info.private_key_file)
            .env("SF_REFRESH_TOKEN", &info.refresh_token)
            .env("TIELINE_BROKER_TOKEN", SECRET)
            .env("TIELINE_BROKER_PORT", broker.port.to_string())
            .output();
        let output = output.unwrap();
        let out = String::from_utf8_lossy(&output.stdout);
        assert_eq!(out.trim(), told, "{}", String::from_utf8_lossy(&output.stderr));
    }
}
