//! Where records end, without looking into them.

/// Finds the ends of records in chunks that end anywhere.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scanner {
    quoted: bool,
    /// Something of a record was seen since the last end.
    within: bool,
}

impl Scanner {
    /// The place behind the next record's end in `chunk`, or `None` when the rest belongs to a record that goes on.
    pub(crate) fn end(&mut self, chunk: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            let rest = &chunk[at..];
            let found = if self.quoted { memchr::memchr(b'"', rest) } else { memchr::memchr2(b'"', b'\n', rest) };
            let Some(found) = found else {
                self.within |= !rest.is_empty();
                return None;
            };
            at += found + 1;
            if chunk[at - 1] == b'\n' && !self.quoted {
                self.within = false;
                return Some(at);
            }
            self.within = true;
            // A doubled quote ends the quoted part and begins it again.
            self.quoted = !self.quoted;
        }
    }

    /// At the end of the text: a record without a line end is still open.
    pub(crate) fn is_within(&self) -> bool {
        self.within
    }

    /// At the end of the text: a quote was never closed.
    pub(crate) fn is_quoted(&self) -> bool {
        self.quoted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_found_wherever_the_text_is_cut() {
        let text = b"a,\"b\n\"\"\n\",c\n\"x\"\n\nlast";
        let expected = [12, 16, 17];
        for cut in 0..=text.len() {
            let mut scanner = Scanner::default();
            let mut found = Vec::new();
            for (base, chunk) in [(0, &text[..cut]), (cut, &text[cut..])] {
                let mut at = 0;
                while let Some(end) = scanner.end(&chunk[at..]) {
                    at += end;
                    found.push(base + at);
                }
            }
            assert_eq!(found, expected, "{cut}");
            assert!(scanner.is_within() && !scanner.is_quoted());
        }
    }
}
