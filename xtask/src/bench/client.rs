//! `cargo xtask bench client`: our client, the thinnest programs for the same work, and the peers, by turns against one org
//! that answers from memory.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::{Measurements, Org, output, variable};
use crate::parts::Part;
use crate::steps::{cargo, run_shown, say};

/// Who does a case. [`Who::OneThread`] is ours on a runtime of one thread, as the floor has it; [`Who::FloorThreads`] is the
/// floor on several.
#[derive(Clone, Copy)]
enum Who {
    Ours,
    OneThread,
    Floor,
    FloorThreads,
    Node,
    Python,
}

use Who::{Floor, FloorThreads, Node, OneThread, Ours, Python};

/// The cases in the order in which they run: ours and the peers' alternate, so that a busy neighbour slows both. What stands
/// behind a `:` is another way to do the same work.
const CASES: [(Who, &str); 31] = [
    (Ours, "query"),
    (Node, "query"),
    (OneThread, "query"),
    (Python, "query"),
    (Floor, "query"),
    (Ours, "query: dynamic"),
    (Ours, "query, gzip"),
    (Node, "query, gzip"),
    (OneThread, "query, gzip"),
    (Python, "query, gzip"),
    (Floor, "query, gzip"),
    (Ours, "query, gzip: dynamic"),
    (Ours, "bulk query"),
    (Node, "bulk query"),
    (OneThread, "bulk query"),
    (Python, "bulk query"),
    (Floor, "bulk query"),
    (Ours, "bulk query: file"),
    (Python, "bulk query: file"),
    (Ours, "ingest"),
    (Node, "ingest"),
    (OneThread, "ingest"),
    (Python, "ingest"),
    (Floor, "ingest"),
    (Ours, "ingest: file"),
    (Ours, "50 callers"),
    (Node, "50 callers"),
    (OneThread, "50 callers"),
    (Python, "50 callers"),
    (Floor, "50 callers"),
    (FloorThreads, "50 callers"),
];

/// The case that is measured from outside: a process from its start to its end.
pub(super) const FIRST_QUERY: &str = "first query";
/// How often a program starts in one measurement of it. CPU time of children is told in hundredths of a second.
const STARTS: u32 = 40;
const STARTS_OF_PEERS: u32 = 2;

/// What the cases run.
struct Programs<'a> {
    root: &'a Path,
    ours: PathBuf,
    cold: PathBuf,
    /// The command line tool, if somebody has built it.
    tool: Option<PathBuf>,
    node: PathBuf,
    modules: PathBuf,
    python: PathBuf,
}

/// Runs every case so often, and the start of a process twice as often and once more.
pub(super) fn run(root: &Path, runs: usize) -> Result<Measurements> {
    let programs = Programs::ready(root)?;
    say("starting the org that answers from memory");
    let org = Org::start_with(Command::new(&programs.ours).arg("fixture"))?;
    let urls: Value = serde_json::from_str(&org.info).context("the org does not say where it is")?;
    let url = |case: &str| {
        let which = if case.contains("gzip") { "gzip" } else { "plain" };
        urls[which].as_str().context("the org has no URL")
    };
    let mut found = Measurements::default();
    for turn in 1..=runs {
        for (who, case) in CASES {
            say(&format!("run {turn} of {runs}: {} {case}", programs.name(who)));
            found.take(&output(programs.command(who, case).env("ORG", url(case)?))?)?;
        }
    }
    let turns = 2 * runs + 1;
    for turn in 1..=turns {
        say(&format!("run {turn} of {turns}: {FIRST_QUERY}"));
        for (who, mut command, times) in programs.first_queries(url("plain")?) {
            started(who, &mut command, times, &mut found)?;
        }
    }
    Ok(found)
}

impl<'a> Programs<'a> {
    fn ready(root: &'a Path) -> Result<Self> {
        let node = variable(root, Part::Node, "TIELINE_TEST_NODE")?;
        let modules = variable(root, Part::Node, "TIELINE_TEST_NODE_MODULES")?;
        let python = variable(root, Part::Python, "TIELINE_TEST_PYTHON")?;
        say("building our side: cargo build --release --package tieline-bench");
        run_shown(cargo(root).args(["build", "--release", "--package", "tieline-bench"]))?;
        let release = |name: &str| root.join("target/release").join(name);
        let tool = Some(release("tieline")).filter(|tool| tool.exists());
        if tool.is_none() {
            say("`tieline query` is left out: cargo build --release makes it");
        }
        Ok(Self { root, ours: release("tieline-bench"), cold: release("tieline-cold"), tool, node, modules, python })
    }

    fn name(&self, who: Who) -> &'static str {
        match who {
            Ours => "tieline",
            OneThread => "tieline, one thread,",
            Floor => "floor",
            FloorThreads => "floor, several threads,",
            Node => "jsforce",
            Python => "simple-salesforce",
        }
    }

    fn command(&self, who: Who, case: &str) -> Command {
        let (program, first): (&Path, &[&str]) = match who {
            Ours | OneThread => (&self.ours, &["client"]),
            Floor | FloorThreads => (&self.ours, &["floor"]),
            Node => (&self.node, &["bench/client/peers.mjs"]),
            Python => (&self.python, &["bench/client/peers.py"]),
        };
        let mut command = Command::new(program);
        command.current_dir(self.root).args(first).arg(case).env("TIELINE_TEST_NODE_MODULES", &self.modules);
        match who {
            OneThread => drop(command.arg("one-thread")),
            FloorThreads => drop(command.arg("threads")),
            _ => {}
        }
        command
    }

    /// Programs that start for one query, and how often each does.
    fn first_queries(&self, org: &str) -> Vec<(&'static str, Command, u32)> {
        let ours = |program: &Path| {
            let mut command = Command::new(program);
            command.env("SF_INSTANCE_URL", org).env("SF_ACCESS_TOKEN", "00D!static");
            command
        };
        let mut all = vec![("tieline", ours(&self.cold), STARTS)];
        if let Some(tool) = &self.tool {
            let mut command = ours(tool);
            command.args(["query", "SELECT Id FROM Contact LIMIT 1"]);
            all.push(("tieline query", command, STARTS));
        }
        for (who, name) in [(Node, "jsforce"), (Python, "simple-salesforce")] {
            let mut command = self.command(who, FIRST_QUERY);
            command.env("ORG", org);
            all.push((name, command, STARTS_OF_PEERS));
        }
        all
    }
}

/// Starts a program so often, one after the other, and notes what one start takes.
fn started(who: &str, command: &mut Command, times: u32, found: &mut Measurements) -> Result<()> {
    command.stdin(Stdio::null()).stderr(Stdio::inherit());
    let (begun, cpu) = (Instant::now(), cpu_of_children()?);
    let mut told = String::new();
    for _ in 0..times {
        let output = command.output().with_context(|| format!("{who} does not start"))?;
        if !output.status.success() {
            bail!("{who} failed ({})\nhint: its own output above tells why", output.status);
        }
        told = String::from_utf8(output.stdout)?;
    }
    let (wall, cpu) = (begun.elapsed(), cpu_of_children()?.saturating_sub(cpu));
    let mut note = |unit: &str, value: f64| {
        let line = json!({"case": FIRST_QUERY, "who": who, "unit": unit, "value": value});
        found.take(&line.to_string())
    };
    note("cpu_us", cpu.as_secs_f64() * 1e6 / f64::from(times))?;
    note("wall_s", wall.as_secs_f64() / f64::from(times))?;
    let peak =
        told.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse::<f64>().ok());
    peak.map_or(Ok(()), |peak| note("peak_mb", peak / 1024.0))
}

/// CPU time of the processes that this one started and that have ended.
pub(super) fn cpu_of_children() -> Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").context("this benchmark needs Linux")?;
    // Fields are counted after the program's name, which is in parentheses and may hold anything.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    Ok(Duration::from_millis((ticks(13) + ticks(14)) * 10))
}
