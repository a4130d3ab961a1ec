//! Where failures are noted, and the look around for what nobody would notice.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use tieline_client::Connection;
use tieline_store::alerts::{ApiCalls, Failure};
use tieline_store::sync_work::Work;
use tieline_store::{Integration, Status, StoreError, Tenant, Uuid};
use tieline_sync::SyncError;

use crate::service::Service;

/// A caller's failed login is noted once in so long on each node: however many ask, the database is written to by one.
const NOTED_EVERY: SignedDuration = SignedDuration::from_secs(60);
/// So many integrations are remembered before those of long ago are forgotten.
const REMEMBERED: usize = 1_000;

/// How often conditions are looked for that no failure tells of. One node does, for all.
const LOOK_EVERY: SignedDuration = SignedDuration::from_mins(30);
/// How often a node asks whether it is its turn.
const ASK_EVERY: Duration = Duration::from_secs(60);
/// What the org has told of its calls is believed for so long; then it is asked, which is a call.
const FRESH: Duration = Duration::from_secs(5 * 60);
/// For the answer of one org.
const PATIENCE: Duration = Duration::from_secs(30);
/// Orgs that are asked at once.
const AT_ONCE: usize = 8;
/// Notifications are kept for so long after their end.
const KEPT: SignedDuration = SignedDuration::from_hours(90 * 24);

/// The failed logins that this node has noted: by integration its generation, and when.
#[derive(Debug, Default)]
pub(crate) struct Noted(Mutex<HashMap<Uuid, (i64, Timestamp)>>);

impl Noted {
    /// Whether it is to be noted now; it is for nobody else, for a while. New credentials are a new failure.
    fn take(&self, id: Uuid, generation: i64, now: Timestamp) -> bool {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = |(of, at): &(i64, Timestamp)| *of == generation && now.duration_since(*at) < NOTED_EVERY;
        if noted.get(&id).is_some_and(is_recent) {
            return false;
        }
        if noted.len() >= REMEMBERED {
            noted.retain(|_, (_, at)| now.duration_since(*at) < NOTED_EVERY);
        }
        noted.insert(id, (generation, now));
        true
    }
}

impl Service {
    /// Notes that somebody must log in, as a caller has found out: once in a while, however many callers there are.
    pub(crate) async fn note_needed_login(&self, tenant: &Tenant, integration: &Integration, reason: &str, hint: &str) {
        if self.noted().take(integration.id, integration.generation, self.now()) {
            let failure = Failure { needs_person: true, is_run: false, work: None, run: None, reason, hint };
            self.note_failure(tenant, integration.id, &failure).await;
        }
    }

    /// Notes that a sync run of this has failed; the run itself, if one had begun.
    pub(crate) async fn note_failed_run(
        &self,
        tenant: &Tenant,
        integration: &Integration,
        (work, run): (Work, Option<Uuid>),
        error: &SyncError,
    ) {
        let (reason, hint) = (error.to_string(), error.hint());
        let (work, needs_person) = (Some(work), error.needs_person());
        let failure = Failure { needs_person, is_run: true, work, run, reason: &reason, hint: &hint };
        self.note_failure(tenant, integration.id, &failure).await;
    }

    /// That it could not be noted is no reason to stop.
    async fn note_failure(&self, tenant: &Tenant, id: Uuid, failure: &Failure<'_>) {
        if let Err(error) = tenant.note_failure(id, failure, self.now()).await {
            tracing::error!(%error, "could not note the failure");
        }
        self.changed();
    }

    /// Weighs what the org has told of its API calls, if it has told anything of late.
    pub(crate) async fn note_api_calls(&self, tenant: &Tenant, id: Uuid, connection: &Connection) {
        let Some(usage) = connection.api_usage().filter(|_| connection.api_usage_age().is_some_and(|age| age < FRESH))
        else {
            return;
        };
        let calls = ApiCalls { used: usage.used, allowed: usage.allowed };
        if let Err(error) = tenant.note_api_calls(id, calls, self.now()).await {
            tracing::error!(%error, "could not weigh an org's API calls");
        }
    }

    /// Looks around until dropped.
    pub async fn watch_conditions(&self) {
        loop {
            if let Err(error) = self.look_around().await {
                tracing::error!(%error, hint = error.hint(), "could not look for conditions to be told");
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// Looks at certificates and API calls of every integration, if no node has done so of late. True if this one has.
    ///
    /// # Errors
    /// [`StoreError`]. What is wrong with an org is noted, and no error.
    pub async fn look_around(&self) -> Result<bool, StoreError> {
        let now = self.now();
        if !self.store().take_alert_check("conditions", LOOK_EVERY, now).await? {
            return Ok(false);
        }
        // What goes wrong with one is no reason not to look at the others: the next look is half an hour away.
        if let Err(error) = self.store().sweep_notifications(now.saturating_sub(KEPT).unwrap_or(Timestamp::MIN)).await {
            tracing::error!(%error, "old notifications were not cleared away");
        }
        for tenant in self.store().every_tenant().await? {
            let integrations = match tenant.integrations().await {
                Ok(integrations) => integrations,
                Err(error) => {
                    tracing::error!(%error, business = %tenant.business(), "could not look at a business's integrations");
                    continue;
                }
            };
            let used = integrations.into_iter().filter(|i| matches!(i.status, Status::Active | Status::Error));
            let looks = stream::iter(used.filter(|i| i.has_credentials)).map(|i| self.look_at(&tenant, i));
            looks.buffer_unordered(AT_ONCE).collect::<()>().await;
        }
        Ok(true)
    }

    async fn look_at(&self, tenant: &Tenant, integration: Integration) {
        if let Err(error) = tenant.settle_record_webhooks(integration.id, self.now()).await {
            tracing::error!(%error, "could not look after an integration's webhooks");
        }
        let end = integration.config["certificate"]["not_after"].as_str().and_then(|text| text.parse().ok());
        if let Some(end) = end
            && let Err(error) = tenant.note_certificate(integration.id, end, self.now()).await
        {
            tracing::error!(%error, "could not weigh a certificate's end");
        }
        // One that fails tells so by itself, and asking would be one more try to log in.
        if integration.status == Status::Active {
            self.ask_for_api_calls(tenant, &integration).await;
        }
    }

    async fn ask_for_api_calls(&self, tenant: &Tenant, integration: &Integration) {
        let connection = match self.connection(tenant, integration).await {
            Ok(connection) => connection,
            Err(error) => return tracing::debug!(%error, "an org's API calls are not known"),
        };
        if connection.api_usage_age().is_none_or(|age| age >= FRESH) {
            match tokio::time::timeout(PATIENCE, connection.refresh_api_usage()).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) if error.needs_person() => {
                    let (reason, hint) = (error.to_string(), error.hint());
                    return self.note_needed_login(tenant, integration, &reason, &hint).await;
                }
                Ok(Err(error)) => return tracing::debug!(%error, "an org's API calls are not known"),
                Err(_) => return tracing::debug!("an org's API calls are not known: it does not answer"),
            }
        }
        self.note_api_calls(tenant, integration.id, &connection).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_login_is_noted_once_a_minute_for_each_generation() {
        let (noted, id) = (Noted::default(), Uuid::now_v7());
        let now: Timestamp = "2026-06-01T12:00:00Z".parse().unwrap();
        let later = |seconds| now + SignedDuration::from_secs(seconds);
        assert!(noted.take(id, 1, now));
        assert!(!noted.take(id, 1, later(59)));
        assert!(noted.take(id, 2, later(59)), "connected anew, and failed anew");
        assert!(noted.take(Uuid::now_v7(), 1, now));
        assert!(noted.take(id, 2, later(119)));
        for _ in 0..2 * REMEMBERED {
            noted.take(Uuid::now_v7(), 1, later(500));
        }
        assert!(!noted.0.lock().unwrap().contains_key(&id));
    }
}
