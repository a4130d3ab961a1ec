//! Environments that share a table in DynamoDB, and what goes wrong among them (scenarios 3 to 7).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::environment::{Environment, SESSION, jwt};
use crate::moto::Moto;
use crate::world::{World, hex};

const LONG: Duration = Duration::from_secs(60);

/// Variables of an environment that shares tokens.
async fn shared(moto: &Moto, more: BTreeMap<String, String>) -> BTreeMap<String, String> {
    moto.table("tieline").await;
    let mut variables = moto.variables.clone();
    variables.remove("AWS_SESSION_TOKEN");
    let own = [
        ("TIELINE_TOKEN_STORE", "dynamodb:tieline"),
        ("TIELINE_MASTER_KEY", "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXphYmNkZWY="),
        ("TIELINE_PREFETCH", "none"),
        ("TIELINE_TOKEN_REUSE", "until_refused"),
    ];
    variables.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
    variables.extend(more);
    variables
}

/// A refresh token that rotates, in a secret.
async fn rotating(world: &World, moto: &Moto) -> BTreeMap<String, String> {
    world.control("PUT", "app", json!({ "rotation": true })).await;
    let info = world.info();
    let secret = json!({
        "SF_LOGIN_URL": info.login_url,
        "SF_CLIENT_ID": info.client_id,
        "SF_CLIENT_SECRET": info.client_secret,
        "SF_REFRESH_TOKEN": info.refresh_token,
    });
    moto.secret("prod", &secret.to_string()).await;
    let connections = ("TIELINE_CONNECTIONS".to_owned(), "default=secretsmanager:prod".to_owned());
    shared(moto, BTreeMap::from([connections])).await
}

async fn ask(world: &World, environment: &Environment, query: &str) -> (u16, Value) {
    let url = format!("http://127.0.0.1:{}/v1/token{query}", environment.port);
    let asking = world.http.get(url).header("X-Tieline-Token", SESSION).timeout(LONG);
    let answer = asking.send().await.unwrap();
    (answer.status().as_u16(), serde_json::from_str(&answer.text().await.unwrap()).unwrap())
}

async fn token(world: &World, environment: &Environment, query: &str) -> String {
    let (status, body) = ask(world, environment, query).await;
    assert_eq!(status, 200, "{body} {}", environment.log());
    body["access_token"].as_str().unwrap().to_owned()
}

async fn ledger(world: &World) -> Value {
    world.control("GET", "ledger", Value::Null).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s03_environments_with_a_refresh_token_that_rotates_renew_once_each_time() {
    let Some(moto) = Moto::start().await else { return };
    let world = World::new().await;
    let variables = rotating(&world, &moto).await;
    let starting = (0..20).map(|_| Environment::start(&variables, None));
    let environments = join_all(starting).await;
    let mut query = String::new();
    for round in 1..=3 {
        let tokens = join_all(environments.iter().map(|environment| token(&world, environment, &query))).await;
        assert!(tokens.iter().all(|token| *token == tokens[0]), "round {round}");
        assert_eq!(world.call(&tokens[0]).await, 200);
        let ledger = ledger(&world).await;
        assert_eq!(ledger["token_requests"]["refresh_token"], round, "{ledger}");
        assert_eq!(
            (&ledger["spent_refresh_tokens_replayed"], &ledger["refresh_families"]["alive"]),
            (&json!(0), &json!(1))
        );
        // All of them report the same dead token next.
        query = format!("?seen={}", hex(&tokens[0]));
        // Two tokens in a row that were refused right after their issue make credentials careful, and the same environment
        // may have got both. These have lived: for longer than the five seconds that count as life.
        tokio::time::sleep(Duration::from_secs(6)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s04_an_extension_that_is_killed_while_the_org_answers_costs_no_grant() {
    let Some(moto) = Moto::start().await else { return };
    let world = World::new().await;
    let variables = rotating(&world, &moto).await;
    let mut first = Environment::start(&variables, None).await;
    world.token_fault(json!({ "delay_ms": 60_000 }), 1).await;
    let met = async {
        while ledger(&world).await["faults_injected"] == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        answer = ask(&world, &first, "") => panic!("{answer:?}"),
        () = met => {}
    }
    first.extension = None;
    // The refresh token is on its way, says the table; the org is asked, and has never seen it.
    let second = Environment::start(&variables, None).await;
    let found = token(&world, &second, "").await;
    assert_eq!(world.call(&found).await, 200);
    let ledger = ledger(&world).await;
    assert_eq!(
        (&ledger["spent_refresh_tokens_replayed"], &ledger["refresh_families"]["alive"]),
        (&json!(0), &json!(1))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s06_an_environment_that_was_frozen_in_the_middle_of_a_login_overwrites_nothing() {
    let Some(moto) = Moto::start().await else { return };
    let world = World::new().await;
    let variables = shared(&moto, jwt(&world)).await;
    let frozen = Environment::start(&variables, None).await;
    world.token_fault(json!({ "delay_ms": 1_000 }), 1).await;
    let signal = |name: &str| {
        let process = frozen.extension.as_ref().unwrap().0.id().to_string();
        assert!(std::process::Command::new("kill").args([name, &process]).status().unwrap().success());
    };
    let late = ask(&world, &frozen, "");
    let (answer, newest) = tokio::join!(late, async {
        while ledger(&world).await["faults_injected"] == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        signal("-STOP");
        // Its lease ends, and somebody else logs in.
        let other = Environment::start(&variables, None).await;
        let begun = Instant::now();
        let newest = token(&world, &other, "").await;
        assert!(begun.elapsed() > Duration::from_secs(5), "the lease was not waited for");
        signal("-CONT");
        newest
    });
    // What came late is not written, and not used either.
    assert_eq!((answer.0, &answer.1["access_token"]), (200, &json!(newest)), "{}", frozen.log());
    let third = Environment::start(&variables, None).await;
    assert_eq!(token(&world, &third, "").await, newest);
    assert_eq!(world.logins().await, 2);
}

/// The answer to a refresh is lost on its way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s07_a_lost_answer_is_not_guessed_at() {
    let Some(moto) = Moto::start().await else { return };
    let world = World::new().await;
    let variables = rotating(&world, &moto).await;
    let environments = join_all((0..3).map(|_| Environment::start(&variables, None))).await;
    world.token_fault(json!({ "cut": 0 }), 1).await;
    for environment in &environments {
        let (status, body) = ask(&world, environment, "").await;
        assert_eq!((status, &body["code"]), (401, &json!("reauth_required")), "{body} {}", environment.log());
        assert!(body["hint"].as_str().unwrap().contains("log in"), "{body}");
    }
    assert_eq!(ledger(&world).await["spent_refresh_tokens_replayed"], 0);
}
