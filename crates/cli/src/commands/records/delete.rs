//! `tieline delete`: records into the recycle bin.

use std::io::IsTerminal;
use std::path::PathBuf;

use futures_util::TryStreamExt;
use serde_json::Value;
use tieline_client::{AllOrNone, Connection};

use super::{input, outcome};
use crate::commands::stopped;
use crate::failure::Failure;
use crate::rows::Format;
use crate::settings::OrgChoice;
use crate::setup::bootstrap::{ENDED_BY_A_PERSON, asked};

/// Move a record to the recycle bin, or many
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline delete Contact 003Em0000000001IAA
  tieline delete Contact 003Em0000000001IAA 003Em0000000002IAA --yes
  tieline delete Lead --file ids.csv --yes

A file holds one id a line, as `tieline query --csv \"SELECT Id FROM Lead\"` prints them, or JSON objects with an Id. More than one record is deleted after a question, or with --yes. Ids
of another object are refused before anything is sent. Exit code 5: some were deleted, and some were not.")]
pub(crate) struct Delete {
    #[command(flatten)]
    org: OrgChoice,
    #[command(flatten)]
    format: Format,
    /// The object, such as Contact
    object: String,
    /// Ids of records
    #[arg(value_name = "ID", required_unless_present = "file")]
    ids: Vec<String>,
    /// File of ids; `-` reads standard input
    #[arg(long, value_name = "FILE", conflicts_with = "ids")]
    file: Option<PathBuf>,
    /// When one of 200 records that are sent together fails, delete none of them
    #[arg(long)]
    all_or_none: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

impl Delete {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let ids = match &self.file {
            Some(file) => {
                let text = input::text(file)?;
                ids(&String::from_utf8_lossy(&text)).map_err(|reason| {
                    Failure::usage(
                        format!("{}: {reason}", file.display()),
                        "write one id a line, or JSON objects with an Id",
                    )
                })?
            }
            None => self.ids.clone(),
        };
        if let Some(wrong) = ids.iter().find(|id| !is_id(id)) {
            return Err(Failure::usage(format!("`{wrong}` is no id"), "ids have 15 or 18 letters and digits"));
        }
        if ids.len() > 1 && !self.yes {
            self.ask(ids.len())?;
        }
        let connection = self.org.to_call().await?;
        if let [id] = ids.as_slice() {
            tokio::select! {
                done = connection.delete(&self.object, id) => done.map_err(Failure::repeatable)?,
                () = stopped() => return Err(Failure::told(ENDED_BY_A_PERSON)),
            }
            return outcome::one(Some(id), "deleted", None, self.format.json);
        }
        self.of_object(&connection, &ids).await?;
        let of = ids.len();
        let all_or_none = if self.all_or_none { AllOrNone::PerCall } else { AllOrNone::Each };
        let results = connection.delete_many(ids, all_or_none).map_err(Failure::repeatable);
        outcome::many(results, of, "deleted", &self.format).await
    }

    fn ask(&self, records: usize) -> Result<(), Failure> {
        if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
            return Err(Failure::usage(
                format!("{records} records would be deleted, and nobody is here to be asked"),
                "add --yes if that is wanted",
            ));
        }
        crate::commands::end_questions_well();
        let question = format!("Delete {records} records of {}?", self.object);
        match dialoguer::Confirm::new().with_prompt(question).default(false).interact().map_err(asked)? {
            true => Ok(()),
            false => Err(Failure::new("nothing was deleted", "answer `y` to delete them")),
        }
    }

    /// One call deletes records of any objects: whoever names one means that one.
    async fn of_object(&self, connection: &Connection, ids: &[String]) -> Result<(), Failure> {
        let describe = connection.describe(&self.object).await?;
        let Some(prefix) = describe.key_prefix.as_deref() else { return Ok(()) };
        match ids.iter().find(|id| !id.starts_with(prefix)) {
            Some(other) => Err(Failure::usage(
                format!("{other} is no id of {}, whose ids begin with {prefix}; nothing was deleted", describe.name),
                "name the object that the ids are of",
            )),
            None => Ok(()),
        }
    }
}

pub(super) fn is_id(text: &str) -> bool {
    matches!(text.len(), 15 | 18) && text.chars().all(|c| c.is_ascii_alphanumeric())
}

/// Ids one a line, as `query --csv "SELECT Id …"` prints them; or JSON.
fn ids(text: &str) -> Result<Vec<String>, String> {
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.starts_with(['{', '[']) {
        let mut values = Vec::new();
        for value in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
            match value.map_err(|error| error.to_string())? {
                Value::Array(list) => values.extend(list),
                other => values.push(other),
            }
        }
        let id = |value: &Value| match value {
            Value::String(id) => Some(id.clone()),
            Value::Object(record) => {
                let (_, id) = record.iter().find(|(name, _)| name.eq_ignore_ascii_case("Id"))?;
                id.as_str().map(str::to_owned)
            }
            _ => None,
        };
        let ids =
            values.iter().enumerate().map(|(n, value)| id(value).ok_or_else(|| format!("record {} has no Id", n + 1)));
        return ids.collect();
    }
    let lines = text.lines().map(|line| line.trim().trim_matches('"')).filter(|line| !line.is_empty());
    let ids: Vec<String> = lines
        .enumerate()
        .filter(|(n, line)| *n > 0 || !line.eq_ignore_ascii_case("Id"))
        .map(|(_, line)| line.to_owned())
        .collect();
    if ids.is_empty() { Err("there is no id".to_owned()) } else { Ok(ids) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_one_a_line_or_in_json() {
        let two = vec!["003000000000001".to_owned(), "003000000000002AAA".to_owned()];
        for text in [
            "003000000000001\n003000000000002AAA\n",
            "Id\r\n\"003000000000001\"\r\n003000000000002AAA",
            r#"{"Id":"003000000000001"} {"id":"003000000000002AAA"}"#,
            r#"["003000000000001",{"Id":"003000000000002AAA"}]"#,
        ] {
            assert_eq!(ids(text).as_ref(), Ok(&two), "{text}");
        }
        assert!(ids("Id\n").is_err() && ids(r#"{"Name":"x"}"#).is_err());
    }
}
