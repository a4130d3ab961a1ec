//! `cargo xtask`: installs what the tests of Tieline need and runs them, and checks the source.
//!
//! The alias is in `.cargo/config.toml`; `cargo xtask --help` lists the commands.
#![expect(clippy::print_stderr, reason = "this program talks to the developer at the terminal")]

mod bench;
mod check;
mod contract;
#[cfg(test)]
mod directions;
mod dist;
mod options;
mod parts;
mod steps;
mod test;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::options::Request;

/// Reads the command line, does what it asks for, and turns an error into exit code 1.
fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The body of [`main`].
fn run() -> Result<ExitCode> {
    let request = options::parse(std::env::args_os().skip(1))?;
    let done = match request {
        Request::Help(text) => {
            eprint!("{text}");
            Ok(())
        }
        Request::Contract(arguments) => return contract::run(&repository_root()?, &arguments),
        Request::Test(options) => test::run(&repository_root()?, &options),
        Request::Bench(options) => bench::run(&repository_root()?, &options),
        Request::Dist(what) => dist::run(&repository_root()?, &what),
        Request::Check => check::run(&repository_root()?),
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// The folder of the workspace: the parent of this package's folder.
fn repository_root() -> Result<PathBuf> {
    let package =
        std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    package
        .parent()
        .map(Path::to_path_buf)
        .with_context(|| format!("the folder {} has no parent\nhint: run `cargo xtask`", package.display()))
}
