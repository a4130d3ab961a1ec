//! What a node of the service has and shares: settings, database, clock, limits, and who is told of changes.
//!
//! What it does beside answering is in parts: `connections` to orgs, `syncs` that the queue has (`named_syncs`: one at a time),
//! `imports` that wait.

mod connections;
mod imports;
mod named_syncs;
mod syncs;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use tieline_auth::{Clock, ConfigError, Secret, SystemClock};
use tieline_client::Connections;
use tieline_store::integration_logs::{Event, Level};
use tieline_store::rate_limits::RateLimits;
use tieline_store::{Store, Tenant, Uuid};
use tieline_sync::Window;
use tokio::sync::{Notify, Semaphore, watch};
use url::Url;

pub use self::syncs::SyncWorker;
use crate::accounts::oidc::OpenIdProvider;
use crate::accounts::oidc::provider::Provider;
use crate::alerts::Noted;
use crate::client_address::Trusted;
use crate::cookies::Cookies;
use crate::limits::{Class, Classes, Limits};
use crate::outbound::settings::{Outbound, Ways};
use crate::problem::Problem;
use crate::readiness::Readiness;
use crate::telemetry::Metrics;
use crate::usage::Figures;
use crate::wrong_keys::WrongKeys;

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
    /// Time between runs of what has no pace of its own.
    pub every: Duration,
    /// How this node works on syncs; none: it leaves them to others.
    pub syncs: Option<SyncWorker>,
    /// Whether this node works on imports.
    pub imports: bool,
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
            syncs: Some(SyncWorker::default()),
            imports: true,
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
    /// Who this node is among others, for people to read.
    name: String,
    nudge: Notify,
    imports: Notify,
    limits: Limits,
    wrong_keys: WrongKeys,
    readiness: Readiness,
    ways: Ways,
    noted: Noted,
    figures: Figures,
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
            figures: Figures::default(),
            exports: Arc::new(Semaphore::new(EXPORTS)),
            imports: Notify::new(),
            store,
            settings,
            clock,
            http,
            provider,
            setup_token: OnceLock::new(),
            connections: Connections::default(),
            name: format!("{}-{:04x}", std::process::id(), fastrand::u16(..)),
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

    pub(crate) fn figures(&self) -> &Figures {
        &self.0.figures
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

    pub(crate) fn changed(&self) {
        self.0.changes.send_modify(|n| *n += 1);
    }
}
