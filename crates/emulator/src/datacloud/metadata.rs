//! `GET /api/v1/metadata`: the tenant's objects and their fields.
//!
//! The body is that of "GET /api/v1/metadata" and "GET /api/v1/profile/metadata/{dataModelName}" in the Data 360 query
//! guide (developer.salesforce.com, c360a-api-metadata-api): fields, indexes, category, name, displayName,
//! relationships, primaryKeys.

use std::collections::HashMap;

use axum::Router;
use axum::extract::{Query, State};
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value, json};

use super::refusal::{RestError, settled};
use super::tables::{Kind, TABLES, Table};
use crate::Shared;
use crate::rest::json_response;

pub(super) fn router() -> Router<Shared> {
    Router::new().route("/api/v1/metadata", get(metadata))
}

async fn metadata(State(shared): State<Shared>, Query(asked): Query<HashMap<String, String>>) -> Response {
    settled(&shared, answer(&asked)).await
}

/// Filters that fit nothing bring an empty list: the documents name no status for that.
fn answer(asked: &HashMap<String, String>) -> Result<Response, RestError> {
    let suffix = match asked.get("entityType").map(String::as_str) {
        None => "",
        Some("DataModelObject") => "__dlm",
        Some("DataLakeObject") => "__dll",
        Some("CalculatedInsight") => "__cio",
        Some(other) => return Err(RestError::new(400, format!("there is no entity type {other}"))),
    };
    let is_asked = |table: &Table| {
        table.name.ends_with(suffix)
            && asked.get("entityCategory").is_none_or(|category| category == table.category)
            && asked.get("entityName").is_none_or(|name| name == table.name)
    };
    let tables: Vec<Value> = TABLES.iter().filter(|table| is_asked(table)).map(entity).collect();
    Ok(json_response(200, json!({"metadata": tables}).to_string().into_bytes()))
}

fn entity(table: &Table) -> Value {
    let fields = table.columns.iter().map(|column| {
        let kind = match column.kind {
            Kind::Text => "STRING",
            Kind::Whole | Kind::Double | Kind::Decimal => "NUMBER",
            Kind::Time => "DATE_TIME",
            Kind::Date => "DATE",
            Kind::Boolean => "BOOLEAN",
        };
        json!({"name": column.name, "displayName": column.label, "type": kind})
    });
    let keys = table.columns.first().map(|key| json!({"name": key.name, "displayName": key.label, "indexOrder": "1"}));
    let relationships = table.parent.map(|(column, parent, key)| {
        json!({
            "fromEntity": table.name, "toEntity": parent, "fromEntityAttribute": column,
            "toEntityAttribute": key, "cardinality": "NTOONE",
        })
    });
    json!({
        "fields": fields.collect::<Vec<_>>(), "indexes": [], "category": table.category, "name": table.name,
        "displayName": table.label, "relationships": relationships.into_iter().collect::<Vec<_>>(),
        "primaryKeys": keys.into_iter().collect::<Vec<_>>(),
    })
}
