//! `tieline describe`: objects and fields of the org.

use tieline_client::rest::describe::{Describe as Object, FieldDescribe};

use super::stopped;
use crate::failure::Failure;
use crate::output;
use crate::settings::OrgChoice;
use crate::setup::bootstrap::ENDED_BY_A_PERSON;

/// Show the fields of an object, or list all objects
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline describe Contact
  tieline describe Contact --json | jq -r '.fields[] | select(.nillable | not) | .name'
  tieline describe --json | jq -r .name")]
pub(crate) struct Describe {
    #[command(flatten)]
    org: OrgChoice,
    /// The object, such as Contact
    object: Option<String>,
    /// All that the org says, as JSON; of the list one object a line
    #[arg(long)]
    json: bool,
}

impl Describe {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        tokio::select! {
            outcome = self.show() => outcome,
            () = stopped() => Err(Failure::told(ENDED_BY_A_PERSON)),
        }
    }

    async fn show(&self) -> Result<(), Failure> {
        let connection = self.org.to_call().await?;
        if let Some(object) = &self.object {
            let object = connection.describe(object).await?;
            return match self.json {
                true => {
                    output::line(&serde_json::to_string(&*object).map_err(anyhow::Error::from)?)?;
                    Ok(())
                }
                false => fields(&object),
            };
        }
        let objects = connection.describe_global().await?;
        if self.json {
            for object in objects.iter() {
                if !output::line(&serde_json::to_string(object).map_err(anyhow::Error::from)?)? {
                    break;
                }
            }
            return Ok(());
        }
        let mut table = output::table(&["object", "label", "ids", "custom", "query"]);
        for object in objects.iter() {
            let prefix = object.key_prefix.as_deref().unwrap_or_default();
            table.add_row([&object.name, &object.label, prefix, yes(object.custom), yes(object.queryable)]);
        }
        output::line(&table.to_string())?;
        note!("{}", output::count(objects.len() as u64, "object"));
        Ok(())
    }
}

fn yes(is: bool) -> &'static str {
    if is { "yes" } else { "" }
}

fn fields(object: &Object) -> Result<(), Failure> {
    let mut table = output::table(&["field", "label", "type", "notes"]);
    for field in &object.fields {
        table.add_row([&field.name, &field.label, &type_of(field), &notes(field)]);
    }
    output::line(&table.to_string())?;
    let prefix = object.key_prefix.as_deref().map(|prefix| format!(", ids {prefix}…")).unwrap_or_default();
    note!("{} ({}{prefix}): {}", object.name, object.label, output::count(object.fields.len() as u64, "field"));
    Ok(())
}

/// `string(80)`, `double(18,2)`, `reference → Account`.
fn type_of(field: &FieldDescribe) -> String {
    let name = &field.type_name;
    if !field.reference_to.is_empty() {
        return format!("{name} → {}", field.reference_to.join(", "));
    }
    match (field.length, field.precision) {
        (0, 0) => name.clone(),
        (0, digits) => format!("{name}({digits},{})", field.scale),
        (length, _) => format!("{name}({length})"),
    }
}

fn notes(field: &FieldDescribe) -> String {
    let required = field.createable && !field.nillable && !field.defaulted_on_create;
    let read_only = !field.createable && !field.updateable;
    let notes = [
        (required, "required"),
        (field.external_id, "external id"),
        (field.unique, "unique"),
        (field.calculated, "formula"),
        (read_only && !field.calculated, "read-only"),
        (field.custom, "custom"),
    ];
    notes.iter().filter(|(is, _)| *is).map(|(_, note)| *note).collect::<Vec<_>>().join(", ")
}
