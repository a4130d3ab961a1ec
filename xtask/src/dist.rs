//! `cargo xtask dist lambda`: the extension as layers for AWS Lambda, one for each processor.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use zip::write::SimpleFileOptions;

use crate::parts::python::zigbuild;
use crate::steps::{answer, cargo, run_shown, say, say_loudly};

/// The C library of Amazon Linux 2023, which all of Lambda's current runtimes are made of.
const GLIBC: (u32, u32) = (2, 34);
/// Lambda unpacks a layer at each cold start, and counts it in the function's 250 megabytes.
const LARGEST: u64 = 8_000_000;

/// Processors of Lambda: its name for them, and Rust's.
const TARGETS: [(&str, &str); 2] = [("x86_64", "x86_64-unknown-linux-gnu"), ("arm64", "aarch64-unknown-linux-gnu")];

/// Builds what `what` names, and says where it is.
pub(crate) fn run(root: &Path, what: &str) -> Result<()> {
    if what != "lambda" {
        bail!("there is nothing to distribute called {what:?}\nhint: cargo xtask dist lambda");
    }
    let zigbuild = zigbuild(root)?;
    let mut missing = Vec::new();
    for (processor, target) in TARGETS {
        if !has_standard_library(target) {
            say_loudly(&format!(
                "{processor}: NOT BUILT, because Rust's standard library for {target} is not installed\n\
                 hint: rustup target add {target}"
            ));
            missing.push(processor);
            continue;
        }
        let program = build(root, &zigbuild, target)?;
        let size = fs::metadata(&program)?.len();
        let needed = glibc_of(&fs::read(&program)?);
        ensure!(size <= LARGEST, "{} has {size} bytes, more than {LARGEST}", program.display());
        ensure!(
            needed <= GLIBC,
            "{} needs GLIBC_{}.{}, and Lambda has {}.{}",
            program.display(),
            needed.0,
            needed.1,
            GLIBC.0,
            GLIBC.1
        );
        let layer = pack(root, processor, &program)?;
        say(&format!(
            "{processor}: {} ({:.1} MB, {:.1} MB zipped, needs GLIBC_{}.{} at most)",
            layer.strip_prefix(root).unwrap_or(&layer).display(),
            size as f64 / 1e6,
            fs::metadata(&layer)?.len() as f64 / 1e6,
            needed.0,
            needed.1
        ));
    }
    // A deployment that goes on without one would fail later, where nobody remembers why.
    ensure!(missing.is_empty(), "no layer was built for {}\nhint: see above", missing.join(" and "));
    Ok(())
}

/// Cross-compiled in any case: linked against the C library that Lambda has, not against this machine's.
fn build(root: &Path, zigbuild: &Path, target: &str) -> Result<PathBuf> {
    say(&format!("building tieline-extension for {target}: cargo zigbuild --profile lambda"));
    let cargo = cargo(root);
    let mut command = Command::new(zigbuild);
    command.current_dir(root).args([
        "zigbuild",
        "--profile",
        "lambda",
        "--package",
        "tieline-lambda",
        "--no-default-features",
    ]);
    command.args(["--bin", "tieline-extension", "--target"]).arg(format!("{target}.{}.{}", GLIBC.0, GLIBC.1));
    command.env("CARGO", cargo.get_program());
    // The linker is a module of the python beside the command, which looks for it on the path.
    let folder = zigbuild.parent().unwrap_or(root).to_owned();
    let path = std::env::var_os("PATH").unwrap_or_default();
    command.env("PATH", std::env::join_paths([folder].into_iter().chain(std::env::split_paths(&path)))?);
    run_shown(&mut command)?;
    Ok(root.join("target").join(target).join("lambda/tieline-extension"))
}

fn has_standard_library(target: &str) -> bool {
    let sysroot = answer("rustc", &["--print", "sysroot"]).unwrap_or_default();
    Path::new(&sysroot).join("lib/rustlib").join(target).join("lib").is_dir()
}

/// A layer: what is in its folder `extensions` is started by Lambda.
fn pack(root: &Path, processor: &str, program: &Path) -> Result<PathBuf> {
    let folder = root.join("target/dist");
    fs::create_dir_all(&folder).with_context(|| format!("could not make the folder {}", folder.display()))?;
    let path = folder.join(format!("tieline-extension-{processor}.zip"));
    let written = || format!("could not write {}", path.display());
    let mut zip = zip::ZipWriter::new(File::create(&path).with_context(written)?);
    // The same bytes for the same program: a layer is published again only if something has changed.
    let options = SimpleFileOptions::default().unix_permissions(0o755).last_modified_time(zip::DateTime::default());
    zip.start_file("extensions/tieline-extension", options).with_context(written)?;
    zip.write_all(&fs::read(program)?).with_context(written)?;
    zip.finish().with_context(written)?;
    Ok(path)
}

/// The newest version of the GNU C library whose symbols a program names.
fn glibc_of(program: &[u8]) -> (u32, u32) {
    const NAME: &[u8] = b"GLIBC_";
    let versions =
        program.windows(NAME.len()).enumerate().filter(|(_, window)| *window == NAME).filter_map(|(at, _)| {
            let rest = &program[at + NAME.len()..];
            let end = rest.iter().position(|byte| !byte.is_ascii_digit() && *byte != b'.')?;
            let mut numbers = std::str::from_utf8(&rest[..end]).ok()?.split('.').map(str::parse::<u32>);
            Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
        });
    versions.max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_counts() {
        assert_eq!(glibc_of(b"\0GLIBC_2.2.5\0x\0GLIBC_2.34\0GLIBC_2.9\0GLIBC_PRIVATE\0"), (2, 34));
        assert_eq!(glibc_of(b"static"), (0, 0));
    }
}
