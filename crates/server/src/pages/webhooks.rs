//! Webhooks of changed records: who is told when rows of a mapping change.

use std::collections::BTreeMap;

use askama::Template;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use jiff::Timestamp;
use serde::Deserialize;
use tieline_auth::Secret;
use tieline_store::{Role, Uuid};

use super::Failed;
use super::denied::denied;
use super::frame::{Frame, Place};
use super::visit::{Nothing, Sent, Visit, done};
use super::words::{Pill, pill};
use crate::accounts::SecretText;
use crate::alerts::channels::TestOutcome;
use crate::extract::{Body, Path, Query};
use crate::problem::Problem;
use crate::records::webhooks::{
    self as api, Beginning, ChangedWebhook, NewWebhook, RewindTo, WebhookView, WhichWebhooks,
};

const TITLE: &str = "Webhooks of changed records";
const ABOUT: &str = "Webhooks tell programs of yours when records of a mapping have changed.";

/// How a webhook stands, in a word.
fn state(of: &WebhookView) -> Pill {
    let (name, text) = match of {
        WebhookView { enabled: false, disabled_reason: Some(_), .. } => ("failed", "switched off by the service"),
        WebhookView { enabled: false, .. } => ("idle", "paused"),
        WebhookView { attempts: 1.., .. } => ("failed", "failing"),
        WebhookView { last_error: Some(_), .. } => ("failed", "failing"),
        WebhookView { last_success_at: Some(_), .. } => ("active", "works"),
        _ => ("idle", "not tried"),
    };
    Pill { text: text.to_owned(), ..pill(name) }
}

/// A mapping that a webhook may be of.
struct Choice {
    id: Uuid,
    name: String,
}

/// The mappings of all connections, by name.
async fn mappings(visit: &Visit) -> Result<Vec<Choice>, Failed> {
    let tenant = &visit.caller.tenant;
    let mut all = Vec::new();
    for integration in tenant.integrations().await? {
        let of = tenant.mappings(integration.id).await?;
        all.extend(of.into_iter().map(|m| Choice { id: m.id, name: format!("{} of {}", m.name, integration.name) }));
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

/// What a form of a webhook sends.
#[derive(Default, Deserialize)]
pub(crate) struct Wanted {
    #[serde(default)]
    mapping: String,
    url: Option<SecretText>,
    /// Names of columns, with commas or spaces between them.
    #[serde(default)]
    fields: String,
    #[serde(default)]
    records: String,
    #[serde(default)]
    start: String,
    /// Where to rewind to: `beginning`, `now`, or a time.
    #[serde(default)]
    to: String,
    #[serde(default)]
    time: String,
    /// `save`, `test`, `rotate`, `rewind`, `on` or `off`.
    #[serde(default)]
    go: String,
}

impl Wanted {
    fn url(&mut self) -> Option<SecretText> {
        self.url.take().filter(|url| !url.0.expose().trim().is_empty())
    }

    fn names(&self) -> Vec<String> {
        let names = self.fields.split([',', ' ', '\n', '\r', '\t']).filter(|name| !name.is_empty());
        names.map(str::to_owned).collect()
    }
}

#[derive(Template)]
#[template(path = "webhooks.html")]
struct Listed {
    frame: Frame,
    webhooks: Vec<(Pill, String, WebhookView)>,
    mappings: Vec<Choice>,
    typed: Wanted,
    problem: Option<Problem>,
    now: Timestamp,
}

/// All of them.
pub(crate) async fn webhooks(visit: Visit) -> Result<Response, Failed> {
    list(&visit, Wanted::default(), None).await
}

async fn list(visit: &Visit, typed: Wanted, problem: Option<Problem>) -> Result<Response, Failed> {
    if visit.caller.role < Role::Admin {
        return denied(visit, Place::Settings, TITLE, Role::Admin, ABOUT).await;
    }
    let which = WhichWebhooks { mapping_id: None };
    let Json(found) = api::record_webhooks(visit.caller.clone(), Query(which)).await?;
    let mappings = mappings(visit).await?;
    let names: BTreeMap<Uuid, &str> = mappings.iter().map(|m| (m.id, m.name.as_str())).collect();
    let name = |of: Uuid| names.get(&of).map_or("a mapping without a connection", |name| name).to_owned();
    let status = problem.as_ref().map_or(StatusCode::OK, Problem::status);
    let page = Listed {
        frame: visit.frame(Place::Settings, TITLE).await?,
        webhooks: found.webhooks.into_iter().map(|w| (state(&w), name(w.mapping_id), w)).collect(),
        mappings,
        typed,
        problem,
        now: visit.service.now(),
    };
    Ok((status, Html(page.render()?)).into_response())
}

/// Makes one.
pub(crate) async fn make(sent: Sent<Wanted>) -> Result<Response, Failed> {
    let Sent { visit, form: mut wanted } = sent;
    let fields = wanted.names();
    let new = NewWebhook {
        mapping_id: Uuid::parse_str(&wanted.mapping).unwrap_or_default(),
        // What is not typed is no URL, and the API says so.
        url: wanted.url().unwrap_or_else(|| SecretText(Secret::new(""))),
        events: None,
        fields: Some(fields).filter(|fields| !fields.is_empty()),
        include_records: !wanted.records.is_empty(),
        start: if wanted.start == "beginning" { Beginning::Beginning } else { Beginning::Now },
    };
    match api::create_record_webhook(State(visit.service.clone()), visit.caller.clone(), Body(new)).await {
        Ok((_, Json(made))) => shown(&visit, made.id, Tried { secret: made.secret, ..Tried::default() }).await,
        Err(problem) => list(&visit, wanted, Some(problem)).await,
    }
}

/// What was tried, and what came of it.
#[derive(Default)]
struct Tried {
    typed: Option<Wanted>,
    secret: Option<String>,
    outcome: Option<TestOutcome>,
    problem: Option<Problem>,
}

#[derive(Template)]
#[template(path = "webhook.html")]
struct Page {
    frame: Frame,
    state: Pill,
    webhook: WebhookView,
    mapping: String,
    fields: String,
    records: bool,
    secret: Option<String>,
    outcome: Option<TestOutcome>,
    problem: Option<Problem>,
    now: Timestamp,
}

/// One of them.
pub(crate) async fn webhook(visit: Visit, Path(id): Path<Uuid>) -> Result<Response, Failed> {
    shown(&visit, id, Tried::default()).await
}

async fn shown(visit: &Visit, id: Uuid, tried: Tried) -> Result<Response, Failed> {
    if visit.caller.role < Role::Admin {
        return denied(visit, Place::Settings, TITLE, Role::Admin, ABOUT).await;
    }
    let Json(webhook) = api::record_webhook(visit.caller.clone(), Path(id)).await?;
    let mapping = visit.caller.tenant.mapping(webhook.mapping_id).await?;
    let status = tried.problem.as_ref().map_or(StatusCode::OK, Problem::status);
    let (fields, records) = match tried.typed {
        Some(typed) => (typed.fields, !typed.records.is_empty()),
        None => (webhook.fields.clone().unwrap_or_default().join(", "), webhook.include_records),
    };
    let mapping = mapping.map(|mapping| mapping.name).unwrap_or_default();
    let page = Page {
        frame: visit.frame(Place::Settings, format!("Changes of {mapping}")).await?,
        state: state(&webhook),
        mapping,
        fields,
        records,
        secret: tried.secret,
        outcome: tried.outcome,
        problem: tried.problem,
        webhook,
        now: visit.service.now(),
    };
    Ok((status, Html(page.render()?)).into_response())
}

/// Changes it, tries it, sets it back, or exchanges what it signs with.
pub(crate) async fn change(Path(id): Path<Uuid>, sent: Sent<Wanted>) -> Result<Response, Failed> {
    let Sent { visit, form: mut wanted } = sent;
    let (service, caller) = (State(visit.service.clone()), visit.caller.clone());
    let here = format!("/webhooks/{id}");
    let mut tried = Tried::default();
    let nothing = || ChangedWebhook { url: None, fields: None, include_records: None, enabled: None };
    let changed = match wanted.go.as_str() {
        "test" => api::test_record_webhook(service, caller, Path(id)).await.map(|Json(outcome)| {
            tried.outcome = Some(outcome);
            None
        }),
        "rotate" => api::rotate_record_webhook_secret(service, caller, Path(id)).await.map(|Json(changed)| {
            tried.secret = changed.secret;
            None
        }),
        "rewind" => {
            let to = if wanted.to == "time" { wanted.time.trim().to_owned() } else { wanted.to.clone() };
            let set = api::rewind_record_webhook(service, caller, Path(id), Body(RewindTo { to })).await;
            set.map(|_| Some("rewound"))
        }
        go @ ("on" | "off") => {
            let is_on = go == "on";
            let change = ChangedWebhook { enabled: Some(is_on), ..nothing() };
            let changed = api::change_record_webhook(service, caller, Path(id), Body(change)).await;
            changed.map(|_| Some(if is_on { "resumed" } else { "halted" }))
        }
        _ => {
            let change = ChangedWebhook {
                url: wanted.url(),
                fields: Some(wanted.names()),
                include_records: Some(!wanted.records.is_empty()),
                enabled: None,
            };
            let changed = api::change_record_webhook(service, caller, Path(id), Body(change)).await;
            tried.typed = changed.is_err().then_some(wanted);
            changed.map(|_| Some("saved"))
        }
    };
    match changed {
        Ok(Some(word)) => Ok(done(&here, word)),
        Ok(None) => shown(&visit, id, tried).await,
        Err(problem) => shown(&visit, id, Tried { problem: Some(problem), ..tried }).await,
    }
}

/// Takes it out.
pub(crate) async fn delete(Path(id): Path<Uuid>, sent: Sent<Nothing>) -> Result<Response, Failed> {
    let Sent { visit, .. } = sent;
    api::delete_record_webhook(State(visit.service.clone()), visit.caller.clone(), Path(id)).await?;
    Ok(done("/webhooks", "deleted"))
}
