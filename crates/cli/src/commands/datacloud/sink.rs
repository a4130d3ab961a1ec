//! Where rows go: to a table on the terminal, to standard output, or to a file that appears when it is whole.

use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
use tieline_datacloud::arrow_array::RecordBatch;
use tieline_datacloud::arrow_schema::SchemaRef;
use tieline_datacloud::output::{Format, Output, cells};

use crate::failure::Failure;
use crate::output;

/// Rows that a table shows; a terminal is no place for more, and a table must be held to be laid out.
const TABLE_ROWS: usize = 1_000;

pub(super) enum Sink {
    Table { header: Vec<String>, rows: Vec<Vec<String>>, total: u64 },
    Stdout(Option<Output<BufWriter<std::io::Stdout>>>),
    File { whole: Option<Output<BufWriter<NamedTempFile>>>, path: PathBuf, total: u64 },
}

impl Sink {
    /// `format`: `None` for a table.
    pub(super) fn open(format: Option<Format>, file: Option<&Path>, schema: &SchemaRef) -> Result<Self, Failure> {
        match (format, file) {
            (None, _) => {
                let header = schema.fields().iter().map(|field| field.name().clone()).collect();
                Ok(Sink::Table { header, rows: Vec::new(), total: 0 })
            }
            (Some(format), None) => {
                let out = BufWriter::with_capacity(1 << 20, std::io::stdout());
                Ok(Sink::Stdout(Some(Output::new(format, out, schema).map_err(unwritten)?)))
            }
            (Some(format), Some(path)) => {
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
                let file = tempfile::Builder::new().prefix(".tieline-").tempfile_in(folder);
                let file = file.map_err(|e| unwritten_file(path, &e))?;
                let out = BufWriter::with_capacity(1 << 20, file);
                let whole = Output::new(format, out, schema).map_err(|e| unwritten_file(path, &e))?;
                Ok(Sink::File { whole: Some(whole), path: path.to_owned(), total: 0 })
            }
        }
    }

    /// False when the reader has seen enough.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<bool, Failure> {
        match self {
            Sink::Table { rows, total, .. } => {
                *total += batch.num_rows() as u64;
                let room = TABLE_ROWS - rows.len();
                rows.extend(cells(batch, room).map_err(unwritten)?);
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
            Sink::Table { .. } if changed.is_some() => eprintln!("{} rows changed", changed.unwrap_or_default()),
            Sink::Table { header, rows, total } => {
                let shown = rows.len() as u64;
                if shown > 0 {
                    let header: Vec<&str> = header.iter().map(String::as_str).collect();
                    let mut table = output::table(&header);
                    table.add_rows(rows);
                    output::line(&table.to_string())?;
                }
                if shown < total {
                    eprintln!("the first {shown} of {total} rows; --csv, --json and --output give all");
                } else {
                    eprintln!("{total} {}", if total == 1 { "row" } else { "rows" });
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
                let keep = |whole: Output<BufWriter<NamedTempFile>>| {
                    let file = whole.finish()?.into_inner().map_err(std::io::IntoInnerError::into_error)?;
                    file.as_file().sync_all()?;
                    open_to_others(file.as_file())?;
                    file.persist(&path).map_err(|e| e.error).map(drop)
                };
                whole.map_or(Ok(()), keep).map_err(|e| unwritten_file(&path, &e))?;
                eprintln!("{total} rows written to {}", path.display());
            }
        }
        Ok(())
    }
}

/// A temporary file is its owner's alone; a result is a file like any other.
#[cfg(unix)]
fn open_to_others(file: &std::fs::File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn open_to_others(_: &std::fs::File) -> std::io::Result<()> {
    Ok(())
}

fn unwritten(error: std::io::Error) -> Failure {
    Failure::new(format!("the rows cannot be written: {error}"), "choose another format, or cast the column in SQL")
}

fn unwritten_file(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(
        format!("{} cannot be written: {error}", path.display()),
        "see that the folder is there, is yours and has room; or choose another format",
    )
}
