//! From an org without an app to a login that works: what `tieline setup` does, step by step.
//!
//! Reading order: [`plan`] (what is wanted) → [`jwt`] (the steps, in order) → [`bootstrap`] (the first login) → [`key`] →
//! [`metadata`] (the app as files) → [`app`] with [`deploy`] and [`org`] → [`verify`] → [`files`] and [`outcome`]. [`state`]
//! remembers how far a run came; [`rotate`], [`undo`] and [`manual`] are the other ways through.

mod app;
pub(crate) mod bootstrap;
mod deploy;
mod files;
pub(crate) mod jwt;
pub(crate) mod key;
pub(crate) mod manual;
mod metadata;
mod org;
mod outcome;
pub(crate) mod plan;
pub(crate) mod rotate;
mod say;
mod state;
pub(crate) mod undo;
mod verify;

use std::collections::BTreeMap;

pub(crate) use org::only_approved_apps;
pub(crate) use rotate::in_words;
pub(crate) use say::Say;
pub(crate) use verify::Patience;

use crate::failure::Failure;

/// What is deployed at once: what it is, and its files by their paths.
pub(crate) type Deploy = (String, BTreeMap<String, Vec<u8>>);

/// What a setup deploys, in order.
pub(crate) fn deploys(plan: &plan::Plan, certificate: &str) -> Result<Vec<Deploy>, Failure> {
    plan.check()?;
    let scopes = plan.metadata_scopes()?;
    let mut all = Vec::new();
    if let Some(name) = plan.permission_set() {
        all.push(("the permission set".to_owned(), metadata::permission_set(plan, &name).files()));
    }
    let eca = plan.kind == plan::AppKind::Eca;
    if eca {
        all.push(("the switch for consumer keys, on".to_owned(), metadata::secrets_switch(true).files()));
    }
    let id = plan.permission_set().map(|_| "(id of the permission set)");
    all.push((format!("the {}", plan.kind_in_words()), metadata::app(plan, &scopes, certificate, id).files()));
    if eca {
        all.push(("the switch for consumer keys, off again".to_owned(), metadata::secrets_switch(false).files()));
    }
    Ok(all)
}

/// The name of the setup that a folder holds, as it was before any rotation.
pub(crate) fn name_in(folder: &std::path::Path) -> Option<String> {
    let state = state::State::load(folder).ok().flatten().filter(state::State::has_begun)?;
    Some(state.plan.name.strip_suffix("_2").unwrap_or(&state.plan.name).to_owned())
}
