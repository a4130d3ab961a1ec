//! The listener: connections, TLS, faults, and paths as clients write them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, Response, StatusCode, Uri};
use futures_util::StreamExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tower::ServiceExt;

use crate::Shared;
use crate::control;

/// Accepts until `stop` changes. Connections still open then are dropped.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    router: Router,
    shared: Shared,
    mut stop: watch::Receiver<bool>,
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
                None => connection(TokioIo::new(stream), router, shared).await,
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        connection(TokioIo::new(stream), router, shared).await;
                    }
                }
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn connection<I>(io: I, router: Router, shared: Shared)
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let born = shared.forgotten.load(Ordering::Relaxed);
    let service = service_fn(move |request: Request<Incoming>| {
        let (router, shared) = (router.clone(), shared.clone());
        async move {
            if shared.forgotten.load(Ordering::Relaxed) != born {
                return Err("nobody knows this connection any more");
            }
            respond(request.map(Body::new), router, shared).await
        }
    });
    // A client that goes away, or a fault that cuts the line, ends here; neither is news.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
}

async fn respond(mut request: Request<Body>, router: Router, shared: Shared) -> Result<Response<Body>, &'static str> {
    *request.uri_mut() = plain_path(request.uri());
    let path = request.uri().path().to_owned();
    let fault =
        if path.starts_with(control::PATH) { None } else { shared.faults.meet(request.method().as_str(), &path) };
    let Some(fault) = fault else {
        return Ok(router.oneshot(request).await.unwrap_or_else(|never| match never {}));
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
        None => router.oneshot(request).await.unwrap_or_else(|never| match never {}),
    };
    match (fault.cut, fault.truncate) {
        (Some(0), _) => Err("the connection is cut before the answer"),
        (Some(after), _) => Ok(response.map(|body| cut(body, after))),
        (None, Some(after)) => Ok(truncated(response, after).await),
        (None, None) => Ok(response),
    }
}

/// Trailing slashes are optional on every path of the API.
fn plain_path(uri: &Uri) -> Uri {
    let path = uri.path();
    let trimmed = path.trim_end_matches('/');
    if trimmed.len() == path.len() || trimmed.is_empty() {
        return uri.clone();
    }
    let query = uri.query().map(|q| format!("?{q}")).unwrap_or_default();
    format!("{trimmed}{query}").parse().unwrap_or_else(|_| uri.clone())
}

/// Lets `after` bytes through, then breaks the connection.
fn cut(body: Body, after: usize) -> Body {
    let mut left = after;
    let parts = body.into_data_stream().flat_map(move |chunk| {
        let chunk: Bytes = chunk.unwrap_or_default();
        let now = chunk.len().min(left);
        left -= now;
        let mut parts: Vec<Result<Bytes, &'static str>> = vec![Ok(chunk.slice(..now))];
        if now < chunk.len() {
            parts.push(Err("the connection is cut"));
        }
        futures_util::stream::iter(parts)
    });
    let parts = parts.then(|part| async {
        if part.is_err() {
            // The server writes what it holds only when nothing more is at hand; the cut must come after that.
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        part
    });
    Body::from_stream(parts)
}

async fn truncated(response: Response<Body>, after: usize) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    parts.headers.remove("content-length");
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    Response::from_parts(parts, Body::from(body.slice(..after.min(body.len()))))
}
