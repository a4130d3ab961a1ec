//! What runs behind the pages: one syncer an integration, woken by the clock or by a nudge.
//!
//! A nudge carries no input. It says "look again", and looking again is all that a run does; a lost one costs time,
//! never rows.

use std::sync::Arc;
use std::time::Duration;

use tieline_auth::{Clock, SystemClock};
use tieline_client::{Connection, Connections};
use tieline_store::{Integration, Store, StoreError};
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
        let integrations = match self.0.store.integrations().await {
            Ok(integrations) => integrations,
            Err(error) => {
                tracing::error!(%error, hint = error.hint(), "could not list the integrations");
                return;
            }
        };
        for integration in integrations {
            self.changed();
            let outcome = self.run_one(&integration).await;
            if let Err(SyncError::Store(error @ StoreError::Fenced { .. })) = &outcome {
                tracing::info!(integration = %integration.name, %error, "another process does the work");
            } else if let Err(error) = outcome {
                tracing::error!(integration = %integration.name, %error, hint = %error.hint(), "a sync run failed");
                let noted = self.0.store.note_integration(&integration.id, "error", None, self.0.clock.now()).await;
                if let Err(error) = noted {
                    tracing::error!(%error, "could not note the failure");
                }
            }
            self.changed();
        }
    }

    async fn run_one(&self, integration: &Integration) -> Result<(), SyncError> {
        let connection = self.connection(integration).await?;
        let syncer = Syncer {
            connection: connection.clone(),
            store: self.0.store.clone(),
            integration: integration.id.clone(),
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
                self.0.store.note_integration(&integration.id, "active", Some(&config), self.0.clock.now()).await?;
            }
        }
        Ok(())
    }

    /// The connection of an integration, opened at its first use.
    ///
    /// # Errors
    /// When its credentials cannot be opened or lead to no login.
    pub async fn connection(&self, integration: &Integration) -> Result<Connection, SyncError> {
        if let Some(connection) = self.0.connections.get(&integration.id) {
            return Ok(connection);
        }
        let credentials = self.0.store.open_credentials(&integration.id).await?;
        let mut login = integration::login_of(&integration.name, &credentials)?;
        login.config.hosts.loopback = self.0.settings.allow_loopback;
        Ok(self.0.connections.get_or_open(&integration.id, || {
            let mut tokens = self.0.settings.tokens.clone();
            tokens.store.get_or_insert_with(|| self.0.store.token_store());
            login.connect(tokens)
        })?)
    }

    /// The connection, if it was used already.
    pub(crate) fn open_connection(&self, id: &str) -> Option<Connection> {
        self.0.connections.get(id)
    }

    fn changed(&self) {
        self.0.changes.send_modify(|n| *n += 1);
    }
}
