//! Debian packages, for what no other registry has.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use super::parts_folder;
use crate::steps::{answer, run_logged, say};

/// Installs Debian packages, after fetching the current list of packages.
pub(super) fn install(root: &Path, packages: &[&str]) -> Result<()> {
    let names = packages.join(" ");
    if answer("apt-get", &["--version"]).is_none() {
        bail!("needs {names}, and there is no apt-get here\nhint: install it as this system does it, then try again");
    }
    if answer("id", &["-u"]).as_deref() != Some("0") {
        bail!(
            "needs the Debian packages {names}, and only root can install them\n\
             hint: sudo apt-get update && sudo apt-get install {names}"
        );
    }
    let log = parts_folder(root).join("apt.log");
    say("fetching the list of Debian packages: apt-get update");
    run_logged(&mut apt_get(&["update"]), &log)?;
    say(&format!("installing Debian packages: {names}"));
    run_logged(apt_get(&["install", "--yes", "--no-install-recommends"]).args(packages), &log)
}

/// Which of these Debian packages are not installed; all of them where there is no dpkg.
pub(super) fn missing<'a>(packages: &[&'a str]) -> Vec<&'a str> {
    let installed = |name: &&str| {
        answer("dpkg-query", &["--show", "--showformat=${db:Status-Status}", name]).as_deref() == Some("installed")
    };
    packages.iter().copied().filter(|name| !installed(name)).collect()
}

/// An apt-get that asks nothing and waits a while for another one to end.
fn apt_get(args: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").args(["-o", "DPkg::Lock::Timeout=120"]).args(args);
    command
}
