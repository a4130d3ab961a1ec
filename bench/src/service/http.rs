//! A connection that is kept alive, and nothing else: what the load costs is not what is measured.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// HTTP/1.1 over one socket, a request at a time.
pub(super) struct Http {
    stream: TcpStream,
    host: SocketAddr,
    buffer: Vec<u8>,
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body).with_context(|| String::from_utf8_lossy(&self.body).into_owned())
    }
}

/// A request as it goes over the wire.
pub(super) fn request(host: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        text.push_str(&format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    text.push_str(body);
    text.into_bytes()
}

impl Http {
    pub(super) async fn connect(host: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(host).await.with_context(|| format!("{host} takes no connection"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, host, buffer: Vec::with_capacity(64 * 1024) })
    }

    /// Sends a request, on a new connection if the service has ended this one.
    pub(super) async fn send(&mut self, request: &[u8]) -> Result<Answer> {
        self.stream.write_all(request).await?;
        let (status, head) = self.head().await?;
        let header = |name: &str| {
            head.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.eq_ignore_ascii_case(name).then(|| value.trim())
            })
        };
        let body = match (header("content-length"), header("transfer-encoding")) {
            (Some(length), _) => self.take(length.parse()?).await?,
            (None, Some(_)) => self.chunks().await?,
            (None, None) => Vec::new(),
        };
        if header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            *self = Self::connect(self.host).await?;
        }
        Ok(Answer { status, head, body })
    }

    async fn head(&mut self) -> Result<(u16, String)> {
        let end = loop {
            if let Some(at) = memchr::memmem::find(&self.buffer, b"\r\n\r\n") {
                break at + 4;
            }
            self.more().await?;
        };
        let head = String::from_utf8(self.buffer.drain(..end).collect())?;
        let status = head.get(9..12).and_then(|text| text.parse().ok()).with_context(|| format!("no HTTP: {head}"))?;
        Ok((status, head))
    }

    async fn chunks(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let end = loop {
                if let Some(at) = memchr::memmem::find(&self.buffer, b"\r\n") {
                    break at + 2;
                }
                self.more().await?;
            };
            let line = String::from_utf8(self.buffer.drain(..end).collect())?;
            let length = usize::from_str_radix(line.trim().split(';').next().unwrap_or_default(), 16)?;
            let chunk = self.take(length + 2).await?;
            body.extend_from_slice(&chunk[..length]);
            if length == 0 {
                return Ok(body);
            }
        }
    }

    async fn take(&mut self, length: usize) -> Result<Vec<u8>> {
        while self.buffer.len() < length {
            self.more().await?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    async fn more(&mut self) -> Result<()> {
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            bail!("the connection ended within an answer");
        }
        Ok(())
    }
}
