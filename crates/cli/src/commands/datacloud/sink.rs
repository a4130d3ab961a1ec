//! Where rows go: to a table on the terminal, to standard output, or to a file that appears when it is whole.

use std::io::{BufWriter, ErrorKind, Write};
use std::path::PathBuf;

use tieline_datacloud::arrow_array::RecordBatch;
use tieline_datacloud::arrow_schema::SchemaRef;
use tieline_datacloud::output::{Format, Output, cells};

use crate::failure::Failure;
use crate::output;
use crate::place::{Place, unwritten, unwritten_file};

/// Rows that a table shows; a terminal is no place for more, and a table must be held to be laid out.
const TABLE_ROWS: usize = 1_000;

pub(super) enum Sink {
    Table { header: Vec<String>, rows: Vec<Vec<String>>, total: u64 },
    Stdout(Option<Output<BufWriter<std::io::Stdout>>>),
    File { whole: Option<Output<BufWriter<Place>>>, path: PathBuf, total: u64 },
}

impl Sink {
    /// `format`: `None` for a table.
    pub(super) fn open(format: Option<Format>, place: Option<Place>, schema: &SchemaRef) -> Result<Self, Failure> {
        match (format, place) {
            (None, _) => {
                let header = schema.fields().iter().map(|field| field.name().clone()).collect();
                Ok(Sink::Table { header, rows: Vec::new(), total: 0 })
            }
            (Some(format), None) => {
                let out = BufWriter::with_capacity(1 << 20, std::io::stdout());
                Ok(Sink::Stdout(Some(Output::new(format, out, schema).map_err(unwritten)?)))
            }
            (Some(format), Some(place)) => {
                let path = place.path().to_owned();
                let out = BufWriter::with_capacity(1 << 20, place);
                let whole = Output::new(format, out, schema).map_err(|e| unwritten_file(&path, &e))?;
                Ok(Sink::File { whole: Some(whole), path, total: 0 })
            }
        }
    }

    /// No further row would be shown.
    pub(super) fn is_full(&self) -> bool {
        matches!(self, Sink::Table { rows, .. } if rows.len() == TABLE_ROWS)
    }

    /// So many rows there are, shown or not.
    pub(super) fn counts(&mut self, rows: u64) {
        if let Sink::Table { total, .. } = self {
            *total = rows;
        }
    }

    /// False when the reader has seen enough.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<bool, Failure> {
        match self {
            Sink::Table { rows, total, .. } => {
                *total += batch.num_rows() as u64;
                let room = TABLE_ROWS - rows.len();
                if room > 0 {
                    rows.extend(cells(batch, room).map_err(unwritten)?);
                }
                Ok(true)
            }
            Sink::Stdout(out) => match out.as_mut().map_or(Ok(()), |out| out.write(batch)) {
                Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
                outcome => outcome.map(|()| true).map_err(unwritten),
            },
            Sink::File { whole, path, total } => {
                *total += batch.num_rows() as u64;
                let outcome = whole.as_mut().map_or(Ok(()), |whole| whole.write(batch));
                outcome.map(|()| true).map_err(|e| unwritten_file(path, &e))
            }
        }
    }

    /// `changed`: what a statement without result has done.
    pub(super) fn end(self, changed: Option<u64>) -> Result<(), Failure> {
        match self {
            Sink::Table { .. } if changed.is_some() => note!("{} rows changed", changed.unwrap_or_default()),
            Sink::Table { header, rows, total } => {
                let shown = rows.len() as u64;
                if shown > 0 {
                    let header: Vec<&str> = header.iter().map(String::as_str).collect();
                    let mut table = output::table(&header);
                    rows.into_iter().for_each(|row| table.add_row(row));
                    output::line(&table.to_string())?;
                }
                if shown < total {
                    note!("the first {shown} of {total} rows; --csv, --json and --output give all");
                } else {
                    note!("{total} {}", if total == 1 { "row" } else { "rows" });
                }
            }
            Sink::Stdout(out) => {
                let flushed = out.map_or(Ok(()), |out| out.finish().and_then(|mut out| out.flush()));
                match flushed {
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
                    outcome => outcome.map_err(unwritten)?,
                }
            }
            Sink::File { whole, path, total } => {
                let keep = |whole: Output<BufWriter<Place>>| {
                    whole.finish()?.into_inner().map_err(std::io::IntoInnerError::into_error)?.keep()
                };
                whole.map_or(Ok(()), keep).map_err(|e| unwritten_file(&path, &e))?;
                note!("{total} {} written to {}", if total == 1 { "row" } else { "rows" }, path.display());
            }
        }
        Ok(())
    }
}
