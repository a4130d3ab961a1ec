//! Syncs: one syncer an integration, woken by the clock or by a nudge.
//!
//! A nudge carries no input. It says "look again", and looking again is all that a run does; a lost one costs time,
//! never rows.

use tieline_auth::ConfigError;
use tieline_store::{Integration, Status, StoreError, Tenant};
use tieline_sync::{SyncError, Syncer};
use tracing::Instrument;

use super::Service;
use crate::telemetry::measures;

impl Service {
    /// Asks for a run soon, without waiting for it.
    pub fn nudge(&self) {
        self.0.nudge.notify_one();
    }

    /// Runs on schedule and on nudges until dropped.
    pub async fn keep_up(&self) {
        loop {
            self.run_all().await;
            if let Err(error) = self.0.store.sweep_rate_limits().await {
                tracing::warn!(%error, "old counters were not taken out");
            }
            tokio::select! {
                () = tokio::time::sleep(self.0.settings.every) => {}
                () = self.0.nudge.notified() => {}
            }
        }
    }

    /// Runs every integration once. Failures are in the history; they do not stop the others.
    pub async fn run_all(&self) {
        match self.0.store.every_tenant().await {
            Ok(tenants) => self.run(&tenants).await,
            Err(error) => tracing::error!(%error, hint = error.hint(), "could not list the businesses"),
        }
    }

    /// The same for one business.
    pub async fn run_all_of(&self, tenant: &Tenant) {
        self.run(std::slice::from_ref(tenant)).await;
    }

    async fn run(&self, tenants: &[Tenant]) {
        let _one_at_a_time = self.0.running.lock().await;
        let work = match self.work(tenants).await {
            Ok(work) => work,
            Err(error) => {
                tracing::error!(%error, hint = error.hint(), "could not list the integrations");
                return;
            }
        };
        for (tenant, integration) in work {
            self.changed();
            let span = tracing::info_span!("sync_run", integration = %integration.id);
            let outcome = self.run_one(&tenant, &integration).instrument(span).await;
            measures::sync_run(match &outcome {
                Ok(()) => "done",
                Err(SyncError::Store(StoreError::Fenced { .. })) => "fenced",
                Err(_) => "failed",
            });
            if let Err(SyncError::Store(error @ StoreError::Fenced { .. })) = &outcome {
                tracing::info!(integration = %integration.name, %error, "another process does the work");
            } else if let Err(error) = outcome {
                tracing::error!(integration = %integration.name, %error, hint = %error.hint(), "a sync run failed");
                self.note_failed_run(&tenant, &integration, &error).await;
            }
            self.changed();
        }
    }

    /// The integrations that can be synced.
    async fn work(&self, tenants: &[Tenant]) -> Result<Vec<(Tenant, Integration)>, StoreError> {
        let mut work = Vec::new();
        for tenant in tenants {
            let integrations = tenant.integrations().await?;
            let ready = integrations.into_iter().filter(|i| matches!(i.status, Status::Active | Status::Error));
            work.extend(ready.filter(|i| i.has_credentials).map(|integration| (tenant.clone(), integration)));
        }
        Ok(work)
    }

    async fn run_one(&self, tenant: &Tenant, integration: &Integration) -> Result<(), SyncError> {
        let connection = self.connection(tenant, integration).await?;
        let syncer = Syncer {
            connection: connection.clone(),
            store: tenant.clone(),
            integration: integration.id,
            window: self.0.settings.window,
            clock: self.0.clock.clone(),
        };
        // A login that fails is told by the run, which has a row in the history.
        if let (Some(expected), Ok(token)) = (&integration.organization_id, connection.credentials().token().await)
            && let Some(found) = token.organization_id()
            && expected != found
        {
            return Err(ConfigError::new(
                format!("the integration `{}` is the org {expected}, and its login leads to {found}", integration.name),
                "log in to the same org; what was synced from one must not be mixed with another's",
            )
            .into());
        }
        let ran = syncer.run(&mut |_| self.changed()).await;
        self.note_api_calls(tenant, integration.id, &connection).await;
        ran?;
        if let Ok(token) = connection.credentials().token().await {
            let config = serde_json::json!({
                "instance_url": token.instance_url().as_str().trim_end_matches('/'),
                "organization_id": token.organization_id(),
            });
            if config.as_object().into_iter().flatten().any(|(key, value)| integration.config.get(key) != Some(value)) {
                let now = self.0.clock.now();
                tenant.note_integration(integration.id, Status::Active, None, Some(&config), now).await?;
            }
        }
        Ok(())
    }
}
