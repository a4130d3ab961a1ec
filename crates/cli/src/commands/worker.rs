//! `tieline worker`: the integration service's work, without its pages and API.

mod lambda;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use tieline_auth::Secret;
use tieline_auth::aws::Aws;
use tieline_lambda::sqs::Queue;
use tieline_server::telemetry::Metrics;
use tieline_server::{Service, Settings};
use tokio::net::TcpListener;
use url::Url;

use crate::commands::serve::{Serve, leave_no_core, outbound, public_url, variable};
use crate::commands::stopped;
use crate::config::File;
use crate::failure::Failure;
use crate::settings::{Care, Database};

/// Connections of a function to PostgreSQL: one for what a run writes, one for what it reads and for its lease meanwhile.
const CONNECTIONS: u32 = 2;
/// Records of a page (REST API Developer Guide, "Query Options Header": 2,000 unless told otherwise).
const PAGE: usize = 2_000;

/// Work on syncs, imports and alerts, beside nodes that serve pages and API
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline worker --database-url postgres://tieline@db/tieline
  tieline worker --database-url postgres://tieline@db/tieline --concurrency 16 --listen 127.0.0.1:7401

Any number of workers and of `tieline serve` share a database: each run is done by one of them. Give all of them the same settings
and master key. A worker that is stopped gives its work back at once; that of one that was killed is taken up when its lease
ends. With --listen it answers /health/live, /health/ready and /metrics, and nothing else.

With --lambda it is a function in AWS Lambda, which works on syncs alone: docs/lambda.md.")]
pub(crate) struct Worker {
    #[command(flatten)]
    pub(crate) syncs: Syncs,
    /// Address for health and metrics [default: none]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Serve the events of AWS Lambda: a schedule, and messages of the queue
    #[arg(long, requires = "sync_queue_url", conflicts_with = "listen")]
    lambda: bool,
    /// Queue in SQS that a function sends messages to, one for each sync run
    #[arg(long, value_name = "URL", env = "TIELINE_SYNC_QUEUE_URL")]
    sync_queue_url: Option<String>,
    /// Where people reach the service: links in alerts lead there [default: APP_URL, NEXT_PUBLIC_APP_URL]
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// Allow orgs on this machine over plain HTTP, such as a local one
    #[arg(long)]
    allow_loopback: bool,
    /// Seconds that an import waits whose worker was killed, before another one goes on with it
    #[arg(long, value_name = "SECONDS", env = "TIELINE_IMPORT_LEASE_SECONDS", default_value_t = 30,
        value_parser = clap::value_parser!(u64).range(3..=3600))]
    import_lease: u64,
    #[command(flatten)]
    pub(crate) database: Database,
    #[command(flatten)]
    care: Care,
}

/// How syncs are worked on: for `serve` and `worker`.
#[derive(clap::Args)]
pub(crate) struct Syncs {
    /// Seconds between sync runs, the same on all nodes [default: 900]
    #[arg(long, value_name = "SECONDS")]
    every: Option<u64>,
    /// Sync runs at a time on this node
    #[arg(long, value_name = "N", env = "TIELINE_CONCURRENCY", default_value_t = 4,
        value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: u16,
    /// Sync runs of a business at a time, on all nodes together
    #[arg(long, value_name = "N", env = "TIELINE_BUSINESS_CONCURRENCY", default_value_t = 2,
        value_parser = clap::value_parser!(u16).range(1..=256))]
    business_concurrency: u16,
    /// Seconds that a sync run waits whose worker was killed, before another one goes on with it
    #[arg(long, value_name = "SECONDS", env = "TIELINE_SYNC_LEASE_SECONDS", default_value_t = 60,
        value_parser = clap::value_parser!(u64).range(3..=3600))]
    sync_lease: u64,
}

impl Syncs {
    pub(crate) fn every(&self, file: &File) -> Duration {
        Duration::from_secs(self.every.or_else(|| file.number("serve", "every")).unwrap_or(900))
    }

    pub(crate) fn worker(&self) -> tieline_server::SyncWorker {
        tieline_server::SyncWorker {
            at_once: self.concurrency.into(),
            per_business: self.business_concurrency.into(),
            lease: Duration::from_secs(self.sync_lease),
            ..tieline_server::SyncWorker::default()
        }
    }
}

impl Worker {
    /// The queue, if this is a function.
    fn function(&self) -> Result<Option<Queue>, Failure> {
        let Some(url) = self.sync_queue_url.as_deref().filter(|_| self.lambda) else { return Ok(None) };
        Ok(Some(Queue::new(Aws::from_env()?, url)?))
    }

    fn sync_worker(&self) -> tieline_server::SyncWorker {
        let worker = self.syncs.worker();
        // A function has minutes, or less: what a page of a query brings is kept before the next one is waited for.
        if self.lambda { tieline_server::SyncWorker { step_rows: PAGE, ..worker } } else { worker }
    }

    pub(crate) async fn run(self) -> Result<(), Failure> {
        leave_no_core();
        let file = self.database.file()?;
        let function = self.function()?;
        let store = self.database.resolved(&file).open_with(function.is_some().then_some(CONNECTIONS)).await?;
        let listener = match self.listen {
            Some(listen) => {
                Some(TcpListener::bind(listen).await.with_context(|| format!("could not listen on {listen}"))?)
            }
            None => None,
        };
        let address = listener.as_ref().map(TcpListener::local_addr).transpose()?;
        // Nobody comes to this node, so that nothing but links in messages says so.
        let nowhere = || Url::parse("http://127.0.0.1:7400").context("the address makes no URL");
        let public_url = match public_url(self.public_url.as_deref(), &file)? {
            Some(url) => url,
            None => nowhere()?,
        };
        let settings = Settings {
            app: Serve::app(&file)?,
            redirect_uri: Serve::redirect_uri(&file)?,
            every: self.syncs.every(&file),
            syncs: Some(self.sync_worker()),
            window: self.care.window_with(&file),
            allow_loopback: self.allow_loopback || file.truth("serve", "allow_loopback"),
            metrics: match function {
                None => Some(Metrics::install(variable("TIELINE_METRICS_TOKEN").map(Secret::new))?),
                // Nobody could ask for them.
                Some(_) => None,
            },
            outbound: outbound(&file)?,
            import_lease: Duration::from_secs(self.import_lease),
            ..Settings::new(public_url)
        };
        let service = Service::new(store.clone(), settings)?;
        if let Some(queue) = function {
            return lambda::serve(service, queue, self.syncs.concurrency.into()).await;
        }
        tracing::info!(version = env!("CARGO_PKG_VERSION"), database = store.place(), "worker started");
        match address {
            Some(address) => say!("tieline works, and tells how it is at http://{address}/health/ready"),
            None => say!("tieline works"),
        }
        tieline_server::work(listener, service, stopped()).await?;
        store.close().await;
        Ok(())
    }
}
