//! `cargo xtask bench sync`: the shipped command, the thinnest program for the same work and scripts in Python, by turns,
//! from one org that answers from memory into SQLite and PostgreSQL.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::client::cpu_of_children;
use super::postgres::Postgres;
use super::{Measurements, Org, output, variable};
use crate::parts::{Part, bench_python};
use crate::steps::{cargo, run_shown, say};

const SMALL: u64 = 200_000;
const LARGE: u64 = 1_000_000;
/// The cases of a run that finds nothing new.
pub(super) const POLL_POSTGRES: &str = "a poll of what did not change, PostgreSQL";
pub(super) const POLL_SQLITE: &str = "a poll of what did not change, SQLite";
/// How often it is made in one measurement. CPU time of children is told in hundredths of a second.
const POLLS: u32 = 20;
/// How often a process is looked at for its memory, which only grows: what it takes in its last moment is missed.
const LOOK_EVERY: Duration = Duration::from_millis(4);
/// A key for a database that lives for minutes.
const MASTER_KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
/// Fields of the table, beside those that every mapping reads: id, stamp, whether it is deleted, and into what it was merged.
const COLUMNS: [&str; 10] = [
    "AccountId",
    "FirstName",
    "LastName",
    "Email",
    "Phone",
    "Title",
    "Department",
    "MailingCity",
    "MailingCountry",
    "CreatedDate",
];

/// Where contacts go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum To {
    Postgres,
    Sqlite,
}

use To::{Postgres as Pg, Sqlite};

/// Who does it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    /// `tieline sync mappings add` and `tieline sync run`, with the method that the mapping names.
    Ours(&'static str),
    Floor,
    Python,
}

/// The cases in the order in which they run.
const CASES: [(Who, To, u64); 12] = [
    (Who::Ours("rest"), Pg, SMALL),
    (Who::Floor, Pg, SMALL),
    (Who::Python, Pg, SMALL),
    (Who::Ours("rest"), Sqlite, SMALL),
    (Who::Floor, Sqlite, SMALL),
    (Who::Python, Sqlite, SMALL),
    (Who::Ours("rest"), Pg, LARGE),
    (Who::Floor, Pg, LARGE),
    (Who::Ours("rest"), Sqlite, LARGE),
    (Who::Floor, Sqlite, LARGE),
    (Who::Ours("bulk"), Pg, LARGE),
    (Who::Ours("bulk"), Sqlite, LARGE),
];

struct Programs {
    root: PathBuf,
    tieline: PathBuf,
    ours: PathBuf,
    python: PathBuf,
    postgres: PathBuf,
}

/// A database for one case, and what runs there.
struct Place<'p> {
    programs: &'p Programs,
    to: To,
    database: String,
    folder: PathBuf,
    org: &'p str,
}

/// Runs every case so often, each time into a new database.
pub(super) fn run(root: &Path, runs: usize) -> Result<Measurements> {
    let programs = Programs::ready(root)?;
    say("starting the org that answers from memory");
    let org = Org::start_with(Command::new(&programs.ours).args(["fixture", "sync"]))?;
    let urls: Value = serde_json::from_str(&org.info).context("the org does not say where it is")?;
    let url = |rows: u64| urls[if rows == SMALL { "small" } else { "large" }].as_str().context("the org has no URL");
    let folder = std::env::temp_dir().join(format!("tieline-bench-sync-{}", std::process::id()));
    let mut found = Measurements::default();
    for turn in 1..=runs {
        let server = Postgres::start(&programs.postgres)?;
        for (n, (who, to, rows)) in CASES.into_iter().enumerate() {
            let case = case(who, to, rows);
            say(&format!("run {turn} of {runs}: {} {case}", name(who, to)));
            std::fs::create_dir_all(&folder)?;
            let database = match to {
                Pg => server.database(&format!("case_{n}"))?,
                Sqlite => folder.join("case.db").display().to_string(),
            };
            let place = Place { programs: &programs, to, database, folder: folder.clone(), org: url(rows)? };
            let done = match who {
                Who::Ours(method) => place.ours(method, rows, &case, &mut found),
                other => place.other(other, rows, &case, &mut found),
            };
            std::fs::remove_dir_all(&folder)?;
            done?;
        }
    }
    Ok(found)
}

fn case(who: Who, to: To, rows: u64) -> String {
    let number = if rows == SMALL { "200,000" } else { "1,000,000" };
    let way = if who == Who::Ours("bulk") { "Bulk" } else { "REST" };
    let database = if to == Pg { "PostgreSQL" } else { "SQLite" };
    format!("{number} by {way} into {database}")
}

fn name(who: Who, to: To) -> &'static str {
    match (who, to) {
        (Who::Ours(_), _) => "tieline",
        (Who::Floor, _) => "floor",
        (Who::Python, Pg) => "simple-salesforce + COPY",
        (Who::Python, Sqlite) => "simple-salesforce + sqlite3",
    }
}

impl Programs {
    fn ready(root: &Path) -> Result<Self> {
        let postgres = variable(root, Part::Postgres, "TIELINE_TEST_POSTGRES")?;
        let python = bench_python(root)?;
        say("building our side: cargo build --release --package tieline --package tieline-bench");
        run_shown(cargo(root).args(["build", "--release", "--package", "tieline", "--package", "tieline-bench"]))?;
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        let release = |name: &str| target.join("release").join(name);
        Ok(Self {
            root: root.to_owned(),
            tieline: release("tieline"),
            ours: release("tieline-bench"),
            python,
            postgres,
        })
    }
}

impl Place<'_> {
    fn tieline(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.programs.tieline);
        command.current_dir(&self.folder).arg("sync").args(arguments).args([
            "--database-url",
            &self.database,
            "--json",
        ]);
        command.env("SF_INSTANCE_URL", self.org).env("SF_ACCESS_TOKEN", "00D!static");
        if self.to == Pg {
            command.env("TIELINE_MASTER_KEY", MASTER_KEY);
        }
        command
    }

    fn python(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.programs.python);
        command.arg(self.programs.root.join("bench/sync/peers.py")).args(arguments);
        command
    }

    fn kind(&self) -> &'static str {
        if self.to == Pg { "postgres" } else { "sqlite" }
    }

    fn ours(&self, method: &str, rows: u64, case: &str, found: &mut Measurements) -> Result<()> {
        let definition = self.folder.join("contacts.json");
        let columns =
            json!({"name": "people", "table": "people", "object": "Contact", "method": method, "columns": COLUMNS});
        std::fs::write(&definition, columns.to_string())?;
        let made = Usage::of(self.tieline(&["mappings", "add"]).arg(&definition))?;
        let run = Usage::of(&mut self.tieline(&["run", "--mapping", "people", "--once"]))?;
        let report: Value = serde_json::from_str(&run.told).context("the run does not say what it has done")?;
        let whole = report["state"] == "success"
            && report["rows"]["inserted"] == rows
            && report["rows"]["failed_cells"] == 0
            && report["verified_through"].is_string();
        ensure!(whole, "the run did not write and prove {rows} rows: {report}");
        self.counted("people", rows)?;
        made.plus(&run).note(case, "tieline", rows, found)?;
        note(case, "tieline", "calls", report["api_calls"].as_f64().unwrap_or(f64::NAN), found)?;
        if method == "rest" && rows == SMALL {
            self.poll(found)?;
        }
        Ok(())
    }

    /// Runs that find nothing new, within the hour in which nothing else is due.
    fn poll(&self, found: &mut Measurements) -> Result<()> {
        let case = if self.to == Pg { POLL_POSTGRES } else { POLL_SQLITE };
        let mut all = Usage::default();
        for _ in 0..POLLS {
            let poll = Usage::of(&mut self.tieline(&["run", "--mapping", "people", "--once"]))?;
            let report: Value = serde_json::from_str(&poll.told).context("the poll does not say what it has done")?;
            ensure!(report["state"] == "success" && report["rows"]["read"] == 0, "the poll found something: {report}");
            note(case, "tieline", "calls", report["api_calls"].as_f64().unwrap_or(f64::NAN), found)?;
            all = all.plus(&poll);
        }
        all.wall /= POLLS;
        all.note(case, "tieline", u64::from(POLLS), found)
    }

    fn other(&self, who: Who, rows: u64, case: &str, found: &mut Measurements) -> Result<()> {
        let (mut command, table) = match who {
            Who::Python => (self.python(&[self.kind()]), "contact_script"),
            _ => {
                let mut command = Command::new(&self.programs.ours);
                command.args(["sync", self.kind()]);
                (command, "contact_floor")
            }
        };
        let usage = Usage::of(command.env("ORG", self.org).env("DATABASE", &self.database))?;
        self.counted(table, rows)?;
        usage.note(case, name(who, self.to), rows, found)
    }

    /// That so many rows are in a table, by another program than the one that wrote them.
    fn counted(&self, table: &str, rows: u64) -> Result<()> {
        let there = output(&mut self.python(&["count", self.kind(), &self.database, table]))?;
        ensure!(there.trim() == rows.to_string(), "there are {} rows in `{table}` instead of {rows}", there.trim());
        Ok(())
    }
}

fn note(case: &str, who: &str, unit: &str, value: f64, found: &mut Measurements) -> Result<()> {
    found.take(&json!({"case": case, "who": who, "unit": unit, "value": value}).to_string())
}

/// What a process took from its start to its end.
#[derive(Default)]
struct Usage {
    wall: Duration,
    cpu: Duration,
    /// Megabytes at the most.
    peak: f64,
    /// What it printed.
    told: String,
}

impl Usage {
    fn of(command: &mut Command) -> Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let (begun, before) = (Instant::now(), cpu_of_children()?);
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut peak: f64 = 0.0;
        let status = loop {
            peak = peak.max(peak_of(&process).unwrap_or_default());
            match process.try_wait()? {
                Some(status) => break status,
                None => std::thread::sleep(LOOK_EVERY),
            }
        };
        let (wall, cpu) = (begun.elapsed(), cpu_of_children()?.saturating_sub(before));
        if !status.success() {
            bail!("{program} failed ({status})\nhint: its own output above tells why");
        }
        // It prints a line at its end, which the pipe has room for.
        let told = process.stdout.take().map(std::io::read_to_string).transpose()?.unwrap_or_default();
        Ok(Self { wall, cpu, peak, told })
    }

    fn plus(&self, next: &Self) -> Self {
        Self {
            wall: self.wall + next.wall,
            cpu: self.cpu + next.cpu,
            peak: self.peak.max(next.peak),
            told: next.told.clone(),
        }
    }

    fn note(&self, case: &str, who: &str, rows: u64, found: &mut Measurements) -> Result<()> {
        note(case, who, "cpu_us", self.cpu.as_secs_f64() * 1e6 / rows as f64, found)?;
        note(case, who, "wall_s", self.wall.as_secs_f64(), found)?;
        note(case, who, "peak_mb", self.peak, found)
    }
}

/// The most memory that a running process has had, in megabytes; none when it has ended.
fn peak_of(process: &Child) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok().map(|kilobytes: f64| kilobytes / 1024.0)
}
