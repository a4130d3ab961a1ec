//! Fields without a deploy, and deletes without a recycle bin.

use axum::Router;
use axum::extract::{Json, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Deserialize;

use crate::Shared;
use crate::api_error::ApiError;
use crate::{id, schema};

pub(super) fn router() -> Router<Shared> {
    Router::new().route("/fields", post(add_field)).route("/records/purge", post(purge))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewField {
    object: String,
    name: String,
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
}

async fn add_field(State(shared): State<Shared>, Json(new): Json<NewField>) -> Response {
    let made = shared
        .with_org(move |org| {
            let bad = |message: String| ApiError::bad("INVALID_FIELD", message);
            let word = new.name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            if !word || !new.name.ends_with("__c") {
                return Err(bad(format!("a custom field's name ends in __c: {}", new.name)));
            }
            if org.object(&new.object)?.field(&new.name).is_some() {
                return Err(bad(format!("there is a field {} already", new.name)));
            }
            let mut attributes = "create update".to_owned();
            for (flag, word) in [
                (new.external_id, " externalid idlookup"),
                (new.unique, " unique"),
                (new.case_sensitive, " casesensitive"),
                (new.required, " required"),
            ] {
                attributes.push_str(if flag { word } else { "" });
            }
            let field = schema::typed_field(&new.name, &new.kind, &attributes).map_err(bad)?;
            org.add_field(&new.object, field)
        })
        .await;
    made.map_or_else(IntoResponse::into_response, |()| StatusCode::NO_CONTENT.into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Purge {
    object: String,
    ids: Vec<String>,
}

/// All of them, or none if one is not there.
async fn purge(State(shared): State<Shared>, Json(purge): Json<Purge>) -> Response {
    let done = shared
        .with_org(move |org| {
            let ids = purge.ids.iter().map(|id| id::normalise(id).ok_or_else(ApiError::not_found));
            org.purge(&purge.object, &ids.collect::<Result<Vec<_>, _>>()?)
        })
        .await;
    done.map_or_else(IntoResponse::into_response, |()| StatusCode::NO_CONTENT.into_response())
}
