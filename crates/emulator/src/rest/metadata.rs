//! `metadata/deployRequest`: deploys by REST.

use std::collections::HashMap;

use axum::body::Bytes;
use axum::extract::{Multipart, Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Value, json};

use super::{Call, json_response};
use crate::Shared;
use crate::api_error::ApiError;
use crate::metadata::NOT_ALLOWED;
use crate::metadata::deploy::{Deploy, Message, Options, Status};
use crate::metadata::soap::status;

fn allowed(call: &Call<'_>) -> Result<(), ApiError> {
    if call.org.may_change_metadata(&call.user_id) {
        Ok(())
    } else {
        Err(ApiError::new(403, NOT_ALLOWED.0, NOT_ALLOWED.1))
    }
}

/// A JSON part with the options and a part with the zip file, under whatever names: the documents and jsforce differ.
pub(super) async fn deploy(
    State(shared): State<Shared>,
    Path(version): Path<String>,
    headers: HeaderMap,
    mut form: Multipart,
) -> Response {
    let (mut options, mut zip) = (None, None);
    while let Ok(Some(field)) = form.next_field().await {
        let is_file = field.name() == Some("file") || field.content_type() == Some("application/zip");
        match field.bytes().await {
            Ok(bytes) if is_file => zip = Some(bytes.to_vec()),
            Ok(bytes) => options = serde_json::from_slice::<Value>(&bytes).ok().or(options),
            Err(_) => break,
        }
    }
    shared
        .answer(version, headers, move |call| {
            allowed(call)?;
            let bad = |message: &str| ApiError::bad("INVALID_MULTIPART_REQUEST", message);
            let zip = zip.ok_or_else(|| bad("the part with the zip file is missing"))?;
            let options = options.ok_or_else(|| bad("the part with the deploy options is missing"))?;
            let options = read(&options["deployOptions"]);
            let user = call.user_id.clone();
            let id = call.org.start_deploy(zip, options, &user);
            let deploy = call.org.deploy(&id).ok_or_else(ApiError::not_found)?;
            Ok(json_response(201, describe(call, deploy, false).to_string().into_bytes()))
        })
        .await
}

fn read(options: &Value) -> Options {
    let flag = |name: &str| match &options[name] {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) => Some(text.eq_ignore_ascii_case("true")),
        _ => None,
    };
    Options {
        check_only: flag("checkOnly").unwrap_or(false),
        ignore_warnings: flag("ignoreWarnings").unwrap_or(false),
        rollback_on_error: flag("rollbackOnError").unwrap_or(true),
        single_package: flag("singlePackage").unwrap_or(false),
    }
}

pub(super) async fn check(
    State(shared): State<Shared>,
    Path((version, id)): Path<(String, String)>,
    Query(parameters): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    shared
        .answer(version, headers, move |call| {
            allowed(call)?;
            let deploy = call.org.deploy(&id).ok_or_else(ApiError::not_found)?;
            let details = parameters.get("includeDetails").is_some_and(|d| d == "true");
            Ok(json_response(200, describe(call, deploy, details).to_string().into_bytes()))
        })
        .await
}

pub(super) async fn cancel(
    State(shared): State<Shared>,
    Path((version, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    shared
        .answer(version, headers, move |call| {
            allowed(call)?;
            let wanted: Value = serde_json::from_slice(&body).unwrap_or_default();
            if wanted["deployResult"]["status"] != "Canceling" {
                return Err(ApiError::bad("INVALID_FIELD", "the status of a deploy can only be set to Canceling"));
            }
            call.org.cancel_deploy(&id).map_err(|text| ApiError::bad("INVALID_ID_FIELD", text))?;
            let deploy = call.org.deploy(&id).ok_or_else(ApiError::not_found)?;
            Ok(json_response(202, describe(call, deploy, false).to_string().into_bytes()))
        })
        .await
}

fn describe(call: &Call<'_>, deploy: &Deploy, details: bool) -> Value {
    let (started, ended) = deploy.times();
    let options = &deploy.options;
    let mut result = json!({
        "id": deploy.id, "success": matches!(deploy.status, Status::Succeeded | Status::SucceededPartial),
        "checkOnly": options.check_only, "ignoreWarnings": options.ignore_warnings,
        "rollbackOnError": options.rollback_on_error, "status": status(deploy), "runTestsEnabled": false,
        "done": deploy.done(), "createdBy": deploy.by, "createdDate": started, "startDate": started,
        "completedDate": ended, "numberComponentErrors": deploy.count(true),
        "numberComponentsDeployed": deploy.count(false),
        "numberComponentsTotal": deploy.count(true) + deploy.count(false),
        "numberTestErrors": 0, "numberTestsCompleted": 0, "numberTestsTotal": 0,
    });
    if details {
        let part = |failed: bool| -> Vec<Value> {
            deploy.messages.iter().filter(|m| m.problem.is_some() == failed).map(|m| line(m, ended.as_ref())).collect()
        };
        result["details"] = json!({
            "componentFailures": part(true), "componentSuccesses": part(false), "retrieveResult": null,
            "runTestResult": {"numFailures": 0, "numTestsRun": 0, "totalTime": 0.0, "failures": [], "successes": [],
                "codeCoverage": [], "codeCoverageWarnings": []},
        });
    }
    json!({
        "id": deploy.id, "url": format!("/services/data/v{}/metadata/deployRequest/{}", call.version, deploy.id),
        "deployResult": result,
        "deployOptions": {"checkOnly": options.check_only, "ignoreWarnings": options.ignore_warnings,
            "rollbackOnError": options.rollback_on_error, "singlePackage": options.single_package},
    })
}

fn line(message: &Message, ended: Option<&String>) -> Value {
    let mut line = json!({
        "changed": message.problem.is_none() && !message.type_name.is_empty(), "componentType": message.type_name,
        "created": message.created, "createdDate": ended, "deleted": message.deleted, "fileName": message.file,
        "fullName": message.full_name, "success": message.problem.is_none(), "warning": false,
    });
    if let Some(id) = &message.id {
        line["id"] = json!(id);
    }
    if let Some(problem) = &message.problem {
        line["problem"] = json!(problem);
        line["problemType"] = json!("Error");
    }
    line
}
