//! A gRPC client of a few lines: frames and fields by hand, so that it shares no message type with the org.

use axum::body::Body;
use axum::http::{HeaderMap, Request};
use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

pub(crate) const SERVICE: &str = "/salesforce.hyperdb.grpc.v1.HyperService/";

#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) http: u16,
    /// `grpc-status`, wherever it was; nothing if the answer broke off.
    pub(crate) status: Option<u16>,
    pub(crate) message: String,
    pub(crate) in_headers: bool,
    pub(crate) messages: Vec<Bytes>,
}

impl Answer {
    /// What is in all string parts, put together.
    pub(crate) fn text(&self) -> String {
        let parts = self.messages.iter().filter_map(|m| find(m, &[7, 2, 127]));
        parts.map(|part| String::from_utf8(part.to_vec()).unwrap()).collect()
    }

    fn read(&mut self, headers: &HeaderMap) {
        let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        if let Some(status) = text("grpc-status") {
            self.status = Some(status.parse().unwrap());
            self.message = text("grpc-message").unwrap_or_default();
        }
    }
}

pub(crate) fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7f {
        bytes.push(0x80 | (value & 0x7f) as u8);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

pub(crate) fn bytes(field: u64, body: &[u8]) -> Vec<u8> {
    [varint(field << 3 | 2), varint(body.len() as u64), body.to_vec()].concat()
}

pub(crate) fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

/// A query whose rows come as JSON with the answer.
pub(crate) fn query(sql: &str) -> Vec<u8> {
    [bytes(1, sql.as_bytes()), number(3, 6), number(5, 2)].concat()
}

/// The body of the field at the end of a path of fields.
pub(crate) fn find<'a>(message: &'a [u8], path: &[u64]) -> Option<&'a [u8]> {
    let Some((wanted, deeper)) = path.split_first() else { return Some(message) };
    let mut rest = message;
    let take = |rest: &mut &'a [u8]| {
        let (mut value, mut shift) = (0u64, 0);
        loop {
            let (byte, after) = rest.split_first()?;
            *rest = after;
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
    };
    while !rest.is_empty() {
        let key = take(&mut rest)?;
        let length = match key & 7 {
            0 => {
                take(&mut rest)?;
                0
            }
            1 => 8,
            2 => take(&mut rest)? as usize,
            _ => 4,
        };
        let (body, after) = rest.split_at(length);
        rest = after;
        if key >> 3 == *wanted {
            return find(body, deeper);
        }
    }
    None
}

pub(crate) fn frame(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(message.len() as u32);
    frame.put_slice(message);
    frame.freeze()
}

/// A connection, which may be used more than once.
pub(crate) struct Line {
    url: String,
    send: SendRequest<Body>,
}

impl Line {
    pub(crate) async fn open(url: &str) -> Self {
        let stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).await.unwrap();
        Self::over(stream, url).await
    }

    /// HTTP/2 without asking, over whatever carries bytes.
    pub(crate) async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, url: &str) -> Self {
        let (send, connection) = Builder::new(TokioExecutor::new()).handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Line { url: url.to_owned(), send }
    }

    /// Whether nothing more can be sent.
    pub(crate) async fn is_broken(&mut self) -> bool {
        self.send.ready().await.is_err()
    }

    pub(crate) async fn call(&mut self, method: &str, headers: &[(&str, &str)], body: Bytes) -> Answer {
        let mut request = Request::post(format!("{}{SERVICE}{method}", self.url))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let Ok(response) = self.send.send_request(request.body(Body::from(body)).unwrap()).await else {
            return Answer::default();
        };
        let mut answer = Answer { http: response.status().as_u16(), ..Answer::default() };
        answer.read(response.headers());
        answer.in_headers = answer.status.is_some();
        let (mut body, mut received) = (response.into_body(), BytesMut::new());
        while let Some(Ok(frame)) = body.frame().await {
            match frame.into_data() {
                Ok(data) => received.extend_from_slice(&data),
                Err(frame) => answer.read(&frame.into_trailers().unwrap()),
            }
        }
        while received.len() >= 5 {
            let length = u32::from_be_bytes(received[1..5].try_into().unwrap()) as usize;
            if received.len() < 5 + length {
                break;
            }
            answer.messages.push(received.split_to(5 + length).freeze().slice(5..));
        }
        answer
    }
}

/// Calls a method over a connection of its own.
pub(crate) async fn call(url: &str, method: &str, headers: &[(&str, &str)], body: Bytes) -> Answer {
    Line::open(url).await.call(method, headers, body).await
}
