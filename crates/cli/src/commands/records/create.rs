//! `tieline create`: new records.

use std::path::PathBuf;

use futures_util::TryStreamExt;
use tieline_client::AllOrNone;

use super::input::{Input, read};
use super::{fields, outcome};
use crate::commands::stopped;
use crate::failure::Failure;
use crate::rows::Format;
use crate::settings::OrgChoice;
use crate::setup::bootstrap::ENDED_BY_A_PERSON;

/// Create a record, or many
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline create Contact FirstName=Ada LastName=Lovelace
  tieline create Contact LastName=Hopper DoNotCall:=true Account.Key__c=A-17
  tieline create Contact --file people.jsonl --all-or-none
  jq -c '.[]' people.json | tieline create Contact --file - --json

FIELD=VALUE is text, FIELD:=JSON any JSON, FIELD= empties. A file holds one JSON object; or many, in an array or one a line,
which are sent 200 at a time. The new id is printed. Exit code 5: some were created, and some were not.")]
pub(crate) struct Create {
    #[command(flatten)]
    org: OrgChoice,
    #[command(flatten)]
    format: Format,
    /// The object, such as Contact
    object: String,
    /// Fields of the new record
    #[arg(value_name = "FIELD=VALUE", required_unless_present = "file")]
    fields: Vec<String>,
    #[command(flatten)]
    many: Many,
}

/// Records in a file.
#[derive(clap::Args)]
pub(super) struct Many {
    /// JSON: one object, an array, or one object a line; `-` reads standard input
    #[arg(long, value_name = "FILE", conflicts_with = "fields")]
    pub(super) file: Option<PathBuf>,
    /// When one of 200 records that are sent together fails, write none of them
    #[arg(long, requires = "file")]
    all_or_none: bool,
}

impl Many {
    pub(super) fn all_or_none(&self) -> AllOrNone {
        if self.all_or_none { AllOrNone::PerCall } else { AllOrNone::Each }
    }
}

impl Create {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let input = match &self.many.file {
            Some(file) => read(file)?,
            None => Input::One(fields::object(&self.fields)?),
        };
        let connection = self.org.to_call().await?;
        match input {
            Input::One(record) => {
                let id = tokio::select! {
                    id = connection.create(&self.object, &record) => id?,
                    () = stopped() => return Err(Failure::told(ENDED_BY_A_PERSON)),
                };
                outcome::one(Some(&id), "created", None, self.format.json)
            }
            Input::Many(records) => {
                let of = records.len();
                let results = connection.create_many(&self.object, records, self.many.all_or_none());
                outcome::many(results.map_err(Failure::from), of, "created", &self.format).await
            }
        }
    }
}
