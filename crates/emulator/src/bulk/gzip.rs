//! Answers in gzip, piece by piece.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

pub(super) struct Gzip(GzEncoder<Vec<u8>>);

impl Gzip {
    pub(super) fn new() -> Self {
        Gzip(GzEncoder::new(Vec::new(), Compression::fast()))
    }

    /// The next bytes of the answer, as far as they are compressed.
    pub(super) fn write(&mut self, bytes: &[u8]) -> std::io::Result<Bytes> {
        self.0.write_all(bytes)?;
        Ok(std::mem::take(self.0.get_mut()).into())
    }

    pub(super) fn end(self) -> std::io::Result<Bytes> {
        Ok(self.0.finish()?.into())
    }
}
