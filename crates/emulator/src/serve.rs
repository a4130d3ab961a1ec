//! The listener: connections, TLS, faults, and paths as clients write them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode, Uri};
use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::{BodyExt, BodyStream, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tower::ServiceExt;

use crate::Shared;
use crate::clock::http_date;
use crate::control;
use crate::rest;

/// Accepts until `stop` changes. Connections still open then are dropped.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    router: Router,
    shared: Shared,
    mut stop: watch::Receiver<bool>,
    host: u64,
) {
    let acceptor = tls.map(tokio_rustls::TlsAcceptor::from);
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file handles, most likely: wait for some to close.
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            _ = stop.changed() => return,
        };
        let _ = stream.set_nodelay(true);
        let (router, shared, acceptor) = (router.clone(), shared.clone(), acceptor.clone());
        connections.spawn(async move {
            match acceptor {
                None => connection(TokioIo::new(stream), router, shared, host).await,
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        connection(TokioIo::new(stream), router, shared, host).await;
                    }
                }
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Large enough that a result which streams at hundreds of megabytes a second does not wait for acknowledgements.
const STREAM_WINDOW: u32 = 8 << 20;

/// A cut or forgotten connection is dropped as a whole: over HTTP/2 a failed answer alone would only end its own stream.
async fn connection<I>(io: I, router: Router, shared: Shared, host: u64)
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let born = shared.forgotten.load(Ordering::Relaxed);
    let broken = Arc::new(Notify::new());
    let breaks = broken.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (router, shared, broken) = (router.clone(), shared.clone(), broken.clone());
        async move {
            if shared.forgotten.load(Ordering::Relaxed) != born {
                broken.notify_one();
                return Err("nobody knows this connection any more");
            }
            respond(request.map(Body::new), router, shared, broken, host).await
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http2()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(4 * STREAM_WINDOW)
        .max_frame_size(1 << 20)
        .max_send_buf_size(STREAM_WINDOW as usize);
    // A client that goes away, or a fault that cuts the line, ends here; neither is news.
    tokio::select! {
        _ = builder.serve_connection(io, service) => {}
        () = breaks.notified() => {}
    }
}

async fn respond(
    request: Request<Body>,
    router: Router,
    shared: Shared,
    broken: Arc<Notify>,
    host: u64,
) -> Result<Response<Body>, &'static str> {
    let hosts = shared.hosts.clone();
    let response = dispatched(request, router, shared, broken, host).await;
    // Every answer is dated by the org's clock, faults and refusals too.
    response.map(|mut response| {
        if let Ok(date) = http_date(hosts.now()).parse() {
            response.headers_mut().entry("date").or_insert(date);
        }
        response
    })
}

async fn dispatched(
    mut request: Request<Body>,
    router: Router,
    shared: Shared,
    broken: Arc<Notify>,
    host: u64,
) -> Result<Response<Body>, &'static str> {
    *request.uri_mut() = plain_path(request.uri());
    rest::override_method(&mut request);
    let path = request.uri().path().to_owned();
    if let Some(refused) = shared.hosts.refuses(host, &path) {
        return Ok(refused);
    }
    let fault = if path.starts_with(control::PATH) {
        None
    } else {
        shared.faults.meet(request.method().as_str(), &path, request.uri().query().unwrap_or(""))
    };
    let Some(fault) = fault else {
        return Ok(answer(router, request).await);
    };
    tracing::info!(%path, ?fault, "injecting a fault");
    shared.with_org(|org| org.ledger.faults_injected += 1).await;
    if fault.delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(fault.delay_ms)).await;
    }
    let response = match fault.status {
        Some(status) => {
            let body = fault.body.as_ref().map_or_else(String::new, |body| match body {
                serde_json::Value::String(text) => text.clone(),
                json => json.to_string(),
            });
            let mut response = Response::new(Body::from(body));
            *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
            for (name, value) in &fault.headers {
                if let (Ok(name), Ok(value)) = (name.parse::<axum::http::HeaderName>(), value.parse()) {
                    response.headers_mut().insert(name, value);
                }
            }
            response
        }
        None => answer(router, request).await,
    };
    match (fault.cut, fault.truncate) {
        (Some(0), _) => {
            broken.notify_one();
            Err("the connection is cut before the answer")
        }
        (Some(after), _) => Ok(response.map(|body| cut(body, after, broken))),
        (None, Some(after)) => Ok(truncated(response, after).await),
        (None, None) => Ok(response),
    }
}

async fn answer(router: Router, request: Request<Body>) -> Response<Body> {
    rest::name_methods(router.oneshot(request).await.unwrap_or_else(|never| match never {}))
}

/// Trailing slashes are optional on every path of the API.
pub(crate) fn plain_path(uri: &Uri) -> Uri {
    let path = uri.path();
    let trimmed = path.trim_end_matches('/');
    if trimmed.len() == path.len() || trimmed.is_empty() {
        return uri.clone();
    }
    let query = uri.query().map(|q| format!("?{q}")).unwrap_or_default();
    format!("{trimmed}{query}").parse().unwrap_or_else(|_| uri.clone())
}

/// Lets `after` bytes through, then breaks the connection.
fn cut(body: Body, after: usize, broken: Arc<Notify>) -> Body {
    const CUT: &str = "the connection is cut";
    let mut left = after;
    let parts = BodyStream::new(body).flat_map(move |frame| {
        let mut parts = Vec::with_capacity(2);
        match frame.map(Frame::into_data) {
            Ok(Ok(chunk)) => {
                let now = chunk.len().min(left);
                left -= now;
                parts.push(Ok(Frame::data(chunk.slice(..now))));
                if now < chunk.len() {
                    parts.push(Err(CUT));
                }
            }
            Ok(Err(trailers)) => parts.push(Ok(trailers)),
            Err(_) => parts.push(Err(CUT)),
        }
        futures_util::stream::iter(parts)
    });
    let parts = parts.then(move |part| {
        let broken = broken.clone();
        async move {
            if part.is_err() {
                // The server writes what it holds only when nothing more is at hand; the cut must come after that.
                tokio::time::sleep(Duration::from_millis(30)).await;
                broken.notify_one();
            }
            part
        }
    });
    Body::new(StreamBody::new(parts))
}

async fn truncated(response: Response<Body>, after: usize) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    parts.headers.remove("content-length");
    let Ok(whole) = body.collect().await else { return Response::from_parts(parts, Body::empty()) };
    let trailers = whole.trailers().cloned();
    let bytes = whole.to_bytes();
    let short: Bytes = bytes.slice(..after.min(bytes.len()));
    let body = match trailers {
        // gRPC tells in trailers that an answer is complete.
        Some(trailers) => Body::new(Full::new(short).with_trailers(async move { Some(Ok(trailers)) })),
        None => Body::from(short),
    };
    Response::from_parts(parts, body)
}
