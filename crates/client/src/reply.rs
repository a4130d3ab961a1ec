//! The org's answer to a call: whole, or piece by piece.

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::header::HeaderMap;

use crate::error::{ClientError, broken, spoiled};
use crate::gzip::{self, Inflater};

/// The org's answer to a call that it carried out.
#[derive(Debug)]
pub struct Reply {
    /// 2xx or 304.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// The org's clock when the request was on its way: its `Date` less the time the call took, so never
    /// later than the moment at which the org began to look at its data.
    pub server_time: Option<Timestamp>,
}

/// An answer whose body is still on its way.
#[derive(Debug)]
pub struct Download {
    /// 2xx or 304.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    pub(crate) response: reqwest::Response,
    pub(crate) inflater: Option<Inflater>,
    pub(crate) org: String,
    pub(crate) what: String,
}

impl Download {
    /// The next piece of the body, decompressed; `None` at its end.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] when the connection breaks; what came before is
    /// all that came.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ClientError> {
        let spoiled = |error: std::io::Error| spoiled(&self.org, &self.what, &error, 1, false);
        loop {
            if let Some(piece) = self.inflater.as_mut().map_or(Ok(None), Inflater::take).map_err(spoiled)? {
                return Ok(Some(piece));
            }
            let chunk = self.response.chunk().await;
            match (chunk.map_err(|error| broken(&self.org, &self.what, &error, 1, false))?, &mut self.inflater) {
                (Some(compressed), Some(inflater)) => inflater.put(compressed),
                (None, Some(inflater)) => return inflater.end().map_err(spoiled),
                (chunk, None) => return Ok(chunk),
            }
        }
    }
}

/// An answer as it came over the line.
pub(crate) struct Raw {
    pub(crate) reply: Reply,
    pub(crate) compressed: bool,
}

impl Raw {
    pub(crate) fn opened(self) -> Result<Reply, Unread> {
        if !self.compressed {
            return Ok(self.reply);
        }
        let body = gzip::inflate(&self.reply.body).map_err(Unread::Gzip)?;
        Ok(Reply { body, ..self.reply })
    }
}

/// Why an answer was not read.
pub(crate) enum Unread {
    Gzip(std::io::Error),
    Json(serde_json::Error),
}

impl Unread {
    /// It may come whole the next time.
    pub(crate) fn is_cut(&self) -> bool {
        match self {
            Unread::Gzip(_) => true,
            Unread::Json(error) => error.is_eof(),
        }
    }
}

impl std::fmt::Display for Unread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Unread::Gzip(error) => error.fmt(f),
            Unread::Json(error) => error.fmt(f),
        }
    }
}

impl From<serde_json::Error> for Unread {
    fn from(error: serde_json::Error) -> Self {
        Unread::Json(error)
    }
}
