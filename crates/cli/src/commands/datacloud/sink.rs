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
    File { whole: Option<Output<BufWriter<Place>>>, path: PathBuf, total: u64 },
}

/// Where a file is going to be.
pub(super) enum Place {
    /// Beside its place until it is whole.
    Beside(NamedTempFile, PathBuf),
    /// A device or a pipe, which is written to as it is.
    Straight(std::fs::File, PathBuf),
}

impl Place {
    pub(super) fn prepare(path: &Path) -> Result<Self, Failure> {
        let prepare = || {
            let there = std::fs::metadata(path).ok();
            if there.as_ref().is_some_and(|there| !there.is_file()) {
                return Ok(Place::Straight(std::fs::File::options().write(true).open(path)?, path.to_owned()));
            }
            // Where a link leads to, and with the rights that somebody has given the file.
            let place = if there.is_some() { path.canonicalize()? } else { path.to_owned() };
            let folder = place.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let mut beside = tempfile::Builder::new();
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt;
                // Less what the user's umask takes away: a result is a file like any other.
                beside.permissions(std::fs::Permissions::from_mode(0o666));
            }
            let file = beside.prefix(".tieline-").tempfile_in(folder)?;
            if let Some(there) = there {
                file.as_file().set_permissions(there.permissions())?;
            }
            Ok(Place::Beside(file, place))
        };
        prepare().map_err(|e| unwritten_file(path, &e))
    }

    fn path(&self) -> &Path {
        match self {
            Place::Beside(_, path) | Place::Straight(_, path) => path,
        }
    }

    fn keep(self) -> std::io::Result<()> {
        match self {
            Place::Straight(mut file, _) => file.flush(),
            Place::Beside(file, path) => {
                file.as_file().sync_all()?;
                file.persist(path).map_err(|e| e.error).map(drop)
            }
        }
    }
}

impl Write for Place {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Place::Beside(file, _) => file.write(bytes),
            Place::Straight(file, _) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Place::Beside(file, _) => file.flush(),
            Place::Straight(file, _) => file.flush(),
        }
    }
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
                let keep = |whole: Output<BufWriter<Place>>| {
                    whole.finish()?.into_inner().map_err(std::io::IntoInnerError::into_error)?.keep()
                };
                whole.map_or(Ok(()), keep).map_err(|e| unwritten_file(&path, &e))?;
                eprintln!("{total} {} written to {}", if total == 1 { "row" } else { "rows" }, path.display());
            }
        }
        Ok(())
    }
}

fn unwritten(error: std::io::Error) -> Failure {
    Failure::new(format!("the rows cannot be written: {error}"), hint(&error))
}

fn unwritten_file(path: &Path, error: &std::io::Error) -> Failure {
    // Not the temporary name, which tells nobody anything.
    let reason = std::io::Error::from(error.kind());
    let reason = if error.kind() == ErrorKind::Other { error.to_string() } else { reason.to_string() };
    Failure::new(format!("{} cannot be written: {reason}", path.display()), hint(error))
}

fn hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::Other => "choose another format, or cast the column to text in SQL",
        _ => "see that the folder is there, is yours and has room",
    }
}
