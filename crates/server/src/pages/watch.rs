//! What happened to the connections, and who did what.

use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use jiff::Timestamp;
use serde::Deserialize;
use tieline_store::audit::{Action, AuditEntry, AuditFilter, Outcome};
use tieline_store::integration_logs::{Event, IntegrationLog, Level, LogFilter};
use tieline_store::{Cursor, Integration, Role, Uuid};

use super::Failed;
use super::denied::denied;
use super::frame::{Frame, Place};
use super::visit::Visit;
use crate::extract::Query;
use crate::lists;

/// Rows of a page.
const SHOWN: u32 = 50;

pub(super) fn cursor_of(cursor: Option<String>) -> Result<Option<Cursor>, Failed> {
    Ok(lists::Place { cursor, limit: None }.cursor()?)
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
    if visit.caller.role < Role::Admin {
        return denied(&visit, Place::Audit, "Audit log", Role::Admin, "Who did what in this business.").await;
    }
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
