//! The worker: claims webhooks that have something to hear, sends it, and notes how it went. Every node has one.

use std::time::Duration;

use jiff::SignedDuration;
use tieline_auth::Secret;
use tieline_store::StoreError;
use tieline_store::records::{ClaimedWebhook, RecordWebhook, WebhookAttempt};
use tokio::task::JoinSet;

use super::message;
use crate::alerts::Setting;
use crate::outbound::webhook::{Delivery, SigningSecret};
use crate::outbound::{Outcome, retry};
use crate::service::Service;
use crate::telemetry::measures;

/// Webhooks that one node sends to at once.
const AT_ONCE: usize = 8;
/// How often a node looks for changes that another one has written, and for attempts whose time has come.
const EVERY: Duration = Duration::from_secs(5);
/// How long a node may take for one message before another one takes it for dead: the reading of some hundred rows, and an
/// attempt, which allows itself 15 seconds.
const LEASE: Duration = Duration::from_secs(120);

impl Service {
    /// Tells of changed records until the service stops; then what is under way is ended. Dropped earlier, it leaves that to
    /// the next one, who sends it again under the same id.
    pub async fn work_records(&self) {
        let stopping = self.stopping();
        let mut stopped = stopping.subscribe();
        let mut under_way = JoinSet::new();
        while !*stopped.borrow_and_update() {
            while under_way.try_join_next().is_some() {}
            if under_way.len() < AT_ONCE {
                match self.store().claim_record_webhook(self.now(), LEASE).await {
                    Ok(Some(claimed)) => {
                        let service = self.clone();
                        under_way.spawn(async move { service.send_records(claimed).await });
                        continue;
                    }
                    Ok(None) => {}
                    Err(error) => tracing::error!(%error, hint = error.hint(), "nobody can be told of changed records"),
                }
            }
            tokio::select! {
                () = self.store().records().rung() => {}
                () = tokio::time::sleep(EVERY) => {}
                Some(_) = under_way.join_next() => {}
                _ = stopped.changed() => {}
            }
        }
        while under_way.join_next().await.is_some() {}
    }

    /// One message.
    async fn send_records(&self, mut claimed: ClaimedWebhook) {
        let id = claimed.webhook.id;
        let batch = match claimed.batch().await {
            Ok(Some(batch)) => batch,
            Ok(None) => return,
            Err(error) => {
                tracing::error!(%error, hint = error.hint(), webhook = %id, "what changed could not be read: it is tried again");
                return;
            }
        };
        let outcome = match self.opened(&claimed).await {
            Ok(Some(setting)) => {
                let body = message::body(claimed.tenant.business(), &claimed.webhook, &batch);
                self.deliver(&setting, batch.id.clone(), body).await
            }
            // It was deleted.
            Ok(None) => return,
            // The key service may be back later.
            Err(error) => {
                Outcome::Retry { after: None, reason: format!("where the webhook leads cannot be opened: {error}") }
            }
        };
        let now = self.now();
        let attempt = match outcome {
            Outcome::Delivered { .. } => WebhookAttempt::Delivered,
            Outcome::Failed { reason } | Outcome::Disable { reason } => WebhookAttempt::GivenUp { reason },
            Outcome::Retry { after, reason } => {
                let attempts = u32::try_from(claimed.webhook.attempts).unwrap_or(u32::MAX);
                match retry::next_attempt(attempts, fastrand::f64()) {
                    None => WebhookAttempt::GivenUp { reason },
                    Some(wait) => {
                        let wait = SignedDuration::try_from(wait.max(after.unwrap_or_default())).unwrap_or_default();
                        WebhookAttempt::PutOff { until: now.saturating_add(wait).unwrap_or(now), reason }
                    }
                }
            }
        };
        let outcome = match &attempt {
            WebhookAttempt::Delivered => "delivered",
            WebhookAttempt::PutOff { .. } => "put_off",
            WebhookAttempt::GivenUp { .. } => "given_up",
        };
        measures::record_delivery(outcome);
        if let WebhookAttempt::PutOff { reason, .. } | WebhookAttempt::GivenUp { reason } = &attempt {
            tracing::warn!(webhook = %id, attempt = claimed.webhook.attempts, outcome, reason, "changed records were not taken");
        }
        if let Err(error) = claimed.note(&attempt, now).await {
            tracing::error!(%error, webhook = %id, "how a webhook went could not be noted: it is sent again");
        }
        self.changed();
    }

    async fn opened(&self, claimed: &ClaimedWebhook) -> Result<Option<Setting>, StoreError> {
        let opened = claimed.tenant.open_record_webhook(claimed.webhook.id).await?;
        opened.map(|(webhook, sealed)| setting(&webhook, &sealed)).transpose()
    }

    /// One attempt.
    pub(super) async fn deliver(&self, setting: &Setting, id: String, body: bytes::Bytes) -> Outcome {
        let secrets: Vec<Secret> = setting.secrets(self.now());
        match secrets.iter().map(SigningSecret::parse).collect::<Result<Vec<_>, _>>() {
            Ok(secrets) => self.ways().webhooks.deliver(&Delivery { id, url: setting.to(), body, secrets }).await,
            Err(error) => Outcome::Failed { reason: error.to_string() },
        }
    }
}

/// What was sealed in a webhook's row.
pub(super) fn setting(webhook: &RecordWebhook, sealed: &[u8]) -> Result<Setting, StoreError> {
    Setting::of("record_webhooks", webhook.id, sealed)
}
