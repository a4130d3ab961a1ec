//! The command line of `cargo xtask`.

use std::collections::BTreeSet;
use std::ffi::OsString;

use anyhow::{Result, bail};

use crate::bench::BenchOptions;
use crate::parts::Part;

/// What `cargo xtask --help` prints.
const HELP: &str = "\
Installs what Tieline's tests need and runs them, and checks the source.

Usage: cargo xtask <COMMAND>

Commands:
  test      Install what is missing, then run all tests, documentation tests included
  bench     Run a benchmark, ours and the peers' side by side
  contract  Try what we expect of Salesforce on a real org, and report what held
  dist      Build what is given to others: the extension as layers for AWS Lambda
  check     Check formatting, lints, documentation, licences and banned crates

Options:
  -h, --help  Print this text; `cargo xtask <COMMAND> --help` tells more
";

/// What `cargo xtask test --help` prints.
const TEST_HELP: &str = "\
Installs what is missing into target/parts/ or by apt-get while the tests are built, then runs `cargo test --workspace`.

Usage: cargo xtask test [--long] [--skip <PART>]... [-- <ARGS>...]

Arguments:
  <ARGS>...      Added to `cargo test --workspace`, such as `--test NAME`

Options:
      --long         Run the long tests too (sets TIELINE_TEST_LONG=1), and build the Lambda layers
      --skip <PART>  Neither install this part nor run the tests that need it; repeat it for more
  -h, --help         Print this text

Parts:
  node          Node 22 with jsforce, playwright-core and TypeScript, and Node 20 and 18 with the newest jsforce that loads there,
                into target/parts/node, node20 and node18
                (npm itself comes from the Debian package `npm` if it is missing)
  python        simple-salesforce and the Lambda runtime in a virtual environment, into target/parts/python
                (`python3-venv` comes from Debian if it is missing)
  chromium      the Debian package `chromium-headless-shell` and fonts to look at pages with
  redis         the Debian package `redis-server`
  postgres      the Debian package `postgresql`
  pgbouncer     the Debian package `pgbouncer`
  proxy         the Debian package `nginx`
  keychain      the Debian packages `gnome-keyring` and `dbus`
  sf            the Salesforce CLI, into target/parts/sf (half a gigabyte)
  openbao       OpenBao's server, the open twin of HashiCorp Vault, into target/parts/openbao
  moto          moto, which stands for AWS, into target/parts/moto
  schemathesis  Schemathesis, which tests a service against its OpenAPI document, into target/parts/schemathesis
  oidc          oidc-provider, a certified OpenID provider, into target/parts/oidc
  deploy        AWS SAM, CDK, cfn-lint, esbuild and a reader of Terraform's language, into target/parts/deploy
  hyper         Hyper's server, which stands behind the local org's Data Cloud, and pyarrow, into target/parts/hyper
  fixtures      the recorded files in ../shared/fixtures; skipped by itself where they are not there

A part that cannot be had makes the command fail unless it is skipped.

Environment of the tests:
  TIELINE_TEST_NODE          the node binary
  TIELINE_TEST_NODE_MODULES  the folder node_modules with jsforce and playwright-core
  TIELINE_TEST_NODE20        the node binary of Node 20 (NODE18: of Node 18); …_MODULES its folder node_modules
  TIELINE_TEST_PYTHON        the python that has simple-salesforce
  TIELINE_TEST_CHROMIUM      the browser
  TIELINE_TEST_REDIS         the redis-server
  TIELINE_TEST_POSTGRES      the folder with initdb and pg_ctl
  TIELINE_TEST_PGBOUNCER     the program `pgbouncer`
  TIELINE_TEST_NGINX         the program `nginx`
  TIELINE_TEST_KEYCHAIN      the gnome-keyring-daemon
  TIELINE_TEST_SF            the Salesforce CLI
  TIELINE_TEST_OPENBAO       the program `bao`
  TIELINE_TEST_MOTO          the program `moto_server`
  TIELINE_TEST_SCHEMATHESIS  the program `schemathesis`
  TIELINE_TEST_OIDC_MODULES  the folder node_modules with oidc-provider
  TIELINE_TEST_DEPLOY_MODULES   the folder node_modules with CDK and esbuild
  TIELINE_TEST_DEPLOY_PROGRAMS  the folder with `sam` and `cfn-lint`
  TIELINE_TEST_HYPERD        the program `hyperd`
  TIELINE_TEST_PYARROW       a Python with pyarrow and grpcio
  TIELINE_TEST_FIXTURES      the folder of recorded files
  TIELINE_TEST_SKIP          the skipped parts, separated by commas; empty if there are none
  TIELINE_TEST_LONG          1 with --long, otherwise not set
";

/// What `cargo xtask bench --help` prints.
const BENCH_HELP: &str = "\
Runs a benchmark, our side and the peers' in one run against one local org, and prints a markdown table of medians.

Usage: cargo xtask bench <NAME> [--runs <N>] [--soak <MINUTES>] [--json]

Benchmarks:
  client     Large queries, bulk jobs, many callers and the first query of a process: beside jsforce and simple-salesforce,
             and which targets are met
  tokens     Finding a token, signing an assertion, and a thousand that ask at once: beside jsforce and simple-salesforce
  lambda     The extension as it is shipped, and functions in Node with it and without, in frozen environments
  datacloud  The same queries from the same Hyper, beside Python
  sync       200,000 and 1,000,000 contacts into SQLite and PostgreSQL, and a poll that finds nothing new: beside
             simple-salesforce with COPY and with sqlite3, and which targets are met
  service    Routes of `tieline serve` and an import of 100,000 contacts, on SQLite and PostgreSQL, beside a small service on
             Node, and leads that are written one by one

Options:
      --runs <N>        How often each case runs [default: 3]
      --soak <MINUTES>  Only of `service`: mixed load for so long instead, and whether memory stays
      --json            One JSON object a line: bench, case, who, unit, median, runs
  -h, --help            Print this text
";

/// What `cargo xtask contract --help` prints.
const CONTRACT_HELP: &str = "\
Tries what we expect of Salesforce on the org that the SF_* variables name, and reports what held.

Usage: cargo xtask contract [OPTIONS]

Take a scratch org, a sandbox or a Developer Edition; others are refused. docs/contract.md tells what is written there
(and deleted again), and what to do with the report.

Options:
      --report <FILE>               Write a Markdown file too, to attach to an issue: no secrets, names, hosts and ids
      --json                        One JSON object a line instead of text
      --read-only                   Write no records
      --deploy                      Send deploys too; they change nothing
      --keep                        Leave in the org what was made
      --area <AREA>                 Only this area, such as `queries` or `bulk-ingest`; repeat it for more
      --external-id <OBJECT.FIELD>  An external id that upserts may use
      --max-calls <N>               Skip the rest after so many API calls [default: 1000]
      --even-production             Take a production org too
      --control <URL>               The control API, if the org is the emulator
      --list                        List the expectations, and ask nobody
  -h, --help                        Print this text

Exit codes: 0 all held, 1 something did not, 2 it could not run.
";

/// What `cargo xtask dist --help` prints.
const DIST_HELP: &str = "\
Builds the Lambda extension for x86-64 and arm64 and packs it as layers, into target/dist/.

Usage: cargo xtask dist lambda

Fails if a program has more than 8 MB or needs a newer C library than Lambda has (2.34). A processor whose Rust standard
library is not installed is left out, and named. The cross-compiler (cargo-zigbuild, ziglang) is installed into
target/parts/zigbuild.

Options:
  -h, --help  Print this text
";

/// What `cargo xtask check --help` prints.
const CHECK_HELP: &str = "\
Checks the source: every check runs, and the command fails if one of them did.

Usage: cargo xtask check

Checks:
  cargo fmt --all --check
  cargo clippy --workspace --all-targets -- -D warnings
  cargo doc --workspace --no-deps, with warnings as errors
  cargo deny check bans licenses sources (cargo-deny is installed into target/parts/ if it is missing)

Options:
  -h, --help  Print this text
";

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Print a text and end.
    Help(&'static str),
    /// Install what is missing and run the tests.
    Test(TestOptions),
    /// Run a benchmark.
    Bench(BenchOptions),
    /// Try what we expect of Salesforce, with these arguments for the suite.
    Contract(Vec<OsString>),
    /// Build what is given to others.
    Dist(String),
    /// Check the source.
    Check,
}

/// The options of `cargo xtask test`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct TestOptions {
    /// Whether the long tests run too.
    pub(crate) long: bool,
    /// The parts that are neither installed nor tested.
    pub(crate) skip: BTreeSet<Part>,
    /// What is added to `cargo test --workspace`.
    pub(crate) cargo_args: Vec<OsString>,
}

/// Reads the arguments that follow the program's name.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Request> {
    let mut args = args.into_iter();
    let Some(command) = args.next() else { return Ok(Request::Help(HELP)) };
    match command.to_str() {
        Some("-h" | "--help" | "help") => Ok(Request::Help(HELP)),
        Some("test") => parse_test(args),
        Some("bench") => parse_bench(args),
        Some("contract") => {
            let arguments: Vec<OsString> = args.collect();
            if arguments.iter().any(is_help) {
                return Ok(Request::Help(CONTRACT_HELP));
            }
            Ok(Request::Contract(arguments))
        }
        Some("dist") => match args.next() {
            None => Ok(Request::Help(DIST_HELP)),
            Some(arg) if is_help(&arg) => Ok(Request::Help(DIST_HELP)),
            Some(what) => Ok(Request::Dist(what.to_string_lossy().into_owned())),
        },
        Some("check") => match args.next() {
            None => Ok(Request::Check),
            Some(arg) if is_help(&arg) => Ok(Request::Help(CHECK_HELP)),
            Some(arg) => bail!("unknown argument {arg:?} of `check`\nhint: see `cargo xtask check --help`"),
        },
        _ => bail!(
            "unknown command {command:?}\nhint: the commands are `test`, `bench`, `contract`, `dist` and `check`; see `cargo xtask --help`"
        ),
    }
}

/// Reads the arguments that follow `test`.
fn parse_test(mut args: impl Iterator<Item = OsString>) -> Result<Request> {
    let mut options = TestOptions::default();
    while let Some(arg) = args.next() {
        match arg.to_str() {
            Some("-h" | "--help") => return Ok(Request::Help(TEST_HELP)),
            Some("--long") => options.long = true,
            Some("--skip") => {
                let Some(name) = args.next() else {
                    bail!("--skip needs the name of a part\nhint: the parts are {}", Part::names())
                };
                options.skip.insert(parse_part(&name.to_string_lossy())?);
            }
            Some(other) if other.starts_with("--skip=") => {
                options.skip.insert(parse_part(&other["--skip=".len()..])?);
            }
            Some("--") => {
                options.cargo_args = args.collect();
                break;
            }
            _ => bail!("unknown argument {arg:?} of `test`\nhint: see `cargo xtask test --help`"),
        }
    }
    Ok(Request::Test(options))
}

/// Reads the arguments that follow `bench`.
fn parse_bench(mut args: impl Iterator<Item = OsString>) -> Result<Request> {
    let mut options = BenchOptions { name: String::new(), runs: 3, json: false, soak: None };
    while let Some(arg) = args.next() {
        match arg.to_str() {
            Some("-h" | "--help") => return Ok(Request::Help(BENCH_HELP)),
            Some("--json") => options.json = true,
            Some("--soak") => {
                let minutes = args.next().and_then(|text| text.to_str().and_then(|text| text.parse().ok()));
                let Some(minutes) = minutes.filter(|minutes| *minutes >= 6) else {
                    bail!("--soak needs a number of minutes, six at least\nhint: see `cargo xtask bench --help`")
                };
                options.soak = Some(minutes);
            }
            Some("--runs") => {
                let runs = args.next().and_then(|text| text.to_str().and_then(|text| text.parse().ok()));
                let Some(runs) = runs.filter(|runs| *runs > 0) else {
                    bail!("--runs needs a number above 0\nhint: see `cargo xtask bench --help`")
                };
                options.runs = runs;
            }
            Some(name) if !name.starts_with('-') && options.name.is_empty() => name.clone_into(&mut options.name),
            _ => bail!("unknown argument {arg:?} of `bench`\nhint: see `cargo xtask bench --help`"),
        }
    }
    if options.name.is_empty() {
        return Ok(Request::Help(BENCH_HELP));
    }
    if options.soak.is_some() && options.name != "service" {
        bail!("--soak is for `service` alone\nhint: see `cargo xtask bench --help`");
    }
    Ok(Request::Bench(options))
}

/// Reads the name of a part.
fn parse_part(name: &str) -> Result<Part> {
    match Part::ALL.into_iter().find(|part| part.name() == name) {
        Some(part) => Ok(part),
        None => bail!("there is no part {name:?}\nhint: the parts are {}", Part::names()),
    }
}

/// Whether an argument asks for the help text.
fn is_help(arg: &OsString) -> bool {
    arg == "-h" || arg == "--help"
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses a command line that is separated by spaces.
    fn parsed(line: &str) -> Result<Request> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn reads_every_option_of_test() {
        let Request::Test(options) =
            parsed("test --skip chromium --long --skip=node --skip node -- --test sync").unwrap()
        else {
            panic!("not a test request")
        };
        assert!(options.long);
        assert_eq!(options.skip, BTreeSet::from([Part::Node, Part::Chromium]));
        assert_eq!(options.cargo_args, ["--test", "sync"]);
    }

    #[test]
    fn reads_commands_and_help() {
        assert_eq!(parsed("test").unwrap(), Request::Test(TestOptions::default()));
        assert_eq!(parsed("check").unwrap(), Request::Check);
        assert_eq!(parsed("dist lambda").unwrap(), Request::Dist("lambda".to_owned()));
        let passed_on = Request::Contract(vec!["--json".into(), "--area".into(), "queries".into()]);
        assert_eq!(parsed("contract --json --area queries").unwrap(), passed_on);
        assert_eq!(parsed("contract --json --help").unwrap(), Request::Help(CONTRACT_HELP));
        assert_eq!(parsed("").unwrap(), Request::Help(HELP));
        assert_eq!(parsed("--help").unwrap(), Request::Help(HELP));
        assert_eq!(parsed("test --long --help").unwrap(), Request::Help(TEST_HELP));
        assert_eq!(parsed("check -h").unwrap(), Request::Help(CHECK_HELP));
    }

    #[test]
    fn refuses_what_it_does_not_know_with_a_hint() {
        for line in [
            "bench tokens --runs 0",
            "bench tokens more",
            "bench tokens --soak 60",
            "bench service --soak 1",
            "tset",
            "test --lnog",
            "test --skip",
            "test --skip ruby",
            "check --long",
        ] {
            let message = parsed(line).unwrap_err().to_string();
            assert!(message.contains("\nhint: "), "{line}: {message}");
        }
    }
}
