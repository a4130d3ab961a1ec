//! Lambda's life cycle, and the broker within it.
//!
//! ```text
//! INIT      bind → register → (the function starts now) → fetch ahead → next
//! INVOKE    deadline → metrics of before → next at once: the broker serves while the function runs
//! (frozen)  nothing: no timer, no refresh, no open connection
//! SHUTDOWN  metrics, end
//! ```
//!
//! Lambda starts the function when the extensions have registered, not when they are ready; so the port is bound
//! before, and who asks early waits. After that the environment may be frozen at any moment, for hours. What holds a
//! moment in time (a signature, an assertion, a deadline) is therefore made when it is sent, and both clocks are asked
//! whether a token is still good.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use lambda_extension::{LambdaEvent, NextEvent, service_fn};
use tieline_auth::aws::Variable;
use tieline_auth::{Clock, ConfigError};
use tokio::sync::oneshot;

use crate::broker::{self, BindError, Broker, Listeners};
use crate::metrics::{self, Metrics};
use crate::prefetch;
use crate::sources::Sources;

/// What orgs are called with unless told otherwise; that of the client, which the extension does without.
pub const API_VERSION: &str = "67.0";

/// Why the extension cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ExtensionError {
    /// The settings.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The port.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Lambda's Extensions API.
    #[error("Lambda's Extensions API failed: {0}")]
    Lambda(String),
    /// The process.
    #[error("could not start: {0}")]
    Runtime(String),
}

impl ExtensionError {
    /// The next act.
    pub fn hint(&self) -> &str {
        match self {
            ExtensionError::Config(error) => error.hint(),
            ExtensionError::Bind(error) => error.hint(),
            ExtensionError::Lambda(_) => {
                "it runs inside AWS Lambda, from a layer; elsewhere the same broker is `tieline broker`"
            }
            ExtensionError::Runtime(_) => "give the function more memory",
        }
    }
}

/// How Lambda made this environment (`AWS_LAMBDA_INITIALIZATION_TYPE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// For this function to run, at once or ahead of time.
    Usual,
    /// To take a snapshot of, which is kept for days and started many times.
    Snapshot,
    /// A server of the account's own that runs many invocations at a time. Extensions hear of none of them (Lambda
    /// Developer Guide, "Lambda Managed Instances": only Shutdown may be registered).
    Managed,
}

impl Start {
    fn of(variable: &Variable) -> Self {
        match variable("AWS_LAMBDA_INITIALIZATION_TYPE").as_deref() {
            Some("snap-start") => Start::Snapshot,
            Some("lambda-managed-instances") => Start::Managed,
            _ => Start::Usual,
        }
    }
}

/// The extension, with its port bound and nothing fetched.
#[derive(Debug)]
pub struct Extension {
    listeners: Listeners,
    broker: Broker,
    metrics: Metrics,
    start: Start,
    ahead: Vec<String>,
}

impl Extension {
    /// Reads the settings and binds the port.
    ///
    /// # Errors
    /// A setting cannot be read, or the port is taken.
    pub async fn bind(variable: Variable, clock: Arc<dyn Clock>) -> Result<Self, ExtensionError> {
        let get = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let port = match get("TIELINE_BROKER_PORT") {
            None => broker::PORT,
            Some(text) => text.trim().parse().map_err(|_| {
                ConfigError::new(format!("TIELINE_BROKER_PORT is `{text}`"), "set it to a number from 1 to 65535")
            })?,
        };
        // Where the role's credentials come from a container endpoint (after SnapStart), so does the secret.
        let names = ["TIELINE_BROKER_TOKEN", "AWS_SESSION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN"];
        let secret = names.into_iter().find_map(get).ok_or_else(|| {
            ConfigError::new(
                "there is no secret by which the function could prove who it is: AWS_SESSION_TOKEN is not set",
                "in Lambda it always is; elsewhere set TIELINE_BROKER_TOKEN",
            )
        })?;
        if get("TIELINE_BROKER_TOKEN").is_some_and(|secret| secret.len() < broker::SHORTEST_SECRET) {
            return Err(ConfigError::new(
                format!("TIELINE_BROKER_TOKEN has fewer than {} characters", broker::SHORTEST_SECRET),
                "leave it out: AWS_SESSION_TOKEN is a secret that the function has already",
            )
            .into());
        }
        let listeners = Listeners::bind(SocketAddr::from(([127, 0, 0, 1], port))).await?;
        let orgs = Sources::new(variable.clone(), clock.clone(), API_VERSION).orgs()?;
        let start = Start::of(&variable);
        let ahead = prefetch::wanted(&variable, &orgs)?;
        let metrics = Metrics::new(&variable, clock.clone());
        let broker = Broker::new(&secret, orgs, clock);
        // A frozen process cannot tell its callers that it has closed a connection.
        let broker = if start == Start::Managed { broker } else { broker.without_keep_alive() };
        broker.withhold(start == Start::Snapshot);
        Ok(Self { listeners, broker, metrics, start, ahead })
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.listeners.port()
    }

    /// Registers with Lambda and serves until Lambda ends the environment. Metrics are written to `out`, which Lambda
    /// reads as the extension's log.
    ///
    /// # Errors
    /// Lambda's API does not answer as it should.
    pub async fn run(self, out: Box<dyn Write + Send>) -> Result<(), ExtensionError> {
        let Self { listeners, broker, metrics, start, ahead } = self;
        let report = Report(Arc::new(Mutex::new((metrics, out))));
        if start == Start::Managed {
            // Nothing else tells that time has passed.
            let (report, broker) = (report.clone(), broker.clone());
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(metrics::EVERY).await;
                    report.tell(&broker, false);
                }
            });
        }
        let (end, ended) = oneshot::channel::<()>();
        let serving = tokio::spawn(broker::serve(listeners, broker.clone(), async {
            // Dropped by the end of the life cycle, however it comes.
            let _ = ended.await;
        }));
        let failed = |e: lambda_extension::Error| ExtensionError::Lambda(e.to_string());
        let (over, is_over) = oneshot::channel();
        let over = Arc::new(Mutex::new(Some(over)));
        let processor = service_fn(|event: LambdaEvent| {
            let (broker, report, over) = (broker.clone(), report.clone(), over.clone());
            async move {
                match event.next {
                    NextEvent::Invoke(invocation) => {
                        invoked(&broker, invocation.deadline_ms, start);
                        report.tell(&broker, false);
                    }
                    NextEvent::Shutdown(_) => {
                        let over = over.lock().unwrap_or_else(PoisonError::into_inner).take();
                        let _ = over.map(|over| over.send(()));
                    }
                }
                Ok::<_, lambda_extension::Error>(())
            }
        });
        let events: &[&str] = if start == Start::Managed { &["SHUTDOWN"] } else { &["INVOKE", "SHUTDOWN"] };
        let extension = lambda_extension::Extension::new().with_events(events).with_events_processor(processor);
        let registered = extension.register().await.map_err(failed)?;
        if start != Start::Snapshot && !ahead.is_empty() {
            prefetch::wait_for(ahead.iter().map(|name| broker.prefetch(name))).await;
        }
        let outcome = tokio::select! {
            outcome = registered.run() => outcome.map_err(failed),
            _ = is_over => Ok(()),
        };
        // After Lambda's last event the loop asks for another one, and there may be nobody left to ask.
        let is_ending = over.lock().unwrap_or_else(PoisonError::into_inner).is_none();
        let outcome = if is_ending { Ok(()) } else { outcome };
        drop(end);
        let _ = serving.await;
        // After the last answers, which count too.
        report.tell(&broker, true);
        outcome
    }
}

/// Where metrics go.
#[derive(Clone)]
struct Report(Arc<Mutex<(Metrics, Box<dyn Write + Send>)>>);

impl Report {
    fn tell(&self, broker: &Broker, at_any_rate: bool) {
        let mut report = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (metrics, out) = &mut *report;
        if let Some(line) = metrics.line(broker.counters(), broker.orgs(), None, at_any_rate) {
            // A log that is gone is no reason to fail an invocation.
            let _ = writeln!(out, "{line}").and_then(|()| out.flush());
        }
    }
}

/// An invocation begins; before the first one, this may have been a snapshot.
fn invoked(broker: &Broker, deadline_ms: u64, start: Start) {
    if start == Start::Snapshot && broker.withhold(false) {
        // Environments that come from one snapshot would otherwise wait for the same random times.
        fastrand::seed(tieline_auth::token_store::random_seed());
    }
    broker.set_deadline(i64::try_from(deadline_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()));
}
