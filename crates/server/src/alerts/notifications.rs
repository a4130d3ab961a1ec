//! `/api/notifications`: what is wrong, and what was.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tieline_store::alerts::{
    Acknowledgement, AlertDelivery, AlertKind, Notification, NotificationFilter, NotificationState,
};
use tieline_store::{Role, Uuid};
use utoipa::{IntoParams, ToSchema};

use super::message;
use crate::caller::Caller;
use crate::extract::{Path, Query};
use crate::lists::Place;
use crate::problem::Problem;
use crate::service::Service;

/// Messages of one notification that are shown, the newest.
const MESSAGES: u32 = 200;

/// How a notification stands.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = NotificationState)]
pub(crate) enum StateName {
    /// The condition holds.
    Open,
    /// It holds, and somebody has seen it: nobody is told again.
    Acknowledged,
    /// It holds no more.
    Resolved,
}

impl StateName {
    /// Its name.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            StateName::Open => "open",
            StateName::Acknowledged => "acknowledged",
            StateName::Resolved => "resolved",
        }
    }
}

/// A condition that holds or held.
#[derive(Serialize, ToSchema)]
#[schema(as = Notification)]
pub(crate) struct NotificationView {
    /// UUID.
    pub(crate) id: Uuid,
    /// `auth_failure`, `sync_failure`, `api_budget`, `certificate_expiry`, `webhook_failure`, `sync_held`; more may come.
    pub(crate) kind: String,
    /// Of which integration.
    pub(crate) integration_id: Option<Uuid>,
    /// `warning` or `error`.
    pub(crate) severity: String,
    /// A line.
    pub(crate) title: String,
    /// What was found last.
    pub(crate) detail: String,
    /// What to do.
    pub(crate) hint: String,
    /// How it stands.
    pub(crate) state: StateName,
    /// How often it was found.
    pub(crate) count: i64,
    /// When it was found first.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) opened_at: Timestamp,
    /// When it was found last.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) last_at: Timestamp,
    /// Who has acknowledged it.
    pub(crate) acknowledged_by: Option<String>,
    /// When.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) acknowledged_at: Option<Timestamp>,
    /// When it was over.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) resolved_at: Option<Timestamp>,
    /// The messages that it has led to, oldest first; with one notification only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) deliveries: Option<Vec<DeliveryView>>,
}

impl From<Notification> for NotificationView {
    fn from(found: Notification) -> Self {
        Self {
            id: found.id,
            kind: found.kind,
            integration_id: found.integration_id,
            severity: found.severity,
            title: found.title,
            detail: found.detail,
            hint: found.hint,
            state: match found.state {
                NotificationState::Open => StateName::Open,
                NotificationState::Acknowledged => StateName::Acknowledged,
                NotificationState::Resolved => StateName::Resolved,
            },
            count: found.count,
            opened_at: found.opened_at,
            last_at: found.last_at,
            acknowledged_by: found.acknowledged_by,
            acknowledged_at: found.acknowledged_at,
            resolved_at: found.resolved_at,
            deliveries: None,
        }
    }
}

/// A message to a channel.
#[derive(Serialize, ToSchema)]
#[schema(as = AlertDelivery)]
pub(crate) struct DeliveryView {
    /// The message's id, the same over all attempts: a webhook's `webhook-id`.
    pub(crate) id: String,
    /// Where to.
    pub(crate) channel_id: Uuid,
    /// `opened`, `reminder` or `resolved`.
    pub(crate) event: String,
    /// `waiting`, `delivered`, `failed`, `folded` (there were too many within the hour) or `superseded` (a newer one says
    /// more).
    pub(crate) state: String,
    /// Attempts begun.
    pub(crate) attempts: i64,
    /// When the next attempt is due, if it waits for one.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) next_attempt_at: Option<Timestamp>,
    /// What the other side answered: an HTTP status, or a code of SMTP.
    pub(crate) status: Option<i64>,
    /// Why the last attempt failed.
    pub(crate) error: Option<String>,
    /// When it was written down.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) created_at: Timestamp,
    /// When it was delivered or given up.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) ended_at: Option<Timestamp>,
}

impl From<AlertDelivery> for DeliveryView {
    fn from(found: AlertDelivery) -> Self {
        Self {
            id: message::id(found.id),
            channel_id: found.channel_id,
            next_attempt_at: (found.state == "waiting").then_some(found.next_attempt_at),
            event: found.event,
            state: found.state,
            attempts: found.attempts,
            status: found.status,
            error: found.error,
            created_at: found.created_at,
            ended_at: found.ended_at,
        }
    }
}

/// A page of notifications.
#[derive(Serialize, ToSchema)]
pub(crate) struct NotificationPage {
    /// Newest first.
    items: Vec<NotificationView>,
    /// Where the next page begins; none: this was the last.
    next: Option<String>,
}

/// Which notifications.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct WhichNotifications {
    /// In this state: `open`, `acknowledged` or `resolved`.
    #[param(max_length = 20)]
    state: Option<String>,
    /// Of this kind: `auth_failure`, `sync_failure`, `api_budget`, `certificate_expiry`, `webhook_failure` or `sync_held`.
    #[param(max_length = 50)]
    kind: Option<String>,
    /// `next` of the page before.
    #[param(max_length = 200)]
    cursor: Option<String>,
    /// Entries of a page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
}

/// What is wrong, and what was
#[utoipa::path(get, path = "/api/notifications", tag = "alerts", params(WhichNotifications), responses(
    (status = 200, description = "A page", body = NotificationPage),
    (status = "4XX", description = "There is none", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn notifications(
    caller: Caller,
    Query(which): Query<WhichNotifications>,
) -> Result<Json<NotificationPage>, Problem> {
    let unknown = |what: &str| Problem::invalid(format!("there is no such {what}"), "see docs/alerts.md for the names");
    let state = which.state.as_deref().map(|s| NotificationState::from_name(s).ok_or_else(|| unknown("state")));
    let kind = which.kind.as_deref().map(|k| AlertKind::from_name(k).ok_or_else(|| unknown("kind")));
    let filter = NotificationFilter { state: state.transpose()?, kind: kind.transpose()? };
    let place = Place { cursor: which.cursor, limit: which.limit };
    let page = caller.tenant.notifications(&filter, place.cursor()?, place.limit()?).await?;
    let items = page.items.into_iter().map(NotificationView::from).collect();
    Ok(Json(NotificationPage { items, next: page.next.map(|cursor| cursor.to_string()) }))
}

/// One notification, with its messages
#[utoipa::path(get, path = "/api/notifications/{id}", tag = "alerts", params(("id" = Uuid, Path, description = "The notification")), responses(
    (status = 200, description = "It", body = NotificationView),
    (status = "4XX", description = "There is none", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn notification(caller: Caller, Path(id): Path<Uuid>) -> Result<Json<NotificationView>, Problem> {
    let found = caller.tenant.notification(id).await?.ok_or_else(|| Problem::not_found("notification"))?;
    let messages = caller.tenant.alert_deliveries(id, MESSAGES).await?;
    // What a receiver has answered is the business of those who chose it.
    let may_know = caller.role >= Role::Admin;
    let view = |message| {
        let view = DeliveryView::from(message);
        DeliveryView { error: view.error.filter(|_| may_know), ..view }
    };
    let deliveries = Some(messages.into_iter().map(view).collect());
    Ok(Json(NotificationView { deliveries, ..found.into() }))
}

/// Acknowledge a notification
///
/// Nobody is told of it again until it is over; the end is told all the same.
#[utoipa::path(post, path = "/api/notifications/{id}/acknowledge", tag = "alerts", params(("id" = Uuid, Path, description = "The notification")), responses(
    (status = 200, description = "It is acknowledged", body = NotificationView),
    (status = "4XX", description = "There is none, or it is over", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn acknowledge(
    State(service): State<Service>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Json<NotificationView>, Problem> {
    caller.at_least(Role::Member)?;
    match caller.tenant.acknowledge(id, &caller.who.to_string(), service.now()).await? {
        Acknowledgement::Done(found) => {
            service.changed();
            Ok(Json((*found).into()))
        }
        Acknowledgement::Resolved => {
            Err(Problem::conflict("already_resolved", "the notification is over", "nothing is to be acknowledged"))
        }
        Acknowledgement::None => Err(Problem::not_found("notification")),
    }
}
