//! How far a setup came, so that the next run goes on from there: a file beside the key. It holds no secret.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::key::{self, Place};
use super::plan::Plan;
use crate::failure::Failure;
use crate::orgs::write_whole;

const FILE: &str = ".tieline-setup.json";
const FORMAT: u32 = 1;

/// A step that is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Done {
    /// Permission set.
    PermissionSet,
    /// The app is in the org.
    App,
    /// The user holds the permission set.
    Assigned,
    /// A login, userinfo and limits have worked.
    Verified,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct State {
    format: u32,
    pub(crate) plan: Plan,
    /// The user whom the app logs in.
    pub(crate) username: String,
    /// Empty before the first login.
    pub(crate) user_id: String,
    /// The org (18 characters); empty before the first login.
    pub(crate) org_id: String,
    pub(crate) instance_url: String,
    pub(crate) key: Place,
    #[serde(default)]
    pub(crate) client_id: Option<String>,
    /// Where assertions were addressed to when it worked, if not where the rule says.
    #[serde(default)]
    pub(crate) audience: Option<String>,
    #[serde(default)]
    pub(crate) permission_set_id: Option<String>,
    /// Written before it is deployed: it is ours to remove.
    #[serde(default)]
    pub(crate) permission_set_is_ours: bool,
    /// Written before the user is given a permission set that is not ours: the assignment is.
    #[serde(default)]
    pub(crate) assignment_is_ours: bool,
    /// A person has told the consumer key, as the org did not: it may be mistyped.
    #[serde(default)]
    pub(crate) client_id_was_told: bool,
    /// Consumer keys that were in the environment before the app was deployed: they are other apps'.
    #[serde(default)]
    pub(crate) foreign_client_ids: Vec<String>,
    /// Consumer keys of this setup's apps that are gone.
    #[serde(default)]
    pub(crate) former_client_ids: Vec<String>,
    /// Written before the first deploy of the app: an app of this name that is found later is ours.
    #[serde(default)]
    pub(crate) app_began: bool,
    /// We have switched the org's secrets on and not yet off.
    #[serde(default)]
    pub(crate) secrets_are_on: bool,
    #[serde(default)]
    pub(crate) done: Vec<Done>,
    /// What was made here, or is going to be: files by their names, and `keychain:NAME`.
    #[serde(default)]
    pub(crate) made: Vec<String>,
    /// What a rotation leaves until the old app is retired.
    #[serde(default)]
    pub(crate) retiring: Option<Retiring>,
    /// A rotation under way.
    #[serde(default)]
    pub(crate) rotating: Option<Rotating>,
    /// Whatever a later version adds stays.
    #[serde(flatten)]
    rest: BTreeMap<String, serde_json::Value>,
    #[serde(skip)]
    folder: PathBuf,
}

/// The app before, which is still good until nobody uses it any more.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Retiring {
    pub(crate) plan: Plan,
    pub(crate) client_id: String,
    pub(crate) key: Place,
}

/// A new key that is not yet the one in use.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Rotating {
    pub(crate) plan: Plan,
    pub(crate) key: Place,
    #[serde(default)]
    pub(crate) client_id: Option<String>,
    /// As [`State::client_id_was_told`].
    #[serde(default)]
    pub(crate) was_told: bool,
    /// Written before the deploy.
    #[serde(default)]
    pub(crate) deployed: bool,
    /// The same app gets the new certificate, instead of a second app.
    pub(crate) cut_over: bool,
}

impl State {
    pub(crate) fn new(folder: &Path, plan: Plan, username: String, instance_url: String, key: Place) -> Self {
        State {
            format: FORMAT,
            plan,
            username,
            user_id: String::new(),
            org_id: String::new(),
            instance_url,
            key,
            client_id: None,
            audience: None,
            permission_set_id: None,
            permission_set_is_ours: false,
            assignment_is_ours: false,
            client_id_was_told: false,
            foreign_client_ids: Vec::new(),
            former_client_ids: Vec::new(),
            app_began: false,
            secrets_are_on: false,
            done: Vec::new(),
            made: Vec::new(),
            retiring: None,
            rotating: None,
            rest: BTreeMap::new(),
            folder: folder.to_owned(),
        }
    }

    pub(crate) fn load(folder: &Path) -> Result<Option<Self>, Failure> {
        let path = folder.join(FILE);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(Failure::new(
                    format!("could not read {}: {error}", path.display()),
                    "check its permissions",
                ));
            }
        };
        let mut state: State = serde_json::from_slice(&bytes).map_err(|e| {
            Failure::new(
                format!("{} is not the state of a setup: {e}", path.display()),
                "put it back from a copy; or move it away, and delete the app and its permission set (…_Access) in Setup",
            )
        })?;
        if state.format != FORMAT {
            return Err(Failure::new(
                format!("{} was written by a newer program (format {})", path.display(), state.format),
                "use that version of tieline, or name another folder with --output",
            ));
        }
        folder.clone_into(&mut state.folder);
        Ok(Some(state))
    }

    pub(crate) fn save(&self) -> Result<(), Failure> {
        let text = serde_json::to_vec_pretty(self).map_err(anyhow::Error::from)?;
        write_whole(&self.folder.join(FILE), &text).map_err(|e| {
            Failure::new(
                format!("could not write to {}: {e}", self.folder.display()),
                "name a folder of your own with --output",
            )
        })
    }

    pub(crate) fn forget(&self) -> std::io::Result<()> {
        std::fs::remove_file(self.folder.join(FILE))
    }

    /// Something was made in the org, or may have been, or the login works: from here on this is one setup and no other.
    pub(crate) fn has_begun(&self) -> bool {
        self.app_began || self.permission_set_is_ours || self.secrets_are_on || !self.done.is_empty()
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn is(&self, step: Done) -> bool {
        self.done.contains(&step)
    }

    /// Marks a step, durably, before the next one begins.
    pub(crate) fn mark(&mut self, step: Done) -> Result<(), Failure> {
        if !self.is(step) {
            self.done.push(step);
        }
        self.save()
    }

    pub(crate) fn unmark(&mut self, steps: &[Done]) {
        self.done.retain(|done| !steps.contains(done));
    }

    pub(crate) fn has_made(&mut self, file: &str) {
        if !self.made.iter().any(|made| made == file) {
            self.made.push(file.to_owned());
        }
    }

    /// Consumer keys of the apps that stand in the org for this setup.
    pub(crate) fn client_ids(&self) -> Vec<&str> {
        let retiring = self.retiring.as_ref().map(|old| old.client_id.as_str());
        let rotating = self.rotating.as_ref().and_then(|new| new.client_id.as_deref());
        [self.client_id.as_deref(), retiring, rotating].into_iter().flatten().filter(|id| !id.is_empty()).collect()
    }

    /// What the environment says of an app before ours is deployed is of another one.
    pub(crate) fn note_foreign(&mut self) {
        let known = self.client_ids().iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        for id in known.into_iter().chain(client_id_in_environment()) {
            if !self.foreign_client_ids.contains(&id) {
                self.foreign_client_ids.push(id);
            }
        }
    }

    /// The consumer key that somebody has put into the environment since then.
    pub(crate) fn told_client_id(&self) -> Option<String> {
        let other = |id: &String| self.foreign_client_ids.contains(id) || self.former_client_ids.contains(id);
        client_id_in_environment().filter(|id| !other(id))
    }

    /// Takes down what is going to be made for a key. What is there already is not ours.
    pub(crate) fn claim(&mut self, place: &Place) -> Result<(), Failure> {
        for thing in place.things() {
            if !key::is_there(&self.folder, &thing)? {
                self.has_made(&thing);
            }
        }
        self.save()
    }

    /// Removes a key with its certificate, as far as they were made here.
    pub(crate) fn drop_key(&mut self, place: &Place) -> Result<(), Failure> {
        let things: Vec<String> = place.things().into_iter().filter(|thing| self.made.contains(thing)).collect();
        key::remove(&self.folder, &things)?;
        self.made.retain(|made| !things.contains(made));
        self.save()
    }
}

/// The app that the environment names.
pub(crate) fn client_id_in_environment() -> Option<String> {
    std::env::var("SF_CLIENT_ID").ok().map(|id| id.trim().to_owned()).filter(|id| !id.is_empty())
}
