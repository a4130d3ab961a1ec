//! `tieline upsert`: records by an external id, created or changed.

use futures_util::TryStreamExt;
use tieline_client::ClientError;

use super::create::Many;
use super::input::{Input, read};
use super::{fields, outcome};
use crate::commands::stopped;
use crate::failure::Failure;
use crate::rows::Format;
use crate::settings::OrgChoice;
use crate::setup::bootstrap::ENDED_BY_A_PERSON;

/// Create or change a record by an external id, or many
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline upsert Account Key__c A-17 Name=Acme
  tieline upsert Account Key__c --file accounts.jsonl

FIELD=VALUE is text, FIELD:=JSON any JSON, FIELD= empties. Without a value each record of the file has its own in the
external id; they are sent 200 at a time. It may be repeated without harm, except by the field Id: a record without one is
created, each time.")]
pub(crate) struct Upsert {
    #[command(flatten)]
    org: OrgChoice,
    #[command(flatten)]
    format: Format,
    /// The object, such as Account
    object: String,
    /// The external id
    #[arg(value_name = "EXTERNAL_ID")]
    external_id: String,
    /// Its value
    #[arg(required_unless_present = "file")]
    value: Option<String>,
    /// The other fields
    #[arg(value_name = "FIELD=VALUE")]
    fields: Vec<String>,
    #[command(flatten)]
    many: Many,
}

impl Upsert {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let input = match &self.many.file {
            Some(file) => read(file)?,
            None => Input::One(fields::object(&self.fields)?),
        };
        let connection = self.org.to_call().await?;
        // By its id a record is created where there is none.
        let failed: fn(ClientError) -> Failure =
            if self.external_id.eq_ignore_ascii_case("Id") { Failure::from } else { Failure::repeatable };
        let Some(value) = self.value else {
            let records = input.many();
            let of = records.len();
            let results = connection.upsert_many(&self.object, &self.external_id, records, self.many.all_or_none());
            return outcome::many(results.map_err(failed), of, "written", &self.format).await;
        };
        let Input::One(mut record) = input else {
            return Err(Failure::usage(
                "many records cannot have one external id",
                format!("leave the value out, and give each record its own as {}", self.external_id),
            ));
        };
        // The org refuses it among the fields, where files have it.
        record.retain(|name, _| !name.eq_ignore_ascii_case(&self.external_id));
        let done = tokio::select! {
            done = connection.upsert(&self.object, &self.external_id, &value, &record) => done.map_err(failed)?,
            () = stopped() => return Err(Failure::told(ENDED_BY_A_PERSON)),
        };
        let word = if done.created { "created" } else { "updated" };
        outcome::one(done.id.as_deref(), word, Some(done.created), self.format.json)
    }
}
