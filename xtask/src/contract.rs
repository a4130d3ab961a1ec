//! `cargo xtask contract`: what we expect of Salesforce, tried on a real org.

use std::ffi::OsString;
use std::path::Path;
use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result};

use crate::steps::{cargo, say};

/// Sets of variables each of which is a login, as docs/authentication.md has them; `|` separates alternatives.
const LOGINS: [&[&str]; 5] = [
    &["SF_CLIENT_ID", "SF_USERNAME", "SF_PRIVATE_KEY_FILE|SF_PRIVATE_KEY|TIELINE_SIGNING_KEY"],
    &["SF_CLIENT_ID", "SF_REFRESH_TOKEN"],
    &["SF_CLIENT_ID", "SF_CLIENT_SECRET", "SF_LOGIN_URL|SF_INSTANCE_URL"],
    &["SF_CLIENT_ID", "SF_USERNAME", "SF_PASSWORD"],
    &["SF_ACCESS_TOKEN", "SF_INSTANCE_URL"],
];

/// Builds the suite and runs it on the org that the environment names. The exit code is the suite's.
pub(crate) fn run(root: &Path, arguments: &[OsString]) -> Result<ExitCode> {
    let set = |name: &str| std::env::var(name).is_ok_and(|value| !value.trim().is_empty());
    if !arguments.iter().any(|argument| argument == "--list")
        && let Some(missing) = missing(set)
    {
        eprintln!("error: {missing}");
        return Ok(ExitCode::from(2));
    }
    say("building and running the suite: cargo run --package tieline-contract");
    let mut command = cargo(root);
    command.args(["run", "--quiet", "--package", "tieline-contract", "--manifest-path"]);
    command.arg(root.join("Cargo.toml")).arg("--").args(arguments);
    // Files that the developer names are meant from where they stand.
    if let Ok(folder) = std::env::current_dir() {
        command.current_dir(folder);
    }
    let status = command.stdin(Stdio::null()).status().context("could not start cargo")?;
    // What stopped the build is cargo's to tell; the suite has not run.
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).filter(|code| *code <= 2).unwrap_or(2)))
}

/// What is missing for every login, or nothing if one is complete.
fn missing(set: impl Fn(&str) -> bool) -> Option<String> {
    let lacking = |login: &[&str]| -> Vec<String> {
        let absent = login.iter().filter(|names| !names.split('|').any(&set));
        absent.map(|names| names.replace('|', " or ")).collect()
    };
    let lists: Vec<Vec<String>> = LOGINS.iter().map(|login| lacking(login)).collect();
    if lists.iter().any(Vec::is_empty) {
        return None;
    }
    let mut text = "no login is complete in the environment; of each of them this is missing:\n".to_owned();
    for (name, list) in ["jwt", "refresh_token", "client_credentials", "password", "access_token"].iter().zip(lists) {
        text.push_str(&format!("  {name}: {}\n", list.join(", ")));
    }
    text.push_str("hint: see docs/authentication.md; `tieline setup jwt` makes a login of the first kind");
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_missing_of_each_login() {
        let text = missing(|name| name == "SF_CLIENT_ID" || name == "SF_USERNAME").unwrap();
        assert!(text.contains("jwt: SF_PRIVATE_KEY_FILE or SF_PRIVATE_KEY or TIELINE_SIGNING_KEY\n"), "{text}");
        assert!(
            text.contains("refresh_token: SF_REFRESH_TOKEN\n") && text.contains("docs/authentication.md"),
            "{text}"
        );
        assert_eq!(missing(|name| name == "SF_ACCESS_TOKEN" || name == "SF_INSTANCE_URL"), None);
    }
}
