//! Rows out of chunks that end anywhere: within a value, within a quote, within a character.

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::Delimiter;

/// A row's values, one after the other, and where each ends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RowBuffer {
    /// Found to be UTF-8 once, so that no value is looked through again when it is handed out.
    text: String,
    ends: Vec<usize>,
    fields: usize,
}

impl RowBuffer {
    pub(crate) fn len(&self) -> usize {
        self.fields
    }

    /// The n-th value.
    pub(crate) fn get(&self, n: usize) -> Option<&str> {
        let end = *self.ends.get(..self.fields)?.get(n)?;
        let start = if n == 0 { 0 } else { self.ends[n - 1] };
        self.text.get(start..end)
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.fields).map(|n| self.get(n).unwrap_or_default())
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
    /// The row that is being read: its values as far as they have come, and room for more.
    bytes: Vec<u8>,
    written: usize,
    delimiter: Delimiter,
    /// Bytes of the byte order mark that were seen at the beginning; 3 when it is past.
    mark: usize,
    in_row: bool,
    /// The header line was read.
    begun: bool,
}

impl std::fmt::Debug for Parser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parser").field("delimiter", &self.delimiter).finish_non_exhaustive()
    }
}

/// Bytes of a row that there is room for at first.
const ROOM: usize = 1024;
const MARK: &[u8] = b"\xef\xbb\xbf";

impl Parser {
    pub(crate) fn new(delimiter: Delimiter) -> Self {
        let reader = ReaderBuilder::new().delimiter(delimiter.byte()).build();
        let row = RowBuffer { ends: vec![0; 16], ..RowBuffer::default() };
        Self { reader, row, bytes: vec![0; ROOM], written: 0, delimiter, mark: 0, in_row: false, begun: false }
    }

    /// Begins another text with a header line of its own.
    pub(crate) fn begin_again(&mut self) {
        self.reader.reset();
        self.mark = 0;
        self.in_row = false;
        self.begun = false;
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
        if !self.in_row {
            // The reader has to see the beginning of a text itself: it looks for a byte order mark there too.
            if self.begun
                && let Some(used) = self.whole_row(chunk)
            {
                *chunk = &chunk[used..];
                return if self.take() { Found::Row } else { Found::NotText };
            }
            self.row.fields = 0;
            self.written = 0;
            self.in_row = true;
        }
        if !held.is_empty() {
            let (_, _, written, _) = self.reader.read_record(held, &mut self.bytes[self.written..], &mut self.row.ends);
            self.written += written;
        }
        loop {
            let (room, ends) = (&mut self.bytes[self.written..], &mut self.row.ends[self.row.fields..]);
            let (result, read, written, ends) = self.reader.read_record(chunk, room, ends);
            *chunk = &chunk[read..];
            self.written += written;
            self.row.fields += ends;
            match result {
                ReadRecordResult::InputEmpty => return Found::NeedsMore,
                ReadRecordResult::OutputFull => self.bytes.resize(self.bytes.len() * 2, 0),
                ReadRecordResult::OutputEndsFull => self.row.ends.resize(self.row.ends.len() * 2, 0),
                ReadRecordResult::Record => {
                    self.in_row = false;
                    self.begun = true;
                    return if self.take() { Found::Row } else { Found::NotText };
                }
                ReadRecordResult::End => return Found::NeedsMore,
            }
        }
    }

    /// Reads a row that lies in the chunk from its beginning to its `LF`, as nearly all do, and answers how many bytes it has:
    /// where a value ends is searched for many bytes at a time, and not byte by byte. `None` for any other row.
    fn whole_row(&mut self, chunk: &[u8]) -> Option<usize> {
        let delimiter = self.delimiter.byte();
        self.row.fields = 0;
        self.written = 0;
        let mut at = 0;
        loop {
            match chunk.get(at)? {
                b'"' => loop {
                    let from = at + 1;
                    at = from + memchr::memchr(b'"', &chunk[from..])? + 1;
                    if *chunk.get(at)? != b'"' {
                        self.put(&chunk[from..at - 1]);
                        break;
                    }
                    // A doubled quote is one, and what follows it still belongs to the value.
                    self.put(&chunk[from..at]);
                },
                // An empty line is no row.
                b'\n' if self.row.fields == 0 => return None,
                _ => {
                    let end = at + memchr::memchr3(delimiter, b'\n', b'\r', &chunk[at..])?;
                    self.put(&chunk[at..end]);
                    at = end;
                }
            }
            if self.row.fields == self.row.ends.len() {
                self.row.ends.resize(self.row.ends.len() * 2, 0);
            }
            self.row.ends[self.row.fields] = self.written;
            self.row.fields += 1;
            match chunk.get(at)? {
                b'\n' => return Some(at + 1),
                byte if *byte == delimiter => at += 1,
                // `CRLF`, or something behind a closing quote.
                _ => return None,
            }
        }
    }

    /// Appends to the row that is being read.
    fn put(&mut self, value: &[u8]) {
        let end = self.written + value.len();
        if end > self.bytes.len() {
            self.bytes.resize(end * 2, 0);
        }
        self.bytes[self.written..end].copy_from_slice(value);
        self.written = end;
    }

    /// Makes a row of what was read; false if it is not UTF-8.
    fn take(&mut self) -> bool {
        let Ok(text) = std::str::from_utf8(&self.bytes[..self.written]) else { return false };
        self.row.text.clear();
        self.row.text.push_str(text);
        // The values stand side by side: a character that is cut off by a delimiter would join its other half.
        self.row.ends[..self.row.fields].iter().all(|end| text.is_char_boundary(*end))
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
    fn whole_rows_say_the_same_as_single_bytes() {
        let odd = [
            "1,2\n",
            "\"1\",\"\"\n",
            ",\n",
            "\"\",\"\"\"\"\n",
            "\"a\"\"b\",\"\"\"\"\"\"\n",
            "1,2\r\n",
            "\"1\",\"2\"\r\n",
            "\n\r\n1,2\n",
            "a\"b,c\"\"d\n",
            "\"a\"b,\"c\" d\n",
            "\"a\nb\",\"\r\n\"\n",
            "1\r2,3\n",
            "1\n",
            "1,2,3\n",
            "é,\"ü, ö\"\n",
        ];
        for first in odd {
            for second in odd {
                let text = format!("Id,Name\n{first}{second}\"last\",1");
                let single: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
                assert_eq!(rows(&[text.as_bytes()]), rows(&single), "{text:?}");
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
