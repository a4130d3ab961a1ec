//! Results as files: CSV, JSON lines, Parquet, Arrow IPC. Batches go in, bytes come out; memory does not grow with the
//! result.

use std::io::{ErrorKind, Write};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::{ArrayRef, RecordBatch};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_ipc::writer::{FileWriter, StreamWriter};
use arrow_json::writer::{LineDelimited, WriterBuilder as JsonBuilder};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

/// A row group is closed when it holds so much: readers load one at a time, and so does this writer.
const ROW_GROUP: usize = 64 << 20;

/// What a result can be written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated, with a header; times in ISO 8601, nothing for null.
    Csv,
    /// One JSON object a line; nulls are written.
    JsonLines,
    /// Apache Parquet, compressed with Snappy.
    Parquet,
    /// An Arrow IPC stream, for what is read as it comes.
    Arrow,
    /// An Arrow IPC file (Feather), for what is read from any place.
    ArrowFile,
}

impl Format {
    /// By a file's name: `.csv`, `.jsonl` or `.ndjson`, `.parquet`, `.arrows` for a stream and `.arrow` or `.feather` for a
    /// file of Arrow.
    pub fn of_file_name(name: &str) -> Option<Self> {
        match name.rsplit_once('.')?.1.to_ascii_lowercase().as_str() {
            "csv" => Some(Format::Csv),
            "jsonl" | "ndjson" | "json" => Some(Format::JsonLines),
            "parquet" => Some(Format::Parquet),
            "arrows" => Some(Format::Arrow),
            "arrow" | "feather" => Some(Format::ArrowFile),
            _ => None,
        }
    }
}

/// The last kind of failure of what is written to. The formats' writers make texts of errors, and whoever writes to a pipe
/// must know that it broke.
type Failed = Arc<Mutex<Option<ErrorKind>>>;

struct Watched<W> {
    to: W,
    failed: Failed,
}

impl<W: Write> Watched<W> {
    fn seen<T>(&self, outcome: std::io::Result<T>) -> std::io::Result<T> {
        if let Err(error) = &outcome {
            *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.kind());
        }
        outcome
    }
}

impl<W: Write> Write for Watched<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let outcome = self.to.write(bytes);
        self.seen(outcome)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let outcome = self.to.flush();
        self.seen(outcome)
    }
}

/// Writes batches of one schema.
///
/// ```
/// use std::sync::Arc;
/// use tieline_datacloud::arrow_array::{Int64Array, RecordBatch};
/// use tieline_datacloud::output::{Format, Output};
///
/// let batch = RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![1, 2])) as _)])?;
/// let mut out = Output::new(Format::Csv, Vec::new(), &batch.schema())?;
/// out.write(&batch)?;
/// assert_eq!(out.finish()?, b"n\n1\n2\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Output<W: Write + Send> {
    writer: Writer<Watched<W>>,
    failed: Failed,
    /// As it is written.
    schema: SchemaRef,
}

enum Writer<W: Write + Send> {
    Csv(Box<arrow_csv::Writer<W>>, Option<SchemaRef>),
    Json(Box<arrow_json::Writer<W, LineDelimited>>),
    Parquet(Box<ArrowWriter<W>>),
    Arrow(Box<StreamWriter<W>>),
    ArrowFile(Box<FileWriter<W>>),
}

impl<W: Write + Send> std::fmt::Debug for Output<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let format = match &self.writer {
            Writer::Csv(..) => Format::Csv,
            Writer::Json(_) => Format::JsonLines,
            Writer::Parquet(_) => Format::Parquet,
            Writer::Arrow(_) => Format::Arrow,
            Writer::ArrowFile(_) => Format::ArrowFile,
        };
        f.debug_tuple("Output").field(&format).finish()
    }
}

impl<W: Write + Send> Output<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// When it cannot be written, or the format has no place for one of the types.
    pub fn new(format: Format, to: W, schema: &SchemaRef) -> std::io::Result<Self> {
        let written = with_days(schema);
        let schema = &written;
        let failed = Failed::default();
        let to = Watched { to, failed: failed.clone() };
        let writer = match format {
            // The header is due even if no batch follows.
            Format::Csv => Writer::Csv(Box::new(arrow_csv::WriterBuilder::new().build(to)), Some(schema.clone())),
            Format::JsonLines => {
                Writer::Json(Box::new(JsonBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(to)))
            }
            Format::Parquet => {
                let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
                let writer = ArrowWriter::try_new(to, Arc::clone(schema), Some(properties));
                Writer::Parquet(Box::new(writer.map_err(of_parquet)?))
            }
            Format::Arrow => Writer::Arrow(Box::new(StreamWriter::try_new(to, schema).map_err(of_arrow)?)),
            Format::ArrowFile => Writer::ArrowFile(Box::new(FileWriter::try_new(to, schema).map_err(of_arrow)?)),
        };
        Ok(Self { writer, failed, schema: written })
    }

    /// Adds a batch.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&mut self, batch: &RecordBatch) -> std::io::Result<()> {
        let outcome = self.write_as_it_is(batch);
        outcome.map_err(|error| of_kind(error, &self.failed))
    }

    fn write_as_it_is(&mut self, batch: &RecordBatch) -> std::io::Result<()> {
        let as_it_comes = self.schema == batch.schema();
        let cast = (!as_it_comes).then(|| in_days(batch, &self.schema)).transpose().map_err(of_arrow)?;
        let batch = cast.as_ref().unwrap_or(batch);
        match &mut self.writer {
            Writer::Csv(writer, header) => {
                *header = None;
                writer.write(batch).map_err(of_arrow)
            }
            Writer::Json(writer) => writer.write(batch).map_err(of_arrow),
            Writer::Arrow(writer) => writer.write(batch).map_err(of_arrow),
            Writer::ArrowFile(writer) => writer.write(batch).map_err(of_arrow),
            Writer::Parquet(writer) => {
                writer.write(batch).map_err(of_parquet)?;
                if writer.in_progress_size() > ROW_GROUP {
                    writer.flush().map_err(of_parquet)?;
                }
                Ok(())
            }
        }
    }

    /// Ends the file; answers where it was written to. Without this a Parquet file cannot be read.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(self) -> std::io::Result<W> {
        let failed = self.failed.clone();
        self.finish_as_it_is().map(|watched| watched.to).map_err(|error| of_kind(error, &failed))
    }

    fn finish_as_it_is(self) -> std::io::Result<Watched<W>> {
        match self.writer {
            Writer::Csv(mut writer, header) => {
                if let Some(schema) = header {
                    writer.write(&RecordBatch::new_empty(schema)).map_err(of_arrow)?;
                }
                Ok(writer.into_inner())
            }
            Writer::Json(mut writer) => {
                writer.finish().map_err(of_arrow)?;
                Ok(writer.into_inner())
            }
            Writer::Parquet(writer) => writer.into_inner().map_err(of_parquet),
            Writer::Arrow(mut writer) => {
                writer.finish().map_err(of_arrow)?;
                writer.into_inner().map_err(of_arrow)
            }
            Writer::ArrowFile(mut writer) => {
                writer.finish().map_err(of_arrow)?;
                writer.into_inner().map_err(of_arrow)
            }
        }
    }
}

/// The first rows of a batch as text, for people: nothing for null.
///
/// # Errors
/// When a type has no text.
pub fn cells(batch: &RecordBatch, at_most: usize) -> std::io::Result<Vec<Vec<String>>> {
    let batch = in_days(batch, &with_days(&batch.schema())).map_err(of_arrow)?;
    let options = FormatOptions::default();
    let columns: Result<Vec<_>, _> = batch.columns().iter().map(|c| ArrayFormatter::try_new(c, &options)).collect();
    let columns = columns.map_err(of_arrow)?;
    let row = |row: usize| columns.iter().map(|column| column.value(row).to_string()).collect();
    Ok((0..batch.num_rows().min(at_most)).map(row).collect())
}

/// Hyper's dates come as milliseconds, which many readers take for moments. As days they are dates everywhere.
fn with_days(schema: &SchemaRef) -> SchemaRef {
    let days = |field: &Arc<Field>| match field.data_type() {
        DataType::Date64 => Arc::new(Field::clone(field).with_data_type(DataType::Date32)),
        _ => field.clone(),
    };
    let fields: Vec<_> = schema.fields().iter().map(days).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

fn in_days(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let cast = |(column, field): (&ArrayRef, &Arc<Field>)| arrow_cast::cast(column, field.data_type());
    let columns = batch.columns().iter().zip(schema.fields()).map(cast).collect::<Result<_, _>>()?;
    RecordBatch::try_new(schema.clone(), columns)
}

fn of_arrow(error: ArrowError) -> std::io::Error {
    std::io::Error::other(error)
}

fn of_parquet(error: ParquetError) -> std::io::Error {
    std::io::Error::other(error)
}

/// An error of the kind that was seen where it was written to.
fn of_kind(error: std::io::Error, failed: &Failed) -> std::io::Error {
    match *failed.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(kind) => std::io::Error::new(kind, error.to_string()),
        None => error,
    }
}
