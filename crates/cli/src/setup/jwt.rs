//! `tieline setup jwt`: every step looks first whether it is done, in the state and in the org, and then does it.

use std::path::PathBuf;

use tieline_client::Connection;

use super::app::{app_is_there, client_id, close_secrets, deploy_app, permission_set};
use super::bootstrap::Bootstrap;
use super::key::{self, Pair, Shape, Wanted};
use super::outcome::{Outcome, alias_is_free, save_login, update_saved_logins};
use super::plan::Plan;
use super::say::Say;
use super::state::{Done, State};
use super::verify::{self, Login, Patience};
use super::{files, org};
use crate::commands::unless_stopped;
use crate::failure::Failure;

/// What a setup is told.
pub(crate) struct Setup {
    pub(crate) plan: Plan,
    /// Nobody said which address to write into the app: the administrator's.
    pub(crate) contact_is_open: bool,
    /// Somebody chose something that only a new setup takes.
    pub(crate) shape_is_named: bool,
    /// The user whom the app logs in; the administrator himself where none is named.
    pub(crate) username: Option<String>,
    pub(crate) folder: PathBuf,
    pub(crate) key: Wanted,
    pub(crate) bits: usize,
    pub(crate) days: i64,
    pub(crate) patience: Patience,
    pub(crate) bootstrap: Bootstrap,
    /// Save the login under this alias too.
    pub(crate) alias: Option<String>,
}

impl Setup {
    pub(crate) fn shape(&self) -> Shape<'_> {
        Shape {
            folder: &self.folder,
            name: &self.plan.name,
            bits: self.bits,
            days: self.days,
            now: crate::login::now(),
        }
    }

    pub(crate) async fn run(mut self, say: Say) -> Result<Outcome, Failure> {
        self.plan.check()?;
        let before = State::load(&self.folder)?;
        if let Some(state) = before.as_ref().filter(|state| state.has_begun()) {
            self.is_the_same(state)?;
        }
        files::are_ours(&self.folder, before.as_ref())?;
        if let Some(alias) = &self.alias {
            alias_is_free(alias, before.as_ref())?;
        }
        let known = before.as_ref().filter(|state| !state.org_id.is_empty()).map(|state| state.instance_url.clone());
        let admin = known.map_or_else(|| self.bootstrap.clone(), |url| self.bootstrap.at(&url)).connect().await?;
        let me = admin.credentials().userinfo().await?;
        let instance_url = admin.credentials().token().await?.instance_url().as_str().trim_end_matches('/').to_owned();
        let organization = org::organization(&admin).await?;
        let admin_name = me.preferred_username.clone().unwrap_or_default();
        say.done(format!(
            "org: {} ({}, {}), as {admin_name}",
            instance_url,
            organization.name.as_deref().unwrap_or(&me.organization_id),
            if organization.is_sandbox {
                "sandbox"
            } else {
                organization.organization_type.as_deref().unwrap_or("production")
            },
        ));
        if self.bootstrap.place.sandbox && !organization.is_sandbox {
            return Err(Failure::usage(
                format!("{instance_url} is no sandbox, and --sandbox was given"),
                "leave --sandbox out, or log in to the sandbox",
            ));
        }
        let begun = before.as_ref().filter(|state| state.has_begun());
        if let Some(state) = begun.filter(|state| !state.org_id.is_empty() && state.org_id != me.organization_id) {
            return Err(Failure::usage(
                format!("this folder belongs to the setup of another org ({}, {})", state.instance_url, state.org_id),
                "name another folder with --output, or log in to that org",
            ));
        }
        let username = begun.map(|state| state.username.clone()).or_else(|| self.username.clone());
        let username = username.unwrap_or_else(|| admin_name.clone());
        let user = org::user(&admin, &username).await?;
        if begun.is_none() && app_is_there(&admin, &self.plan).await? {
            return Err(name_is_taken(&self.plan));
        }
        std::fs::create_dir_all(&self.folder).map_err(|e| {
            Failure::new(
                format!("could not make {}: {e}", self.folder.display()),
                "name a folder of your own with --output",
            )
        })?;
        let mut state = match before {
            Some(state) if state.has_begun() => {
                if self.shape_is_named {
                    say.warn(
                        "--days, --key-bits and --contact-email count for a new setup; the next rotation has its own",
                    );
                }
                state
            }
            before => {
                if self.contact_is_open {
                    self.plan.contact_email = me.email.clone().unwrap_or(admin_name);
                }
                self.begin(before, username, instance_url.clone())?
            }
        };
        state.org_id.clone_from(&me.organization_id);
        state.instance_url = instance_url;
        state.user_id = user.id;
        state.audience = std::env::var("SF_AUDIENCE").ok().filter(|audience| !audience.is_empty()).or(state.audience);
        // Left on by a run that was killed.
        close_secrets(&admin, &mut state, say).await?;
        let pair = self.pair(&mut state).await?;
        let mut changed = pair.is_new;
        state.save()?;
        say.done(format!(
            "key: {} (RSA {}), certificate {} until {}",
            pair.place.in_words(&self.folder),
            pair.certificate.bits,
            self.folder.join(pair.place.certificate()).display(),
            pair.certificate.not_after.strftime("%Y-%m-%d")
        ));
        if state.plan.self_authorize && org::only_approved_apps(&admin).await == Some(true) {
            return Err(Failure::needs_person(
                "API Access Control is on in this org: an app that users approve for themselves is shut out",
                "set it up without --self-authorize: a permission set pre-authorises its users then",
            ));
        }
        let outcome = unless_stopped(self.in_org(&admin, &mut state, &pair, say)).await;
        // Whatever happened: the switch that lets secrets out goes off again.
        let closed = close_secrets(&admin, &mut state, say).await;
        changed |= outcome?;
        closed?;
        let login = Login::of(&state, &pair.key, &self.bootstrap);
        let connection = unless_stopped(login.wait(self.patience, say)).await?;
        let verified = verify::verify(&connection, &state.username).await?;
        state.audience = verify::unusual_audience(&connection).await.or(state.audience);
        say.done(format!("login: {} by JWT, userinfo and limits answer", state.username));
        changed |= files::write(&mut state, &pair.certificate)?;
        state.mark(Done::Verified)?;
        changed |= update_saved_logins(&state, || Ok(connection.clone())).await?;
        if let Some(alias) = &self.alias {
            save_login(alias, &state, &connection).await?;
            say.done(format!("saved as `{alias}`: tieline query --org {alias} …"));
        }
        Ok(Outcome { state, pair, verified, changed })
    }

    /// A setup that has not made anything yet, with what it is going to make for its key written down: what is there
    /// already is not ours, unless an earlier attempt has made it.
    pub(crate) fn begin(
        &self,
        before: Option<State>,
        username: String,
        instance_url: String,
    ) -> Result<State, Failure> {
        // One keychain serves many orgs.
        let host = url::Url::parse(&instance_url).ok().and_then(|url| url.host_str().map(str::to_owned));
        let name = format!("{}@{}", self.plan.name, host.unwrap_or_default());
        let place = self.key.place(&name, "");
        let mut state = State::new(&self.folder, self.plan.clone(), username, instance_url, place.clone());
        if let Some(before) = before {
            state.made = before.made;
            // The certificate belongs to the version that was found first.
            if before.key.wanted() == state.key.wanted() {
                state.key = before.key;
            }
        }
        state.claim(&place)?;
        Ok(state)
    }

    /// The pair of this setup, made now unless it was before.
    pub(crate) async fn pair(&self, state: &mut State) -> Result<Pair, Failure> {
        if state.has_begun() {
            return state.key.open(&self.folder).await;
        }
        let pair = key::ensure(&state.key, &self.shape()).await?;
        state.key = pair.place.clone();
        state.save()?;
        Ok(pair)
    }

    /// A folder holds one setup.
    pub(crate) fn is_the_same(&self, state: &State) -> Result<(), Failure> {
        let differs = |what: &str, there: &str, wanted: &str| {
            Err(Failure::usage(
                format!("this folder holds the setup of {} with {what} {there}, not {wanted}", state.plan.name),
                format!(
                    "name another folder with --output, or undo that setup first: tieline setup jwt --undo --output {}",
                    self.folder.display()
                ),
            ))
        };
        // A rotation has given the app its second name.
        let rotated = state.plan.name.strip_suffix("_2") == Some(&self.plan.name);
        let name = if rotated { state.plan.name.clone() } else { self.plan.name.clone() };
        let wanted = Plan { contact_email: state.plan.contact_email.clone(), name, ..self.plan.clone() };
        if state.plan.name != wanted.name {
            return differs("the name", &state.plan.name, &wanted.name);
        }
        if state.plan != wanted {
            return differs("other settings:", &settings(&state.plan), &settings(&wanted));
        }
        if !self.key.fits(&state.key) {
            return differs("the key in", &state.key.in_words(&self.folder), "where --key says");
        }
        match &self.username {
            Some(wanted) if !wanted.eq_ignore_ascii_case(&state.username) => {
                differs("the user", &state.username, wanted)
            }
            _ => Ok(()),
        }
    }

    /// Everything that changes the org. Answers whether anything did.
    async fn in_org(&self, admin: &Connection, state: &mut State, pair: &Pair, say: Say) -> Result<bool, Failure> {
        let mut changed = false;
        let plan = state.plan.clone();
        if state.is(Done::App) && !app_is_there(admin, &plan).await? {
            say.warn(format!("the {} {} is gone from the org, and is made again", plan.kind_in_words(), plan.name));
            state.unmark(&[Done::App, Done::PermissionSet, Done::Assigned, Done::Verified]);
            state.former_client_ids.extend(state.client_id.take());
            state.save()?;
        }
        if let Some(name) = plan.permission_set() {
            changed |= permission_set(admin, state, &plan, &name, say).await?;
        }
        if !state.is(Done::App) {
            if !state.app_began && app_is_there(admin, &plan).await? {
                return Err(name_is_taken(&plan));
            }
            if !std::mem::replace(&mut state.app_began, true) {
                state.note_foreign();
            }
            state.save()?;
            if let Err(failure) = deploy_app(admin, state, &plan, &pair.certificate_pem, say).await {
                if !failure.is_transient() && matches!(app_is_there(admin, &plan).await, Ok(false)) {
                    state.app_began = false;
                    state.save()?;
                }
                return Err(failure);
            }
            let found = client_id(admin, &plan, state.told_client_id()).await?;
            (state.client_id, state.client_id_was_told) = (Some(found.id), found.was_told);
            state.mark(Done::App)?;
            changed = true;
        } else if state.client_id_was_told && !state.is(Done::Verified) {
            // It has not worked yet.
            state.client_id = state.told_client_id().or(state.client_id.take());
            state.save()?;
        }
        say.done(format!(
            "app: {} {}, consumer key {}",
            plan.kind_in_words(),
            plan.name,
            state.client_id.as_deref().unwrap_or_default()
        ));
        if let Some(set) = state.permission_set_id.clone() {
            if org::assignments(admin, &set, Some(&state.user_id)).await?.is_empty() {
                state.assignment_is_ours = !state.permission_set_is_ours;
                state.save()?;
                org::assign(admin, &set, &state.user_id).await?;
                changed = true;
            }
            state.mark(Done::Assigned)?;
            say.done(format!("pre-authorised: {} holds {}", state.username, plan.permission_set().unwrap_or_default()));
        }
        Ok(changed)
    }
}

fn settings(plan: &Plan) -> String {
    format!(
        "{}, callback {}, scopes {}, {}{}",
        plan.kind_in_words(),
        plan.callbacks.join(" "),
        plan.scopes.join(","),
        if plan.self_authorize { "self-authorised" } else { "pre-authorised" },
        if plan.enforce_ip { ", IP enforced" } else { "" }
    )
}

fn name_is_taken(plan: &Plan) -> Failure {
    Failure::usage(
        format!(
            "the org has an app ({}) called {} already, which was not made from this folder",
            plan.kind_in_words(),
            plan.name
        ),
        "choose another name with --name, or the folder of its setup with --output; or delete it in Setup, with its \
         permission set",
    )
}
