//! A Salesforce org on localhost that real clients accept unchanged.
//!
//! It answers over HTTP (or HTTPS with a certificate authority of its own) what an org answers: tokens
//! after real checks, SOQL over an embedded SQLite, records, describes, limits. It imports none of tieline's
//! other crates, so that a field name misread there cannot agree with itself here.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> anyhow::Result<()> {
//! use tieline_emulator::{Emulator, Options};
//!
//! let org = Emulator::start(Options { contacts: 10, ..Options::default() }).await?;
//! assert!(org.info().login_url.starts_with("http://127.0.0.1:"));
//! org.stop().await;
//! # Ok(()) }
//! ```
//!
//! Reading order: [`Options`] and [`Emulator`] here, then `org` (what there is), `oauth` (who may),
//! `rest` (what is answered), `soql` (how a query runs; `cursors` its pages), `search` (SOSL), `tooling` (views over the
//! schema), `records` (what a write must pass), `turn` (how several writes become one), `bulk` (files of records in and
//! out), `metadata` (how the org is set up), `formula` (values that are worked out), `stand_ins` (what stands for its own
//! code), `data` (where the first records come from), `datacloud` (the tenant beside the org) and [`hyper`] (the program
//! that answers its queries), `control`, `faults` and `hosts` (what only a local org can do).

#![recursion_limit = "256"] // `json!` with the 58 keys of a field describe

mod api_error;
mod bulk;
mod clock;
mod control;
mod cursors;
mod data;
mod datacloud;
mod faults;
mod formula;
mod hosts;
pub mod hyper;
mod id;
mod metadata;
mod oauth;
mod oauth_routes;
mod org;
mod records;
mod rest;
mod schema;
mod search;
mod serve;
mod sign_in_routes;
mod soql;
mod stand_ins;
mod tls;
mod tooling;
mod turn;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::watch;

pub use crate::datacloud::DataCloud;
use crate::datacloud::{Engine, Hyperd};
use crate::faults::Faults;
use crate::hosts::{Hosts, Launch, TENANT};
use crate::org::Org;
use crate::turn::Turn;

/// How to start an org.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen; only loopback makes sense. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// HTTPS with a certificate authority made for this run.
    pub tls: bool,
    /// How many contacts to generate; companies and leads come in proportion.
    pub contacts: usize,
    /// A folder of sObject tree files (`*.json`) and CSV files to load at the start.
    pub data: Option<PathBuf>,
    /// Where the client's browser logins may return to; empty means `http://localhost:1717/OauthRedirect`.
    pub callback_urls: Vec<String>,
    /// A Data Cloud beside the org: a token exchange, and a tenant host.
    pub datacloud: Option<DataCloud>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            listen: ([127, 0, 0, 1], 0).into(),
            tls: false,
            contacts: 2_000,
            data: None,
            callback_urls: Vec::new(),
            datacloud: None,
        }
    }
}

/// All that a client needs to log in, as `tieline emulate --json` prints it. The secrets are those of a
/// throwaway org.
#[derive(Debug, Clone, Serialize)]
pub struct OrgInfo {
    /// Host of the token endpoint.
    pub login_url: String,
    /// Host of the APIs.
    pub instance_url: String,
    /// The OAuth client.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
    /// A user who has approved the client.
    pub username: String,
    /// That user's password.
    pub password: String,
    /// RSA private key (PKCS#8 PEM, mode 0600) that belongs to the client's certificate.
    pub private_key_file: PathBuf,
    /// The certificate that the client was given.
    pub certificate_file: PathBuf,
    /// A refresh token of that user.
    pub refresh_token: String,
    /// A valid access token of that user.
    pub access_token: String,
    /// Where the control API lives.
    pub control_url: String,
    /// The tenant host of Data Cloud, if the org has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub datacloud_url: Option<String>,
    /// Certificate authority to trust, with TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

/// What the request handlers share.
#[derive(Clone)]
pub(crate) struct Shared {
    org: Arc<Mutex<Org>>,
    turn: Turn,
    faults: Arc<Faults>,
    /// What answers queries to Data Cloud.
    engine: Option<Arc<Engine>>,
    /// Grows when all connections that are open are to be dead.
    forgotten: Arc<AtomicU64>,
    /// Bulk jobs that are being worked off.
    workers: Arc<bulk::Workers>,
    /// Where the org is found.
    hosts: Arc<Hosts>,
}

impl Shared {
    /// Runs `work` with the org, on a thread that may block: SQLite does.
    pub(crate) async fn with_org<T: Send + 'static>(&self, work: impl FnOnce(&mut Org) -> T + Send + 'static) -> T {
        let turn = self.turn.take().await;
        let org = self.org.clone();
        let hosts = self.hosts.clone();
        let done = tokio::task::spawn_blocking(move || {
            let turn = turn;
            let mut org = org.lock().unwrap_or_else(PoisonError::into_inner);
            if turn.is_some() {
                org.abandon_transactions();
            }
            if let Err(error) = org.settle() {
                tracing::error!(?error, "a delayed write could not be applied");
            }
            let done = work(&mut org);
            hosts.set_clock(org.clock);
            done
        })
        .await;
        match done {
            Ok(value) => value,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

/// A running org. Dropping it stops it too.
pub struct Emulator {
    info: OrgInfo,
    stop: watch::Sender<bool>,
    servers: Vec<tokio::task::JoinHandle<()>>,
    workers: Arc<bulk::Workers>,
    hosts: Arc<Hosts>,
    hyperd: Option<Hyperd>,
    /// Keys and certificates live here and go with the org.
    _files: tempfile::TempDir,
}

impl Emulator {
    /// Starts an org: makes its keys, fills it, listens.
    ///
    /// # Errors
    /// When the port is taken, the data cannot be read, or the temporary folder cannot be written.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(options.listen)
            .await
            .with_context(|| format!("could not listen on {}", options.listen))?;
        let base_url = base_url(&options, &listener)?;
        let tenant = match options.datacloud {
            Some(_) => {
                let listen = SocketAddr::new(options.listen.ip(), 0);
                let listener = TcpListener::bind(listen).await.context("could not listen for data cloud")?;
                Some((self::base_url(&options, &listener)?, listener))
            }
            None => None,
        };
        let files =
            tempfile::Builder::new().prefix("tieline-org-").tempdir().context("could not make a folder for keys")?;
        let folder = files.path().to_owned();
        let tenant_url = tenant.as_ref().map(|(url, _)| url.clone());
        let datacloud = options.datacloud.clone();
        let tls = options.tls.then(tls::make).transpose()?;
        let (org, mut info) = tokio::task::spawn_blocking(move || {
            let mut org =
                Org::new(base_url).map_err(|e| anyhow::anyhow!("could not make the org's tables: {}", e.message))?;
            org.datacloud = tenant_url.map(datacloud::State::new);
            let info = data::people::populate(&mut org, &folder, options.callback_urls)?;
            data::generate::generate(&mut org, options.contacts)?;
            if let Some(data) = &options.data {
                data::load::load(&mut org, data)?;
            }
            // The ledger tells what clients did; how the org came to be is not among it.
            org.ledger = org::Ledger::default();
            anyhow::Ok((org, info))
        })
        .await??;
        if let Some(tls) = &tls {
            let file = files.path().join("ca.pem");
            std::fs::write(&file, &tls.ca).with_context(|| format!("could not write {}", file.display()))?;
            info.ca_file = Some(file);
        }
        let workers: Arc<bulk::Workers> = Arc::default();
        let mut shared = Shared {
            org: Arc::new(Mutex::new(org)),
            turn: Turn::default(),
            faults: Arc::default(),
            engine: None,
            forgotten: Arc::default(),
            workers: workers.clone(),
            hosts: Arc::default(),
        };
        let mut hyperd = None;
        if let Some(DataCloud { hyperd: Some(program), rows }) = &datacloud {
            let (process, engine) = datacloud::start(program, files.path().join("datacloud"), *rows, &shared).await?;
            hyperd = Some(process);
            shared.engine = Some(Arc::new(engine));
        }
        let router = rest::router()
            .merge(bulk::router())
            .merge(oauth_routes::router())
            .merge(sign_in_routes::router())
            .merge(metadata::soap::router())
            .merge(metadata::soap_login::router())
            .merge(datacloud::token::router())
            .nest(control::PATH, control::router())
            .with_state(shared.clone());
        let (stop, stopped) = watch::channel(false);
        let (http1, http2) = tls.map(|tls| (tls.http1, tls.http2)).unzip();
        let mut servers = Vec::new();
        if let Some((_, listener)) = tenant {
            let router = datacloud::router(shared.clone()).with_state(shared.clone());
            servers.push(tokio::spawn(serve::serve(listener, http2, router, shared.clone(), stopped.clone(), TENANT)));
        }
        let hosts = shared.hosts.clone();
        hosts.set_launch(Launch {
            router: router.clone(),
            tls: http1.clone(),
            stop: stopped.clone(),
            listen: options.listen,
        });
        servers.push(tokio::spawn(serve::serve(listener, http1, router, shared, stopped, 0)));
        Ok(Emulator { info, stop, servers, workers, hosts, hyperd, _files: files })
    }

    /// How to log in.
    pub fn info(&self) -> &OrgInfo {
        &self.info
    }

    /// Stops listening and drops what is open.
    pub async fn stop(mut self) {
        let _ = self.stop.send(true);
        self.hosts.forget_launch();
        self.workers.abort();
        for server in &mut self.servers {
            // The only way this task fails is a panic, which has been printed already.
            let _ = server.await;
        }
        if let Some(hyperd) = self.hyperd.take() {
            hyperd.stop().await;
        }
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.hosts.forget_launch();
        for server in &self.servers {
            server.abort();
        }
        self.workers.abort();
    }
}

/// Where the clients find the listener of these options.
fn base_url(options: &Options, listener: &TcpListener) -> std::io::Result<String> {
    url_of(options.tls, options.listen, listener)
}

/// Where a listener is found by clients.
fn url_of(tls: bool, listen: SocketAddr, listener: &TcpListener) -> std::io::Result<String> {
    let port = listener.local_addr()?.port();
    Ok(match (tls, listen.ip()) {
        (true, _) => format!("https://localhost:{port}"),
        (false, ip) if ip.is_loopback() => format!("http://{}", SocketAddr::new(ip, port)),
        (false, _) => format!("http://127.0.0.1:{port}"),
    })
}
