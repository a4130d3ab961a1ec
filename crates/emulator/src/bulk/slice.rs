//! Writes rows of a job while the org is held, and notes what became of each.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use csv::StringRecord;

use super::columns::Columns;
use super::io_error;
use super::job::{Format, Job, Phase};
use super::rows::{CHUNK, Done, Task, error_text, write_chunk};
use crate::api_error::ApiError;
use crate::org::Org;

/// The result files of a job, beside its upload.
pub(super) const UPLOAD: &str = "upload.csv";
pub(super) const SUCCESSFUL: &str = "successful.csv";
pub(super) const FAILED: &str = "failed.csv";

/// What a result file's header begins with.
pub(super) fn result_header(name: &str, job: &Job) -> Vec<u8> {
    let own = if name == SUCCESSFUL { ["sf__Id", "sf__Created"] } else { ["sf__Id", "sf__Error"] };
    let delimiter = char::from(job.format.delimiter);
    let mut header = format!("\"{}\"{delimiter}\"{}\"", own[0], own[1]).into_bytes();
    if !job.header.is_empty() {
        header.push(job.format.delimiter);
        header.extend(&job.header);
    }
    header.extend(job.format.line_ending().as_bytes());
    header
}

pub(super) struct Results {
    successful: BufWriter<File>,
    failed: BufWriter<File>,
    format: Format,
}

impl Results {
    pub(super) fn create(folder: &Path, format: Format) -> std::io::Result<Self> {
        let file = |name: &str| File::create(folder.join(name)).map(BufWriter::new);
        Ok(Results { successful: file(SUCCESSFUL)?, failed: file(FAILED)?, format })
    }

    fn write(&mut self, row: &StringRecord, outcome: &Result<Done, ApiError>) -> std::io::Result<()> {
        match outcome {
            Ok(done) => {
                let created = if done.created { "true" } else { "false" };
                write_line(&mut self.successful, [done.id.as_str(), created].into_iter().chain(row), self.format)
            }
            Err(error) => {
                let error = error_text(error);
                write_line(&mut self.failed, ["", error.as_str()].into_iter().chain(row), self.format)
            }
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.successful.flush()?;
        self.failed.flush()
    }
}

/// A line with every value in quotes, as the Bulk APIs write them.
pub(super) fn write_line<'a>(
    out: &mut impl Write,
    values: impl Iterator<Item = &'a str>,
    format: Format,
) -> std::io::Result<()> {
    for (at, value) in values.enumerate() {
        if at > 0 {
            out.write_all(&[format.delimiter])?;
        }
        write_quoted(out, value)?;
    }
    out.write_all(format.line_ending().as_bytes())
}

pub(super) fn write_quoted(out: &mut impl Write, value: &str) -> std::io::Result<()> {
    out.write_all(b"\"")?;
    if value.contains('"') {
        out.write_all(value.replace('"', "\"\"").as_bytes())?;
    } else {
        out.write_all(value.as_bytes())?;
    }
    out.write_all(b"\"")
}

/// Whether a job goes on after a slice.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    Go,
    /// It was aborted or deleted.
    Stop,
    Fail(String),
}

/// Writes the rows, which end at `end` in the upload. All of them become visible at once.
pub(super) fn write(
    org: &mut Org,
    id: &str,
    task: &Task,
    columns: &Columns,
    rows: &[StringRecord],
    end: u64,
    results: &mut Results,
) -> Result<Next, ApiError> {
    if org.bulk.jobs.get(id).is_none_or(|job| job.phase != Phase::InProgress) {
        return Ok(Next::Stop);
    }
    org.db.execute_batch("SAVEPOINT bulk")?;
    let written = write_rows(org, task, columns, rows, results);
    org.db.execute_batch("RELEASE bulk")?;
    let failed = written?;
    if let Some(job) = org.bulk.jobs.get_mut(id) {
        job.processed += rows.len() as u64;
        job.failed += failed;
        job.unprocessed_from = end;
    }
    Ok(Next::Go)
}

fn write_rows(
    org: &mut Org,
    task: &Task,
    columns: &Columns,
    rows: &[StringRecord],
    results: &mut Results,
) -> Result<u64, ApiError> {
    let mut failed = 0;
    for chunk in rows.chunks(CHUNK) {
        let read = chunk.iter().map(|record| columns.row(record)).collect();
        for (record, outcome) in chunk.iter().zip(write_chunk(org, task, read)) {
            failed += u64::from(outcome.is_err());
            results.write(record, &outcome).map_err(|e| io_error(&e))?;
        }
    }
    results.flush().map_err(|e| io_error(&e))?;
    Ok(failed)
}
