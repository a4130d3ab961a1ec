//! What is wrong or was, each with the messages that it led to; and who is told: channels, and rules.

pub(crate) mod channels;
mod kinds;
pub(crate) mod rules;

use askama::Template;
use axum::Json;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use jiff::Timestamp;
use serde::Deserialize;
use tieline_store::alerts::{Notification, NotificationFilter, NotificationState};
use tieline_store::{Integration, Role, Uuid};

use super::Failed;
use super::frame::{Frame, Place};
use super::visit::{Nothing, Sent, Visit, done};
use super::watch::cursor_of;
use super::words::{Pill, pill};
use crate::alerts::notifications::{self, DeliveryView, NotificationView};
use crate::extract::{Path, Query};
use crate::problem::Problem;

/// Rows of a page.
const SHOWN: u32 = 50;

/// Which notifications.
#[derive(Deserialize)]
pub(crate) struct Which {
    #[serde(default)]
    state: String,
    cursor: Option<String>,
}

/// A notification in the list, with the page where it is put right.
struct Entry {
    state: Pill,
    connection: Option<Integration>,
    remedy: Option<Remedy>,
    of: Notification,
}

#[derive(Template)]
#[template(path = "alerts.html")]
struct Listed {
    frame: Frame,
    alerts: Vec<Entry>,
    state: String,
    next: Option<String>,
    now: Timestamp,
}

/// The notifications, all of them unless told otherwise.
pub(crate) async fn alerts(visit: Visit, Query(which): Query<Which>) -> Result<Response, Failed> {
    let tenant = &visit.caller.tenant;
    let filter = NotificationFilter { state: NotificationState::from_name(&which.state), kind: None };
    let found = tenant.notifications(&filter, cursor_of(which.cursor)?, SHOWN).await?;
    let integrations = tenant.integrations().await?;
    let entry = |of: Notification| {
        let connection = integrations.iter().find(|integration| Some(integration.id) == of.integration_id).cloned();
        let is_over = of.state == NotificationState::Resolved;
        let remedies = if is_over { Vec::new() } else { remedies(&of.kind, connection.as_ref(), visit.caller.role) };
        Entry { state: pill(of.state.name()), connection, remedy: remedies.into_iter().next(), of }
    };
    let page = Listed {
        frame: visit.frame(Place::Alerts, "Alerts").await?,
        alerts: found.items.into_iter().map(entry).collect(),
        state: filter.state.map(NotificationState::name).unwrap_or_default().to_owned(),
        next: found.next.map(|cursor| cursor.to_string()),
        now: visit.service.now(),
    };
    Ok(Html(page.render()?).into_response())
}

/// A message in the list.
struct Message {
    delivery: DeliveryView,
    state: Pill,
    channel: String,
}

/// Where whatever is to be done is done.
struct Remedy {
    path: String,
    words: &'static str,
}

#[derive(Template)]
#[template(path = "alert.html")]
struct Page {
    frame: Frame,
    alert: NotificationView,
    state: Pill,
    connection: Option<Integration>,
    remedies: Vec<Remedy>,
    messages: Vec<Message>,
    problem: Option<Problem>,
    now: Timestamp,
}

/// The pages where a condition of this kind is put right, by whoever looks.
fn remedies(kind: &str, connection: Option<&Integration>, role: Role) -> Vec<Remedy> {
    let mut all = Vec::new();
    let mut lead = |path: String, words| all.push(Remedy { path, words });
    match kind {
        "webhook_failure" => lead("/webhooks".to_owned(), "To the webhooks"),
        "sync_failure" => lead("/runs".to_owned(), "To the runs"),
        "sync_held" => lead("/mappings".to_owned(), "To the mappings"),
        "api_budget" => lead("/usage".to_owned(), "To the usage"),
        _ => {}
    }
    if let Some(integration) = connection {
        let id = integration.id;
        if kind == "auth_failure" && role >= Role::Admin {
            lead(format!("/connect?integration={id}&return_to=/connections/{id}"), "Log in again");
        }
        lead(format!("/connections/{id}"), "To the connection");
    }
    all
}

/// One of them, with its messages.
pub(crate) async fn alert(visit: Visit, Path(id): Path<Uuid>) -> Result<Response, Failed> {
    one(&visit, id, None).await
}

async fn one(visit: &Visit, id: Uuid, problem: Option<Problem>) -> Result<Response, Failed> {
    let (caller, now) = (&visit.caller, visit.service.now());
    let Json(mut found) = notifications::notification(caller.clone(), Path(id)).await?;
    let connection = match found.integration_id {
        Some(id) => caller.tenant.integration(id).await?,
        None => None,
    };
    // The channels are for those to know who choose them.
    let may_know = caller.role >= Role::Admin;
    let channels = if may_know { caller.tenant.alert_channels().await? } else { Vec::new() };
    let unknown = if may_know { "a channel that is gone" } else { "a channel" };
    let message = |delivery: DeliveryView| Message {
        state: pill(match delivery.state.as_str() {
            "delivered" => "sent",
            other => other,
        }),
        channel: channels
            .iter()
            .find(|channel| channel.id == delivery.channel_id)
            .map_or_else(|| unknown.to_owned(), |channel| channel.name.clone()),
        delivery,
    };
    let state = found.state.name();
    let status = problem.as_ref().map_or(axum::http::StatusCode::OK, Problem::status);
    let page = Page {
        frame: visit.frame(Place::Alerts, found.title.clone()).await?,
        state: pill(state),
        remedies: if state == "resolved" {
            Vec::new()
        } else {
            remedies(&found.kind, connection.as_ref(), caller.role)
        },
        messages: found.deliveries.take().unwrap_or_default().into_iter().map(message).collect(),
        connection,
        alert: found,
        problem,
        now,
    };
    Ok((status, Html(page.render()?)).into_response())
}

/// Says that somebody has seen it.
pub(crate) async fn acknowledge(Path(id): Path<Uuid>, sent: Sent<Nothing>) -> Result<Response, Failed> {
    let Sent { visit, .. } = sent;
    match notifications::acknowledge(State(visit.service.clone()), visit.caller.clone(), Path(id)).await {
        Ok(_) => Ok(done("/alerts", "acknowledged")),
        Err(problem) => one(&visit, id, Some(problem)).await,
    }
}
