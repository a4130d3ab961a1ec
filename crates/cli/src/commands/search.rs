//! `tieline search`: SOSL.

use serde_json::Value;
use tieline_client::{Hit, Record, search_term};

use super::stopped;
use crate::failure::Failure;
use crate::rows::{Format, Sink};
use crate::settings::OrgChoice;
use crate::setup::bootstrap::ENDED_BY_A_PERSON;

/// Search for text in several objects at once
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline search Lovelace
  tieline search \"C&A (Berlin)\" --in name --returning \"Account(Id, Name)\" --returning \"Contact(Id, Name)\"
  tieline search --sosl \"FIND {Love*} IN NAME FIELDS RETURNING Contact(Id, Name)\" --json

In TERM no character has a meaning of its own, but the words AND, OR and AND NOT are operators, as everywhere in SOSL. Wildcards
are for --sosl.")]
pub(crate) struct Search {
    #[command(flatten)]
    org: OrgChoice,
    #[command(flatten)]
    format: Format,
    /// What to look for
    #[arg(required_unless_present = "sosl")]
    term: Option<String>,
    /// In which fields
    #[arg(long = "in", value_enum, default_value_t = Fields::All)]
    fields: Fields,
    /// An object to look in, with the fields to print; repeat it for more [default: all objects, their ids]
    #[arg(long, value_name = "OBJECT(FIELD, …)")]
    returning: Vec<String>,
    /// A whole search in SOSL; `-` reads it from standard input
    #[arg(long, value_name = "FIND …", conflicts_with_all = ["term", "fields", "returning"])]
    sosl: Option<String>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Fields {
    Name,
    Email,
    Phone,
    All,
}

impl Search {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let sosl = self.sosl()?;
        let mut sink = Sink::open(&self.format)?;
        let find = async { Ok::<_, Failure>(self.org.to_call().await?.search::<Hit>(&sosl).await?) };
        let hits = tokio::select! {
            hits = find => hits?,
            () = stopped() => return Err(Failure::told(ENDED_BY_A_PERSON)),
        };
        let mut columns = vec!["object".to_owned()];
        for name in hits.iter().flat_map(|hit| hit.fields.keys()) {
            if !columns.contains(name) {
                columns.push(name.clone());
            }
        }
        if !sink.header(&columns)? {
            return Ok(());
        }
        let total = hits.len() as u64;
        for hit in hits {
            let object = ("object".to_owned(), Value::String(hit.attributes.object));
            let record: Record = std::iter::once(object).chain(hit.fields).collect();
            if !sink.record(&columns, record)? {
                return Ok(());
            }
        }
        sink.end(total, "record")
    }

    fn sosl(&self) -> Result<String, Failure> {
        if let Some(sosl) = &self.sosl {
            return super::query::read_soql(sosl);
        }
        let term = self.term.as_deref().unwrap_or_default().trim();
        if term.chars().count() < 2 {
            return Err(Failure::usage("Salesforce searches for two characters at least", "write a longer term"));
        }
        let fields = match self.fields {
            Fields::Name => "NAME",
            Fields::Email => "EMAIL",
            Fields::Phone => "PHONE",
            Fields::All => "ALL",
        };
        let mut sosl = format!("FIND {} IN {fields} FIELDS", search_term(term));
        if !self.returning.is_empty() {
            sosl.push_str(" RETURNING ");
            sosl.push_str(&self.returning.join(", "));
        }
        Ok(sosl)
    }
}
