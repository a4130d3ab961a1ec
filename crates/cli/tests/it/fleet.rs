//! Many processes, one token: started at once, under rotation, killed and stopped at every step.
//!
//! The processes are the program itself and `examples/worker.rs`; the judge is the org's own ledger.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tieline_auth::token_store::conformance;

use crate::org::{Org, json, tieline};
use crate::servers::{Postgres, Redis};

/// A store for processes to share, with the server behind it.
struct Shared {
    url: String,
    folder: tempfile::TempDir,
    _redis: Option<Redis>,
    _postgres: Option<Postgres>,
}

impl Shared {
    fn new(kind: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let key = std::process::Command::new("head").args(["-c", "32", "/dev/urandom"]).output().unwrap().stdout;
        std::fs::write(folder.path().join("key"), base64(&key)).unwrap();
        let (mut redis, mut postgres) = (None, None);
        let url = match kind {
            "redis" => redis.insert(Redis::start()?).url.clone(),
            "postgres" => postgres.insert(Postgres::start()?).url.clone(),
            _ => format!("file:{}", folder.path().join("tokens.json").display()),
        };
        Some(Shared { url, folder, _redis: redis, _postgres: postgres })
    }

    fn settings(&self, mut login: BTreeMap<String, String>) -> BTreeMap<String, String> {
        let key = self.folder.path().join("key").display().to_string();
        login.extend([
            ("TIELINE_TOKEN_STORE".to_owned(), self.url.clone()),
            ("TIELINE_MASTER_KEY_FILE".to_owned(), key),
            ("TIELINE_TOKEN_REUSE".to_owned(), "until_refused".to_owned()),
        ]);
        login
    }
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = bytes.chunks(3).flat_map(|chunk| {
        let number = chunk.iter().fold(0u32, |n, byte| n << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        (0..4)
            .map(move |i| if i <= chunk.len() { ALPHABET[(number >> (18 - 6 * i)) as usize & 63] as char } else { '=' })
    });
    digits.collect()
}

fn refresh_login(org: &Org) -> BTreeMap<String, String> {
    let pairs = [
        ("SF_LOGIN_URL", "login_url"),
        ("SF_CLIENT_ID", "client_id"),
        ("SF_CLIENT_SECRET", "client_secret"),
        ("SF_REFRESH_TOKEN", "refresh_token"),
    ];
    pairs.into_iter().map(|(name, key)| (name.to_owned(), org.get(key).to_owned())).collect()
}

fn worker(environment: &BTreeMap<String, String>) -> Command {
    let folder = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("examples");
    let program: PathBuf = folder.join("worker");
    assert!(program.exists(), "{} is built with the tests", program.display());
    let mut command = Command::new(program);
    command.env_clear().envs(environment).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn finished(child: Child) -> (String, String) {
    let output = child.wait_with_output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The processes of one store start at the same moment.
fn a_hundred_at_once(kind: &str) {
    let Some(shared) = Shared::new(kind) else { return };
    let org = Org::start(&["--contacts", "0"]);
    let environment = shared.settings(org.login());
    let children: Vec<Child> = (0..100)
        .map(|_| {
            let mut command = tieline(&environment, &["token", "--json"]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let mut tokens = Vec::new();
    for child in children {
        let (out, err) = finished(child);
        assert!(!out.is_empty(), "{kind}: {err}");
        tokens.push(json(&out)["access_token"].as_str().unwrap().to_owned());
    }
    assert!(tokens.iter().all(|token| *token == tokens[0]), "{kind}: they share one token");
    assert_eq!(org.ledger()["logins"], 1, "{kind}");
}

#[test]
fn a_hundred_processes_at_once_on_a_file_cause_one_login() {
    a_hundred_at_once("file");
}

#[test]
fn a_hundred_processes_at_once_on_redis_cause_one_login() {
    a_hundred_at_once("redis");
}

#[test]
fn a_hundred_processes_at_once_on_postgres_cause_one_login() {
    a_hundred_at_once("postgres");
}

/// Tokens of two seconds, refresh tokens that are good once, twenty processes: the family must live.
fn twenty_processes_share_a_rotating_token(kind: &str) {
    let Some(shared) = Shared::new(kind) else { return };
    let seconds = if std::env::var_os("TIELINE_TEST_LONG").is_some() { 60 } else { 12 };
    let org = Org::start(&["--contacts", "0"]);
    org.control("PUT", "app", &json!({"rotation": true}));
    org.control("PUT", "limits", &json!({"token_life_seconds": 2}));
    let mut environment = shared.settings(refresh_login(&org));
    environment.insert("WORKER_SECONDS".to_owned(), seconds.to_string());
    environment.insert("WORKER_PAUSE_MS".to_owned(), "150".to_owned());
    let children: Vec<Child> = (0..20).map(|_| worker(&environment).spawn().unwrap()).collect();
    let (mut calls, mut failed) = (0, 0);
    for child in children {
        let (out, err) = finished(child);
        assert!(!out.is_empty(), "{kind}: {err}");
        let told = json(&out);
        assert_eq!(told["failed"], 0, "{kind}: {err}");
        calls += told["calls"].as_u64().unwrap();
        failed += told["failed"].as_u64().unwrap();
    }
    let ledger = org.ledger();
    let refreshes = ledger["token_requests"]["refresh_token"].as_u64().unwrap();
    assert_eq!(ledger["spent_refresh_tokens_replayed"], 0, "{kind}: {ledger}");
    assert_eq!(ledger["refresh_families"]["alive"], 1, "{kind}: {ledger}");
    assert!(calls > 20 * seconds && failed == 0, "{kind}: {calls} calls");
    // One for each two seconds, and some where a token died between two looks.
    assert!(refreshes >= seconds / 3 && refreshes <= seconds, "{kind}: {refreshes} refreshes in {seconds} s");
    eprintln!("{kind}: {calls} calls, {refreshes} refreshes in {seconds} s");
}

#[test]
fn s03_twenty_processes_on_a_file_keep_a_rotating_family_alive() {
    twenty_processes_share_a_rotating_token("file");
}

#[test]
fn s03_twenty_processes_on_redis_keep_a_rotating_family_alive() {
    twenty_processes_share_a_rotating_token("redis");
}

#[test]
fn s03_twenty_processes_on_postgres_keep_a_rotating_family_alive() {
    twenty_processes_share_a_rotating_token("postgres");
}

#[tokio::test]
async fn redis_and_postgres_keep_the_rules_of_a_token_store() {
    if let Some(redis) = Redis::start() {
        let store = tieline_auth::token_store::redis::RedisStore::connect(&redis.url).await.unwrap();
        conformance::check(std::sync::Arc::new(store), tokio::time::sleep).await;
    }
    if let Some(postgres) = Postgres::start() {
        let store = tieline_store::token_table::TokenTable::connect(&postgres.url).await.unwrap();
        conformance::check(std::sync::Arc::new(store), tokio::time::sleep).await;
    }
}

/// Steps at which a process can die, held open by the database or the org until it is killed there.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    BeforeTheRequest,
    AfterTheAnswer,
    AfterWriting,
}

/// PostgreSQL makes the step last: a trigger that sleeps.
fn hold(postgres: &Postgres, step: Step) {
    let condition = match step {
        Step::BeforeTheRequest => "false",
        // Version 1 is the intent, 2 the outcome.
        Step::AfterTheAnswer => "NEW.version = 2",
        Step::AfterWriting => "NEW.owner IS NULL AND OLD.owner IS NOT NULL AND NEW.version = 2",
    };
    postgres.sql(&format!(
        "CREATE OR REPLACE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF {condition} THEN PERFORM pg_sleep(60); RETURN OLD; END IF; RETURN NEW; END $$;
         CREATE TRIGGER hold BEFORE UPDATE ON tieline_tokens FOR EACH ROW EXECUTE FUNCTION hold()"
    ));
}

fn kill_the_holder_at(step: Step) {
    let Some(shared) = Shared::new("postgres") else { return };
    let postgres = shared._postgres.as_ref().unwrap();
    let org = Org::start(&["--contacts", "0"]);
    org.control("PUT", "app", &json!({"rotation": true}));
    let mut environment = shared.settings(refresh_login(&org));
    environment.insert("WORKER_LEASE_MS".to_owned(), "1500".to_owned());
    environment.insert("WORKER_SECONDS".to_owned(), "1".to_owned());
    // The table is made by a process that needs no token.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(tieline_store::token_table::TokenTable::connect(&postgres.url)).unwrap();
    hold(postgres, step);
    if step == Step::BeforeTheRequest {
        org.control("POST", "faults", &json!({"path": "/services/oauth2/token", "delay_ms": 3_000}));
    }
    let mut holder = worker(&environment).spawn().unwrap();
    let version = || postgres.sql("SELECT coalesce(max(version), 0) FROM tieline_tokens");
    wait_until("the intent is written down", || version() == "1" || version() == "2");
    match step {
        Step::BeforeTheRequest => std::thread::sleep(Duration::from_millis(200)),
        Step::AfterTheAnswer => {
            wait_until("the org has answered", || org.ledger()["token_requests"]["refresh_token"] == 1);
            std::thread::sleep(Duration::from_millis(300));
        }
        Step::AfterWriting => {
            wait_until("the token is written down", || version() == "2");
            std::thread::sleep(Duration::from_millis(300));
        }
    }
    holder.kill().unwrap();
    holder.wait().unwrap();
    // What the dead process was waiting for ends with it.
    postgres.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'");
    postgres.sql("DROP TRIGGER hold ON tieline_tokens");
    org.control("DELETE", "faults", &Value::Null);

    let (out, err) = finished(worker(&environment).spawn().unwrap());
    let told = json(&out);
    let ledger = org.ledger();
    assert_eq!(ledger["spent_refresh_tokens_replayed"], 0, "{step:?}: {ledger}");
    assert_eq!(ledger["refresh_families"]["alive"], 1, "{step:?}: {ledger}");
    let refreshes = &ledger["token_requests"]["refresh_token"];
    match step {
        // The org never saw it: after asking about the refresh token, the next process uses it.
        Step::BeforeTheRequest => assert!(told["failed"] == 0 && *refreshes == 1, "{told} {ledger} {err}"),
        Step::AfterTheAnswer => {
            assert!(told["calls"] == 0 && *refreshes == 1, "{told} {ledger}");
            assert!(err.contains("may be spent") && err.contains("hint: log in again"), "{err}");
        }
        Step::AfterWriting => {
            assert!(told["failed"] == 0 && *refreshes == 1, "no second refresh: {told} {ledger} {err}")
        }
    }
}

#[test]
fn s04_a_holder_killed_before_the_request_costs_nothing() {
    kill_the_holder_at(Step::BeforeTheRequest);
}

#[test]
fn s04_a_holder_killed_after_the_answer_leaves_one_alarm_and_no_replay() {
    kill_the_holder_at(Step::AfterTheAnswer);
}

#[test]
fn s05_a_holder_killed_before_releasing_leaves_its_token_to_the_next() {
    kill_the_holder_at(Step::AfterWriting);
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn s06_a_holder_stopped_past_its_lease_is_refused_when_it_goes_on() {
    for kind in ["file", "redis", "postgres"] {
        let Some(shared) = Shared::new(kind) else { continue };
        let org = Org::start(&["--contacts", "0"]);
        let mut environment = shared.settings(org.login());
        environment.insert("WORKER_LEASE_MS".to_owned(), "700".to_owned());
        environment.insert("WORKER_SECONDS".to_owned(), "1".to_owned());
        org.control("POST", "faults", &json!({"path": "/services/oauth2/token", "delay_ms": 1_000}));
        let sleeper = worker(&environment).spawn().unwrap();
        wait_until("the sleeper is at the org", || org.ledger()["faults_injected"] == 1);
        signal(&sleeper, "-STOP");
        // The org answers it; nobody reads the answer. Its lease runs out, and another process logs in.
        let (out, err) = finished(worker(&environment).spawn().unwrap());
        assert_eq!(json(&out)["failed"], 0, "{kind}: {err}");
        let before = newest(&environment, shared.folder.path());
        signal(&sleeper, "-CONT");
        let (out, err) = finished(sleeper);
        assert_eq!(json(&out)["failed"], 0, "{kind}: {err}");
        assert_eq!(json(&out)["tokens"]["adopted"], 1, "{kind}: it uses what the other wrote: {out}");
        assert_eq!(newest(&environment, shared.folder.path()), before, "{kind}: its late write was refused");
    }
}

/// The token that the store holds, as a process that starts now sees it.
fn newest(environment: &BTreeMap<String, String>, _folder: &Path) -> String {
    let (code, out, err) = crate::org::run(&mut tieline(environment, &["token", "--json"]));
    assert_eq!(code, 0, "{err}");
    let told = json(&out);
    assert_eq!(told["from_cache"], true, "{told}");
    told["access_token"].as_str().unwrap().to_owned()
}

#[test]
fn commands_one_after_the_other_keep_a_rotating_chain_without_any_setting() {
    let org = Org::start(&["--contacts", "5"]);
    org.control("PUT", "app", &json!({"rotation": true}));
    let folder = tempfile::tempdir().unwrap();
    let mut login = refresh_login(&org);
    // A sync keeps its tokens in its database.
    let database = folder.path().join("people.db").display().to_string();
    for _ in 0..3 {
        org.control("POST", "tokens/revoke", &json!({"all": true}));
        let run = ["sync", "run", "--once", "--json", "--database-url", &database];
        let (code, _, err) = crate::org::run(&mut tieline(&login, &run));
        assert_eq!(code, 0, "{err}");
    }
    assert!(!folder.path().join("people.db.tokens.json").exists(), "they are rows of the database");
    // A person's commands keep them in the person's own folder.
    let fresh = org.control("POST", "refresh-tokens", &json!({}))["refresh_token"].as_str().unwrap().to_owned();
    login.insert("SF_REFRESH_TOKEN".to_owned(), fresh);
    login.insert("HOME".to_owned(), folder.path().display().to_string());
    for expected in ["false", "true", "true"] {
        let (code, out, err) = crate::org::run(&mut tieline(&login, &["token", "--json"]));
        assert!(code == 0 && out.contains(&format!("\"from_cache\":{expected}")), "{out}{err}");
    }
    org.control("POST", "tokens/revoke", &json!({"all": true}));
    let (code, _, err) = crate::org::run(&mut tieline(&login, &["query", "SELECT Id FROM Contact"]));
    assert_eq!(code, 0, "a refused token is renewed with the rotated one: {err}");
    // Where nothing can be kept, a warning says so.
    login.remove("HOME");
    let fresh = org.control("POST", "refresh-tokens", &json!({}))["refresh_token"].as_str().unwrap().to_owned();
    login.insert("SF_REFRESH_TOKEN".to_owned(), fresh);
    let (code, _, err) = crate::org::run(&mut tieline(&login, &["token"]));
    assert!(code == 0 && err.contains("set TIELINE_TOKEN_STORE"), "{err}");
    assert_eq!(org.ledger()["spent_refresh_tokens_replayed"], 0);
}
