//! `/api/webhooks`: who is told of changed records.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tieline_auth::Secret;
use tieline_store::alerts::ChannelKind;
use tieline_store::mappings::Mapping;
use tieline_store::records::{NewRecordWebhook, RecordSource, RecordWebhook, Rewind, WebhookChange, chosen};
use tieline_store::{Role, Uuid};
use utoipa::{IntoParams, ToSchema};

use super::sending::setting;
use super::wanted::place;
use super::{message, no_mapping, unprocessable};
use crate::accounts::SecretText;
use crate::alerts::channels::{TestOutcome, checked_url, signing_secret};
use crate::alerts::{Setting, full, shown};
use crate::caller::Caller;
use crate::extract::{Body, Path, Query};
use crate::problem::Problem;
use crate::service::Service;

/// Webhooks of one business.
const MOST: u32 = 100;
/// Columns that one names.
const MOST_FIELDS: usize = 1_200;

/// What a webhook is told of.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[schema(as = RecordEvent)]
pub(crate) enum EventName {
    /// Records are new, other than before, or gone.
    #[serde(rename = "records.changed")]
    RecordsChanged,
}

/// A webhook, without what leads to it.
#[derive(Serialize, ToSchema)]
#[schema(as = RecordWebhook)]
pub(crate) struct WebhookView {
    /// UUID.
    pub(crate) id: Uuid,
    /// Whose records.
    pub(crate) mapping_id: Uuid,
    /// The host of its URL. The URL itself is a secret, and shown to nobody.
    pub(crate) leads_to: String,
    /// What it is told of.
    pub(crate) events: Vec<EventName>,
    /// The columns that are sent; none: all of them.
    pub(crate) fields: Option<Vec<String>>,
    /// Whether records are sent, and not only that there are some.
    pub(crate) include_records: bool,
    /// Whether it is told anything.
    pub(crate) enabled: bool,
    /// Why the service has switched it off; none, if it has not.
    pub(crate) disabled_reason: Option<String>,
    /// Everything before this was taken: a cursor of the mapping's records.
    pub(crate) position: String,
    /// Attempts at the message that is to be sent.
    pub(crate) attempts: i64,
    /// When it is tried again; none: at once, if there is anything to send.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) next_attempt_at: Option<Timestamp>,
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
    /// What its messages are signed with. It is shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) secret: Option<String>,
}

impl WebhookView {
    fn new(webhook: RecordWebhook, secret: Option<Secret>) -> Self {
        Self {
            id: webhook.id,
            mapping_id: webhook.mapping_id,
            leads_to: webhook.shown,
            events: vec![EventName::RecordsChanged],
            fields: webhook.fields,
            include_records: webhook.include_records,
            enabled: webhook.enabled,
            disabled_reason: webhook.disabled_reason,
            position: webhook.position.to_string(),
            attempts: webhook.attempts,
            next_attempt_at: webhook.next_attempt_at,
            last_success_at: webhook.last_success_at,
            last_failure_at: webhook.last_failure_at,
            last_error: webhook.last_error,
            created_at: webhook.created_at,
            updated_at: webhook.updated_at,
            secret: secret.map(|secret| secret.expose().to_owned()),
        }
    }
}

/// All webhooks.
#[derive(Serialize, ToSchema)]
pub(crate) struct Webhooks {
    /// Oldest first.
    pub(crate) webhooks: Vec<WebhookView>,
}

/// Which webhooks.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct WhichWebhooks {
    /// Of this mapping.
    pub(crate) mapping_id: Option<Uuid>,
}

/// Where a webhook begins.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Beginning {
    /// With what changes from now on.
    #[default]
    Now,
    /// With all that is there.
    Beginning,
}

/// A new webhook.
#[derive(Deserialize, ToSchema)]
#[schema(as = NewRecordWebhook)]
pub(crate) struct NewWebhook {
    /// Whose records.
    pub(crate) mapping_id: Uuid,
    /// Where to, over HTTPS.
    #[schema(value_type = String, max_length = 2000)]
    pub(crate) url: SecretText,
    /// What it is told of: there is one event.
    #[schema(min_items = 1, max_items = 1)]
    pub(crate) events: Option<Vec<EventName>>,
    /// The columns that are sent; all of them, unless told otherwise.
    #[schema(max_items = 1200)]
    pub(crate) fields: Option<Vec<String>>,
    /// Whether records are sent, and not only that there are some.
    #[serde(default)]
    pub(crate) include_records: bool,
    /// Where it begins.
    #[serde(default)]
    #[schema(default = "now")]
    pub(crate) start: Beginning,
}

/// Changes; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[schema(as = RecordWebhookChange)]
pub(crate) struct ChangedWebhook {
    /// Another URL. The signing secret stays.
    #[schema(value_type = Option<String>, max_length = 2000)]
    pub(crate) url: Option<SecretText>,
    /// The columns that are sent; with an empty list all of them.
    #[schema(max_items = 1200)]
    pub(crate) fields: Option<Vec<String>>,
    /// Whether records are sent.
    pub(crate) include_records: Option<bool>,
    /// Whether it is told anything. What changes while it is switched off is sent once it is on again.
    pub(crate) enabled: Option<bool>,
}

/// Where a webhook is set to.
#[derive(Deserialize, ToSchema)]
pub(crate) struct RewindTo {
    /// `beginning`, `now`, a cursor of the mapping's records, or a time from which on a record was written here.
    #[schema(max_length = 1000, example = "beginning")]
    pub(crate) to: String,
}

fn gone() -> Problem {
    Problem::not_found("webhook")
}

/// The columns, if the mapping has them; an empty list is all of them.
fn checked_fields<'f>(mapping: &Mapping, fields: Option<&'f [String]>) -> Result<Option<&'f [String]>, Problem> {
    let Some(fields) = fields.filter(|fields| !fields.is_empty()) else { return Ok(None) };
    if fields.len() > MOST_FIELDS {
        return Err(Problem::invalid(format!("there are {} fields", fields.len()), "name each column once"));
    }
    let names: Vec<&str> = fields.iter().map(String::as_str).collect();
    chosen(&RecordSource::mapping(mapping), &names).map_err(|e| unprocessable(&e))?;
    Ok(Some(fields))
}

/// The webhooks of the business
#[utoipa::path(get, path = "/api/webhooks", tag = "records", params(WhichWebhooks), responses(
    (status = 200, description = "All", body = Webhooks),
    (status = "4XX", description = "Not for this caller", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn record_webhooks(
    caller: Caller,
    Query(which): Query<WhichWebhooks>,
) -> Result<Json<Webhooks>, Problem> {
    caller.at_least(Role::Admin)?;
    let all = caller.tenant.record_webhooks(which.mapping_id).await?;
    Ok(Json(Webhooks { webhooks: all.into_iter().map(|webhook| WebhookView::new(webhook, None)).collect() }))
}

/// Make a webhook
///
/// Its signing secret is in the answer, this once.
#[utoipa::path(post, path = "/api/webhooks", tag = "records", request_body = NewWebhook, responses(
    (status = 201, description = "It is there", body = WebhookView),
    (status = "4XX", description = "It is not", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn create_record_webhook(
    State(service): State<Service>,
    caller: Caller,
    Body(new): Body<NewWebhook>,
) -> Result<(StatusCode, Json<WebhookView>), Problem> {
    caller.at_least(Role::Admin)?;
    if new.events.as_ref().is_some_and(|events| events.len() != 1) {
        return Err(Problem::invalid("`events` names none, or one twice", "there is one: records.changed"));
    }
    let mapping = caller.tenant.mapping(new.mapping_id).await?.ok_or_else(no_mapping)?;
    let fields = checked_fields(&mapping, new.fields.as_deref())?;
    let url = checked_url(&service, &new.url).await?;
    let secret = signing_secret()?;
    let setting = Setting::new(url.expose(), Some(&secret)).to_bytes();
    let shown = shown(ChannelKind::Webhook, url.expose());
    let new = NewRecordWebhook {
        shown: &shown,
        setting: &setting,
        fields,
        include_records: new.include_records,
        from_beginning: matches!(new.start, Beginning::Beginning),
    };
    let made = caller.tenant.create_record_webhook(&mapping, &new, MOST, service.now()).await?;
    let made = made.ok_or_else(|| full("webhooks", MOST))?;
    Ok((StatusCode::CREATED, Json(WebhookView::new(made, Some(secret)))))
}

/// One webhook
#[utoipa::path(get, path = "/api/webhooks/{id}", tag = "records", params(("id" = Uuid, Path, description = "The webhook")), responses(
    (status = 200, description = "It", body = WebhookView),
    (status = "4XX", description = "There is none", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn record_webhook(caller: Caller, Path(id): Path<Uuid>) -> Result<Json<WebhookView>, Problem> {
    caller.at_least(Role::Admin)?;
    Ok(Json(WebhookView::new(caller.tenant.record_webhook(id).await?.ok_or_else(gone)?, None)))
}

/// Change a webhook
///
/// Its position stays, and what waits for another attempt is sent at once.
#[utoipa::path(patch, path = "/api/webhooks/{id}", tag = "records", request_body = ChangedWebhook, params(("id" = Uuid, Path, description = "The webhook")), responses(
    (status = 200, description = "It, changed", body = WebhookView),
    (status = "4XX", description = "Nothing was changed", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn change_record_webhook(
    State(service): State<Service>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Body(change): Body<ChangedWebhook>,
) -> Result<Json<WebhookView>, Problem> {
    caller.at_least(Role::Admin)?;
    let (before, sealed) = caller.tenant.open_record_webhook(id).await?.ok_or_else(gone)?;
    let fields = match &change.fields {
        None => None,
        Some(fields) => {
            let mapping = caller.tenant.mapping(before.mapping_id).await?.ok_or_else(no_mapping)?;
            Some(checked_fields(&mapping, Some(fields))?)
        }
    };
    let leads_to = match &change.url {
        None => None,
        Some(url) => {
            let url = checked_url(&service, url).await?;
            let mut setting = setting(&before, &sealed)?;
            setting.lead_to(url.expose());
            Some((shown(ChannelKind::Webhook, url.expose()), setting.to_bytes()))
        }
    };
    let leads_to = leads_to.as_ref().map(|(shown, setting)| (shown.as_str(), setting.as_slice()));
    let change = WebhookChange { leads_to, fields, include_records: change.include_records, enabled: change.enabled };
    let changed = caller.tenant.update_record_webhook(id, &change, service.now()).await?.ok_or_else(gone)?;
    Ok(Json(WebhookView::new(changed, None)))
}

/// Delete a webhook
#[utoipa::path(delete, path = "/api/webhooks/{id}", tag = "records", params(("id" = Uuid, Path, description = "The webhook")), responses(
    (status = 204, description = "It is gone"),
    (status = "4XX", description = "There is none", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn delete_record_webhook(
    State(service): State<Service>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, Problem> {
    caller.at_least(Role::Admin)?;
    if !caller.tenant.delete_record_webhook(id, service.now()).await? {
        return Err(gone());
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Send a test message
///
/// Now, and once: the answer says what happened. It has no records, and moves nothing.
#[utoipa::path(post, path = "/api/webhooks/{id}/test", tag = "records", params(("id" = Uuid, Path, description = "The webhook")), responses(
    (status = 200, description = "What happened", body = TestOutcome),
    (status = "4XX", description = "There is none", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn test_record_webhook(
    State(service): State<Service>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Json<TestOutcome>, Problem> {
    caller.at_least(Role::Admin)?;
    let (webhook, sealed) = caller.tenant.open_record_webhook(id).await?.ok_or_else(gone)?;
    let body = message::test(caller.tenant.business(), &webhook, service.now());
    let name = format!("msg_{}", Uuid::now_v7().simple());
    let outcome = TestOutcome::from(service.deliver(&setting(&webhook, &sealed)?, name, body).await);
    caller.tenant.note_record_webhook(id, outcome.reason(), service.now()).await?;
    Ok(Json(outcome))
}

/// Exchange a webhook's signing secret
///
/// The new one is in the answer, this once. For a day messages are signed with both.
#[utoipa::path(post, path = "/api/webhooks/{id}/rotate-secret", tag = "records", params(("id" = Uuid, Path, description = "The webhook")), responses(
    (status = 200, description = "It, with the new secret", body = WebhookView),
    (status = "4XX", description = "There is none", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn rotate_record_webhook_secret(
    State(service): State<Service>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Json<WebhookView>, Problem> {
    caller.at_least(Role::Admin)?;
    let (before, sealed) = caller.tenant.open_record_webhook(id).await?.ok_or_else(gone)?;
    let (secret, now) = (signing_secret()?, service.now());
    let mut setting = setting(&before, &sealed)?;
    setting.rotate(&secret, now);
    let changed = caller.tenant.rotate_record_webhook_secret(id, &setting.to_bytes(), now).await?.ok_or_else(gone)?;
    Ok(Json(WebhookView::new(changed, Some(secret))))
}

/// Send from another place on
///
/// To send again what was sent, or to leave out what was not. What comes again has other message ids than before.
#[utoipa::path(post, path = "/api/webhooks/{id}/rewind", tag = "records", request_body = RewindTo, params(("id" = Uuid, Path, description = "The webhook")), responses(
    (status = 200, description = "It, with its position", body = WebhookView),
    (status = "4XX", description = "There is none, or no such place", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn rewind_record_webhook(
    State(service): State<Service>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Body(to): Body<RewindTo>,
) -> Result<Json<WebhookView>, Problem> {
    caller.at_least(Role::Admin)?;
    let there = caller.tenant.record_webhook(id).await?.ok_or_else(gone)?;
    let to = match to.to.as_str() {
        "beginning" => Rewind::Beginning,
        "now" => Rewind::Now,
        text => match text.parse::<Timestamp>() {
            Ok(time) => Rewind::Since(time),
            Err(_) => Rewind::To(place(text, there.mapping_id).map_err(|_| {
                let detail = "`to` is neither beginning, now, a time nor a cursor of the mapping's records";
                Problem::invalid(detail, "send 2026-06-01T12:00:00Z, or a cursor as it is")
            })?),
        },
    };
    let set = caller.tenant.rewind_record_webhook(id, &to, service.now()).await?.ok_or_else(gone)?;
    Ok(Json(WebhookView::new(set, None)))
}
