//! The extension in Lambda's life cycle, beside functions in Node and Python (scenarios 3–8 and 12–17 of Lambda).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::environment::{Environment, SESSION, jwt, node, python, with_package};
use crate::moto::Moto;
use crate::project::project;
use crate::world::World;

fn with<const N: usize>(mut variables: BTreeMap<String, String>, more: [(&str, &str); N]) -> BTreeMap<String, String> {
    variables.extend(more.map(|(name, value)| (name.to_owned(), value.to_owned())));
    variables
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_cold_warm_frozen_and_thawed() {
    let Some(function) = node() else { return };
    let world = World::new().await;
    let variables = with(jwt(&world), [("TIELINE_TOKEN_REUSE", "10")]);
    let environment = Environment::start(&variables, Some(function)).await;
    let cold = environment.invoke(json!({})).await.unwrap();
    assert_eq!((&cold["totalSize"], &cold["refreshes"]), (&json!(3), &json!(0)));
    assert_eq!(world.logins().await, 1, "the token was fetched ahead, once");
    environment.frozen().await;
    // Tokens of ten seconds end while the environment is frozen.
    tokio::time::sleep(Duration::from_millis(10_200)).await;
    let thawed = environment.invoke(json!({})).await.unwrap();
    assert_eq!(thawed["refreshes"], 0, "a token that ended in the freeze is not handed out");
    assert_ne!(thawed["token"], cold["token"]);
    let (took, fine, metrics, log) = environment.shut_down().await;
    assert!(fine && took < Duration::from_millis(500), "{took:?} {log}");
    let last: Value = serde_json::from_str(metrics.lines().last().unwrap()).unwrap();
    assert_eq!(last["_aws"]["CloudWatchMetrics"][0]["Namespace"], "tieline");
    assert!(!log.contains(SESSION) && !metrics.contains(SESSION));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_the_org_ended_hours_ago_costs_one_login_and_no_failure() {
    let Some(function) = node() else { return };
    let world = World::new().await;
    let variables = with(jwt(&world), [("TIELINE_TOKEN_REUSE", "until_refused")]);
    let environment = Environment::start(&variables, Some(function)).await;
    let cold = environment.invoke(json!({})).await.unwrap();
    environment.frozen().await;
    // Five hours pass for the org, and its sessions last two.
    world.control("PUT", "clock", json!({"advance_seconds": 5 * 60 * 60})).await;
    let thawed = environment.invoke(json!({})).await.unwrap();
    assert_eq!((&thawed["totalSize"], &thawed["refreshes"]), (&json!(3), &json!(1)));
    assert_ne!(thawed["token"], cold["token"]);
    assert_eq!(world.logins().await, 2);
    // A create after another freeze is made once.
    environment.frozen().await;
    environment.invoke(json!({"do": "create", "name": "Once"})).await.unwrap();
    let again = environment.invoke(json!({})).await.unwrap();
    assert_eq!(again["totalSize"], 4);
    assert_eq!(world.logins().await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s13_s16_a_function_with_the_package_thaws_with_dead_connections_and_says_when_the_broker_is_gone() {
    if node().is_none() {
        return;
    }
    let world = World::new().await;
    let modules = project("TIELINE_TEST_NODE_MODULES");
    let mut function = with_package(&modules.path().join("node_modules"));
    function.env("TIELINE_BROKER", "on");
    let variables = with(jwt(&world), [("TIELINE_TOKEN_REUSE", "until_refused")]);
    let mut environment = Environment::start(&variables, Some(function)).await;
    assert_eq!(environment.invoke(json!({})).await.unwrap()["totalSize"], 3);
    for count in 4..=5 {
        environment.frozen().await;
        world.control("DELETE", "connections", Value::Null).await;
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        environment.invoke(json!({"do": "create", "name": "Once"})).await.unwrap();
        assert_eq!(environment.invoke(json!({})).await.unwrap()["totalSize"], count);
    }
    // The session ends with nobody to ask for another one.
    world.control("PUT", "clock", json!({"advance_seconds": 5 * 60 * 60})).await;
    environment.frozen().await;
    let id = environment.begin(json!({"do": "hold", "ms": 300})).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    environment.extension = None;
    let error = environment.finished(&id).await.unwrap_err();
    assert!(error.contains("the broker at http://localhost:") && error.contains("does not answer"), "{error}");
    assert_eq!(world.logins().await, 1);
    let line = environment.function_metrics().remove(0);
    assert_eq!(line["_aws"]["CloudWatchMetrics"][0]["Metrics"][1]["Name"], "ApiCallsLeftPercent");
    assert!(line["ApiCallsLeft"].as_u64().unwrap() > 0 && line["FunctionName"] == "orders");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_with_a_secret_that_is_rotated_between_invocations() {
    let (Some(moto), Some(mut function)) = (Moto::start().await, python()) else { return };
    let world = World::with_tls().await;
    let info = world.info();
    let authority = info.ca_file.as_ref().unwrap().display().to_string();
    function.env("REQUESTS_CA_BUNDLE", &authority);
    let secret = |value: &str| {
        json!({ "SF_LOGIN_URL": info.login_url, "SF_CLIENT_ID": info.client_id, "SF_CLIENT_SECRET": value }).to_string()
    };
    moto.secret("prod", &secret("an old secret")).await;
    let mut variables = moto.variables.clone();
    variables.remove("AWS_SESSION_TOKEN");
    let variables = with(
        variables,
        [
            ("TIELINE_CONNECTIONS", "default=secretsmanager:prod"),
            ("TIELINE_PREFETCH", "none"),
            ("SSL_CERT_FILE", &authority),
        ],
    );
    let environment = Environment::start(&variables, Some(function)).await;
    assert_eq!(world.token_requests().await, 0, "nothing is fetched ahead");
    let error = environment.invoke(json!({})).await.unwrap_err();
    assert!(error.contains("reauth_required"), "{error} {}", environment.log());
    let put = json!({ "SecretId": "prod", "SecretString": secret(&info.client_secret) });
    moto.admin(tieline_auth::aws::Service::SecretsManager, "PutSecretValue", put).await;
    // Secrets are not read more often than every ten seconds.
    let started = Instant::now();
    let told = loop {
        match environment.invoke(json!({})).await {
            Ok(told) => break told,
            Err(_) => assert!(started.elapsed() < Duration::from_secs(20), "{}", environment.log()),
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    assert_eq!(told["totalSize"], 3);
    let failures = environment.metrics().iter().map(|line| line["AuthFailures"].as_u64().unwrap()).sum::<u64>();
    assert!(failures >= 1, "the alarm hears of it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s16_an_extension_that_is_killed_leaves_nothing_and_a_new_environment_works() {
    let Some(function) = node() else { return };
    let world = World::new().await;
    let mut environment = Environment::start(&jwt(&world), Some(function)).await;
    environment.invoke(json!({})).await.unwrap();
    environment.frozen().await;
    let id = environment.begin(json!({"do": "hold", "ms": 300})).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    environment.extension = None;
    // Who has a token goes on with it.
    assert!(environment.finished(&id).await.is_ok());
    // Who needs one fails with an error of its own, at once: nobody listens there any more.
    let port = environment.port;
    assert!(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err());
    drop(environment);
    let environment = Environment::start(&jwt(&world), node()).await;
    assert_eq!(environment.invoke(json!({})).await.unwrap()["totalSize"], 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s14_a_snapshot_holds_no_token() {
    let world = World::new().await;
    let variables = with(jwt(&world), [("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start")]);
    let environment = Environment::start(&variables, None).await;
    let ask = async || {
        let url = format!("http://127.0.0.1:{}/v1/token", environment.port);
        let answer = world.http.get(url).header("X-Tieline-Token", SESSION).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let (status, text) = ask().await;
    assert!(status == 503 && text.contains("not_ready"), "{text}");
    assert_eq!(world.token_requests().await, 0);
    // The handler may ask before the extension has heard of its invocation.
    let begun = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        environment.begin(json!({})).await;
    };
    let ((status, text), ()) = tokio::join!(ask(), begun);
    assert_eq!(status, 200, "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s15_environments_that_start_at_once_share_one_login() {
    let Some(moto) = Moto::start().await else { return };
    let world = World::new().await;
    moto.table("tieline").await;
    let count = if std::env::var_os("TIELINE_TEST_LONG").is_some() { 500 } else { 40 };
    let mut variables = with(
        moto.variables.clone(),
        [
            ("TIELINE_TOKEN_STORE", "dynamodb:tieline"),
            ("TIELINE_MASTER_KEY", "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXphYmNkZWY="),
        ],
    );
    variables.remove("AWS_SESSION_TOKEN");
    variables.extend(jwt(&world));
    let starting = (0..count).map(|_| Environment::start(&variables, None));
    let environments = futures_util::future::join_all(starting).await;
    let ask = async |environment: &Environment| {
        let url = format!("http://127.0.0.1:{}/v1/token", environment.port);
        let answer = world.http.get(url).header("X-Tieline-Token", SESSION).send().await.unwrap();
        let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        assert_eq!(status, 200, "{text} {}", environment.log());
        serde_json::from_str::<Value>(&text).unwrap()["access_token"].as_str().unwrap().to_owned()
    };
    let tokens = futures_util::future::join_all(environments.iter().map(ask)).await;
    assert!(tokens.iter().all(|token| *token == tokens[0]));
    assert_eq!(world.logins().await, 1, "{count} environments");
}

#[tokio::test]
async fn what_is_set_wrongly_ends_the_extension_with_its_reason() {
    for (name, value, said) in [
        ("TIELINE_CONNECTIONS", "default", "TIELINE_CONNECTIONS cannot be read"),
        ("TIELINE_BROKER_PORT", "many", "TIELINE_BROKER_PORT is `many`"),
        ("TIELINE_PREFETCH", "crm", "which is no connection"),
        ("AWS_SESSION_TOKEN", "", "AWS_SESSION_TOKEN is not set"),
        ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9", "Extensions API failed"),
    ] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tieline-extension"));
        command.env_clear().env("AWS_SESSION_TOKEN", SESSION).env("TIELINE_BROKER_PORT", "0").env(name, value);
        let output = command.output().unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{log}");
        let told: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
        assert!(told["error"].as_str().unwrap().contains(said) && told["hint"].is_string(), "{log}");
    }
}
