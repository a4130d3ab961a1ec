//! `/api/alerts/rules`: from when on a condition is told, and to whom.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tieline_store::alerts::{AlertKind, AlertRule, NewRule, QUIET_SECONDS, RuleChange, RuleSettings, SavedRule};
use tieline_store::{Role, Uuid};
use utoipa::ToSchema;

use super::{KindName, full};
use crate::caller::Caller;
use crate::extract::{Body, Path};
use crate::problem::Problem;
use crate::service::Service;

/// Rules of one business.
const MOST: u32 = 100;
/// Channels of one rule.
const MOST_CHANNELS: usize = 20;
/// Quiet time: five minutes to a week.
const QUIET: std::ops::RangeInclusive<u32> = 300..=604_800;

/// A rule.
#[derive(Serialize, ToSchema)]
#[schema(as = AlertRule)]
pub(crate) struct RuleView {
    /// UUID.
    pub(crate) id: Uuid,
    /// Of what: `auth_failure`, `sync_failure`, `api_budget`, `certificate_expiry`, `webhook_failure`, `sync_held`.
    pub(crate) kind: String,
    /// Of which integration; none: of all.
    pub(crate) integration_id: Option<Uuid>,
    /// Of `api_budget`: per cent of the org's calls of 24 hours that are used.
    pub(crate) percent: Option<u32>,
    /// Of `certificate_expiry`: days before the end. It is told again at 7 and 1, and at the end.
    pub(crate) days: Option<u32>,
    /// Of `sync_failure`: runs that failed one after the other.
    pub(crate) failures: Option<u32>,
    /// How long a channel that was told is told nothing more of the same, in seconds.
    pub(crate) quiet_seconds: i64,
    /// Whether it counts.
    pub(crate) enabled: bool,
    /// Who is told; nobody: it is a notification here, and no message.
    pub(crate) channels: Vec<Uuid>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) created_at: Timestamp,
    /// Its last change.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) updated_at: Timestamp,
}

impl From<AlertRule> for RuleView {
    fn from(rule: AlertRule) -> Self {
        Self {
            id: rule.id,
            kind: rule.kind,
            integration_id: rule.integration_id,
            percent: rule.settings.percent,
            days: rule.settings.days,
            failures: rule.settings.failures,
            quiet_seconds: rule.quiet_seconds,
            enabled: rule.enabled,
            channels: rule.channels,
            created_at: rule.created_at,
            updated_at: rule.updated_at,
        }
    }
}

/// All rules.
#[derive(Serialize, ToSchema)]
pub(crate) struct Rules {
    /// Oldest first.
    pub(crate) rules: Vec<RuleView>,
}

/// A new rule.
#[derive(Deserialize, ToSchema)]
pub(crate) struct NewAlertRule {
    /// Of what.
    pub(crate) kind: KindName,
    /// Of which integration; of all, if this is left out.
    pub(crate) integration: Option<Uuid>,
    /// Of `api_budget`: per cent of the org's calls of 24 hours that are used; 80 unless told otherwise.
    #[schema(minimum = 1, maximum = 100)]
    pub(crate) percent: Option<u32>,
    /// Of `certificate_expiry`: days before the end; 30 unless told otherwise. It is told again at 7 and 1, and at the end.
    #[schema(minimum = 1, maximum = 365)]
    pub(crate) days: Option<u32>,
    /// Of `sync_failure`: runs that failed one after the other; 1 unless told otherwise.
    #[schema(minimum = 1, maximum = 1000)]
    pub(crate) failures: Option<u32>,
    /// How long a channel that was told is told nothing more of the same; six hours unless told otherwise.
    #[schema(minimum = 300, maximum = 604800)]
    pub(crate) quiet_seconds: Option<u32>,
    /// Whether it counts; it does, unless told otherwise.
    pub(crate) enabled: Option<bool>,
    /// Who is told.
    #[serde(default)]
    #[schema(max_items = 20)]
    pub(crate) channels: Vec<Uuid>,
}

/// Changes; what is left out stays.
#[derive(Deserialize, ToSchema)]
pub(crate) struct AlertRuleChange {
    /// Of `api_budget`.
    #[schema(minimum = 1, maximum = 100)]
    pub(crate) percent: Option<u32>,
    /// Of `certificate_expiry`.
    #[schema(minimum = 1, maximum = 365)]
    pub(crate) days: Option<u32>,
    /// Of `sync_failure`.
    #[schema(minimum = 1, maximum = 1000)]
    pub(crate) failures: Option<u32>,
    /// How long a channel that was told is told nothing more of the same.
    #[schema(minimum = 300, maximum = 604800)]
    pub(crate) quiet_seconds: Option<u32>,
    /// Whether it counts.
    pub(crate) enabled: Option<bool>,
    /// Who is told: all of them anew.
    #[schema(max_items = 20)]
    pub(crate) channels: Option<Vec<Uuid>>,
}

/// Settings that the kind has, within their bounds.
fn checked(kind: AlertKind, settings: RuleSettings) -> Result<RuleSettings, Problem> {
    let all = [
        ("percent", settings.percent, AlertKind::ApiBudget, 100),
        ("days", settings.days, AlertKind::CertificateExpiry, 365),
        ("failures", settings.failures, AlertKind::SyncFailure, 1_000),
    ];
    for (name, value, of, most) in all {
        let Some(value) = value else { continue };
        if kind != of {
            let detail = format!("`{name}` is nothing that a rule of kind `{}` has", kind.name());
            return Err(Problem::invalid(detail, format!("a rule of kind `{}` has it", of.name())));
        }
        if !(1..=most).contains(&value) {
            return Err(Problem::invalid(format!("`{name}` is {value}"), format!("it is 1 to {most}")));
        }
    }
    Ok(settings)
}

fn checked_quiet(seconds: u32) -> Result<u32, Problem> {
    if QUIET.contains(&seconds) {
        return Ok(seconds);
    }
    let hint = format!("it is {} to {}", QUIET.start(), QUIET.end());
    Err(Problem::invalid(format!("`quiet_seconds` is {seconds}"), hint))
}

fn checked_channels(channels: &[Uuid]) -> Result<(), Problem> {
    if channels.len() <= MOST_CHANNELS {
        return Ok(());
    }
    let detail = format!("the rule names {} channels", channels.len());
    Err(Problem::invalid(detail, format!("a rule has {MOST_CHANNELS} at most")))
}

fn saved(saved: SavedRule) -> Result<RuleView, Problem> {
    match saved {
        SavedRule::Done(rule) => Ok(rule.into()),
        SavedRule::NoRule => Err(Problem::not_found("alert rule")),
        SavedRule::NoIntegration => Err(Problem::not_found("integration")),
        SavedRule::NoChannel => Err(Problem::not_found("alert channel")),
        SavedRule::Full => Err(full("alert rules", MOST)),
    }
}

/// The rules of the business
///
/// Where no rule speaks of a kind, its conditions are notifications all the same, and told to no channel.
#[utoipa::path(get, path = "/api/alerts/rules", tag = "alerts", responses(
    (status = 200, description = "All", body = Rules),
    (status = "4XX", description = "Not for this caller", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn rules(caller: Caller) -> Result<Json<Rules>, Problem> {
    caller.at_least(Role::Admin)?;
    let all = caller.tenant.alert_rules().await?;
    Ok(Json(Rules { rules: all.into_iter().map(RuleView::from).collect() }))
}

/// Make a rule
#[utoipa::path(post, path = "/api/alerts/rules", tag = "alerts", request_body = NewAlertRule, responses(
    (status = 201, description = "It is there", body = RuleView),
    (status = "4XX", description = "It is not", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn create_rule(
    State(service): State<Service>,
    caller: Caller,
    Body(new): Body<NewAlertRule>,
) -> Result<(StatusCode, Json<RuleView>), Problem> {
    caller.at_least(Role::Admin)?;
    let kind = AlertKind::from(new.kind);
    let settings = RuleSettings { percent: new.percent, days: new.days, failures: new.failures };
    checked_channels(&new.channels)?;
    let new = NewRule {
        kind,
        integration: new.integration,
        settings: checked(kind, settings)?,
        quiet_seconds: checked_quiet(new.quiet_seconds.unwrap_or(QUIET_SECONDS))?,
        enabled: new.enabled.unwrap_or(true),
        channels: &new.channels,
    };
    let rule = saved(caller.tenant.create_alert_rule(&new, MOST, service.now()).await?)?;
    Ok((StatusCode::CREATED, Json(rule)))
}

/// Change a rule
#[utoipa::path(patch, path = "/api/alerts/rules/{id}", tag = "alerts", request_body = AlertRuleChange, params(("id" = Uuid, Path, description = "The rule")), responses(
    (status = 200, description = "It, changed", body = RuleView),
    (status = "4XX", description = "Nothing was changed", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn change_rule(
    State(service): State<Service>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Body(change): Body<AlertRuleChange>,
) -> Result<Json<RuleView>, Problem> {
    caller.at_least(Role::Admin)?;
    let before = caller.tenant.alert_rule(id).await?.ok_or_else(|| Problem::not_found("alert rule"))?;
    let told = RuleSettings { percent: change.percent, days: change.days, failures: change.failures };
    let settings = match AlertKind::from_name(&before.kind) {
        Some(kind) if told != RuleSettings::default() => Some(checked(kind, told)?),
        _ => None,
    };
    checked_channels(change.channels.as_deref().unwrap_or_default())?;
    let change = RuleChange {
        settings,
        quiet_seconds: change.quiet_seconds.map(checked_quiet).transpose()?,
        enabled: change.enabled,
        channels: change.channels.as_deref(),
    };
    saved(caller.tenant.update_alert_rule(id, &change, service.now()).await?).map(Json)
}

/// Delete a rule
#[utoipa::path(delete, path = "/api/alerts/rules/{id}", tag = "alerts", params(("id" = Uuid, Path, description = "The rule")), responses(
    (status = 204, description = "It is gone"),
    (status = "4XX", description = "There is none", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn delete_rule(
    State(service): State<Service>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, Problem> {
    caller.at_least(Role::Admin)?;
    if !caller.tenant.delete_alert_rule(id, service.now()).await? {
        return Err(Problem::not_found("alert rule"));
    }
    Ok(StatusCode::NO_CONTENT)
}
