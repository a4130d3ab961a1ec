//! Imports that wait for a worker: each node is one.

use std::time::Duration;

use tieline_auth::ConfigError;
use tieline_client::Connection;
use tieline_store::integration_logs::{Event, Level};
use tieline_store::{Tenant, Uuid};
use tieline_sync::{Ended, Importer, SyncError, Worked};

use super::Service;
use crate::telemetry::measures;

/// How often a node looks for imports that another one has left behind.
const IMPORTS_EVERY: Duration = Duration::from_secs(5);

impl Service {
    /// Asks for imports to be looked at soon.
    pub(crate) fn nudge_imports(&self) {
        self.0.imports.notify_one();
    }

    /// Works imports off until the service is being stopped; then what is under way is given back. Every node does: each
    /// import has one worker at a time.
    pub async fn work_imports(&self) {
        let connect = |tenant: Tenant, id: Uuid| {
            let service = self.clone();
            async move { service.connection_for_import(&tenant, id).await }
        };
        let importer = Importer::new(self.0.store.clone(), connect, self.0.clock.clone());
        let importer = importer.with_lease(self.0.settings.import_lease);
        let stopped = || {
            let mut stopping = self.0.stopping.subscribe();
            async move { drop(stopping.wait_for(|stopping| *stopping).await) }
        };
        while !*self.0.stopping.borrow() {
            match importer.run_until(stopped()).await {
                Ok(Some(worked)) => self.tell_of_import(&worked).await,
                Ok(None) => {
                    tokio::select! {
                        () = self.0.imports.notified() => {}
                        () = tokio::time::sleep(IMPORTS_EVERY) => {}
                        () = stopped() => {}
                    }
                }
                Err(error) => {
                    tracing::error!(%error, hint = error.hint(), "imports cannot be worked on");
                    tokio::select! {
                        () = tokio::time::sleep(IMPORTS_EVERY) => {}
                        () = stopped() => {}
                    }
                }
            }
        }
    }

    async fn connection_for_import(&self, tenant: &Tenant, id: Uuid) -> Result<Connection, SyncError> {
        let integration = tenant.integration(id).await?;
        let gone = || ConfigError::new("the integration is gone", "import from another one");
        self.connection(tenant, &integration.ok_or_else(gone)?).await
    }

    async fn tell_of_import(&self, worked: &Worked) {
        self.changed();
        let rows = &worked.outcome;
        for (outcome, count) in [
            ("created", rows.created),
            ("updated", rows.updated),
            ("unchanged", rows.unchanged),
            ("failed", rows.failed),
            ("skipped_erased", rows.skipped_erased),
        ] {
            measures::import_rows(outcome, count);
        }
        measures::import_ended(match &worked.ended {
            Ended::Success => "success",
            Ended::Failed(_) => "failed",
            Ended::Postponed(..) => "postponed",
            Ended::Cancelled => "cancelled",
            Ended::Fenced => "taken_over",
            Ended::GivenBack => "given_back",
        });
        let (event, level, message) = match &worked.ended {
            Ended::Success => (Event::ImportSuccess, Level::Info, "an import ended".to_owned()),
            Ended::Failed(reason) => (Event::ImportError, Level::Error, reason.clone()),
            Ended::Postponed(reason, _) => (Event::ImportError, Level::Warning, reason.clone()),
            Ended::Cancelled | Ended::Fenced | Ended::GivenBack => return,
        };
        let tenant = self.0.store.for_work(worked.business);
        let detail = serde_json::json!({"import": worked.import, "created": worked.outcome.created,
            "updated": worked.outcome.updated, "unchanged": worked.outcome.unchanged, "failed": worked.outcome.failed,
            "skipped_erased": worked.outcome.skipped_erased});
        self.log(&tenant, None, event, level, &message, detail).await;
        if worked.needs_person
            && let Ok(Some(integration)) = tenant.integration(worked.integration).await
        {
            let hint = "connect it again, then try the import again";
            self.note_needed_login(&tenant, &integration, &message, hint).await;
        }
    }
}
