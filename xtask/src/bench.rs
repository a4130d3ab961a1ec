//! `cargo xtask bench`: ours and the peers' side of a benchmark in one run, against one org, as one table.

mod client;
mod postgres;
mod service;
mod sync;
mod targets;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::parts::{Found, Part, find_or_install};
use crate::steps::{cargo, run_shown, say};

/// What `cargo xtask bench` is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BenchOptions {
    /// Which benchmark.
    pub(crate) name: String,
    /// How often each case runs; the table shows medians.
    pub(crate) runs: usize,
    /// One JSON object a line instead of a table.
    pub(crate) json: bool,
    /// Of `service`: minutes of mixed load instead of the cases.
    pub(crate) soak: Option<u64>,
}

/// The cases of `tokens`: ours, those of jsforce and Node, those of simple-salesforce and Python.
const OURS: [&str; 3] = ["lookup", "sign", "herd"];
const NODE: [&str; 4] = ["lookup", "sign", "herd", "loop"];
const PYTHON: [&str; 3] = ["lookup", "sign", "herd"];

/// Runs a benchmark and prints what it found.
pub(crate) fn run(root: &Path, options: &BenchOptions) -> Result<()> {
    let found = match options.name.as_str() {
        "client" => client::run(root, options.runs)?,
        "tokens" => tokens(root, options.runs)?,
        "lambda" => lambda(root, options.runs)?,
        "datacloud" => datacloud(root, options.runs)?,
        "service" => service::run(root, options)?,
        "pages" => service::pages(root, options.runs)?,
        "sync" => sync::run(root, options.runs)?,
        other => bail!(
            "there is no benchmark {other:?}\nhint: the benchmarks are: client, tokens, lambda, datacloud, service, pages, sync"
        ),
    };
    if matches!(options.name.as_str(), "client" | "sync") && !options.json {
        found.print_with_targets();
    } else {
        found.print(&options.name, options.json);
    }
    Ok(())
}

/// Where a part's variable points to.
fn variable(root: &Path, part: Part, name: &str) -> Result<PathBuf> {
    match find_or_install(part, root)? {
        Found::Here(values) => values
            .into_iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| PathBuf::from(value))
            .with_context(|| format!("{part} does not say where {name} is")),
        Found::CannotBeInstalled(reason) => bail!("{part}: {reason}"),
    }
}

/// The extension as it is shipped, and functions in Node with and without it, in simulated environments.
fn lambda(root: &Path, runs: usize) -> Result<Measurements> {
    let node = variable(root, Part::Node, "TIELINE_TEST_NODE")?;
    let modules = variable(root, Part::Node, "TIELINE_TEST_NODE_MODULES")?;
    let moto = variable(root, Part::Moto, "TIELINE_TEST_MOTO")?;
    let package = ["--package", "tieline-lambda"];
    say("building the extension as it is shipped: cargo build --profile lambda --package tieline-lambda");
    let mut build = cargo(root);
    build.args(["build", "--profile", "lambda", "--no-default-features", "--bin", "tieline-extension"]).args(package);
    run_shown(&mut build)?;
    say("building the environments: cargo bench --package tieline-lambda --bench lambda");
    run_shown(cargo(root).args(["bench", "--no-run", "--bench", "lambda"]).args(package))?;
    let mut found = Measurements::default();
    for turn in 1..=runs {
        say(&format!("run {turn} of {runs}"));
        let mut bench = cargo(root);
        bench.args(["bench", "--quiet", "--bench", "lambda"]).args(package);
        bench.env("TIELINE_BENCH_EXTENSION", root.join("target/lambda/tieline-extension"));
        bench.env("TIELINE_TEST_NODE", &node).env("TIELINE_TEST_NODE_MODULES", &modules);
        found.take(&output(bench.env("TIELINE_TEST_MOTO", &moto).env_remove("TIELINE_TEST_SKIP"))?)?;
    }
    Ok(found)
}

/// Our side and the peers' of having tokens, each against an org of its own.
fn tokens(root: &Path, runs: usize) -> Result<Measurements> {
    let node = variable(root, Part::Node, "TIELINE_TEST_NODE")?;
    let modules = variable(root, Part::Node, "TIELINE_TEST_NODE_MODULES")?;
    let python = variable(root, Part::Python, "TIELINE_TEST_PYTHON")?;
    say("building our side: cargo build --release --package tieline-bench");
    run_shown(cargo(root).args(["build", "--release", "--package", "tieline-bench"]))?;
    let ours = root.join("target/release/tieline-bench");

    let mut found = Measurements::default();
    for turn in 1..=runs {
        for (who, cases) in [("tieline", &OURS[..]), ("node", &NODE[..]), ("python", &PYTHON[..])] {
            for case in cases {
                say(&format!("run {turn} of {runs}: {who} {case}"));
                // Each case has an org of its own: no peer finds what another has left.
                let org = Org::start(&ours)?;
                let mut command = match who {
                    "tieline" => {
                        let mut command = Command::new(&ours);
                        command.args(["tokens", case]);
                        command
                    }
                    "node" => {
                        let mut command = Command::new(&node);
                        command
                            .arg(root.join("bench/tokens/peers.mjs"))
                            .arg(case)
                            .env("TIELINE_TEST_NODE_MODULES", &modules);
                        command
                    }
                    _ => {
                        let mut command = Command::new(&python);
                        command.arg(root.join("bench/tokens/peers.py")).arg(case);
                        command
                    }
                };
                found.take(&output(command.env("ORG", &org.info))?)?;
            }
        }
    }
    Ok(found)
}

/// Our reader of Data Cloud and Python's, by turns, of the same Hyper.
fn datacloud(root: &Path, runs: usize) -> Result<Measurements> {
    let hyperd = variable(root, Part::Hyper, "TIELINE_TEST_HYPERD")?;
    let python = variable(root, Part::Hyper, "TIELINE_TEST_PYARROW")?;
    say("building our side: cargo build --release --package tieline-bench");
    run_shown(cargo(root).args(["build", "--release", "--package", "tieline-bench"]))?;
    let ours = root.join("target/release/tieline-bench");
    let org = Org::start_with(Command::new(&ours).args(["org", "datacloud"]).env("TIELINE_TEST_HYPERD", &hyperd))?;
    let mut found = Measurements::default();
    for turn in 1..=runs {
        for case in ["read", "parquet"] {
            for place in ["direct", "tenant"] {
                say(&format!("run {turn} of {runs}: {case}, {place}"));
                let mut command = Command::new(&ours);
                found.take(&output(command.args(["datacloud", case, place]).env("ORG", &org.info))?)?;
                let mut command = Command::new(&python);
                command.arg(root.join("bench/datacloud/peers.py")).args([case, place]).env("ORG", &org.info);
                command.env("PROTO", root.join("crates/datacloud/proto/hyper_service.proto"));
                found.take(&output(&mut command)?)?;
            }
        }
    }
    Ok(found)
}

/// A local org in a process of its own; it ends when its input does.
struct Org {
    process: Child,
    info: String,
}

impl Org {
    fn start(program: &Path) -> Result<Self> {
        Self::start_with(Command::new(program).arg("org"))
    }

    fn start_with(command: &mut Command) -> Result<Self> {
        let mut process =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("could not start the local org")?;
        let mut info = String::new();
        let stdout = process.stdout.take().context("the local org has no output")?;
        BufReader::new(stdout).read_line(&mut info)?;
        Ok(Self { process, info: info.trim().to_owned() })
    }
}

impl Drop for Org {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

fn output(command: &mut Command) -> Result<String> {
    let line = format!("{command:?}");
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        let program = line.split(' ').next().unwrap_or_default();
        bail!("{program} failed ({})\nhint: its own output above tells why", output.status);
    }
    String::from_utf8(output.stdout).context("a measurement is not text")
}

/// Values by case, who and unit, in the order in which they came first.
#[derive(Default)]
struct Measurements {
    order: Vec<(String, String, String)>,
    values: BTreeMap<(String, String, String), Vec<f64>>,
}

impl Measurements {
    fn take(&mut self, lines: &str) -> Result<()> {
        for line in lines.lines().filter(|line| line.starts_with('{')) {
            let value: Value = serde_json::from_str(line).with_context(|| format!("not a measurement: {line}"))?;
            let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
            // A case that counts more than one thing says which.
            let case = match text("of").as_str() {
                "" => text("case"),
                of => format!("{}: {of}", text("case")),
            };
            let key = (case, text("who"), text("unit"));
            let number = value["value"].as_f64().with_context(|| format!("no number in {line}"))?;
            if !self.values.contains_key(&key) {
                self.order.push(key.clone());
            }
            self.values.entry(key).or_default().push(number);
        }
        Ok(())
    }

    #[expect(clippy::print_stdout, reason = "the result of the command")]
    fn print(&self, bench: &str, as_json: bool) {
        let mut rows = self.order.clone();
        // Cases together, in the order of their first appearance.
        let place = |case: &str| self.order.iter().position(|(c, _, _)| c == case);
        rows.sort_by_key(|(case, _, _)| place(case));
        if !as_json {
            println!("| case | who | unit | median | runs |\n| --- | --- | --- | ---: | ---: |");
        }
        for key in rows {
            let values = &self.values[&key];
            let (median, runs, (case, who, unit)) = (median(values), values.len(), key);
            if as_json {
                let line =
                    json!({"bench": bench, "case": case, "who": who, "unit": unit, "median": median, "runs": runs});
                println!("{line}");
            } else {
                println!("| {case} | {who} | {unit} | {} | {runs} |", readable(median));
            }
        }
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => sorted[length / 2],
        length => f64::midpoint(sorted[length / 2 - 1], sorted[length / 2]),
    }
}

/// Three significant digits for small numbers, none behind the point for large ones.
fn readable(number: f64) -> String {
    match number {
        n if n >= 100.0 || n.fract() == 0.0 => format!("{n:.0}"),
        n if n >= 10.0 => format!("{n:.1}"),
        n => format!("{n:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one() {
        assert_eq!(median(&[9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[9.0, 1.0, 2.0, 4.0]), 3.0);
    }

    #[test]
    fn measurements_are_taken_by_case_who_and_unit() {
        let mut found = Measurements::default();
        let lines = "noise\n{\"case\":\"a\",\"who\":\"x\",\"unit\":\"ms\",\"value\":3}\n";
        found.take(lines).unwrap();
        found.take(&lines.replace('3', "5")).unwrap();
        assert_eq!(found.values.values().next().unwrap(), &[3.0, 5.0]);
        assert!(found.take("{\"case\":\"a\"}").is_err());
    }
}
