//! `tieline query`: SOQL to a table, JSON lines or CSV.

use serde_json::{Value, json};
use tieline_client::bulk::{BulkQueryOptions, Wait};
use tieline_client::{Connection, QueryOptions, Record};

use super::bulk::query as job;
use super::children::complete;
use super::stopped;
use crate::failure::Failure;
use crate::output;
use crate::rows::{Format, Sink};
use crate::settings::OrgChoice;
use crate::setup::bootstrap::ENDED_BY_A_PERSON;

/// Run a SOQL query
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline query \"SELECT Name, Email, Account.Name FROM Contact LIMIT 10\"
  tieline query --csv \"SELECT Id, Name FROM Account\" > accounts.csv
  tieline query --bulk --output accounts.csv \"SELECT Id, Name FROM Account\"
  tieline query --json \"SELECT Id FROM Lead\" | jq -r .Id
  tieline query --tooling \"SELECT Name, Status FROM ApexClass\"
  tieline query --explain \"SELECT Id FROM Contact WHERE LastName = 'Hopper'\"
  echo \"SELECT COUNT() FROM Contact\" | tieline query -")]
pub(crate) struct Query {
    #[command(flatten)]
    org: OrgChoice,
    #[command(flatten)]
    format: Format,
    /// The query; `-` reads it from standard input
    soql: String,
    /// Deleted and archived records too
    #[arg(long)]
    all: bool,
    /// By a query job (Bulk API 2.0): for very many records
    #[arg(long)]
    bulk: bool,
    /// Objects of the Tooling API, such as ApexClass
    #[arg(long, conflicts_with = "bulk")]
    tooling: bool,
    /// Show how the org would run it, and do not run it
    #[arg(long, conflicts_with_all = ["bulk", "tooling", "all"])]
    explain: bool,
}

impl Query {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let soql = read_soql(&self.soql)?;
        let sink = Sink::open(&self.format)?;
        let connection = self.org.to_call().await?;
        if self.bulk {
            let options = BulkQueryOptions { deleted_too: self.all, ..BulkQueryOptions::default() };
            let begun = tokio::select! {
                begun = connection.bulk_query(&soql, options) => begun?,
                () = stopped() => return Err(Failure::told(ENDED_BY_A_PERSON)),
            };
            return job::wait_and_read(&begun, sink, &Wait::default()).await;
        }
        let bar = sink.bar();
        let work = async {
            match self.explain {
                true => explain(&connection, &soql, sink).await,
                false => {
                    let options =
                        QueryOptions { deleted_too: self.all, tooling: self.tooling, ..QueryOptions::default() };
                    read(&connection, &soql, options, sink, &bar).await
                }
            }
        };
        tokio::select! {
            outcome = work => outcome,
            () = stopped() => {
                bar.finish_and_clear();
                Err(Failure::told(ENDED_BY_A_PERSON))
            }
        }
    }
}

/// The argument, or what standard input holds.
pub(super) fn read_soql(argument: &str) -> Result<String, Failure> {
    let soql = if argument == "-" { std::io::read_to_string(std::io::stdin())? } else { argument.to_owned() };
    match soql.trim() {
        "" => Err(Failure::usage("there is no query", "write it as an argument, or into standard input with `-`")),
        soql => Ok(soql.to_owned()),
    }
}

async fn read(
    connection: &Connection,
    soql: &str,
    options: QueryOptions,
    mut sink: Sink,
    bar: &indicatif::ProgressBar,
) -> Result<(), Failure> {
    let mut pages = connection.query_pages_with::<Record>(soql, options);
    let (mut columns, mut total) = (selected(soql), 0);
    while let Some(page) = pages.next().await? {
        total = page.total_size;
        if bar.length().is_none() && !page.is_last {
            output::total_is(bar, total);
        }
        for mut record in page.records {
            complete(connection, &mut record).await?;
            // A query such as FIELDS(ALL) names its columns only by its answer.
            let columns =
                columns.get_or_insert_with(|| record.keys().filter(|k| *k != "attributes").cloned().collect());
            if sink.rows() == 0 && !sink.header(columns)? || !sink.record(columns, record)? {
                return Ok(());
            }
            bar.inc(1);
        }
        if !sink.flush()? {
            return Ok(());
        }
        if sink.is_full() {
            break;
        }
    }
    bar.finish_and_clear();
    if is_count(soql) {
        // It answers a number and no records.
        let columns = ["count".to_owned()];
        sink.header(&columns)?;
        sink.record(&columns, Record::from_iter([("count".to_owned(), json!(total))]))?;
        return sink.end(1, "");
    }
    if sink.rows() == 0 {
        sink.header(&columns.unwrap_or_default())?;
    }
    sink.end(total, "record")
}

async fn explain(connection: &Connection, soql: &str, mut sink: Sink) -> Result<(), Failure> {
    let columns = ["relativeCost", "leadingOperationType", "fields", "cardinality", "sobjectCardinality", "notes"]
        .map(str::to_owned);
    sink.header(&columns)?;
    for plan in connection.explain(soql).await? {
        let Value::Object(mut plan) = serde_json::to_value(plan).map_err(anyhow::Error::from)? else { continue };
        if !sink.is_json() {
            for name in ["fields", "notes"] {
                plan.entry(name).and_modify(|list| *list = Value::String(in_words(list)));
            }
        }
        sink.record(&columns, plan)?;
    }
    let plans = sink.rows();
    sink.end(plans, "plan")
}

/// `SELECT COUNT() FROM …`
fn is_count(soql: &str) -> bool {
    let letters: String = soql.split_whitespace().collect();
    letters.get(.."selectcount()".len()).is_some_and(|start| start.eq_ignore_ascii_case("selectcount()"))
}

/// `LastName; unindexed (LastName)`.
fn in_words(list: &Value) -> String {
    let word = |one: &Value| match (one["description"].as_str(), &one["fields"]) {
        (Some(description), Value::Array(fields)) => {
            format!("{description} ({})", fields.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "))
        }
        (Some(description), _) => description.to_owned(),
        _ => one.as_str().map_or_else(|| one.to_string(), str::to_owned),
    };
    list.as_array().into_iter().flatten().map(word).collect::<Vec<_>>().join("; ")
}

/// The columns that the query names, if it names all of them by plain paths. They cannot be taken from a record:
/// one without an account says nothing of `Account.Name`.
fn selected(soql: &str) -> Option<Vec<String>> {
    let soql = soql.split_whitespace().collect::<Vec<_>>().join(" ");
    let lower = soql.to_ascii_lowercase();
    let list = soql.get("select".len()..lower.find(" from ")?)?;
    let columns: Vec<String> = list.split(',').map(|item| item.trim().to_owned()).collect();
    let plain = |c: &String| !c.is_empty() && c.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'));
    (lower.starts_with("select") && columns.iter().all(plain)).then_some(columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_come_from_the_query_where_it_names_them() {
        let named = |soql| selected(soql).map(|c| c.join("|"));
        assert_eq!(named("SELECT Id,Account.Name FROM Contact").as_deref(), Some("Id|Account.Name"));
        assert_eq!(named("select Id,\n  Name\nfrom Contact").as_deref(), Some("Id|Name"));
        assert_eq!(named("SELECT FIELDS(ALL) FROM Contact LIMIT 1"), None);
        assert_eq!(named("SELECT COUNT(Id) n FROM Contact"), None);
        assert_eq!(named("SELECT Id, (SELECT Id FROM Contacts) FROM Account"), None);
        assert!(is_count("select  count( )\nFROM Contact") && !is_count("SELECT COUNT(Id) FROM Contact"));
    }
}
