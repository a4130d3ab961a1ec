//! `--undo`: takes back what a setup has made, in the org and here, and nothing else.

use std::path::Path;

use serde_json::{Value, json};
use tieline_client::{ClientError, Connection};

use super::app::{app_is_there, close_secrets};
use super::bootstrap::Bootstrap;
use super::outcome::saved_logins;
use super::say::Say;
use super::state::State;
use super::{deploy, key, metadata, org};
use crate::commands::unless_stopped;
use crate::failure::Failure;
use crate::orgs::Orgs;

pub(crate) async fn undo(folder: &Path, bootstrap: &Bootstrap, say: Say) -> Result<Value, Failure> {
    let Some(mut state) = State::load(folder)? else {
        return Err(Failure::usage(
            format!("{} holds no setup to undo", folder.display()),
            "name the folder that the setup wrote to with --output",
        ));
    };
    let mut removed: Vec<String> = Vec::new();
    if state.org_id.is_empty() {
        say.note(match state.client_id {
            Some(_) => "the app was made by hand: delete it in Setup",
            None => "nothing was made in an org",
        });
    } else {
        let admin = bootstrap.connect_to(&state, &state.client_ids()).await?;
        close_secrets(&admin, &mut state, say).await?;
        unless_stopped(in_org(&admin, &mut state, &mut removed, say)).await?;
    }
    for alias in saved_logins(&state) {
        Orgs::open()?.remove(&alias)?;
        removed.push(format!("saved login {alias}"));
        say.done(format!("removed the saved login {alias}"));
    }
    key::remove(folder, &state.made)?;
    removed.extend(state.made.iter().map(|thing| match thing.contains(':') {
        true => thing.clone(),
        false => folder.join(thing).display().to_string(),
    }));
    let here = if state.made.is_empty() { "nothing".to_owned() } else { state.made.join(", ") };
    say.done(format!("removed {here} here"));
    state.forget()?;
    Ok(json!({"removed": removed}))
}

async fn in_org(admin: &Connection, state: &mut State, removed: &mut Vec<String>, say: Say) -> Result<(), Failure> {
    // An org does not delete a permission set that somebody holds; and ours goes, whoever holds it.
    if let Some(set) = state.permission_set_id.clone()
        && (state.permission_set_is_ours || state.assignment_is_ours)
    {
        let whose = Some(state.user_id.as_str()).filter(|_| !state.permission_set_is_ours);
        for id in org::assignments(admin, &set, whose).await? {
            match admin.delete("PermissionSetAssignment", &id).await {
                Ok(()) => removed.push(format!("permission set assignment {id}")),
                Err(ClientError::Refused(refusal)) if refusal.status == 404 => {}
                Err(error) => return Err(Failure::repeatable(error)),
            }
        }
    }
    let mut apps = vec![state.plan.clone()];
    apps.extend(state.retiring.iter().map(|old| old.plan.clone()));
    apps.extend(state.rotating.iter().filter(|new| !new.cut_over && new.deployed).map(|new| new.plan.clone()));
    for plan in apps.iter().filter(|_| state.app_began) {
        if app_is_there(admin, plan).await? {
            deploy::deploy(admin, &metadata::removal(plan), &format!("the removal of {}", plan.name), say).await?;
            removed.push(format!("{} {}", plan.kind_in_words(), plan.name));
            say.done(format!("removed the {} {}", plan.kind_in_words(), plan.name));
        }
    }
    state.app_began = false;
    state.done.clear();
    state.save()?;
    if let Some(name) = state.plan.permission_set().filter(|_| state.permission_set_is_ours)
        && org::permission_set(admin, &name).await?.is_some()
    {
        let what = format!("the removal of {name}");
        deploy::deploy(admin, &metadata::permission_set_removal(&name), &what, say).await?;
        removed.push(format!("permission set {name}"));
        say.done(format!("removed the permission set {name}"));
    }
    (state.permission_set_id, state.permission_set_is_ours, state.assignment_is_ours) = (None, false, false);
    state.save()
}
