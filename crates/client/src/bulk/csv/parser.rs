//! Rows out of chunks that end anywhere: within a value, within a quote, within a character.

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::Delimiter;

/// A row's values, one after the other, and where each ends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RowBuffer {
    text: String,
    ends: Vec<usize>,
}

impl RowBuffer {
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The n-th value.
    pub(crate) fn get(&self, n: usize) -> Option<&str> {
        let end = *self.ends.get(n)?;
        let start = if n == 0 { 0 } else { self.ends[n - 1] };
        self.text.get(start..end)
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.len()).map(|n| self.get(n).unwrap_or_default())
    }

    /// Takes what was read, if it is UTF-8.
    fn take(&mut self, bytes: &[u8], ends: &[usize]) -> bool {
        self.text.clear();
        self.ends.clear();
        let Ok(text) = std::str::from_utf8(bytes) else { return false };
        self.text.push_str(text);
        self.ends.extend_from_slice(ends);
        // The values stand side by side: a character that is cut off by a delimiter would join its other half.
        text.is_ascii() || ends.iter().all(|end| text.is_char_boundary(*end))
    }
}

/// What was found in a chunk.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A row is in the buffer.
    Row,
    /// The chunk is used up.
    NeedsMore,
    /// Not UTF-8.
    NotText,
}

/// Reads rows.
pub(crate) struct Parser {
    reader: Reader,
    row: RowBuffer,
    /// Of the row that is being read: values, their ends, and how much of both is used.
    bytes: Vec<u8>,
    ends: Vec<usize>,
    written: usize,
    values: usize,
    delimiter: Delimiter,
    /// Bytes of the byte order mark that were seen at the beginning; 3 when it is past.
    mark: usize,
}

impl std::fmt::Debug for Parser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parser").field("delimiter", &self.delimiter).finish_non_exhaustive()
    }
}

const MARK: &[u8] = b"\xef\xbb\xbf";

impl Parser {
    pub(crate) fn new(delimiter: Delimiter) -> Self {
        let reader = ReaderBuilder::new().delimiter(delimiter.byte()).build();
        Self {
            reader,
            row: RowBuffer::default(),
            bytes: vec![0; 1024],
            ends: vec![0; 16],
            written: 0,
            values: 0,
            delimiter,
            mark: 0,
        }
    }

    /// Begins another text with a header line of its own.
    pub(crate) fn begin_again(&mut self) {
        self.reader.reset();
        (self.written, self.values, self.mark) = (0, 0, 0);
    }

    /// Reads on in `chunk` and takes from it what it used. An empty chunk is the end of the text.
    pub(crate) fn read(&mut self, chunk: &mut &[u8]) -> Found {
        let at_end = chunk.is_empty();
        // Bytes that began like a mark and were none: full-width letters begin so.
        let mut held = &MARK[..0];
        while self.mark < MARK.len() {
            match chunk.first() {
                Some(byte) if *byte == MARK[self.mark] => {
                    self.mark += 1;
                    *chunk = &chunk[1..];
                }
                None if !at_end => return Found::NeedsMore,
                _ => {
                    held = &MARK[..self.mark];
                    self.mark = MARK.len();
                }
            }
        }
        if !held.is_empty() {
            let (_, _, written, _) = self.reader.read_record(held, &mut self.bytes[self.written..], &mut self.ends);
            self.written += written;
        }
        loop {
            let (result, read, written, ends) =
                self.reader.read_record(chunk, &mut self.bytes[self.written..], &mut self.ends[self.values..]);
            *chunk = &chunk[read..];
            self.written += written;
            self.values += ends;
            match result {
                ReadRecordResult::InputEmpty | ReadRecordResult::End => return Found::NeedsMore,
                ReadRecordResult::OutputFull => self.bytes.resize(self.bytes.len() * 2, 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::Record => {
                    let is_text = self.row.take(&self.bytes[..self.written], &self.ends[..self.values]);
                    (self.written, self.values) = (0, 0);
                    return if is_text { Found::Row } else { Found::NotText };
                }
            }
        }
    }

    /// The row that was found.
    pub(crate) fn row(&self) -> &RowBuffer {
        &self.row
    }
}

/// One row of results.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    pub(crate) columns: &'a RowBuffer,
    pub(crate) values: &'a RowBuffer,
}

impl<'a> Row<'a> {
    /// The value in a column, names in any case; `None` where it is null, and where there is no such column.
    pub fn get(&self, column: &str) -> Option<&'a str> {
        let at = self.columns.iter().position(|name| name.eq_ignore_ascii_case(column))?;
        self.at(at)
    }

    /// The value in the n-th column; `None` where it is null.
    pub fn at(&self, n: usize) -> Option<&'a str> {
        self.values.get(n).filter(|value| !value.is_empty())
    }

    /// Names of the columns.
    pub fn columns(&self) -> impl ExactSizeIterator<Item = &'a str> + use<'a> {
        self.columns.iter()
    }

    /// Values of all columns, an empty one where it is null.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &'a str> + use<'a> {
        self.values.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\u{feff}Id,Name,Note\r\n\"1\",\"NA\",\"a\nb\"\n2,NULL,\"she said \"\"😀\"\"\"\n3,,\"\"\n";

    fn rows(chunks: &[&[u8]]) -> Vec<Vec<String>> {
        let mut parser = Parser::new(Delimiter::Comma);
        let mut rows = Vec::new();
        for chunk in chunks.iter().copied().chain([&b""[..]]) {
            let mut rest = chunk;
            loop {
                match parser.read(&mut rest) {
                    Found::Row => rows.push(parser.row().iter().map(str::to_owned).collect()),
                    Found::NeedsMore => break,
                    Found::NotText => panic!("not text"),
                }
            }
        }
        rows
    }

    #[test]
    fn a_text_says_the_same_wherever_it_is_cut() {
        let whole = rows(&[TEXT.as_bytes()]);
        assert_eq!(whole.len(), 4);
        assert_eq!(whole[0], ["Id", "Name", "Note"]);
        assert_eq!(whole[1], ["1", "NA", "a\nb"]);
        assert_eq!(whole[2], ["2", "NULL", "she said \"😀\""]);
        assert_eq!(whole[3], ["3", "", ""]);
        for first in 0..=TEXT.len() {
            for second in first..=TEXT.len() {
                let text = TEXT.as_bytes();
                // An empty chunk in the middle would be the end.
                let cut: Vec<&[u8]> = [&text[..first], &text[first..second], &text[second..]]
                    .into_iter()
                    .filter(|chunk| !chunk.is_empty())
                    .collect();
                assert_eq!(rows(&cut), whole, "{first} {second}");
            }
        }
    }

    #[test]
    fn a_row_that_is_not_text_is_told() {
        for text in [&b"a,b\n\xff,1\n"[..], b"a,b\n\xc3,\xa9\n", b"\xef\xbbx\n", b"\xef\n"] {
            let mut parser = Parser::new(Delimiter::Comma);
            let mut rest = text;
            let mut found = Found::Row;
            while found == Found::Row {
                found = parser.read(&mut rest);
            }
            assert_eq!(found, Found::NotText, "{text:?}");
        }
    }

    #[test]
    fn a_long_row_grows_the_buffer() {
        let value = "ä".repeat(100_000);
        let text = format!("a;{}\n", vec![value.as_str(); 50].join(";"));
        let mut parser = Parser::new(Delimiter::Semicolon);
        let mut rest = text.as_bytes();
        assert_eq!(parser.read(&mut rest), Found::Row);
        assert_eq!((parser.row().len(), parser.row().get(50)), (51, Some(value.as_str())));
    }
}
