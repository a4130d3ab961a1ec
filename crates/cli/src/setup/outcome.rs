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
        println!("\n{nothing}The login is ready:\n");
        println!("  set -a; . {}; set +a", self.state.folder().join(files::ENV).display());
        println!("  tieline query \"SELECT Name FROM Account LIMIT 5\"\n");
        println!("Rotate the certificate   tieline setup rotate-certificate --output {folder}");
        println!("Check it any time        tieline doctor");
        println!("Revoke the access        tieline setup jwt --undo --output {folder}");
        match self.state.plan.permission_set() {
            Some(set) => println!(
                "                         or take the permission set {set} from {} in Setup",
                self.state.username
            ),
            None => println!("                         or revoke it in Setup, Connected Apps OAuth Usage"),
        }
    }
}

/// Keeps the login where the other commands find it.
pub(crate) async fn save_login(alias: &str, state: &mut State, connection: &Connection) -> Result<(), Failure> {
    state.alias = Some(alias.to_owned());
    state.save()?;
    let mut orgs = Orgs::open()?;
    let key = orgs.choose_key(None)?;
    let user = connection.credentials().userinfo().await?;
    let token = connection.credentials().token().await?;
    let entry = Entry::new(&user, token.instance_url(), "jwt-bearer", crate::login::now());
    let mut variables: Variables =
        files::variables(state).into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    variables.insert("SF_GRANT".to_owned(), "jwt".to_owned());
    variables.insert("TIELINE_TOKEN_REUSE".to_owned(), "until_refused".to_owned());
    orgs.save(alias, entry, &variables, key, false)?;
    let (alias, entry) = orgs.find(alias)?;
    // If somebody has logged out of this user before, that is over.
    saved_org(&orgs, &alias, &entry).await?.credentials().reinstate().await?;
    Ok(())
}
