//! Where records go: to a table on the terminal, to standard output, or to a file that appears when it is whole.

use std::io::{BufWriter, ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use serde::Serialize;
use tieline_client::Record;
use tieline_client::bulk::Row;

use crate::cells::{cell, without_attributes};
use crate::failure::Failure;
use crate::output;
use crate::place::{Place, unwritten, unwritten_file};
use crate::visible::Visible;

/// Rows that a table shows; a terminal is no place for more, and a table must be held to be laid out.
const TABLE_ROWS: usize = 1_000;

/// How records are written, and where to.
#[derive(clap::Args, Clone, Default)]
pub(crate) struct Format {
    /// One JSON object a line
    #[arg(long, conflicts_with = "csv")]
    pub(crate) json: bool,
    /// CSV with a header
    #[arg(long)]
    pub(crate) csv: bool,
    /// File to write; it appears when it is whole. Its name may tell the format (.csv, .jsonl)
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Each of its methods answers false when the reader has seen enough.
pub(crate) struct Sink {
    form: Form,
    file: Option<PathBuf>,
    headed: bool,
    rows: u64,
}

enum Form {
    Table { header: Vec<String>, rows: Vec<Vec<String>> },
    Json(Out),
    Csv(Box<csv::Writer<Out>>),
}

enum Out {
    Stdout(BufWriter<std::io::Stdout>),
    Terminal(Visible<BufWriter<std::io::Stdout>>),
    File(BufWriter<Place>),
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Out::Stdout(out) => out.write(bytes),
            Out::Terminal(out) => out.write(bytes),
            Out::File(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Out::Stdout(out) => out.flush(),
            Out::Terminal(out) => out.flush(),
            Out::File(out) => out.flush(),
        }
    }
}

impl Format {
    pub(crate) fn json() -> Self {
        Self { json: true, ..Self::default() }
    }

    /// `-` is standard output, as everywhere.
    fn file(&self) -> Option<&Path> {
        self.output.as_deref().filter(|file| file.as_os_str() != "-")
    }

    /// For people, and not for programs.
    pub(crate) fn is_table(&self) -> bool {
        !self.json && !self.csv && self.file().is_none()
    }
}

impl Sink {
    /// What cannot be written is told here, before anything is asked of the org.
    pub(crate) fn open(format: &Format) -> Result<Self, Failure> {
        let of_name =
            format.file().and_then(Path::extension).map(|ending| ending.to_string_lossy().to_ascii_lowercase());
        let csv = match (format.json, format.csv, of_name.as_deref()) {
            (true, ..) | (_, false, Some("jsonl" | "ndjson" | "json")) => false,
            (_, true, _) | (_, _, Some("csv")) => true,
            _ => match format.file() {
                None => {
                    return Ok(Self {
                        form: Form::Table { header: Vec::new(), rows: Vec::new() },
                        file: None,
                        headed: false,
                        rows: 0,
                    });
                }
                Some(file) => {
                    return Err(Failure::usage(
                        format!("`{}` does not tell a format", file.display()),
                        "end its name in .csv or .jsonl, or add --csv or --json",
                    ));
                }
            },
        };
        let stdout = || BufWriter::with_capacity(1 << 16, std::io::stdout());
        let out = match format.file() {
            // JSON escapes by rules of its own.
            None if csv && std::io::stdout().is_terminal() => Out::Terminal(Visible::new(stdout())),
            None => Out::Stdout(stdout()),
            Some(file) => Out::File(BufWriter::with_capacity(1 << 20, Place::prepare(file)?)),
        };
        let form = if csv { Form::Csv(Box::new(csv::Writer::from_writer(out))) } else { Form::Json(out) };
        Ok(Self { form, file: format.file().map(Path::to_owned), headed: false, rows: 0 })
    }

    /// A bar of rows, unless it would stand among them.
    pub(crate) fn bar(&self) -> ProgressBar {
        let among = !matches!(self.form, Form::Table { .. }) && self.file.is_none() && std::io::stdout().is_terminal();
        if among { ProgressBar::hidden() } else { output::late_rows_bar() }
    }

    /// For programs that understand structure.
    pub(crate) fn is_json(&self) -> bool {
        matches!(self.form, Form::Json(_))
    }

    /// Rows so far.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// No further row would be shown.
    pub(crate) fn is_full(&self) -> bool {
        matches!(&self.form, Form::Table { rows, .. } if rows.len() == TABLE_ROWS)
    }

    /// Only the first one counts.
    pub(crate) fn header(&mut self, columns: &[String]) -> Result<bool, Failure> {
        if self.headed {
            return Ok(true);
        }
        self.headed = !columns.is_empty();
        let outcome = match &mut self.form {
            Form::Table { header, .. } => {
                *header = columns.to_vec();
                Ok(())
            }
            Form::Csv(csv) if self.headed => csv.write_record(columns).map_err(of_csv),
            _ => Ok(()),
        };
        self.wrote(outcome)
    }

    /// A record, of which tables and CSV show these columns.
    pub(crate) fn record(&mut self, columns: &[String], record: Record) -> Result<bool, Failure> {
        self.rows += 1;
        let record = without_attributes(record);
        let cells = || columns.iter().map(|column| cell(&record, column));
        let outcome = match &mut self.form {
            Form::Json(out) => line(out, &record),
            Form::Csv(csv) => csv.write_record(cells()).map_err(of_csv),
            Form::Table { rows, .. } => {
                if rows.len() < TABLE_ROWS {
                    rows.push(cells().collect());
                }
                Ok(())
            }
        };
        self.wrote(outcome)
    }

    /// A row of a job's results, the first with the header.
    pub(crate) fn row(&mut self, row: &Row<'_>) -> Result<bool, Failure> {
        if !self.headed {
            let columns: Vec<String> = row.columns().map(str::to_owned).collect();
            if !self.header(&columns)? {
                return Ok(false);
            }
        }
        self.rows += 1;
        let outcome = match &mut self.form {
            Form::Json(out) => line(out, &Named(row)),
            Form::Csv(csv) => csv.write_record(row.values()).map_err(of_csv),
            Form::Table { rows, .. } => {
                if rows.len() < TABLE_ROWS {
                    rows.push(row.values().map(str::to_owned).collect());
                }
                Ok(())
            }
        };
        self.wrote(outcome)
    }

    /// What has come so far is not held back while more is waited for.
    pub(crate) fn flush(&mut self) -> Result<bool, Failure> {
        let outcome = match &mut self.form {
            Form::Json(out) => out.flush(),
            Form::Csv(csv) => csv.flush(),
            Form::Table { .. } => Ok(()),
        };
        self.wrote(outcome)
    }

    /// `total`: how many there are, shown or not; `what` names one of them, or nothing where they are told otherwise.
    pub(crate) fn end(mut self, total: u64, what: &str) -> Result<(), Failure> {
        if !self.flush()? {
            return Ok(());
        }
        let noun = if what.is_empty() { "row" } else { what };
        let out = match self.form {
            Form::Table { header, rows } => {
                let shown = rows.len() as u64;
                if shown > 0 {
                    let header: Vec<&str> = header.iter().map(String::as_str).collect();
                    let mut table = output::table(&header);
                    rows.into_iter().for_each(|row| table.add_row(row));
                    output::line(&table.to_string())?;
                }
                if shown == TABLE_ROWS as u64 && shown < total {
                    note!("the first {shown} of {}; --csv and --json give all", output::count(total, noun));
                } else if !what.is_empty() {
                    note!("{}", output::count(total, what));
                }
                return Ok(());
            }
            Form::Json(out) => out,
            Form::Csv(csv) => match csv.into_inner() {
                Ok(out) => out,
                Err(error) => return Err(unwritten(std::io::Error::from(error.error().kind()))),
            },
        };
        if let (Out::File(out), Some(file)) = (out, self.file) {
            let kept = out.into_inner().map_err(std::io::IntoInnerError::into_error).and_then(Place::keep);
            kept.map_err(|error| unwritten_file(&file, &error))?;
            note!("{} written to {}", output::count(self.rows, noun), file.display());
        }
        Ok(())
    }

    fn wrote(&self, outcome: std::io::Result<()>) -> Result<bool, Failure> {
        match (outcome, &self.file) {
            (Ok(()), _) => Ok(true),
            (Err(error), None) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
            (Err(error), None) => Err(unwritten(error)),
            (Err(error), Some(file)) => Err(unwritten_file(file, &error)),
        }
    }
}

/// What the system said, where it was the system.
pub(crate) fn of_csv(error: csv::Error) -> std::io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => std::io::Error::other(format!("{other:?}")),
    }
}

fn line(out: &mut Out, value: &impl Serialize) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

/// A row as an object; an empty value is null.
struct Named<'a>(&'a Row<'a>);

impl Serialize for Named<'_> {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.columns().zip(self.0.values().map(|value| Some(value).filter(|value| !value.is_empty()))))
    }
}
