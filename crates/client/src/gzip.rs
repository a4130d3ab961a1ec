//! Answers that are compressed: those that are read as a whole are inflated where they are read, in one go, which takes half of
//! what it takes piece by piece; the others piece by piece.

use std::io::{self, Read, Write};

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use flate2::write::MultiGzDecoder as GzWriter;
use reqwest::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap};

/// Deflate makes no more than 1,032 bytes of one (RFC 1951: 258 bytes by a code of one bit and a distance of one).
const LARGEST_RATIO: usize = 1_032;
/// Compressed bytes that are inflated at once, which bounds what comes of them.
const STEP: usize = 16 * 1024;

/// Whether a body is compressed; its headers then tell of what is inside.
pub(crate) fn take(headers: &mut HeaderMap) -> bool {
    let compressed = headers.get(CONTENT_ENCODING).is_some_and(|of| of.as_bytes().eq_ignore_ascii_case(b"gzip"));
    if compressed {
        headers.remove(CONTENT_ENCODING);
        headers.remove(CONTENT_LENGTH);
    }
    compressed
}

/// Inflates a whole body.
///
/// # Errors
/// For one that is cut off, or that is no gzip.
pub(crate) fn inflate(body: &[u8]) -> io::Result<Bytes> {
    // The trailer tells the size, of the last member and modulo 4 GB; what it cannot be is not believed.
    let told = body.last_chunk().map_or(0, |size| u32::from_le_bytes(*size) as usize);
    let room = told.min(body.len().saturating_mul(LARGEST_RATIO));
    let mut inflated = Vec::new();
    inflated.try_reserve_exact(room)?;
    MultiGzDecoder::new(body).read_to_end(&mut inflated)?;
    Ok(inflated.into())
}

/// Inflates a body as it comes.
#[derive(Debug)]
pub(crate) struct Inflater {
    gzip: GzWriter<Vec<u8>>,
    compressed: Bytes,
    begun: bool,
}

impl Inflater {
    pub(crate) fn new() -> Self {
        Self { gzip: GzWriter::new(Vec::new()), compressed: Bytes::new(), begun: false }
    }

    pub(crate) fn put(&mut self, compressed: Bytes) {
        self.begun = true;
        self.compressed = compressed;
    }

    /// A piece of what was put in; `None` when that is used up.
    pub(crate) fn take(&mut self) -> io::Result<Option<Bytes>> {
        while !self.compressed.is_empty() {
            let piece = self.compressed.split_to(self.compressed.len().min(STEP));
            self.gzip.write_all(&piece)?;
            // It keeps back what does not fill its buffer.
            self.gzip.flush()?;
            let inflated = std::mem::take(self.gzip.get_mut());
            if !inflated.is_empty() {
                return Ok(Some(inflated.into()));
            }
        }
        Ok(None)
    }

    /// At the end of the body: the last piece, if there is one more.
    pub(crate) fn end(&mut self) -> io::Result<Option<Bytes>> {
        if !self.begun {
            return Ok(None);
        }
        self.begun = false;
        self.gzip.try_finish()?;
        Ok(Some(std::mem::take(self.gzip.get_mut())).filter(|last| !last.is_empty()).map(Bytes::from))
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(text).unwrap();
        gzip.finish().unwrap()
    }

    fn in_pieces(compressed: &[u8], size: usize) -> io::Result<Vec<u8>> {
        let (mut inflater, mut all) = (Inflater::new(), Vec::new());
        for piece in compressed.chunks(size) {
            inflater.put(Bytes::copy_from_slice(piece));
            while let Some(inflated) = inflater.take()? {
                all.extend_from_slice(&inflated);
            }
        }
        all.extend(inflater.end()?.unwrap_or_default());
        Ok(all)
    }

    #[test]
    fn what_was_compressed_comes_out_however_it_is_cut() {
        let text: Vec<u8> = (0..3_000u32).flat_map(|n| format!("row {n} ").into_bytes()).collect();
        // Members one behind the other are one text.
        for compressed in [gzip(&text), [gzip(&text[..100]), gzip(&text[100..])].concat()] {
            assert_eq!(inflate(&compressed).unwrap(), text);
            for size in [1, 7, 1_000, compressed.len()] {
                assert_eq!(in_pieces(&compressed, size).unwrap(), text, "{size}");
            }
        }
        assert_eq!(in_pieces(b"", 1).unwrap(), b"");
    }

    #[test]
    fn what_is_cut_off_or_no_gzip_is_an_error() {
        let compressed = gzip(b"a,b\n1,2\n");
        for end in 1..compressed.len() {
            assert!(inflate(&compressed[..end]).is_err() && in_pieces(&compressed[..end], 5).is_err(), "{end}");
        }
        assert!(inflate(b"").is_err() && inflate(b"a,b\n").is_err() && in_pieces(b"a,b\n1,2\n3,4\n", 3).is_err());
        let mut spoiled = compressed.clone();
        *spoiled.last_mut().unwrap() = 0xff;
        assert!(inflate(&spoiled).is_err());
    }
}
