//! `tieline datacloud objects`: what there is to query.

use tieline_datacloud::metadata::{Object, ObjectKind};

use super::Tenant;
use crate::failure::Failure;
use crate::output;

/// List the objects of Data Cloud, or the fields of one
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline datacloud objects                          all objects
  tieline datacloud objects --kind lake              data lake objects alone
  tieline datacloud objects ssot__Individual__dlm    the fields of one
  tieline datacloud objects --json | jq -r .name")]
pub(crate) struct Objects {
    #[command(flatten)]
    tenant: Tenant,
    /// Name of an object
    name: Option<String>,
    /// Kind of objects
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// One JSON object a line, fields included
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Kind {
    /// Data model objects (…__dlm)
    Model,
    /// Data lake objects (…__dll)
    Lake,
    /// Calculated insights (…__cio)
    Insight,
}

impl Objects {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let kind = self.kind.map(|kind| match kind {
            Kind::Model => ObjectKind::DataModel,
            Kind::Lake => ObjectKind::DataLake,
            Kind::Insight => ObjectKind::CalculatedInsight,
        });
        let cloud = self.tenant.connect().await?;
        let objects = cloud.objects(kind, self.name.as_deref()).await?;
        if let (Some(name), []) = (&self.name, objects.as_slice()) {
            return Err(Failure::new(
                format!("Data Cloud has no object `{name}`, or this user may not see it"),
                "names are case-sensitive; `tieline datacloud objects` lists them",
            ));
        }
        if self.json {
            for object in &objects {
                if !output::line(&serde_json::to_string(object).map_err(anyhow::Error::from)?)? {
                    return Ok(());
                }
            }
            return Ok(());
        }
        match (&self.name, objects.as_slice()) {
            (Some(_), [object]) => fields(object),
            (_, objects) => list(objects),
        }
    }
}

fn fields(object: &Object) -> Result<(), Failure> {
    let mut table = output::table(&["field", "label", "type"]);
    for field in object.fields.iter().chain(&object.dimensions).chain(&object.measures) {
        table.add_row([&field.name, &field.display_name, &field.kind]);
    }
    output::line(&table.to_string())?;
    note!("{}: {}", object.name, object.display_name);
    Ok(())
}

fn list(objects: &[Object]) -> Result<(), Failure> {
    if !objects.is_empty() {
        let mut table = output::table(&["object", "label", "category", "fields"]);
        for object in objects {
            let count = object.fields.len() + object.dimensions.len() + object.measures.len();
            let category = object.category.as_deref().unwrap_or("");
            table.add_row([object.name.as_str(), &object.display_name, category, &count.to_string()]);
        }
        output::line(&table.to_string())?;
    }
    note!("{} {}", objects.len(), if objects.len() == 1 { "object" } else { "objects" });
    Ok(())
}
