//! The part `sf`: the Salesforce CLI, which runs on the Node of the part `node`.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::node::{NODE, node_package, npm_install};
use super::{is_stamped, parts_folder, write_stamp};
use crate::steps::say;

/// The package with its version. It brings half a gigabyte of others.
const PACKAGE: &str = "@salesforce/cli@2.146.3";

/// Makes the CLI ready, with a Node of its own: it must also be had where the other part is skipped.
pub(super) fn find_or_install(root: &Path) -> Result<Vec<(&'static str, OsString)>> {
    let node_package = node_package()?;
    let folder = parts_folder(root).join("sf");
    let modules = folder.join("node_modules");
    let program = folder.join("sf");
    let wanted = format!("{node_package}@{NODE} {PACKAGE}");

    if !(is_stamped(&folder, &wanted) && program.exists()) {
        say(&format!("sf: installing {wanted} into target/parts/sf (half a gigabyte; a minute or two)"));
        npm_install(root, &folder, &wanted, "sf.log")?;
        let script = modules.join("@salesforce/cli/bin/run.js");
        if !script.exists() {
            bail!("{} is not there\nhint: see target/parts/sf.log", script.display());
        }
        let node = modules.join(node_package).join("bin/node");
        let text = format!("#!/bin/sh\nexec '{}' '{}' \"$@\"\n", node.display(), script.display());
        let written = |what: &Path| format!("could not write {}", what.display());
        fs::write(&program, text).with_context(|| written(&program))?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).with_context(|| written(&program))?;
        }
        write_stamp(&folder, &wanted)?;
    }
    say(&format!("sf: ready ({wanted})"));
    Ok(vec![("TIELINE_TEST_SF", program.into_os_string())])
}
