//! Mappings made, changed and deleted.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value};
use tieline_store::{Role, Uuid};
use tieline_sync::engine;
use tieline_sync::mapping::Definition;
use utoipa::{IntoParams, ToSchema};

use super::detail::{MappingDetail, detail};
use super::{Org, flawed, no_mapping};
use crate::caller::Caller;
use crate::extract::{Body, Path, Query};
use crate::problem::Problem;
use crate::service::Service;

/// A new mapping.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewMapping {
    /// The org.
    pub(crate) integration_id: Uuid,
    /// The mapping, in the form of docs/mappings.md.
    #[schema(value_type = Object)]
    pub(crate) definition: Map<String, Value>,
}

/// Another definition.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MappingChange {
    /// All of it, in the form of docs/mappings.md. Object and table stay as they are.
    #[schema(value_type = Object)]
    definition: Map<String, Value>,
}

/// The word for a deletion.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Confirmed {
    /// The mapping's name: the table goes with all of its rows.
    #[param(max_length = 200)]
    confirm: Option<String>,
}

fn read(definition: Map<String, Value>) -> Result<Definition, Problem> {
    Definition::from_json(Value::Object(definition)).map_err(|error| flawed(error.to_string(), error.hint()))
}

/// Make a mapping
///
/// And its table. The definition is held against the org first: nothing is made if something does not fit. The first run
/// begins soon.
#[utoipa::path(post, path = "/api/mappings", tag = "mappings", request_body = NewMapping, responses(
    (status = 201, description = "It is there", body = MappingDetail),
    (status = "4XX", description = "It is not", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service or the org failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn create_mapping(
    State(service): State<Service>,
    caller: Caller,
    Body(new): Body<NewMapping>,
) -> Result<(StatusCode, Json<MappingDetail>), Problem> {
    caller.at_least(Role::Admin)?;
    let org = Org::of(&service, &caller, new.integration_id).await?;
    let definition = read(new.definition)?;
    let (integration, now) = (org.integration.id, service.now());
    let made = engine::create_mapping(&org.connection, &caller.tenant, integration, &definition, now).await;
    let made = match made {
        Ok(made) => made,
        Err(error) => return Err(org.problem(&service, &caller, error).await),
    };
    service.follow_schedules().await;
    service.changed();
    Ok((StatusCode::CREATED, Json(detail(&service, &caller, made).await?)))
}

/// Change a mapping
///
/// The whole definition; object and table stay. The next run, which begins soon, makes columns that are new and fills them;
/// columns that are left out keep their values, and are left alone.
#[utoipa::path(put, path = "/api/mappings/{id}", tag = "mappings", request_body = MappingChange, params(("id" = Uuid, Path, description = "The mapping")), responses(
    (status = 200, description = "It, changed", body = MappingDetail),
    (status = "4XX", description = "Nothing was changed", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service or the org failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn change_mapping(
    State(service): State<Service>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Body(change): Body<MappingChange>,
) -> Result<Json<MappingDetail>, Problem> {
    caller.at_least(Role::Admin)?;
    let mapping = caller.tenant.mapping(id).await?.ok_or_else(no_mapping)?;
    let Some(integration) = mapping.integration_id else {
        let detail = "the mapping's integration was deleted: nothing is read for it any more";
        return Err(Problem::conflict("not_connected", detail, "make another mapping"));
    };
    let org = Org::of(&service, &caller, integration).await?;
    let definition = read(change.definition)?;
    let changed = engine::change_mapping(&org.connection, &caller.tenant, &mapping, &definition, service.now()).await;
    let changed = match changed {
        Ok(changed) => changed,
        Err(error) => return Err(org.problem(&service, &caller, error).await),
    };
    service.follow_schedules().await;
    service.changed();
    Ok(Json(detail(&service, &caller, changed).await?))
}

/// Delete a mapping
///
/// With its table, all rows in it, and its webhooks. The org is not touched.
#[utoipa::path(delete, path = "/api/mappings/{id}", tag = "mappings", params(("id" = Uuid, Path, description = "The mapping"), Confirmed), responses(
    (status = 204, description = "It is gone"),
    (status = "4XX", description = "There is none, or its name was not given", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn delete_mapping(
    State(service): State<Service>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Query(confirmed): Query<Confirmed>,
) -> Result<StatusCode, Problem> {
    caller.at_least(Role::Admin)?;
    let mapping = caller.tenant.mapping(id).await?.ok_or_else(no_mapping)?;
    if confirmed.confirm.as_deref() != Some(mapping.name.as_str()) {
        let rows = caller.tenant.count_present(&mapping).await?;
        let detail = format!("the table `{}` would go, with {rows} records", mapping.table.name());
        let hint = format!("if that is right, name the mapping: ?confirm={}", mapping.name);
        return Err(Problem::conflict("not_confirmed", detail, hint));
    }
    if !caller.tenant.delete_mapping(&mapping, service.now()).await? {
        return Err(no_mapping());
    }
    service.changed();
    Ok(StatusCode::NO_CONTENT)
}
