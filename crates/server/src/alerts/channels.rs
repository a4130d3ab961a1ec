//! `/api/alerts/channels`: places to be told.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tieline_auth::Secret;
use tieline_store::alerts::{AlertChannel, ChannelKind, NewChannel};
use tieline_store::{Role, Uuid};
use utoipa::ToSchema;

use super::setting::{Setting, shown};
use super::{full, message};
use crate::accounts::{SecretText, checked_name};
use crate::caller::Caller;
use crate::extract::{Body, Path};
use crate::outbound::webhook::SigningSecret;
use crate::outbound::{Outcome, email};
use crate::problem::Problem;
use crate::service::Service;

/// Channels of one business.
const MOST: u32 = 50;
/// Longest URL, in characters.
const LONGEST_URL: usize = 2_000;

/// How a channel is told.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ChannelKind)]
pub(crate) enum ChannelKindName {
    /// A webhook, signed as Standard Webhooks has it.
    Webhook,
    /// An incoming webhook of Slack, or of another that takes its messages.
    Slack,
    /// A mail.
    Email,
}

impl From<ChannelKindName> for ChannelKind {
    fn from(name: ChannelKindName) -> Self {
        match name {
            ChannelKindName::Webhook => ChannelKind::Webhook,
            ChannelKindName::Slack => ChannelKind::Slack,
            ChannelKindName::Email => ChannelKind::Email,
        }
    }
}

impl From<ChannelKind> for ChannelKindName {
    fn from(kind: ChannelKind) -> Self {
        match kind {
            ChannelKind::Webhook => ChannelKindName::Webhook,
            ChannelKind::Slack => ChannelKindName::Slack,
            ChannelKind::Email => ChannelKindName::Email,
        }
    }
}

/// A channel, without what leads to it.
#[derive(Serialize, ToSchema)]
pub(crate) struct ChannelView {
    /// UUID.
    pub(crate) id: Uuid,
    /// What people call it.
    pub(crate) name: String,
    /// How it is told.
    pub(crate) kind: ChannelKindName,
    /// The host of its URL, or its address. The URL itself is a secret, and shown to nobody.
    pub(crate) leads_to: String,
    /// Whether it is told anything.
    pub(crate) enabled: bool,
    /// When it took a message last.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) last_success_at: Option<Timestamp>,
    /// When it did not take one last.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) last_failure_at: Option<Timestamp>,
    /// Why it did not take the last one; none, if it did.
    pub(crate) last_error: Option<String>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) created_at: Timestamp,
    /// Its last change.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) updated_at: Timestamp,
    /// What its webhooks are signed with. It is shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) secret: Option<String>,
}

impl ChannelView {
    fn new(channel: AlertChannel, secret: Option<Secret>) -> Self {
        Self {
            id: channel.id,
            name: channel.name,
            kind: channel.kind.into(),
            leads_to: channel.shown,
            enabled: channel.enabled,
            last_success_at: channel.last_success_at,
            last_failure_at: channel.last_failure_at,
            last_error: channel.last_error,
            created_at: channel.created_at,
            updated_at: channel.updated_at,
            secret: secret.map(|secret| secret.expose().to_owned()),
        }
    }
}

/// All channels.
#[derive(Serialize, ToSchema)]
pub(crate) struct Channels {
    /// Oldest first.
    pub(crate) channels: Vec<ChannelView>,
}

/// A new channel.
#[derive(Deserialize, ToSchema)]
#[schema(as = NewAlertChannel)]
pub(crate) struct NewAlertChannel {
    /// What people call it.
    #[schema(min_length = 1, max_length = 100)]
    pub(crate) name: String,
    /// How it is told.
    pub(crate) kind: ChannelKindName,
    /// Of `webhook` and `slack`: where to, over HTTPS.
    #[schema(value_type = Option<String>, max_length = 2000)]
    pub(crate) url: Option<SecretText>,
    /// Of `email`: to whom.
    #[schema(max_length = 254)]
    pub(crate) to: Option<String>,
}

/// Changes; what is left out stays.
#[derive(Deserialize, ToSchema)]
pub(crate) struct AlertChannelChange {
    /// Another name.
    #[schema(min_length = 1, max_length = 100)]
    pub(crate) name: Option<String>,
    /// Whether it is told anything. What waits for a channel that is switched off is not sent.
    pub(crate) enabled: Option<bool>,
    /// Of `webhook` and `slack`: another URL. The signing secret stays.
    #[schema(value_type = Option<String>, max_length = 2000)]
    pub(crate) url: Option<SecretText>,
    /// Of `email`: another address.
    #[schema(max_length = 254)]
    pub(crate) to: Option<String>,
}

/// What became of a test.
#[derive(Serialize, ToSchema)]
pub(crate) struct TestOutcome {
    /// The other side took it.
    pub(crate) delivered: bool,
    /// What it answered: an HTTP status, or a code of SMTP.
    pub(crate) status: Option<u16>,
    /// Why it did not take it.
    pub(crate) reason: Option<String>,
    /// Whether the same may succeed later.
    pub(crate) retryable: bool,
}

impl TestOutcome {
    /// Why it was not taken.
    pub(crate) fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }
}

impl From<Outcome> for TestOutcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Delivered { status } => {
                Self { delivered: true, status: Some(status), reason: None, retryable: false }
            }
            Outcome::Retry { reason, .. } => {
                Self { delivered: false, status: None, reason: Some(reason), retryable: true }
            }
            Outcome::Failed { reason } | Outcome::Disable { reason } => {
                Self { delivered: false, status: None, reason: Some(reason), retryable: false }
            }
        }
    }
}

fn gone() -> Problem {
    Problem::not_found("alert channel")
}

/// Where a channel is to lead, if that is allowed.
async fn checked(
    service: &Service,
    kind: ChannelKind,
    url: Option<&SecretText>,
    to: Option<&str>,
) -> Result<Option<Secret>, Problem> {
    let misplaced = |field: &str| {
        Problem::invalid(format!("`{field}` is nothing that a channel of kind `{}` has", kind.name()), "")
    };
    match kind {
        ChannelKind::Email => {
            if url.is_some() {
                return Err(misplaced("url"));
            }
            let Some(to) = to else { return Ok(None) };
            let address = email::recipient(to).map_err(|e| Problem::invalid(e.to_string(), ""))?;
            if service.ways().mailer.is_none() {
                let hint = "the operator sets TIELINE_SMTP_URL and TIELINE_SMTP_FROM";
                return Err(Problem::conflict("mail_not_configured", "this service has no mail relay", hint));
            }
            Ok(Some(Secret::new(address.to_string())))
        }
        ChannelKind::Webhook | ChannelKind::Slack => {
            if to.is_some() {
                return Err(misplaced("to"));
            }
            let Some(url) = url else { return Ok(None) };
            checked_url(service, url).await.map(Some)
        }
    }
}

/// The URL, if something may be sent there.
pub(crate) async fn checked_url(service: &Service, url: &SecretText) -> Result<Secret, Problem> {
    let text = url.0.expose();
    if text.chars().count() > LONGEST_URL {
        return Err(Problem::invalid(format!("the URL is longer than {LONGEST_URL} characters"), ""));
    }
    let checked = service.ways().sender.check(text).await;
    checked.map_err(|refused| Problem::invalid(refused.to_string(), refused.hint()))?;
    Ok(Secret::new(text))
}

pub(crate) fn signing_secret() -> Result<Secret, Problem> {
    let (_, text) = SigningSecret::generate().map_err(|e| Problem::internal("no secret could be made", &e))?;
    Ok(text)
}

/// The channels of the business
#[utoipa::path(get, path = "/api/alerts/channels", tag = "alerts", responses(
    (status = 200, description = "All", body = Channels),
    (status = "4XX", description = "Not for this caller", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn channels(caller: Caller) -> Result<Json<Channels>, Problem> {
    caller.at_least(Role::Admin)?;
    let all = caller.tenant.alert_channels().await?;
    Ok(Json(Channels { channels: all.into_iter().map(|channel| ChannelView::new(channel, None)).collect() }))
}

/// Make a channel
///
/// A webhook's signing secret is in the answer, this once.
#[utoipa::path(post, path = "/api/alerts/channels", tag = "alerts", request_body = NewAlertChannel, responses(
    (status = 201, description = "It is there", body = ChannelView),
    (status = "4XX", description = "It is not", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn create_channel(
    State(service): State<Service>,
    caller: Caller,
    Body(new): Body<NewAlertChannel>,
) -> Result<(StatusCode, Json<ChannelView>), Problem> {
    caller.at_least(Role::Admin)?;
    let (name, kind) = (checked_name("name", &new.name)?, ChannelKind::from(new.kind));
    let to = checked(&service, kind, new.url.as_ref(), new.to.as_deref()).await?.ok_or_else(|| {
        let missing = if matches!(kind, ChannelKind::Email) { "to" } else { "url" };
        Problem::invalid(format!("a channel of kind `{}` needs `{missing}`", kind.name()), "")
    })?;
    let secret = matches!(kind, ChannelKind::Webhook).then(signing_secret).transpose()?;
    let setting = Setting::new(to.expose(), secret.as_ref()).to_bytes();
    let new = NewChannel { name: &name, kind, shown: &shown(kind, to.expose()), setting: &setting };
    let made = caller.tenant.create_alert_channel(&new, MOST, service.now()).await?;
    let made = made.ok_or_else(|| full("alert channels", MOST))?;
    Ok((StatusCode::CREATED, Json(ChannelView::new(made, secret))))
}

/// One channel
#[utoipa::path(get, path = "/api/alerts/channels/{id}", tag = "alerts", params(("id" = Uuid, Path, description = "The channel")), responses(
    (status = 200, description = "It", body = ChannelView),
    (status = "4XX", description = "There is none", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn channel(caller: Caller, Path(id): Path<Uuid>) -> Result<Json<ChannelView>, Problem> {
    caller.at_least(Role::Admin)?;
    Ok(Json(ChannelView::new(caller.tenant.alert_channel(id).await?.ok_or_else(gone)?, None)))
}

/// Change a channel
#[utoipa::path(patch, path = "/api/alerts/channels/{id}", tag = "alerts", request_body = AlertChannelChange, params(("id" = Uuid, Path, description = "The channel")), responses(
    (status = 200, description = "It, changed", body = ChannelView),
    (status = "4XX", description = "Nothing was changed", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn change_channel(
    State(service): State<Service>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Body(change): Body<AlertChannelChange>,
) -> Result<Json<ChannelView>, Problem> {
    caller.at_least(Role::Admin)?;
    let (before, sealed) = caller.tenant.open_alert_channel(id).await?.ok_or_else(gone)?;
    let name = change.name.as_deref().map(|name| checked_name("name", name)).transpose()?;
    let to = checked(&service, before.kind, change.url.as_ref(), change.to.as_deref()).await?;
    let leads_to = match &to {
        None => None,
        Some(to) => {
            let mut setting = Setting::read(&before, &sealed)?;
            setting.lead_to(to.expose());
            Some((shown(before.kind, to.expose()), setting.to_bytes()))
        }
    };
    let leads_to = leads_to.as_ref().map(|(shown, setting)| (shown.as_str(), setting.as_slice()));
    let changed =
        caller.tenant.update_alert_channel(id, name.as_deref(), change.enabled, leads_to, service.now()).await?;
    Ok(Json(ChannelView::new(changed.ok_or_else(gone)?, None)))
}

/// Delete a channel
///
/// What it was sent is gone from the notifications, too.
#[utoipa::path(delete, path = "/api/alerts/channels/{id}", tag = "alerts", params(("id" = Uuid, Path, description = "The channel")), responses(
    (status = 204, description = "It is gone"),
    (status = "4XX", description = "There is none", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn delete_channel(
    State(service): State<Service>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, Problem> {
    caller.at_least(Role::Admin)?;
    if !caller.tenant.delete_alert_channel(id, service.now()).await? {
        return Err(gone());
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Send a test message
///
/// Now, and once: the answer says what happened. A channel that is switched off is sent one, too.
#[utoipa::path(post, path = "/api/alerts/channels/{id}/test", tag = "alerts", params(("id" = Uuid, Path, description = "The channel")), responses(
    (status = 200, description = "What happened", body = TestOutcome),
    (status = "4XX", description = "There is none", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn test_channel(
    State(service): State<Service>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Json<TestOutcome>, Problem> {
    caller.at_least(Role::Admin)?;
    let (channel, sealed) = caller.tenant.open_alert_channel(id).await?.ok_or_else(gone)?;
    let setting = Setting::read(&channel, &sealed)?;
    let payload = message::test(&channel, service.now());
    let outcome = service.send_once(&channel, &setting, &message::id(Uuid::now_v7()), &payload).await;
    let outcome = TestOutcome::from(outcome);
    caller.tenant.note_alert_channel(id, outcome.reason.as_deref(), service.now()).await?;
    Ok(Json(outcome))
}

/// Exchange a webhook's signing secret
///
/// The new one is in the answer, this once. For a day messages are signed with both.
#[utoipa::path(post, path = "/api/alerts/channels/{id}/rotate-secret", tag = "alerts", params(("id" = Uuid, Path, description = "The channel")), responses(
    (status = 200, description = "It, with the new secret", body = ChannelView),
    (status = "4XX", description = "There is none, or it is no webhook", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn rotate_secret(
    State(service): State<Service>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Json<ChannelView>, Problem> {
    caller.at_least(Role::Admin)?;
    let (before, sealed) = caller.tenant.open_alert_channel(id).await?.ok_or_else(gone)?;
    if !matches!(before.kind, ChannelKind::Webhook) {
        let detail = format!("a channel of kind `{}` signs nothing", before.kind.name());
        return Err(Problem::conflict("not_signed", detail, "webhooks have a signing secret"));
    }
    let (secret, now) = (signing_secret()?, service.now());
    let mut setting = Setting::read(&before, &sealed)?;
    setting.rotate(&secret, now);
    let changed = caller.tenant.rotate_alert_secret(id, &setting.to_bytes(), now).await?.ok_or_else(gone)?;
    Ok(Json(ChannelView::new(changed, Some(secret))))
}
