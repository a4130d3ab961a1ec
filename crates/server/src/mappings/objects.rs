//! What of an org can be mapped: its objects and their fields, as the integration's user sees them.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use tieline_client::rest::describe::{Describe, FieldDescribe, ObjectSummary};
use tieline_store::{Role, Uuid};
use tieline_sync::mapping::{Definition, Describes, Plan};
use utoipa::{IntoParams, ToSchema};

use super::Org;
use super::check::{FlawView, PlannedColumn, flaws, planned};
use crate::caller::Caller;
use crate::extract::{Path, Query};
use crate::problem::Problem;
use crate::service::Service;

/// An object of the org.
#[derive(Serialize, ToSchema)]
#[schema(as = OrgObject)]
pub(crate) struct ObjectView {
    /// API name.
    pub(crate) name: String,
    /// What people call one of it.
    pub(crate) label: String,
    /// Made in the org, or by a package.
    pub(crate) custom: bool,
    /// Whether its records can be read by a query: else it cannot be mapped.
    pub(crate) queryable: bool,
    /// Whether the org keeps a log of its changes and deletes. Without, deletes past the recycle bin are found by comparing
    /// all ids, and nothing is proven of it.
    pub(crate) deletes_logged: bool,
}

impl From<&ObjectSummary> for ObjectView {
    fn from(object: &ObjectSummary) -> Self {
        let ObjectSummary { name, label, custom, queryable, .. } = object;
        Self {
            name: name.clone(),
            label: label.clone(),
            custom: *custom,
            queryable: *queryable,
            deletes_logged: says(&object.more, "replicateable"),
        }
    }
}

fn says(more: &serde_json::Map<String, serde_json::Value>, what: &str) -> bool {
    more.get(what).and_then(serde_json::Value::as_bool).unwrap_or_default()
}

/// The org's objects.
#[derive(Serialize, ToSchema)]
pub(crate) struct OrgObjects {
    /// By name.
    pub(crate) objects: Vec<ObjectView>,
}

/// Which objects.
#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct WhichObjects {
    /// Part of a name or a label, in any case.
    #[param(max_length = 100)]
    pub(crate) q: Option<String>,
}

/// A value of a picklist.
#[derive(Serialize, ToSchema)]
#[schema(as = OrgPicklistValue)]
pub(crate) struct PickView {
    /// As it is stored.
    value: String,
    /// As people see it.
    label: Option<String>,
    /// Whether it may be chosen now.
    active: bool,
}

/// A field of an object.
#[derive(Serialize, ToSchema)]
#[schema(as = OrgField)]
pub(crate) struct FieldView {
    /// API name.
    pub(crate) name: String,
    /// What people call it.
    pub(crate) label: String,
    /// The org's type: `string`, `reference`, `currency`, …
    #[serde(rename = "type")]
    pub(crate) type_name: String,
    /// Longest value in characters; 0 where that means nothing.
    pub(crate) length: u32,
    /// Whether it may be empty.
    pub(crate) nillable: bool,
    /// Whether the org computes it: it changes without the record's stamp.
    pub(crate) calculated: bool,
    /// Made in the org, or by a package.
    pub(crate) custom: bool,
    /// Objects that a reference leads to.
    pub(crate) reference_to: Vec<String>,
    /// Name of the reference in paths: `Account` in `Account.Name`.
    pub(crate) relationship_name: Option<String>,
    /// Values to choose from.
    pub(crate) picklist_values: Vec<PickView>,
}

impl From<&FieldDescribe> for FieldView {
    fn from(field: &FieldDescribe) -> Self {
        let picks = field.picklist_values.iter().map(|pick| PickView {
            value: pick.value.clone(),
            label: pick.label.clone(),
            active: pick.active,
        });
        Self {
            name: field.name.clone(),
            label: field.label.clone(),
            type_name: field.type_name.clone(),
            length: field.length,
            nillable: field.nillable,
            calculated: field.calculated,
            custom: field.custom,
            reference_to: field.reference_to.clone(),
            relationship_name: field.relationship_name.clone(),
            picklist_values: picks.collect(),
        }
    }
}

/// An object with its fields.
#[derive(Serialize, ToSchema)]
#[schema(as = OrgObjectDetail)]
pub(crate) struct ObjectDetail {
    /// API name.
    pub(crate) name: String,
    /// What people call one of it.
    pub(crate) label: String,
    /// Made in the org, or by a package.
    pub(crate) custom: bool,
    /// Whether its records can be read by a query.
    pub(crate) queryable: bool,
    /// Whether the org keeps a log of its changes and deletes.
    pub(crate) deletes_logged: bool,
    /// The field by which changes are found; none: it is read whole each time.
    pub(crate) cursor: Option<String>,
    /// Whether records in the recycle bin are seen as deleted.
    pub(crate) deletes_marked: bool,
    /// Its fields, as the user sees them.
    pub(crate) fields: Vec<FieldView>,
    /// The columns that a mapping of all fields would have.
    pub(crate) columns: Vec<PlannedColumn>,
    /// Why there can be no such mapping, if there cannot.
    pub(crate) flaws: Vec<FlawView>,
    /// What somebody should know, though nothing is wrong.
    pub(crate) warnings: Vec<String>,
}

impl ObjectDetail {
    fn new(describe: &Describe, plan: Result<Plan, Vec<FlawView>>) -> Self {
        let (plan, flaws) = match plan {
            Ok(plan) => (plan, Vec::new()),
            Err(flaws) => (Plan::default(), flaws),
        };
        Self {
            name: describe.name.clone(),
            label: describe.label.clone(),
            custom: describe.custom,
            queryable: describe.queryable,
            deletes_logged: describe.replicateable,
            cursor: plan.cursor.clone(),
            deletes_marked: plan.can_be_deleted,
            fields: describe.fields.iter().map(FieldView::from).collect(),
            columns: planned(&plan),
            flaws,
            warnings: plan.warnings,
        }
    }
}

/// The objects of an org
///
/// As its user sees them; the org is asked once an hour at most. What an object's changes are found by is told with the
/// object.
#[utoipa::path(get, path = "/api/integrations/{id}/objects", tag = "mappings", params(("id" = Uuid, Path, description = "The integration"), WhichObjects), responses(
    (status = 200, description = "All, or those that were asked for", body = OrgObjects),
    (status = "4XX", description = "There is none", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service or the org failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn objects(
    State(service): State<Service>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Query(which): Query<WhichObjects>,
) -> Result<Json<OrgObjects>, Problem> {
    caller.at_least(Role::Member)?;
    let part = which.q.unwrap_or_default().to_lowercase();
    if part.chars().count() > 100 {
        return Err(Problem::invalid("q is longer than 100 characters", "send a part of a name or a label"));
    }
    let org = Org::of(&service, &caller, id).await?;
    let all = match org.connection.describe_global().await {
        Ok(all) => all,
        Err(error) => return Err(org.problem(&service, &caller, error).await),
    };
    let fits = |object: &&ObjectSummary| {
        let named = |text: &str| text.to_lowercase().contains(&part);
        !says(&object.more, "deprecatedAndHidden") && (named(&object.name) || named(&object.label))
    };
    let mut objects: Vec<ObjectView> = all.iter().filter(fits).map(ObjectView::from).collect();
    objects.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Json(OrgObjects { objects }))
}

/// One object of an org, with its fields
///
/// And the columns that a mapping of all fields would have.
#[utoipa::path(get, path = "/api/integrations/{id}/objects/{object}", tag = "mappings", params(
    ("id" = Uuid, Path, description = "The integration"),
    ("object" = String, Path, description = "API name of the object, in any case", min_length = 1, max_length = 100, pattern = "^[A-Za-z0-9_]+$"),
), responses(
    (status = 200, description = "It", body = ObjectDetail),
    (status = "4XX", description = "There is none", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service or the org failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn object(
    State(service): State<Service>,
    caller: Caller,
    Path((id, object)): Path<(Uuid, String)>,
) -> Result<Json<ObjectDetail>, Problem> {
    caller.at_least(Role::Member)?;
    if object.len() > 100 || !object.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Err(Problem::not_found("object"));
    }
    let org = Org::of(&service, &caller, id).await?;
    let definition = Definition::all_of("all", &object);
    let describes = match Describes::load(&org.connection, &definition).await {
        Ok(describes) => describes,
        Err(error) => return Err(org.problem(&service, &caller, error).await),
    };
    let plan = Plan::new(&definition, &describes);
    let Some(describe) = describes.get(&object) else {
        let hint = plan.err().map(|error| error.hint()).unwrap_or_default();
        let detail = format!("the org has no object `{object}`, or its user may not see it");
        return Err(Problem::new(axum::http::StatusCode::NOT_FOUND, "not_found", detail, hint));
    };
    Ok(Json(ObjectDetail::new(describe, plan.map_err(|error| flaws(error.flaws)))))
}
