//! Text of others on a terminal. A record's name may hold what a terminal obeys: sequences that write its clipboard, move its
//! cursor, or turn the order of letters around.

use std::borrow::Cow;
use std::io::Write;

/// What a terminal acts upon and nobody sees. Line ends and tabs lay text out, and stay.
fn is_obeyed(c: char) -> bool {
    (c.is_control() && !matches!(c, '\n' | '\t')) || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text with such characters written out: `\u{1b}`. The line ends of Windows become plain ones.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.replace("\r\n", "\n").chars() {
        match is_obeyed(c) {
            true => out.extend(c.escape_unicode()),
            false => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// The same for text that comes in pieces, which may end within a character.
pub(crate) struct Visible<W> {
    inner: W,
    rest: Vec<u8>,
}

impl<W: Write> Visible<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self { inner, rest: Vec::new() }
    }

    fn show(&mut self, to: usize) -> std::io::Result<()> {
        let shown: Vec<u8> = self.rest.drain(..to).collect();
        self.inner.write_all(visible(&String::from_utf8_lossy(&shown)).as_bytes())
    }
}

impl<W: Write> Write for Visible<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.rest.extend_from_slice(bytes);
        self.show(whole(&self.rest))?;
        Ok(bytes.len())
    }

    /// What was held back goes out: nothing follows it for now.
    fn flush(&mut self) -> std::io::Result<()> {
        self.show(self.rest.len())?;
        self.inner.flush()
    }
}

/// How far the bytes go without a character, or a line end of two, that is not complete.
fn whole(bytes: &[u8]) -> usize {
    let end = match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        // What is no text within it is shown as such, and what is cut at its end waits.
        Err(_) => {
            let last = bytes.iter().rposition(|byte| byte & 0xc0 != 0x80).unwrap_or(0);
            let cut = std::str::from_utf8(&bytes[last..]).is_err_and(|error| error.error_len().is_none());
            if cut { last } else { bytes.len() }
        }
        Ok(_) => bytes.len(),
    };
    if bytes[..end].ends_with(b"\r") { end - 1 } else { end }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_written_out() {
        for (text, shown) in [
            ("Γιώργος\n\tHopper", "Γιώργος\n\tHopper"),
            ("\x1b]52;c;aGk=\x07", r"\u{1b}]52;c;aGk=\u{7}"),
            ("a\r\nb\rc\x7f", "a\nb\\u{d}c\\u{7f}"),
            ("\u{9b}2J \u{202e}txt\u{2069}", r"\u{9b}2J \u{202e}txt\u{2069}"),
        ] {
            assert_eq!(visible(text), shown);
        }
    }

    #[test]
    fn pieces_may_end_anywhere() {
        let text = "é\u{9b}2J\r\n\u{1b}[0m\u{202e}x\r";
        let mut bytes = text.as_bytes().to_vec();
        // A terminal that knows no UTF-8 takes this byte for one that it obeys.
        bytes.extend_from_slice(b"\x9b\xc3");
        for size in 1..bytes.len() {
            let mut out = Visible::new(Vec::new());
            for piece in bytes.chunks(size) {
                out.write_all(piece).unwrap();
            }
            out.flush().unwrap();
            let shown = String::from_utf8(out.inner).unwrap();
            assert_eq!(shown, "é\\u{9b}2J\n\\u{1b}[0m\\u{202e}x\\u{d}\u{fffd}\u{fffd}", "{size}");
        }
    }
}
