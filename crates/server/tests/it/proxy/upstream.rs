//! An org's host that does what no org of ours does: it hangs, sends pages, and remembers every byte of a request's head.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use reqwest::header::HeaderMap;
use tokio::net::TcpListener;

/// Bytes of `/source`.
pub(super) const SOURCE: usize = 20 * 1024 * 1024;
const PIECE: usize = 64 * 1024;
/// For how long the sink takes nothing once it has seen that there is something: whoever does not wait fills memory.
const PAUSE: Duration = Duration::from_millis(500);

pub(super) struct Upstream {
    pub(super) url: String,
    seen: Arc<Mutex<Vec<(String, HeaderMap)>>>,
}

impl Upstream {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        let router = Router::new().fallback(async move |request: Request| {
            let line = format!("{} {}", request.method(), request.uri());
            log.lock().unwrap().push((line, request.headers().clone()));
            answer(request).await
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, seen }
    }

    /// Request lines and headers since the last look.
    pub(super) fn seen(&self) -> Vec<(String, HeaderMap)> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

async fn answer(request: Request) -> Response {
    let json = [("content-type", "application/json")];
    match request.uri().path() {
        "/services/apexrest/sink" => {
            let mut pieces = request.into_body().into_data_stream();
            let mut bytes = 0;
            while let Some(Ok(piece)) = pieces.next().await {
                if bytes == 0 {
                    tokio::time::sleep(PAUSE).await;
                }
                bytes += piece.len();
            }
            (json, bytes.to_string()).into_response()
        }
        "/services/apexrest/source" => {
            let piece = Bytes::from(vec![b'x'; PIECE]);
            let pieces = stream::iter((0..SOURCE / PIECE).map(move |_| Ok::<_, std::io::Error>(piece.clone())));
            Response::new(Body::from_stream(pieces))
        }
        "/services/apexrest/cut" => {
            let pieces = [Ok(Bytes::from_static(b"a part")), Err(std::io::Error::other("cut"))];
            Response::new(Body::from_stream(stream::iter(pieces).then(async |piece| {
                // What was written must leave before the connection breaks.
                tokio::time::sleep(Duration::from_millis(50)).await;
                piece
            })))
        }
        "/services/apexrest/page" => {
            let headers = [
                ("content-type", "text/html"),
                ("set-cookie", "sid=00D!x"),
                ("content-security-policy", "default-src *"),
                ("access-control-allow-origin", "*"),
                ("location", "https://evil.example/"),
            ];
            (headers, "<script>alert(1)</script>").into_response()
        }
        "/services/apexrest/hang" => std::future::pending().await,
        "/services/apexrest/refuse" => {
            let expired = r#"[{"message":"Session expired or invalid","errorCode":"INVALID_SESSION_ID"}]"#;
            (axum::http::StatusCode::UNAUTHORIZED, json, expired).into_response()
        }
        _ => (json, "{}").into_response(),
    }
}
