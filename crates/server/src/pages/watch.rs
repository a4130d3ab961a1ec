//! What is wrong or was, what happened to the connections, and who did what.

use askama::Template;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use jiff::Timestamp;
use serde::Deserialize;
use tieline_store::alerts::{Notification, NotificationFilter, NotificationState};
use tieline_store::audit::{Action, AuditEntry, AuditFilter, Outcome};
use tieline_store::integration_logs::{Event, IntegrationLog, Level, LogFilter};
use tieline_store::{Cursor, Integration, Role, Uuid};

use super::Failed;
use super::frame::{Frame, Place};
use super::visit::{Nothing, Sent, Visit, done};
use super::words::{Pill, pill};
use crate::alerts::notifications;
use crate::extract::{Path, Query};
use crate::lists;

/// Rows of a page.
const SHOWN: u32 = 50;

fn cursor_of(cursor: Option<String>) -> Result<Option<Cursor>, Failed> {
    Ok(lists::Place { cursor, limit: None }.cursor()?)
}

/// Which notifications.
#[derive(Deserialize)]
pub(crate) struct WhichAlerts {
    #[serde(default)]
    state: String,
    cursor: Option<String>,
}

#[derive(Template)]
#[template(path = "alerts.html")]
struct Alerts {
    frame: Frame,
    alerts: Vec<(Pill, Notification)>,
    integrations: Vec<Integration>,
    state: String,
    next: Option<String>,
    now: Timestamp,
}

impl Alerts {
    fn connection(&self, id: &Option<Uuid>) -> Option<&Integration> {
        self.integrations.iter().find(|integration| Some(integration.id) == *id)
    }
}

/// The notifications, all of them unless told otherwise.
pub(crate) async fn alerts(visit: Visit, Query(which): Query<WhichAlerts>) -> Result<Response, Failed> {
    let tenant = &visit.caller.tenant;
    let filter = NotificationFilter { state: NotificationState::from_name(&which.state), kind: None };
    let found = tenant.notifications(&filter, cursor_of(which.cursor)?, SHOWN).await?;
    let page = Alerts {
        frame: visit.frame(Place::Alerts, "Alerts").await?,
        alerts: found.items.into_iter().map(|alert| (pill(alert.state.name()), alert)).collect(),
        integrations: tenant.integrations().await?,
        state: filter.state.map(NotificationState::name).unwrap_or_default().to_owned(),
        next: found.next.map(|cursor| cursor.to_string()),
        now: visit.service.now(),
    };
    Ok(Html(page.render()?).into_response())
}

/// Says that somebody has seen it.
pub(crate) async fn acknowledge(Path(id): Path<Uuid>, sent: Sent<Nothing>) -> Result<Response, Failed> {
    let Sent { visit, .. } = sent;
    let _ = notifications::acknowledge(State(visit.service.clone()), visit.caller.clone(), Path(id)).await?;
    Ok(done("/alerts", "acknowledged"))
}

/// Which entries of the log.
#[derive(Deserialize)]
pub(crate) struct WhichLogs {
    #[serde(default)]
    connection: String,
    #[serde(default)]
    event: String,
    #[serde(default)]
    level: String,
    cursor: Option<String>,
}

#[derive(Template)]
#[template(path = "logs.html")]
struct Logs {
    frame: Frame,
    entries: Vec<IntegrationLog>,
    integrations: Vec<Integration>,
    which: WhichLogs,
    next: Option<String>,
    now: Timestamp,
}

impl Logs {
    fn events(&self) -> impl Iterator<Item = &'static str> {
        Event::ALL.iter().map(|event| event.name())
    }

    fn connection(&self, id: &Option<Uuid>) -> &str {
        let found = self.integrations.iter().find(|integration| Some(integration.id) == *id);
        found.map_or("", |integration| integration.name.as_str())
    }

    /// What tells more than the message.
    fn more(&self, entry: &IntegrationLog) -> Option<String> {
        let more = entry.detail.as_object().filter(|detail| !detail.is_empty())?;
        serde_json::to_string_pretty(more).ok()
    }
}

/// The log; what is new comes in by itself.
pub(crate) async fn logs(visit: Visit, Query(which): Query<WhichLogs>) -> Result<Response, Failed> {
    let tenant = &visit.caller.tenant;
    let filter = LogFilter {
        integration: Uuid::parse_str(&which.connection).ok(),
        event: Event::from_name(&which.event),
        level: Level::from_name(&which.level),
    };
    let found = tenant.integration_logs(&filter, cursor_of(which.cursor.clone())?, SHOWN).await?;
    let page = Logs {
        frame: visit.frame(Place::Logs, "Logs").await?,
        entries: found.items,
        integrations: tenant.integrations().await?,
        which,
        next: found.next.map(|cursor| cursor.to_string()),
        now: visit.service.now(),
    };
    Ok(Html(page.render()?).into_response())
}

/// Which entries of the audit log.
#[derive(Deserialize)]
pub(crate) struct WhichEntries {
    #[serde(default)]
    action: String,
    #[serde(default)]
    outcome: String,
    cursor: Option<i64>,
}

#[derive(Template)]
#[template(path = "audit.html")]
struct Audit {
    frame: Frame,
    entries: Vec<(String, AuditEntry)>,
    which: WhichEntries,
    next: Option<i64>,
    now: Timestamp,
}

impl Audit {
    fn actions(&self) -> impl Iterator<Item = &'static str> {
        Action::ALL.iter().map(|action| action.name())
    }
}

/// The audit log.
pub(crate) async fn audit(visit: Visit, Query(which): Query<WhichEntries>) -> Result<Response, Failed> {
    visit.caller.at_least(Role::Admin)?;
    let tenant = &visit.caller.tenant;
    let filter = AuditFilter {
        action: Action::from_name(&which.action),
        outcome: Outcome::from_name(&which.outcome),
        ..AuditFilter::default()
    };
    let mut found = tenant.audit_entries(&filter, which.cursor, SHOWN + 1).await?;
    let more = found.len() > SHOWN as usize;
    found.truncate(SHOWN as usize);
    let members = tenant.members().await?;
    let who = |entry: &AuditEntry| match (entry.actor_type.as_str(), &entry.actor_id) {
        ("user", Some(id)) => members
            .iter()
            .find(|member| member.user.id.to_string() == *id)
            .map_or_else(|| format!("user {id}"), |member| member.user.name.clone()),
        ("api_key", Some(id)) => format!("API key {id}"),
        (other, _) => other.to_owned(),
    };
    let page = Audit {
        frame: visit.frame(Place::Audit, "Audit log").await?,
        next: found.last().filter(|_| more).map(|last| last.position),
        entries: found.into_iter().map(|entry| (who(&entry), entry)).collect(),
        which,
        now: visit.service.now(),
    };
    Ok(Html(page.render()?).into_response())
}
