//! What a setup leaves for programs to read: `.env.jwt` and `jwt-config.json`.

use serde_json::{Value, json};
use tieline_auth::certificate::Certificate;

use super::key::absolute;
use super::state::State;
use crate::failure::Failure;
use crate::orgs::write_whole;

pub(crate) const ENV: &str = ".env.jwt";
pub(crate) const CONFIG: &str = "jwt-config.json";

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
    if state.key.variable(state.folder()).1.starts_with("transit:") {
        text.push_str("# The key never leaves its service: VAULT_ADDR and VAULT_TOKEN must be set too.\n");
    }
    for (name, value) in variables(state) {
        text.push_str(&format!("{name}={}\n", quoted(&value)));
    }
    let config = serde_json::to_string_pretty(&config(state, certificate)).map_err(anyhow::Error::from)? + "\n";
    Ok([(ENV, text), (CONFIG, config)])
}

fn stands(state: &State, (name, content): &(&str, String)) -> bool {
    std::fs::read_to_string(state.folder().join(name)).is_ok_and(|there| there == *content)
}

/// Whether both files are there, and name what is in use.
pub(crate) fn are_written(state: &State, certificate: &Certificate) -> Result<bool, Failure> {
    Ok(contents(state, certificate)?.iter().all(|file| stands(state, file)))
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
        write_whole(&path, content.as_bytes()).map_err(|e| {
            Failure::new(
                format!("could not write {}: {e}", path.display()),
                "see that the folder is yours and has room",
            )
        })?;
        state.has_made(name);
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
