//! `tieline query`: SOQL to a table, JSON lines or CSV.

use serde_json::Value;
use tieline_client::Record;

use crate::failure::Failure;
use crate::{output, settings};

/// Rows that a table shows; a terminal is no place for more, and a table must be held to be laid out.
const TABLE_ROWS: usize = 1_000;

/// Run a SOQL query
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline query \"SELECT Name, Email, Account.Name FROM Contact LIMIT 10\"
  tieline query --csv \"SELECT Id, Name FROM Account\" > accounts.csv
  tieline query --json \"SELECT Id FROM Lead\" | jq -r .Id
  echo \"SELECT COUNT(Id) FROM Contact\" | tieline query -")]
pub(crate) struct Query {
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

impl Query {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let soql = if self.soql == "-" { std::io::read_to_string(std::io::stdin())? } else { self.soql };
        let connection = settings::connection()?;
        let mut pages = match self.all {
            true => connection.query_all_pages::<Record>(soql.trim()),
            false => connection.query_pages::<Record>(soql.trim()),
        };
        let mut csv = csv::Writer::from_writer(std::io::stdout().lock());
        let mut table: Option<comfy_table::Table> = None;
        let (mut columns, mut shown, mut total) = (Vec::new(), 0, 0);
        while let Some(page) = pages.next().await? {
            total = page.total_size;
            for record in page.records {
                if self.json {
                    if !output::line(&Value::Object(without_attributes(record)).to_string())? {
                        return Ok(());
                    }
                    continue;
                }
                let row = flat(&record);
                if columns.is_empty() {
                    columns = row.iter().map(|(name, _)| name.clone()).collect();
                    let header: Vec<&str> = columns.iter().map(String::as_str).collect();
                    match self.csv {
                        true if !wrote(csv.write_record(&header))? => return Ok(()),
                        true => {}
                        false => table = Some(output::table(&header)),
                    }
                }
                let cell =
                    |column: &String| row.iter().find(|(name, _)| name == column).map_or("", |(_, v)| v.as_str());
                let cells: Vec<&str> = columns.iter().map(cell).collect();
                match &mut table {
                    None if !wrote(csv.write_record(&cells))? => return Ok(()),
                    None => {}
                    Some(table) if shown < TABLE_ROWS => {
                        table.add_row(cells);
                        shown += 1;
                    }
                    Some(_) => {}
                }
            }
        }
        if let Some(table) = table {
            output::line(&table.to_string())?;
        }
        if !self.json && !self.csv {
            match shown {
                0 => eprintln!("{total} records"),
                n if (n as u64) < total => eprintln!("the first {n} of {total} records; --csv and --json give all"),
                n => eprintln!("{n} records"),
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

fn without_attributes(record: Record) -> Record {
    let inner = |value| match value {
        Value::Object(map) => Value::Object(without_attributes(map)),
        other => other,
    };
    record.into_iter().filter(|(key, _)| key != "attributes").map(|(key, value)| (key, inner(value))).collect()
}

/// Parents become dotted names, nulls empty cells, and child records JSON.
fn flat(record: &Record) -> Vec<(String, String)> {
    let mut row = Vec::new();
    for (key, value) in record.iter().filter(|(key, _)| *key != "attributes") {
        match value {
            Value::Object(parent) if !parent.contains_key("records") => {
                row.extend(flat(parent).into_iter().map(|(name, value)| (format!("{key}.{name}"), value)));
            }
            Value::Null => row.push((key.clone(), String::new())),
            Value::String(text) => row.push((key.clone(), text.clone())),
            other => row.push((key.clone(), other.to_string())),
        }
    }
    row
}
