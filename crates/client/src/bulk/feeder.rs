//! Jobs out of CSV that comes in chunks: split between records, checked, and written to the upload of the job that is open.

use tokio::task::JoinHandle;

use super::csv::{Found, Parser, Scanner};
use super::ingest::{Ingest, IngestEvent, IngestJob};
use super::spool::Spool;
use super::upload;
use crate::error::{ClientError, joined};

/// Longest header line, in characters. Source: Bulk API 2.0 Developer Guide, "Prepare CSV Files".
const LONGEST_HEADER: usize = 32_000;
/// Read and written at once.
pub(super) const CHUNK: usize = 256 * 1024;

/// Makes jobs of chunks of CSV.
pub(super) struct Feeder<'a> {
    pub(super) ingest: &'a mut Ingest,
    scanner: Scanner,
    /// The header line with its line end; empty until it has come.
    header: Vec<u8>,
    columns: usize,
    /// A record that is not complete yet.
    partial: Vec<u8>,
    /// What is to be written next.
    buffer: Vec<u8>,
    part: Option<Part>,
    /// Records of the input so far, the header not counted.
    records: u64,
    /// Records that the org has already.
    pass_over: u64,
    /// Of the header line and all records that a job has or is being given.
    checksum: crc32fast::Hasher,
    bytes: u64,
}

/// A job that is being filled.
struct Part {
    spool: Spool,
    upload: JoinHandle<Result<String, ClientError>>,
    first_row: u64,
    rows: u64,
    bytes: u64,
}

impl Drop for Part {
    fn drop(&mut self) {
        self.upload.abort();
    }
}

impl<'a> Feeder<'a> {
    pub(super) fn new(ingest: &'a mut Ingest) -> Self {
        let pass_over = ingest.handle.rows();
        Self {
            ingest,
            scanner: Scanner::default(),
            header: Vec::new(),
            columns: 0,
            partial: Vec::new(),
            buffer: Vec::with_capacity(CHUNK * 2),
            part: None,
            records: 0,
            pass_over,
            checksum: crc32fast::Hasher::new(),
            bytes: 0,
        }
    }

    /// Takes a piece of the input, which may end anywhere.
    pub(super) async fn chunk(&mut self, chunk: &[u8]) -> Result<(), ClientError> {
        let mut rest = chunk;
        while let Some(end) = self.scanner.end(rest) {
            let (record, after) = rest.split_at(end);
            rest = after;
            if self.partial.is_empty() {
                self.record(record).await?;
            } else {
                let mut whole = std::mem::take(&mut self.partial);
                whole.extend_from_slice(record);
                let outcome = self.record(&whole).await;
                whole.clear();
                self.partial = whole;
                outcome?;
            }
        }
        self.partial.extend_from_slice(rest);
        // Salesforce takes 400,000 characters in a record; a quote that nobody closes would collect the whole input.
        if self.partial.len() > 4 << 20 {
            let reason = format!("record {} is longer than 4 MB: is a quote in it not closed?", self.records + 1);
            return Err(self.ingest.input(reason));
        }
        Ok(())
    }

    /// Takes a record with its line end.
    async fn record(&mut self, record: &[u8]) -> Result<(), ClientError> {
        let record = record.strip_suffix(b"\n").unwrap_or(record);
        let record = record.strip_suffix(b"\r").unwrap_or(record);
        if self.header.is_empty() {
            return self.take_header(record);
        }
        if record.is_empty() {
            return Ok(());
        }
        let values = values(record, self.ingest.handle.options.delimiter.byte())
            .map_err(|reason| self.ingest.input(format!("record {}: {reason}", self.records + 1)))?;
        if values != self.columns {
            let reason = format!("record {} has {values} values and the header {}", self.records + 1, self.columns);
            return Err(self.ingest.input(reason));
        }
        self.records += 1;
        if self.records <= self.pass_over {
            self.checksum.update(record);
            return if self.records == self.pass_over { self.compare() } else { Ok(()) };
        }
        let size = record.len() as u64 + 1;
        let full = |part: &Part, limit: u64| part.rows > 0 && part.bytes + size > limit;
        if self.part.as_ref().is_some_and(|part| full(part, self.ingest.handle.options.bytes_per_job)) {
            self.finish().await?;
        }
        if self.part.is_none() {
            self.begin().await?;
        }
        self.checksum.update(record);
        if memchr::memchr(b'\r', record).is_some() {
            let mut from = 0;
            for at in memchr::memmem::find_iter(record, b"\r\n") {
                self.buffer.extend_from_slice(&record[from..at]);
                from = at + 1;
            }
            self.buffer.extend_from_slice(&record[from..]);
        } else {
            self.buffer.extend_from_slice(record);
        }
        self.buffer.push(b'\n');
        if let Some(part) = &mut self.part {
            part.rows += 1;
            part.bytes += size;
        }
        if self.buffer.len() >= CHUNK { self.write().await } else { Ok(()) }
    }

    fn take_header(&mut self, record: &[u8]) -> Result<(), ClientError> {
        let record = record.strip_prefix(b"\xef\xbb\xbf").unwrap_or(record);
        if let Err(reason) = values(record, self.ingest.handle.options.delimiter.byte()) {
            return Err(self.ingest.input(format!("the header line: {reason}")));
        }
        let mut parser = Parser::new(self.ingest.handle.options.delimiter);
        let line = [record, b"\n"].concat();
        if parser.read(&mut &line[..]) != Found::Row {
            return Err(self.ingest.input("the header line is empty or not UTF-8".to_owned()));
        }
        let names: Vec<&str> = parser.row().iter().collect();
        let problem = if line.len() > LONGEST_HEADER {
            Some(format!("the header line has more than {LONGEST_HEADER} bytes"))
        } else if let Some(n) = names.iter().position(|name| name.trim().is_empty()) {
            Some(format!("column {} has no name in the header line", n + 1))
        } else {
            let twice = |n: &usize| names[..*n].iter().any(|earlier| earlier.eq_ignore_ascii_case(names[*n]));
            (0..names.len()).find(twice).map(|n| format!("the header line names `{}` twice", names[n]))
        };
        if let Some(reason) = problem {
            return Err(self.ingest.input(reason));
        }
        self.columns = names.len();
        self.checksum.update(record);
        self.header = line;
        Ok(())
    }

    /// At the last record that the org has already: what follows belongs to it only if all before are the same.
    fn compare(&self) -> Result<(), ClientError> {
        match self.ingest.handle.checksum {
            Some(checksum) if checksum != self.checksum.clone().finalize() => {
                let reason = format!("its first {} records are not those that the org has already", self.pass_over);
                Err(self.ingest.input(reason))
            }
            _ => Ok(()),
        }
    }

    async fn begin(&mut self) -> Result<(), ClientError> {
        let (connection, options) = (self.ingest.connection.clone(), self.ingest.handle.options.clone());
        let spool = Spool::new().map_err(|e| self.ingest.input(format!("no temporary file can be made: {e}")))?;
        let job = upload::create(&connection, &options).await?;
        self.ingest.handle.open_job = Some(job.clone());
        self.ingest.tell(IngestEvent::Opened { job: &job });
        let upload = tokio::spawn(upload::upload(connection, options, job, spool.spooled()));
        let first_row = self.records - 1;
        self.part = Some(Part { spool, upload, first_row, rows: 0, bytes: self.header.len() as u64 });
        self.buffer.extend_from_slice(&self.header);
        Ok(())
    }

    async fn write(&mut self) -> Result<(), ClientError> {
        let Some(part) = &mut self.part else { return Ok(()) };
        if part.upload.is_finished() {
            joined(self.ingest.connection.org(), (&mut part.upload).await)?;
            // It cannot be done before all is written.
            return Err(self.ingest.input("the org took the data before it was complete".to_owned()));
        }
        self.bytes += self.buffer.len() as u64;
        let buffer = std::mem::take(&mut self.buffer);
        self.buffer = part.spool.write(buffer).await.map_err(|e| ClientError::Input {
            org: self.ingest.connection.org().to_owned(),
            reason: format!("the temporary file cannot be written: {e}"),
        })?;
        let (rows, bytes) = (self.records, self.bytes);
        self.ingest.tell(IngestEvent::Produced { rows, bytes });
        Ok(())
    }

    /// Gives a job its last data and lets the org begin.
    async fn finish(&mut self) -> Result<(), ClientError> {
        self.write().await?;
        let Some(mut part) = self.part.take() else { return Ok(()) };
        part.spool.complete();
        let id = joined(self.ingest.connection.org(), (&mut part.upload).await)?;
        let job = IngestJob { id, first_row: part.first_row, rows: part.rows };
        // Noted before the org hears of it: who dies in between must not send these rows again.
        (self.ingest.handle.handed, self.ingest.handle.open_job) = (Some(job.clone()), None);
        self.ingest.handle.checksum = Some(self.checksum.clone().finalize());
        self.ingest.tell(IngestEvent::Handed { job: &job });
        upload::close(&self.ingest.connection, &job.id).await?;
        self.ingest.handed_over(job);
        Ok(())
    }

    /// No record came, and none is expected.
    pub(super) fn is_new(&self) -> bool {
        self.pass_over == 0
    }

    pub(super) async fn end(&mut self) -> Result<(), ClientError> {
        if self.scanner.is_quoted() {
            let reason = format!("record {} ends within a quoted value", self.records + 1);
            return Err(self.ingest.input(reason));
        }
        if !self.partial.is_empty() {
            let last = std::mem::take(&mut self.partial);
            self.record(&last).await?;
        }
        if self.header.is_empty() && self.is_new() {
            return Err(self.ingest.input("it is empty; a header line is needed".to_owned()));
        }
        if self.records < self.pass_over {
            let reason = format!("the org has {} records already, and the input has {}", self.pass_over, self.records);
            return Err(self.ingest.input(reason));
        }
        self.finish().await
    }

    pub(super) async fn close(mut self, outcome: Result<(), ClientError>) -> Result<(), ClientError> {
        match outcome {
            Ok(()) => {
                self.ingest.handle.complete = true;
                Ok(())
            }
            Err(error) => {
                self.part = None;
                self.ingest.abandon().await;
                Err(error)
            }
        }
    }
}

const BARE_QUOTE: &str = "a quote stands in a value that is not quoted, or something behind a closing quote; a value with \
     quotes is written \"5\"\" wide\"";
const BARE_RETURN: &str =
    "a carriage return stands outside of quotes, and not before a line feed; lines end with LF or CRLF";

/// How many values a record has. What one reader of CSV takes for the end of a record and another for a part of it is
/// refused: rows would be counted, and told apart, otherwise than the org does.
fn values(record: &[u8], delimiter: u8) -> Result<usize, &'static str> {
    if memchr::memchr2(b'"', b'\r', record).is_none() {
        return Ok(memchr::memchr_iter(delimiter, record).count() + 1);
    }
    let (mut at, mut values) = (0, 1);
    loop {
        if record.get(at) == Some(&b'"') {
            at += 1;
            loop {
                at += memchr::memchr(b'"', &record[at..]).ok_or(BARE_QUOTE)? + 1;
                if record.get(at) != Some(&b'"') {
                    break;
                }
                at += 1;
            }
        } else {
            let rest = &record[at..];
            let end = memchr::memchr(delimiter, rest).unwrap_or(rest.len());
            match memchr::memchr2(b'"', b'\r', &rest[..end]).map(|bad| rest[bad]) {
                Some(b'"') => return Err(BARE_QUOTE),
                Some(_) => return Err(BARE_RETURN),
                None => at += end,
            }
        }
        match record.get(at) {
            None => return Ok(values),
            Some(byte) if *byte == delimiter => (at, values) = (at + 1, values + 1),
            Some(b'\r') => return Err(BARE_RETURN),
            Some(_) => return Err(BARE_QUOTE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_outside_of_quotes() {
        for (record, expected) in [("a", 1), ("a,b,", 3), ("\"a,b\",c", 2), ("\"a \"\",\"\" b\",\"\n,\"", 2), (",", 2)]
        {
            assert_eq!(values(record.as_bytes(), b','), Ok(expected), "{record}");
        }
    }

    #[test]
    fn what_readers_of_csv_do_not_agree_about_is_refused() {
        for (record, reason) in [
            ("a,5\" pipe\nb,6\" pipe", BARE_QUOTE),
            ("\"a\"b,c", BARE_QUOTE),
            ("a,b\"\"", BARE_QUOTE),
            ("Id,Name\r1,a\r2,b", BARE_RETURN),
            ("\"a\",\"b\"\rc,d", BARE_RETURN),
        ] {
            assert_eq!(values(record.as_bytes(), b','), Err(reason), "{record}");
        }
        assert_eq!(values(b"\"a\r\nb\rc\",d", b','), Ok(2));
    }
}
