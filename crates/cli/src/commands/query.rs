//! `tieline query`: SOQL to a table, JSON lines or CSV.

use serde_json::{Value, json};
use tieline_client::Record;

use crate::failure::Failure;
use crate::output;
use crate::settings::OrgChoice;

/// Rows that a table shows; a terminal is no place for more, and a table must be held to be laid out.
const TABLE_ROWS: usize = 1_000;

/// Run a SOQL query
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline query \"SELECT Name, Email, Account.Name FROM Contact LIMIT 10\"
  tieline query --csv \"SELECT Id, Name FROM Account\" > accounts.csv
  tieline query --json \"SELECT Id FROM Lead\" | jq -r .Id
  echo \"SELECT COUNT() FROM Contact\" | tieline query -")]
pub(crate) struct Query {
    #[command(flatten)]
    org: OrgChoice,
    /// The query; `-` reads it from standard input
    soql: String,
    /// One JSON object a line
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// CSV with a header
    #[arg(long)]
    csv: bool,
    /// Deleted and archived records too
    #[arg(long)]
    all: bool,
}

/// Where rows go. Each answers false when the reader has seen enough.
enum Sink {
    Json,
    Csv(Box<csv::Writer<std::io::Stdout>>),
    Table(Vec<Vec<String>>),
}

impl Query {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let soql = if self.soql == "-" { std::io::read_to_string(std::io::stdin())? } else { self.soql };
        let soql = soql.trim();
        let connection = self.org.connection().await?;
        let mut pages = match self.all {
            true => connection.query_all_pages::<Record>(soql),
            false => connection.query_pages::<Record>(soql),
        };
        let mut sink = match (self.json, self.csv) {
            (true, _) => Sink::Json,
            (_, true) => Sink::Csv(Box::new(csv::Writer::from_writer(std::io::stdout()))),
            _ => Sink::Table(Vec::new()),
        };
        let (mut columns, mut rows, mut total) = (selected(soql), 0u64, 0);
        while let Some(page) = pages.next().await? {
            total = page.total_size;
            for record in page.records {
                // A query such as FIELDS(ALL) names its columns only by its answer.
                let columns =
                    columns.get_or_insert_with(|| record.keys().filter(|k| *k != "attributes").cloned().collect());
                if rows == 0 && !sink.header(columns)? || !sink.row(columns, record)? {
                    return Ok(());
                }
                rows += 1;
            }
        }
        if rows == 0 && total > 0 {
            // `SELECT COUNT()` answers a number and no records.
            sink.row(&["count".to_owned()], Record::from_iter([("count".to_owned(), json!(total))]))?;
        } else if rows == 0 {
            sink.header(&columns.clone().unwrap_or_default())?;
        }
        sink.end(&columns.unwrap_or_else(|| vec!["count".to_owned()]), total)
    }
}

impl Sink {
    fn header(&mut self, columns: &[String]) -> Result<bool, Failure> {
        match self {
            Sink::Csv(csv) if !columns.is_empty() => wrote(csv.write_record(columns)),
            _ => Ok(true),
        }
    }

    fn row(&mut self, columns: &[String], record: Record) -> Result<bool, Failure> {
        let cells = |record: &Record| columns.iter().map(|column| cell(record, column)).collect::<Vec<_>>();
        match self {
            Sink::Json => Ok(output::line(&Value::Object(without_attributes(record)).to_string())?),
            Sink::Csv(csv) => wrote(csv.write_record(cells(&record))),
            Sink::Table(rows) => {
                if rows.len() < TABLE_ROWS {
                    rows.push(cells(&record));
                }
                Ok(true)
            }
        }
    }

    fn end(self, columns: &[String], total: u64) -> Result<(), Failure> {
        match self {
            Sink::Json => {}
            Sink::Csv(mut csv) => drop(wrote(csv.flush().map_err(csv::Error::from))?),
            Sink::Table(rows) => {
                let shown = rows.len() as u64;
                if shown > 0 {
                    let header: Vec<&str> = columns.iter().map(String::as_str).collect();
                    let mut table = output::table(&header);
                    table.add_rows(rows);
                    output::line(&table.to_string())?;
                }
                if shown == TABLE_ROWS as u64 && shown < total {
                    eprintln!("the first {shown} of {total} records; --csv and --json give all");
                } else {
                    eprintln!("{total} {}", if total == 1 { "record" } else { "records" });
                }
            }
        }
        Ok(())
    }
}

fn wrote(outcome: csv::Result<()>) -> Result<bool, Failure> {
    match outcome {
        Ok(()) => Ok(true),
        Err(error) => match error.into_kind() {
            csv::ErrorKind::Io(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
            csv::ErrorKind::Io(error) => Err(error.into()),
            other => Err(anyhow::anyhow!("could not write CSV: {other:?}").into()),
        },
    }
}

/// The columns that the query names, if it names all of them by plain paths. They cannot be taken from a record:
/// one without an account says nothing of `Account.Name`.
fn selected(soql: &str) -> Option<Vec<String>> {
    let lower = soql.to_ascii_lowercase();
    let list = soql.get("select".len()..lower.find(" from ")?)?;
    let columns: Vec<String> = list.split(',').map(|item| item.trim().to_owned()).collect();
    let plain = |c: &String| !c.is_empty() && c.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'));
    (lower.starts_with("select") && columns.iter().all(plain)).then_some(columns)
}

/// The value at a dotted path, names in any case; null is empty, child records are JSON.
fn cell(record: &Record, path: &str) -> String {
    let (head, rest) = path.split_once('.').map_or((path, None), |(head, rest)| (head, Some(rest)));
    let value = record.iter().find(|(key, _)| key.eq_ignore_ascii_case(head)).map(|(_, value)| value);
    match (value, rest) {
        (Some(Value::Object(parent)), Some(rest)) => cell(parent, rest),
        (None | Some(Value::Null), _) => String::new(),
        (Some(Value::String(text)), _) => text.clone(),
        (Some(other), _) => other.to_string(),
    }
}

fn without_attributes(record: Record) -> Record {
    let inner = |value| match value {
        Value::Object(map) => Value::Object(without_attributes(map)),
        other => other,
    };
    record.into_iter().filter(|(key, _)| key != "attributes").map(|(key, value)| (key, inner(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_come_from_the_query_where_it_names_them() {
        let named = |soql| selected(soql).map(|c| c.join("|"));
        assert_eq!(named("SELECT Id,Account.Name FROM Contact").as_deref(), Some("Id|Account.Name"));
        assert_eq!(named("SELECT FIELDS(ALL) FROM Contact LIMIT 1"), None);
        assert_eq!(named("SELECT COUNT(Id) n FROM Contact"), None);
        let record: Record = serde_json::from_str(r#"{"Id":"1","Account":null,"Owner":{"Name":"Ada"}}"#).unwrap();
        assert_eq!(["id", "Account.Name", "Owner.Name"].map(|c| cell(&record, c)), ["1", "", "Ada"]);
    }
}
