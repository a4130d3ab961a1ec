//! The Tooling API: views over the emulator's schema. Nothing is kept here; the rows are made anew for each query.

mod anonymous;
mod views;

pub(crate) use anonymous::execute;

use crate::api_error::ApiError;
use crate::org::Org;
use crate::schema::Schema;
use crate::soql::ast::{Condition, Operand, Query};

const FACTS: &str = include_str!("tooling.txt");

/// The views that the data API has too.
const IN_DATA_API: [&str; 5] = ["ApexClass", "ApexLog", "ApexTrigger", "EntityDefinition", "FieldDefinition"];
/// The objects of the data API that the Tooling API has too.
const FROM_DATA_API: [&str; 5] = ["Organization", "PermissionSet", "Profile", "RecordType", "User"];

/// Which of the two APIs with queries and describes is asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Api {
    Data,
    Tooling,
}

impl Api {
    /// What follows `/services/data/v` in the URLs of its records.
    pub(crate) fn base(self, version: &str) -> String {
        match self {
            Api::Data => version.to_owned(),
            Api::Tooling => format!("{version}/tooling"),
        }
    }
}

/// The objects of the Tooling API.
pub(crate) fn schema(org: &Org) -> Schema {
    let mut schema = Schema::read(FACTS);
    for name in FROM_DATA_API {
        if let Some(object) = org.schema.object(name) {
            schema.add(object.clone());
        }
    }
    schema
}

/// The schema that a query is read by, with its rows in place; `None` is the org's own.
pub(crate) fn view_for(org: &mut Org, api: Api, soql: &str, query: &Query) -> Result<Option<Schema>, ApiError> {
    let from = &query.object.text;
    if api == Api::Data && !IN_DATA_API.iter().any(|v| v.eq_ignore_ascii_case(from)) {
        return Ok(None);
    }
    let schema = schema(org);
    if from.eq_ignore_ascii_case("FieldDefinition") && !query.filter.as_ref().is_some_and(names_entity) {
        // That a filter is needed is documented; code and words are unverified.
        let text =
            "FieldDefinition requires a filter by EntityDefinition.QualifiedApiName, EntityDefinitionId or DurableId";
        return Err(crate::soql::positioned("MALFORMED_QUERY", soql, query.object.at, text));
    }
    for name in views::NAMES {
        let Some(object) = schema.object(name) else { continue };
        let there = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?";
        if org.db.prepare_cached(there)?.exists([name])? {
            org.db.prepare_cached(&format!("DELETE FROM \"{name}\""))?.execute([])?;
        } else {
            org.db.execute_batch(&views::table(object))?;
        }
    }
    views::fill(org)?;
    Ok(Some(schema))
}

/// Whether a condition holds only for fields of named objects.
fn names_entity(condition: &Condition) -> bool {
    let is_name = |left: &Operand| match left {
        Operand::Path(name) => {
            let path = name.text.to_ascii_lowercase();
            ["entitydefinition.qualifiedapiname", "entitydefinition.durableid", "entitydefinitionid", "durableid"]
                .iter()
                .any(|wanted| path == *wanted || path.ends_with(&format!(".{wanted}")))
        }
        Operand::Call { .. } => false,
    };
    match condition {
        Condition::All(parts) => parts.iter().any(names_entity),
        Condition::Any(parts) => parts.iter().all(names_entity),
        Condition::Compare { left, operator, .. } => operator == "=" && is_name(left),
        Condition::In { left, negated, .. } => !negated && is_name(left),
        Condition::Not(_) | Condition::Includes { .. } => false,
    }
}
