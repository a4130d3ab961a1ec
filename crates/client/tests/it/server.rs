//! A server that answers what a test tells it, byte for byte, and ends connections where the test wants.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use serde_json::Value;
use tieline_auth::{Credentials, Grant, OrgConfig, Secret};
use tieline_client::{Connection, Options, RetryPolicy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A request as it came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// With its query string.
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Keep,
    /// Half-close: nothing more comes, and what the client sends is still read.
    Close,
    /// RST.
    Reset,
}

/// What is written, to which byte, and what then.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) bytes: Vec<u8>,
    pub(crate) end: End,
    /// Between any two bytes.
    pub(crate) pause: Duration,
}

impl Answer {
    /// Status, header lines and body, with a length.
    pub(crate) fn new(status: u16, headers: &str, body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        // 204 has neither body nor length.
        let length = if status == 204 { String::new() } else { format!("content-length: {}\r\n", body.len()) };
        Self::raw([format!("HTTP/1.1 {status} X\r\n{headers}{length}\r\n").as_bytes(), body].concat())
    }

    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::new(
            status,
            "content-type: application/json\r\n",
            if body.is_null() { String::new() } else { body.to_string() },
        )
    }

    pub(crate) fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), end: End::Keep, pause: Duration::ZERO }
    }

    /// The first bytes of it, and then the end.
    pub(crate) fn cut(mut self, at: usize, end: End) -> Self {
        self.bytes.truncate(at);
        Self { end, ..self }
    }
}

type Handler = dyn Fn(&Seen) -> Answer + Send + Sync;
/// How many bytes of a request's body are read before its connection ends without an answer.
type Deaf = dyn Fn(&Seen) -> Option<(usize, End)> + Send + Sync;

pub(crate) struct Server {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(crate) async fn start(handler: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        Self::deaf(handler, |_| None).await
    }

    pub(crate) async fn deaf(
        handler: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
        deaf: impl Fn(&Seen) -> Option<(usize, End)> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (handler, deaf): (Arc<Handler>, Arc<Deaf>) = (Arc::new(handler), Arc::new(deaf));
        let task = tokio::spawn({
            let seen = seen.clone();
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, handler.clone(), deaf.clone(), seen.clone()));
                }
            }
        });
        Self { url, seen, task }
    }

    /// Requests that came whole.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn connect(&self) -> Connection {
        connect(&self.url)
    }
}

/// A connection with a token that is at hand, and a new socket for each call.
pub(crate) fn connect(url: &str) -> Connection {
    connect_as(url, "67.0")
}

pub(crate) fn connect_as(url: &str, version: &str) -> Connection {
    sending(credentials(url), version)
}

pub(crate) fn connect_with(url: &str, token: &str) -> Connection {
    sending(credentials_of(url, token), "67.0")
}

fn sending(credentials: Credentials, version: &str) -> Connection {
    static HTTP: LazyLock<reqwest::Client> = LazyLock::new(|| {
        let none = reqwest::redirect::Policy::none();
        reqwest::Client::builder().redirect(none).pool_max_idle_per_host(0).build().unwrap()
    });
    Connection::sending_by(HTTP.clone(), credentials, Options { api_version: version.into(), ..quick() })
}

pub(crate) fn quick() -> Options {
    let retry = RetryPolicy { attempts: 3, base: Duration::from_millis(1), cap: Duration::from_millis(1) };
    Options { api_version: "67.0".into(), retry, ..Options::default() }
}

pub(crate) const TOKEN: &str = "00D000000000001!planted-token";

pub(crate) fn credentials(url: &str) -> Credentials {
    credentials_of(url, TOKEN)
}

fn credentials_of(url: &str, token: &str) -> Credentials {
    let grant = Grant::AccessToken { access_token: Secret::new(token), instance_url: url.parse().unwrap() };
    Credentials::new(OrgConfig::new(url, "", grant).unwrap()).unwrap()
}

/// Ends a connection for good.
pub(crate) async fn end(mut stream: TcpStream, how: End) {
    match how {
        End::Reset => socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap(),
        End::Keep | End::Close => {
            let _ = stream.shutdown().await;
            // Until the client has gone: unread bytes would make a reset of it.
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        }
    }
}

async fn serve(mut stream: TcpStream, handler: Arc<Handler>, deaf: Arc<Deaf>, seen: Arc<Mutex<Vec<Seen>>>) {
    let mut buffer = Vec::new();
    loop {
        let Some(head) = until(&mut stream, &mut buffer, |bytes| find(bytes, b"\r\n\r\n").map(|at| at + 4)).await
        else {
            return;
        };
        let mut request = parse(&head);
        if let Some((bytes, how)) = deaf(&request) {
            if until(&mut stream, &mut buffer, |read| (read.len() >= bytes).then_some(bytes)).await.is_some() {
                end(stream, how).await;
            }
            return;
        }
        let body = match request.headers.get("content-length") {
            Some(length) => {
                let length: usize = length.parse().unwrap();
                until(&mut stream, &mut buffer, |bytes| (bytes.len() >= length).then_some(length)).await
            }
            None if request.headers.contains_key("transfer-encoding") => {
                until(&mut stream, &mut buffer, |bytes| find(bytes, b"0\r\n\r\n").map(|at| at + 5))
                    .await
                    .map(|b| dechunked(&b))
            }
            None => Some(Vec::new()),
        };
        let Some(body) = body else { return };
        request.body = body;
        seen.lock().unwrap().push(request.clone());
        let answer = handler(&request);
        if answer.pause.is_zero() {
            if stream.write_all(&answer.bytes).await.is_err() {
                return;
            }
        } else {
            for byte in &answer.bytes {
                if stream.write_all(&[*byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(answer.pause).await;
            }
        }
        if answer.end != End::Keep {
            return end(stream, answer.end).await;
        }
    }
}

/// Reads until there is what is wanted, and takes it.
async fn until(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    wanted: impl Fn(&[u8]) -> Option<usize>,
) -> Option<Vec<u8>> {
    loop {
        if let Some(end) = wanted(buffer) {
            return Some(buffer.drain(..end).collect());
        }
        let read = stream.read_buf(buffer).await.ok()?;
        if read == 0 {
            return None;
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn parse(head: &[u8]) -> Seen {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.lines();
    let mut first = lines.next().unwrap().split(' ').map(str::to_owned);
    let (method, path) = (first.next().unwrap(), first.next().unwrap());
    let header = |line: &str| line.split_once(':').map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()));
    Seen { method, path, headers: lines.filter_map(header).collect(), body: Vec::new() }
}

fn dechunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(at) = find(bytes, b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..at]).unwrap(), 16).unwrap();
        body.extend_from_slice(&bytes[at + 2..at + 2 + size]);
        bytes = &bytes[at + 4 + size..];
    }
    body
}
