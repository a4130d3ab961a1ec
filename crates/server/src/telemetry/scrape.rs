//! `GET /metrics`: Prometheus' text format 0.0.4.
//!
//! Who may read it: with a token set, whoever sends it as `Authorization: Bearer`, from wherever. Without one, whoever
//! asks on this machine, and only while the service's public URL is on this machine too: where a proxy stands before
//! the service, every request comes from loopback. For all others there is no such page.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use tieline_auth::{ConfigError, Secret};

use super::measures;
use crate::problem::Problem;
use crate::service::Service;

/// Shortest token, in bytes.
pub const SHORTEST_TOKEN: usize = 16;
/// Samples of histograms are gathered into their buckets so often: until then each takes memory.
const GATHERED_EVERY: Duration = Duration::from_secs(5);
/// Source: Prometheus, "Exposition formats".
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The metrics of this process, to be given to [`Settings`](crate::Settings).
#[derive(Debug, Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
    token: Option<Secret>,
}

impl Metrics {
    /// Gathers metrics from now on, for the whole process.
    ///
    /// # Errors
    /// When the token is shorter than [`SHORTEST_TOKEN`], or something else gathers them already.
    pub fn install(token: Option<Secret>) -> Result<Self, ConfigError> {
        let (metrics, recorder) = Self::new(token)?;
        metrics::set_global_recorder(recorder).map_err(|_| {
            ConfigError::new("metrics are gathered already in this process", "install a recorder once only")
        })?;
        Ok(metrics)
    }

    /// The same with a recorder that the caller installs: for a thread alone, in tests.
    ///
    /// # Errors
    /// When the token is shorter than [`SHORTEST_TOKEN`].
    pub fn new(token: Option<Secret>) -> Result<(Self, PrometheusRecorder), ConfigError> {
        if token.as_ref().is_some_and(|token| token.expose().len() < SHORTEST_TOKEN) {
            return Err(ConfigError::new(
                format!("the token for /metrics has fewer than {SHORTEST_TOKEN} characters"),
                "make one with: openssl rand -hex 32",
            ));
        }
        let buckets = Matcher::Full(measures::REQUEST_DURATION.to_owned());
        let builder = PrometheusBuilder::new().set_buckets_for_metric(buckets, &measures::DURATIONS);
        let builder = builder.and_then(|builder| {
            let runs = Matcher::Full(measures::RUN_SECONDS.to_owned());
            builder.set_buckets_for_metric(runs, &measures::RUN_DURATIONS)
        });
        let builder =
            builder.map_err(|e| ConfigError::new(format!("the buckets cannot be set: {e}"), "report this"))?;
        let recorder = builder.build_recorder();
        metrics::with_local_recorder(&recorder, measures::describe);
        Ok((Self { handle: recorder.handle(), token }, recorder))
    }

    /// All metrics as they are now.
    pub fn render(&self) -> String {
        self.handle.render()
    }
}

/// The page.
pub(crate) fn routes() -> Router<Service> {
    Router::new().route("/metrics", get(scrape))
}

/// How long the database may take to say how the queue stands.
const QUEUE_PATIENCE: Duration = Duration::from_secs(1);

/// Gathers samples until dropped.
pub(crate) async fn keep_small(service: Service) {
    let Some(metrics) = &service.settings().metrics else { return };
    loop {
        tokio::time::sleep(GATHERED_EVERY).await;
        metrics.handle.run_upkeep();
    }
}

async fn scrape(State(service): State<Service>, request: Request) -> Response {
    let Some(metrics) = &service.settings().metrics else {
        return Problem::not_found("page or resource").into_response();
    };
    if let Err(problem) = may_read(metrics, &service, &request) {
        return problem.into_response();
    }
    measures::read_now(service.store());
    // A database that does not answer leaves the last ones standing: all else is to be seen just then.
    let now = service.now();
    if let Ok(Ok(state)) = tokio::time::timeout(QUEUE_PATIENCE, service.store().queue_state(now)).await {
        measures::sync_queue(&state, now);
    }
    if let Ok(Ok((lags, states))) = tokio::time::timeout(QUEUE_PATIENCE, service.store().mapping_lags()).await {
        measures::mappings(&lags, &states, now);
    }
    ([(header::CONTENT_TYPE, TEXT_FORMAT)], metrics.render()).into_response()
}

fn may_read(metrics: &Metrics, service: &Service, request: &Request) -> Result<(), Problem> {
    if let Some(token) = &metrics.token {
        let sent = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let sent =
            sent.and_then(|text| text.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        if sent.is_some_and(|(_, sent)| crate::secrets::are_equal(sent, token.expose())) {
            return Ok(());
        }
        let (detail, hint) =
            ("the metrics need their own token", "send it as: Authorization: Bearer <TIELINE_METRICS_TOKEN>");
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail, hint));
    }
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip().to_canonical());
    let is_here = peer.is_some_and(|peer| peer.is_loopback())
        && tieline_auth::host::is_loopback(&service.settings().public_url)
        && crate::guard::is_local(request.headers());
    if is_here { Ok(()) } else { Err(Problem::not_found("page or resource")) }
}
