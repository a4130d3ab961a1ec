//! What a setup leaves for programs to read: `.env.jwt` and `jwt-config.json`.

use std::path::Path;

use serde_json::{Value, json};
use tieline_auth::certificate::Certificate;

use super::key::{Place, absolute};
use super::state::State;
use crate::failure::Failure;
use crate::orgs::write_whole;

pub(crate) const ENV: &str = ".env.jwt";
pub(crate) const CONFIG: &str = "jwt-config.json";

/// All that this program writes into [`ENV`].
const NAMES: [&str; 6] =
    ["SF_LOGIN_URL", "SF_CLIENT_ID", "SF_USERNAME", "SF_PRIVATE_KEY_FILE", "TIELINE_SIGNING_KEY", "SF_AUDIENCE"];

/// A login that was in the folder before is somebody's: it is not overwritten.
pub(crate) fn are_ours(folder: &Path, state: Option<&State>) -> Result<(), Failure> {
    for name in [ENV, CONFIG] {
        let ours = state.is_some_and(|state| state.made.iter().any(|made| made == name));
        if !ours && folder.join(name).exists() {
            return Err(Failure::usage(
                format!("{} is there already, and was not written by this setup", folder.join(name).display()),
                "move it away, or name another folder with --output",
            ));
        }
    }
    Ok(())
}

/// The variables of the login, in the order in which people read them.
pub(crate) fn variables(state: &State) -> Vec<(&'static str, String)> {
    let mut pairs = vec![
        ("SF_LOGIN_URL", state.instance_url.clone()),
        ("SF_CLIENT_ID", state.client_id.clone().unwrap_or_default()),
        ("SF_USERNAME", state.username.clone()),
        state.key.variable(state.folder()),
    ];
    if let Some(audience) = &state.audience {
        pairs.push(("SF_AUDIENCE", audience.clone()));
    }
    pairs
}

/// Both files with what is in them.
fn contents(state: &State, certificate: &Certificate) -> Result<[(&'static str, String); 2], Failure> {
    let mut text = "# Written by tieline setup jwt. Load it with: set -a; . ./.env.jwt; set +a\n".to_owned();
    match &state.key {
        Place::Transit { .. } => {
            text.push_str("# The key never leaves its service: VAULT_ADDR and VAULT_TOKEN must be set too.\n");
        }
        Place::Kms { .. } => {
            text.push_str("# The key never leaves KMS: AWS_REGION must be set, and kms:Sign allowed.\n");
        }
        _ => {}
    }
    for (name, value) in variables(state) {
        text.push_str(&format!("{name}={}\n", quoted(&value)));
    }
    // What somebody has added stays, such as VAULT_ADDR.
    let there = std::fs::read_to_string(state.folder().join(ENV)).unwrap_or_default();
    for line in there.lines() {
        let name = line.trim_start().trim_start_matches("export ").split('=').next().unwrap_or_default();
        if !NAMES.contains(&name.trim()) && !text.lines().any(|written| written == line) {
            text.push_str(&format!("{line}\n"));
        }
    }
    let config = serde_json::to_string_pretty(&config(state, certificate)).map_err(anyhow::Error::from)? + "\n";
    Ok([(ENV, text), (CONFIG, config)])
}

fn stands(state: &State, (name, content): &(&str, String)) -> bool {
    std::fs::read_to_string(state.folder().join(name)).is_ok_and(|there| there == *content)
}

/// Writes both files, if they are not there like this already. Answers whether anything was written.
pub(crate) fn write(state: &mut State, certificate: &Certificate) -> Result<bool, Failure> {
    let mut written = false;
    for file in contents(state, certificate)? {
        if stands(state, &file) {
            continue;
        }
        let (name, content) = file;
        let path = state.folder().join(name);
        // Written down first: a file that is found later is ours.
        state.has_made(name);
        state.save()?;
        write_whole(&path, content.as_bytes()).map_err(|e| {
            Failure::new(
                format!("could not write {}: {e}", path.display()),
                "see that the folder is yours and has room",
            )
        })?;
        written = true;
    }
    Ok(written)
}

/// As a shell reads it, if it needs quotes at all.
fn quoted(value: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:@+%".contains(&b);
    if value.bytes().all(plain) { value.to_owned() } else { format!("'{}'", value.replace('\'', r"'\''")) }
}

fn config(state: &State, certificate: &Certificate) -> Value {
    let path = |name: &str| absolute(&state.folder().join(name)).display().to_string();
    let (variable, key) = state.key.variable(state.folder());
    let mut config = json!({
        "clientId": state.client_id, "username": state.username, "loginUrl": state.instance_url,
        "instanceUrl": state.instance_url, "audience": state.audience.clone().or_else(|| audience(state)),
        "certificateFile": path(state.key.certificate()), "certificateExpires": certificate.not_after.to_string(),
        "app": {"kind": state.plan.kind, "name": state.plan.name}, "organizationId": state.org_id,
    });
    let name = if variable == "SF_PRIVATE_KEY_FILE" { "privateKeyFile" } else { "signingKey" };
    config[name] = json!(key);
    config
}

/// `aud` by the rule, for programs that want to be told.
fn audience(state: &State) -> Option<String> {
    let grant = tieline_auth::Grant::ClientCredentials;
    tieline_auth::OrgConfig::new(&state.instance_url, "", grant).ok().map(|config| config.audience())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_as_a_shell_needs_it() {
        assert_eq!(quoted("https://acme.my.salesforce.com"), "https://acme.my.salesforce.com");
        assert_eq!(quoted("/home/a b/it's.pem"), r"'/home/a b/it'\''s.pem'");
        assert_eq!(quoted("$(rm -rf)"), "'$(rm -rf)'");
    }
}
