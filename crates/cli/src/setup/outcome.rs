//! What a setup has come to: told to people, to programs, and to the other commands.

use serde_json::{Value, json};
use tieline_client::Connection;

use super::files;
use super::key::{self, Pair};
use super::state::State;
use crate::failure::Failure;
use crate::orgs::{Entry, Orgs, Variables};
use crate::settings::saved_org;

/// What came of it.
pub(crate) struct Outcome {
    pub(crate) state: State,
    pub(crate) pair: Pair,
    pub(crate) verified: Value,
    /// Anything was made or changed, here or in the org.
    pub(crate) changed: bool,
}

impl Outcome {
    /// The stable form that scripts read.
    pub(crate) fn json(&self) -> Value {
        let Outcome { state, pair, verified, changed } = self;
        let path = |name: &str| key::absolute(&state.folder().join(name)).display().to_string();
        let (variable, place) = state.key.variable(state.folder());
        let mut written = vec![files::ENV, files::CONFIG, state.key.certificate()];
        if let key::Place::File { file, .. } = &state.key {
            written.push(file);
        }
        json!({
            "app": {"kind": state.plan.kind, "name": state.plan.name, "client_id": state.client_id},
            "org": {"id": state.org_id, "instance_url": state.instance_url},
            "user": {"id": state.user_id, "username": state.username},
            "key": {"variable": variable, "value": place, "bits": pair.certificate.bits},
            "certificate": {"file": path(state.key.certificate()), "expires": pair.certificate.not_after.to_string(), "fingerprint": pair.certificate.fingerprint},
            "permission_set": state.plan.permission_set(),
            "written": written.into_iter().map(path).collect::<Vec<_>>(),
            "verified": verified, "changed": changed,
        })
    }

    pub(crate) fn tell(&self) {
        let folder = self.state.folder().display();
        let nothing = if self.changed { "" } else { "Nothing had to be changed. " };
        say!("\n{nothing}The login is ready:\n");
        say!("  set -a; . {}; set +a", self.state.folder().join(files::ENV).display());
        say!("  tieline query \"SELECT Name FROM Account LIMIT 5\"\n");
        say!("Rotate the certificate   tieline setup rotate-certificate --output {folder}");
        say!("Check it any time        tieline doctor");
        say!("Revoke the access        tieline setup jwt --undo --output {folder}");
        match self.state.plan.permission_set() {
            Some(set) => {
                say!("                         or take the permission set {set} from {} in Setup", self.state.username)
            }
            None => say!("                         or revoke it in Setup, Connected Apps OAuth Usage"),
        }
    }
}

/// Keeps the login where the other commands find it.
pub(crate) async fn save_login(alias: &str, state: &State, connection: &Connection) -> Result<(), Failure> {
    let mut orgs = Orgs::open()?;
    let key = orgs.choose_key(None)?;
    let user = connection.credentials().userinfo().await?;
    let token = connection.credentials().token().await?;
    let entry = Entry::new(&user, token.instance_url(), JWT, crate::login::now());
    orgs.save(alias, entry, &variables(state), key, false)?;
    let (alias, entry) = orgs.find(alias)?;
    // If somebody has logged out of this user before, that is over.
    saved_org(&orgs, &alias, &entry).await?.credentials().reinstate().await?;
    Ok(())
}

const JWT: &str = "jwt-bearer";

fn variables(state: &State) -> Variables {
    let login = files::variables(state).into_iter().map(|(name, value)| (name.to_owned(), value));
    let ours = [("SF_GRANT", "jwt"), ("TIELINE_TOKEN_REUSE", "until_refused")];
    login.chain(ours.map(|(name, value)| (name.to_owned(), value.to_owned()))).collect()
}

/// Saved logins through this setup's apps, those that are gone included, with what they consist of; whatever they are
/// called by now.
fn ours(state: &State) -> Vec<(String, Variables)> {
    // Without a home there are none.
    let Ok(orgs) = Orgs::open() else { return Vec::new() };
    let is_ours = |variables: &Variables| {
        let id = variables.get("SF_CLIENT_ID");
        id.is_some_and(|id| state.client_ids().contains(&id.as_str()) || state.former_client_ids.contains(id))
    };
    let entries = orgs.entries().filter(|(_, entry)| entry.grant == JWT && entry.user_id == state.user_id);
    entries.filter_map(|(alias, entry)| Some((alias.clone(), orgs.variables(entry).ok().filter(is_ours)?))).collect()
}

/// Their names.
pub(crate) fn saved_logins(state: &State) -> Vec<String> {
    ours(state).into_iter().map(|(alias, _)| alias).collect()
}

/// Brings them up to the state. Answers whether any was behind it.
pub(crate) async fn update_saved_logins(
    state: &State,
    connect: impl Fn() -> Result<Connection, Failure>,
) -> Result<bool, Failure> {
    let mut updated = false;
    for (alias, _) in ours(state).iter().filter(|(_, has)| *has != variables(state)) {
        save_login(alias, state, &connect()?).await?;
        updated = true;
    }
    Ok(updated)
}

/// A name that belongs to another login is not taken from it.
pub(crate) fn alias_is_free(alias: &str, state: Option<&State>) -> Result<(), Failure> {
    let taken = match Orgs::open()?.entries().find(|(known, _)| *known == alias) {
        Some((_, entry)) if !state.is_some_and(|state| saved_logins(state).iter().any(|ours| ours == alias)) => {
            entry.clone()
        }
        _ => return Ok(()),
    };
    Err(Failure::usage(
        format!("`{alias}` is another saved login: {} at {}", taken.username, taken.instance_url),
        format!("choose another --alias, or log out of it first: tieline logout --org {alias}"),
    ))
}
