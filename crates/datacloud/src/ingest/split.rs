//! A CSV stream cut into files between records, each with the header where there is one.

use std::io::Write;

use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// One file of a job.
pub(super) struct File {
    pub(super) file: tempfile::NamedTempFile,
    pub(super) bytes: u64,
    /// Records, the header not counted.
    pub(super) records: u64,
}

/// Reads records; a quoted field may hold line breaks.
pub(super) struct Splitter<R> {
    input: R,
    header: Vec<u8>,
    /// A record that did not fit into the file before.
    left: Vec<u8>,
    limit: u64,
}

impl<R: AsyncBufRead + Unpin> Splitter<R> {
    /// `has_header`: a file of deletions has none.
    pub(super) async fn new(mut input: R, limit: u64, has_header: bool) -> std::io::Result<Self> {
        let mut header = Vec::new();
        record(&mut input, &mut header, limit).await?;
        // A byte order mark would become part of the first column's name.
        if header.starts_with(b"\xef\xbb\xbf") {
            header.drain(..3);
        }
        if header.iter().all(u8::is_ascii_whitespace) {
            return Err(std::io::Error::other("the CSV is empty"));
        }
        end_line(&mut header);
        if header.contains(&b'\r') {
            return Err(std::io::Error::other("its lines end in carriage returns alone; they must end in line feeds"));
        }
        let (header, left) = if has_header { (header, Vec::new()) } else { (Vec::new(), header) };
        Ok(Self { input, header, left, limit })
    }

    /// The next file; `None` after the last record.
    pub(super) async fn next(&mut self) -> std::io::Result<Option<File>> {
        let mut out = std::io::BufWriter::with_capacity(1 << 20, tempfile::NamedTempFile::new()?);
        out.write_all(&self.header)?;
        let (mut bytes, mut records) = (self.header.len() as u64, 0);
        loop {
            let mut row = std::mem::take(&mut self.left);
            if row.is_empty() && record(&mut self.input, &mut row, self.limit).await? == 0 {
                break;
            }
            end_line(&mut row);
            if row.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            if bytes + row.len() as u64 > self.limit {
                if records == 0 {
                    let reason =
                        format!("a record has {} bytes, more than a file may have ({})", row.len(), self.limit);
                    return Err(std::io::Error::other(reason));
                }
                self.left = row;
                break;
            }
            out.write_all(&row)?;
            bytes += row.len() as u64;
            records += 1;
        }
        let file = out.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        Ok((records > 0).then_some(File { file, bytes, records }))
    }
}

/// Reads to the line break that ends a record: the first one outside of a quoted field. A quote opens a field only at its
/// beginning, as in RFC 4180: `5" pipe` is a text. A record of more bytes than the limit is none.
async fn record(input: &mut (impl AsyncBufRead + Unpin), into: &mut Vec<u8>, limit: u64) -> std::io::Result<usize> {
    let (mut total, mut place) = (0, Place::FieldBegins);
    loop {
        let piece = input.fill_buf().await?;
        if piece.is_empty() {
            return match place {
                Place::Quoted => Err(std::io::Error::other("the CSV ends within a quoted field")),
                _ => Ok(total),
            };
        }
        let mut used = piece.len();
        let mut ended = false;
        for (at, byte) in piece.iter().enumerate() {
            place = match (place, byte) {
                (Place::Quoted, b'"') => Place::QuoteInQuoted,
                (Place::Quoted, _) | (Place::FieldBegins | Place::QuoteInQuoted, b'"') => Place::Quoted,
                (_, b'\n') => {
                    (used, ended) = (at + 1, true);
                    break;
                }
                (_, b',') => Place::FieldBegins,
                _ => Place::Plain,
            };
        }
        into.extend_from_slice(&piece[..used]);
        input.consume(used);
        total += used;
        if ended {
            return Ok(total);
        }
        if into.len() as u64 > limit {
            let reason =
                format!("a record has more than the {limit} bytes that a file may have; a quote may be missing");
            return Err(std::io::Error::other(reason));
        }
    }
}

/// Where in a record the next byte stands.
#[derive(Clone, Copy)]
enum Place {
    FieldBegins,
    Plain,
    Quoted,
    /// After a quote that ends the field, or is the first of two.
    QuoteInQuoted,
}

/// The API takes line feeds alone.
fn end_line(row: &mut Vec<u8>) {
    while row.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        row.pop();
    }
    row.push(b'\n');
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    async fn split(csv: &str, limit: u64) -> std::io::Result<Vec<(String, u64)>> {
        let mut splitter = Splitter::new(csv.as_bytes(), limit, csv.contains("id")).await?;
        let mut files = Vec::new();
        while let Some(File { file, bytes, records }) = splitter.next().await? {
            let mut text = String::new();
            file.reopen()?.read_to_string(&mut text)?;
            assert_eq!(text.len() as u64, bytes);
            files.push((text, records));
        }
        Ok(files)
    }

    #[tokio::test]
    async fn a_record_is_never_cut() {
        let inches = split("id,text\n1,5\" pipe\n2,\"6\"\" pipe\"\n", 1_000).await.unwrap();
        assert_eq!(inches[0].1, 2);
        let csv = "\u{feff}id,text\r\n1,\"two\nlines, \"\"quoted\"\"\"\r\n2,x\n\n3,\"\n\"\n4,end";
        let whole = split(csv, 1_000).await.unwrap();
        let same = "id,text\n1,\"two\nlines, \"\"quoted\"\"\"\n2,x\n3,\"\n\"\n4,end\n";
        assert_eq!(whole, [(same.to_owned(), 4)]);
        let files = split(csv, 40).await.unwrap();
        assert!(files.len() > 1 && files.iter().all(|(text, _)| text.starts_with("id,text\n") && text.len() <= 40));
        let bodies: String = files.iter().map(|(text, _)| &text["id,text\n".len()..]).collect();
        assert_eq!(bodies, &same["id,text\n".len()..]);
        assert_eq!(files.iter().map(|(_, records)| records).sum::<u64>(), 4);
        // Keys to delete stand without a header, which no file repeats.
        let keys = split("\u{feff}\"k-1\"\r\nk-2\nk-3", 12).await.unwrap();
        assert_eq!(keys, [("\"k-1\"\nk-2\n".to_owned(), 2), ("k-3\n".to_owned(), 1)]);
    }

    #[tokio::test]
    async fn what_cannot_be_sent_is_told() {
        for (csv, limit, reason) in [
            ("", 100, "empty"),
            ("id\n\"1", 100, "within a quoted field"),
            ("id\n123456789\n", 8, "a record has"),
            ("id\n\"1,2\n3,4\n5,6\n", 9, "a quote may be missing"),
            ("id,text\r1,x\r", 100, "carriage returns alone"),
        ] {
            let error = split(csv, limit).await.unwrap_err();
            assert!(error.to_string().contains(reason), "{csv}: {error}");
        }
        assert!(split("id\n", 100).await.unwrap().is_empty());
    }
}
