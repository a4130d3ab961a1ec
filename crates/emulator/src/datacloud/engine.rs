//! A line to Hyper: for the requests of clients, which pass through, and for the emulator's own.

use std::path::PathBuf;

use anyhow::{Context, bail};
use axum::body::Body;
use axum::http::{HeaderMap, Request, Response, Version};
use bytes::BytesMut;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::net::TcpStream;

use super::message::{self, AttachedDatabase, QueryParam, SYNC, framed};
use super::refusal::SERVICE;

/// What one answer may hold here before its reader takes it.
const STREAM_WINDOW: u32 = 8 << 20;

/// The longest window there is, so that a slow reader of one answer holds up no other.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;

/// A refusal by Hyper.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Refused {
    /// Status code of gRPC.
    pub(super) code: u16,
    pub(super) message: String,
}

/// A running Hyper and the database that clients see.
pub(crate) struct Engine {
    /// Host and port.
    address: String,
    /// Where its files are: the database, and in `files` what it may read.
    pub(super) folder: PathBuf,
    line: tokio::sync::Mutex<Option<SendRequest<Body>>>,
    /// Held by whoever changes a table in several statements: Hyper has no transaction across calls.
    pub(super) writing: tokio::sync::Mutex<()>,
}

impl Engine {
    pub(super) fn new(address: String, folder: PathBuf) -> Self {
        Engine { address, folder, line: tokio::sync::Mutex::default(), writing: tokio::sync::Mutex::default() }
    }

    /// Passes a request on, by a connection that is kept, or by a new one.
    pub(super) async fn send(&self, mut request: Request<Body>) -> anyhow::Result<Response<Incoming>> {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() = format!("http://{}{path}", self.address).parse()?;
        *request.version_mut() = Version::HTTP_2;
        let mut line = self.line().await?;
        Ok(line.send_request(request).await?)
    }

    async fn line(&self) -> anyhow::Result<SendRequest<Body>> {
        let mut kept = self.line.lock().await;
        if let Some(line) = kept.as_ref().filter(|line| !line.is_closed()) {
            return Ok(line.clone());
        }
        let stream = TcpStream::connect(&self.address).await.context("hyperd does not listen any more")?;
        stream.set_nodelay(true)?;
        let (line, connection) = Builder::new(TokioExecutor::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(1 << 20)
            .max_send_buf_size(STREAM_WINDOW as usize)
            .handshake(TokioIo::new(stream))
            .await?;
        // It ends with Hyper, or when nobody holds the line any more.
        tokio::spawn(connection);
        *kept = Some(line.clone());
        Ok(line)
    }

    /// Calls one of the service's methods and hands each message of the answer on.
    pub(super) async fn call<M: Message + Default>(
        &self,
        method: &str,
        query_id: Option<&str>,
        message: &impl Message,
        mut receive: impl FnMut(M),
    ) -> anyhow::Result<Result<(), Refused>> {
        let mut request = Request::post(format!("{SERVICE}{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Body::from(framed(message)))?;
        if let Some(id) = query_id {
            request.headers_mut().insert("x-hyperdb-query-id", id.parse()?);
        }
        let response = self.send(request).await?;
        if let Some(ended) = outcome(response.headers()) {
            return Ok(ended);
        }
        let (mut body, mut received) = (response.into_body(), BytesMut::new());
        while let Some(frame) = body.frame().await {
            match frame?.into_data() {
                Ok(data) => received.extend_from_slice(&data),
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    return Ok(outcome(&trailers).unwrap_or(Ok(())));
                }
            }
            while let Some(message) = message::next(&mut received) {
                receive(M::decode(message)?);
            }
        }
        bail!("hyperd ended an answer without a status")
    }

    /// Runs a statement of the emulator's own.
    pub(super) async fn run(&self, sql: &str, on_database: bool) -> anyhow::Result<Result<(), Refused>> {
        let databases = if on_database { vec![self.attached()] } else { Vec::new() };
        let query = QueryParam { query: sql.to_owned(), databases, output_format: 0, transfer_mode: SYNC };
        self.call("ExecuteQuery", None, &query, |_: message::ExecuteQueryResponse| {}).await
    }

    /// The same for a statement that cannot fail unless there is a mistake here.
    pub(super) async fn must_run(&self, sql: &str, on_database: bool) -> anyhow::Result<()> {
        let beginning: String = sql.chars().take(120).collect();
        match self.run(sql, on_database).await.with_context(|| format!("hyperd did not answer {beginning:?}"))? {
            Ok(()) => Ok(()),
            Err(refused) => bail!("hyperd refused {beginning:?}: {}", refused.message),
        }
    }

    /// The file with the tenant's tables.
    pub(super) fn database(&self) -> PathBuf {
        self.folder.join("tenant.hyper")
    }

    /// How every query finds it.
    pub(super) fn attached(&self) -> AttachedDatabase {
        AttachedDatabase { path: self.database().display().to_string(), alias: "default".to_owned() }
    }
}

/// How a call has ended, if these headers tell it.
fn outcome(headers: &HeaderMap) -> Option<Result<(), Refused>> {
    let code = headers.get("grpc-status")?.to_str().ok()?.parse().ok()?;
    let message = headers.get("grpc-message").map(|m| percent_encoding::percent_decode(m.as_bytes()));
    let message = message.map(|m| m.decode_utf8_lossy().into_owned()).unwrap_or_default();
    Some(if code == 0 { Ok(()) } else { Err(Refused { code, message }) })
}
