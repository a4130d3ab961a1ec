//! The setup of a connection, step by step: the org, its app, the login, which objects, which fields, the first sync.
//!
//! Nothing of it lives in the browser. The connection's row is made at the first step; what was chosen since stands in its
//! settings under `setup`, and what was made (the login, the mappings) is found where it is. So another tab, another day and
//! another admin come to the same place. The setup is over when somebody says so: then `setup` is taken out.
//!
//! Reading order: here (where a setup stands), then the steps: [`org`], [`app`], [`login`], [`objects`], [`fields`] with
//! [`draft`] (what its form says), [`first_sync`].

pub(crate) mod app;
mod draft;
pub(crate) mod fields;
pub(crate) mod first_sync;
pub(crate) mod login;
pub(crate) mod objects;
pub(crate) mod org;

use std::collections::BTreeMap;

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tieline_store::mappings::Mapping;
use tieline_store::{Integration, Role, Status, StoreError, Uuid};

use super::Failed;
use super::frame::{Frame, Place};
use super::visit::{Visit, done};
use crate::extract::{Path, Query};
use crate::problem::Problem;

/// A step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Org,
    App,
    Login,
    Objects,
    Fields,
    Sync,
}

impl Step {
    const ALL: [Self; 6] = [Self::Org, Self::App, Self::Login, Self::Objects, Self::Fields, Self::Sync];

    fn words(self) -> &'static str {
        match self {
            Self::Org => "Org",
            Self::App => "App",
            Self::Login => "Connect",
            Self::Objects => "Objects",
            Self::Fields => "Fields",
            Self::Sync => "First sync",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Org => "org",
            Self::App => "app",
            Self::Login => "connect",
            Self::Objects => "objects",
            Self::Fields => "fields",
            Self::Sync => "sync",
        }
    }

    /// Its page.
    pub(super) fn path(self, id: Uuid) -> String {
        format!("/connections/{id}/setup/{}", self.name())
    }
}

/// A step in the list above each page.
pub(super) struct StepLine {
    words: &'static str,
    is_here: bool,
    is_done: bool,
    /// Its page, where one may go there.
    path: Option<String>,
}

/// The steps of a setup that has not begun.
fn first_steps() -> Vec<StepLine> {
    let line = |step: Step| StepLine { words: step.words(), is_here: step == Step::Org, is_done: false, path: None };
    Step::ALL.into_iter().map(line).collect()
}

/// What has been chosen so far, as it is kept in the connection's settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Chosen {
    /// Somebody has said which app it is.
    app: bool,
    /// The objects, in the order in which they are asked about; none: nobody has chosen yet.
    objects: Option<Vec<String>>,
    /// Those of them that get no mapping after all.
    skipped: Vec<String>,
    /// About how many records they have, as the org had counted when they were chosen.
    counts: BTreeMap<String, u64>,
}

/// Whether a connection is still being set up: nobody has logged in yet, or nobody has said that it is done.
pub(super) fn is_unfinished(integration: &Integration) -> bool {
    integration.status == Status::Pending || !integration.config["setup"].is_null()
}

/// Whether there is a login, so that the org can be asked. One that fails may do so for any reason, and is tried again.
fn is_connected(integration: &Integration) -> bool {
    match integration.status {
        Status::Active => true,
        Status::Error => integration.organization_id.is_some(),
        Status::Pending | Status::Inactive => false,
    }
}

/// A setup as it stands, looked at by somebody who may go on with it.
pub(super) struct Scene {
    visit: Visit,
    integration: Integration,
    chosen: Chosen,
    /// The mappings that there are, the built-in one among them.
    mappings: Vec<Mapping>,
}

impl Scene {
    async fn open(visit: Visit, id: Uuid) -> Result<Self, Instead> {
        let tenant = &visit.caller.tenant;
        let integration = tenant.integration(id).await?.ok_or_else(|| Problem::not_found("connection"))?;
        may_set_up(&visit).await?;
        if !is_unfinished(&integration) {
            return Err(Redirect::to(&format!("/connections/{id}")).into());
        }
        let chosen = serde_json::from_value(integration.config["setup"].clone()).unwrap_or_default();
        let mappings = tenant.mappings(id).await?;
        Ok(Self { chosen, mappings, integration, visit })
    }

    /// The same at a step; whoever cannot be there yet, or not any more, is led to where it goes on.
    async fn at(visit: Visit, id: Uuid, step: Step) -> Result<Self, Instead> {
        let scene = Self::open(visit, id).await?;
        if scene.is_open(step) { Ok(scene) } else { Err(Redirect::to(&scene.next().path(id)).into()) }
    }

    fn id(&self) -> Uuid {
        self.integration.id
    }

    /// The first step that is not done.
    fn next(&self) -> Step {
        let connected = is_connected(&self.integration);
        match &self.chosen.objects {
            _ if !connected && self.integration.config["login_url"].as_str().is_none() => Step::Org,
            _ if !connected && !self.chosen.app => Step::App,
            _ if !connected => Step::Login,
            None => Step::Objects,
            Some(_) if self.next_object().is_some() => Step::Fields,
            Some(_) => Step::Sync,
        }
    }

    /// Org and app belong to the login: who wants others after that connects another org, or this one anew. What comes behind
    /// it can be gone back to.
    fn is_open(&self, step: Step) -> bool {
        match step {
            Step::Org | Step::App => !is_connected(&self.integration) && step <= self.next(),
            Step::Fields => step <= self.next() && self.next_object().is_some(),
            _ => step <= self.next(),
        }
    }

    /// The chosen object whose fields are to be chosen next.
    fn next_object(&self) -> Option<&str> {
        let mut objects = self.chosen.objects.iter().flatten().map(String::as_str);
        objects.find(|object| !self.is_decided(object))
    }

    fn is_decided(&self, object: &str) -> bool {
        self.chosen.skipped.iter().any(|skipped| skipped == object) || self.is_mapped(object)
    }

    /// Whether a mapping of the object was made by somebody.
    fn is_mapped(&self, object: &str) -> bool {
        let mut made = self.mappings.iter().filter(|mapping| !mapping.is_contacts());
        made.any(|mapping| mapping.object.eq_ignore_ascii_case(object))
    }

    fn steps(&self, here: Step) -> Vec<StepLine> {
        let next = self.next();
        let line = |step: Step| StepLine {
            words: step.words(),
            is_here: step == here,
            is_done: step < next,
            path: Some(step.path(self.id())).filter(|_| step != here && self.is_open(step)),
        };
        Step::ALL.into_iter().map(line).collect()
    }

    async fn frame(&self) -> Result<Frame, Failed> {
        self.visit.frame(Place::Connections, "Connect Salesforce").await
    }

    /// Keeps what was chosen.
    async fn keep(&self, chosen: &Chosen) -> Result<(), Problem> {
        let config = json!({"setup": chosen});
        self.change(&config).await
    }

    /// Takes the choice out: the setup is over.
    async fn finish(&self) -> Result<(), Problem> {
        self.change(&json!({"setup": Value::Null})).await
    }

    async fn change(&self, config: &Value) -> Result<(), Problem> {
        let (tenant, now) = (&self.visit.caller.tenant, self.visit.service.now());
        let changed = tenant.update_integration(self.id(), None, Some(config), None, now).await?;
        self.visit.service.changed();
        changed.map(drop).ok_or_else(|| Problem::not_found("connection"))
    }
}

#[derive(Template)]
#[template(path = "setup_denied.html")]
struct Denied {
    frame: Frame,
}

/// Connections are set up by admins who are signed in.
pub(super) fn may(visit: &Visit) -> bool {
    visit.caller.role >= Role::Admin && visit.caller.signed_in().is_ok()
}

/// Others are told who may.
async fn may_set_up(visit: &Visit) -> Result<(), Instead> {
    if may(visit) {
        return Ok(());
    }
    let page = Denied { frame: visit.frame(Place::Connections, "Connect Salesforce").await? };
    Err(Instead::of((StatusCode::FORBIDDEN, Html(page.render()?))))
}

/// What is answered instead of a step's page: another page to go to, or why not.
pub(crate) struct Instead(Box<Response>);

impl Instead {
    fn of(answer: impl IntoResponse) -> Self {
        Self(Box::new(answer.into_response()))
    }
}

impl IntoResponse for Instead {
    fn into_response(self) -> Response {
        *self.0
    }
}

impl From<Failed> for Instead {
    fn from(failed: Failed) -> Self {
        Self::of(failed)
    }
}

impl From<Problem> for Instead {
    fn from(problem: Problem) -> Self {
        Failed::from(problem).into()
    }
}

impl From<StoreError> for Instead {
    fn from(error: StoreError) -> Self {
        Failed::from(error).into()
    }
}

impl From<askama::Error> for Instead {
    fn from(error: askama::Error) -> Self {
        Failed::from(error).into()
    }
}

impl From<Redirect> for Instead {
    fn from(redirect: Redirect) -> Self {
        Self::of(redirect)
    }
}

/// What the callback adds.
#[derive(Deserialize)]
pub(crate) struct Came {
    connected: Option<Uuid>,
}

/// Leads to the first step that is not done.
pub(crate) async fn setup(visit: Visit, Path(id): Path<Uuid>, Query(came): Query<Came>) -> Result<Response, Instead> {
    // An org is there once: if it was connected before, that connection has the new login, and this one is gone.
    if let Some(known) = came.connected.filter(|known| *known != id)
        && visit.caller.tenant.integration(known).await?.is_some()
    {
        return Ok(done(&format!("/connections/{known}"), "known_org"));
    }
    let scene = Scene::open(visit, id).await?;
    Ok(Redirect::to(&scene.next().path(id)).into_response())
}
