//! Answers in gzip's wrapping, for clients that ask for it.
//!
//! The blocks inside are stored as they are, which every decoder reads: no library for real compression is among the
//! emulator's own, and a local connection gains nothing from it.

use std::sync::LazyLock;

use bytes::Bytes;

/// Magic, deflate, no flags, no time, no hint, unknown system.
const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

static TABLE: LazyLock<[u32; 256]> = LazyLock::new(|| {
    let mut table = [0; 256];
    for (at, slot) in (0u32..).zip(table.iter_mut()) {
        *slot = (0..8).fold(at, |crc, _| if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 });
    }
    table
});

pub(super) struct Gzip {
    begun: bool,
    crc: u32,
    length: u32,
}

impl Gzip {
    pub(super) fn new() -> Self {
        Gzip { begun: false, crc: !0, length: 0 }
    }

    /// The next bytes of the answer.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Bytes {
        let mut out = Vec::with_capacity(bytes.len() + 32);
        self.begin(&mut out);
        let table: &[u32; 256] = &TABLE;
        let mut crc = self.crc;
        for byte in bytes {
            crc = table[(crc as u8 ^ *byte) as usize] ^ (crc >> 8);
        }
        self.crc = crc;
        // RFC 1952 counts modulo 2^32.
        self.length = self.length.wrapping_add(bytes.len() as u32);
        for block in bytes.chunks(usize::from(u16::MAX)) {
            stored(&mut out, false, block);
        }
        out.into()
    }

    pub(super) fn end(&mut self) -> Bytes {
        let mut out = Vec::with_capacity(24);
        self.begin(&mut out);
        stored(&mut out, true, &[]);
        out.extend((!self.crc).to_le_bytes());
        out.extend(self.length.to_le_bytes());
        out.into()
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.begun, true) {
            out.extend(HEAD);
        }
    }
}

/// A block of RFC 1951 without compression.
fn stored(out: &mut Vec<u8>, last: bool, block: &[u8]) {
    let length = block.len() as u16;
    out.push(u8::from(last));
    out.extend(length.to_le_bytes());
    out.extend((!length).to_le_bytes());
    out.extend(block);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        let mut gzip = Gzip::new();
        gzip.write(b"1234");
        gzip.write(b"56789");
        // The check value of CRC-32.
        assert_eq!(!gzip.crc, 0xcbf4_3926);
        assert_eq!(gzip.end()[9..], 9u32.to_le_bytes(), "and the length at the end");
    }
}
