//! Reads an upload by the rules of the Bulk APIs. What breaks them ends the job with a message.

use std::io::{BufReader, Read};
use std::path::Path;

use csv::{ByteRecord, StringRecord};

use super::job::Format;

/// "The total number of characters in a header row can't exceed 32,000."
const LONGEST_HEADER: usize = 32_000;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// Checks that every line ends as the job says, those inside quotes too.
pub(super) fn check_line_endings(path: &Path, format: Format) -> Result<(), String> {
    let mut file = std::fs::File::open(path).map_err(|e| unreadable(&e))?;
    let mut buffer = vec![0; 1 << 16];
    let mut last = 0u8;
    loop {
        let n = file.read(&mut buffer).map_err(|e| unreadable(&e))?;
        if n == 0 {
            return Ok(());
        }
        let mut from = 0;
        while let Some(at) = buffer[from..n].iter().position(|byte| *byte == b'\n') {
            let before = if from + at == 0 { last } else { buffer[from + at - 1] };
            if (before == b'\r') != format.crlf {
                let name = format.line_ending_name();
                return Err(format!(
                    "ClientInputError : LineEnding is invalid on user data. Current LineEnding setting is {name}"
                ));
            }
            from += at + 1;
        }
        last = buffer[n - 1];
    }
}

fn unreadable(error: &std::io::Error) -> String {
    format!("Unknown : emulator files: {error}")
}

pub(super) struct CsvFile {
    csv: csv::Reader<Box<dyn Read + Send>>,
    /// The field names.
    pub(super) header: StringRecord,
    /// The line that holds them, without its end.
    pub(super) header_line: Vec<u8>,
    rows: u64,
    /// Bytes of the file that the reader does not see.
    skipped: u64,
}

/// Rows that follow each other in a file.
pub(super) struct Rows {
    pub(super) records: Vec<StringRecord>,
    /// Where the rows behind these begin.
    pub(super) end: u64,
    /// Why no more can be read.
    pub(super) broken: Option<String>,
}

impl CsvFile {
    pub(super) fn open(path: &Path, format: Format) -> Result<Self, String> {
        let file = std::fs::File::open(path).map_err(|e| unreadable(&e))?;
        Self::read(Box::new(BufReader::with_capacity(1 << 16, file)), format)
    }

    pub(super) fn read(mut source: Box<dyn Read + Send>, format: Format) -> Result<Self, String> {
        // The reader would pass over a byte order mark; Salesforce takes it for a part of the first name.
        let mut start = Vec::with_capacity(BOM.len());
        source.by_ref().take(BOM.len() as u64).read_to_end(&mut start).map_err(|e| unreadable(&e))?;
        let has_bom = start == BOM;
        let skipped = if has_bom { std::mem::take(&mut start).len() as u64 } else { 0 };
        let source: Box<dyn Read + Send> = Box::new(std::io::Cursor::new(start).chain(source));
        // Rows of another length are the caller's to refuse, with the rows before them intact.
        let mut csv = csv::ReaderBuilder::new().delimiter(format.delimiter).flexible(true).from_reader(source);
        let names = csv.byte_headers().map_err(|e| format!("InvalidBatch : {e}"))?.clone();
        let mut header = text(&names).ok_or("InvalidBatch : the header is not UTF-8")?;
        if has_bom {
            header = header
                .iter()
                .enumerate()
                .map(|(i, name)| if i == 0 { format!("\u{feff}{name}") } else { name.to_owned() })
                .collect();
        }
        if header.iter().map(|name| name.chars().count() + 1).sum::<usize>() > LONGEST_HEADER {
            return Err(format!("InvalidBatch : the header has more than {LONGEST_HEADER} characters"));
        }
        let mut line = csv::WriterBuilder::new().delimiter(format.delimiter).from_writer(Vec::new());
        let written = line.write_byte_record(&names).map_err(|e| e.to_string());
        let mut header_line = written.and_then(|()| line.into_inner().map_err(|e| e.to_string()))?;
        header_line.pop();
        Ok(CsvFile { csv, header, header_line, rows: 0, skipped })
    }

    /// Where the next row begins.
    pub(super) fn position(&self) -> u64 {
        self.csv.position().byte() + self.skipped
    }

    /// The next rows, `most` at most.
    pub(super) fn next(&mut self, most: usize) -> Rows {
        let mut records = Vec::with_capacity(most.min(4_096));
        let mut end = self.position();
        let mut broken = None;
        let mut record = ByteRecord::new();
        while records.len() < most {
            match self.csv.read_byte_record(&mut record) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    broken = Some(format!("InvalidBatch : {error}"));
                    break;
                }
            }
            self.rows += 1;
            // What Salesforce writes for these two is not documented.
            if record.len() != self.header.len() {
                broken = Some(format!(
                    "InvalidBatch : row {} has {} columns, the header {}",
                    self.rows,
                    record.len(),
                    self.header.len()
                ));
                break;
            }
            let Some(row) = text(&record) else {
                broken = Some(format!("InvalidBatch : row {} is not UTF-8", self.rows));
                break;
            };
            records.push(row);
            end = self.position();
        }
        Rows { records, end, broken }
    }
}

fn text(record: &ByteRecord) -> Option<StringRecord> {
    StringRecord::from_byte_record(record.clone()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], format: Format) -> Result<CsvFile, String> {
        CsvFile::read(Box::new(std::io::Cursor::new(bytes.to_vec())), format)
    }

    #[test]
    fn a_byte_order_mark_becomes_a_part_of_the_first_name() {
        let file = read(b"\xef\xbb\xbfName,Phone\na,b\n", Format::PLAIN).unwrap();
        assert_eq!(file.header.iter().collect::<Vec<_>>(), ["\u{feff}Name", "Phone"]);
        assert_eq!(read(b"Na", Format::PLAIN).unwrap().header.len(), 1, "shorter than a mark");
    }

    #[test]
    fn rows_come_in_slices_as_they_were_written() {
        let text = "Name;Description\n\" a \";\"x\ny\"\n b;\"say \"\"hi\"\"\"\nc;d;e\nf;g\n";
        let mut file = read(text.as_bytes(), Format { delimiter: b';', crlf: false }).unwrap();
        let rows = file.next(1);
        assert_eq!(rows.records[0].iter().collect::<Vec<_>>(), [" a ", "x\ny"]);
        assert_eq!(&text[usize::try_from(rows.end).unwrap()..][..3], " b;");
        let rows = file.next(10);
        assert_eq!(rows.records[0].iter().collect::<Vec<_>>(), [" b", "say \"hi\""]);
        assert_eq!(rows.broken.as_deref(), Some("InvalidBatch : row 3 has 3 columns, the header 2"));
        assert_eq!(&text[usize::try_from(rows.end).unwrap()..], "c;d;e\nf;g\n");
    }

    #[test]
    fn lines_end_as_the_job_says() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("upload.csv");
        let crlf = Format { delimiter: b',', crlf: true };
        let long = format!("A\r\n{}\r\nb\r\n", "x".repeat((1 << 16) - 4));
        for (text, lf_fits, crlf_fits) in [
            ("A,B\n1,2\n", true, false),
            ("A,B\r\n1,2\r\n", false, true),
            ("A,B\n\"1\r\n2\",3\n", false, false),
            ("A,B\r\n\"1\n2\",3\r\n", false, false),
            (long.as_str(), false, true),
            ("A,B", true, true),
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(check_line_endings(&path, Format::PLAIN).is_ok(), lf_fits, "{text:?}");
            assert_eq!(check_line_endings(&path, crlf).is_ok(), crlf_fits, "{text:?}");
        }
        let message = "ClientInputError : LineEnding is invalid on user data. Current LineEnding setting is CRLF";
        std::fs::write(&path, "A\n").unwrap();
        assert_eq!(check_line_endings(&path, crlf).unwrap_err(), message);
    }
}
