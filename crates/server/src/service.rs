//! What runs behind the pages: one syncer an integration, woken by the clock or by a nudge.
//!
//! A nudge carries no input. It says "look again", and looking again is all that a run does; a lost one costs time,
//! never rows.

use std::sync::Arc;
use std::time::Duration;

use tieline_auth::{Clock, SystemClock};
use tieline_client::{Connection, Connections};
use tieline_store::{Integration, Status, Store, StoreError, Tenant, Uuid};
use tieline_sync::{SyncError, Syncer, Window, integration};
use tokio::sync::{Mutex, Notify, watch};

/// How the service behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Time between runs.
    pub every: Duration,
    /// How carefully to read.
    pub window: Window,
    /// Plain HTTP orgs on this machine are allowed. The demo needs it; a service that others use must not have it.
    pub allow_loopback: bool,
    /// Where tokens are kept. Without a store of its own, beside the database.
    pub tokens: tieline_auth::Settings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(15 * 60),
            window: Window::default(),
            allow_loopback: false,
            tokens: tieline_auth::Settings::default(),
        }
    }
}

/// The service. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Service(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    settings: Settings,
    clock: Arc<dyn Clock>,
    connections: Connections,
    /// One run at a time: a second one would take the checkpoint from the first.
    running: Mutex<()>,
    nudge: Notify,
    /// Counts changes that a page may want to show.
    changes: watch::Sender<u64>,
}

impl Service {
    /// A service over a database.
    pub fn new(store: Store, settings: Settings) -> Self {
        Self(Arc::new(Inner {
            store,
            settings,
            clock: Arc::new(SystemClock::default()),
            connections: Connections::default(),
            running: Mutex::new(()),
            nudge: Notify::new(),
            changes: watch::Sender::new(0),
        }))
    }

    /// The database.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// Follows changes: the number grows with each.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Asks for a run soon, without waiting for it.
    pub fn nudge(&self) {
        self.0.nudge.notify_one();
    }

    /// Runs on schedule and on nudges until dropped.
    pub async fn keep_up(&self) {
        loop {
            self.run_all().await;
            tokio::select! {
                () = tokio::time::sleep(self.0.settings.every) => {}
                () = self.0.nudge.notified() => {}
            }
        }
    }

    /// Runs every integration once. Failures are in the history; they do not stop the others.
    pub async fn run_all(&self) {
        let _one_at_a_time = self.0.running.lock().await;
        let work = match self.work().await {
            Ok(work) => work,
            Err(error) => {
                tracing::error!(%error, hint = error.hint(), "could not list the integrations");
                return;
            }
        };
        for (tenant, integration) in work {
            self.changed();
            let outcome = self.run_one(&tenant, &integration).await;
            if let Err(SyncError::Store(error @ StoreError::Fenced { .. })) = &outcome {
                tracing::info!(integration = %integration.name, %error, "another process does the work");
            } else if let Err(error) = outcome {
                tracing::error!(integration = %integration.name, %error, hint = %error.hint(), "a sync run failed");
                let reason = error.to_string();
                let now = self.0.clock.now();
                let noted = tenant.note_integration(integration.id, Status::Error, Some(&reason), None, now).await;
                if let Err(error) = noted {
                    tracing::error!(%error, "could not note the failure");
                }
            }
            self.changed();
        }
    }

    /// The integrations that can be synced, of all businesses.
    async fn work(&self) -> Result<Vec<(Tenant, Integration)>, StoreError> {
        let mut work = Vec::new();
        for tenant in self.0.store.every_tenant().await? {
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
        syncer.run(&mut |_| self.changed()).await?;
        if let Ok(token) = connection.credentials().token().await {
            let config = serde_json::json!({
                "instance_url": token.instance_url().as_str().trim_end_matches('/'),
                "organization_id": token.organization_id(),
            });
            if config != integration.config {
                let now = self.0.clock.now();
                tenant.note_integration(integration.id, Status::Active, None, Some(&config), now).await?;
            }
        }
        Ok(())
    }

    /// The connection of an integration, opened at its first use.
    ///
    /// # Errors
    /// When its credentials cannot be opened or lead to no login.
    pub async fn connection(&self, tenant: &Tenant, integration: &Integration) -> Result<Connection, SyncError> {
        let alias = integration.id.to_string();
        if let Some(connection) = self.0.connections.get(&alias) {
            return Ok(connection);
        }
        let credentials = tenant.open_credentials(integration.id).await?;
        let credentials = credentials.unwrap_or_else(|| tieline_store::Credentials::new(b"{}".to_vec()));
        let mut login = integration::login_of(&integration.name, &credentials)?;
        login.config.hosts.loopback = self.0.settings.allow_loopback;
        let mut tokens = self.0.settings.tokens.clone();
        if tokens.store.is_none() {
            tokens.store = Some(tenant.token_store(integration).await?);
        }
        Ok(self.0.connections.get_or_open(&alias, || login.connect(tokens))?)
    }

    /// The connection, if it was used already.
    pub(crate) fn open_connection(&self, id: Uuid) -> Option<Connection> {
        self.0.connections.get(&id.to_string())
    }

    fn changed(&self) {
        self.0.changes.send_modify(|n| *n += 1);
    }
}
