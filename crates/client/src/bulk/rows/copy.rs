//! Results as they came, into a file.

use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::Rows;
use crate::bulk::csv::Scanner;
use crate::bulk::pages::Event;
use crate::error::ClientError;

impl Rows {
    /// Writes the results as they came, with one header line, and answers how many rows there are.
    ///
    /// # Errors
    /// As [`Rows::next`]; [`ClientError::Output`] when they cannot be written.
    pub async fn write_csv(mut self, to: &mut (impl AsyncWrite + Unpin)) -> Result<u64, ClientError> {
        let (mut scanner, mut first) = (Scanner::default(), true);
        let output = |org: &str, error: &std::io::Error| ClientError::Output {
            org: org.to_owned(),
            reason: error.to_string(),
            broken_pipe: error.kind() == std::io::ErrorKind::BrokenPipe,
        };
        while let Some(event) = self.event().await? {
            let chunk = match event {
                Event::Page { records } => {
                    if self.begun {
                        self.end_of_text(&scanner)?;
                        if scanner.is_within() {
                            to.write_all(b"\n").await.map_err(|error| output(&self.org, &error))?;
                        }
                    }
                    self.after_page(records);
                    scanner = Scanner::default();
                    continue;
                }
                Event::Chunk(chunk) => chunk,
                Event::End { framed, led_on } => {
                    self.page_ended(framed, led_on);
                    continue;
                }
            };
            let (mut at, mut from) = (0, 0);
            while let Some(end) = scanner.end(&chunk[at..]) {
                at += end;
                if self.header {
                    self.header = false;
                    if !first {
                        from = at;
                    }
                } else {
                    self.in_page += 1;
                    self.count += 1;
                }
            }
            if self.header && !first {
                // The header of a later page is still coming.
                continue;
            }
            first &= self.header;
            to.write_all(&chunk[from..]).await.map_err(|error| output(&self.org, &error))?;
        }
        if self.begun {
            self.end_of_text(&scanner)?;
        }
        self.end().await?;
        to.flush().await.map_err(|error| output(&self.org, &error))?;
        Ok(self.count)
    }

    fn end_of_text(&mut self, scanner: &Scanner) -> Result<(), ClientError> {
        if scanner.is_quoted() {
            return Err(self.unreadable("a page ends within a quoted value".to_owned()));
        }
        if scanner.is_within() && !self.framed {
            return Err(self.unreadable("a page ends within a row".to_owned()));
        }
        if scanner.is_within() && !self.header {
            self.in_page += 1;
            self.count += 1;
        }
        match self.promised.filter(|promised| *promised != self.in_page) {
            None => Ok(()),
            Some(promised) => {
                Err(self.unreadable(format!("a page has {} records, and the org said {promised}", self.in_page)))
            }
        }
    }
}
