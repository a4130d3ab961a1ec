//! Describes and the list of resources; both are cached by clients.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::conditional::{self, Validators};
use super::json_response;
use crate::Shared;
use crate::schema;

/// The resources that this org has, of the many that a real one lists.
const RESOURCES: [&str; 12] = [
    "tooling",
    "metadata",
    "queryAll",
    "search",
    "composite",
    "parameterizedSearch",
    "recent",
    "limits",
    "query",
    "jobs",
    "sobjects",
    "actions",
];

pub(super) async fn resources(
    State(shared): State<Shared>,
    Path(version): Path<String>,
    headers: HeaderMap,
) -> Response {
    shared
        .answer(version, headers, |call| {
            let base = format!("/services/data/v{}", call.version);
            let mut map: serde_json::Map<String, Value> =
                RESOURCES.iter().map(|n| ((*n).to_owned(), json!(format!("{base}/{n}")))).collect();
            let identity = format!("{}/id/{}/{}", call.org.base_url, call.org.id, call.user_id);
            map.insert("identity".to_owned(), json!(identity));
            Ok(json_response(200, Value::Object(map).to_string().into_bytes()))
        })
        .await
}

/// `GET /recent`: what the user looked at last. The org does not keep that.
pub(super) async fn recent(State(shared): State<Shared>, Path(version): Path<String>, headers: HeaderMap) -> Response {
    shared.answer(version, headers, |_| Ok(json_response(200, b"[]".to_vec()))).await
}

pub(super) async fn global(State(shared): State<Shared>, Path(version): Path<String>, headers: HeaderMap) -> Response {
    let asked = headers.clone();
    shared
        .answer(version, headers, move |call| {
            let body = schema::describe_global(&call.org.schema, &call.version).to_string();
            conditional::answer(&asked, &validators(&body, call.org.schema_changed), body)
        })
        .await
}

pub(super) async fn whole(
    State(shared): State<Shared>,
    Path((version, object)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let asked = headers.clone();
    shared
        .answer(version, headers, move |call| {
            let object = call.org.object(&object)?;
            let body = schema::describe_object(&call.org.schema, object, &call.version).to_string();
            conditional::answer(&asked, &validators(&body, call.org.schema_changed), body)
        })
        .await
}

/// `GET /sobjects/T`: a short describe and no recent items.
pub(super) async fn basic(
    State(shared): State<Shared>,
    Path((version, object)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let asked = headers.clone();
    shared
        .answer(version, headers, move |call| {
            let mut describe = schema::describe_object(&call.org.schema, call.org.object(&object)?, &call.version);
            if let Some(map) = describe.as_object_mut() {
                map.retain(|key, _| !matches!(key.as_str(), "fields" | "childRelationships" | "recordTypeInfos"));
            }
            let body = json!({"objectDescribe": describe, "recentItems": []}).to_string();
            conditional::answer(&asked, &validators(&body, call.org.schema_changed), body)
        })
        .await
}

/// Eight hexadecimal digits, as in recorded describes.
fn validators(body: &str, changed: Timestamp) -> Validators {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body.as_bytes());
    let etag: String = digest.as_ref()[..4].iter().map(|b| format!("{b:02x}")).collect();
    Validators { etag: Some(format!("\"{etag}\"")), modified: changed }
}
