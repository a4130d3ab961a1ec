//! Functions in Rust: connections that outlive the invocation, tokens that last until its deadline.
//!
//! ```no_run
//! use lambda_runtime::LambdaEvent;
//! use serde_json::{Value, json};
//! use tieline_lambda::handler::{self, Invocation, Salesforce};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), lambda_runtime::Error> {
//!     tieline_lambda::logging::start();
//!     handler::run(Salesforce::from_env()?, create).await
//! }
//!
//! async fn create(_: LambdaEvent<Value>, invocation: Invocation) -> Result<Value, lambda_runtime::Error> {
//!     let org = invocation.connection("default").await?;
//!     let id = org.create("Contact", &json!({ "LastName": "Smith" })).await?;
//!     Ok(json!({ "id": id }))
//! }
//! ```
//!
//! The settings are those of the extension (`TIELINE_CONNECTIONS`, `TIELINE_TOKEN_STORE`, …, see docs/broker.md), and so
//! are the metrics. A function that has this needs no extension.

mod error;
pub mod queue;
mod report;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use lambda_runtime::{LambdaEvent, service_fn};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tieline_auth::aws::Variable;
use tieline_auth::http::thawing_client;
use tieline_auth::{Clock, ConfigError, SystemClock};
use tieline_client::{Connection, Options, RetryPolicy};

pub use self::error::HandlerError;
use self::report::Report;
use crate::broker::token;
use crate::extension::API_VERSION;
use crate::orgs::Orgs;
use crate::prefetch;
use crate::sources::Sources;

/// So long before the deadline an invocation ends itself: Lambda, which ends the whole process, would tell nobody why.
const RESERVE: Duration = Duration::from_millis(200);
/// A function has seconds, not the minutes that a server may be patient for.
const RETRY: RetryPolicy = RetryPolicy { attempts: 4, base: Duration::from_millis(200), cap: Duration::from_secs(5) };

/// The orgs of a function, for as long as its process lives. Cheap to clone; clones share all.
#[derive(Clone)]
pub struct Salesforce(Arc<Inner>);

struct Inner {
    orgs: Orgs,
    clock: Arc<dyn Clock>,
    http: reqwest::Client,
    /// By name, with the generation of the settings that each was made of.
    connections: Mutex<HashMap<String, (u64, Connection)>>,
    ahead: Vec<String>,
    report: Report,
}

impl std::fmt::Debug for Salesforce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Salesforce").field("orgs", &self.0.orgs).finish_non_exhaustive()
    }
}

impl Salesforce {
    /// Reads the process's environment. Nothing is fetched yet.
    ///
    /// # Errors
    /// Names the variable that cannot be read.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::with(Arc::new(|name: &str| std::env::var(name).ok()), Arc::new(SystemClock::default()))
    }

    /// The same from any source of variables, by any clock.
    ///
    /// # Errors
    /// As [`Salesforce::from_env`].
    pub fn with(variable: Variable, clock: Arc<dyn Clock>) -> Result<Self, ConfigError> {
        // More than one crypto provider in a graph makes rustls guess, and guessing panics.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let orgs = Sources::new(variable.clone(), clock.clone(), API_VERSION).orgs()?;
        // A snapshot is kept for days, and started many times: nothing secret belongs into it.
        let snapshot = variable("AWS_LAMBDA_INITIALIZATION_TYPE").is_some_and(|how| how == "snap-start");
        let ahead = if snapshot { Vec::new() } else { prefetch::wanted(&variable, &orgs)? };
        let http = thawing_client().map_err(|error| {
            ConfigError::new(format!("could not prepare HTTPS: {error}"), "build the function for provided.al2023")
        })?;
        let report = Report::new(&variable, clock.clone());
        Ok(Self(Arc::new(Inner { orgs, clock, http, connections: Mutex::default(), ahead, report })))
    }

    /// An invocation that must be over at `deadline`. [`run`] makes one for each event.
    pub fn invocation(&self, deadline: Timestamp) -> Invocation {
        Invocation { salesforce: self.clone(), deadline }
    }

    async fn connection(&self, name: &str, deadline: Option<Timestamp>) -> Result<Connection, HandlerError> {
        let Inner { orgs, clock, http, connections, report, .. } = &*self.0;
        let started = clock.monotonic();
        let lasting = |org: crate::orgs::Org| async move {
            token::lasting(&org.credentials, Duration::ZERO, deadline, &**clock).await
        };
        let asked = orgs.ask(name, lasting).await.map_err(HandlerError::from);
        let (loaded, (_, from_cache)) = asked.inspect_err(|error| report.refused(error))?;
        report.served(from_cache, clock.monotonic().saturating_sub(started));
        let mut connections = connections.lock().unwrap_or_else(PoisonError::into_inner);
        match connections.get(name) {
            // Of the same settings, or of newer ones than a caller has who was late.
            Some((generation, connection)) if *generation >= loaded.generation => Ok(connection.clone()),
            _ => {
                let org = loaded.org;
                let options = Options { api_version: org.api_version.into(), retry: RETRY, ..Options::default() };
                let connection = Connection::sending_by(http.clone(), org.credentials, options);
                connections.insert(name.to_owned(), (loaded.generation, connection.clone()));
                Ok(connection)
            }
        }
    }

    fn connections(&self) -> Vec<Connection> {
        let connections = self.0.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.values().map(|(_, connection)| connection.clone()).collect()
    }
}

/// One event's work.
#[derive(Debug, Clone)]
pub struct Invocation {
    salesforce: Salesforce,
    deadline: Timestamp,
}

impl Invocation {
    /// A connection whose token lasts until this invocation's deadline, or half of its life, whichever is less. The same
    /// connection for all invocations of the process, as long as its settings stay as they are; ask for it in each.
    ///
    /// # Errors
    /// There is no such connection, or no token for it.
    pub async fn connection(&self, name: &str) -> Result<Connection, HandlerError> {
        let connection = self.salesforce.connection(name, Some(self.deadline));
        tokio::time::timeout(self.time_left(), connection).await.unwrap_or_else(|_| {
            self.salesforce.0.report.refused(&HandlerError::Deadline);
            Err(HandlerError::Deadline)
        })
    }

    /// How long the work may still take. What is left after that is for telling how it went.
    pub fn time_left(&self) -> Duration {
        let left = self.deadline.duration_since(self.salesforce.0.clock.now());
        Duration::try_from(left).unwrap_or_default().saturating_sub(RESERVE)
    }
}

/// Serves events until Lambda ends the process: several at a time where Lambda says so (Managed Instances), else one after
/// the other. The first connections are prepared before the first event.
///
/// An error ends the invocation as failed, with its [`code`](HandlerError::code) as type and its hint in the message. So
/// does the deadline, a moment before Lambda would kill the process. After each invocation metrics may be written to
/// standard output, in the same format as the extension's.
///
/// # Errors
/// Lambda's Runtime API failed.
pub async fn run<E, T, F, W>(salesforce: Salesforce, handle: F) -> Result<(), lambda_runtime::Error>
where
    E: DeserializeOwned + Send + 'static,
    T: Serialize + Send + 'static,
    F: Fn(LambdaEvent<E>, Invocation) -> W + Clone + Send + 'static,
    W: Future<Output = Result<T, lambda_runtime::Error>> + Send + 'static,
{
    let ahead = salesforce.0.ahead.iter().map(|name| async {
        // What goes wrong is told when it is asked for.
        let _ = salesforce.connection(name, None).await;
    });
    prefetch::wait_for(ahead).await;
    let serve = move |event: LambdaEvent<E>| {
        let (salesforce, handle) = (salesforce.clone(), handle.clone());
        async move {
            let deadline = i64::try_from(event.context.deadline).ok();
            let deadline = deadline.and_then(|at| Timestamp::from_millisecond(at).ok());
            // `cargo lambda watch` tells a duration instead of a moment: what is over on arrival is none.
            let deadline = deadline.filter(|at| *at > salesforce.0.clock.now()).unwrap_or(Timestamp::MAX);
            let invocation = salesforce.invocation(deadline);
            let left = invocation.time_left();
            let outcome = match tokio::time::timeout(left, handle(event, invocation)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(HandlerError::Deadline.into()),
            };
            salesforce.0.report.tell(&salesforce.0.orgs, &salesforce.connections());
            outcome.map_err(|error| {
                let diagnostic = error::diagnostic(&*error);
                tracing::error!(code = diagnostic.error_type, "{}", diagnostic.error_message);
                diagnostic
            })
        }
    };
    lambda_runtime::run_concurrent(service_fn(serve)).await
}
