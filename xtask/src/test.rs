//! `cargo xtask test`: installs what is missing and runs every test of the workspace.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::options::TestOptions;
use crate::parts::{Found, Part, find_or_install};
use crate::steps::{Meanwhile, cargo, readable_duration, run_shown, say, say_loudly};

/// The variables through which the tests learn of a part; a part that is skipped leaves them unset.
const PART_VARIABLES: [&str; 23] = [
    "TIELINE_TEST_NODE",
    "TIELINE_TEST_NODE_MODULES",
    "TIELINE_TEST_NODE20",
    "TIELINE_TEST_NODE20_MODULES",
    "TIELINE_TEST_NODE18",
    "TIELINE_TEST_NODE18_MODULES",
    "TIELINE_TEST_PYTHON",
    "TIELINE_TEST_CHROMIUM",
    "TIELINE_TEST_REDIS",
    "TIELINE_TEST_POSTGRES",
    "TIELINE_TEST_PGBOUNCER",
    "TIELINE_TEST_NGINX",
    "TIELINE_TEST_KEYCHAIN",
    "TIELINE_TEST_SF",
    "TIELINE_TEST_OPENBAO",
    "TIELINE_TEST_MOTO",
    "TIELINE_TEST_SCHEMATHESIS",
    "TIELINE_TEST_OIDC_MODULES",
    "TIELINE_TEST_DEPLOY_MODULES",
    "TIELINE_TEST_DEPLOY_PROGRAMS",
    "TIELINE_TEST_HYPERD",
    "TIELINE_TEST_PYARROW",
    "TIELINE_TEST_FIXTURES",
];

/// Installs the parts, runs the tests and prints a summary.
pub(crate) fn run(root: &Path, options: &TestOptions) -> Result<()> {
    let started = Instant::now();
    let mut skipped = options.skip.clone();
    let test = || {
        let mut command = cargo(root);
        command.args(["test", "--workspace", "--no-fail-fast"]);
        command
    };
    // Parts come over the network, and are unpacked by programs of one thread: cores are free meanwhile.
    let mut build = None;
    if !options.cargo_args.iter().any(|arg| arg == "--doc") {
        say("building the tests while the parts are made ready: cargo test --workspace --no-run");
        build = Some(Meanwhile::start(test().arg("--no-run").args(&options.cargo_args))?);
    }
    let variables = ready_parts(root, &mut skipped)?;
    build.map_or(Ok(()), Meanwhile::end)?;

    let skip_list = skipped.iter().map(|part| part.name()).collect::<Vec<_>>().join(",");
    let mut command = test();
    command.args(&options.cargo_args);
    for name in PART_VARIABLES {
        command.env_remove(name);
    }
    command.envs(variables).env("TIELINE_TEST_SKIP", &skip_list).env_remove("TIELINE_TEST_LONG");
    if options.long {
        command.env("TIELINE_TEST_LONG", "1");
    }
    say(if options.long {
        "running all tests, the long ones too: cargo test --workspace"
    } else {
        "running the everyday tests: cargo test --workspace"
    });
    let mut outcome = run_shown(&mut command);
    if options.long && outcome.is_ok() {
        outcome = crate::dist::run(root, "lambda");
    }

    if !skipped.is_empty() {
        say_loudly(&format!("SKIPPED, and so not tested: {}", skip_list.replace(',', ", ")));
    }
    let verdict = if outcome.is_ok() { "the tests passed" } else { "the tests FAILED" };
    let length = if options.long { "" } else { " (without the long ones: --long runs them)" };
    say(&format!("{verdict}{length} in {}", readable_duration(started.elapsed())));
    outcome
}

/// Makes every part ready that is not skipped, and returns the variables that tell the tests of them.
///
/// All parts are tried before this fails, so that one run tells of everything that is missing.
fn ready_parts(root: &Path, skipped: &mut BTreeSet<Part>) -> Result<Vec<(&'static str, OsString)>> {
    let mut variables = Vec::new();
    let mut failed = Vec::new();
    for part in Part::ALL {
        if skipped.contains(&part) {
            say(&format!("{part}: skipped, as asked"));
            continue;
        }
        match find_or_install(part, root) {
            Ok(Found::Here(values)) => variables.extend(values),
            Ok(Found::CannotBeInstalled(reason)) => {
                say_loudly(&format!("{part}: {reason}; the tests that need it are skipped"));
                skipped.insert(part);
            }
            Err(error) => {
                say_loudly(&format!(
                    "{part} could not be had: {error:#}\nto go on without it: cargo xtask test --skip {part}"
                ));
                failed.push(part.name());
            }
        }
    }
    if !failed.is_empty() {
        bail!(
            "no test was run, because of what could not be had: {}\nhint: to go on without: cargo xtask test --skip {}",
            failed.join(", "),
            failed.join(" --skip ")
        );
    }
    Ok(variables)
}
