//! Objects and fields without a deploy.

use axum::Router;
use axum::extract::{Json, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Deserialize;
use serde_json::json;

use super::records::done;
use crate::Shared;
use crate::api_error::ApiError;
use crate::org::{FieldChange, Org, check_name};
use crate::schema;

pub(super) fn router() -> Router<Shared> {
    Router::new()
        .route("/fields", post(add_field).patch(change_field).delete(remove_field))
        .route("/objects", post(add_object).delete(remove_object))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewField {
    name: String,
    label: Option<String>,
    /// As in `schema/standard.txt`: `string 80`, `double 18,2`, `picklist 255 : A; B`, `reference Account as Account__r`.
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    external_id: bool,
    #[serde(default)]
    unique: bool,
    #[serde(default)]
    case_sensitive: bool,
    #[serde(default)]
    required: bool,
    #[serde(default)]
    restricted: bool,
    #[serde(default)]
    html: bool,
    #[serde(default)]
    auto_number: bool,
    default: Option<String>,
    formula: Option<String>,
    /// Blank numbers in the formula are zero.
    #[serde(default)]
    blank_as_zero: bool,
}

impl NewField {
    fn add(self, org: &mut Org, object: &str) -> Result<(), ApiError> {
        let bad = |message: String| ApiError::bad("INVALID_FIELD", message);
        check_name(&self.name)?;
        if org.object(object)?.field(&self.name).is_some() {
            return Err(bad(format!("there is a field {} already", self.name)));
        }
        let mut attributes = if self.auto_number { "autonumber" } else { "create update" }.to_owned();
        for (flag, word) in [
            (self.external_id, " externalid idlookup"),
            (self.unique, " unique"),
            (self.case_sensitive, " casesensitive"),
            (self.required, " required"),
            (self.restricted, " restricted"),
            (self.html, " html"),
        ] {
            attributes.push_str(if flag { word } else { "" });
        }
        let mut field = schema::typed_field(&self.name, &self.kind, &attributes).map_err(bad)?;
        field.default = self.default.or(field.default);
        field.label = self.label.unwrap_or(field.label);
        match &self.formula {
            Some(text) => org.add_formula(object, field, text, self.blank_as_zero),
            None => org.add_field(object, field),
        }
    }
}

#[derive(Deserialize)]
struct OnObject {
    object: String,
    #[serde(flatten)]
    rest: serde_json::Map<String, serde_json::Value>,
}

/// What a body says besides its object; unknown keys are refused.
fn read<T: serde::de::DeserializeOwned>(rest: serde_json::Map<String, serde_json::Value>) -> Result<T, ApiError> {
    serde_json::from_value(rest.into()).map_err(|e| ApiError::new(422, "JSON_PARSER_ERROR", e.to_string()))
}

async fn add_field(State(shared): State<Shared>, Json(body): Json<OnObject>) -> Response {
    let made = shared.with_org(move |org| {
        let field: NewField = read(body.rest)?;
        org.as_system(|org| field.add(org, &body.object))
    });
    done(made.await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Changed {
    object: String,
    name: String,
    rename: Option<String>,
    label: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    required: Option<bool>,
    restricted: Option<bool>,
    formula: Option<String>,
}

async fn change_field(State(shared): State<Shared>, Json(body): Json<Changed>) -> Response {
    let change = FieldChange {
        name: body.rename,
        label: body.label,
        kind: body.kind,
        required: body.required,
        restricted: body.restricted,
        formula: body.formula,
    };
    done(shared.with_org(move |org| org.change_field(&body.object, &body.name, &change)).await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Removed {
    object: String,
    name: String,
}

/// Custom fields only: a standard one can be taken from the users, but not from the org.
async fn remove_field(State(shared): State<Shared>, Json(body): Json<Removed>) -> Response {
    let removed = shared.with_org(move |org| {
        org.as_system(|org| {
            let field = org.object(&body.object)?.field(&body.name).filter(|field| field.is_custom());
            let name = field.ok_or_else(ApiError::not_found)?.name.clone();
            org.remove_field(&body.object, &name)
        })
    });
    done(removed.await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewObject {
    name: String,
    label: Option<String>,
    label_plural: Option<String>,
    /// Three characters; a free one, if it is left out.
    key_prefix: Option<String>,
    #[serde(default)]
    fields: Vec<NewField>,
}

async fn add_object(State(shared): State<Shared>, Json(body): Json<NewObject>) -> Response {
    let made = shared.with_org(move |org| org.as_system(|org| make(org, body)));
    match made.await {
        Ok(prefix) => axum::Json(json!({"key_prefix": prefix})).into_response(),
        Err(refused) => refused.into_response(),
    }
}

fn make(org: &mut Org, new: NewObject) -> Result<String, ApiError> {
    check_name(&new.name)?;
    let prefix = new.key_prefix.unwrap_or_else(|| org.free_prefix());
    let taken = org.schema.objects().any(|object| object.key_prefix == prefix);
    if taken || prefix.len() != 3 || !prefix.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(ApiError::bad("INVALID_TYPE", format!("the key prefix {prefix} is taken, or is none")));
    }
    if org.schema.object(&new.name).is_some() {
        return Err(ApiError::bad("INVALID_TYPE", format!("there is an object {} already", new.name)));
    }
    let mut object = schema::custom_object(&new.name, &prefix);
    object.label = new.label.unwrap_or(object.label);
    object.label_plural = new.label_plural.unwrap_or(object.label_plural);
    org.add_object(object)?;
    let name = new.name;
    for field in new.fields {
        if let Err(refused) = field.add(org, &name) {
            org.remove_object(&name)?;
            return Err(refused);
        }
    }
    Ok(prefix)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RemovedObject {
    name: String,
}

async fn remove_object(State(shared): State<Shared>, Json(body): Json<RemovedObject>) -> Response {
    done(shared.with_org(move |org| org.remove_object(&body.name)).await)
}
