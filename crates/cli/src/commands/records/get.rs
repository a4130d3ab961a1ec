//! `tieline get`: one record.

use serde_json::Value;
use tieline_client::Record;

use super::delete::is_id;
use crate::cells::{cell, without_attributes};
use crate::commands::stopped;
use crate::failure::Failure;
use crate::output;
use crate::rows::{Format, Sink};
use crate::settings::OrgChoice;
use crate::setup::bootstrap::ENDED_BY_A_PERSON;

/// Read one record
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline get Contact 003Em0000000001IAA
  tieline get Contact 003Em0000000001IAA --fields Name,Account.Name --json
  tieline get Account A-17 --by Key__c")]
pub(crate) struct Get {
    #[command(flatten)]
    org: OrgChoice,
    #[command(flatten)]
    format: Format,
    /// The object, such as Contact
    object: String,
    /// The record's id, or its value in the field that --by names
    id: String,
    /// Some fields alone, parents' by their path [default: all that the user may see]
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    fields: Vec<String>,
    /// Find the record by this external id
    #[arg(long, value_name = "FIELD")]
    by: Option<String>,
}

impl Get {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let sink = Sink::open(&self.format)?;
        let record = tokio::select! {
            record = self.read() => record?,
            () = stopped() => return Err(Failure::told(ENDED_BY_A_PERSON)),
        };
        let columns = match self.fields.as_slice() {
            [] => record.keys().filter(|key| *key != "attributes").cloned().collect(),
            fields => fields.to_vec(),
        };
        if self.format.is_table() {
            // Fields below each other: one record has more of them than a terminal has columns.
            let record = without_attributes(record);
            let mut table = output::table(&["field", "value"]);
            for column in &columns {
                let value = cell(&record, column);
                if !value.is_empty() || !self.fields.is_empty() {
                    table.add_row([column, &value]);
                }
            }
            output::line(&table.to_string())?;
            return Ok(());
        }
        let mut sink = sink;
        if sink.header(&columns)? && sink.record(&columns, record)? {
            sink.end(1, "record")?;
        }
        Ok(())
    }

    async fn read(&self) -> Result<Record, Failure> {
        // `describe` and an empty text would be asked for as well, and answered by what is no record.
        if self.by.is_none() && !is_id(&self.id) {
            let hint = "ids have 15 or 18 letters and digits; --by FIELD finds a record by another field";
            return Err(Failure::usage(format!("`{}` is no id", self.id), hint));
        }
        let connection = self.org.to_call().await?;
        if self.fields.is_empty() {
            return Ok(match &self.by {
                None => connection.read(&self.object, &self.id).await?,
                Some(by) => connection.read_by(&self.object, by, &self.id).await?,
            });
        }
        let id = match &self.by {
            None => self.id.clone(),
            Some(by) => {
                let record: Record = connection.read_by(&self.object, by, &self.id).await?;
                record.get("Id").and_then(Value::as_str).unwrap_or_default().to_owned()
            }
        };
        if !self.fields.iter().any(|field| field.contains('.')) {
            let fields: Vec<&str> = self.fields.iter().map(String::as_str).collect();
            return Ok(connection.read_fields(&self.object, &id, &fields).await?);
        }
        // A record by its path has no parents; a query has.
        let is_name = |name: &String| name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'));
        if let Some(wrong) = self.fields.iter().chain([&self.object, &id]).find(|name| !is_name(name)) {
            return Err(Failure::usage(format!("`{wrong}` is no name"), "write --fields Name,Account.Name"));
        }
        let soql = format!("SELECT {} FROM {} WHERE Id = '{id}'", self.fields.join(", "), self.object);
        let page = connection.query_pages::<Record>(&soql).next().await?;
        page.and_then(|page| page.records.into_iter().next()).ok_or_else(|| {
            Failure::new(format!("{} has no record {id}", self.object), "check object, id and the user's access")
        })
    }
}
