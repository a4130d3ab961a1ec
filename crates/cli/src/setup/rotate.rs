//! `tieline setup rotate-certificate`: a new key and certificate before the old one ends.
//!
//! By overlap, as a rule: a second app with the new key stands beside the first, is verified, and the files here name it;
//! the first one goes by `--retire`, when nobody uses it any more. No moment without a login.
//!
//! By `--cut-over` the same app gets the new certificate. For some minutes the org takes neither key for new logins; tokens
//! in use live on. If the new one does not come to work, the old one is put back.

use std::path::PathBuf;

use serde_json::{Value, json};
use tieline_auth::certificate::Expiry;
use tieline_client::Connection;

use super::app::{app_is_there, client_id, close_secrets, deploy_app};
use super::bootstrap::Bootstrap;
use super::key::{self, Pair, Place, Shape, Wanted};
use super::outcome::update_saved_logins;
use super::plan::Plan;
use super::say::Say;
use super::state::{Done, Retiring, Rotating, State};
use super::verify::{self, Login, Patience};
use super::{deploy, files, metadata};
use crate::commands::unless_stopped;
use crate::failure::Failure;

/// What a rotation is told.
pub(crate) struct Rotation {
    pub(crate) folder: PathBuf,
    pub(crate) cut_over: bool,
    pub(crate) retire: bool,
    /// Only when the certificate ends within 30 days.
    pub(crate) if_due: bool,
    /// The new key, where it is made by somebody else.
    pub(crate) key: Option<Wanted>,
    pub(crate) bits: usize,
    pub(crate) days: i64,
    pub(crate) patience: Patience,
    pub(crate) bootstrap: Bootstrap,
}

/// Beside `NAME` stands `NAME_2`, and after that `NAME` again.
fn other_name(name: &str) -> String {
    name.strip_suffix("_2").map_or_else(|| format!("{name}_2"), str::to_owned)
}

impl Rotation {
    pub(crate) async fn run(self, say: Say) -> Result<Value, Failure> {
        let mut state = State::load(&self.folder)?.filter(|state| state.is(Done::Verified)).ok_or_else(|| {
            Failure::usage(
                format!("{} holds no finished setup", self.folder.display()),
                "name the folder that `tieline setup jwt` wrote to with --output, or finish that setup first",
            )
        })?;
        if state.org_id.is_empty() {
            return Err(Failure::usage(
                "this app was made by hand, and is not changed from here",
                "make a new pair in another folder with `tieline setup jwt --manual`, and upload its certificate",
            ));
        }
        let old = state.key.open(&self.folder).await?;
        // A run that was killed may have left them behind the state.
        let repaired = self.write_files(&mut state, &old).await?;
        if self.retire {
            return self.retire_old(&mut state, &old, say).await;
        }
        let expiry = old.certificate.expiry(crate::login::now());
        say.done(format!("certificate: {}", in_words(expiry)));
        let ends = old.certificate.not_after.to_string();
        if self.if_due && matches!(expiry, Expiry::Far { .. }) && state.rotating.is_none() {
            return Ok(json!({"rotated": false, "changed": repaired, "certificate_expires": ends}));
        }
        if let Some(retiring) = state.retiring.as_ref().filter(|_| self.cut_over) {
            return Err(Failure::usage(
                format!("{} still waits to be retired", retiring.plan.name),
                "run this with --retire first, when nobody uses it any more",
            ));
        }
        if let Some(retiring) = &state.retiring {
            say.note(format!(
                "{} still waits to be retired: run this with --retire when nobody uses it any more",
                retiring.plan.name
            ));
            return Ok(json!({"rotated": true, "changed": repaired, "retiring": retiring.plan.name}));
        }
        let admin = self.bootstrap.connect_to(&state, &[]).await?;
        close_secrets(&admin, &mut state, say).await?;
        let new = self.new_pair(&admin, &mut state, &old, say).await?;
        let outcome = unless_stopped(async {
            match self.cut_over {
                true => self.cut_over(&admin, &mut state, &old, &new, say).await,
                false => self.overlap(&admin, &mut state, &new, say).await,
            }
        });
        let outcome = outcome.await;
        let closed = close_secrets(&admin, &mut state, say).await;
        let verified = outcome?;
        closed?;
        let env = self.folder.join(files::ENV);
        say.done(format!(
            "{} and {} name the new key: load it again (set -a; . {}; set +a)",
            files::ENV,
            files::CONFIG,
            env.display()
        ));
        Ok(json!({
            "rotated": true, "changed": true, "client_id": state.client_id, "app": state.plan.name,
            "certificate_expires": new.certificate.not_after.to_string(), "verified": verified,
            "retiring": state.retiring.as_ref().map(|old| &old.plan.name),
        }))
    }

    /// The new key. It is written down that it will be made before it is, and that nothing is there yet in its place.
    async fn new_pair(&self, admin: &Connection, state: &mut State, old: &Pair, say: Say) -> Result<Pair, Failure> {
        let differs = |rotating: &Rotating| {
            rotating.cut_over != self.cut_over || self.key.as_ref().is_some_and(|key| !key.fits(&rotating.key))
        };
        if let Some(rotating) = state.rotating.clone().filter(differs) {
            // As long as nothing of it is in the org, it may be begun in the other way.
            if rotating.deployed && (rotating.cut_over || app_is_there(admin, &rotating.plan).await?) {
                let way = if rotating.cut_over { "with --cut-over" } else { "without --cut-over" };
                return Err(Failure::usage(
                    "a rotation of the other kind is under way",
                    format!("finish it first: run this {way}"),
                ));
            }
            state.rotating = None;
            state.drop_key(&rotating.key)?;
        }
        if state.rotating.is_none() {
            let plan = match self.cut_over {
                true => state.plan.clone(),
                false => Plan { name: other_name(&state.plan.name), ..state.plan.clone() },
            };
            if !self.cut_over && app_is_there(admin, &plan).await? {
                return Err(Failure::usage(
                    format!(
                        "the org has an app ({}) called {} already, which is not ours",
                        plan.kind_in_words(),
                        plan.name
                    ),
                    "delete it in Setup, or rotate with --cut-over",
                ));
            }
            let key = self.free_place(state)?;
            state.claim(&key)?;
            let cut_over = self.cut_over;
            state.rotating = Some(Rotating { plan, key, client_id: None, was_told: false, deployed: false, cut_over });
            state.save()?;
        }
        let Some(mut rotating) = state.rotating.clone() else {
            return Err(Failure::new("no rotation is under way", ""));
        };
        if let (Place::Transit { key, version, .. }, Place::Transit { version: used, .. }) =
            (&mut rotating.key, &state.key)
            && *version == 0
        {
            *version = key::newer_version(key, *used).await?;
        }
        let shape = Shape {
            folder: &self.folder,
            name: &state.plan.name,
            bits: self.bits,
            days: self.days,
            now: crate::login::now(),
        };
        let pair = key::ensure(&rotating.key, &shape).await?;
        if old.certificate.belongs_to(&pair.key) {
            return Err(Failure::new(
                format!("the key in {} is the one in use", pair.place.in_words(&self.folder)),
                "move it away, and run this again for a new one",
            ));
        }
        rotating.key = pair.place.clone();
        state.rotating = Some(rotating);
        state.save()?;
        say.done(format!("key: {} (RSA {})", pair.place.in_words(&self.folder), pair.certificate.bits));
        Ok(pair)
    }

    /// A place of the same kind as the one in use, where nothing is. What an earlier rotation has left there goes.
    fn free_place(&self, state: &State) -> Result<Place, Failure> {
        let wanted = match (&self.key, state.key.wanted()) {
            (Some(named), Wanted::Kms(_)) => named.clone(),
            (None, Wanted::Kms(key)) => {
                return Err(Failure::usage(
                    format!("the key kms:{key} cannot be replaced in its place: keys that sign do not rotate in KMS"),
                    "make another one, and name it: --key kms:KEY",
                ));
            }
            (Some(_), _) => {
                return Err(Failure::usage(
                    format!("the key in use is in {}, not in KMS", state.key.in_words(&self.folder)),
                    "leave --key out: a new key is made in the same kind of place",
                ));
            }
            (None, other) => other,
        };
        let name = match &state.key {
            Place::Keychain { name, .. } => name.trim_end_matches("_2").to_owned(),
            _ => String::new(),
        };
        let in_use = state.key.things();
        for number in 1..100 {
            let infix = if number == 1 { String::new() } else { format!("_{number}") };
            let place = wanted.place(&name, &infix);
            let mut there = Vec::new();
            for thing in place.things() {
                if key::is_there(&self.folder, &thing)? {
                    there.push(thing);
                }
            }
            if there.iter().any(|thing| in_use.contains(thing) || !state.made.contains(thing)) {
                continue;
            }
            key::remove(&self.folder, &there)?;
            return Ok(place);
        }
        Err(Failure::new("no name for a new key is free in this folder", "move old keys and certificates away"))
    }

    async fn overlap(&self, admin: &Connection, state: &mut State, new: &Pair, say: Say) -> Result<Value, Failure> {
        let Some(mut rotating) = state.rotating.clone() else { return Ok(Value::Null) };
        let plan = rotating.plan.clone();
        if rotating.client_id.is_some() && !app_is_there(admin, &plan).await? {
            say.warn(format!("the {} {} is gone from the org, and is made again", plan.kind_in_words(), plan.name));
            state.former_client_ids.extend(rotating.client_id.take());
            rotating.was_told = false;
        }
        if rotating.client_id.is_none() {
            if !std::mem::replace(&mut rotating.deployed, true) {
                // The environment may still name the app before.
                state.note_foreign();
            }
            state.rotating = Some(rotating.clone());
            state.save()?;
            if let Err(failure) = deploy_app(admin, state, &plan, &new.certificate_pem, say).await {
                if !failure.is_transient() && matches!(app_is_there(admin, &plan).await, Ok(false)) {
                    rotating.deployed = false;
                    state.rotating = Some(rotating);
                    state.save()?;
                }
                return Err(failure);
            }
            let found = client_id(admin, &plan, state.told_client_id()).await?;
            (rotating.client_id, rotating.was_told) = (Some(found.id), found.was_told);
        } else if rotating.was_told {
            // It has not worked yet.
            rotating.client_id = state.told_client_id().or(rotating.client_id);
        }
        let client_id = rotating.client_id.clone().unwrap_or_default();
        let was_told = rotating.was_told;
        state.rotating = Some(rotating);
        state.save()?;
        say.done(format!("app: {} {} stands beside {}", plan.kind_in_words(), plan.name, state.plan.name));
        close_secrets(admin, state, say).await?;
        let verified = self.check(state, &client_id, new, true, say).await?;
        let old = std::mem::replace(&mut state.plan, plan);
        let retiring = Retiring {
            plan: old,
            client_id: state.client_id.replace(client_id).unwrap_or_default(),
            key: std::mem::replace(&mut state.key, new.place.clone()),
        };
        say.note(format!(
            "{} is still good: bring the new files to all who use them, then run `tieline setup rotate-certificate --retire`",
            retiring.plan.name
        ));
        state.client_id_was_told = was_told;
        state.retiring = Some(retiring);
        state.rotating = None;
        // From here on the new one counts.
        state.save()?;
        self.write_files(state, new).await?;
        Ok(verified)
    }

    async fn cut_over(
        &self,
        admin: &Connection,
        state: &mut State,
        old: &Pair,
        new: &Pair,
        say: Say,
    ) -> Result<Value, Failure> {
        let client_id = state.client_id.clone().unwrap_or_default();
        let plan = state.plan.clone();
        if !state.rotating.as_ref().is_some_and(|r| r.deployed) {
            // Whoever cannot log in now could not put the old one back either.
            let checked = self.check(state, &client_id, old, false, say).await;
            checked
                .map_err(|failure| failure.or("run this without --cut-over, which needs no login by the old key"))?;
            if let Some(rotating) = &mut state.rotating {
                rotating.deployed = true;
            }
            state.save()?;
        }
        deploy_app(admin, state, &plan, &new.certificate_pem, say).await?;
        close_secrets(admin, state, say).await?;
        let verified = match self.check(state, &client_id, new, true, say).await {
            Ok(verified) => verified,
            Err(failure) => {
                say.warn(format!("{}: the old certificate is put back", failure.message()));
                deploy_app(admin, state, &plan, &old.certificate_pem, say).await?;
                close_secrets(admin, state, say).await?;
                self.check(state, &client_id, old, true, say).await?;
                state.rotating = None;
                state.save()?;
                state.drop_key(&new.place)?;
                return Err(failure.or("nothing has changed: the old certificate works"));
            }
        };
        let old = std::mem::replace(&mut state.key, new.place.clone());
        state.rotating = None;
        state.save()?;
        self.write_files(state, new).await?;
        state.drop_key(&old)?;
        say.done("the app takes the new key, and the old one is gone");
        Ok(verified)
    }

    /// A login with this pair works, in every respect that setup checks.
    async fn check(
        &self,
        state: &State,
        client_id: &str,
        pair: &Pair,
        is_new: bool,
        say: Say,
    ) -> Result<Value, Failure> {
        let login = Login { client_id, certificate_is_new: is_new, ..Login::of(state, &pair.key, &self.bootstrap) };
        let connection = login.wait(self.patience, say).await?;
        let verified = verify::verify(&connection, &state.username).await?;
        say.done(format!("login: {} by JWT with {}", state.username, pair.place.in_words(&self.folder)));
        Ok(verified)
    }

    /// Removes the app before, once the one that is in use has been seen to work.
    async fn retire_old(&self, state: &mut State, current: &Pair, say: Say) -> Result<Value, Failure> {
        let Some(retiring) = state.retiring.clone() else {
            say.note("no app waits to be retired");
            return Ok(json!({"retired": null, "changed": false}));
        };
        let client_id = state.client_id.clone().unwrap_or_default();
        self.check(state, &client_id, current, false, say).await?;
        let admin = self.bootstrap.connect_to(state, &[&retiring.client_id]).await?;
        if app_is_there(&admin, &retiring.plan).await? {
            let what = format!("the removal of {}", retiring.plan.name);
            deploy::deploy(&admin, &metadata::removal(&retiring.plan), &what, say).await?;
        }
        state.former_client_ids.push(retiring.client_id);
        state.drop_key(&retiring.key)?;
        state.retiring = None;
        state.save()?;
        say.done(format!("{} is gone, with its key", retiring.plan.name));
        Ok(json!({"retired": retiring.plan.name, "changed": true}))
    }

    /// Brings everything that names the key up to the state: the files, and the saved logins. Answers whether it had to.
    async fn write_files(&self, state: &mut State, new: &Pair) -> Result<bool, Failure> {
        let written = files::write(state, &new.certificate)?;
        state.save()?;
        let login = Login::of(state, &new.key, &self.bootstrap);
        let updated = update_saved_logins(state, || login.connection()).await?;
        Ok(written || updated)
    }
}

/// How near the end is, for people.
pub(crate) fn in_words(expiry: Expiry) -> String {
    match expiry {
        Expiry::Far { days } | Expiry::Soon { days } => format!("ends in {days} days"),
        Expiry::Now { days: 0 } => "ends within a day".to_owned(),
        Expiry::Now { days } => format!("ends in {days} days"),
        Expiry::Expired { days } => format!("ended {days} days ago"),
    }
}
