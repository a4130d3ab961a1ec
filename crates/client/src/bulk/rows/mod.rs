//! Rows of results, in memory that does not grow with them.

mod copy;

use bytes::{Buf, Bytes};
use futures_util::{Stream, stream};
use serde::de::DeserializeOwned;

use super::csv::{Delimiter, Found, Parser, Row, RowBuffer};
use super::ingest::{IngestJob, Results};
use super::job::{JobInfo, JobKind};
use super::pages::{Event, Feed};
use crate::connection::Connection;
use crate::error::ClientError;

/// The rows of a job's results. Every page is compared with the number of records that the org says it has, so a page that
/// ends too early is an error and never a smaller result.
#[derive(Debug)]
pub struct Rows {
    source: Source,
    org: String,
    job: String,
    parser: Parser,
    columns: Option<RowBuffer>,
    chunk: Bytes,
    /// Rows of this page, and how many it has to have.
    in_page: u64,
    promised: Option<u64>,
    /// The next row is a header.
    header: bool,
    begun: bool,
    /// The parser is to begin again, once the row that it holds was read.
    restart: bool,
    count: u64,
    /// Rows in all, where that is known from elsewhere.
    expected: Option<u64>,
    failed: bool,
    connection: Connection,
    whole: Whole,
    /// HTTP says where this page ends.
    framed: bool,
    /// Something about the number of rows the pages did not tell.
    unsure: bool,
}

/// What the rows are the whole of.
#[derive(Debug, Clone, Copy)]
enum Whole {
    Query,
    Ingest { which: Results, sent: u64 },
}

impl Whole {
    /// How many rows there are, by what the org says of the job.
    fn rows(self, info: &JobInfo) -> u64 {
        let (processed, failed) = (info.number_records_processed, info.number_records_failed);
        match self {
            Whole::Query => processed,
            Whole::Ingest { which: Results::Successful, .. } => processed.saturating_sub(failed),
            Whole::Ingest { which: Results::Failed, .. } => failed,
            Whole::Ingest { which: Results::Unprocessed, sent } => sent.saturating_sub(processed),
        }
    }
}

#[derive(Debug)]
enum Source {
    /// Not asked for yet: the path of the first page.
    Chain(Connection, String),
    /// Not asked for yet: a query job, and how many pages at once.
    Parallel(Connection, String, usize),
    Feed(Box<Feed>),
}

impl Rows {
    pub(super) fn of_query(connection: &Connection, job: &str, delimiter: Delimiter, at_once: usize) -> Self {
        let source = match at_once {
            0 | 1 => Source::Chain(connection.clone(), connection.data_path(&format!("jobs/query/{job}/results"))),
            _ => Source::Parallel(connection.clone(), job.to_owned(), at_once),
        };
        Self::new(source, connection, job, delimiter, Whole::Query)
    }

    /// A result file of an ingest job; `known` is what the org said of the job at its end.
    pub(super) fn of_file(
        connection: &Connection,
        job: &IngestJob,
        which: Results,
        delimiter: Delimiter,
        known: Option<&JobInfo>,
    ) -> Self {
        let file = match which {
            Results::Successful => "successfulResults",
            Results::Failed => "failedResults",
            Results::Unprocessed => "unprocessedrecords",
        };
        let path = connection.data_path(&format!("jobs/ingest/{}/{file}", job.id));
        let source = Source::Chain(connection.clone(), path);
        let whole = Whole::Ingest { which, sent: job.rows };
        Self::new(source, connection, &job.id, delimiter, whole).expecting(known.map(|info| whole.rows(info)))
    }

    fn new(source: Source, connection: &Connection, job: &str, delimiter: Delimiter, whole: Whole) -> Self {
        Self {
            source,
            org: connection.org().to_owned(),
            job: job.to_owned(),
            parser: Parser::new(delimiter),
            columns: None,
            chunk: Bytes::new(),
            in_page: 0,
            promised: None,
            header: true,
            begun: false,
            restart: false,
            count: 0,
            expected: None,
            failed: false,
            connection: connection.clone(),
            whole,
            framed: true,
            unsure: false,
        }
    }

    /// The same, and it is an error if there are not so many.
    pub(super) fn expecting(self, rows: Option<u64>) -> Self {
        Self { expected: rows, ..self }
    }

    /// Rows so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Names of the columns: after the first row, or after the end of a result without rows.
    pub fn columns(&self) -> Vec<&str> {
        self.columns.iter().flat_map(RowBuffer::iter).collect()
    }

    /// The next row; `None` after the last. It lives until the next call.
    ///
    /// # Errors
    /// As [`Connection::send`]; [`ClientError::Unreadable`] for a page that is not complete, and for one that is not CSV.
    /// Nothing follows an error.
    pub async fn next(&mut self) -> Result<Option<Row<'_>>, ClientError> {
        if self.failed {
            return Ok(None);
        }
        match self.advance().await {
            Ok(true) => {
                let columns = self.columns.as_ref();
                Ok(columns.map(|columns| Row { columns, values: self.parser.row() }))
            }
            Ok(false) => Ok(None),
            Err(error) => {
                self.failed = true;
                Err(error)
            }
        }
    }

    async fn advance(&mut self) -> Result<bool, ClientError> {
        loop {
            if !self.chunk.is_empty() {
                if self.restart {
                    self.parser.begin_again();
                    self.restart = false;
                }
                let mut rest = &self.chunk[..];
                let found = self.parser.read(&mut rest);
                let used = self.chunk.len() - rest.len();
                self.chunk.advance(used);
                match found {
                    Found::NeedsMore => continue,
                    Found::NotText => return Err(self.unreadable("it is not UTF-8".to_owned())),
                    Found::Row if self.row()? => return Ok(true),
                    Found::Row => continue,
                }
            }
            match self.event().await? {
                Some(Event::Chunk(chunk)) => self.chunk = chunk,
                Some(Event::Page { records }) => {
                    if self.begun && self.end_of_page()? {
                        self.after_page(records);
                        return Ok(true);
                    }
                    self.after_page(records);
                }
                None if self.begun => {
                    let last = self.end_of_page()?;
                    self.begun = false;
                    if last {
                        return Ok(true);
                    }
                }
                Some(Event::End { framed, led_on }) => self.page_ended(framed, led_on),
                None => return self.end().await.map(|()| false),
            }
        }
    }

    fn page_ended(&mut self, framed: bool, led_on: bool) {
        self.framed = framed;
        self.unsure |= !led_on || self.promised.is_none();
    }

    fn after_page(&mut self, records: Option<u64>) {
        self.begun = true;
        self.restart = true;
        self.promised = records;
        self.in_page = 0;
        self.header = true;
    }

    /// Takes the row that was found; false if it was a header.
    fn row(&mut self) -> Result<bool, ClientError> {
        let row = self.parser.row();
        if !self.header {
            let expected = self.columns.as_ref().map_or(0, RowBuffer::len);
            if row.len() != expected {
                return Err(self.unreadable(format!(
                    "row {} has {} values instead of {expected}",
                    self.count + 1,
                    row.len()
                )));
            }
            self.in_page += 1;
            self.count += 1;
            return Ok(true);
        }
        self.header = false;
        match &self.columns {
            None => self.columns = Some(row.clone()),
            Some(columns) if columns.iter().eq(row.iter()) => {}
            Some(_) => return Err(self.unreadable("a later page has other columns".to_owned())),
        }
        Ok(false)
    }

    /// At the end of a page: true if it held one more row, without a line end.
    fn end_of_page(&mut self) -> Result<bool, ClientError> {
        // A line end ends a row that has none, and becomes a part of a value that is quoted.
        let more = match self.parser.read(&mut &b"\n"[..]) {
            Found::Row if !self.framed => return Err(self.unreadable("a page ends within a row".to_owned())),
            Found::Row => self.row()?,
            Found::NeedsMore if self.parser.read(&mut &b""[..]) != Found::NeedsMore => {
                return Err(self.unreadable("a page ends within a quoted value".to_owned()));
            }
            Found::NeedsMore => false,
            Found::NotText => return Err(self.unreadable("it is not UTF-8".to_owned())),
        };
        if let Some(promised) = self.promised.filter(|promised| *promised != self.in_page) {
            let reason = format!("a page has {} records, and the org said {promised}", self.in_page);
            return Err(self.unreadable(reason));
        }
        Ok(more)
    }

    async fn end(&mut self) -> Result<(), ClientError> {
        if self.unsure && self.expected.is_none() {
            let kind = match self.whole {
                Whole::Query => JobKind::Query,
                Whole::Ingest { .. } => JobKind::Ingest,
            };
            self.expected = Some(self.whole.rows(&self.connection.job_info(kind, &self.job).await?));
        }
        match self.expected.filter(|expected| *expected != self.count) {
            None => Ok(()),
            Some(expected) => {
                Err(self.unreadable(format!("there are {} records, and the org said {expected}", self.count)))
            }
        }
    }

    async fn event(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            // Kept before the first event is waited for, which the caller may give up.
            self.source = Source::Feed(Box::new(match &mut self.source {
                Source::Feed(feed) => return feed.next().await,
                Source::Chain(connection, first) => Feed::chain(connection.clone(), first.clone()),
                Source::Parallel(connection, job, at_once) => Feed::parallel(connection.clone(), job, *at_once).await?,
            }));
        }
    }

    fn unreadable(&self, reason: String) -> ClientError {
        let what = format!("the results of job {}", self.job);
        ClientError::Unreadable { org: self.org.clone(), what, reason, outcome_unknown: false }
    }

    /// The rows as values of a type of the caller's, by the names of the columns; an empty value is `None`.
    pub fn typed<T: DeserializeOwned + Send>(self) -> impl Stream<Item = Result<T, ClientError>> + Send {
        let header = None::<::csv::StringRecord>;
        stream::try_unfold((self, header), |(mut rows, mut header)| async move {
            let Some(row) = rows.next().await? else { return Ok(None) };
            let names = header.get_or_insert_with(|| row.columns().collect());
            let record: ::csv::StringRecord = row.values().collect();
            match record.deserialize(Some(names)) {
                Ok(value) => Ok(Some((value, (rows, header)))),
                Err(error) => Err(rows.unreadable(format!("row {}: {error}", rows.count))),
            }
        })
    }
}
