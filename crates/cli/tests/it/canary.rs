//! Scenario 37, for the service: its whole life is lived with secrets that are known, and then looked for in all that it
//! wrote, answered, sent and kept. Of what it keeps, nothing is more than sealed or a digest.

mod life;
mod search;
mod wire;

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::nodes::Plan;
use crate::org::{Org, run, tieline};
use crate::servers::Postgres;
use crate::telemetry::Receiver;
use life::Life;
use search::Secrets;
use wire::Wire;

/// A secret that nobody else has, of letters and digits.
fn random(before: &str) -> String {
    before.to_owned() + &std::iter::repeat_with(fastrand::alphanumeric).take(32).collect::<String>()
}

async fn lived(database: &str, dump: impl Fn() -> Vec<u8>) {
    let mut secrets = Secrets::default();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let callback = format!("http://127.0.0.1:{port}/api/integrations/salesforce/callback");
    let org = Org::start(&["--contacts", "30", "--callback", &callback]);
    org.control("PUT", "app", &json!({"rotation": true}));
    let (wire, receiver) = (Wire::to(org.get("login_url")).await, Receiver::default());
    let endpoint = receiver.start(reqwest::StatusCode::OK).await;

    let mut plan = Plan::new(&org, database);
    plan.variables.clear();
    plan.address = format!("127.0.0.1:{port}");
    plan.arguments[2] = plan.address.clone();
    let master: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(32).collect();
    secrets.add("master key", &master);
    let master = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &master);
    let (setup, metrics, otlp) = (random("setup"), random("metrics"), random("otlp"));
    for (name, secret) in
        [("setup token", &setup), ("metrics token", &metrics), ("key of the receiver", &otlp), ("master key", &master)]
    {
        secrets.add(name, secret);
    }
    secrets.add("consumer secret", org.get("client_secret"));
    let header = format!("x-api-key={otlp}");
    plan = plan
        .with("TIELINE_MASTER_KEY", &master)
        .with("TIELINE_SETUP_TOKEN", &setup)
        .with("TIELINE_METRICS_TOKEN", &metrics)
        .with("SALESFORCE_CLIENT_ID", org.get("client_id"))
        .with("SALESFORCE_CLIENT_SECRET", org.get("client_secret"))
        .with("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)
        .with("OTEL_EXPORTER_OTLP_HEADERS", &header)
        .with("TIELINE_LOG", "trace")
        .with("TIELINE_LOG_FORMAT", "json")
        .with("TIELINE_RATE_LIMITS", "sign_in=1000/1m,callback=1000/1m,api=1000/1m");
    if let Some((_, rest)) = database.split_once("://postgres:") {
        secrets.add("password of the database", rest.split('@').next().unwrap());
    }

    let mut config = tieline(&plan.variables, &["config", "check", "--json", "--database-url", database]);
    let (_, out, err) = run(&mut config);
    let node = plan.start();
    let arguments = std::fs::read(format!("/proc/{}/cmdline", node.id())).unwrap();
    let mut life = Life::new(&node, &org, &wire, secrets);
    life.live(&setup, &metrics).await;
    let (metrics, answers) = (life.metrics(&metrics).await, life.answers.clone());
    let mut secrets = life.secrets;
    let (status, _, stdout, stderr) = node.stop();
    assert!(status.success(), "{status}");

    wire.secrets(&mut secrets);
    for name in [
        "access token",
        "refresh token",
        "authorization code",
        "PKCE verifier",
        "consumer secret",
        "password",
        "session",
        "CSRF token",
        "API key",
        "invitation",
        "login cookie",
        "master key",
        "consumer secret of its own",
    ] {
        assert!(secrets.has(name), "no {name} was met: the test proves nothing of it");
    }
    assert!(secrets.count() > 20, "{}", secrets.count());
    // The setup token is told at the start, so that whoever starts the service can make the first user.
    secrets.without("setup token").assert_not_in("standard output", stdout.as_bytes());
    assert!(stderr.lines().count() > 500 && stderr.contains("\"level\":\"TRACE\""), "{}", stderr.lines().count());
    secrets.assert_not_in("the log", stderr.as_bytes());
    secrets.assert_not_in("the metrics", metrics.as_bytes());
    let spans = receiver.bodies();
    assert!(receiver.spans().len() > 40, "{}", receiver.spans().len());
    secrets.assert_not_in("the traces", &spans);
    assert!(answers.len() > 25, "{}", answers.len());
    for (what, body) in &answers {
        secrets.assert_not_in(what, body);
    }
    secrets.assert_not_in("what the configuration's check says", (out + &err).as_bytes());
    // A URL with a password is given as an argument here; elsewhere it is a variable.
    secrets.without("password of the database").assert_not_in("the arguments", &arguments);
    let kept = dump();
    assert!(kept.windows(17).any(|window| window == b"owner@example.com"), "the dump is none");
    secrets.assert_not_in("the database", &kept);
}

#[test]
fn s37_no_secret_of_the_service_is_seen_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.db");
    let dump = || {
        let files = ["t.db", "t.db-wal", "t.db-shm"].map(|name| std::fs::read(folder.path().join(name)));
        files.into_iter().flatten().flatten().collect()
    };
    tokio::runtime::Runtime::new().unwrap().block_on(lived(file.to_str().unwrap(), dump));
}

#[test]
fn s37_no_secret_of_the_service_is_seen_on_postgres() {
    let Some(postgres) = Postgres::start() else { return };
    // The server takes any password; the service does not know that.
    let url = postgres.url.replace("postgres@", &format!("postgres:{}@", random("database")));
    tokio::runtime::Runtime::new().unwrap().block_on(lived(&url, || postgres.dump()));
}

/// A core necessarily holds what the memory does. So there is none: neither as a file, nor by a program that collects them.
#[test]
fn s37_a_service_that_crashes_leaves_no_core() {
    let org = Org::start(&["--contacts", "0"]);
    let folder = tempfile::tempdir().unwrap();
    let mut plan = Plan::new(&org, folder.path().join("t.db").to_str().unwrap());
    let script = r#"cd "$1" && ulimit -c unlimited && shift && exec "$@""#;
    plan.within = ["sh", "-c", script, "sh", folder.path().to_str().unwrap()].map(str::to_owned).to_vec();
    let mut node = plan.start();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", node.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap().to_owned();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    assert!(Command::new("kill").args(["-ABRT", &node.id().to_string()]).status().unwrap().success());
    let status = node.ended();
    assert_eq!((status.signal(), status.core_dumped()), (Some(6), false), "{status}");
    let is_core = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("core"));
    assert!(!std::fs::read_dir(folder.path()).unwrap().any(|entry| is_core(&entry.unwrap().path())));
}
