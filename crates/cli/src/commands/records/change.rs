//! `tieline update`: changes of records.

use futures_util::TryStreamExt;

use super::create::Many;
use super::input::{Input, read};
use super::{fields, outcome};
use crate::commands::stopped;
use crate::failure::Failure;
use crate::rows::Format;
use crate::settings::OrgChoice;
use crate::setup::bootstrap::ENDED_BY_A_PERSON;

/// Change a record, or many
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline update Contact 003Em0000000001IAA Title=Admiral Phone=
  tieline update Contact 003Em0000000001IAA --file changes.json
  tieline update Contact --file changes.jsonl

FIELD=VALUE is text, FIELD:=JSON any JSON, FIELD= empties. Without an id each record of the file has its own, as Id; they are
sent 200 at a time. Exit code 5: some were changed, and some were not.")]
pub(crate) struct Update {
    #[command(flatten)]
    org: OrgChoice,
    #[command(flatten)]
    format: Format,
    /// The object, such as Contact
    object: String,
    /// The record's id
    #[arg(required_unless_present = "file")]
    id: Option<String>,
    /// Fields to change
    #[arg(value_name = "FIELD=VALUE", required_unless_present = "file")]
    fields: Vec<String>,
    #[command(flatten)]
    many: Many,
}

impl Update {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        if let Some(id) = self.id.as_deref().filter(|id| id.contains('=')) {
            return Err(Failure::usage(
                format!("`{id}` is no id"),
                "write OBJECT, then the record's id, then its fields",
            ));
        }
        let input = match &self.many.file {
            Some(file) => read(file)?,
            None => Input::One(fields::object(&self.fields)?),
        };
        let connection = self.org.to_call().await?;
        let Some(id) = self.id else {
            let records = input.many();
            let of = records.len();
            let results = connection.update_many(&self.object, records, self.many.all_or_none());
            return outcome::many(results.map_err(Failure::repeatable), of, "updated", &self.format).await;
        };
        let Input::One(record) = input else {
            return Err(Failure::usage(
                "many records cannot have one id",
                "leave the id out, and give each record its own as Id",
            ));
        };
        tokio::select! {
            done = connection.update(&self.object, &id, &record) => done.map_err(Failure::repeatable)?,
            () = stopped() => return Err(Failure::told(ENDED_BY_A_PERSON)),
        }
        outcome::one(Some(&id), "updated", None, self.format.json)
    }
}
