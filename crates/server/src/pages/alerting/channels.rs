//! Places to be told. Where a webhook leads is a secret and comes back in no form; what it is signed with is in the answer
//! that makes it.

use askama::Template;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use jiff::Timestamp;
use serde::Deserialize;
use tieline_store::alerts::ChannelKind;
use tieline_store::{Role, Uuid};

use super::super::Failed;
use super::super::denied::denied;
use super::super::frame::{Frame, Place};
use super::super::visit::{Nothing, Sent, Visit, done};
use crate::accounts::SecretText;
use crate::alerts::channels::{
    self as api, AlertChannelChange, ChannelKindName, ChannelView, NewAlertChannel, TestOutcome,
};
use crate::extract::{Body, Path, Query};
use crate::problem::Problem;

const ABOUT: &str = "Channels are the places where this business is told of what is wrong.";

/// What a kind of channel is called, and what it does.
struct Kind {
    kind: ChannelKindName,
    name: &'static str,
    words: &'static str,
    about: &'static str,
}

static KINDS: [Kind; 3] = [
    Kind {
        kind: ChannelKindName::Webhook,
        name: "webhook",
        words: "Webhook",
        about: "a signed message to a program of yours",
    },
    Kind {
        kind: ChannelKindName::Slack,
        name: "slack",
        words: "Slack",
        about: "an incoming webhook of Slack, or of another that takes its messages",
    },
    Kind { kind: ChannelKindName::Email, name: "email", words: "E-mail", about: "a mail to one address" },
];

impl Kind {
    fn of(name: &str) -> Option<&'static Kind> {
        KINDS.iter().find(|kind| kind.name == name)
    }

    fn named(kind: ChannelKindName) -> &'static Kind {
        let name = ChannelKind::from(kind).name();
        KINDS.iter().find(|kind| kind.name == name).unwrap_or(&KINDS[0])
    }
}

#[derive(Template)]
#[template(path = "channels.html")]
struct Listed {
    frame: Frame,
    channels: Vec<(&'static Kind, ChannelView)>,
    has_mail: bool,
    now: Timestamp,
}

/// All of them.
pub(crate) async fn channels(visit: Visit) -> Result<Response, Failed> {
    if visit.caller.role < Role::Admin {
        return denied(&visit, Place::Alerts, "Alert channels", Role::Admin, ABOUT).await;
    }
    let Json(found) = api::channels(visit.caller.clone()).await?;
    let page = Listed {
        frame: visit.frame(Place::Alerts, "Alerts").await?,
        channels: found.channels.into_iter().map(|channel| (Kind::named(channel.kind), channel)).collect(),
        has_mail: visit.service.ways().mailer.is_some(),
        now: visit.service.now(),
    };
    Ok(Html(page.render()?).into_response())
}

/// What a form of a channel sends.
#[derive(Deserialize)]
pub(crate) struct Wanted {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    name: String,
    url: Option<SecretText>,
    to: Option<String>,
    /// `save`, `test`, `rotate`, `on` or `off`.
    #[serde(default)]
    go: String,
}

impl Wanted {
    /// The URL, if one was typed: an empty field is none.
    fn url(&mut self) -> Option<SecretText> {
        self.url.take().filter(|url| !url.0.expose().trim().is_empty())
    }
}

/// Which kind is to be made.
#[derive(Deserialize)]
pub(crate) struct OfKind {
    #[serde(default)]
    kind: String,
}

#[derive(Template)]
#[template(path = "channel_new.html")]
struct New {
    frame: Frame,
    kind: &'static Kind,
    has_mail: bool,
    name: String,
    to: String,
    problem: Option<Problem>,
}

/// The form of a new one.
pub(crate) async fn new(visit: Visit, Query(of): Query<OfKind>) -> Result<Response, Failed> {
    let kind = Kind::of(&of.kind).unwrap_or(&KINDS[0]);
    form(&visit, kind, String::new(), String::new(), None).await
}

async fn form(
    visit: &Visit,
    kind: &'static Kind,
    name: String,
    to: String,
    problem: Option<Problem>,
) -> Result<Response, Failed> {
    if visit.caller.role < Role::Admin {
        return denied(visit, Place::Alerts, "Alert channels", Role::Admin, ABOUT).await;
    }
    let status = problem.as_ref().map_or(StatusCode::OK, Problem::status);
    let frame = visit.frame(Place::Alerts, "A new channel").await?;
    let page = New { frame, kind, has_mail: visit.service.ways().mailer.is_some(), name, to, problem };
    Ok((status, Html(page.render()?)).into_response())
}

/// Makes it.
pub(crate) async fn make(sent: Sent<Wanted>) -> Result<Response, Failed> {
    let Sent { visit, form: mut wanted } = sent;
    let kind = Kind::of(&wanted.kind).unwrap_or(&KINDS[0]);
    let to = wanted.to.clone().filter(|to| !to.trim().is_empty());
    let new = NewAlertChannel { name: wanted.name.clone(), kind: kind.kind, url: wanted.url(), to };
    match api::create_channel(State(visit.service.clone()), visit.caller.clone(), Body(new)).await {
        Ok((_, Json(mut made))) => match made.secret.take() {
            Some(secret) => shown(&visit, made.id, Tried { secret: Some(secret), ..Tried::default() }).await,
            None => Ok(done(&format!("/alerts/channels/{}", made.id), "channel_made")),
        },
        Err(problem) => form(&visit, kind, wanted.name, wanted.to.unwrap_or_default(), Some(problem)).await,
    }
}

/// What was tried, and what came of it.
#[derive(Default)]
struct Tried {
    name: Option<String>,
    to: Option<String>,
    secret: Option<String>,
    outcome: Option<TestOutcome>,
    problem: Option<Problem>,
}

#[derive(Template)]
#[template(path = "channel.html")]
struct Page {
    frame: Frame,
    kind: &'static Kind,
    channel: ChannelView,
    /// The rules that lead to it.
    rules: usize,
    name: String,
    to: String,
    secret: Option<String>,
    outcome: Option<TestOutcome>,
    problem: Option<Problem>,
    now: Timestamp,
}

/// One of them.
pub(crate) async fn channel(visit: Visit, Path(id): Path<Uuid>) -> Result<Response, Failed> {
    shown(&visit, id, Tried::default()).await
}

async fn shown(visit: &Visit, id: Uuid, tried: Tried) -> Result<Response, Failed> {
    if visit.caller.role < Role::Admin {
        return denied(visit, Place::Alerts, "Alert channels", Role::Admin, ABOUT).await;
    }
    let Json(channel) = api::channel(visit.caller.clone(), Path(id)).await?;
    let rules = visit.caller.tenant.alert_rules().await?;
    let status = tried.problem.as_ref().map_or(StatusCode::OK, Problem::status);
    let page = Page {
        frame: visit.frame(Place::Alerts, channel.name.clone()).await?,
        kind: Kind::named(channel.kind),
        rules: rules.iter().filter(|rule| rule.channels.contains(&id)).count(),
        name: tried.name.unwrap_or_else(|| channel.name.clone()),
        to: tried.to.unwrap_or_else(|| channel.leads_to.clone()),
        secret: tried.secret,
        outcome: tried.outcome,
        problem: tried.problem,
        channel,
        now: visit.service.now(),
    };
    Ok((status, Html(page.render()?)).into_response())
}

/// Changes it, tries it, or exchanges what it signs with.
pub(crate) async fn change(Path(id): Path<Uuid>, sent: Sent<Wanted>) -> Result<Response, Failed> {
    let Sent { visit, form: mut wanted } = sent;
    let (service, caller) = (State(visit.service.clone()), visit.caller.clone());
    let here = format!("/alerts/channels/{id}");
    let mut tried = Tried::default();
    let problem = match wanted.go.as_str() {
        "test" => match api::test_channel(service, caller, Path(id)).await {
            Ok(Json(outcome)) => {
                tried.outcome = Some(outcome);
                None
            }
            Err(problem) => Some(problem),
        },
        "rotate" => match api::rotate_secret(service, caller, Path(id)).await {
            Ok(Json(changed)) => {
                tried.secret = changed.secret;
                None
            }
            Err(problem) => Some(problem),
        },
        go => {
            let change = match go {
                "on" | "off" => AlertChannelChange { name: None, enabled: Some(go == "on"), url: None, to: None },
                _ => {
                    let Json(before) = api::channel(caller.clone(), Path(id)).await?;
                    (tried.name, tried.to) = (Some(wanted.name.clone()), wanted.to.clone());
                    let to = wanted.to.clone().filter(|to| to.trim() != before.leads_to);
                    AlertChannelChange { name: Some(wanted.name.clone()), enabled: None, url: wanted.url(), to }
                }
            };
            match api::change_channel(service, caller, Path(id), Body(change)).await {
                Ok(_) => return Ok(done(&here, "saved")),
                Err(problem) => Some(problem),
            }
        }
    };
    shown(&visit, id, Tried { problem, ..tried }).await
}

/// Takes it out.
pub(crate) async fn delete(Path(id): Path<Uuid>, sent: Sent<Nothing>) -> Result<Response, Failed> {
    let Sent { visit, .. } = sent;
    api::delete_channel(State(visit.service.clone()), visit.caller.clone(), Path(id)).await?;
    Ok(done("/alerts/channels", "deleted"))
}
