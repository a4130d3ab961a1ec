//! Data Cloud (Data 360): tokens of its own on the core host, and a tenant host that takes nothing else.
//!
//! Reading order: `token` (how a core session becomes a Data Cloud token), `access` (what the tenant host asks of
//! each request), `grpc` (the query service: a door in front of a real Hyper), `hyperd` and `engine` (that Hyper),
//! `tables` (what is in it), `query`, `metadata` and `ingest` (REST).

mod access;
mod engine;
mod grpc;
mod hyperd;
mod ingest;
mod message;
mod metadata;
mod query;
mod refusal;
mod statement;
mod tables;
pub(crate) mod token;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use axum::Router;
use jiff::{SignedDuration, Timestamp};

use crate::Shared;

use anyhow::Context;

pub(crate) use engine::Engine;
pub(crate) use hyperd::Hyperd;

/// The scopes that open Data Cloud.
pub(crate) const SCOPES: [&str; 3] = ["cdp_query_api", "cdp_ingest_api", "cdp_profile_api"];

/// How long a token lives; seen are 7,130 and 7,193 seconds, two hours less what had passed.
const TOKEN_LIFE: SignedDuration = SignedDuration::from_secs(7_200);

/// Rows in one answer of the REST query API. What a tenant sends at once depends on the rows' size.
const PAGE_ROWS: u64 = 5_000;

/// The Data Cloud of a local org.
#[derive(Debug, Clone)]
pub struct DataCloud {
    /// The program `hyperd`, which answers the queries. Without one tokens are issued and checked, and whatever needs
    /// the engine is answered `UNAVAILABLE` or 503.
    pub hyperd: Option<PathBuf>,
    /// Rows of the large table, `WebEngagement__dll`.
    pub rows: usize,
}

impl Default for DataCloud {
    fn default() -> Self {
        DataCloud { hyperd: None, rows: 100_000 }
    }
}

/// What clients called on the tenant host.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    pub(crate) calls: BTreeMap<String, u64>,
    pub(crate) refused: u64,
}

/// What the org keeps of its Data Cloud.
pub(crate) struct State {
    /// `a360/prod/` and 32 hexadecimal digits.
    pub(crate) tenant: String,
    /// The tenant's host and port: without a scheme, as tokens name it.
    pub(crate) host: String,
    pub(crate) url: String,
    pub(crate) token_life: SignedDuration,
    pub(crate) page_rows: u64,
    /// `jti` and end of the tokens that have not been revoked.
    issued: HashMap<String, Timestamp>,
    /// Core tokens of the password flow that have been exchanged.
    spent: HashSet<String>,
    cursors: query::Cursors,
    jobs: ingest::Jobs,
}

impl State {
    /// A tenant at this URL.
    pub(crate) fn new(url: String) -> Self {
        let digits: String = (0..32).map(|_| char::from_digit(fastrand::u32(..16), 16).unwrap_or('0')).collect();
        State {
            tenant: format!("a360/prod/{digits}"),
            host: url.split_once("://").map_or(url.as_str(), |(_, host)| host).to_owned(),
            url,
            token_life: TOKEN_LIFE,
            page_rows: PAGE_ROWS,
            issued: HashMap::new(),
            spent: HashSet::new(),
            cursors: query::Cursors::default(),
            jobs: ingest::Jobs::default(),
        }
    }

    pub(crate) fn reset_limits(&mut self) {
        self.token_life = TOKEN_LIFE;
        self.page_rows = PAGE_ROWS;
    }

    /// Ends every token; how many had not ended by themselves.
    pub(crate) fn revoke_all(&mut self, now: Timestamp) -> usize {
        std::mem::take(&mut self.issued).values().filter(|end| **end > now).count()
    }
}

/// An id in the form of a UUID.
fn uuid() -> String {
    let id = fastrand::u128(..);
    let part = |from: u32, digits: u32| (id >> from) & ((1 << (4 * digits)) - 1);
    format!("{:08x}-{:04x}-{:04x}-{:04x}-{:012x}", part(96, 8), part(80, 4), part(64, 4), part(48, 4), part(0, 12))
}

/// Starts Hyper and fills it with the org's records.
///
/// # Errors
/// When the program does not start, or its folder cannot be written.
pub(crate) async fn start(
    program: &Path,
    folder: PathBuf,
    rows: usize,
    shared: &Shared,
) -> anyhow::Result<(Hyperd, Engine)> {
    let (hyperd, engine) = Hyperd::start(program, folder.clone()).await?;
    shared.with_org(move |org| tables::export(org, &folder)).await?;
    tables::fill(&engine, rows).await.context("could not fill the tenant's tables")?;
    Ok((hyperd, engine))
}

/// The tenant host.
pub(crate) fn router(shared: Shared) -> Router<Shared> {
    Router::new()
        .merge(grpc::router())
        .merge(query::router())
        .merge(metadata::router())
        .merge(ingest::router())
        .fallback(async |axum::extract::State(shared): axum::extract::State<Shared>| {
            let missing = refusal::RestError::new(404, "the resource does not exist");
            refusal::settled(&shared, Err(missing)).await
        })
        .layer(axum::middleware::from_fn_with_state(shared, access::guard))
}
