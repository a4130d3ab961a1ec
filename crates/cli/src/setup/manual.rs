//! `--manual`: for whoever may not deploy, or does not want to: the way through Setup by hand, and then the same checks.

use dialoguer::Input;

use super::bootstrap::asked;
use super::files;
use super::jwt::Setup;
use super::key;
use super::outcome::{Outcome, alias_is_free, save_login};
use super::plan::AppKind;
use super::say::Say;
use super::state::{Done, State, client_id_in_environment};
use super::verify::{self, Login};
use crate::commands::unless_stopped;
use crate::failure::Failure;

impl Setup {
    /// Makes the key, says where to click, and verifies what came of it.
    pub(crate) async fn manual(self, say: Say) -> Result<Outcome, Failure> {
        self.plan.check()?;
        std::fs::create_dir_all(&self.folder)?;
        let before = State::load(&self.folder)?;
        files::are_ours(&self.folder, before.as_ref())?;
        if let Some(alias) = &self.alias {
            alias_is_free(alias, before.as_ref())?;
        }
        let username = self.username.clone().or_else(|| before.as_ref().map(|state| state.username.clone()));
        let username = match username {
            Some(username) => username,
            None if self.bootstrap.can_ask() => {
                Input::new().with_prompt("User whom the app is to log in").interact_text().map_err(asked)?
            }
            None => {
                let hint = "name the user with --username";
                return Err(Failure::usage("nobody said whom the app is to log in", hint));
            }
        };
        let instance_url = self.bootstrap.place.url().trim_end_matches('/').to_owned();
        let mut state = match before {
            Some(state) if state.has_begun() => {
                self.is_the_same(&state)?;
                state
            }
            before => {
                let client_id = before.as_ref().and_then(|state| state.client_id.clone());
                let mut state = self.begin(before, username, instance_url)?;
                state.client_id = client_id;
                state
            }
        };
        let pair = self.pair(&mut state).await?;
        let certificate = key::absolute(&self.folder.join(pair.place.certificate()));
        note!("{}", self.path(&certificate.display().to_string(), &state.username));
        let client_id = match (client_id_in_environment(), state.client_id.clone()) {
            (Some(id), _) => id,
            (None, Some(id)) if state.is(Done::Verified) || !self.bootstrap.can_ask() => id,
            // It has not worked yet: it may have been mistyped.
            (None, known) if self.bootstrap.can_ask() => {
                let input = Input::<String>::new().with_prompt("Consumer key");
                known.map_or_else(|| input.clone(), |id| input.clone().default(id)).interact_text().map_err(asked)?
            }
            (None, _) => {
                return Err(Failure::needs_person(
                    "the app is yours to make: the way is above",
                    "then run the same command again with SF_CLIENT_ID set to its consumer key, and the login is verified",
                ));
            }
        };
        state.client_id = Some(client_id);
        state.save()?;
        let login = Login::of(&state, &pair.key, &self.bootstrap);
        let connection = unless_stopped(login.wait(self.patience, say)).await?;
        let verified = verify::verify(&connection, &state.username).await?;
        let user = connection.credentials().userinfo().await?;
        state.instance_url = verified["instance_url"].as_str().unwrap_or(&state.instance_url).to_owned();
        // The org is not written down: there is nothing of ours in it to undo.
        state.user_id = user.user_id;
        let changed = files::write(&mut state, &pair.certificate)? || pair.is_new;
        state.mark(Done::Verified)?;
        if let Some(alias) = &self.alias {
            save_login(alias, &state, &connection).await?;
        }
        Ok(Outcome { state, pair, verified, changed })
    }

    fn path(&self, certificate: &str, username: &str) -> String {
        let plan = &self.plan;
        let callback = plan.callbacks.join("\n       ");
        let scopes = plan.scopes.join(", ");
        let users = if plan.self_authorize {
            format!("All users may self-authorize; then {username} logs in to the app once")
        } else {
            format!("Admin approved users are pre-authorized; then add a permission set that {username} holds")
        };
        let ip = if plan.enforce_ip { "Enforce IP restrictions" } else { "Relax IP restrictions" };
        let refresh =
            if plan.wants_refresh_token() { "\n   On: Require PKCE; Enable Refresh Token Rotation" } else { "" };
        match plan.kind {
            AppKind::Eca => format!(
                "In Setup, as an administrator:\n\n\
                 1. External Client App Manager, New External Client App\n   \
                    Name {name}, your e-mail address, Distribution State: Local\n\
                 2. API (Enable OAuth Settings): Enable OAuth\n   \
                    Callback URL:\n       {callback}\n   \
                    Scopes: {scopes}\n\
                 3. Flow Enablement: Enable JWT Bearer Flow, and upload the certificate:\n       {certificate}{refresh}\n\
                 4. Create; then Policies, Edit, OAuth Policies\n   \
                    Permitted Users: {users}\n   \
                    IP Relaxation: {ip}\n   \
                    Refresh Token Policy: valid until revoked\n\
                 5. Settings, OAuth Settings, Consumer Key and Secret: copy the consumer key\n",
                name = plan.name
            ),
            AppKind::ConnectedApp => format!(
                "In Setup, as an administrator of an org that still makes connected apps:\n\n\
                 1. App Manager, New Connected App\n   \
                    Name {name}, your e-mail address\n\
                 2. Enable OAuth Settings\n   \
                    Callback URL:\n       {callback}\n   \
                    Use digital signatures: upload the certificate\n       {certificate}\n   \
                    Scopes: {scopes}{refresh}\n\
                 3. Save; then Manage, Edit Policies\n   \
                    Permitted Users: {users}\n   \
                    IP Relaxation: {ip}\n\
                 4. View, Manage Consumer Details: copy the consumer key\n",
                name = plan.name
            ),
        }
    }
}
