//! `tieline datacloud query`: SQL to a table, CSV, JSON lines, Parquet or Arrow.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::ProgressBar;
use tieline_datacloud::arrow_array::RecordBatch;
use tieline_datacloud::arrow_schema::SchemaRef;
use tieline_datacloud::output::Format;
use tieline_datacloud::rest::RestResults;
use tieline_datacloud::{DataCloud, DataCloudError, Results, Transfer};

use super::Tenant;
use super::parameter::parameter;
use super::sink::Sink;
use crate::commands::stopped;
use crate::failure::Failure;
use crate::output;
use crate::place::Place;
use crate::setup::bootstrap::ENDED_BY_A_PERSON;

/// Run SQL in Data Cloud
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline datacloud query 'SELECT * FROM \"ssot__Individual__dlm\" LIMIT 10'
  tieline datacloud query --output people.parquet 'SELECT * FROM \"ssot__Individual__dlm\"'
  tieline datacloud query --json --param /pricing 'SELECT * FROM \"WebEngagement__dll\" WHERE \"page__c\" = ?'
  tieline datacloud query --rest --csv - < report.sql

Names are case-sensitive and stand in double quotes. A query that is stopped with Ctrl-C is cancelled; `--id` reads the
result of one that ran before, as long as Data Cloud keeps it.")]
pub(crate) struct Query {
    #[command(flatten)]
    tenant: Tenant,
    /// The statement; `-` reads it from standard input
    #[arg(required_unless_present = "id")]
    sql: Option<String>,
    /// One JSON object a line
    #[arg(long, conflicts_with_all = ["csv", "format"])]
    json: bool,
    /// CSV with a header
    #[arg(long, conflicts_with = "format")]
    csv: bool,
    /// Format [default: by the name of the output file, else a table]
    #[arg(long, value_enum)]
    format: Option<Form>,
    /// File to write; it appears when it is whole
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Value of the next `?`; numbers, true, false and null as in JSON, all else is text. Repeat it for more
    #[arg(long = "param", value_name = "VALUE", allow_hyphen_values = true)]
    parameters: Vec<String>,
    /// Value of a named parameter (`:name`), written likewise
    #[arg(long = "named", value_name = "NAME=VALUE", conflicts_with = "parameters")]
    named: Vec<String>,
    /// Stop after so many rows
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Over the REST API, where gRPC does not get through
    #[arg(long, conflicts_with_all = ["parameters", "named", "limit", "in_background", "id"])]
    rest: bool,
    /// For queries that run long: the answer brings no rows, they are fetched when they are there
    #[arg(long = "async")]
    in_background: bool,
    /// Read the result of a query that ran before, by its id
    #[arg(long, value_name = "ID", conflicts_with_all = ["sql", "parameters", "named", "limit", "in_background"])]
    id: Option<String>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Form {
    Table,
    Csv,
    Jsonl,
    Parquet,
    Arrow,
}

enum Rows {
    Grpc(Results),
    /// Of a query that somebody else has sent, or that ran before: it is not ours to end.
    Found(Results),
    Rest(RestResults),
}

impl Query {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let format = self.format()?;
        let sql = match self.sql.as_deref() {
            Some("-") => std::io::read_to_string(std::io::stdin())?,
            Some(sql) => sql.to_owned(),
            None => String::new(),
        };
        if self.id.is_none() && sql.trim().is_empty() {
            return Err(Failure::usage(
                "there is no statement",
                "write it as an argument, or into standard input with `-`",
            ));
        }
        // What cannot be written is told before a query is paid for.
        let place = self.file().map(Place::prepare).transpose()?;
        let cloud = self.tenant.connect().await?;
        let mut rows = tokio::select! {
            rows = self.begin(&cloud, sql.trim()) => rows?,
            () = stopped() => return Err(Failure::told(ENDED_BY_A_PERSON)),
        };
        if let (true, Rows::Grpc(results)) = (self.in_background, &rows) {
            let id = results.status().query_id;
            note!("query {id}; its result can be read again by --id");
        }
        let progress = output::rows_bar();
        let copied = tokio::select! {
            copied = copy(&mut rows, format, place, &progress) => copied,
            () = stopped() => {
                progress.finish_and_clear();
                return Err(rows.end().await);
            }
        };
        progress.finish_and_clear();
        match copied {
            Ok(Some(sink)) => sink.end(rows.changed()),
            // Whoever read the rows has seen enough.
            Ok(None) => {
                rows.give_up().await;
                Ok(())
            }
            Err(failure) => {
                rows.give_up().await;
                Err(failure)
            }
        }
    }

    async fn begin(&self, cloud: &DataCloud, sql: &str) -> Result<Rows, Failure> {
        if let Some(id) = &self.id {
            return Ok(Rows::Found(cloud.results(id).await?));
        }
        if self.rest {
            return Ok(Rows::Rest(cloud.query_by_rest(sql).await?));
        }
        let mut query = cloud.query(sql);
        if self.in_background {
            query = query.transfer(Transfer::Async);
        }
        if let Some(rows) = self.limit {
            query = query.row_limit(rows);
        }
        for value in &self.parameters {
            query = query.bind(parameter(value));
        }
        for named in &self.named {
            let (name, value) = named
                .split_once('=')
                .ok_or_else(|| Failure::usage(format!("`{named}` names no value"), "write --named NAME=VALUE"))?;
            query = query.bind_named(name, parameter(value));
        }
        Ok(Rows::Grpc(query.run().await?))
    }

    /// `-` is standard output, as everywhere.
    fn file(&self) -> Option<&Path> {
        self.output.as_deref().filter(|file| file.as_os_str() != "-")
    }

    fn format(&self) -> Result<Option<Format>, Failure> {
        let named = match (self.json, self.csv, self.format) {
            (true, ..) | (_, _, Some(Form::Jsonl)) => Some(Format::JsonLines),
            (_, true, _) | (_, _, Some(Form::Csv)) => Some(Format::Csv),
            (_, _, Some(Form::Parquet)) => Some(Format::Parquet),
            (_, _, Some(Form::Arrow)) => Some(Format::Arrow),
            (_, _, Some(Form::Table)) if self.file().is_some() => {
                return Err(Failure::usage("a table is for the terminal", "choose another --format for a file"));
            }
            (_, _, Some(Form::Table)) => return Ok(None),
            (_, _, None) => None,
        };
        let of_name = self.file().and_then(|file| Format::of_file_name(&file.to_string_lossy()));
        if let (Some(named), Some(of_name), Some(file)) = (named, of_name, self.file())
            && named != of_name
            && !matches!((named, of_name), (Format::Arrow, Format::ArrowFile))
        {
            return Err(Failure::usage(
                format!("`{}` is the name of another format than the one that was chosen", file.display()),
                "give the file another name, or leave the format out",
            ));
        }
        let by_name = || match (self.file(), of_name) {
            (Some(file), None) => Err(Failure::usage(
                format!("`{}` does not tell a format", file.display()),
                "end its name in .csv, .jsonl, .parquet, .arrow (a file) or .arrows (a stream), or add --format",
            )),
            (_, of_name) => Ok(of_name),
        };
        // A file that is called so is not a stream.
        let named = match (named, of_name) {
            (Some(Format::Arrow), Some(Format::ArrowFile)) => Some(Format::ArrowFile),
            (named, _) => named,
        };
        let format = named.map_or_else(by_name, |format| Ok(Some(format)))?;
        if matches!(format, Some(Format::Parquet | Format::Arrow | Format::ArrowFile))
            && self.file().is_none()
            && std::io::stdout().is_terminal()
        {
            return Err(Failure::usage(
                "a terminal cannot show this format",
                "add --output FILE, or send it to a program",
            ));
        }
        Ok(format)
    }
}

/// Copies all rows that have a place; nothing when the reader has seen enough.
async fn copy(
    rows: &mut Rows,
    format: Option<Format>,
    place: Option<Place>,
    progress: &ProgressBar,
) -> Result<Option<Sink>, Failure> {
    let mut sink = Sink::open(format, place, rows.schema())?;
    while let Some(batch) = rows.next().await? {
        let total = rows.total();
        if let (Some(total), None) = (total, progress.length()) {
            output::total_is(progress, total);
        }
        progress.inc(batch.num_rows() as u64);
        // Compressing and writing take their time; the next parts come meanwhile.
        if !tokio::task::block_in_place(|| sink.write(&batch))? {
            return Ok(None);
        }
        if let (true, Some(total)) = (sink.is_full(), total) {
            sink.counts(total);
            break;
        }
    }
    Ok(Some(sink))
}

impl Rows {
    fn schema(&self) -> &SchemaRef {
        match self {
            Rows::Grpc(rows) | Rows::Found(rows) => rows.schema(),
            Rows::Rest(rows) => rows.schema(),
        }
    }

    async fn next(&mut self) -> Result<Option<RecordBatch>, DataCloudError> {
        match self {
            Rows::Grpc(rows) | Rows::Found(rows) => rows.next().await,
            Rows::Rest(rows) => rows.next().await,
        }
    }

    /// How many there are, once that is known.
    fn total(&self) -> Option<u64> {
        match self {
            Rows::Grpc(rows) | Rows::Found(rows) => {
                Some(rows.status()).filter(|status| status.complete).map(|status| status.rows)
            }
            Rows::Rest(_) => None,
        }
    }

    /// Nobody wants the rest. The program ends next, and what was only spawned with it.
    async fn give_up(self) {
        if let Rows::Grpc(rows) = self
            && !rows.status().complete
            && let Ok(Err(error)) = tokio::time::timeout(Duration::from_secs(5), rows.cancel()).await
        {
            tracing::warn!("{error}");
        }
    }

    /// Rows that a statement without result has changed.
    fn changed(&self) -> Option<u64> {
        match self {
            Rows::Grpc(rows) | Rows::Found(rows) if !rows.has_rows() => Some(rows.status().rows),
            _ => None,
        }
    }

    /// Somebody has stopped the command.
    async fn end(self) -> Failure {
        match self {
            Rows::Rest(_) => {}
            Rows::Found(rows) => note!("stopped reading; query {} goes on", rows.status().query_id),
            Rows::Grpc(rows) => {
                let status = rows.status();
                if status.complete {
                    note!("stopped; `tieline datacloud query --id {}` reads the result", status.query_id);
                } else {
                    match rows.cancel().await {
                        Ok(()) => note!("query {} is cancelled", status.query_id),
                        Err(error) => return error.into(),
                    }
                }
            }
        }
        Failure::told(ENDED_BY_A_PERSON)
    }
}
