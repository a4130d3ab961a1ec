//! Where the org is found: its hosts, one of which may be an old one, and whether it is in maintenance.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use axum::Router;
use axum::body::Body;
use axum::http::{Response, StatusCode};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::Shared;
use crate::clock::Clock;

/// The host of Data Cloud, which neither moves nor rests with the org.
pub(crate) const TENANT: u64 = u64::MAX;

/// What a further host is started with.
pub(crate) struct Launch {
    pub(crate) router: Router,
    pub(crate) tls: Option<Arc<rustls::ServerConfig>>,
    pub(crate) stop: watch::Receiver<bool>,
    pub(crate) listen: SocketAddr,
}

/// How the host that an org has left answers on its data paths. Logins go on there, as at a My Domain.
///
/// No document says what a client sees; the default is what an instance answers that does not know the session.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Left {
    status: u16,
    body: Value,
    /// Where `Location` points: the new host with the request's path.
    redirect: bool,
}

impl Default for Left {
    fn default() -> Self {
        Left {
            status: 401,
            body: json!([{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}]),
            redirect: false,
        }
    }
}

/// While an org is in maintenance all its services answer this.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Maintenance {
    pub(crate) on: bool,
    body: Value,
    retry_after: Option<u64>,
}

impl Maintenance {
    pub(crate) fn off() -> Self {
        Maintenance { on: false, ..Maintenance::default() }
    }
}

impl Default for Maintenance {
    fn default() -> Self {
        let body = json!([{"message": "Server Unavailable", "errorCode": "SERVER_UNAVAILABLE"}]);
        Maintenance { on: true, body, retry_after: None }
    }
}

#[derive(Default)]
struct State {
    clock: Clock,
    launch: Option<Launch>,
    /// The host that the org lives on now, counted from 0.
    present: u64,
    url: String,
    left: Left,
    maintenance: Option<Maintenance>,
}

#[derive(Default)]
pub(crate) struct Hosts(Mutex<State>);

impl Hosts {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_launch(&self, launch: Launch) {
        self.lock().launch = Some(launch);
    }

    /// The router holds the org, and the org this: one of them must let go.
    pub(crate) fn forget_launch(&self) {
        let launch = self.lock().launch.take();
        drop(launch);
    }

    pub(crate) fn set_clock(&self, clock: Clock) {
        self.lock().clock = clock;
    }

    /// The org's time, without waiting for the org.
    pub(crate) fn now(&self) -> Timestamp {
        self.lock().clock.now()
    }

    pub(crate) fn maintain(&self, maintenance: Maintenance) {
        self.lock().maintenance = Some(maintenance).filter(|m| m.on);
    }

    /// The answer of a host that does not serve this path now.
    pub(crate) fn refuses(&self, host: u64, path: &str) -> Option<Response<Body>> {
        if host == TENANT || !path.starts_with("/services/") {
            return None;
        }
        let state = self.lock();
        if let Some(maintenance) = &state.maintenance {
            let mut response = answer(503, &maintenance.body);
            if let Some(value) = maintenance.retry_after.and_then(|seconds| seconds.to_string().parse().ok()) {
                response.headers_mut().insert("retry-after", value);
            }
            return Some(response);
        }
        if host == state.present || path.starts_with("/services/oauth2/") {
            return None;
        }
        let mut response = answer(state.left.status, &state.left.body);
        if let Some(to) = format!("{}{path}", state.url).parse().ok().filter(|_| state.left.redirect) {
            response.headers_mut().insert("location", to);
        }
        Some(response)
    }
}

fn answer(status: u16, body: &Value) -> Response<Body> {
    let (content_type, text) = match body {
        Value::String(text) => ("text/html;charset=UTF-8", text.clone()),
        json => ("application/json;charset=UTF-8", json.to_string()),
    };
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    response.headers_mut().insert("content-type", axum::http::HeaderValue::from_static(content_type));
    response
}

/// Moves the org to another port; answers its new URL. Who logs in from now on is sent there.
pub(crate) async fn move_org(shared: &Shared, left: Left) -> anyhow::Result<String> {
    let (router, tls, stop, listen) = {
        let state = shared.hosts.lock();
        let launch = state.launch.as_ref().context("the org is being stopped")?;
        (launch.router.clone(), launch.tls.clone(), launch.stop.clone(), launch.listen)
    };
    let listener =
        TcpListener::bind(SocketAddr::new(listen.ip(), 0)).await.context("could not listen on another port")?;
    let url = crate::url_of(tls.is_some(), listen, &listener)?;
    let host = {
        let mut state = shared.hosts.lock();
        state.present += 1;
        (state.url, state.left) = (url.clone(), left);
        state.present
    };
    let told = url.clone();
    shared
        .with_org(move |org| {
            org.base_url = told;
            // The new instance does not know the sessions of the old one.
            org.grants.end_all_sessions();
        })
        .await;
    tokio::spawn(crate::serve::serve(listener, tls, router, shared.clone(), stop, host));
    Ok(url)
}
