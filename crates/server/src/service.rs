//! What runs behind the pages: one syncer an integration, woken by the clock or by a nudge.
//!
//! A nudge carries no input. It says "look again", and looking again is all that a run does; a lost one costs time,
//! never rows.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use tieline_auth::{Clock, ConfigError, Secret, SystemClock};
use tieline_client::{Connection, Connections};
use tieline_store::audit::{Action, Actor, Entry};
use tieline_store::integration_logs::{Event, Level};
use tieline_store::rate_limits::RateLimits;
use tieline_store::{Integration, Status, Store, StoreError, Tenant, Uuid};
use tieline_sync::integration::Login;
use tieline_sync::{Ended, Importer, SyncError, Syncer, Window, Worked, integration};
use tokio::sync::{Mutex, Notify, Semaphore, watch};
use tracing::Instrument;
use url::Url;

use crate::accounts::oidc::OpenIdProvider;
use crate::accounts::oidc::provider::Provider;
use crate::alerts::Noted;
use crate::client_address::Trusted;
use crate::connect::credentials;
use crate::cookies::Cookies;
use crate::limits::{Class, Classes, Limits};
use crate::outbound::settings::{Outbound, Ways};
use crate::problem::Problem;
use crate::readiness::Readiness;
use crate::telemetry::{Metrics, measures};
use crate::wrong_keys::WrongKeys;

/// How often a node looks for imports that another one has left behind.
const IMPORTS_EVERY: Duration = Duration::from_secs(5);

/// How long a browser stays signed in without a request, and at most.
const SESSION_IDLE: SignedDuration = SignedDuration::from_hours(14 * 24);
const SESSION_LONGEST: SignedDuration = SignedDuration::from_hours(60 * 24);

/// A query is answered after up to two minutes; and less than the client's own patience, which tells less.
const UPSTREAM_PATIENCE: Duration = Duration::from_secs(130);
/// Exports at a time. SQLite has four connections that read.
const EXPORTS: usize = 2;

/// How the service behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where people and orgs reach it: `https://…`, or loopback over HTTP.
    pub public_url: Url,
    /// Whether people must sign in. Without that it is for whoever sits at this machine: the demo.
    pub sign_in: bool,
    /// The provider that people may sign in with.
    pub open_id: Option<OpenIdProvider>,
    /// The app that integrations without one of their own log in through.
    pub app: Option<SalesforceApp>,
    /// Where orgs send browsers back to, if it is not the usual place under `public_url`.
    pub redirect_uri: Option<Url>,
    /// How often clients may ask.
    pub classes: Classes,
    /// Which proxies are believed when they say who asks.
    pub trusted: Trusted,
    /// Time between runs.
    pub every: Duration,
    /// How carefully to read.
    pub window: Window,
    /// Plain HTTP orgs on this machine are allowed. The demo needs it; a service that others use must not have it.
    pub allow_loopback: bool,
    /// How long an org may take to begin its answer to a call through the proxy.
    pub upstream_patience: Duration,
    /// Where tokens are kept. Without a store of its own, beside the database.
    pub tokens: tieline_auth::Settings,
    /// What `GET /metrics` shows, if it shows anything.
    pub metrics: Option<Metrics>,
    /// Whether traces go on that a `traceparent` header tells of: only where a proxy removes those of strangers.
    pub trust_traceparent: bool,
    /// How long an import waits whose worker was killed, before another one goes on with it.
    pub import_lease: Duration,
    /// Where alerts may be sent, and the relay for mail.
    pub outbound: Outbound,
    /// How long new requests are still taken once the service is being stopped, so that load balancers hear of it.
    pub drain: Duration,
}

/// An app at Salesforce: a connected app, or an external client app.
#[derive(Debug, Clone)]
pub struct SalesforceApp {
    /// The consumer key.
    pub client_id: String,
    /// The consumer secret; none for an app without.
    pub client_secret: Option<Secret>,
}

impl Settings {
    /// For people who sign in, at this URL.
    pub fn new(public_url: Url) -> Self {
        Self {
            public_url,
            sign_in: true,
            open_id: None,
            app: None,
            redirect_uri: None,
            classes: Classes::default(),
            trusted: Trusted::default(),
            every: Duration::from_secs(15 * 60),
            window: Window::default(),
            allow_loopback: false,
            upstream_patience: UPSTREAM_PATIENCE,
            tokens: tieline_auth::Settings::default(),
            metrics: None,
            trust_traceparent: false,
            import_lease: tieline_sync::importer::LEASE,
            outbound: Outbound::default(),
            drain: Duration::ZERO,
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
    http: reqwest::Client,
    provider: Option<Provider>,
    setup_token: OnceLock<Secret>,
    connections: Connections,
    /// One run at a time: a second one would take the checkpoint from the first.
    running: Mutex<()>,
    nudge: Notify,
    imports: Notify,
    limits: Limits,
    wrong_keys: WrongKeys,
    readiness: Readiness,
    ways: Ways,
    noted: Noted,
    exports: Arc<Semaphore>,
    /// Counts changes that a page may want to show.
    changes: watch::Sender<u64>,
    /// True once the service is being stopped.
    stopping: watch::Sender<bool>,
    /// True a little earlier: whoever asks whether the service is ready is told that it is not.
    draining: AtomicBool,
}

impl Service {
    /// A service over a database.
    ///
    /// # Errors
    /// When HTTPS cannot be prepared on this machine, or the mail relay cannot be used.
    pub fn new(store: Store, settings: Settings) -> Result<Self, ConfigError> {
        Self::with_clock(store, settings, Arc::new(SystemClock::default()))
    }

    /// The same by another clock.
    ///
    /// # Errors
    /// As [`Service::new`].
    pub fn with_clock(store: Store, settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, ConfigError> {
        let http = tieline_auth::http::token_client().map_err(|e| {
            ConfigError::new(format!("HTTPS cannot be prepared: {e}"), "check this machine's certificates")
        })?;
        let provider = settings.open_id.clone().map(Provider::new).transpose()?;
        let counters = RateLimits::new(store.clone(), clock.clone());
        let limits = Limits::new(counters, settings.classes.clone(), settings.trusted.clone());
        let wrong_keys = WrongKeys::new(settings.classes.limit(Class::WrongKeys), clock.clone());
        let ways = settings.outbound.ways(&clock)?;
        Ok(Self(Arc::new(Inner {
            limits,
            wrong_keys,
            readiness: Readiness::of(store.clone(), clock.clone()),
            ways,
            noted: Noted::default(),
            exports: Arc::new(Semaphore::new(EXPORTS)),
            imports: Notify::new(),
            store,
            settings,
            clock,
            http,
            provider,
            setup_token: OnceLock::new(),
            connections: Connections::default(),
            running: Mutex::new(()),
            nudge: Notify::new(),
            changes: watch::Sender::new(0),
            stopping: watch::Sender::new(false),
            draining: AtomicBool::new(false),
        })))
    }

    /// The database.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.0.clock
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    pub(crate) fn limits_of_node(&self) -> &Limits {
        &self.0.limits
    }

    /// Exports that may be under way on this node.
    pub(crate) fn exports(&self) -> Arc<Semaphore> {
        self.0.exports.clone()
    }

    pub(crate) fn wrong_keys(&self) -> &WrongKeys {
        &self.0.wrong_keys
    }

    pub(crate) fn readiness(&self) -> &Readiness {
        &self.0.readiness
    }

    pub(crate) fn ways(&self) -> &Ways {
        &self.0.ways
    }

    pub(crate) fn noted(&self) -> &Noted {
        &self.0.noted
    }

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

    /// Notes what happened to an integration. That it could not be noted is no reason to stop.
    pub(crate) async fn log(
        &self,
        tenant: &Tenant,
        integration: Option<Uuid>,
        event: Event,
        level: Level,
        message: &str,
        detail: serde_json::Value,
    ) {
        if let Err(error) = tenant.log(integration, event, level, message, detail, self.now()).await {
            tracing::error!(%error, event = event.name(), "what happened to an integration could not be noted");
        }
    }

    /// The provider that people sign in with.
    pub(crate) fn provider(&self) -> Result<&Provider, Problem> {
        self.0.provider.as_ref().ok_or_else(|| {
            let hint = "sign in with your password; the operator sets a provider up (docs/sign-in.md)";
            Problem::new(StatusCode::NOT_FOUND, "not_found", "nobody signs in with a provider here", hint)
        })
    }

    /// Whether people may sign in with a password.
    pub(crate) fn takes_passwords(&self) -> bool {
        !self.0.settings.open_id.as_ref().is_some_and(|told| told.only)
    }

    /// Refuses a password where people sign in with the provider only.
    pub(crate) fn passwords_are_taken(&self) -> Result<(), Problem> {
        match &self.0.settings.open_id {
            Some(told) if told.only => Err(Problem::forbidden(
                "password_sign_in_off",
                format!("people sign in with {} here, and not with a password", told.name),
                "use its button on the page where one signs in or joins",
            )),
            _ => Ok(()),
        }
    }

    /// The client for token requests: it follows no redirects.
    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.0.http
    }

    pub(crate) fn cookies(&self) -> Cookies {
        Cookies::new(self.0.settings.public_url.scheme() == "https")
    }

    /// Scheme, host and port of our own pages, as browsers write them.
    pub(crate) fn origin(&self) -> String {
        self.0.settings.public_url.origin().ascii_serialization()
    }

    /// When a session ends that was begun then and is in use now.
    pub(crate) fn session_end(&self, begun: Timestamp, now: Timestamp) -> Timestamp {
        (now + SESSION_IDLE).min(begun + SESSION_LONGEST)
    }

    /// What whoever sets the service up must show: it stands in the log of this process. `TIELINE_SETUP_TOKEN`, else
    /// made at random.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn setup_token(&self, given: Option<Secret>) -> Result<Secret, Problem> {
        if let Some(token) = self.0.setup_token.get() {
            return Ok(token.clone());
        }
        let token = match given {
            Some(token) => token,
            None => crate::secrets::random("")?,
        };
        Ok(self.0.setup_token.get_or_init(|| token).clone())
    }

    /// Follows changes: the number grows with each.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Tells whoever streams that the service is being stopped.
    pub(crate) fn stopping(&self) -> watch::Sender<bool> {
        self.0.stopping.clone()
    }

    /// From now on the service is not ready any more; resolves when load balancers had the time to hear of it.
    pub(crate) async fn drain(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
        let seconds = self.0.settings.drain.as_secs_f64();
        tracing::info!(seconds, "stopping: not ready any more, and still taking requests for so long");
        tokio::time::sleep(self.0.settings.drain).await;
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Relaxed)
    }

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

    /// The connection of an integration, opened at its first use. Where the integration's credentials name no app of
    /// its own, it is the service's.
    ///
    /// # Errors
    /// When somebody has disconnected it, or its credentials cannot be opened or lead to no login.
    pub async fn connection(&self, tenant: &Tenant, integration: &Integration) -> Result<Connection, SyncError> {
        if integration.status == Status::Inactive {
            return Err(ConfigError::new(
                format!("the integration `{}` is disconnected", integration.name),
                "connect it again",
            )
            .into());
        }
        self.open(tenant, integration).await
    }

    /// The connection of an integration that may be shut already, to end its tokens at the org. `None`, if there are
    /// none that could be ended: it has no login left.
    pub(crate) async fn open_to_end(
        &self,
        tenant: &Tenant,
        integration: &Integration,
    ) -> Result<Option<Connection>, SyncError> {
        let settings = credentials::open(tenant, integration.id).await?;
        let logs_in = ["SF_REFRESH_TOKEN", "SF_USERNAME", "SF_ACCESS_TOKEN", "SF_GRANT"];
        if !logs_in.iter().any(|name| settings.get(name).is_some()) && integration.status == Status::Inactive {
            return Ok(None);
        }
        self.open(tenant, integration).await.map(Some)
    }

    async fn open(&self, tenant: &Tenant, integration: &Integration) -> Result<Connection, SyncError> {
        // Another generation has other credentials: what was opened before is left to whoever still holds it.
        let alias = connection_alias(integration);
        if let Some(connection) = self.0.connections.get(&alias) {
            return Ok(connection);
        }
        let login = self.login(tenant, integration).await?;
        let mut tokens = self.0.settings.tokens.clone();
        if tokens.store.is_none() {
            tokens.store = Some(tenant.token_store(integration).await?);
        }
        Ok(self.0.connections.get_or_open(&alias, || login.connect(tokens))?)
    }

    async fn login(&self, tenant: &Tenant, integration: &Integration) -> Result<Login, SyncError> {
        let mut settings = credentials::open(tenant, integration.id).await?;
        let (id, entry) = (integration.id.to_string(), Entry::new(Actor::System, Action::CredentialRead));
        tenant.audit(&entry.on("integration", &id), self.now()).await?;
        settings.with_app_of(self.0.settings.app.as_ref(), integration)?;
        let mut login = integration::login_of(&integration.name, &settings.to_credentials())?;
        login.config.hosts.loopback = self.0.settings.allow_loopback;
        login.options.reserve = crate::proxy::reserve_of(&integration.config);
        Ok(login)
    }

    /// Forgets what was opened for an integration on this node.
    pub(crate) fn forget(&self, integration: &Integration) {
        self.0.connections.forget(&connection_alias(integration));
    }

    /// The connection, if it was used already.
    pub(crate) fn open_connection(&self, integration: &Integration) -> Option<Connection> {
        self.0.connections.get(&connection_alias(integration))
    }

    pub(crate) fn changed(&self) {
        self.0.changes.send_modify(|n| *n += 1);
    }
}

fn connection_alias(integration: &Integration) -> String {
    // So is the reserve: another one is another connection, on every node.
    let reserve = integration.config.get("api_reserve").map(ToString::to_string).unwrap_or_default();
    format!("{}:{}:{reserve}", integration.id, integration.generation)
}
