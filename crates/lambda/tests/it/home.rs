//! A refresh token that the org replaces, in Secrets Manager.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tieline_auth::ManualClock;
use tieline_auth::aws::{Service, Variable};
use tieline_lambda::broker::Broker;
use tieline_lambda::sources::Sources;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::moto::Moto;
use crate::world::{Running, SECRET, World, hex, run, system};

/// Longer than a token from a refresh token is used, and than settings are.
const LATER: Duration = Duration::from_secs(31 * 60);
const MASTER_KEY: &str = "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXphYmNkZWY=";

async fn rotating() -> World {
    let world = World::new().await;
    world.control("PUT", "app", json!({ "rotation": true })).await;
    world
}

fn settings(world: &World, refresh_token: &str) -> Value {
    let info = world.info();
    json!({
        "SF_LOGIN_URL": info.login_url,
        "SF_CLIENT_ID": info.client_id,
        "SF_CLIENT_SECRET": info.client_secret,
        "SF_REFRESH_TOKEN": refresh_token,
        "owner": "crm team",
    })
}

async fn broker(variable: Variable, clock: &Arc<ManualClock>) -> Running {
    let orgs = Sources::new(variable, clock.clone(), "67.0").orgs().unwrap();
    run(Broker::new(SECRET, orgs, clock.clone())).await
}

/// The current version and what is in it. moto's idea of what it answers without the label is another one than AWS's.
async fn current(moto: &Moto, id: &str) -> (Value, Value) {
    let body = json!({ "SecretId": id, "VersionStage": "AWSCURRENT" });
    let mut answer = moto.admin(Service::SecretsManager, "GetSecretValue", body).await;
    (answer["VersionId"].take(), serde_json::from_str(answer["SecretString"].as_str().unwrap()).unwrap())
}

async fn content(moto: &Moto, id: &str) -> Value {
    current(moto, id).await.1
}

fn record(content: &Value, field: &str) -> Value {
    serde_json::from_str(content[format!("{field}_GENERATION")].as_str().unwrap()).unwrap()
}

/// As a person does it. In two steps, because after the first label that was moved moto's `PutSecretValue` leaves it on
/// two versions.
async fn put(moto: &Moto, id: &str, content: &Value) {
    // moto's dates have no fractions of a second.
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    let (before, _) = current(moto, id).await;
    let body = json!({ "SecretId": id, "SecretString": content.to_string(), "VersionStages": ["PERSON"] });
    let version = moto.admin(Service::SecretsManager, "PutSecretValue", body).await["VersionId"].take();
    let moved = json!({
        "SecretId": id,
        "VersionStage": "AWSCURRENT",
        "RemoveFromVersionId": before,
        "MoveToVersionId": version,
    });
    moto.admin(Service::SecretsManager, "UpdateSecretVersionStage", moved).await;
}

async fn fresh_refresh_token(world: &World) -> String {
    world.control("POST", "refresh-tokens", json!({})).await["refresh_token"].as_str().unwrap().to_owned()
}

async fn unharmed(world: &World) {
    let ledger = world.control("GET", "ledger", Value::Null).await;
    assert_eq!(ledger["spent_refresh_tokens_replayed"], 0, "{ledger}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_refresh_token_is_in_the_secret_and_outlives_the_process() {
    let (Some(moto), world) = (Moto::start().await, rotating().await) else { return };
    let clock = Arc::new(ManualClock::at(system().now()));
    let before = settings(&world, &world.info().refresh_token);
    moto.secret("prod", &before.to_string()).await;
    let variable = moto.variable_with([("TIELINE_CONNECTIONS", "default=secretsmanager:prod")]);
    for turn in 1..=3 {
        // Nothing is shared with the one before: only the secret.
        let running = broker(variable.clone(), &clock).await;
        assert_eq!(world.call(&running.token(&world.http, "").await).await, 200);
        running.stop().await;
        let there = content(&moto, "prod").await;
        let token = there["SF_REFRESH_TOKEN"].as_str().unwrap();
        assert_ne!(token, world.info().refresh_token);
        let record = record(&there, "SF_REFRESH_TOKEN");
        assert_eq!((&record["turn"], &record["of"]), (&json!(turn), &json!(hex(token))));
        // The rest is as it was.
        assert_eq!((&there["owner"], &there["SF_CLIENT_ID"]), (&before["owner"], &before["SF_CLIENT_ID"]));
    }
    // A person logs in anew, and leaves our record as it stands.
    let running = broker(variable, &clock).await;
    running.token(&world.http, "").await;
    let mut there = content(&moto, "prod").await;
    let fresh = fresh_refresh_token(&world).await;
    there["SF_REFRESH_TOKEN"] = fresh.clone().into();
    put(&moto, "prod", &there).await;
    clock.advance(LATER);
    assert_eq!(world.call(&running.token(&world.http, "").await).await, 200);
    let record = record(&content(&moto, "prod").await, "SF_REFRESH_TOKEN");
    assert_eq!(record["turn"], 1, "a new chain has begun: {record}");
    unharmed(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn environments_that_share_a_table_take_turns() {
    let (Some(moto), world) = (Moto::start().await, rotating().await) else { return };
    moto.table("tieline").await;
    let info = world.info();
    moto.secret("token", &json!({ "crm": info.refresh_token }).to_string()).await;
    let variable = moto.variable_with([
        ("SF_LOGIN_URL", info.login_url.as_str()),
        ("SF_CLIENT_ID", &info.client_id),
        ("SF_CLIENT_SECRET", &info.client_secret),
        ("SF_REFRESH_TOKEN", "secretsmanager:token#crm"),
        ("TIELINE_TOKEN_STORE", "dynamodb:tieline"),
        ("TIELINE_MASTER_KEY", MASTER_KEY),
    ]);
    let clock = Arc::new(ManualClock::at(system().now()));
    let pair = (broker(variable.clone(), &clock).await, broker(variable.clone(), &clock).await);
    let asked = tokio::join!(pair.0.token(&world.http, ""), pair.1.token(&world.http, ""));
    assert_eq!(asked.0, asked.1);
    for turn in 2..=5 {
        // The one that renews has settings from before the last turn: those of the other one have been read since.
        let (one, other) = if turn % 2 == 0 { (&pair.0, &pair.1) } else { (&pair.1, &pair.0) };
        let token = one.token(&world.http, "").await;
        let seen = format!("?seen={}", hex(&token));
        let newer = other.token(&world.http, &seen).await;
        assert_ne!(newer, token);
        assert_eq!(one.token(&world.http, &seen).await, newer);
        assert_eq!(record(&content(&moto, "token").await, "crm")["turn"], turn);
        clock.advance(Duration::from_secs(90));
    }
    unharmed(&world).await;
}

/// Before the label is moved, somebody else writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_person_writes_in_the_same_moment_stays() {
    let (Some(moto), world) = (Moto::start().await, rotating().await) else { return };
    moto.secret("prod", &settings(&world, &world.info().refresh_token).to_string()).await;
    let fresh = fresh_refresh_token(&world).await;
    let theirs = settings(&world, &fresh);
    let between = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", between.local_addr().unwrap());
    let variable = moto.variable_with([
        ("TIELINE_CONNECTIONS", "default=secretsmanager:prod"),
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", &endpoint),
    ]);
    let clock = Arc::new(ManualClock::at(system().now()));
    let running = broker(variable, &clock).await;
    let (moves, answered) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let relayed = async {
        loop {
            let (mut socket, _) = between.accept().await.unwrap();
            let (operation, body) = request(&mut socket).await;
            if operation == "UpdateSecretVersionStage" {
                put(&moto, "prod", &theirs).await;
                moves.fetch_add(1, Ordering::Relaxed);
            }
            let answer = moto.aws().call(Service::SecretsManager, &operation, "", &body).await;
            let (status, body) = match answer {
                Ok(answer) => ("200 OK", answer.value),
                Err(error) => ("400 Bad Request", json!({ "__type": error.code, "message": error.message })),
            };
            let body = body.to_string();
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            socket.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
            answered.fetch_add(1, Ordering::Relaxed);
        }
    };
    let asked = async {
        let token = running.token(&world.http, "").await;
        // The write goes on by itself. Read, read and written for the login; read and tried once more by the writer.
        let mut waited = 0;
        while answered.load(Ordering::Relaxed) < 6 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            waited += 1;
            assert!(waited < 500, "the writer gave up after {answered:?} requests");
        }
        token
    };
    let token = tokio::select! {
        token = asked => token,
        () = relayed => unreachable!(),
    };
    assert_eq!((world.call(&token).await, moves.into_inner()), (200, 1));
    assert_eq!(content(&moto, "prod").await, theirs);
    unharmed(&world).await;
}

/// The operation and the body of a request to AWS.
async fn request(socket: &mut tokio::net::TcpStream) -> (String, Value) {
    let mut text = Vec::new();
    loop {
        socket.read_buf(&mut text).await.unwrap();
        let whole = String::from_utf8_lossy(&text).into_owned();
        let Some((head, body)) = whole.split_once("\r\n\r\n") else { continue };
        let head = head.to_lowercase();
        let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
        if body.len() >= header("content-length:").parse().unwrap() {
            let target = header("x-amz-target:");
            let names = ["GetSecretValue", "PutSecretValue", "UpdateSecretVersionStage"];
            let operation = names.into_iter().find(|name| target.ends_with(&name.to_lowercase())).unwrap();
            return (operation.to_owned(), serde_json::from_str(body).unwrap());
        }
    }
}
