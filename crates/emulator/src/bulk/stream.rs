//! Files as answers: read piece by piece while they are sent.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::Path;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use tokio::io::AsyncReadExt;

use super::gzip::Gzip;
use super::io_error;
use crate::api_error::ApiError;

const PIECE: usize = 1 << 16;

/// Some text, then a part of a file.
pub(super) struct Content {
    pub(super) before: Bytes,
    pub(super) file: Option<(File, u64)>,
}

impl Content {
    pub(super) fn text(before: impl Into<Bytes>) -> Self {
        Content { before: before.into(), file: None }
    }

    /// Adds a file from `from` to `to`, or to its present end. A file that was never written is an empty one.
    pub(super) fn and_file(mut self, path: &Path, from: u64, to: Option<u64>) -> Result<Self, ApiError> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(self),
            Err(error) => return Err(io_error(&error)),
        };
        let end = match to {
            Some(to) => to,
            None => file.metadata().map_err(|e| io_error(&e))?.len(),
        };
        file.seek(SeekFrom::Start(from)).map_err(|e| io_error(&e))?;
        self.file = Some((file, end.saturating_sub(from)));
        Ok(self)
    }

    /// As an answer of this type; `asked` are the request's headers.
    pub(super) fn answer(self, content_type: &'static str, asked: &HeaderMap) -> Response {
        let zipped = accepts_gzip(asked);
        let parts = Parts {
            before: Some(self.before),
            file: self.file.map(|(file, length)| tokio::fs::File::from_std(file).take(length)),
            gzip: zipped.then(Gzip::new),
        };
        let pieces = stream::unfold(Some(parts), |state| async move {
            let mut parts = state?;
            match parts.next().await {
                Ok(Some(piece)) => Some((Ok(piece), Some(parts))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        });
        let mut response = Body::from_stream(pieces).into_response();
        let mut set = |name: &'static str, value: &'static str| {
            response.headers_mut().insert(HeaderName::from_static(name), axum::http::HeaderValue::from_static(value));
        };
        set("content-type", content_type);
        if zipped {
            set("content-encoding", "gzip");
        }
        response
    }
}

struct Parts {
    before: Option<Bytes>,
    file: Option<tokio::io::Take<tokio::fs::File>>,
    gzip: Option<Gzip>,
}

impl Parts {
    async fn next(&mut self) -> std::io::Result<Option<Bytes>> {
        let piece = match self.before.take().filter(|text| !text.is_empty()) {
            Some(text) => Some(text),
            None => self.piece_of_file().await?,
        };
        Ok(match (piece, &mut self.gzip) {
            (Some(piece), Some(gzip)) => Some(gzip.write(&piece)),
            (Some(piece), None) => Some(piece),
            (None, gzip) => gzip.take().map(|mut gzip| gzip.end()),
        })
    }

    async fn piece_of_file(&mut self) -> std::io::Result<Option<Bytes>> {
        let Some(file) = &mut self.file else { return Ok(None) };
        let mut piece = Vec::with_capacity(PIECE);
        let n = file.read_buf(&mut piece).await?;
        if n == 0 {
            self.file = None;
            return Ok(None);
        }
        Ok(Some(piece.into()))
    }
}

fn accepts_gzip(asked: &HeaderMap) -> bool {
    let values = asked.get_all("accept-encoding").iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| {
        let (name, quality) = coding.split_once(';').unwrap_or((coding, ""));
        name.trim().eq_ignore_ascii_case("gzip") && !matches!(quality.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
    })
}
