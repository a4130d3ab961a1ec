//! `cargo xtask bench lambda`: what the extension costs, and what it saves, in simulated Lambda environments that are
//! really frozen. Prints one measurement a line; the peers run in the same minutes on the same machine.
#![expect(clippy::print_stdout, reason = "the measurements")]

#[expect(dead_code, reason = "what the tests use besides")]
#[path = "../tests/it/environment.rs"]
mod environment;
#[expect(dead_code, reason = "what the tests use besides")]
#[path = "../tests/it/moto.rs"]
mod moto;
#[expect(clippy::print_stderr, reason = "it says aloud what it skips")]
#[path = "../../cli/tests/it/parts.rs"]
mod parts;
#[path = "../tests/it/project.rs"]
mod project;
#[expect(dead_code, reason = "what the tests use besides")]
#[path = "../tests/it/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use self::environment::{Environment, SESSION, jwt, with_package};
use self::moto::Moto;
use self::project::project;
use self::world::World;

/// The extension as it is shipped, which `cargo xtask bench lambda` has built.
fn extension() -> PathBuf {
    std::env::var_os("TIELINE_BENCH_EXTENSION").expect("run this by `cargo xtask bench lambda`").into()
}

const STARTS: usize = 20;
const ASKED: usize = 3_000;
const ENVIRONMENTS: usize = 10;
const WARM_CALLS: usize = 5;

/// One way of having connections in a function.
#[derive(Clone, Copy, PartialEq)]
enum Who {
    Tieline,
    /// The function logs in by itself and keeps the connection in a Map.
    Map,
}

impl Who {
    fn name(self) -> &'static str {
        match self {
            Who::Tieline => "tieline extension + package",
            Who::Map => "jsforce, plain Map",
        }
    }

    fn function(self, world: &World, modules: &Path) -> std::process::Command {
        let mut function = with_package(modules);
        match self {
            Who::Tieline => function.env("TIELINE_BROKER", "on"),
            Who::Map => {
                let key = std::fs::read_to_string(&world.info().private_key_file).unwrap();
                function.envs(jwt(world)).env("SF_PRIVATE_KEY", key).env("MANAGER", "map")
            }
        };
        function
    }
}

fn tell(case: &str, of: &str, who: &str, unit: &str, value: f64) {
    println!("{}", json!({ "case": case, "of": of, "who": who, "unit": unit, "value": value }));
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    let modules = project("TIELINE_TEST_NODE_MODULES");
    let modules = modules.path().join("node_modules");
    starts().await;
    function_starts(&modules).await;
    let Some(moto) = Moto::start().await else { return };
    for who in [Who::Tieline, Who::Map] {
        life(who, &modules, &moto).await;
    }
}

/// The extension by itself.
async fn starts() {
    let world = World::new().await;
    let (mut registered, mut token, mut memory) = (Vec::new(), Vec::new(), Vec::new());
    let mut waits = Vec::new();
    let variables = jwt(&world);
    for start in 0..STARTS {
        let begun = Instant::now();
        let environment = Environment::start(&variables, None).await;
        registered.push(milliseconds(begun));
        ask(environment.port).await;
        token.push(milliseconds(begun));
        if start == 0 {
            for _ in 0..ASKED {
                let begun = Instant::now();
                ask(environment.port).await;
                waits.push(milliseconds(begun));
            }
        }
        memory.push(resident_megabytes(environment.extension.as_ref().unwrap().0.id()));
    }
    let us = "tieline extension";
    tell("start", "registered with Lambda (init)", us, "ms", median(&mut registered));
    tell("start", "token at hand", us, "ms", median(&mut token));
    tell("memory", "resident", us, "MB", median(&mut memory));
    tell("cached token", "half of all", us, "ms", percentile(&mut waits, 50));
    tell("cached token", "99 of 100", us, "ms", percentile(&mut waits, 99));
}

/// A token, on a connection of its own as clients ask for it.
async fn ask(port: u16) {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = format!("GET /v1/token HTTP/1.1\r\nHost: localhost:{port}\r\nX-Tieline-Token: {SESSION}\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("access_token"), "{answer}");
}

/// A function in Node that imports jsforce: from the start of its process to the moment at which it asks for an event.
async fn function_starts(modules: &Path) {
    for who in [Who::Map, Who::Tieline] {
        let world = World::new().await;
        let (mut ready, mut memory) = (Vec::new(), Vec::new());
        for _ in 0..STARTS / 4 {
            let mut function = who.function(&world, modules);
            function.env("LOG_IN_FIRST", "1");
            let variables = if who == Who::Tieline { jwt(&world) } else { unused() };
            let environment = Environment::start(&variables, Some(function)).await;
            let told = environment.invoke(json!({})).await.unwrap();
            ready.push(told["ready"].as_f64().unwrap());
            memory.push(told["rss"].as_f64().unwrap() / 1e6);
        }
        tell("start", "function ready, logged in (its own process)", who.name(), "ms", median(&mut ready));
        tell("memory", "function, resident (its own process)", who.name(), "MB", median(&mut memory));
    }
}

/// An extension that is there, and is asked for nothing.
fn unused() -> BTreeMap<String, String> {
    BTreeMap::from([("TIELINE_PREFETCH".to_owned(), "none".to_owned())])
}

/// Ten environments through the same life: cold, warm, a freeze that kills their connections, a session that is revoked.
async fn life(who: Who, modules: &Path, moto: &Moto) {
    let world = World::new().await;
    let table = if who == Who::Tieline { "ours" } else { "unused" };
    moto.table(table).await;
    let mut variables = unused();
    if who == Who::Tieline {
        variables = moto.variables.clone();
        variables.remove("AWS_SESSION_TOKEN");
        variables.extend(jwt(&world));
        let more = [
            ("TIELINE_TOKEN_STORE", format!("dynamodb:{table}")),
            ("TIELINE_MASTER_KEY", "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXphYmNkZWY=".to_owned()),
            ("TIELINE_TOKEN_REUSE", "until_refused".to_owned()),
        ];
        variables.extend(more.map(|(name, value)| (name.to_owned(), value)));
    }
    let starting = (0..ENVIRONMENTS).map(|_| Environment::start(&variables, Some(who.function(&world, modules))));
    let environments = join_all(starting).await;
    let mut errors = 0;
    let mut all = async |event: Value| {
        let mut times = Vec::new();
        // One after the other: what is measured is a call, not the two processors.
        for environment in &environments {
            environment.frozen_if_warm().await;
            let begun = Instant::now();
            match environment.invoke(event.clone()).await {
                Ok(_) => times.push(milliseconds(begun)),
                Err(_) => errors += 1,
            }
        }
        times
    };
    let mut cold = all(json!({})).await;
    let mut warm = Vec::new();
    for _ in 0..WARM_CALLS {
        warm.extend(all(json!({})).await);
    }
    world.control("DELETE", "connections", Value::Null).await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let created = all(json!({ "do": "create", "name": "Once" })).await.len();
    world.control("POST", "tokens/revoke", json!({ "all": true })).await;
    let after_the_end = all(json!({})).await.len();
    let name = who.name();
    tell("ten environments", "logins", name, "count", world.logins().await as f64);
    tell("ten environments", "failed invocations", name, "count", f64::from(errors));
    tell("ten environments", "created after a freeze, of 10", name, "count", created as f64);
    tell("ten environments", "answered after the session was revoked, of 10", name, "count", after_the_end as f64);
    tell("ten environments", "first call", name, "ms", median(&mut cold));
    tell("ten environments", "warm call", name, "ms", median(&mut warm));
}

/// Memory of a process that is in use, as the kernel counts it.
fn resident_megabytes(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<f64>().unwrap() * 1_024.0 / 1e6
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

fn median(values: &mut [f64]) -> f64 {
    percentile(values, 50)
}

fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get((values.len() * percent / 100).min(values.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}
