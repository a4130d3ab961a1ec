//! The part `deploy`: what checks the templates in `deploy/lambda`. Versions of npm packages are those of its own
//! `package.json` files.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::node::npm_install;
use super::python::environment_with;
use super::{is_stamped, parts_folder, write_stamp};
use crate::steps::{answer, say};

/// AWS SAM's command line, the linter that it is checked with besides, and a reader of Terraform's language.
const PACKAGES: [&str; 3] = ["aws-sam-cli==1.170.0", "cfn-lint==1.58.0", "python-hcl2==8.1.4"];

/// Makes both ready: the folder of npm packages, and the folder of Python's programs.
pub(super) fn find_or_install(root: &Path) -> Result<Vec<(&'static str, OsString)>> {
    let folder = parts_folder(root).join("deploy");
    let (npm, python) = (folder.join("npm"), folder.join("python"));
    let modules = npm_packages(root)?.join(" ");
    let programs = PACKAGES.join(" ");
    if !(is_stamped(&npm, &modules) && npm.join("node_modules/aws-cdk").exists()) {
        say(&format!("deploy: installing {modules} into target/parts/deploy/npm"));
        npm_install(root, &npm, &modules, "deploy-npm.log")?;
        write_stamp(&npm, &modules)?;
    }
    let sam = python.join("bin/sam");
    if !(is_stamped(&python, &programs) && answer(&sam, &["--version"]).is_some()) {
        say(&format!("deploy: installing {programs} into target/parts/deploy/python"));
        environment_with(root, &python, &PACKAGES, "deploy-python.log")?;
    }
    say(&format!("deploy: ready ({programs} {modules})"));
    Ok(vec![
        ("TIELINE_TEST_DEPLOY_MODULES", npm.join("node_modules").into_os_string()),
        ("TIELINE_TEST_DEPLOY_PROGRAMS", python.join("bin").into_os_string()),
    ])
}

/// `name@version` of all that function and CDK app name, each once. Our own package is built by the tests.
fn npm_packages(root: &Path) -> Result<Vec<String>> {
    let mut packages = Vec::new();
    for project in ["function", "cdk"] {
        let file = root.join("deploy/lambda").join(project).join("package.json");
        let text = fs::read_to_string(&file).with_context(|| format!("could not read {}", file.display()))?;
        let manifest: Value = serde_json::from_str(&text).with_context(|| format!("{} is no JSON", file.display()))?;
        for kind in ["dependencies", "devDependencies"] {
            let named = manifest[kind].as_object().into_iter().flatten();
            let versions = named.filter_map(|(name, version)| Some((name, version.as_str()?)));
            packages.extend(versions.filter(|(_, v)| !v.starts_with("file:")).map(|(name, v)| format!("{name}@{v}")));
        }
    }
    packages.sort();
    packages.dedup();
    Ok(packages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_exact_and_agree() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let packages = npm_packages(&root).unwrap();
        let names: Vec<_> = packages.iter().map(|package| package.rsplit_once('@').unwrap()).collect();
        assert!(names.iter().all(|(_, version)| version.starts_with(|c: char| c.is_ascii_digit())), "{packages:?}");
        assert!(names.windows(2).all(|pair| pair[0].0 != pair[1].0), "two versions of one package: {packages:?}");
        assert!(names.iter().any(|(name, _)| *name == "aws-cdk-lib"));
    }
}
