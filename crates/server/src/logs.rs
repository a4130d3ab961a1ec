//! What happened to integrations, and who did what.

use axum::Json;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tieline_store::audit::{Action, AuditEntry, AuditFilter, Verification};
use tieline_store::integration_logs::{Event, IntegrationLog, Level, LogFilter};
use tieline_store::{Role, Uuid};
use utoipa::{IntoParams, ToSchema};

use crate::caller::Caller;
use crate::extract::Query;
use crate::lists::{Place, bad_cursor};
use crate::problem::Problem;

/// Something that happened to an integration.
#[derive(Serialize, ToSchema)]
pub(crate) struct LogView {
    /// UUID.
    id: Uuid,
    /// To which.
    integration_id: Option<Uuid>,
    /// What: `auth_success`, `auth_failure`, `sync_error` and more.
    event: String,
    /// `info`, `warning` or `error`.
    level: String,
    /// In words.
    message: String,
    /// For programs.
    #[schema(value_type = Object)]
    detail: Value,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
}

impl From<IntegrationLog> for LogView {
    fn from(log: IntegrationLog) -> Self {
        let IntegrationLog { id, integration_id, event, level, message, detail, at } = log;
        Self { id, integration_id, event, level, message, detail, at }
    }
}

/// A page of logs.
#[derive(Serialize, ToSchema)]
pub(crate) struct LogPage {
    /// Newest first.
    items: Vec<LogView>,
    /// Where the next page begins; none: this was the last.
    next: Option<String>,
}

/// Which logs.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct WhichLogs {
    /// Of this integration.
    integration: Option<Uuid>,
    /// Of this event.
    #[param(max_length = 50)]
    event: Option<String>,
    /// Of this level: `info`, `warning` or `error`.
    #[param(max_length = 20)]
    level: Option<String>,
    /// `next` of the page before.
    #[param(max_length = 200)]
    cursor: Option<String>,
    /// Entries of a page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
}

/// What happened to the integrations
#[utoipa::path(get, path = "/api/logs", tag = "integrations", params(WhichLogs), responses(
    (status = 200, description = "A page", body = LogPage),
    (status = "4XX", description = "There is none", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn logs(caller: Caller, Query(which): Query<WhichLogs>) -> Result<Json<LogPage>, Problem> {
    let unknown = |what: &str| Problem::invalid(format!("there is no such {what}"), "see docs/api.md for the names");
    let filter = LogFilter {
        integration: which.integration,
        event: which.event.as_deref().map(|e| Event::from_name(e).ok_or_else(|| unknown("event"))).transpose()?,
        level: which.level.as_deref().map(|l| Level::from_name(l).ok_or_else(|| unknown("level"))).transpose()?,
    };
    let place = Place { cursor: which.cursor, limit: which.limit };
    let page = caller.tenant.integration_logs(&filter, place.cursor()?, place.limit()?).await?;
    let items = page.items.into_iter().map(LogView::from).collect();
    Ok(Json(LogPage { items, next: page.next.map(|cursor| cursor.to_string()) }))
}

/// Something that somebody did.
#[derive(Serialize, ToSchema)]
pub(crate) struct AuditView {
    /// UUID.
    id: Uuid,
    /// Its place in the chain.
    position: i64,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// `user`, `api_key`, `system` or `anonymous`.
    actor_type: String,
    /// Which.
    actor_id: Option<String>,
    /// What: `connection.authorized`, `api_key.created` and more.
    action: String,
    /// `success`, `failure` or `denied`.
    outcome: String,
    /// To what kind of thing.
    target_type: Option<String>,
    /// To which.
    target_id: Option<String>,
    /// More, as JSON.
    #[schema(value_type = Object)]
    detail: Value,
    /// Where from.
    address: Option<String>,
}

impl From<AuditEntry> for AuditView {
    fn from(e: AuditEntry) -> Self {
        Self {
            id: e.id,
            position: e.position,
            at: e.at,
            actor_type: e.actor_type,
            actor_id: e.actor_id,
            action: e.action,
            outcome: e.outcome,
            target_type: e.target_type,
            target_id: e.target_id,
            detail: serde_json::from_str(&e.detail).unwrap_or_default(),
            address: e.address,
        }
    }
}

/// A page of the audit log.
#[derive(Serialize, ToSchema)]
pub(crate) struct AuditPage {
    /// Newest first.
    items: Vec<AuditView>,
    /// Where the next page begins; none: this was the last.
    next: Option<String>,
}

/// Which entries.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct WhichEntries {
    /// Of this user or API key.
    actor: Option<Uuid>,
    /// Of this action.
    #[param(max_length = 50)]
    action: Option<String>,
    /// `next` of the page before.
    #[param(max_length = 200)]
    cursor: Option<String>,
    /// Entries of a page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
}

/// Who did what
///
/// Each entry holds the digest of the one before it: what is taken out or changed shows.
#[utoipa::path(get, path = "/api/audit", tag = "team", params(WhichEntries), responses(
    (status = 200, description = "A page", body = AuditPage),
    (status = "4XX", description = "There is none", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn audit(caller: Caller, Query(which): Query<WhichEntries>) -> Result<Json<AuditPage>, Problem> {
    caller.at_least(Role::Admin)?;
    let action = match which.action.as_deref() {
        None => None,
        Some(name) => Some(
            Action::from_name(name)
                .ok_or_else(|| Problem::invalid("there is no such action", "see docs/api.md for the names"))?,
        ),
    };
    let place = Place { cursor: which.cursor, limit: which.limit };
    let (before, limit) = (place.cursor::<i64>()?, place.limit()?);
    if before.is_some_and(|position| position < 0) {
        return Err(bad_cursor());
    }
    let filter = AuditFilter { actor: which.actor, action, ..AuditFilter::default() };
    let mut entries = caller.tenant.audit_entries(&filter, before, limit + 1).await?;
    let more = entries.len() > limit as usize;
    entries.truncate(limit as usize);
    let next = entries.last().filter(|_| more).map(|last| last.position.to_string());
    Ok(Json(AuditPage { items: entries.into_iter().map(AuditView::from).collect(), next }))
}

/// Whether the audit log is whole.
#[derive(Serialize, ToSchema)]
pub(crate) struct AuditState {
    /// No entry is missing or changed.
    whole: bool,
    /// How many there are.
    entries: Option<i64>,
    /// Position of the newest.
    head: Option<i64>,
    /// Its digest, in hexadecimal: kept elsewhere, it shows later that the log was not written anew.
    digest: Option<String>,
    /// Where it is not whole.
    broken_at: Option<i64>,
    /// What is wrong there.
    reason: Option<String>,
}

/// Whether the audit log is whole
#[utoipa::path(get, path = "/api/audit/verify", tag = "team", responses(
    (status = 200, description = "What was found", body = AuditState),
    (status = "4XX", description = "Not for this caller", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn verify_audit(caller: Caller) -> Result<Json<AuditState>, Problem> {
    caller.at_least(Role::Admin)?;
    let nothing = AuditState { whole: false, entries: None, head: None, digest: None, broken_at: None, reason: None };
    Ok(Json(match caller.tenant.verify_audit().await? {
        Verification::Verified { entries, head: (head, digest) } => AuditState {
            whole: true,
            entries: Some(entries),
            head: Some(head),
            digest: Some(digest.iter().map(|byte| format!("{byte:02x}")).collect()),
            ..nothing
        },
        Verification::Broken { position, reason } => {
            AuditState { broken_at: Some(position), reason: Some(reason.to_owned()), ..nothing }
        }
    }))
}
