//! A CSV stream cut into files between records, each with the header.

use std::io::Write;

use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// One file of a job.
pub(super) struct File {
    pub(super) file: std::fs::File,
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
    pub(super) async fn new(mut input: R, limit: u64) -> std::io::Result<Self> {
        let mut header = Vec::new();
        record(&mut input, &mut header).await?;
        // A byte order mark would become part of the first column's name.
        if header.starts_with(b"\xef\xbb\xbf") {
            header.drain(..3);
        }
        if header.iter().all(u8::is_ascii_whitespace) {
            return Err(std::io::Error::other("the CSV is empty; its first line must name the columns"));
        }
        end_line(&mut header);
        Ok(Self { input, header, left: Vec::new(), limit })
    }

    /// The next file; `None` after the last record.
    pub(super) async fn next(&mut self) -> std::io::Result<Option<File>> {
        let mut out = std::io::BufWriter::with_capacity(1 << 20, tempfile::tempfile()?);
        out.write_all(&self.header)?;
        let (mut bytes, mut records) = (self.header.len() as u64, 0);
        loop {
            let mut row = std::mem::take(&mut self.left);
            if row.is_empty() && record(&mut self.input, &mut row).await? == 0 {
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

/// Reads to the line break that ends a record: the first one outside of quotes.
async fn record(input: &mut (impl AsyncBufRead + Unpin), into: &mut Vec<u8>) -> std::io::Result<usize> {
    let (mut total, mut quotes) = (0, 0_usize);
    loop {
        let start = into.len();
        let read = input.read_until(b'\n', into).await?;
        total += read;
        quotes += into[start..].iter().filter(|byte| **byte == b'"').count();
        if read == 0 && quotes % 2 == 1 {
            return Err(std::io::Error::other("the CSV ends within a quoted field"));
        }
        if read == 0 || quotes.is_multiple_of(2) {
            return Ok(total);
        }
    }
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
    use std::io::{Read, Seek};

    use super::*;

    async fn split(csv: &str, limit: u64) -> std::io::Result<Vec<(String, u64)>> {
        let mut splitter = Splitter::new(csv.as_bytes(), limit).await?;
        let mut files = Vec::new();
        while let Some(File { mut file, bytes, records }) = splitter.next().await? {
            let mut text = String::new();
            file.rewind()?;
            file.read_to_string(&mut text)?;
            assert_eq!(text.len() as u64, bytes);
            files.push((text, records));
        }
        Ok(files)
    }

    #[tokio::test]
    async fn a_record_is_never_cut() {
        let csv = "\u{feff}id,text\r\n1,\"two\nlines, \"\"quoted\"\"\"\r\n2,x\n\n3,\"\n\"\n4,end";
        let whole = split(csv, 1_000).await.unwrap();
        let same = "id,text\n1,\"two\nlines, \"\"quoted\"\"\"\n2,x\n3,\"\n\"\n4,end\n";
        assert_eq!(whole, [(same.to_owned(), 4)]);
        let files = split(csv, 40).await.unwrap();
        assert!(files.len() > 1 && files.iter().all(|(text, _)| text.starts_with("id,text\n") && text.len() <= 40));
        let bodies: String = files.iter().map(|(text, _)| &text["id,text\n".len()..]).collect();
        assert_eq!(bodies, &same["id,text\n".len()..]);
        assert_eq!(files.iter().map(|(_, records)| records).sum::<u64>(), 4);
    }

    #[tokio::test]
    async fn what_cannot_be_sent_is_told() {
        for (csv, limit, reason) in [
            ("", 100, "empty"),
            ("id\n\"1", 100, "within a quoted field"),
            ("id\n123456789\n", 8, "a record has 10 bytes"),
        ] {
            let error = split(csv, limit).await.unwrap_err();
            assert!(error.to_string().contains(reason), "{csv}: {error}");
        }
        assert!(split("id\n", 100).await.unwrap().is_empty());
    }
}
