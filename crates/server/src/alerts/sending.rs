//! The worker: claims messages that are due, sends them, and notes how it went. Every node has one.

use std::time::Duration;

use jiff::SignedDuration;
use tieline_store::StoreError;
use tieline_store::alerts::{AlertChannel, Attempt, ChannelKind, ClaimedDelivery};
use tokio::task::JoinSet;
use url::Url;
use zeroize::Zeroizing;

use super::message;
use super::setting::Setting;
use crate::outbound::email::Mail;
use crate::outbound::webhook::{Delivery, SigningSecret};
use crate::outbound::{Outcome, retry};
use crate::service::Service;
use crate::telemetry::measures;

/// Messages that one node sends at once.
const AT_ONCE: usize = 8;
/// How often a node looks for messages whose time has come, or that another one has left behind.
const EVERY: Duration = Duration::from_secs(5);
/// How long a node may take for one attempt before another one takes it for dead: twice what the slowest way allows itself
/// (a mail, a minute).
const LEASE: Duration = Duration::from_secs(120);

impl Service {
    /// Sends alerts until the service stops; then what is under way is ended. Dropped earlier, it leaves that to the next
    /// one, who sends it again under the same id.
    pub async fn work_alerts(&self) {
        let stopping = self.stopping();
        let mut stopped = stopping.subscribe();
        let mut under_way = JoinSet::new();
        while !*stopped.borrow_and_update() {
            while under_way.try_join_next().is_some() {}
            if under_way.len() < AT_ONCE {
                match self.store().claim_delivery(self.now(), LEASE).await {
                    Ok(Some(claimed)) => {
                        let service = self.clone();
                        under_way.spawn(async move { service.send_claimed(&claimed).await });
                        continue;
                    }
                    Ok(None) => {}
                    Err(error) => tracing::error!(%error, hint = error.hint(), "alerts cannot be sent"),
                }
            }
            tokio::select! {
                () = self.store().alerts().rung() => {}
                () = tokio::time::sleep(EVERY) => {}
                Some(_) = under_way.join_next() => {}
                _ = stopped.changed() => {}
            }
        }
        while under_way.join_next().await.is_some() {}
    }

    async fn send_claimed(&self, claimed: &ClaimedDelivery) {
        let delivery = &claimed.delivery;
        let opened = match claimed.tenant.open_alert_channel(delivery.channel_id).await {
            Ok(Some((channel, sealed))) => Setting::read(&channel, &sealed).map(|setting| (channel, setting)),
            // Its channel was deleted, and it with that.
            Ok(None) => return,
            Err(error) => Err(error),
        };
        let (way, outcome) = match opened {
            Ok((channel, setting)) => {
                let payload = message::payload(delivery);
                (channel.kind.name(), self.send_once(&channel, &setting, &message::id(delivery.id), &payload).await)
            }
            // The key service may be back later.
            Err(error) => ("unopened", Outcome::Retry { after: None, reason: told(&error) }),
        };
        let now = self.now();
        let attempt = match outcome {
            Outcome::Delivered { status } => Attempt::Delivered { status },
            Outcome::Failed { reason } => Attempt::GivenUp { reason, disable: false },
            Outcome::Disable { reason } => Attempt::GivenUp { reason, disable: true },
            Outcome::Retry { after, reason } => {
                let attempts = u32::try_from(delivery.attempts).unwrap_or(u32::MAX);
                match retry::next_attempt(attempts, fastrand::f64()) {
                    None => Attempt::GivenUp { reason, disable: false },
                    Some(wait) => {
                        let wait = SignedDuration::try_from(wait.max(after.unwrap_or_default())).unwrap_or_default();
                        Attempt::PutOff { until: now.saturating_add(wait).unwrap_or(now), reason }
                    }
                }
            }
        };
        let outcome = match &attempt {
            Attempt::Delivered { .. } => "delivered",
            Attempt::PutOff { .. } => "put_off",
            Attempt::GivenUp { .. } => "given_up",
        };
        measures::alert_delivery(way, outcome);
        if let Attempt::PutOff { reason, .. } | Attempt::GivenUp { reason, .. } = &attempt {
            tracing::warn!(channel = %delivery.channel_id, attempt = delivery.attempts, outcome, reason, "an alert was not taken");
        }
        if let Err(error) = claimed.note(&attempt, now).await {
            tracing::error!(%error, channel = %delivery.channel_id, "how an alert went could not be noted: it is sent again");
        }
        self.changed();
    }

    /// One attempt.
    pub(super) async fn send_once(
        &self,
        channel: &AlertChannel,
        setting: &Setting,
        id: &str,
        payload: &serde_json::Value,
    ) -> Outcome {
        let (ways, link) = (self.ways(), self.front_page());
        match channel.kind {
            ChannelKind::Webhook => {
                let secrets = setting.secrets(self.now());
                let secrets = secrets.iter().map(SigningSecret::parse).collect::<Result<Vec<_>, _>>();
                match secrets {
                    Ok(secrets) => {
                        let (id, url, body) = (id.to_owned(), setting.to(), message::webhook(payload));
                        ways.webhooks.deliver(&Delivery { id, url, body, secrets }).await
                    }
                    Err(error) => Outcome::Failed { reason: error.to_string() },
                }
            }
            ChannelKind::Slack => ways.slack.deliver(&setting.to(), &message::slack(payload, &link)).await,
            ChannelKind::Email => {
                let Some(mailer) = &ways.mailer else {
                    return Outcome::Failed { reason: "this service has no mail relay (TIELINE_SMTP_URL)".to_owned() };
                };
                let (subject, text) = message::mail(payload, &link);
                let to = Zeroizing::new(setting.to().expose().to_owned());
                mailer.send(&Mail { id, to: &to, subject: &subject, text: &text }).await
            }
        }
    }

    fn front_page(&self) -> Url {
        self.settings().public_url.clone()
    }
}

fn told(error: &StoreError) -> String {
    format!("where the channel leads cannot be opened: {error}")
}
