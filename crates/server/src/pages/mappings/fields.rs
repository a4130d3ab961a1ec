//! What the editor offers where a field is named: the object's own, and those of the parents that it refers to.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use tieline_store::Uuid;

use crate::extract::Path;
use crate::mappings::objects::{self, FieldView, ObjectDetail};
use crate::pages::visit::Visit;
use crate::problem::Problem;

/// Objects of parents that the org is asked for; what it says is remembered for an hour.
const MOST_PARENTS: usize = 5;

/// References that every object has, and whose fields fill pages: their names are enough.
const OF_EVERYBODY: [&str; 2] = ["CreatedBy", "LastModifiedBy"];

/// An object, as the editor shows it.
pub(crate) struct Fields {
    /// As the org writes it.
    pub(crate) object: String,
    pub(crate) label: String,
    /// Paths, each with words about it.
    pub(crate) offered: Vec<(String, String)>,
    /// How many fields it has itself.
    pub(crate) count: usize,
}

async fn ask(visit: &Visit, integration: Uuid, object: &str) -> Result<ObjectDetail, Problem> {
    let (service, caller) = (State(visit.service.clone()), visit.caller.clone());
    objects::object(service, caller, Path((integration, object.to_owned()))).await.map(|Json(detail)| detail)
}

fn words(field: &FieldView) -> String {
    format!("{}, {}", field.label, field.type_name)
}

/// Asks the org.
pub(super) async fn of(visit: &Visit, integration: Uuid, object: &str) -> Result<Fields, Problem> {
    let detail = ask(visit, integration, object).await?;
    let mut offered: Vec<(String, String)> =
        detail.fields.iter().map(|field| (field.name.clone(), words(field))).collect();
    let mut asked: BTreeMap<&str, ObjectDetail> = BTreeMap::new();
    for field in &detail.fields {
        let Some(relationship) = &field.relationship_name else { continue };
        let of_everybody = OF_EVERYBODY.contains(&relationship.as_str());
        if let [parent] = field.reference_to.as_slice()
            && !of_everybody
        {
            if !asked.contains_key(parent.as_str()) && asked.len() < MOST_PARENTS {
                // A parent that cannot be asked for is not offered, and nothing else is lost by that.
                if let Ok(of_parent) = ask(visit, integration, parent).await {
                    asked.insert(parent.as_str(), of_parent);
                }
            }
            if let Some(of_parent) = asked.get(parent.as_str()) {
                let path = |of: &FieldView| (format!("{relationship}.{}", of.name), words(of));
                offered.extend(of_parent.fields.iter().map(path));
                continue;
            }
        }
        offered.push((format!("{relationship}.Name"), format!("{}, its name", field.label)));
    }
    Ok(Fields { count: detail.fields.len(), object: detail.name, label: detail.label, offered })
}
