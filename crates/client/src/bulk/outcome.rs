//! What became of each row of an ingest, in the order of the input.
//!
//! The org tells it in three files, whose rows are the input's own with two columns more. Within each file they mostly
//! stand in the order of the input, so both are read side by side, and only rows that are out of order are remembered.

use std::collections::{HashMap, VecDeque};

use tokio::io::{AsyncRead, AsyncReadExt};

use super::csv::{Found, Parser, RowBuffer};
use super::ingest::{Ingest, IngestJob, Results};
use super::mark::Mark;
use super::rows::Rows;
use crate::error::ClientError;

/// What became of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was written.
    Success {
        /// The record's id.
        id: String,
        /// Was the record created?
        created: bool,
    },
    /// It was refused.
    Failure {
        /// The record's id, where the row named one.
        id: Option<String>,
        /// Salesforce's code, such as `REQUIRED_FIELD_MISSING`.
        code: String,
        /// Its words.
        message: String,
        /// Fields that it names.
        fields: Vec<String>,
    },
    /// The org did not come to it: send it again.
    Unprocessed,
    /// The results do not hold a row like it. The org may write values otherwise than they were sent.
    Unknown,
}

impl Outcome {
    /// `CODE:message:field, field --`, as result files have it.
    fn failure(id: &str, error: &str) -> Self {
        let error = error.trim_end().trim_end_matches("--").trim_end();
        let (code, rest) = error.split_once(':').unwrap_or((error, ""));
        let (message, fields) = rest.rsplit_once(':').unwrap_or((rest, ""));
        Outcome::Failure {
            id: Some(id.to_owned()).filter(|id| !id.is_empty()),
            code: code.to_owned(),
            message: message.to_owned(),
            fields: fields.split(',').map(|field| field.trim().to_owned()).filter(|field| !field.is_empty()).collect(),
        }
    }
}

/// Rows of the input with what became of them.
pub struct Outcomes<'a, R> {
    ingest: &'a Ingest,
    input: Input<R>,
    jobs: VecDeque<IngestJob>,
    job: Option<JobResults>,
    /// The row that was read, while what became of it is looked for.
    pending: Option<Mark>,
    row: u64,
}

impl<R> std::fmt::Debug for Outcomes<'_, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outcomes").field("row", &self.row).finish_non_exhaustive()
    }
}

/// The input, read once more.
struct Input<R> {
    reader: R,
    parser: Parser,
    chunk: Vec<u8>,
    at: usize,
    length: usize,
    ended: bool,
    columns: Option<RowBuffer>,
}

struct JobResults {
    until: u64,
    files: [ResultFile; 3],
    /// Rows that were read before their turn came, by what their values mean.
    early: HashMap<u64, VecDeque<(Mark, Outcome)>>,
}

struct ResultFile {
    which: Results,
    rows: Rows,
    /// The next row: its mark and what it says.
    head: Option<(Mark, Outcome)>,
    ended: bool,
    /// Where the input's columns stand in it.
    places: Option<Vec<Option<usize>>>,
}

impl Ingest {
    /// What became of each row of the input, which is read once more. Wait for the jobs first.
    ///
    /// ```no_run
    /// # async fn example(ingest: tieline_client::bulk::Ingest) -> Result<(), Box<dyn std::error::Error>> {
    /// use tieline_client::bulk::Outcome;
    ///
    /// let mut outcomes = ingest.outcomes(tokio::fs::File::open("contacts.csv").await?);
    /// while let Some((n, outcome)) = outcomes.next().await? {
    ///     if let Outcome::Failure { code, message, .. } = outcome {
    ///         println!("row {n}: {code}: {message}");
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    pub fn outcomes<R: AsyncRead + Unpin>(&self, input: R) -> Outcomes<'_, R> {
        let input = Input {
            reader: input,
            parser: Parser::new(self.handle.options.delimiter),
            chunk: vec![0; 64 * 1024],
            at: 0,
            length: 0,
            ended: false,
            columns: None,
        };
        Outcomes { ingest: self, input, jobs: self.handle.jobs.clone().into(), job: None, pending: None, row: 0 }
    }
}

impl<R: AsyncRead + Unpin> Outcomes<'_, R> {
    /// The next row's number, counted from 0, and what became of it; `None` after the last that was sent.
    ///
    /// # Errors
    /// As [`Rows::next`] and [`Ingest::feed_csv`].
    pub async fn next(&mut self) -> Result<Option<(u64, Outcome)>, ClientError> {
        if self.job.as_ref().is_none_or(|job| self.row >= job.until) {
            let Some(job) = self.jobs.pop_front() else { return Ok(None) };
            let of = |which| ResultFile {
                which,
                rows: self.ingest.results(&job, which),
                head: None,
                ended: false,
                places: None,
            };
            let files = [of(Results::Successful), of(Results::Failed), of(Results::Unprocessed)];
            self.job = Some(JobResults { until: job.first_row + job.rows, files, early: HashMap::new() });
        }
        let mark = match self.pending {
            Some(mark) => mark,
            None => {
                let unreadable = |reason: String| self.ingest.input(reason);
                if !self.input.next().await.map_err(unreadable)? {
                    return Err(self.ingest.input(format!("it has {} rows, and more were sent", self.row)));
                }
                *self.pending.insert(Mark::new(self.input.parser.row().iter()))
            }
        };
        let (Some(job), Some(columns)) = (&mut self.job, &self.input.columns) else { return Ok(None) };
        let outcome = job.find(mark, columns).await?;
        self.pending = None;
        self.row += 1;
        Ok(Some((self.row - 1, outcome)))
    }
}

impl<R: AsyncRead + Unpin> Input<R> {
    /// Reads the next row; false at the end.
    async fn next(&mut self) -> Result<bool, String> {
        loop {
            let mut rest = &self.chunk[self.at..self.length];
            if rest.is_empty() && !self.ended {
                self.length = self.reader.read(&mut self.chunk).await.map_err(|e| format!("it cannot be read: {e}"))?;
                self.at = 0;
                self.ended = self.length == 0;
                rest = &self.chunk[..self.length];
            }
            let found = self.parser.read(&mut rest);
            self.at = self.length - rest.len();
            match found {
                Found::Row if self.columns.is_none() => self.columns = Some(self.parser.row().clone()),
                Found::Row => return Ok(true),
                Found::NotText => return Err("it is not UTF-8".to_owned()),
                Found::NeedsMore if self.ended => return Ok(false),
                Found::NeedsMore => {}
            }
        }
    }
}

impl JobResults {
    async fn find(&mut self, mark: Mark, columns: &RowBuffer) -> Result<Outcome, ClientError> {
        // Mostly one of the three is next. Rows as they were sent go before rows that only mean the same.
        for close in [Mark::is_same, Mark::means_the_same] {
            if let Some(outcome) = self.early(mark, close) {
                return Ok(outcome);
            }
            for file in &mut self.files {
                if file.head(columns).await?.is_some_and(|next| close(&next, mark)) {
                    return Ok(file.head.take().map_or(Outcome::Unknown, |(_, outcome)| outcome));
                }
            }
        }
        loop {
            let mut ended = true;
            for file in &mut self.files {
                if let Some(next) = file.head(columns).await? {
                    ended = false;
                    if let Some((_, outcome)) = file.head.take() {
                        if next.means_the_same(mark) {
                            return Ok(outcome);
                        }
                        self.early.entry(next.meaning).or_default().push_back((next, outcome));
                    }
                }
            }
            if ended {
                return Ok(Outcome::Unknown);
            }
        }
    }

    fn early(&mut self, mark: Mark, close: fn(&Mark, Mark) -> bool) -> Option<Outcome> {
        let found = self.early.get_mut(&mark.meaning)?;
        let at = found.iter().position(|(one, _)| close(one, mark))?;
        let (_, outcome) = found.remove(at)?;
        if found.is_empty() {
            self.early.remove(&mark.meaning);
        }
        Some(outcome)
    }
}

impl ResultFile {
    /// The mark of the next row.
    async fn head(&mut self, columns: &RowBuffer) -> Result<Option<Mark>, ClientError> {
        if self.head.is_none() && !self.ended {
            match self.rows.next().await? {
                None => self.ended = true,
                Some(row) => {
                    let place = |name: &str| row.columns().position(|column| column.eq_ignore_ascii_case(name));
                    let places = self.places.get_or_insert_with(|| columns.iter().map(place).collect());
                    let mark = Mark::new(places.iter().map(|place| place.and_then(|n| row.at(n)).unwrap_or_default()));
                    let value = |name: &str| row.get(name).unwrap_or_default();
                    let outcome = match self.which {
                        Results::Successful => {
                            let created = value("sf__Created").eq_ignore_ascii_case("true");
                            Outcome::Success { id: value("sf__Id").to_owned(), created }
                        }
                        Results::Failed => Outcome::failure(value("sf__Id"), value("sf__Error")),
                        Results::Unprocessed => Outcome::Unprocessed,
                    };
                    self.head = Some((mark, outcome));
                }
            }
        }
        Ok(self.head.as_ref().map(|(mark, _)| *mark))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_result_files_are_taken_apart() {
        let failure = |id: &str, code: &str, message: &str, fields: &[&str]| Outcome::Failure {
            id: Some(id.to_owned()).filter(|id| !id.is_empty()),
            code: code.to_owned(),
            message: message.to_owned(),
            fields: fields.iter().map(|field| (*field).to_owned()).collect(),
        };
        for (id, error, expected) in [
            (
                "",
                "REQUIRED_FIELD_MISSING:Required fields are missing: [LastName]:LastName --",
                failure("", "REQUIRED_FIELD_MISSING", "Required fields are missing: [LastName]", &["LastName"]),
            ),
            (
                "003000000000001AAA",
                "UNABLE_TO_LOCK_ROW:unable to obtain exclusive access to this record or 200 records: 001xxx,001yyy:--",
                failure(
                    "003000000000001AAA",
                    "UNABLE_TO_LOCK_ROW",
                    "unable to obtain exclusive access to this record or 200 records: 001xxx,001yyy",
                    &[],
                ),
            ),
            ("", "X:y:A, B --", failure("", "X", "y", &["A", "B"])),
            ("", "", failure("", "", "", &[])),
        ] {
            assert_eq!(Outcome::failure(id, error), expected);
        }
    }
}
