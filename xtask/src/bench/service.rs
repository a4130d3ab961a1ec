//! `cargo xtask bench service`: `tieline serve` as a process, on both databases, and a small service in JavaScript beside it.
//! One program makes the load; the org is a local one on the same machine.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::postgres::Postgres;
use super::{BenchOptions, Measurements, output, variable};
use crate::parts::{Part, bench_modules};
use crate::steps::{cargo, run_shown, say};

/// Contacts of the org, and of the large import.
const CONTACTS: usize = 100_000;
/// Leads that are written one by one.
const ONE_BY_ONE: usize = 5_000;
const CONNECTIONS: [usize; 3] = [1, 16, 64];
const ROUTES: [&str; 7] = ["live", "session", "integrations", "leads", "contacts", "proxy", "import of 10"];
/// Those that the small service has as well.
const PEERS_ROUTES: [&str; 2] = ["leads", "contacts"];
const SETUP_TOKEN: &str = "setup-token-of-the-benchmark";
/// A key for a database that lives for minutes.
const MASTER_KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

struct Programs {
    tieline: PathBuf,
    load: PathBuf,
    node: PathBuf,
    modules: PathBuf,
    postgres: PathBuf,
    peers: PathBuf,
}

/// Runs every case so often, each time on new databases; or the soak, once.
pub(super) fn run(root: &Path, options: &BenchOptions) -> Result<Measurements> {
    let programs = Programs::ready(root)?;
    let folder = tempdir()?;
    let org = Process::org(&programs)?;
    let mut found = Measurements::default();
    let turns = if options.soak.is_some() { 1 } else { options.runs };
    for turn in 1..=turns {
        let postgres = Postgres::start(&programs.postgres)?;
        let file = folder.0.join(format!("{turn}.db"));
        let services = [
            Process::service(&programs, &org, "tieline, SQLite", file.to_str().context("a path that is no text")?)?,
            Process::service(&programs, &org, "tieline, PostgreSQL", &postgres.url)?,
        ];
        if let Some(minutes) = options.soak {
            soak(&programs, &org, &services, minutes, &mut found)?;
            continue;
        }
        for service in &services {
            say(&format!("run {turn} of {turns}: {}, an import of {CONTACTS}", service.who()));
            found.take(&output(programs.load(&org, service).args(["import", &CONTACTS.to_string()]))?)?;
        }
        for (kind, place) in
            [("sqlite", folder.0.join(format!("{turn}-peer.db"))), ("postgres", (&postgres.url).into())]
        {
            say(&format!("run {turn} of {turns}: {ONE_BY_ONE} leads one by one, {kind}"));
            let mut command = programs.peer(&["one-by-one", kind]);
            found.take(&output(command.arg(place).arg(ONE_BY_ONE.to_string()))?)?;
        }
        let peer = Process::peer(&programs, &org, &postgres.url)?;
        for route in ROUTES {
            for connections in CONNECTIONS {
                for service in services.iter().chain(PEERS_ROUTES.contains(&route).then_some(&peer)) {
                    say(&format!("run {turn} of {turns}: {}, {route}, {connections} connections", service.who()));
                    let mut command = programs.load(&org, service);
                    found.take(&output(command.args(["load", route, &connections.to_string()]))?)?;
                }
            }
        }
    }
    Ok(found)
}

/// `cargo xtask bench pages`: each page in Chromium, so often, of services that have a large import.
pub(super) fn pages(root: &Path, runs: usize) -> Result<Measurements> {
    let programs = Programs::ready(root)?;
    let chromium = variable(root, Part::Chromium, "TIELINE_TEST_CHROMIUM")?;
    let modules = variable(root, Part::Node, "TIELINE_TEST_NODE_MODULES")?;
    let folder = tempdir()?;
    let org = Process::org(&programs)?;
    let postgres = Postgres::start(&programs.postgres)?;
    let file = folder.0.join("pages.db");
    let services = [
        Process::service(&programs, &org, "tieline, SQLite", file.to_str().context("a path that is no text")?)?,
        Process::service(&programs, &org, "tieline, PostgreSQL", &postgres.url)?,
    ];
    let mut found = Measurements::default();
    for service in &services {
        say(&format!("{}: an import of {CONTACTS}", service.who()));
        output(programs.load(&org, service).args(["import", &CONTACTS.to_string()]))?;
    }
    for turn in 1..=runs {
        for service in &services {
            say(&format!("run {turn} of {runs}: {}, every page", service.who()));
            let mut command = Command::new(&programs.node);
            command.arg(root.join("bench/service/pages.mjs")).env("SERVICE", service.told.to_string());
            command.env("TIELINE_TEST_CHROMIUM", &chromium).env("TIELINE_TEST_NODE_MODULES", &modules);
            found.take(&output(command.env_remove("SCREENSHOT_DIR"))?)?;
        }
    }
    Ok(found)
}

/// Both databases at once, each with a load of its own.
fn soak(
    programs: &Programs,
    org: &Process,
    services: &[Process],
    minutes: u64,
    found: &mut Measurements,
) -> Result<()> {
    say(&format!("{minutes} minutes of mixed load on both databases; memory is told each minute"));
    let mut loads = Vec::new();
    for service in services {
        let mut command = programs.load(org, service);
        command.args(["soak", &minutes.to_string()]).stdin(Stdio::null()).stdout(Stdio::piped());
        loads.push(command.spawn().context("the load does not start")?);
    }
    let mut grows = Vec::new();
    for (load, service) in loads.into_iter().zip(services) {
        let ended = load.wait_with_output()?;
        found.take(&String::from_utf8(ended.stdout)?)?;
        if !ended.status.success() {
            grows.push(service.who().to_owned());
        }
    }
    ensure!(grows.is_empty(), "the soak failed: {}\nhint: its own output above tells why", grows.join(", "));
    Ok(())
}

impl Programs {
    fn ready(root: &Path) -> Result<Self> {
        let node = variable(root, Part::Node, "TIELINE_TEST_NODE")?;
        let postgres = variable(root, Part::Postgres, "TIELINE_TEST_POSTGRES")?;
        let modules = bench_modules(root)?;
        say("building our side: cargo build --release --package tieline --package tieline-bench");
        run_shown(cargo(root).args(["build", "--release", "--package", "tieline", "--package", "tieline-bench"]))?;
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        let release = |name: &str| target.join("release").join(name);
        let peers = root.join("bench/service/peers.mjs");
        Ok(Self { tieline: release("tieline"), load: release("tieline-bench"), node, modules, postgres, peers })
    }

    /// The load program against a service.
    fn load(&self, org: &Process, service: &Process) -> Command {
        let mut command = Command::new(&self.load);
        command.arg("service").env("SERVICE", service.told.to_string()).env("ORG", org.told.to_string());
        command
    }

    fn peer(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.node);
        command.arg("--no-warnings").arg(&self.peers).args(arguments).env("TIELINE_BENCH_MODULES", &self.modules);
        command
    }
}

/// A process that listens, and what there is to know of it. It is killed at the end.
struct Process {
    process: Child,
    told: Value,
}

impl Process {
    fn org(programs: &Programs) -> Result<Self> {
        say(&format!("starting an org with {CONTACTS} contacts"));
        let mut command = Command::new(&programs.tieline);
        let (process, line) = started(command.args(["emulate", "--json", "--contacts", &CONTACTS.to_string()]))?;
        Ok(Self { process, told: serde_json::from_str(&line).context("the org does not say where it is")? })
    }

    fn service(programs: &Programs, org: &Process, who: &str, database: &str) -> Result<Self> {
        let mut command = Command::new(&programs.tieline);
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--allow-loopback", "--every", "100000"])
            .args(["--database-url", database])
            .env("TIELINE_SETUP_TOKEN", SETUP_TOKEN)
            .env("TIELINE_RATE_LIMITS", "api=off,pages=off,callback=off,sign_in=off,sign_in_account=off")
            .stderr(log(who)?);
        if database.starts_with("postgres:") {
            command.env("TIELINE_MASTER_KEY", MASTER_KEY);
        }
        for (name, key) in [
            ("SF_LOGIN_URL", "login_url"),
            ("SF_CLIENT_ID", "client_id"),
            ("SF_USERNAME", "username"),
            ("SF_PRIVATE_KEY_FILE", "private_key_file"),
        ] {
            command.env(name, org.told[key].as_str().unwrap_or_default());
        }
        let (process, line) = started(&mut command)?;
        let mut service = Self { process, told: Value::Null };
        service.told = json!({
            "who": who, "address": address(&line)?, "pid": service.process.id(), "setup_token": SETUP_TOKEN,
        });
        let prepared = output(programs.load(org, &service).arg("prepare"))?;
        service.told = serde_json::from_str(&prepared).context("the service was not prepared")?;
        Ok(service)
    }

    fn peer(programs: &Programs, org: &Process, database: &str) -> Result<Self> {
        let (who, key) = ("express with pg and jsforce", "the-key-of-the-peer");
        let mut command = programs.peer(&["serve"]);
        command.env("DATABASE", database).env("ORG", org.told.to_string()).env("KEY", key);
        let (process, line) = started(command.env("NODE_ENV", "production"))?;
        let told = json!({"who": who, "address": address(&line)?, "pid": process.id(), "key": key});
        Ok(Self { process, told })
    }

    fn who(&self) -> &str {
        self.told["who"].as_str().unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts a program that says in its first line where it listens.
fn started(command: &mut Command) -> Result<(Child, String)> {
    let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(process.stdout.take().context("no output")?).read_line(&mut line)?;
    if line.is_empty() {
        let status = process.wait()?;
        bail!("{:?} ended at once ({status})\nhint: its own output above or its log tells why", command.get_program());
    }
    Ok((process, line))
}

fn address(line: &str) -> Result<&str> {
    line.trim().rsplit_once("http://").map(|(_, address)| address).with_context(|| format!("no address in {line}"))
}

/// Where a service logs: beside the others' files, to be looked at when something failed.
fn log(who: &str) -> Result<File> {
    let path = std::env::temp_dir().join(format!("tieline-bench-{}.log", who.rsplit(' ').next().unwrap_or_default()));
    File::create(&path).with_context(|| format!("could not write {}", path.display()))
}

/// A folder that goes with the value.
struct Folder(PathBuf);

fn tempdir() -> Result<Folder> {
    let path = std::env::temp_dir().join(format!("tieline-bench-{}", std::process::id()));
    std::fs::create_dir_all(&path).with_context(|| format!("could not make {}", path.display()))?;
    Ok(Folder(path))
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
